//! Orders get paid and nobody tells: the sign of a notify address that is wrong, blocked or not declared. Polling finds
//! the payments all the same, so nothing is lost, buyers only wait; which is why nobody else would notice.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::domain::event::Event;

/// So many paid orders in a row without a notification are no coincidence.
const UNHEARD_MAX: u32 = 3;

/// Counts them. Any genuine notification ends the silence.
#[derive(Debug, Default)]
pub(super) struct Silence(AtomicU32);

impl Silence {
    /// A committed event, of an order that `heard` a notification or did not.
    pub(super) fn see(&self, event: &Event, heard: bool) {
        let run = match event {
            Event::Paid { .. } if heard => {
                metrics::counter!("auditshield_paid_total", "heard" => "notification").increment(1);
                return;
            }
            Event::Paid { .. } => {
                metrics::counter!("auditshield_paid_total", "heard" => "polling").increment(1);
                self.0.fetch_add(1, Ordering::AcqRel) + 1
            }
            Event::Notified { .. } => {
                if self.0.swap(0, Ordering::AcqRel) >= UNHEARD_MAX {
                    tracing::info!("notifications arrive again");
                }
                0
            }
            _ => return,
        };
        metrics::gauge!("auditshield_paid_unheard").set(f64::from(run));
        if run == UNHEARD_MAX {
            tracing::warn!(
                orders = run,
                "orders get paid and no notification arrives: the notify address is not declared at CinetPay, or \
                 something on the way blocks it; `auditshield doctor` finds out"
            );
        }
    }
}
