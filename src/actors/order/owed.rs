//! What an order owes now, and what must be had before it is done: a permit, and the lease of a shared ledger.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::super::errand::Errand;
use super::super::{courier, verifier};
use super::State;
use crate::domain::payment::{Payment, Status, Step, next_step};
use crate::ledger::{Lease, Standing};
use crate::ports::RequestId;

/// An errand to be started, and its rights.
pub(super) struct Owed {
    pub(super) errand: Errand,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) lease: Lease,
}

impl State {
    /// What to do now, with the permit and the lease for it. None: nothing is owed, or it is not for us to do now; then it
    /// stays due, and the alarm comes back to it.
    pub(super) async fn owed(&mut self, standing: &Standing, cause: &RequestId) -> Option<Owed> {
        let shared = Arc::clone(&self.shared);
        let payment = standing.payment();
        let step = self.step(payment);
        // Until it is started: whoever has no right to it leaves before.
        self.held = !matches!(step, Step::Wait(_) | Step::Rest);
        let permits = match step {
            Step::Open(_) => &shared.open,
            Step::Check(_) => &shared.verify,
            Step::Deliver => &shared.deliver,
            Step::Remind => &shared.remind,
            Step::Wait(_) | Step::Rest => return None,
        };
        let permit = Arc::clone(permits).try_acquire_owned().ok();
        self.crowded = permit.is_none() && matches!(step, Step::Open(_));
        let permit = permit?;
        let Some(lease) = self.lease(standing).await else {
            self.crowded = matches!(step, Step::Open(_));
            return None;
        };
        // Under the lease: what is drawn here leaves before the lease is over, or not at all.
        let mailer = &shared.parts.mailer;
        let may_be_mailed = match step {
            Step::Deliver => mailer.reserve(true).await,
            Step::Remind => mailer.reserve(false).await,
            Step::Open(_) | Step::Check(_) | Step::Wait(_) | Step::Rest => true,
        };
        let errand = if may_be_mailed { self.errand(step, payment, cause) } else { None };
        match errand {
            Some(errand) => {
                self.held = false;
                Some(Owed { errand, permit, lease })
            }
            // The hour's mails have left.
            None => {
                shared.parts.ledger.release(lease).await;
                None
            }
        }
    }

    /// What the order's state asks for, or a person who waits.
    fn step(&mut self, payment: &Payment) -> Step {
        let undecided = !matches!(payment.status, Status::Paid(_) | Status::Refunded(_));
        let look = std::mem::take(&mut self.look);
        let open = std::mem::take(&mut self.open) && self.may_open(payment);
        let refused = matches!(payment.status, Status::Failed { .. });
        match next_step(payment, self.shared.parts.clock.now()) {
            // The opening asks about the newest attempt first, so a look that is due loses nothing.
            _ if open && refused => Step::Open(payment.attempt),
            Step::Wait(_) | Step::Rest if open => Step::Open(payment.attempt),
            Step::Wait(_) | Step::Rest if look && undecided => Step::Check(payment.attempt),
            owed => owed,
        }
    }

    fn errand(&mut self, step: Step, payment: &Arc<Payment>, cause: &RequestId) -> Option<Errand> {
        let shared = Arc::clone(&self.shared);
        match step {
            Step::Open(_) => {
                let ask_first = !std::mem::take(&mut self.fresh);
                Some(verifier::open(shared, Arc::clone(payment), ask_first, cause))
            }
            Step::Check(_) => Some(verifier::check(shared, Arc::clone(payment), cause)),
            Step::Deliver => Some(courier::deliver(shared, payment, payment.sale()?, cause)),
            Step::Remind => Some(courier::remind(shared, payment, payment.sale()?, cause)),
            Step::Wait(_) | Step::Rest => None,
        }
    }

    /// That no other node does it meanwhile.
    async fn lease(&self, standing: &Standing) -> Option<Lease> {
        let parts = &self.shared.parts;
        match parts.ledger.lease(standing, parts.settings.lease_time()).await {
            Ok(lease) => lease,
            Err(fault) => {
                tracing::warn!(order = self.named(), %fault, "no lease can be had; what is owed stays due");
                None
            }
        }
    }

    /// Whether a buyer who waits may be given a payment page that is not open yet.
    pub(super) fn may_open(&self, payment: &Payment) -> bool {
        let parts = &self.shared.parts;
        payment.wants_page() || payment.may_retry(&parts.policy, parts.clock.now())
    }
}
