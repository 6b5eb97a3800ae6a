//! The actor that acts for one order at a time: load → decide → commit → answer → advance.

mod msg;
mod owed;
mod rounds;

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tracing::Instrument;

use super::errand::Runner;
use super::{AskError, Moment, Receipt, Reply, Shared, alarm, log, roster};
use crate::domain::decide::{Refusal, decide};
use crate::domain::input::{Input, Report};
use crate::domain::payment::{Payment, Status, duplicate_look};
use crate::domain::values::OrderId;
use crate::ledger::{CommitError, Lease, Standing};
use crate::ports::RequestId;
pub(super) use msg::{Msg, Work};
use msg::{Running, Wanted};
use owed::Owed;

/// The actor.
pub(super) struct Order;

/// The actor's memory.
pub(super) struct State {
    shared: Arc<Shared>,
    roster: ActorRef<roster::Msg>,
    /// This actor's place in the pool.
    seat: usize,
    /// The sitting, as the roster counts.
    sitting: u64,
    /// Messages handled in this sitting.
    handled: u64,
    alarm: Option<ActorRef<alarm::Msg>>,
    /// The order of this sitting.
    order: Option<OrderId>,
    /// The order as committed; none when the ledger does not know it.
    standing: Option<Standing>,
    /// True from the commit of CREATED to the first asking for a page: nothing was sent yet, so nothing need be asked.
    fresh: bool,
    /// A look is wanted although none is due.
    look: bool,
    /// A buyer's repeat wants the page opened.
    open: bool,
    /// No permit was free to open the page that a buyer waits for.
    crowded: bool,
    errand: Option<Running>,
    /// The request that the work at hand follows from; none before the first.
    cause: Option<RequestId>,
    /// Something is owed now, and no permit was free for it.
    held: bool,
    /// Callers that wait for the errand.
    waiters: Vec<(Wanted, Reply)>,
}

impl Actor for Order {
    type Msg = Msg;
    type State = State;
    type Arguments = (Arc<Shared>, ActorRef<roster::Msg>, usize);

    async fn pre_start(
        &self,
        _: ActorRef<Msg>,
        (shared, roster, seat): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        Ok(State {
            shared,
            roster,
            seat,
            sitting: 0,
            handled: 0,
            alarm: None,
            order: None,
            standing: None,
            fresh: false,
            look: false,
            open: false,
            crowded: false,
            errand: None,
            cause: None,
            held: false,
            waiters: Vec::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Msg>,
        msg: Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let work = match msg {
            Msg::Sit { order, sitting, alarm, first } => {
                state.sit(order, sitting, alarm)?;
                first
            }
            Msg::Work(work) => work,
        };
        state.handled += 1;
        let cause = state.follow(&work);
        let span = work.span(&cause);
        let done = async {
            let known = state.refresh().await;
            match work {
                Work::Ask { reply, .. } if !known => reply.send(Err(AskError::NoRoom)),
                Work::Ask { input, reply, .. } => state.ask(input, reply).await?,
                Work::Wake { look } => state.look |= look.is_some(),
            }
            state.advance(&myself).await;
            Ok(())
        };
        cause.scope(done).instrument(span).await
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, report) = match event {
            SupervisionEvent::ActorTerminated(cell, Some(mut end), _) => (cell, end.take::<Report>().ok()),
            SupervisionEvent::ActorTerminated(cell, None, _) => (cell, None),
            SupervisionEvent::ActorFailed(cell, why) => {
                tracing::error!(order = state.named(), %why, "an errand died");
                (cell, None)
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        if state.errand.as_ref().is_some_and(|errand| errand.actor == cell.get_id())
            && let Some(errand) = state.errand.take()
        {
            let cause = errand.cause;
            let span = tracing::debug_span!(parent: None, "order", request_id = %cause);
            state.cause = Some(cause.clone());
            let done = async {
                state.report(report.unwrap_or(errand.lost), errand.lease).await?;
                state.advance(&myself).await;
                Ok(())
            };
            return cause.scope(done).instrument(span).await;
        }
        Ok(())
    }
}

impl State {
    /// The order as committed.
    fn payment(&self) -> Option<&Arc<Payment>> {
        self.standing.as_ref().map(Standing::payment)
    }

    fn named(&self) -> tracing::field::DisplayValue<String> {
        tracing::field::display(self.order.map(|order| order.to_string()).unwrap_or_default())
    }

    /// Takes up an order. Its state is kept from the last sitting where it was the same order: nobody else wrote it, unless
    /// the ledger is shared.
    fn sit(
        &mut self,
        order: OrderId,
        sitting: u64,
        alarm: Option<ActorRef<alarm::Msg>>,
    ) -> Result<(), ActorProcessingErr> {
        let ledger = &self.shared.parts.ledger;
        if self.order != Some(order) || self.standing.is_none() {
            self.standing = if ledger.is_shared() { None } else { ledger.standing(order)? };
        }
        self.shared.tell(Moment::Sits { order, seat: self.seat });
        (self.order, self.sitting, self.alarm) = (Some(order), sitting, alarm);
        (self.handled, self.fresh, self.look, self.open) = (0, false, false, false);
        Ok(())
    }

    /// The request that this work follows from, from now on. What is due by itself follows from the one whose errand
    /// found no permit, if there is one that this process still knows, and else from none: it has an id of its own.
    fn follow(&mut self, work: &Work) -> RequestId {
        let kept = self.order.and_then(|order| self.shared.causes.take(order));
        let cause = match work {
            Work::Ask { cause, .. } | Work::Wake { look: Some(cause) } => cause.clone(),
            Work::Wake { look: None } => kept.unwrap_or_else(RequestId::made),
        };
        self.cause = Some(cause.clone());
        cause
    }

    async fn ask(&mut self, input: Input, reply: Reply) -> Result<(), ActorProcessingErr> {
        match self.take(&input, None).await? {
            Err(refused) => reply.send(Err(refused)),
            Ok(new) => {
                let Some(payment) = self.payment().cloned() else {
                    reply.send(Err(AskError::Gone));
                    return Ok(());
                };
                let duplicate = !new;
                let wanted = match input {
                    Input::Buy(_) => {
                        self.fresh = true;
                        Wanted::Page
                    }
                    Input::Repeat if payment.wants_page() => {
                        self.open = true;
                        Wanted::Page
                    }
                    Input::Retry if self.may_open(&payment) => {
                        self.open = true;
                        Wanted::Page
                    }
                    Input::Verify => {
                        self.look = true;
                        Wanted::Word
                    }
                    Input::Resend(_) => Wanted::Word,
                    Input::Notify(_) => {
                        self.bring_forward(&payment, duplicate);
                        // A review waits for a person; the right payment, on another page, may come before.
                        self.look |= !duplicate && matches!(payment.status, Status::Review { .. });
                        reply.send(Ok(Receipt { payment, duplicate }));
                        return Ok(());
                    }
                    Input::Repeat
                    | Input::Retry
                    | Input::SendAgain
                    | Input::Readdress(_)
                    | Input::Correct(..)
                    | Input::Download { .. }
                    | Input::Approve(_)
                    | Input::Reject(_)
                    | Input::Refund(_)
                    | Input::Revoke(_)
                    | Input::Erase { .. }
                    | Input::Report(_) => {
                        reply.send(Ok(Receipt { payment, duplicate }));
                        return Ok(());
                    }
                };
                self.waiters.push((wanted, reply));
            }
        }
        Ok(())
    }

    /// A duplicate owes nothing, but a payment without a verdict is worth another look, ever more rarely.
    fn bring_forward(&self, payment: &Payment, duplicate: bool) {
        if duplicate
            && let Some(alarm) = &self.alarm
            && let Some(at) = duplicate_look(payment, self.shared.parts.clock.now())
        {
            let cause = self.cause.clone().unwrap_or_else(RequestId::made);
            let _ = alarm.cast(alarm::Msg::Look { order: payment.id, at, cause });
        }
    }

    async fn report(&mut self, report: Report, lease: Lease) -> Result<(), ActorProcessingErr> {
        match self.take(&Input::Report(report), Some(&lease)).await? {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // No room on the disk: the order is as before, and due again when there is.
            Err(refused) => {
                tracing::warn!(order = self.named(), %refused, "an errand's report could not be recorded");
            }
        }
        self.shared.parts.ledger.release(lease).await;
        Ok(())
    }

    async fn take(
        &mut self,
        input: &Input,
        lease: Option<&Lease>,
    ) -> Result<Result<bool, AskError>, ActorProcessingErr> {
        let Some(order) = self.order else { return Ok(Err(AskError::Gone)) };
        self.shared.tell(Moment::Decides { order, seat: self.seat });
        let taken = self.settle(order, input, lease).await;
        self.shared.tell(Moment::Decided { order, seat: self.seat });
        Ok(taken?)
    }

    /// Decide, commit, remember: in that order. `Ok(false)`: nothing was new.
    async fn commit(
        &mut self,
        order: OrderId,
        input: &Input,
        lease: Option<&Lease>,
    ) -> Result<Result<bool, AskError>, CommitError> {
        let parts = &self.shared.parts;
        let now = parts.clock.now();
        let payment = self.payment().map(|payment| &**payment);
        let events = match decide(&parts.policy, payment, input, now) {
            Ok(events) if events.is_empty() => return Ok(Ok(false)),
            Ok(events) => events,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        failpoint!("created.before_commit" if matches!(input, Input::Buy(_)));
        failpoint!("init.answered_before_commit" if matches!(input, Input::Report(Report::Opened { .. })));
        failpoint!("check.answered_before_commit" if matches!(input, Input::Report(Report::Checked { .. })));
        failpoint!("mail.accepted_before_commit" if matches!(input, Input::Report(Report::MailAccepted { .. })));
        let base = self.standing.as_ref();
        let standing = match parts.ledger.commit_under(lease, order, base, &events, now).await {
            Ok(standing) => standing,
            Err(CommitError::NoRoom | CommitError::Io(_)) => return Ok(Err(AskError::NoRoom)),
            Err(CommitError::Unsealed) => return Ok(Err(Refusal::Unsealed.into())),
            Err(fault) => return Err(fault),
        };
        failpoint!("created.before_init" if matches!(input, Input::Buy(_)));
        failpoint!("paid.before_mail" if events.iter().any(|event| matches!(event, crate::domain::event::Event::Paid { .. })));
        log::laws(payment, &events, standing.payment());
        for event in &events {
            log::event(order, event);
            self.shared.silence.see(event, !standing.payment().notices.is_empty());
        }
        self.standing = Some(standing);
        Ok(Ok(true))
    }

    /// Does what is owed, if a permit is free, and says so when nothing is under way. It cannot fail: what is not
    /// started stays due.
    async fn advance(&mut self, myself: &ActorRef<Msg>) {
        let cause = self.cause.clone().unwrap_or_else(RequestId::made);
        if self.errand.is_none()
            && let Some(standing) = self.standing.clone()
            && let Some(Owed { errand, permit, lease }) = self.owed(&standing, &cause).await
        {
            let (runner, lost) = Runner::new(errand, lease.end());
            match Actor::spawn_linked(None, runner, lost.clone(), myself.get_cell()).await {
                Ok((actor, _)) => {
                    let actor = actor.get_id();
                    self.errand = Some(Running { actor, lost, cause, _permit: permit, lease });
                }
                Err(fault) => tracing::error!(order = self.named(), %fault, "an errand did not start"),
            }
        }
        if self.errand.is_none() {
            if let (true, Some(order), Some(cause)) = (self.held, self.order, &self.cause) {
                self.shared.causes.keep(order, cause);
            }
            self.answer_waiters();
            // Another node may erase what is personal of it: a seat at rest keeps nothing that it would have to be told of.
            // The next message reads the order again.
            if self.shared.parts.ledger.is_shared() {
                self.standing = None;
            }
            let quiet = roster::Msg::Quiet { seat: self.seat, sitting: self.sitting, handled: self.handled };
            let _ = self.roster.cast(quiet);
        }
    }

    fn answer_waiters(&mut self) {
        let crowded = std::mem::take(&mut self.crowded);
        let Some(payment) = self.payment().cloned() else { return };
        let no_page = payment.wants_page() || matches!(payment.status, Status::Failed { .. });
        for (wanted, reply) in self.waiters.drain(..) {
            reply.send(match wanted {
                Wanted::Page if no_page && crowded => Err(AskError::Busy),
                Wanted::Page if no_page => Err(AskError::NotOpened("CinetPay".to_owned())),
                Wanted::Page | Wanted::Word => {
                    Ok(Receipt { payment: Arc::clone(&payment), duplicate: false })
                }
            });
        }
    }
}
