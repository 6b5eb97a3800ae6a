//! Wakes what is due: retries, polling for lost webhooks, the work that a crash interrupted. All of it is the due index.

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::{Shared, roster};
use crate::domain::payment::{Step, next_step};
use crate::domain::values::{OrderId, Timestamp};

/// Due orders read at one look.
const DUE_MAX: usize = 1024;
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
    },
}

/// The alarm's memory.
pub(super) struct State {
    shared: Arc<Shared>,
    roster: ActorRef<roster::Msg>,
    /// Looks that duplicates asked for. Ordered, so that a replay of the simulation grants the same ones.
    looks: BTreeMap<OrderId, Timestamp>,
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
        Ok(State { shared, roster, looks: BTreeMap::new() })
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Tick => state.tick().await,
            Msg::Look { order, at } => {
                if state.looks.len() < LOOKS_MAX {
                    state.looks.entry(order).or_insert(at);
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
        };
        let due = if rooms.none() { Ok(Vec::new()) } else { parts.ledger.due(now, DUE_MAX) };
        let due = match due {
            Ok(due) => due,
            Err(fault) => {
                tracing::error!(%fault, "the due index cannot be read");
                return;
            }
        };
        let mut orders = Vec::new();
        for (_, order) in due {
            if rooms.none() {
                break;
            }
            if let Ok(Some(standing)) = parts.ledger.standing(order)
                && rooms.take(next_step(standing.payment(), now))
            {
                orders.push((order, false));
            }
        }
        let verify = &mut rooms.verify;
        self.looks.retain(|order, at| {
            let ripe = *at <= now && *verify > 0;
            if ripe {
                *verify -= 1;
                orders.push((*order, true));
            }
            !ripe
        });
        if !orders.is_empty() {
            // The roster ends only when the program does.
            let _ = self.roster.cast(roster::Msg::Wake { orders });
        }
    }
}

/// Errand permits that are free.
struct Rooms {
    verify: usize,
    open: usize,
    deliver: usize,
}

impl Rooms {
    /// Nothing could be started: there is no point in looking for what is due.
    fn none(&self) -> bool {
        self.verify == 0 && self.open == 0 && self.deliver == 0
    }

    fn take(&mut self, step: Step) -> bool {
        let room = match step {
            Step::Check(_) => &mut self.verify,
            Step::Open(_) => &mut self.open,
            Step::Deliver => &mut self.deliver,
            Step::Wait(_) | Step::Rest => return false,
        };
        let free = *room > 0;
        *room = room.saturating_sub(1);
        free
    }
}
