//! Who acts for an order. The only folder that names ractor.
//!
//! ```text
//! Roster            order id → seat; the only sender to order actors; strikes and bench
//! └─ Order × seats  each acts for one order at a time: load → decide → commit → answer → advance
//!    └─ Errand      one attempt of the verifier or the courier; its exit state is its report
//! Alarm             looks at the due index, wakes as many orders as there are errand permits
//! ```
//!
//! The world outside holds an [`Orders`] handle and never an actor.

mod alarm;
mod causes;
mod courier;
mod errand;
mod log;
mod order;
mod recent;
mod roster;
mod silence;
mod verifier;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorRef};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::domain::catalog::Catalog;
use crate::domain::decide::Refusal;
use crate::domain::input::{Input, Notice};
use crate::domain::payment::Payment;
use crate::domain::schedule::Policy;
use crate::domain::values::OrderId;
use crate::ledger::Ledger;
use crate::ports::{Clock, Current, Mailer, Provider, RequestId};

use recent::Recent;
pub use witness::{Moment, Witness};

/// Between two looks at the due index.
const TICK_MILLIS: u64 = 100;

/// What a lease lasts beyond the longest errand, in seconds: for the commit of what it brings back.
const LEASE_BEYOND_SECONDS: u64 = 5;

/// Reminders being sent at one time. One, beside the permits of deliveries: a reminder can wait, a buyer who has paid
/// cannot.
const REMINDERS_MAX: usize = 1;

/// Bounds of the actor system. Counts, unless the name has a unit.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Order actors in the pool.
    pub seats: usize,
    /// Messages under way or waiting, over all orders.
    pub asks_max: usize,
    /// Checks at CinetPay at one time.
    pub verify_max: usize,
    /// Payment pages being opened at one time.
    pub open_max: usize,
    /// Mails being sent at one time.
    pub deliver_max: usize,
    /// How long a caller waits for an answer.
    pub patience: Duration,
    /// How long an errand may take, at the most.
    pub errand_time: Duration,
    /// Between two looks at the due index.
    pub tick: Duration,
    /// Who is told what the actors do.
    pub witness: Witness,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seats: 512,
            asks_max: 4096,
            verify_max: 32,
            open_max: 64,
            deliver_max: 8,
            patience: Duration::from_secs(25),
            errand_time: Duration::from_secs(60),
            tick: Duration::from_millis(TICK_MILLIS),
            witness: Witness::default(),
        }
    }
}

impl Settings {
    /// How long an order's lease lasts. No errand goes a step further than that.
    pub fn lease_time(&self) -> Duration {
        self.errand_time + Duration::from_secs(LEASE_BEYOND_SECONDS)
    }

    /// Errands may hold at most half the seats, so that they never starve intake.
    pub fn errands_fit(&self) -> bool {
        self.verify_max + self.open_max + self.deliver_max + REMINDERS_MAX <= self.seats / 2
    }
}

/// What every actor works with.
pub struct Parts {
    /// The truth.
    pub ledger: Ledger,
    /// CinetPay.
    pub provider: Arc<dyn Provider>,
    /// The mail server.
    pub mailer: Arc<dyn Mailer>,
    /// Names and files.
    pub catalog: Current<Catalog>,
    /// The merchant's times and counts.
    pub policy: Policy,
    /// The time of day.
    pub clock: Clock,
    /// Bounds.
    pub settings: Settings,
}

/// Parts, and the permits that bound errands.
struct Shared {
    parts: Parts,
    verify: Arc<Semaphore>,
    open: Arc<Semaphore>,
    deliver: Arc<Semaphore>,
    remind: Arc<Semaphore>,
    /// Orders paid in a row of which no notification told.
    silence: silence::Silence,
    /// Requests whose errands wait for a permit.
    causes: causes::Causes,
}

impl Shared {
    fn of(parts: Parts) -> Arc<Self> {
        let settings = &parts.settings;
        Arc::new(Self {
            verify: Arc::new(Semaphore::new(settings.verify_max)),
            open: Arc::new(Semaphore::new(settings.open_max)),
            deliver: Arc::new(Semaphore::new(settings.deliver_max)),
            remind: Arc::new(Semaphore::new(REMINDERS_MAX)),
            silence: silence::Silence::default(),
            causes: causes::Causes::default(),
            parts,
        })
    }

    fn tell(&self, moment: Moment) {
        self.parts.settings.witness.tell(moment);
    }
}

/// What an order answers.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The order as committed.
    pub payment: Arc<Payment>,
    /// True when nothing was new.
    pub duplicate: bool,
}

/// What became of a notification. Either way it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notified {
    /// It was committed now.
    New,
    /// It had been committed before.
    Known,
}

/// Why an order did not answer with a receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Too much is waiting: try again later.
    #[error("too busy")]
    Busy,
    /// The order's actor died; nothing was acknowledged.
    #[error("the order's actor died")]
    Gone,
    /// No answer in time; the order may still do it.
    #[error("no answer in time")]
    Late,
    /// The ledger cannot commit now; nothing changed.
    #[error("the ledger cannot commit")]
    NoRoom,
    /// A business "no".
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// CinetPay did not open a payment page.
    #[error("no payment page: {0}")]
    NotOpened(String),
}

/// Where an answer goes. The permit rides along: it is given back when the answer is sent, or lost in a crash.
struct Reply {
    port: oneshot::Sender<Result<Receipt, AskError>>,
    _permit: OwnedSemaphorePermit,
}

impl Reply {
    fn send(self, answer: Result<Receipt, AskError>) {
        // A caller that stopped waiting is not an error.
        let _ = self.port.send(answer);
    }
}

/// The handle that the rest of the program talks to.
#[derive(Clone)]
pub struct Orders {
    roster: ActorRef<roster::Msg>,
    alarm: ActorRef<alarm::Msg>,
    permits: Arc<Semaphore>,
    recent: Arc<Recent>,
    patience: Duration,
}

/// The actors did not start.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StartError(#[from] ractor::SpawnErr);

/// The running actors. Ends when the roster or the alarm does, which is a fault unless a drain asked for it.
pub struct Running {
    roster: tokio::task::JoinHandle<()>,
    alarm: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Waits until an actor that must never end has ended.
    pub async fn ended(&mut self) {
        tokio::select! {
            _ = &mut self.roster => {}
            _ = &mut self.alarm => {}
        }
    }
}

impl Orders {
    /// Starts the roster, its seats and the alarm.
    pub async fn start(parts: Parts) -> Result<(Self, Running), StartError> {
        let settings = parts.settings.clone();
        let shared = Shared::of(parts);
        Self::launch(shared, settings).await
    }

    async fn launch(shared: Arc<Shared>, settings: Settings) -> Result<(Self, Running), StartError> {
        let (roster, roster_task) = Actor::spawn(None, roster::Roster, Arc::clone(&shared)).await?;
        let (alarm, alarm_task) = Actor::spawn(None, alarm::Alarm, (shared, roster.clone())).await?;
        // A dead roster drops the message, which the caller sees as `Gone`.
        let _ = roster.cast(roster::Msg::Meet { alarm: alarm.clone() });
        let orders = Self {
            roster,
            alarm,
            permits: Arc::new(Semaphore::new(settings.asks_max)),
            recent: Arc::default(),
            patience: settings.patience,
        };
        Ok((orders, Running { roster: roster_task, alarm: alarm_task }))
    }

    /// Hands `input` to the order's actor and waits for its answer: at commit, or when the errand that it asks for is back.
    pub async fn submit(&self, order: OrderId, input: Input) -> Result<Receipt, AskError> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            metrics::counter!("auditshield_asks_refused_total").increment(1);
            return Err(AskError::Busy);
        };
        let (port, answer) = oneshot::channel();
        let reply = Reply { port, _permit: permit };
        let cause = RequestId::current().unwrap_or_else(RequestId::made);
        let span = tracing::Span::current();
        let work = order::Work::Ask { input, cause, span, reply };
        self.roster.cast(roster::Msg::Ask { order, work }).map_err(|_| AskError::Gone)?;
        match tokio::time::timeout(self.patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(AskError::Gone),
            Err(_) => Err(AskError::Late),
        }
    }

    /// Commits a notification, once. Repeats about a settled order are answered without its actor.
    ///
    /// # Errors
    /// See [`AskError`]; the notification is not acknowledged then.
    pub async fn notify(&self, order: OrderId, notice: Notice) -> Result<Notified, AskError> {
        if self.recent.knows(order, &notice) {
            return Ok(Notified::Known);
        }
        let receipt = self.submit(order, Input::Notify(notice.clone())).await?;
        self.recent.remember(&receipt.payment, &notice);
        Ok(if receipt.duplicate { Notified::Known } else { Notified::New })
    }

    /// A round trip through the roster: the watchdog's question whether it still works.
    pub async fn probe(&self) -> bool {
        let (port, answer) = oneshot::channel();
        self.roster.cast(roster::Msg::Probe { port }).is_ok() && answer.await.is_ok()
    }

    /// Starts nothing new, and waits until every seat is quiet or `deadline` has passed. True when all were quiet.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.alarm.stop(None);
        let (port, quiet) = oneshot::channel();
        let asked = self.roster.cast(roster::Msg::Drain { port }).is_ok();
        let quiet = asked && matches!(tokio::time::timeout(deadline, quiet).await, Ok(Ok(())));
        self.roster.stop(None);
        quiet
    }
}

#[cfg(test)]
mod tests;
