//! How long what is owed has been owed: two gauges for the alerts that matter most. Looked up beside the work, so that
//! a scrape costs nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::payment::{Mail, Payment, Status};
use crate::domain::values::Timestamp;
use crate::ledger::{self, Ledger};
use crate::ports::Clock;

/// Between two looks, in seconds: about a scrape's interval.
const LOOK_SECONDS: u64 = 10;
/// Orders looked at, those due soonest. A mail that is owed is tried again within the hour, so it is among them.
const ORDERS_MAX: usize = 1000;
/// Everything that is due at all.
const AHEAD_SECONDS: u64 = 366 * 24 * 3600;

/// Sets the gauges until `stop`.
pub(super) async fn watch(ledger: Ledger, store: Option<PathBuf>, clock: Clock, stop: CancellationToken) {
    loop {
        let (ledger, store, now) = (ledger.clone(), store.clone(), clock.now());
        // A look that panicked is tried again.
        let _ = tokio::task::spawn_blocking(move || look(&ledger, store.as_deref(), now)).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(LOOK_SECONDS)) => {}
        }
    }
}

fn look(ledger: &Ledger, store: Option<&Path>, now: Timestamp) {
    let due = ledger.due(now.plus(Duration::from_secs(AHEAD_SECONDS)), ORDERS_MAX);
    let open = due.into_iter().flatten().filter_map(|(_, id)| ledger.load(id).ok().flatten());
    let (mut undelivered, mut unverified) = (Duration::ZERO, Duration::ZERO);
    for payment in open {
        undelivered = undelivered.max(owed_since(&payment).map_or(Duration::ZERO, |at| now.since(at)));
        unverified = unverified.max(heard_since(&payment).map_or(Duration::ZERO, |at| now.since(at)));
    }
    metrics::gauge!("auditshield_oldest_undelivered_seconds").set(undelivered.as_secs_f64());
    metrics::gauge!("auditshield_oldest_unverified_seconds").set(unverified.as_secs_f64());
    if let Some(Ok((_, all))) = store.map(ledger::room) {
        metrics::gauge!("auditshield_store_size_bytes").set(all as f64);
    }
}

/// When the order was paid, if its mail is still owed.
fn owed_since(payment: &Payment) -> Option<Timestamp> {
    match &payment.status {
        Status::Paid(sale) if matches!(sale.mail, Mail::Owed { .. }) => Some(sale.paid_at),
        Status::Created(_)
        | Status::Pending { .. }
        | Status::Paid(_)
        | Status::Failed { .. }
        | Status::Review { .. }
        | Status::Expired { .. }
        | Status::Refunded(_) => None,
    }
}

/// When the order was taken, if a notification came and no verdict did.
fn heard_since(payment: &Payment) -> Option<Timestamp> {
    let open = matches!(payment.status, Status::Created(_) | Status::Pending { .. });
    (open && !payment.notices.is_empty()).then_some(payment.created_at)
}
