//! What a commit continues: an order's state, as the store keeps it.

use std::sync::Arc;

#[cfg(feature = "postgres")]
use super::postgres::Row;
use super::record::Snapshot;
use crate::domain::payment::Payment;

/// An order as it was committed: what its next commit continues. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing(pub(super) Kept);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    Journal(Arc<Snapshot>),
    #[cfg(feature = "postgres")]
    Rows(Arc<Row>),
}

impl Standing {
    /// The order's state.
    pub fn payment(&self) -> &Arc<Payment> {
        match &self.0 {
            Kept::Journal(snapshot) => &snapshot.payment,
            #[cfg(feature = "postgres")]
            Kept::Rows(row) => row.payment(),
        }
    }

    pub(super) fn of(snapshot: Arc<Snapshot>) -> Self {
        Standing(Kept::Journal(snapshot))
    }

    #[cfg(feature = "postgres")]
    pub(super) fn row(row: Arc<Row>) -> Self {
        Standing(Kept::Rows(row))
    }
}
