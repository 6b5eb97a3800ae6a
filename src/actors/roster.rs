//! Order id → seat. Invariant: at most one seat acts for an order, because only the roster seats, only the roster
//! sends to order actors, and it takes a seat back only when that seat has handled everything it was sent.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::order::{self, Work};
use super::{AskError, Moment, Shared, alarm};
use crate::domain::values::OrderId;

/// Crashes of one order within [`STRIKE_SECONDS`] that put it on the bench.
const STRIKES_MAX: usize = 3;
/// How long a crash counts against an order.
const STRIKE_SECONDS: u64 = 15;
/// How long an order stays on the bench.
const BENCH_SECONDS: u64 = 60;

/// The actor.
pub(super) struct Roster;

/// What the roster is told.
pub(super) enum Msg {
    /// Where the seats send their looks.
    Meet {
        /// The alarm.
        alarm: ActorRef<alarm::Msg>,
    },
    /// From outside, for an order.
    Ask {
        /// The order.
        order: OrderId,
        /// What is asked of it.
        work: Work,
    },
    /// From the alarm: these orders are due, or a duplicate asks for a look.
    Wake {
        /// The orders.
        orders: Vec<alarm::Call>,
    },
    /// From a seat: nothing is under way here.
    Quiet {
        /// The seat.
        seat: usize,
        /// The sitting it speaks of.
        sitting: u64,
        /// The messages it has handled in it.
        handled: u64,
    },
    /// Are you there?
    Probe {
        /// Yes.
        port: oneshot::Sender<()>,
    },
    /// Wake nobody any more, and say when every seat is quiet.
    Drain {
        /// All are.
        port: oneshot::Sender<()>,
    },
}

struct Seat {
    /// The order actor in this seat.
    actor: ActorRef<order::Msg>,
    /// The order it acts for, or last acted for while it rests.
    order: Option<OrderId>,
    /// Whether it acts for an order now.
    taken: bool,
    /// Grows with each order it is given; a word about an earlier sitting is a ghost's.
    sitting: u64,
    /// Messages handed to this sitting. Compared with the actor's own count it proves the mailbox empty.
    forwarded: u64,
}

/// The roster's memory.
pub(super) struct State {
    shared: Arc<Shared>,
    seats: Vec<Seat>,
    /// The seat of each actor, for its obituary.
    seat_by_actor: HashMap<ActorId, usize>,
    /// The seat that acts for an order, or that rested after it and still holds its state.
    seat_of: HashMap<OrderId, usize>,
    /// Free seats, the longest rested first. May name a seat that was taken since: then it is passed over.
    resting: VecDeque<usize>,
    /// Orders that wait for a seat, in order of arrival.
    queue: VecDeque<OrderId>,
    /// What waits for them. Bounded by the permits inside the messages. Sorted: a simulated drain lets go of it, and each
    /// story must let go in the same order every time.
    waiting: BTreeMap<OrderId, Vec<Work>>,
    /// Recent crashes by order.
    strikes: HashMap<OrderId, Vec<Instant>>,
    /// Poisonous orders, and until when they are left alone.
    bench: HashMap<OrderId, Instant>,
    alarm: Option<ActorRef<alarm::Msg>>,
    draining: Option<oneshot::Sender<()>>,
    taken: usize,
    gauges: Gauges,
}

/// Looked up once: the roster sets them after every message.
struct Gauges {
    seated: metrics::Gauge,
    waiting: metrics::Gauge,
    benched: metrics::Gauge,
}

impl Actor for Roster {
    type Msg = Msg;
    type State = State;
    type Arguments = Arc<Shared>;

    async fn pre_start(
        &self,
        myself: ActorRef<Msg>,
        shared: Arc<Shared>,
    ) -> Result<State, ActorProcessingErr> {
        let count = shared.parts.settings.seats;
        let mut state = State {
            shared,
            seats: Vec::with_capacity(count),
            seat_by_actor: HashMap::with_capacity(count),
            seat_of: HashMap::new(),
            resting: (0..count).collect(),
            queue: VecDeque::new(),
            waiting: BTreeMap::new(),
            strikes: HashMap::new(),
            bench: HashMap::new(),
            alarm: None,
            draining: None,
            taken: 0,
            gauges: Gauges {
                seated: metrics::gauge!("auditshield_actors_seated"),
                waiting: metrics::gauge!("auditshield_orders_waiting"),
                benched: metrics::gauge!("auditshield_orders_benched"),
            },
        };
        for number in 0..count {
            let actor = state.hire(&myself, number).await?;
            state.seats.push(Seat { actor, order: None, taken: false, sitting: 0, forwarded: 0 });
        }
        Ok(state)
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Meet { alarm } => state.alarm = Some(alarm),
            Msg::Ask { order, work } => state.ask(order, work),
            Msg::Wake { orders } => state.wake(orders),
            Msg::Quiet { seat, sitting, handled } => state.quiet(seat, sitting, handled),
            // The asker may be gone.
            Msg::Probe { port } => drop(port.send(())),
            Msg::Drain { port } => state.draining = Some(port),
        }
        state.report();
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
            SupervisionEvent::ActorTerminated(cell, _, why) => {
                state.replace(&myself, &cell, why.as_deref().unwrap_or("ended")).await?;
            }
            SupervisionEvent::ActorFailed(cell, why) => {
                state.replace(&myself, &cell, &why.to_string()).await?;
            }
        }
        state.report();
        Ok(())
    }
}

impl State {
    async fn hire(
        &mut self,
        myself: &ActorRef<Msg>,
        number: usize,
    ) -> Result<ActorRef<order::Msg>, ActorProcessingErr> {
        let arguments = (Arc::clone(&self.shared), myself.clone(), number);
        let (actor, _) = Actor::spawn_linked(None, order::Order, arguments, myself.get_cell()).await?;
        self.seat_by_actor.insert(actor.get_id(), number);
        Ok(actor)
    }

    fn ask(&mut self, order: OrderId, work: Work) {
        if self.benched(order) {
            return work.refuse(AskError::Gone);
        }
        if let Some(waiting) = self.waiting.get_mut(&order) {
            return waiting.push(work);
        }
        if let Some(work) = self.deliver(order, work) {
            self.waiting.insert(order, vec![work]);
            self.queue.push_back(order);
        }
    }

    /// An order that is seated moves by itself, so only a duplicate's look is worth a message to it.
    fn wake(&mut self, orders: Vec<alarm::Call>) {
        if self.draining.is_some() {
            return;
        }
        for alarm::Call { order, look } in orders {
            let seated = self.seat_of.get(&order).is_some_and(|seat| self.seats[*seat].taken);
            if self.benched(order) || (seated && look.is_none()) || self.waiting.contains_key(&order) {
                continue;
            }
            // Without a free seat the alarm comes again.
            drop(self.deliver(order, Work::Wake { look }));
        }
    }

    /// Hands work to the order's seat, seating it first. Gives it back when no seat is free.
    fn deliver(&mut self, order: OrderId, work: Work) -> Option<Work> {
        if let Some(number) = self.seat_of.get(&order).copied()
            && self.seats[number].taken
        {
            let seat = &mut self.seats[number];
            seat.forwarded += 1;
            // A seat that just died drops the message: the sender sees `Gone`, the obituary follows.
            let _ = seat.actor.cast(order::Msg::Work(work));
            return None;
        }
        let Some(number) = self.free_seat(order) else { return Some(work) };
        self.sit(number, order, work);
        None
    }

    /// The seat that still holds this order's state, or the longest rested.
    fn free_seat(&mut self, order: OrderId) -> Option<usize> {
        if let Some(number) = self.seat_of.get(&order).copied() {
            return Some(number);
        }
        while let Some(number) = self.resting.pop_front() {
            if !self.seats[number].taken {
                return Some(number);
            }
        }
        None
    }

    fn sit(&mut self, number: usize, order: OrderId, work: Work) {
        let seat = &mut self.seats[number];
        if let Some(former) = seat.order.replace(order)
            && former != order
        {
            self.seat_of.remove(&former);
        }
        seat.taken = true;
        seat.sitting += 1;
        seat.forwarded = 1;
        self.taken += 1;
        self.seat_of.insert(order, number);
        let _ = seat.actor.cast(order::Msg::Sit {
            order,
            sitting: seat.sitting,
            alarm: self.alarm.clone(),
            first: work,
        });
    }

    fn quiet(&mut self, number: usize, sitting: u64, handled: u64) {
        let seat = &mut self.seats[number];
        if seat.taken && seat.sitting == sitting && seat.forwarded == handled {
            self.rest(number);
        }
    }

    fn rest(&mut self, number: usize) {
        self.seats[number].taken = false;
        self.taken -= 1;
        self.resting.push_back(number);
        // A seat is listed once per rest; what was taken by its held order in between is passed over.
        if self.resting.len() > 2 * self.seats.len() {
            let mut seen = HashSet::new();
            let seats = &self.seats;
            self.resting.retain(|n| !seats[*n].taken && seen.insert(*n));
        }
        let Some(next) = self.queue.pop_front() else { return };
        for work in self.waiting.remove(&next).unwrap_or_default() {
            if let Some(work) = self.deliver(next, work) {
                self.waiting.entry(next).or_default().push(work);
            }
        }
        if self.waiting.contains_key(&next) {
            self.queue.push_front(next);
        }
    }

    /// A seat's actor died: its order is unseated with a strike, the seat gets a fresh actor. What was in its mailbox is
    /// gone, and its senders know. The order itself is in the ledger, and in its due index.
    async fn replace(
        &mut self,
        myself: &ActorRef<Msg>,
        cell: &ActorCell,
        why: &str,
    ) -> Result<(), ActorProcessingErr> {
        let Some(number) = self.seat_by_actor.remove(&cell.get_id()) else { return Ok(()) };
        metrics::counter!("auditshield_actor_restarts_total").increment(1);
        let actor = self.hire(myself, number).await?;
        let seat = &mut self.seats[number];
        seat.actor = actor;
        let order = seat.order.take();
        if let Some(order) = order {
            self.seat_of.remove(&order);
            tracing::error!(%order, why, "an order's actor died; the order is taken up again from the ledger");
            self.strike(order);
        }
        if self.seats[number].taken {
            self.rest(number);
        }
        self.shared.tell(Moment::Replaced { seat: number, order });
        Ok(())
    }

    fn strike(&mut self, order: OrderId) {
        let now = Instant::now();
        let recent = |at: &Instant| now.duration_since(*at) < Duration::from_secs(STRIKE_SECONDS);
        self.strikes.retain(|_, times| times.iter().any(recent));
        let times = self.strikes.entry(order).or_default();
        times.retain(recent);
        times.push(now);
        if times.len() >= STRIKES_MAX {
            self.strikes.remove(&order);
            self.bench.insert(order, now + Duration::from_secs(BENCH_SECONDS));
            self.shared.tell(Moment::Benched { order });
            tracing::error!(%order, seconds = BENCH_SECONDS, "this order keeps failing: it is left alone for a while");
        }
    }

    fn benched(&mut self, order: OrderId) -> bool {
        if self.bench.is_empty() {
            return false;
        }
        let now = Instant::now();
        self.bench.retain(|_, until| *until > now);
        self.bench.contains_key(&order)
    }

    fn report(&mut self) {
        self.gauges.seated.set(self.taken as f64);
        self.gauges.waiting.set(self.queue.len() as f64);
        self.gauges.benched.set(self.bench.len() as f64);
        if self.taken == 0
            && self.queue.is_empty()
            && let Some(port) = self.draining.take()
        {
            let _ = port.send(());
            // Nobody is woken from here on either.
            self.draining = Some(oneshot::channel().0);
        }
    }
}
