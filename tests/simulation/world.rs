//! Everything outside the daemon: time, CinetPay's truth, the mail server's, and what buyers were told. It outlives
//! every crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use auditshield::domain::input::Purchase;
use auditshield::domain::values::{Claimed, Money, OrderId, Timestamp, TransactionId};
use auditshield::ledger::Standing;
use auditshield::ledger::simulated::Machine;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::acts::Act;
use crate::books::Books;
use crate::chance::Chance;
use crate::knobs::Knobs;

/// The simulated time of day at the beginning, in milliseconds since 1970.
const DAWN_MILLIS: u64 = 1_750_000_000_000;
/// A seed stops at its first violations.
const VIOLATIONS_MAX: usize = 5;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// SIGKILL: the page cache stays.
    Killed,
    /// The power failed: unsynced sectors are lost, or not.
    PowerCut,
    /// The ledger asked for the end of the process.
    Exited,
    /// Drained and closed.
    Drained,
    /// Everything was checked.
    Finished,
}

/// A transaction as CinetPay knows it.
#[derive(Debug, Clone)]
pub struct Transaction {
    pub price: Money,
    pub url: String,
    pub phase: Phase,
    pub was_refused: bool,
    pub was_mismatched: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    Waiting,
    Refused,
    Accepted(Claimed),
}

/// An order as its buyer, CinetPay's clients and the admin know it.
#[derive(Debug, Clone)]
pub struct Sold {
    pub purchase: Purchase,
    /// A payment page was promised.
    pub answered: bool,
    /// Digests that the world sent, and those that were answered 200.
    pub sent: BTreeSet<String>,
    pub heard: BTreeSet<String>,
    /// CinetPay has said its last word so far, and the daemon must find it out.
    pub must_settle: bool,
    /// Looks at which it was not sure that the daemon will ask once more.
    pub unsure: u8,
    /// Checks at CinetPay under way.
    pub checks: u32,
    pub approvals: u32,
    pub rejections: u32,
}

/// A mail that the mail server took.
#[derive(Debug, Clone)]
pub struct Taken {
    pub text: String,
    pub link: u32,
    /// Why it may come again, if it may: what had gone wrong by then.
    pub mishaps: u64,
    /// The answer was lost.
    pub unheard: bool,
    /// How often a person had it sent again, by then.
    pub resends: usize,
    /// Which of the order's links it carries: an attempt under way may be older than a resend.
    pub edition: Option<usize>,
    /// That link opened nothing any more.
    pub withdrawn: bool,
}

pub struct State {
    pub chance: Chances,
    pub knobs: Knobs,
    pub machine: Machine,
    pub books: Books,
    pub trace: Vec<String>,
    pub counts: BTreeMap<&'static str, u64>,
    pub violations: Vec<String>,
    pub queue: BTreeMap<(u64, u64), Act>,
    queued: u64,
    /// World time when this life began.
    origin: u64,
    /// The runtime's instant then; none between two lives.
    epoch: Option<Instant>,
    /// How far the machine's clock is off, in milliseconds.
    pub skew: i64,
    pub skew_max: i64,
    pub sold: BTreeMap<OrderId, Sold>,
    pub transactions: BTreeMap<(OrderId, u8), Transaction>,
    /// Pages that a buyer has seen.
    pub scripted: BTreeSet<(OrderId, u8)>,
    /// Every notification ever sent.
    pub notices: Vec<(TransactionId, [u8; 32])>,
    pub mails: BTreeMap<OrderId, Vec<Taken>>,
    /// The same, reminders.
    pub reminders: BTreeMap<OrderId, Vec<Taken>>,
    /// What an impostor holds of orders since it first saw them.
    pub held: BTreeMap<OrderId, Standing>,
    /// Orders promised for an idempotency key.
    pub promised: BTreeMap<String, OrderId>,
    /// What the process keeps of keys in memory.
    pub claims: BTreeMap<String, OrderId>,
    pub outage: Outage,
    /// Panics that are still to happen.
    pub poison: Poison,
    /// Who decides now, and who sat down last, for each order.
    pub deciding: BTreeMap<OrderId, BTreeSet<usize>>,
    pub seated: BTreeMap<OrderId, usize>,
    pub deaths_expected: u64,
    pub deaths: u64,
    /// Crashes, panics and disk faults: what makes a second mail forgivable.
    pub mishaps: u64,
    pub asks_open: usize,
    pub calls_open: usize,
    pub mails_open: usize,
    pub reminders_open: usize,
    /// The process is dead: nothing that it still does counts.
    pub dead: Option<End>,
    /// Trouble is over.
    /// Mails of the hour that were taken and have not left yet.
    pub mails_reserved: u64,
    pub calm: bool,
    pub calm_at: u64,
    /// The next occasion of this kind ends the process on the spot.
    pub ambush: Option<&'static str>,
    /// Something happened to the index that makes a rebuild right.
    pub index_hurt: bool,
    /// Whether a start has read the journal since the last power cut: before, its end may be torn.
    pub recovered: bool,
    pub rebuilds_seen: u64,
}

/// One stream each.
pub struct Chances {
    pub buyers: Chance,
    pub wishes: Chance,
    pub corrections: Chance,
    pub cinetpay: Chance,
    pub mail: Chance,
    pub trouble: Chance,
    pub disk: Chance,
}

#[derive(Debug, Default)]
pub struct Outage {
    pub cinetpay_until: u64,
    pub mail_until: u64,
}

#[derive(Debug, Default)]
pub struct Poison {
    pub cinetpay: u32,
    pub mail: u32,
    pub orders: BTreeMap<OrderId, u32>,
    /// The next order that is bought will kill its actor whenever it decides.
    pub first: bool,
}

/// The world, shared with the ports.
pub struct World {
    state: Mutex<State>,
    /// Rings when the process must end.
    pub end: Notify,
}

impl World {
    pub fn of(seed: u64) -> Arc<Self> {
        let chance = |stream| Chance::of(seed, stream);
        let state = State {
            chance: Chances {
                buyers: chance("buyers"),
                wishes: chance("wishes"),
                corrections: chance("corrections"),
                cinetpay: chance("cinetpay"),
                mail: chance("mail"),
                trouble: chance("trouble"),
                disk: chance("disk"),
            },
            knobs: Knobs::of(seed),
            machine: Machine::default(),
            books: Books::default(),
            trace: Vec::new(),
            counts: BTreeMap::new(),
            violations: Vec::new(),
            queue: BTreeMap::new(),
            queued: 0,
            origin: 0,
            epoch: None,
            skew: 0,
            skew_max: 0,
            sold: BTreeMap::new(),
            transactions: BTreeMap::new(),
            scripted: BTreeSet::new(),
            notices: Vec::new(),
            mails: BTreeMap::new(),
            reminders: BTreeMap::new(),
            held: BTreeMap::new(),
            promised: BTreeMap::new(),
            claims: BTreeMap::new(),
            outage: Outage::default(),
            poison: Poison::default(),
            deciding: BTreeMap::new(),
            seated: BTreeMap::new(),
            deaths_expected: 0,
            deaths: 0,
            mishaps: 0,
            asks_open: 0,
            calls_open: 0,
            mails_open: 0,
            reminders_open: 0,
            dead: None,
            mails_reserved: 0,
            calm: false,
            calm_at: 0,
            ambush: None,
            index_hurt: false,
            recovered: true,
            rebuilds_seen: 0,
        };
        Arc::new(World { state: Mutex::new(state), end: Notify::new() })
    }

    /// Looks at or changes the world. Never across an await.
    pub fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The process dies here and now.
    pub fn die(&self, end: End) {
        self.with(|s| {
            if s.dead.is_none() {
                s.dead = Some(end);
                s.mishaps += 1;
                s.note(format!("dies: {end:?}"));
            }
        });
        self.end.notify_one();
    }

    /// Dies if an ambush waits here.
    pub fn pass(&self, place: &'static str) {
        if self.with(|s| s.ambush.take_if(|wanted| *wanted == place).is_some()) {
            let cut = self.with(|s| {
                s.count(place);
                s.chance.trouble.one_in(2)
            });
            self.die(if cut { End::PowerCut } else { End::Killed });
        }
    }
}

impl State {
    /// A life begins.
    pub fn begin(&mut self) {
        self.epoch = Some(Instant::now());
        self.dead = None;
        self.ambush = None;
        self.claims.clear();
        self.deciding.clear();
        self.seated.clear();
        (self.asks_open, self.calls_open) = (0, 0);
        (self.mails_open, self.reminders_open) = (0, 0);
        self.sold.values_mut().for_each(|sold| sold.checks = 0);
    }

    /// A life has ended; its runtime is still there.
    pub fn end(&mut self) {
        self.origin = self.now();
        self.epoch = None;
    }

    /// Time passes without a process.
    pub fn pause(&mut self, millis: u64) {
        self.origin += millis;
    }

    /// Milliseconds since the beginning.
    pub fn now(&self) -> u64 {
        let lived = self.epoch.map_or(0, |epoch| u64::try_from(epoch.elapsed().as_millis()).unwrap());
        self.origin + lived
    }

    /// The machine's clock.
    pub fn clock(&self) -> Timestamp {
        let true_time = i64::try_from(DAWN_MILLIS + self.now()).unwrap();
        Timestamp::from_millis(true_time + self.skew)
    }

    pub fn note(&mut self, text: String) {
        let now = self.now();
        self.trace.push(format!("{now:>9} {text}"));
    }

    /// Counts that a kind of thing really happened.
    pub fn count(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    /// A law is broken.
    pub fn violate(&mut self, text: String) {
        self.note(format!("VIOLATION {text}"));
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(text);
        }
    }

    /// Plans an act, so many milliseconds from now.
    pub fn plan(&mut self, after: u64, act: Act) {
        let at = self.now() + after;
        self.queued += 1;
        self.queue.insert((at, self.queued), act);
    }
}
