//! The daemon's two boundaries to the network, played by the world.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use auditshield::domain::input::{Acceptance, Verdict};
use auditshield::domain::values::{OrderId, TransactionId};
use auditshield::ports::{Letter, Mailer, Occasion, OpenRequest, Opened, PortFuture, Posted, Provider};
use tokio::time::sleep;

use crate::INJECTED;
use crate::chance::Chance;
use crate::world::{Phase, State, Transaction, World};

pub struct Port(pub Arc<World>);

/// No errand has so much time.
const LATE_MILLIS: u64 = 10_000_000;

/// Whom a call goes to.
#[derive(Clone, Copy)]
enum Peer {
    CinetPay,
    Mail,
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    Panics,
    /// Never reached.
    Unreached,
    /// Done there, but nobody hears of it.
    Unheard,
    /// 429.
    Throttled(u64),
    /// An answer without sense: `answered` or not.
    Nonsense(bool),
    /// A plain no.
    No,
}

/// Counts a call as open until it is answered or dropped.
struct Open<'a>(&'a World, fn(&mut State) -> &mut usize);

impl<'a> Open<'a> {
    fn begin(world: &'a World, counter: fn(&mut State) -> &mut usize) -> Self {
        world.with(|s| *counter(s) += 1);
        Open(world, counter)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.with(|s| {
            let open = (self.1)(s);
            *open = open.saturating_sub(1);
        });
    }
}

/// A question about an order that may come back with an older truth.
struct Checking<'a>(&'a World, OrderId);

impl<'a> Checking<'a> {
    fn begin(world: &'a World, order: OrderId) -> Self {
        world.with(|s| s.asked_about(order, 1));
        Checking(world, order)
    }
}

impl Drop for Checking<'_> {
    fn drop(&mut self) {
        self.0.with(|s| s.asked_about(self.1, -1));
    }
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

impl State {
    fn asked_about(&mut self, order: OrderId, change: i32) {
        if let Some(sold) = self.sold.get_mut(&order) {
            sold.checks = sold.checks.saturating_add_signed(change);
        }
    }

    /// How long one way takes at most, in milliseconds. Without trouble an errand with several questions is back in its
    /// time: otherwise a mail could be cut off as often as it is tried, and no daemon could end the story.
    fn way_max(&self, trouble: bool) -> u64 {
        let errand = u64::try_from(self.knobs.settings.errand_time.as_millis()).unwrap();
        if trouble { self.knobs.network_ms } else { self.knobs.network_ms.min(errand / 8) }
    }

    /// How long there and back take, and what happens on the way.
    fn fate(&mut self, peer: Peer) -> (u64, u64, Fate) {
        let now = self.now();
        let top = self.way_max(self.knobs.network && !self.calm);
        let (poison, until, c, panic) = match peer {
            Peer::CinetPay => (
                &mut self.poison.cinetpay,
                self.outage.cinetpay_until,
                &mut self.chance.cinetpay,
                "panic in a call to CinetPay",
            ),
            Peer::Mail => (
                &mut self.poison.mail,
                self.outage.mail_until,
                &mut self.chance.mail,
                "panic in a call to the mail server",
            ),
        };
        if *poison > 0 {
            *poison -= 1;
            self.mishaps += 1;
            self.count(panic);
            return (0, 0, Fate::Panics);
        }
        let (there, back) = (c.between(0, top), c.between(0, top));
        if !self.knobs.network || self.calm {
            return (there, back, Fate::Well);
        }
        let trouble = match (peer, until > now) {
            (Peer::CinetPay, true) => {
                let fate = if c.one_in(2) { Fate::Unreached } else { Fate::Unheard };
                Some(("CinetPay out of reach", fate, back))
            }
            (Peer::CinetPay, false) => cinetpay_trouble(c, back),
            (Peer::Mail, true) => Some(("mail server out of reach", Fate::Unreached, back)),
            (Peer::Mail, false) => mail_trouble(c, back),
        };
        let Some((name, fate, back)) = trouble else { return (there, back, Fate::Well) };
        self.count(name);
        (there, back, fate)
    }

    /// The transaction is opened at CinetPay, unless it exists.
    fn open_transaction(&mut self, request: &OpenRequest) -> Opened {
        let key = (request.transaction.order, request.transaction.attempt.number());
        let url = format!("https://pay.example/{}", request.transaction);
        self.money_may_be_asked(request);
        if self.transactions.contains_key(&key) {
            self.count("transaction number used twice");
            return Opened::Refused { reason: "620".to_owned() };
        }
        let transaction = Transaction {
            price: request.price,
            url: url.clone(),
            phase: Phase::Waiting,
            was_refused: false,
            was_mismatched: false,
        };
        self.transactions.insert(key, transaction);
        Opened::Page { payment_url: url, payment_token: "token".to_owned() }
    }

    fn answer(&self, transaction: TransactionId) -> Verdict {
        match self.transactions.get(&(transaction.order, transaction.attempt.number())).map(|t| &t.phase) {
            None => Verdict::Unknown { code: "http 404".to_owned(), answered: true, retry_after: None },
            Some(Phase::Waiting) => Verdict::Pending { code: "662".to_owned() },
            Some(Phase::Refused) => Verdict::Refused { code: "627".to_owned() },
            Some(Phase::Accepted(claimed)) => Verdict::Accepted(Acceptance {
                claimed: *claimed,
                provider_tx_id: Some(format!("MP{transaction}")),
                payment_method: Some("OM".to_owned()),
            }),
        }
    }
}

impl Provider for Port {
    fn open(&self, request: OpenRequest) -> PortFuture<'_, Opened> {
        Box::pin(async move {
            let world = &*self.0;
            let (there, back, fate) = world.with(|s| s.fate(Peer::CinetPay));
            assert!(fate != Fate::Panics, "{INJECTED}: opening a page");
            let _open = Open::begin(world, |s| &mut s.calls_open);
            sleep(millis(there)).await;
            if world.with(|s| s.dead.is_some()) {
                return pending().await;
            }
            let text = format!("open {} {fate:?}", crate::short(request.transaction.order));
            let answer = match fate {
                Fate::Unreached => Opened::NotSent { reason: "connect".to_owned() },
                Fate::No => Opened::Refused { reason: "608".to_owned() },
                Fate::Throttled(_) => Opened::Refused { reason: "429".to_owned() },
                Fate::Well => world.with(|s| s.open_transaction(&request)),
                Fate::Unheard | Fate::Nonsense(_) | Fate::Panics => {
                    world.with(|s| s.open_transaction(&request));
                    Opened::Ambiguous { reason: "read".to_owned() }
                }
            };
            world.with(|s| s.note(format!("{text} {}", request.transaction.attempt.number())));
            world.pass("dies after a page was opened");
            sleep(millis(back)).await;
            if world.with(|s| s.dead.is_some()) { pending().await } else { answer }
        })
    }

    fn check(&self, transaction: TransactionId) -> PortFuture<'_, Verdict> {
        Box::pin(async move {
            let world = &*self.0;
            let order = transaction.order;
            let (there, back, fate) = world.with(|s| s.fate(Peer::CinetPay));
            assert!(fate != Fate::Panics, "{INJECTED}: checking");
            let _open = Open::begin(world, |s| &mut s.calls_open);
            let _checking = Checking::begin(world, order);
            sleep(millis(there)).await;
            let unknown = |code: &str, answered, retry_after| Verdict::Unknown {
                code: code.to_owned(),
                answered,
                retry_after,
            };
            let answer = match fate {
                Fate::Well | Fate::No => world.with(|s| s.answer(transaction)),
                Fate::Unreached | Fate::Unheard | Fate::Panics => unknown("timeout", false, None),
                Fate::Throttled(seconds) => unknown("429", false, Some(Duration::from_secs(seconds))),
                Fate::Nonsense(_) => unknown("624", false, None),
            };
            let attempt = transaction.attempt.number();
            world.with(|s| s.note(format!("check {} {attempt} {fate:?}", crate::short(order))));
            sleep(millis(back)).await;
            if world.with(|s| s.dead.is_some()) {
                return pending().await;
            }
            world.pass("dies after a check was answered");
            answer
        })
    }
}

impl Mailer for Port {
    fn reserve(&self, _: bool) -> PortFuture<'_, bool> {
        Box::pin(std::future::ready(self.0.with(State::may_mail)))
    }

    fn send(&self, letter: Letter) -> PortFuture<'_, Posted> {
        Box::pin(async move {
            let world = &*self.0;
            world.with(State::mail_leaves);
            let (there, back, fate) = world.with(|s| s.fate(Peer::Mail));
            assert!(fate != Fate::Panics, "{INJECTED}: sending a mail");
            let reminds = letter.occasion != Occasion::Delivery;
            let _open = match letter.occasion {
                Occasion::Delivery => Open::begin(world, |s| &mut s.mails_open),
                Occasion::Reminder { .. } => Open::begin(world, |s| &mut s.reminders_open),
            };
            if world.with(|s| s.dead.is_none()) {
                world.with(|s| s.mail_begins(&letter));
                if reminds {
                    world.with(|s| s.reminder_begins(&letter));
                }
            }
            sleep(millis(there)).await;
            if world.with(|s| s.dead.is_some()) {
                return pending().await;
            }
            let answer = match fate {
                Fate::Unreached => Posted::Unavailable { reason: "connect".to_owned() },
                Fate::Throttled(_) | Fate::Nonsense(_) => Posted::Unavailable { reason: "451".to_owned() },
                Fate::No => {
                    world.with(|s| {
                        s.count(if reminds { "reminder refused for good" } else { "mail refused for good" })
                    });
                    Posted::Refused { reason: "550".to_owned() }
                }
                Fate::Well => {
                    world.with(|s| s.mail_taken(&letter));
                    Posted::Accepted
                }
                Fate::Unheard | Fate::Panics => {
                    world.with(|s| s.mail_taken(&letter));
                    Posted::Unavailable { reason: "read".to_owned() }
                }
            };
            world.with(|s| s.note(format!("mail {} {fate:?}", crate::short(letter.order))));
            world.pass("dies after a mail was taken");
            sleep(millis(back)).await;
            if world.with(|s| s.dead.is_some()) {
                return pending().await;
            }
            if answer == Posted::Accepted {
                world.with(|s| s.mail_answered(&letter));
            }
            answer
        })
    }
}

/// What goes wrong with a call to CinetPay, by name, and how long the way back is.
fn cinetpay_trouble(c: &mut Chance, back: u64) -> Option<(&'static str, Fate, u64)> {
    Some(match c.below(16) {
        0 => ("CinetPay slower than the errand's time", Fate::Unheard, LATE_MILLIS),
        1 => ("CinetPay 429", Fate::Throttled(c.between(1, 120)), back),
        2 => ("CinetPay without sense", Fate::Nonsense(false), back),
        3 => ("CinetPay with a code that says nothing", Fate::Nonsense(true), back),
        4 => ("CinetPay not reached", Fate::Unreached, back),
        5 => ("CinetPay says no", Fate::No, back),
        _ => return None,
    })
}

/// The same of a mail.
fn mail_trouble(c: &mut Chance, back: u64) -> Option<(&'static str, Fate, u64)> {
    Some(match c.below(12) {
        0 => ("mail taken, answer later than the errand's time", Fate::Unheard, LATE_MILLIS),
        1 => ("mail taken, answer lost", Fate::Unheard, back),
        2 => ("mail 4xx", Fate::Nonsense(true), back),
        3 => ("mail server not reached", Fate::Unreached, back),
        4 if c.one_in(2) => ("mail 5xx", Fate::No, back),
        _ => return None,
    })
}
