//! The right to run an order's errand, for a while: one node has it at a time.
//!
//! Invariant: what is committed under a lease is refused once another lease of the same order was given out.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::row::get;
use super::trouble::Trouble;
use super::{Postgres, Row, sent};
use crate::domain::values::OrderId;
use crate::ledger::LedgerError;

const TAKE: &str = include_str!("sql/lease.sql");
const RELEASE: &str = include_str!("sql/release.sql");

/// A lease that the database granted.
#[derive(Debug, Clone)]
pub(in crate::ledger) struct Held {
    order: OrderId,
    /// Grows with every lease of the order: the fence.
    pub(super) epoch: i64,
    /// Counted from before it was asked for, by the clock that goes on while a process is stopped: it is never over
    /// later here than in the database.
    pub(in crate::ledger) until: Instant,
}

impl Postgres {
    /// Takes the order's lease. None: somebody has it, or the order has moved on.
    pub(in crate::ledger) async fn lease(
        &self,
        row: &Arc<Row>,
        length: Duration,
    ) -> Result<Option<Held>, LedgerError> {
        let until = Instant::now() + length;
        let (order, version) = (row.payment().id, i64::from(row.payment().version));
        let millis = length.as_secs_f64() * 1000.0;
        let asked = self.run(|inner| async move {
            let id = order.bytes().to_vec();
            let rows = inner.pool.rows(&sent(TAKE), &[&id, &version, &inner.node, &millis]).await?;
            let Some(row) = rows.first() else { return Ok::<_, Trouble>(None) };
            let before: Option<&str> = get(row, 1)?;
            if before.is_some() {
                metrics::counter!("auditshield_leases_taken_over_total").increment(1);
            }
            Ok(Some(get::<i64>(row, 0)?))
        });
        let epoch = asked.await.ok_or(LedgerError::Closed)??;
        Ok(epoch.map(|epoch| Held { order, epoch, until }))
    }

    /// Gives it back before its time. Best effort: it ends by itself.
    pub(in crate::ledger) async fn release(&self, held: Held) {
        let asked = self.run(|inner| async move {
            let id = held.order.bytes().to_vec();
            inner.pool.count(RELEASE, &[&id, &held.epoch, &inner.node]).await
        });
        if let Some(Err(trouble)) = asked.await {
            tracing::debug!(order = %held.order, %trouble, "a lease is left to time");
        }
    }
}
