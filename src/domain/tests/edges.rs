//! The moments and counts at which a decision turns: one before, one after.

use super::super::decide::digest_text;
use super::super::payment::{Link, Mail, Status, duplicate_look};
use super::super::schedule::{self, LATE_CHECKS_MAX, LATE_LOOK_SECONDS, MAIL_TRIES_MAX};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

impl Tale {
    fn paid_link(&self) -> Link {
        self.payment.as_ref().unwrap().sale().unwrap().link.clone()
    }
    /// What it owes, and in how long.
    fn owes(&self) -> String {
        match next_step(self.payment.as_ref().unwrap(), self.now) {
            Step::Open(attempt) => format!("open {}", attempt.number()),
            Step::Check(attempt) => format!("check {}", attempt.number()),
            Step::Deliver => "deliver".to_owned(),
            Step::Remind => "remind".to_owned(),
            Step::Wait(at) => wait(at.since(self.now)),
            Step::Rest => "rest".to_owned(),
        }
    }
    fn seed(&self) -> u64 {
        self.id.seed()
    }
}

/// As [`Tale::owes`] says it: moments are whole milliseconds.
fn wait(by: Duration) -> String {
    format!("wait {:?}", Duration::from_millis(u64::try_from(by.as_millis()).unwrap()))
}

fn checked(answers: Vec<(Attempt, Verdict)>) -> Input {
    Input::Report(Report::Checked { answers, notices: NOTICES_MAX })
}

fn notice(n: u8) -> Input {
    let mut digest = [0; 32];
    (digest[0], digest[31]) = (n, 9);
    Input::Notify(Notice { attempt: Attempt::FIRST, digest })
}

/// Each status owes one thing, at one moment.
#[test]
fn what_is_owed_is_owed_at_its_moment() {
    let check = |status: &str, want: &str| assert_eq!(Tale::at(status).owes(), want, "{status}");
    check("CREATED", "open 1");
    check("PAID", "deliver");
    check("REVIEW", "rest");
    check("EXPIRED", "rest");
    check("REFUNDED", "rest");
    let mut tale = Tale::at("PENDING");
    let first = schedule::poll(&tale.policy, 0, tale.seed());
    assert_eq!(tale.owes(), wait(first));
    assert_eq!(due_at(tale.payment.as_ref().unwrap()), Some(START.plus(first)));
    tale.now = START.plus(first - Duration::from_millis(1));
    assert!(tale.owes().starts_with("wait"), "a millisecond early");
    tale.later(Duration::from_millis(1));
    assert_eq!(tale.owes(), "check 1");
    let refused = Tale::at("FAILED");
    assert_eq!(refused.owes(), wait(Duration::from_secs(LATE_LOOK_SECONDS[0])));
}

/// The waits after each kind of answer; never beyond the horizon while it lies ahead.
#[test]
fn the_next_look_depends_on_the_answer() {
    let check = |answer: Verdict, later: Duration, want: fn(&Tale) -> Duration| {
        let mut tale = Tale::at("PENDING");
        tale.later(later);
        assert_eq!(tale.tell(&checked(vec![(Attempt::FIRST, answer)])), "CHECKED");
        assert_eq!(tale.owes(), wait(want(&tale)));
    };
    let unknown = |seconds: Option<u64>| {
        let retry_after = seconds.map(Duration::from_secs);
        Verdict::Unknown { code: "429".to_owned(), answered: true, retry_after }
    };
    check(verdict("pending"), SECOND, |tale| schedule::poll(&tale.policy, 0, tale.seed()));
    check(unknown(None), SECOND, |tale| schedule::retry(0, tale.seed()));
    check(unknown(Some(600)), SECOND, |_| Duration::from_secs(600));
    check(unknown(Some(0)), SECOND, |tale| schedule::retry(0, tale.seed()));
    let near = Policy::default().horizon - SECOND;
    check(verdict("pending"), near, |_| SECOND);
    check(unknown(Some(600)), near, |_| SECOND);
    // Past the horizon an order that nobody heard about waits as long as it must.
    let mut tale = Tale::at("PENDING");
    tale.later(tale.policy.horizon);
    assert_eq!(tale.tell(&input("unheard")), "CHECKED");
    assert_eq!(tale.owes(), wait(schedule::retry(0, tale.seed())));
}

/// Unheard, an order waits for a second horizon. Then it expires; one with a page is looked at further all the same.
#[test]
fn silence_has_an_end_too() {
    for (status, horizons, early, want) in [
        ("PENDING", 2, true, "CHECKED"),
        ("PENDING", 2, false, "EXPIRED CHECKED"),
        ("CREATED", 2, true, "CHECKED"),
        ("CREATED", 2, false, "CHECKED EXPIRED"),
    ] {
        let mut tale = Tale::at(status);
        let moment = Duration::from_millis(u64::from(early));
        tale.later(tale.policy.horizon * horizons - moment);
        assert_eq!(tale.tell(&input("unheard")), want, "{status} {early}");
    }
    let mut tale = Tale::at("PENDING");
    tale.later(tale.policy.horizon - Duration::from_millis(1));
    assert_eq!(tale.tell(&input("pending")), "CHECKED", "a moment before the horizon");
}

/// A payment that had ended is looked at again a bounded number of times.
#[test]
fn late_looks_are_few() {
    let mut tale = Tale::at("FAILED");
    for seconds in &LATE_LOOK_SECONDS {
        assert_eq!(tale.owes(), wait(Duration::from_secs(*seconds)));
        tale.later(Duration::from_secs(*seconds));
        assert_eq!(tale.tell(&input("refused")), "CHECKED");
    }
    assert_eq!(tale.owes(), "rest");
    for status in ["FAILED", "EXPIRED"] {
        let mut tale = Tale::at(status);
        assert_eq!(tale.tell(&input("notify")), "NOTIFIED");
        for _ in 0..LATE_CHECKS_MAX {
            assert_eq!(tale.tell(&input("unknown")), "CHECKED");
            assert!(tale.owes().starts_with("wait"), "{status}");
        }
        assert_eq!(tale.tell(&input("unknown")), "CHECKED");
        assert_eq!(tale.owes(), "rest", "{status}");
    }
    // Not beyond the horizon: the buyer's page is closed by then.
    let mut tale = Tale::at("PENDING");
    tale.later(tale.policy.horizon - Duration::from_secs(LATE_LOOK_SECONDS[0]));
    tale.tell(&input("refused"));
    assert_eq!((tale.status(), tale.owes().as_str()), ("FAILED", "rest"));
    let mut tale = Tale::at("PENDING");
    tale.later(tale.policy.horizon - Duration::from_secs(LATE_LOOK_SECONDS[0]) - SECOND);
    tale.tell(&input("refused"));
    assert_eq!(tale.owes(), wait(Duration::from_secs(LATE_LOOK_SECONDS[0])));
}

/// An order whose page never opened waits for its horizon whatever CinetPay says of it.
#[test]
fn a_page_never_opened_is_refused_without_failing() {
    for word in ["refused", "pending", "unknown"] {
        let mut tale = Tale::at("CREATED");
        tale.tell(&input("notOpened"));
        assert_eq!(tale.tell(&input(word)), "CHECKED", "{word}");
        assert_eq!(tale.owes(), wait(tale.policy.horizon), "{word}");
    }
    let mut tale = Tale::at("CREATED");
    tale.tell(&input("notOpened"));
    tale.later(tale.policy.horizon + SECOND);
    assert_eq!(tale.tell(&input("refused")), "CHECKED");
    assert_eq!(tale.owes(), "check 1", "due at once, not in the past");
}

/// Only the first unread answer is followed up by the daemon itself.
#[test]
fn an_unread_answer_is_followed_up_once() {
    let report =
        |attempt, ambiguous| Input::Report(Report::NotOpened { attempt, reason: "x".to_owned(), ambiguous });
    let second = Attempt::FIRST.next().unwrap();
    let mut tale = Tale::at("CREATED");
    assert_eq!(tale.tell(&report(Attempt::FIRST, true)), "INIT_FAILED");
    assert_eq!(tale.owes(), "open 1");
    assert_eq!(tale.tell(&report(second, true)), "INIT_FAILED");
    assert_eq!(tale.payment.as_ref().unwrap().attempt, second);
    assert!(tale.owes().starts_with("wait"), "the buyer's repeat goes on with it");
    assert_eq!(tale.tell(&report(Attempt::FIRST, true)), "INIT_FAILED");
    assert_eq!(tale.payment.as_ref().unwrap().attempt, second, "an older report does not turn it back");
    assert!(tale.owes().starts_with("wait"), "and is not followed up again");
    let mut tale = Tale::at("CREATED");
    tale.tell(&report(Attempt::FIRST, false));
    assert!(tale.owes().starts_with("wait"), "a plain no is not followed up");
}

/// An order that nobody was sent to a page of, and nobody can be, says so to a repeat; every other goes on.
#[test]
fn a_repeat_of_a_spent_order_is_refused() {
    let refused =
        |attempt| Input::Report(Report::NotOpened { attempt, reason: "624".to_owned(), ambiguous: false });
    let spent = "no: no payment page can be opened any more";
    let mut tale = Tale::at("CREATED");
    let mut attempt = Attempt::FIRST;
    loop {
        assert_eq!(tale.tell(&refused(attempt)), "INIT_FAILED");
        let Some(next) = attempt.next() else { break };
        assert_eq!(tale.tell(&input("repeat")), "nothing", "{attempt:?}");
        attempt = next;
    }
    assert_eq!(tale.tell(&input("repeat")), spent);
    // A notification of a page that was never shown: its look comes first.
    let ends = |steps: &[&str]| {
        let mut tale = Tale::at("CREATED");
        steps.iter().for_each(|step| drop(tale.tell(&input(step))));
        tale.tell(&input("repeat"))
    };
    assert_eq!(ends(&["notify"]), "nothing");
    assert_eq!(ends(&["notify", "refused"]), spent);
    assert_eq!(ends(&["notify", "accepted"]), "nothing");
    assert_eq!(ends(&["notify", "mismatch"]), "nothing");
    let mut expired = Tale::at("CREATED");
    expired.tell(&input("notOpened"));
    expired.later(expired.policy.horizon).tell(&input("pending"));
    assert_eq!((expired.status(), expired.tell(&input("repeat")).as_str()), ("EXPIRED", spent));
    for status in ["PENDING", "PAID", "FAILED", "REVIEW", "EXPIRED", "REFUNDED"] {
        assert_eq!(Tale::at(status).tell(&input("repeat")), "nothing", "{status}");
    }
}

/// A page counts for the newest attempt only, and once.
#[test]
fn pages_of_older_attempts_are_ignored() {
    let opened = |attempt| {
        let (payment_url, payment_token) = ("https://pay/2".to_owned(), "t".to_owned());
        Input::Report(Report::Opened { attempt, payment_url, payment_token })
    };
    let second = Attempt::FIRST.next().unwrap();
    let mut tale = Tale::at("CREATED");
    let ambiguous = Report::NotOpened { attempt: second, reason: String::new(), ambiguous: true };
    tale.tell(&Input::Report(ambiguous));
    assert_eq!(tale.tell(&opened(Attempt::FIRST)), "nothing");
    assert_eq!(tale.tell(&opened(second)), "INITIATED");
    assert_eq!(tale.tell(&opened(second)), "nothing");
    assert_eq!(tale.tell(&opened(second.next().unwrap())), "nothing");
}

/// Of several attempts' answers the strongest decides, whatever their order.
#[test]
fn the_strongest_answer_decides() {
    let second = Attempt::FIRST.next().unwrap();
    let check = |first: &str, newest: &str, want: &str, status: &str| {
        for turned in [false, true] {
            let mut tale = Tale::at("PENDING");
            tale.payment.as_mut().unwrap().attempt = second;
            let mut answers = vec![(Attempt::FIRST, verdict(first)), (second, verdict(newest))];
            if turned {
                answers.reverse();
            }
            assert_eq!(tale.tell(&checked(answers)), want, "{first} {newest}");
            assert_eq!(tale.status(), status, "{first} {newest}");
        }
    };
    check("accepted", "mismatch", "CHECKED PAID", "PAID");
    check("mismatch", "accepted", "CHECKED PAID", "PAID");
    check("mismatch", "pending", "CHECKED REVIEW", "REVIEW");
    check("pending", "refused", "CHECKED", "PENDING");
    check("refused", "pending", "CHECKED", "PENDING");
    check("refused", "unheard", "CHECKED", "PENDING");
    check("unheard", "refused", "CHECKED", "PENDING");
    check("refused", "refused", "CHECKED FAILED", "FAILED");
    check("unknown", "refused", "CHECKED FAILED", "FAILED");
    let mut tale = Tale::at("PENDING");
    assert_eq!(tale.tell(&checked(vec![])), "nothing");
}

/// The attempt that decided is the one that is named.
#[test]
fn the_deciding_attempt_is_named() {
    let second = Attempt::FIRST.next().unwrap();
    let named = |answers: [(Attempt, &str); 2]| {
        let mut tale = Tale::at("PENDING");
        tale.payment.as_mut().unwrap().attempt = second;
        tale.tell(&checked(answers.map(|(attempt, word)| (attempt, verdict(word))).to_vec()));
        match tale.history.last().unwrap() {
            Event::Paid { attempt, .. } | Event::Failed { attempt, .. } | Event::Checked { attempt, .. } => {
                *attempt
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(named([(second, "pending"), (Attempt::FIRST, "accepted")]), Attempt::FIRST);
    assert_eq!(named([(second, "refused"), (Attempt::FIRST, "refused")]), second, "the newest refusal");
    assert_eq!(named([(Attempt::FIRST, "refused"), (second, "refused")]), second, "however they are listed");
    assert_eq!(named([(second, "unknown"), (Attempt::FIRST, "unknown")]), second);
    assert_eq!(named([(second, "unknown"), (Attempt::FIRST, "refused")]), second);
    assert_eq!(
        named([(second, "refused"), (Attempt::FIRST, "unheard")]),
        Attempt::FIRST,
        "not heard, not over"
    );
}

/// A mail is tried so many times, then a person has to look.
#[test]
fn mails_are_tried_a_bounded_number_of_times() {
    let mut tale = Tale::at("PAID");
    for n in 1..MAIL_TRIES_MAX {
        assert_eq!(tale.tell(&input("mailLater")), "MAIL_FAILED");
        assert_eq!(tale.owes(), wait(schedule::mail(n, tale.seed())), "try {n}");
    }
    assert_eq!(tale.tell(&input("mailLater")), "MAIL_FAILED");
    assert_eq!(tale.owes(), "rest");
    let stalled =
        |tale: &Tale| matches!(tale.payment.as_ref().unwrap().sale().unwrap().mail, Mail::Stalled { .. });
    assert!(stalled(&tale));
    assert_eq!(tale.tell(&input("mailLater")), "nothing");
    let mut tale = Tale::at("PAID");
    tale.tell(&input("mailRefused"));
    assert!(stalled(&tale));
    assert_eq!(tale.tell(&input("mailed")), "nothing", "nothing is owed");
    assert_eq!(tale.tell(&input("resend")), "NOTE");
    assert_eq!(tale.owes(), "deliver");
}

/// Notifications are remembered up to their bound; the digest's first half names one.
#[test]
fn notifications_are_remembered_up_to_a_bound() {
    let mut tale = Tale::at("PENDING");
    for n in 0..u8::try_from(NOTICES_MAX).unwrap() {
        assert_eq!(tale.tell(&notice(n)), "NOTIFIED", "{n}");
        assert_eq!(tale.tell(&notice(n)), "nothing", "{n}");
    }
    assert_eq!(tale.tell(&notice(200)), "nothing");
    let mut digest = [0xAB; 32];
    digest[1] = 0x05;
    assert_eq!(digest_text(&digest), "ab05abababababababababababababab");
}

/// A duplicate brings the next look forward, ever more rarely, and only where a verdict may still come.
#[test]
fn duplicates_may_bring_a_look_forward() {
    let look = |tale: &Tale| duplicate_look(tale.payment.as_ref().unwrap(), tale.now);
    for status in ["CREATED", "PENDING"] {
        assert_eq!(look(&Tale::at(status)), Some(START), "{status}: never looked at");
    }
    for status in ["PAID", "REVIEW", "REFUNDED"] {
        assert_eq!(look(&Tale::at(status)), None, "{status}");
    }
    let mut tale = Tale::at("PENDING");
    for gap in [1, 2, 4, 8] {
        tale.tell(&input("pending"));
        assert_eq!(look(&tale), Some(tale.now.plus(Duration::from_secs(gap))));
    }
    tale.later(SECOND * 100);
    assert_eq!(look(&tale), Some(tale.now), "never in the past");
    for status in ["FAILED", "EXPIRED"] {
        assert!(look(&Tale::at(status)).is_some(), "{status}");
    }
}

/// A link lives until its end, exactly; its number is what it says.
#[test]
fn links_end_at_their_moment() {
    let mut tale = Tale::at("PAID");
    let link = tale.paid_link();
    assert_eq!((link.number, link.max_downloads, link.downloads), (1, tale.policy.max_downloads, 0));
    assert_eq!((link.issued_at, link.expires_at), (START, START.plus(tale.policy.link_ttl)));
    tale.later(tale.policy.link_ttl - Duration::from_millis(1));
    assert_eq!(link.state(tale.now), LinkState::Live);
    assert_eq!(tale.tell(&input("download")), "DOWNLOADED");
    assert_eq!(tale.paid_link().downloads, 1);
    tale.later(Duration::from_millis(1));
    assert_eq!(link.state(tale.now), LinkState::Expired);
    assert_eq!(tale.tell(&input("download")), "no: the link does not work");
    // Sent again, it lives from now on; a live one keeps its end.
    tale.tell(&input("resend"));
    assert_eq!(tale.paid_link().expires_at, tale.now.plus(tale.policy.link_ttl));
    tale.later(SECOND);
    let before = tale.paid_link().expires_at;
    tale.tell(&input("resend"));
    assert_eq!(tale.paid_link().expires_at, before);
    let mut tale = Tale::at("REVIEW");
    tale.later(SECOND);
    tale.tell(&input("approve"));
    assert_eq!(tale.paid_link().expires_at, tale.now.plus(tale.policy.link_ttl));
}

/// What a sale keeps of the check that proved it, and who may still be sent to a page.
#[test]
fn sales_keep_their_proof() {
    let tale = Tale::at("PAID");
    let sale = tale.payment.as_ref().unwrap().sale().unwrap();
    assert_eq!((sale.provider_tx_id.as_deref(), sale.payment_method.as_deref()), (Some("MP1"), Some("OM")));
    assert!(sale.approved.is_none() && sale.delivered_at.is_none());
    let mut review = Tale::at("REVIEW");
    review.tell(&input("approve"));
    let sale = review.payment.as_ref().unwrap().sale().unwrap();
    assert_eq!((sale.provider_tx_id.as_deref(), sale.payment_method.as_deref()), (Some("MP1"), Some("OM")));
    assert_eq!(sale.approved.as_ref().map(|by| by.by.as_str()), Some("admin"));
    let wants = |status: &str| Tale::at(status).payment.unwrap().wants_page();
    assert!(wants("CREATED"));
    for status in ["PENDING", "PAID", "FAILED", "REVIEW", "EXPIRED", "REFUNDED"] {
        assert!(!wants(status), "{status}");
    }
    let mut overtaken = Tale::at("CREATED");
    overtaken.tell(&input("notify"));
    assert!(overtaken.payment.unwrap().wants_page(), "a notification alone opens no page");
    let sold = |status: &str| Tale::at(status).payment.unwrap().sale().is_some();
    assert!(sold("PAID") && sold("REFUNDED") && !sold("REVIEW"));
    for name in Status::NAMES {
        assert_eq!(Tale::at(name).status(), name);
    }
}
