//! What this node has acknowledged lately, and whether the database still holds it.
//!
//! A standby that lagged and was promoted, or a copy that was restored, lacks commits that were answered as done. Nothing
//! here brings them back; but it is said, order by order, in the log, and counted. It is looked for whenever a connection
//! was made, since it may lead to another server, and once a minute, since a pooler may hide that.
//!
//! What it cannot see: commits of a node that ended before it could look, and those before the newest
//! [`PROMISES_MAX`] of a node.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::Inner;
use super::row::get;
use super::trouble::Trouble;
use crate::domain::values::OrderId;

const KEPT: &str = include_str!("sql/kept.sql");

/// Commits remembered: under three megabytes, and at a thousand commits per second a minute of them.
const PROMISES_MAX: usize = 65_536;
/// Commits asked about at one time.
const ASKED_MAX: usize = 1_000;
/// Orders named on one line of the log.
const NAMED_MAX: usize = 50;
/// An operation's number, in bytes.
const OPERATION_BYTES: usize = 16;

/// One commit that was acknowledged.
#[derive(Clone, Copy)]
struct Promise {
    operation: [u8; OPERATION_BYTES],
    order: OrderId,
}

/// The newest commits of this node, oldest first.
#[derive(Default)]
pub(super) struct Promises(Mutex<VecDeque<Promise>>);

// === impl Promises ===

impl Promises {
    /// This commit is about to be acknowledged.
    pub(super) fn remember(&self, order: OrderId, operation: &[u8]) {
        let Ok(operation) = operation.try_into() else { return };
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if made.len() == PROMISES_MAX {
            made.pop_front();
        }
        made.push_back(Promise { operation, order });
    }

    fn all(&self) -> Vec<Promise> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// What was reported once is not reported again.
    fn forget(&self, lost: &BTreeSet<[u8; OPERATION_BYTES]>) {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|promise| !lost.contains(&promise.operation));
    }
}

impl Inner {
    /// Looks whether the database holds what this node has acknowledged, if there is cause to. What cannot be looked at
    /// now is looked at at the next beat.
    pub(super) async fn keep_faith(&self, is_time: bool) {
        // Both: the flag is taken down.
        if !(self.pool.is_anew() | is_time) {
            return;
        }
        match self.lost().await {
            Ok(lost) => self.confess(&lost),
            Err(trouble) => {
                tracing::debug!(%trouble, "what was acknowledged is compared at the next beat");
                self.pool.doubt();
            }
        }
    }

    /// The commits that are not there any more.
    async fn lost(&self) -> Result<Vec<Promise>, Trouble> {
        let mut lost = Vec::new();
        for asked in self.promises.all().chunks(ASKED_MAX) {
            let operations: Vec<&[u8]> = asked.iter().map(|promise| &promise.operation[..]).collect();
            let rows = self.pool.rows(KEPT, &[&operations]).await?;
            let kept: BTreeSet<&[u8]> = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
            lost.extend(asked.iter().filter(|promise| !kept.contains(&promise.operation[..])));
        }
        Ok(lost)
    }

    fn confess(&self, lost: &[Promise]) {
        // Also by nothing: an alert compares the series with its own past, and needs one.
        metrics::counter!("auditshield_acknowledged_lost_total").increment(lost.len() as u64);
        if lost.is_empty() {
            return;
        }
        let orders: BTreeSet<OrderId> = lost.iter().map(|promise| promise.order).collect();
        let orders: Vec<String> = orders.iter().map(ToString::to_string).collect();
        for named in orders.chunks(NAMED_MAX) {
            tracing::error!(
                commits = lost.len(),
                orders = named.join(" "),
                "the database has lost acknowledged commits: a standby that lagged was promoted, or a copy was restored; \
                 compare these orders with CinetPay"
            );
        }
        self.promises.forget(&lost.iter().map(|promise| promise.operation).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let promises = Promises::default();
        let order = OrderId::from_bytes([7; 16]);
        for number in 0..=PROMISES_MAX as u128 {
            promises.remember(order, &number.to_be_bytes());
        }
        let kept = promises.all();
        assert_eq!((kept.len(), kept[0].operation), (PROMISES_MAX, 1_u128.to_be_bytes()));
        promises.forget(&[2_u128.to_be_bytes()].into());
        assert_eq!(promises.all()[1].operation, 3_u128.to_be_bytes());
    }
}
