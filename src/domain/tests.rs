//! The rules, as tables and as properties.

mod edges;
mod erasure;
mod laws;
mod papers;
mod reminders;
mod wishes;

use std::time::Duration;

use proptest::prelude::*;

use super::decide::{Refusal, decide};
use super::event::{Decision, Event};
use super::input::{Acceptance, Input, Notice, Purchase, Report, Verdict};
use super::invariants::{broken_by, violations};
use super::payment::{LinkState, NOTICES_MAX, Payment, Step, due_at, next_step};
use super::schedule::Policy;
use super::values::{Attempt, Buyer, Claimed, Currency, Email, Lang, Money, OrderId, Timestamp};

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// One order, told things one after the other.
struct Tale {
    policy: Policy,
    now: Timestamp,
    id: OrderId,
    payment: Option<Payment>,
    history: Vec<Event>,
}

impl Tale {
    fn new() -> Self {
        let id = OrderId::new(START, 99);
        Self { policy: Policy::default(), now: START, id, payment: None, history: vec![] }
    }
    /// The kinds of the new events, or the refusal.
    fn tell(&mut self, input: &Input) -> String {
        match decide(&self.policy, self.payment.as_ref(), input, self.now) {
            Err(refusal) => format!("no: {refusal}"),
            Ok(events) if events.is_empty() => "nothing".to_owned(),
            Ok(events) => {
                let next = Payment::evolve(self.payment.as_ref(), self.id, &events, self.now).unwrap();
                assert_eq!(broken_by(self.payment.as_ref(), &events, &next), Vec::<&str>::new());
                self.payment = Some(next);
                self.history.extend(events.iter().cloned());
                assert_eq!(violations(self.payment.as_ref().unwrap(), &self.history), Vec::<String>::new());
                events.iter().map(Event::kind).collect::<Vec<_>>().join(" ")
            }
        }
    }
    fn status(&self) -> &'static str {
        self.payment.as_ref().map_or("-", Payment::status_name)
    }
    fn later(&mut self, by: Duration) -> &mut Self {
        self.now = self.now.plus(by);
        self
    }
    /// An order in the named status.
    fn at(status: &str) -> Self {
        let mut tale = Self::new();
        let steps: &[&str] = match status {
            "-" => &[],
            "CREATED" => &["buy"],
            "PENDING" => &["buy", "opened"],
            "PAID" => &["buy", "opened", "accepted"],
            "FAILED" => &["buy", "opened", "refused"],
            "REVIEW" => &["buy", "opened", "mismatch"],
            "EXPIRED" => &["buy", "opened", "expire"],
            "REFUNDED" => &["buy", "opened", "accepted", "refund"],
            other => panic!("no such status: {other}"),
        };
        for step in steps {
            if *step == "expire" {
                tale.later(Duration::from_secs(73 * 3600));
                tale.tell(&input("pending"));
            } else {
                tale.tell(&input(step));
            }
        }
        assert_eq!(tale.status(), status);
        tale
    }
}

fn verdict(word: &str) -> Verdict {
    let accepted = |amount, currency| {
        Verdict::Accepted(Acceptance {
            claimed: Claimed { amount, currency },
            provider_tx_id: Some("MP1".to_owned()),
            payment_method: Some("OM".to_owned()),
        })
    };
    let unknown = |answered| Verdict::Unknown { code: "X".to_owned(), answered, retry_after: None };
    match word {
        "accepted" => accepted(Some(15_000), Some(Currency::Xof)),
        "mismatch" => accepted(Some(100), Some(Currency::Xof)),
        "otherCurrency" => accepted(Some(15_000), Some(Currency::Xaf)),
        "noAmount" => accepted(None, Some(Currency::Xof)),
        "refused" => Verdict::Refused { code: "627".to_owned() },
        "pending" => Verdict::Pending { code: "662".to_owned() },
        "unknown" => unknown(true),
        "unheard" => unknown(false),
        other => panic!("no such verdict: {other}"),
    }
}

fn input(word: &str) -> Input {
    let by = || Decision { by: "admin".to_owned(), note: String::new() };
    let report = |report| Input::Report(report);
    match word {
        "buy" => Input::Buy(Box::new(Purchase {
            product: "audit-kit".to_owned(),
            tier: "standard".to_owned(),
            price: Money::price(15_000, Currency::Xof).unwrap(),
            buyer: Buyer {
                email: Email::parse("awa@example.ci").unwrap(),
                name: None,
                phone: None,
                lang: Lang::Fr,
            },
            request: None,
        })),
        "repeat" => Input::Repeat,
        "notify" => Input::Notify(Notice { attempt: Attempt::FIRST, digest: [1; 32] }),
        "notify2" => Input::Notify(Notice { attempt: Attempt::FIRST, digest: [2; 32] }),
        "download" => Input::Download { link: 1 },
        "retry" => Input::Retry,
        "sendAgain" => Input::SendAgain,
        "readdress" => Input::Readdress(Email::parse("awa@gmail.com").unwrap()),
        "correct" => Input::Correct(Email::parse("awa@gmail.com").unwrap(), by()),
        "openedAgain" => report(Report::Opened {
            attempt: Attempt::FIRST.next().unwrap(),
            payment_url: "https://pay/2".to_owned(),
            payment_token: "t2".to_owned(),
        }),
        "verify" => Input::Verify,
        "resend" => Input::Resend(by()),
        "approve" => Input::Approve(by()),
        "reject" => Input::Reject(by()),
        "refund" => Input::Refund(by()),
        "revoke" => Input::Revoke(by()),
        "erase" | "eraseForced" => Input::Erase { by: "admin".into(), force: word == "eraseForced" },
        "opened" => report(Report::Opened {
            attempt: Attempt::FIRST,
            payment_url: "https://pay".to_owned(),
            payment_token: "t".to_owned(),
        }),
        "notOpened" | "timedOut" => report(Report::NotOpened {
            attempt: Attempt::FIRST,
            reason: "624".to_owned(),
            ambiguous: word == "timedOut",
        }),
        "mailed" => report(Report::MailAccepted { link: 1 }),
        "mailRefused" => report(Report::MailRefused { link: 1, reason: "550".to_owned() }),
        "mailLater" => report(Report::MailUnavailable { link: 1, reason: "421".to_owned() }),
        word if word.starts_with("remind") => reminders::input(word),
        check => {
            let (word, notices) = match check.strip_prefix("overtaken ") {
                Some(word) => (word, 0),
                None => (check, NOTICES_MAX),
            };
            report(Report::Checked { answers: vec![(Attempt::FIRST, verdict(word))], notices })
        }
    }
}

/// Every input that [`input`] knows.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "buy", "repeat", "notify", "notify2", "download", "retry", "sendAgain", "readdress", "openedAgain",
    "verify", "resend", "approve", "reject", "refund", "revoke", "opened", "notOpened", "timedOut",
    "accepted", "mismatch", "otherCurrency", "noAmount", "refused", "pending", "unknown", "unheard",
    "mailed", "mailRefused", "mailLater", "erase", "eraseForced",
];

/// Every (status, input) pair: the events that follow, and the status after them.
#[test]
fn every_status_and_input() {
    // What says nothing new to any status (`verify`, a second notification) has tests of its own.
    let inputs = WORDS.iter().filter(|word| !matches!(**word, "notify2" | "verify"));
    let statuses = ["-", "CREATED", "PENDING", "PAID", "FAILED", "REVIEW", "EXPIRED", "REFUNDED"];
    let mut table = String::new();
    for status in statuses {
        for word in inputs.clone() {
            let mut tale = Tale::at(status);
            let told = tale.tell(&input(word));
            table += &format!("{status:8} · {word:13} → {told} → {}\n", tale.status());
        }
    }
    insta::assert_snapshot!("every_status_and_input", table);
}

#[test]
fn a_page_that_waits_is_never_failed_by_silence() {
    let mut tale = Tale::at("PENDING");
    for word in ["pending", "unknown", "unheard", "pending"] {
        tale.later(Duration::from_secs(60));
        assert_eq!(tale.tell(&input(word)), "CHECKED", "{word}");
        assert_eq!(tale.status(), "PENDING", "{word}");
    }
    assert_eq!(tale.tell(&input("accepted")), "CHECKED PAID");
}

#[test]
fn the_horizon_ends_an_order_after_a_last_look_that_was_answered() {
    let mut tale = Tale::at("PENDING");
    tale.later(Duration::from_secs(72 * 3600));
    assert_eq!(next_step(tale.payment.as_ref().unwrap(), tale.now), Step::Check(Attempt::FIRST));
    assert_eq!(tale.tell(&input("unheard")), "CHECKED");
    assert_eq!(tale.status(), "PENDING");
    assert_eq!(tale.tell(&input("pending")), "CHECKED EXPIRED");
    assert_eq!(tale.tell(&input("accepted")), "CHECKED PAID", "a late answer counts");
}

/// A notification was answered 200: an unreachable CinetPay may delay its verdict, never lose it.
#[test]
fn a_late_notification_reaches_its_verdict() {
    for status in ["FAILED", "EXPIRED"] {
        let mut tale = Tale::at(status);
        tale.later(Duration::from_secs(100 * 3600));
        assert_eq!(tale.tell(&input("notify")), "NOTIFIED", "{status}");
        for _ in 0..6 {
            assert_eq!(tale.tell(&input("unheard")), "CHECKED", "{status}");
            let Step::Wait(at) = next_step(tale.payment.as_ref().unwrap(), tale.now) else {
                panic!("nothing is owed")
            };
            tale.now = at;
        }
        assert_eq!(tale.tell(&input("accepted")), "CHECKED PAID", "{status}");
    }
}

/// Found by the simulation: the look that a notification owed was spent by an answer older than it.
#[test]
fn a_notification_is_not_settled_by_an_older_answer() {
    for status in ["PENDING", "FAILED", "EXPIRED"] {
        for older in ["refused", "pending", "unknown", "unheard"] {
            let mut tale = Tale::at(status);
            tale.later(Duration::from_secs(100 * 3600));
            tale.tell(&input("notify"));
            assert_eq!(tale.tell(&input(&format!("overtaken {older}"))), "CHECKED", "{status} {older}");
            assert_eq!(tale.status(), status, "{older}");
            let owed = next_step(tale.payment.as_ref().unwrap(), tale.now);
            assert_eq!(owed, Step::Check(Attempt::FIRST), "{status} {older}");
            assert_eq!(tale.tell(&input("accepted")), "CHECKED PAID", "{status} {older}");
        }
        let mut tale = Tale::at(status);
        tale.tell(&input("notify"));
        assert_eq!(tale.tell(&input("overtaken accepted")), "CHECKED PAID", "money is believed: {status}");
    }
}

#[test]
fn a_notification_may_overtake_the_page() {
    let mut tale = Tale::at("CREATED");
    assert_eq!(tale.tell(&input("notify")), "NOTIFIED");
    assert_eq!(tale.tell(&input("opened")), "INITIATED");
    assert_eq!(next_step(tale.payment.as_ref().unwrap(), tale.now), Step::Check(Attempt::FIRST));
}

#[test]
fn an_order_whose_page_never_opened_ends_at_the_horizon() {
    let mut tale = Tale::at("CREATED");
    tale.tell(&input("notOpened"));
    assert_eq!(
        next_step(tale.payment.as_ref().unwrap(), tale.now),
        Step::Wait(START.plus(tale.policy.horizon))
    );
    tale.later(tale.policy.horizon);
    assert_eq!(next_step(tale.payment.as_ref().unwrap(), tale.now), Step::Check(Attempt::FIRST));
    assert_eq!(tale.tell(&input("unknown")), "CHECKED EXPIRED");
}

/// A 429 or a code that says nothing is not CinetPay's last word: somebody may have paid. (Simulation, seed 454.)
#[test]
fn no_word_at_the_horizon_is_followed_by_further_looks() {
    let mut tale = Tale::at("PENDING");
    tale.later(tale.policy.horizon);
    assert_eq!(tale.tell(&input("unknown")), "EXPIRED CHECKED");
    assert!(due_at(tale.payment.as_ref().unwrap()).unwrap() > tale.now);
    assert_eq!(tale.tell(&input("accepted")), "CHECKED PAID");
}

#[test]
fn duplicates_write_nothing() {
    for status in ["PENDING", "PAID", "FAILED", "REVIEW", "EXPIRED"] {
        let mut tale = Tale::at(status);
        assert_eq!(tale.tell(&input("notify")), "NOTIFIED", "{status}");
        assert_eq!(tale.tell(&input("notify")), "nothing", "{status}");
        assert_eq!(tale.tell(&input("notify2")), "NOTIFIED", "{status}");
        assert_eq!(tale.tell(&input("notify2")), "nothing", "{status}");
    }
}

#[test]
fn a_mail_is_owed_until_it_is_taken_and_delivered_once() {
    let mut tale = Tale::at("PAID");
    assert_eq!(tale.tell(&input("mailLater")), "MAIL_FAILED");
    assert!(due_at(tale.payment.as_ref().unwrap()).unwrap() > tale.now);
    assert_eq!(tale.tell(&input("mailed")), "DELIVERED");
    assert_eq!(tale.tell(&input("mailed")), "nothing");
    assert_eq!(tale.tell(&input("resend")), "NOTE");
    assert_eq!(next_step(tale.payment.as_ref().unwrap(), tale.now), Step::Deliver);
    assert_eq!(tale.tell(&input("mailed")), "RESENT");
    tale.tell(&input("download"));
    assert_eq!(next_step(tale.payment.as_ref().unwrap(), tale.now), Step::Rest);
}

#[test]
fn links_run_out_and_come_back() {
    let dead = |state| Err(Refusal::Link(state));
    let mut tale = Tale::at("PAID");
    for _ in 0..5 {
        assert_eq!(tale.tell(&input("download")), "DOWNLOADED");
    }
    let ask =
        |tale: &Tale, link| decide(&tale.policy, tale.payment.as_ref(), &Input::Download { link }, tale.now);
    assert_eq!(ask(&tale, 1), dead(LinkState::UsedUp));
    assert_eq!(ask(&tale, 2), dead(LinkState::Revoked));
    tale.tell(&input("resend"));
    assert!(ask(&tale, 1).is_ok());
    tale.later(Duration::from_secs(72 * 3600));
    assert_eq!(ask(&tale, 1), dead(LinkState::Expired));
    tale.tell(&input("revoke"));
    assert_eq!(ask(&tale, 1), dead(LinkState::Revoked));
    tale.tell(&input("resend"));
    assert_eq!(ask(&tale, 1), dead(LinkState::Revoked));
    assert!(ask(&tale, 2).is_ok());
    tale.tell(&input("refund"));
    assert_eq!(ask(&tale, 2), dead(LinkState::Revoked));
}

fn any_word() -> impl Strategy<Value = &'static str> {
    let overtaken = ["overtaken refused", "overtaken pending", "overtaken unheard"];
    prop::sample::select([WORDS, &overtaken, &reminders::WORDS].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any sequence keeps the invariants (`tell` checks them), folds back to itself, and never leaves PAID for FAILED.
    #[test]
    fn any_sequence_is_sound(words in prop::collection::vec((any_word(), 0_u64..200_000), 0..40)) {
        let mut tale = Tale::new();
        let mut commits: Vec<(Timestamp, Vec<Event>)> = vec![];
        for (word, seconds) in words {
            tale.later(Duration::from_secs(seconds));
            let (before, had, length) = (tale.status(), tale.payment.clone(), tale.history.len());
            tale.tell(&input(word));
            let new = tale.history[length..].to_vec();
            if !new.is_empty() {
                commits.push((tale.now, new));
            }
            let after = tale.status();
            if before == "PAID" {
                prop_assert!(matches!(after, "PAID" | "REFUNDED"), "{word}: PAID → {after}");
            }
            if after == "PAID" && before != "PAID" {
                prop_assert!(word == "accepted" || (word == "approve" && before == "REVIEW"), "{word}");
            }
            if before == "REFUNDED" {
                prop_assert_eq!(tale.payment.as_ref().map(|one| &one.status), had.as_ref().map(|one| &one.status));
            }
            // Whatever is not at rest is in the due index.
            if let Some(payment) = &tale.payment {
                prop_assert_eq!(due_at(payment).is_none(), next_step(payment, tale.now) == Step::Rest);
            }
        }
        let mut folded: Option<Payment> = None;
        for (at, events) in &commits {
            folded = Some(Payment::evolve(folded.as_ref(), tale.id, events, *at).unwrap());
        }
        prop_assert_eq!(folded, tale.payment);
    }

    /// Stored events come back as they were.
    #[test]
    fn events_survive_json(words in prop::collection::vec(any_word(), 0..20)) {
        let mut tale = Tale::new();
        for word in words {
            tale.later(Duration::from_secs(1));
            tale.tell(&input(word));
        }
        for event in tale.history {
            let stored = super::event::Stored { v: super::event::FORMAT, event };
            let text = serde_json::to_string(&stored).unwrap();
            prop_assert_eq!(serde_json::from_str::<super::event::Stored>(&text).unwrap(), stored);
        }
    }
}
