//! What the operator reads of an order.

use crate::domain::event::Event;
use crate::domain::invariants::broken_by;
use crate::domain::payment::Payment;
use crate::domain::values::OrderId;

/// One line per event, where it became true. Ids only: what a person is called or reached by stays in the ledger.
pub(super) fn event(order: OrderId, event: &Event) {
    metrics::counter!("auditshield_events_total", "kind" => event.kind()).increment(1);
    match event {
        Event::Checked { verdict, code, .. } => {
            tracing::info!(%order, kind = event.kind(), verdict, code, "event")
        }
        Event::InitFailed { reason, .. }
        | Event::MailFailed { reason, .. }
        | Event::ReminderFailed { reason, .. } => {
            tracing::warn!(%order, kind = event.kind(), reason, "event");
        }
        // Whoever holds a signed notification can send it as often as he likes: the journal and the counters tell of it.
        Event::Notified { .. } => tracing::debug!(%order, kind = event.kind(), "event"),
        Event::Review { .. } => tracing::warn!(%order, kind = event.kind(), "event"),
        _ => tracing::info!(%order, kind = event.kind(), "event"),
    }
}

/// Looks whether a commit kept the laws. It stands either way: a broken law is for a person to look at, and loud.
pub(super) fn laws(before: Option<&Payment>, events: &[Event], after: &Payment) {
    for law in broken_by(before, events, after) {
        metrics::counter!("auditshield_invariant_violations_total").increment(1);
        tracing::error!(order = %after.id, law, "a commit breaks a law; look at this order before anything else");
    }
}
