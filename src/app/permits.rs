//! What all nodes together may do only so often, drawn from the ledger that they share.

use std::sync::Arc;

use crate::domain::quota::{Drawn, Quota};
use crate::ledger::Ledger;
use crate::ports::{Permits, PortFuture};

/// The ledger, as those see it who draw permits.
struct Shared(Ledger);

/// Where permits are drawn. None where one daemon has the ledger alone: then each limit counts for itself.
pub(super) fn of(ledger: &Ledger) -> Option<Arc<dyn Permits>> {
    ledger.is_shared().then(|| Arc::new(Shared(ledger.clone())) as Arc<dyn Permits>)
}

impl Permits for Shared {
    fn draw(&self, quota: Quota, most: u32) -> PortFuture<'_, Option<Drawn>> {
        Box::pin(async move {
            match self.0.draw(quota, most).await {
                Ok(drawn) => Some(drawn),
                Err(fault) => {
                    tracing::warn!(purpose = quota.purpose.code(), %fault, "no permit can be drawn");
                    None
                }
            }
        })
    }
}
