//! Orders that between them have every kind of event and every status, each by every road there is to it.

use crate::domain::event::{Decision, Event, Request, Resend};
use crate::domain::payment::Payment;
use crate::domain::values::{
    Attempt, Buyer, Claimed, Currency, Email, Lang, Money, Name, OrderId, Phone, Timestamp,
};

/// The first commit's moment.
const NOON: i64 = 1_700_000_000_000;

/// Commits of one order.
pub(super) struct History {
    pub(super) name: &'static str,
    pub(super) id: OrderId,
    pub(super) commits: Vec<(Timestamp, Vec<Event>)>,
}

impl History {
    /// The same once more.
    pub(super) fn again(&self) -> History {
        History { name: self.name, id: self.id, commits: self.commits.clone() }
    }

    /// The order after each commit.
    pub(super) fn states(&self) -> Vec<Payment> {
        let mut states: Vec<Payment> = Vec::new();
        for (at, events) in &self.commits {
            let next = Payment::evolve(states.last(), self.id, events, *at);
            states.push(next.unwrap_or_else(|error| panic!("{}: {error}", self.name)));
        }
        states
    }
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOON + seconds * 1000)
}

fn by(who: &str, note: &str) -> Decision {
    Decision { by: who.into(), note: note.into() }
}

fn created(request: bool) -> Event {
    Event::Created {
        product: "audit-kit".into(),
        tier: "standard".into(),
        price: Money::price(15_000, Currency::Xof).unwrap(),
        buyer: Buyer {
            email: Email::parse("Adjoua.Kouame@example.ci").unwrap(),
            name: request.then(|| Name::parse("Adjoua Kouamé").unwrap()),
            phone: request.then(|| Phone::parse("+225 05 05 12 34 56").unwrap()),
            lang: if request { Lang::Fr } else { Lang::En },
        },
        request: request.then(|| Request { key: "ab".repeat(32), fingerprint: "cd".repeat(32) }),
    }
}

fn initiated() -> Event {
    Event::Initiated {
        attempt: Attempt::FIRST,
        payment_url: "https://checkout.example/payment/abc".into(),
        payment_token: "abc".into(),
        check_at: at(90),
    }
}

fn checked(verdict: &str, code: &str, next_at: Option<Timestamp>) -> Event {
    Event::Checked { attempt: Attempt::FIRST, verdict: verdict.into(), code: code.into(), next_at }
}

fn paid(approved: Option<Decision>) -> Event {
    Event::Paid {
        attempt: Attempt::FIRST,
        provider_tx_id: Some("MP231114.2213.A1".into()),
        payment_method: Some("OM".into()),
        expires_at: at(259_200),
        max_downloads: 5,
        approved,
    }
}

fn failed(rejected: Option<Decision>) -> Event {
    let check_at = rejected.is_none().then(|| at(900));
    Event::Failed { attempt: Attempt::FIRST, code: "627".into(), check_at, rejected }
}

fn review() -> Event {
    Event::Review {
        attempt: Attempt::FIRST,
        claimed: Claimed::read(Some("100"), Some("XOF")),
        provider_tx_id: Some("MP1".into()),
        payment_method: None,
    }
}

fn init_failed(retry_at: Option<Timestamp>) -> Event {
    let reason = "503".into();
    Event::InitFailed {
        attempt: Attempt::FIRST,
        reason,
        ambiguous: retry_at.is_none(),
        retry_at,
        check_at: at(80),
    }
}

/// Every order of the fixtures. Lines may be added at the end of a history's list, never changed: the bytes in
/// `tests/golden` are compared with them.
pub(super) fn histories() -> Vec<History> {
    let notified =
        Event::Notified { attempt: Attempt::FIRST, digest: "0123456789abcdef0123456789abcdef".into() };
    let mail_failed = |next_at| Event::MailFailed { reason: "451 4.7.1".into(), next_at };
    let resend = |link| Some(Resend { link, expires_at: at(300_000), keeps_count: false });
    let accepted = || checked("accepted", "00", None);
    let roads: Vec<(&'static str, Vec<Vec<Event>>)> = vec![
        ("created", vec![vec![created(false)]]),
        ("opening failed, tried again", vec![vec![created(true)], vec![init_failed(Some(at(40)))]]),
        ("opening failed, left to the buyer", vec![vec![created(false)], vec![init_failed(None)]]),
        ("pending", vec![vec![created(true)], vec![initiated()]]),
        (
            "pending, looked at",
            vec![
                vec![created(false)],
                vec![initiated()],
                vec![checked("pending", "600", Some(at(200)))],
                vec![checked("unknown", "timeout", Some(at(400)))],
            ],
        ),
        (
            "paid, delivered, downloaded",
            vec![
                vec![created(true)],
                vec![initiated()],
                vec![notified.clone()],
                vec![accepted(), paid(None)],
                vec![mail_failed(Some(at(150)))],
                vec![Event::Delivered { remind_at: None }],
                vec![Event::Downloaded { link: 1, number: 1 }],
                vec![Event::Note { by: by("admin", "lost the mail"), resend: resend(1), buyer: None }],
                vec![Event::Resent { remind_at: None }],
            ],
        ),
        (
            "paid without a page, mail stalled",
            vec![vec![created(false)], vec![accepted(), paid(None)], vec![mail_failed(None)]],
        ),
        (
            "link withdrawn and replaced",
            vec![
                vec![created(false)],
                vec![initiated()],
                vec![accepted(), paid(None)],
                vec![Event::Delivered { remind_at: None }],
                vec![Event::Revoked { link: 1, by: by("Koffi", "forwarded") }],
                vec![Event::Note { by: by("admin", ""), resend: resend(2), buyer: None }],
            ],
        ),
        (
            "failed",
            vec![
                vec![created(false)],
                vec![initiated()],
                vec![checked("refused", "627", None), failed(None)],
            ],
        ),
        (
            "failed, then paid",
            vec![
                vec![created(false)],
                vec![initiated()],
                vec![checked("refused", "627", None), failed(None)],
                vec![notified.clone()],
                vec![accepted(), paid(None)],
            ],
        ),
        (
            "review",
            vec![vec![created(false)], vec![initiated()], vec![checked("mismatch", "00", None), review()]],
        ),
        (
            "review, approved, refunded",
            vec![
                vec![created(false)],
                vec![initiated()],
                vec![checked("mismatch", "00", None), review()],
                vec![paid(Some(by("admin", "paid the rest in cash")))],
                vec![Event::Refunded { by: by("admin", "changed her mind") }],
            ],
        ),
        (
            "review, rejected",
            vec![
                vec![created(false)],
                vec![initiated()],
                vec![checked("mismatch", "00", None), review()],
                vec![failed(Some(by("admin", "not ours")))],
            ],
        ),
        ("expired", vec![vec![created(false)], vec![initiated()], vec![Event::Expired {}]]),
        (
            "expired, then notified",
            vec![vec![created(false)], vec![initiated()], vec![Event::Expired {}], vec![notified]],
        ),
    ];
    told(roads, 0)
}

/// The orders of the second fixture: what the first version had no event for. As above.
pub(super) fn reminded_histories() -> Vec<History> {
    let delivered = || Event::Delivered { remind_at: Some(at(170_000)) };
    let sold = |then: Vec<Vec<Event>>| {
        let mut commits =
            vec![vec![created(true)], vec![initiated()], vec![checked("accepted", "00", None), paid(None)]];
        commits.extend(then);
        commits
    };
    let failed = |next_at| Event::ReminderFailed { link: 1, reason: "451 4.7.1".into(), next_at };
    let again = Event::Note {
        by: by("buyer", "send again"),
        resend: Some(Resend { link: 1, expires_at: at(600_000), keeps_count: true }),
        buyer: None,
    };
    let roads: Vec<(&'static str, Vec<Vec<Event>>)> = vec![
        ("reminder due", sold(vec![vec![delivered()]])),
        ("reminded at the second try", {
            sold(vec![vec![delivered()], vec![failed(Some(at(170_002)))], vec![Event::Reminded { link: 1 }]])
        }),
        ("reminder given up", sold(vec![vec![delivered()], vec![failed(None)]])),
        ("reminder planned anew", {
            sold(vec![vec![delivered()], vec![again], vec![Event::Resent { remind_at: Some(at(513_600)) }]])
        }),
    ];
    told(roads, 100)
}

/// The orders of the third fixture: their buyers' data were erased.
pub(super) fn erased_histories() -> Vec<History> {
    let erased = || Event::Erased { by: "admin".into() };
    let corrected = || {
        let buyer = Buyer {
            email: Email::parse("adjoua@mail.example.ci").unwrap(),
            name: None,
            phone: None,
            lang: Lang::Fr,
        };
        Event::Note { by: by("admin", "on the telephone"), resend: None, buyer: Some(buyer) }
    };
    let sold = || vec![checked("accepted", "00", None), paid(None)];
    let delivered = || Event::Delivered { remind_at: Some(at(170_000)) };
    let roads: Vec<(&'static str, Vec<Vec<Event>>)> = vec![
        (
            "delivered, erased, refunded",
            vec![
                vec![created(true)],
                vec![initiated()],
                sold(),
                vec![delivered()],
                vec![Event::Downloaded { link: 1, number: 1 }],
                vec![erased()],
                vec![Event::Refunded { by: by("admin", "her bank asked") }],
            ],
        ),
        (
            "corrected, paid, erased twice",
            vec![
                vec![created(false)],
                vec![init_failed(None)],
                vec![corrected()],
                sold(),
                vec![Event::MailFailed { reason: "550 5.1.1".into(), next_at: None }],
                vec![erased()],
                vec![Event::Note { by: by("admin", "wrote again"), resend: None, buyer: None }],
                vec![erased()],
            ],
        ),
        (
            "erased in review, then approved",
            vec![
                vec![created(true)],
                vec![initiated()],
                vec![checked("mismatch", "00", None), review()],
                vec![erased()],
                vec![paid(Some(by("admin", "paid the rest in cash")))],
            ],
        ),
        (
            "approved, erased with its mail owed",
            vec![
                vec![created(true)],
                vec![initiated()],
                vec![checked("mismatch", "00", None), review()],
                vec![paid(Some(by("Koffi", "paid the rest in cash")))],
                vec![erased()],
            ],
        ),
    ];
    told(roads, 200)
}

fn told(roads: Vec<(&'static str, Vec<Vec<Event>>)>, first: usize) -> Vec<History> {
    let history = |(number, (name, commits)): (usize, (&'static str, Vec<Vec<Event>>))| {
        let begin = i64::try_from(first + number).unwrap() * 100;
        let id = OrderId::new(at(begin), 7);
        let commits = (begin..).zip(commits).map(|(second, events)| (at(second), events)).collect();
        History { name, id, commits }
    };
    roads.into_iter().enumerate().map(history).collect()
}
