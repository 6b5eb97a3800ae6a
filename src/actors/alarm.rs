//! Wakes what is due: retries, polling for lost webhooks, the work that a crash interrupted. All of it is the due index.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::{Shared, roster};
use crate::domain::payment::{Step, next_step};
use crate::domain::values::{OrderId, Timestamp};
use crate::ports::RequestId;

/// Due orders read at one look.
const DUE_MAX: usize = 1024;
/// Waiting reminders that a look reads beside them, at most. Each is one key; its order is not read again.
const REMINDERS_PASSED_MAX: usize = 64 * 1024;
/// Looks that duplicates asked for, kept at one time. One more is dropped: nothing is owed for it.
const LOOKS_MAX: usize = 4096;

/// The actor.
pub(super) struct Alarm;

/// What the alarm is told.
pub(super) enum Msg {
    /// Time has passed.
    Tick,
    /// A duplicate notification brings the next look at an order forward.
    Look {
        /// The order.
        order: OrderId,
        /// To when.
        at: Timestamp,
        /// The duplicate's request.
        cause: RequestId,
    },
}

/// An order to wake.
pub(super) struct Call {
    /// The order.
    pub(super) order: OrderId,
    /// The request whose duplicate asks for a look at CinetPay; none: it is due.
    pub(super) look: Option<RequestId>,
}

/// The alarm's memory.
pub(super) struct State {
    shared: Arc<Shared>,
    roster: ActorRef<roster::Msg>,
    /// Looks that duplicates asked for. Ordered, so that a replay of the simulation grants the same ones.
    looks: BTreeMap<OrderId, (Timestamp, RequestId)>,
    /// What the orders owed that were due at the last look and could not all be woken.
    owed: HashMap<(Timestamp, OrderId), Kind>,
}

impl Actor for Alarm {
    type Msg = Msg;
    type State = State;
    type Arguments = (Arc<Shared>, ActorRef<roster::Msg>);

    async fn pre_start(
        &self,
        myself: ActorRef<Msg>,
        (shared, roster): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        myself.send_interval(shared.parts.settings.tick, || Msg::Tick);
        Ok(State { shared, roster, looks: BTreeMap::new(), owed: HashMap::new() })
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Tick => state.tick().await,
            Msg::Look { order, at, cause } => {
                if state.looks.len() < LOOKS_MAX {
                    state.looks.entry(order).or_insert((at, cause));
                }
            }
        }
        Ok(())
    }
}

impl State {
    async fn tick(&mut self) {
        let parts = &self.shared.parts;
        // What cannot be committed must not be asked: a full disk would turn every tick into a question to CinetPay.
        if !parts.ledger.health().can_commit {
            return;
        }
        let now = parts.clock.now();
        let mut rooms = Rooms {
            verify: self.shared.verify.available_permits(),
            open: self.shared.open.available_permits(),
            deliver: self.shared.deliver.available_permits(),
            remind: self.shared.remind.available_permits(),
        };
        // Where all nodes share the hour's mails, who knows that none is left takes no leases for them.
        if parts.mailer.is_spent(true) {
            rooms.deliver = 0;
        }
        if parts.mailer.is_spent(false) {
            rooms.remind = 0;
        }
        // Deliveries first: a reminder would take one of the few connections to the mail server.
        if rooms.deliver < parts.settings.deliver_max {
            rooms.remind = 0;
        }
        // Reminders that wait for their turn must not hide what became due after them.
        let waiting = self.owed.values().filter(|kind| **kind == Kind::Remind).count();
        let limit = DUE_MAX + waiting.min(REMINDERS_PASSED_MAX);
        let due = if rooms.none() { Ok(Vec::new()) } else { parts.ledger.look(now, limit).await };
        let due = match due {
            Ok(due) => due,
            Err(fault) => {
                tracing::error!(%fault, "the due index cannot be read");
                return;
            }
        };
        let mut orders = Vec::new();
        // What is known from the last look is not read again for a permit that is not there: a storm of notifications
        // makes thousands of orders due, and they wait for their turn at CinetPay.
        let before = std::mem::take(&mut self.owed);
        let unknown = due.iter().filter(|entry| before.get(entry).is_none_or(|kind| *rooms.of(*kind) > 0));
        let ahead = match parts.ledger.ahead(unknown.map(|(_, order)| *order)).await {
            Ok(ahead) => ahead,
            Err(fault) => {
                tracing::error!(%fault, "the due orders cannot be read");
                return;
            }
        };
        for (at, order) in due {
            let known = before.get(&(at, order)).copied().filter(|kind| *rooms.of(*kind) == 0);
            let kind = match known {
                Some(kind) => kind,
                None => match ahead.standing(order).map(|order| next_step(order.payment(), now)) {
                    Some(Step::Check(_)) => Kind::Check,
                    Some(Step::Open(_)) => Kind::Open,
                    Some(Step::Deliver) => Kind::Deliver,
                    Some(Step::Remind) => Kind::Remind,
                    Some(Step::Wait(_) | Step::Rest) | None => continue,
                },
            };
            if rooms.take(kind) {
                orders.push(Call { order, look: None });
            } else {
                self.owed.insert((at, order), kind);
            }
        }
        let verify = &mut rooms.verify;
        self.looks.retain(|order, (at, cause)| {
            let ripe = *at <= now && *verify > 0;
            if ripe {
                *verify -= 1;
                orders.push(Call { order: *order, look: Some(cause.clone()) });
            }
            !ripe
        });
        if !orders.is_empty() {
            // The roster ends only when the program does.
            let _ = self.roster.cast(roster::Msg::Wake { orders });
        }
    }
}

/// What an errand is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Check,
    Open,
    Deliver,
    Remind,
}

/// Errand permits that are free.
struct Rooms {
    verify: usize,
    open: usize,
    deliver: usize,
    remind: usize,
}

impl Rooms {
    /// Nothing could be started: there is no point in looking for what is due.
    fn none(&self) -> bool {
        self.verify == 0 && self.open == 0 && self.deliver == 0 && self.remind == 0
    }

    fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Check => &mut self.verify,
            Kind::Open => &mut self.open,
            Kind::Deliver => &mut self.deliver,
            Kind::Remind => &mut self.remind,
        }
    }

    fn take(&mut self, kind: Kind) -> bool {
        let room = self.of(kind);
        let free = *room > 0;
        *room = room.saturating_sub(1);
        free
    }
}
