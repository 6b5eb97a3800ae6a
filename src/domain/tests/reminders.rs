//! The reminder: when there is one, and what makes it needless.

use super::super::input::Reminding;
use super::super::payment::{Mail, Status};
use super::super::reminder::{REMINDER_TRIES_MAX, Reminder};
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// What an order may be told of its reminder.
pub(super) const WORDS: [&str; 4] = ["reminded", "remindRefused", "remindLater", "remindLate"];

pub(super) fn input(word: &str) -> Input {
    let reason = "451".to_owned();
    let outcome = match word {
        "reminded" => Reminding::Taken,
        "remindRefused" => Reminding::Refused { reason },
        "remindLater" => Reminding::Unavailable { reason },
        "remindLate" => Reminding::Late,
        other => panic!("no such outcome: {other}"),
    };
    Input::Report(Report::Reminder { link: 1, outcome })
}

/// A paid order after these words; a word of digits lets so many hours pass.
fn after(policy: Policy, words: &str) -> Tale {
    let mut tale = Tale::at("PAID");
    tale.policy = policy;
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        match word.parse::<u32>() {
            Ok(hours) => drop(tale.later(HOUR * hours)),
            Err(_) => drop(tale.tell(&super::input(word))),
        }
    }
    tale
}

fn reminder(tale: &Tale) -> Reminder {
    tale.payment.as_ref().unwrap().sale().unwrap().reminder
}

/// What is owed at last, where the reminder is concerned.
#[test]
fn an_unused_link_is_reminded_of_once_and_in_time() {
    let check = |words: &str, want: &str| {
        let tale = after(Policy::default(), words);
        let owed = match next_step(tale.payment.as_ref().unwrap(), tale.now) {
            Step::Remind => "remind".to_owned(),
            Step::Wait(at) => format!("in {} h", at.since(tale.now).as_secs() / 3600),
            Step::Deliver => "deliver".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        };
        assert_eq!(owed, want, "{words}");
    };
    // The link lives 72 hours and is reminded of after 48.
    check("", "deliver");
    check("mailed", "in 48 h");
    check("mailed 47", "in 1 h");
    check("mailed 48", "remind");
    check("mailed 200", "remind");
    check("mailed 48 reminded", "rest");
    check("mailed 48 reminded reminded", "rest");
    // Needless, whatever the order of things.
    check("download mailed", "rest");
    check("mailed download", "rest");
    check("mailed 48 download", "rest");
    check("mailed revoke", "rest");
    check("mailed 48 revoke", "rest");
    check("mailed refund", "rest");
    check("mailed 48 refund", "rest");
    check("mailed 48 refund reminded", "rest");
    check("mailLater", "in 0 h");
    check("mailRefused", "rest");
    // Another mail plans another one, unless there was one already. A late mail is recent enough by itself.
    check("mailed 20 resend", "deliver");
    check("mailed 20 resend mailed", "in 28 h");
    check("mailed 30 resend mailed", "rest");
    check("mailed 48 reminded 30 resend mailed", "rest");
    check("mailed 80 resend mailed", "in 48 h");
    // Failures: tried again while the link lives; given up for good otherwise.
    check("mailed 48 remindLater", "in 0 h");
    check("mailed 48 remindRefused", "rest");
    check("mailed 48 remindLate", "rest");
    check("mailed 72 remindLater", "rest");
    // Taken although the buyer had downloaded meanwhile: it is out, and it was the only one.
    check("mailed 48 download reminded 30 resend mailed", "rest");
}

#[test]
fn short_lives_and_the_merchant_s_no_leave_no_reminder() {
    let check = |ttl: Duration, before: Option<Duration>, want: Option<Duration>| {
        let policy = Policy { link_ttl: ttl, remind_before: before, ..Policy::default() };
        let mut tale = Tale::at("PENDING");
        tale.policy = policy;
        tale.tell(&super::input("accepted"));
        tale.tell(&super::input("mailed"));
        let planned = match reminder(&tale) {
            Reminder::Due { planned, .. } => Some(planned.since(tale.now)),
            Reminder::Off | Reminder::Sent { .. } => None,
        };
        assert_eq!(planned, want, "{ttl:?} {before:?}");
    };
    check(72 * HOUR, Some(24 * HOUR), Some(48 * HOUR));
    check(48 * HOUR, Some(24 * HOUR), Some(24 * HOUR));
    check(48 * HOUR - Duration::from_millis(1), Some(24 * HOUR), None);
    check(72 * HOUR, None, None);
    check(2 * HOUR, Some(HOUR), Some(HOUR));
}

#[test]
fn a_reminder_is_tried_so_often_and_keeps_its_date() {
    let mut tale = after(Policy::default(), "mailed 48");
    let Reminder::Due { planned, .. } = reminder(&tale) else { panic!("none is due") };
    for tries in 1..REMINDER_TRIES_MAX {
        assert_eq!(tale.tell(&super::input("remindLater")), "REMINDER_FAILED");
        let Reminder::Due { planned: still, tries: failed, at } = reminder(&tale) else { panic!("{tries}") };
        assert!(at > tale.now && still == planned && failed == tries);
        tale.now = at;
    }
    assert_eq!(tale.tell(&super::input("remindLater")), "REMINDER_FAILED");
    assert_eq!((reminder(&tale), tale.tell(&super::input("remindLater"))), (Reminder::Off, "nothing".into()));
}

/// The report of a reminder whose link was replaced meanwhile settles nothing but that it was sent.
#[test]
fn another_link_s_failure_says_nothing_of_this_one_s_reminder() {
    let mut tale = after(Policy::default(), "mailed 1 revoke resend");
    tale.tell(&Input::Report(Report::MailAccepted { link: 2 }));
    let due = reminder(&tale);
    assert!(matches!(due, Reminder::Due { .. }));
    for word in ["remindRefused", "remindLater", "remindLate"] {
        assert_eq!((tale.tell(&super::input(word)).as_str(), reminder(&tale)), ("nothing", due));
    }
    assert_eq!(tale.tell(&super::input("reminded")), "REMINDED");
}

/// Each way to break a law of the reminder names that law.
#[test]
fn every_law_of_the_reminder_notices() {
    type Break = fn(&mut Payment, &mut Vec<Event>);
    let needless = "a reminder is due of a link that was used, withdrawn or not yet mailed";
    fn sale(payment: &mut Payment) -> &mut super::super::payment::Sale {
        match &mut payment.status {
            Status::Paid(sale) => sale,
            other => panic!("{other:?}"),
        }
    }
    let cases: [(&str, &str, Break); 5] = [
        ("REMINDED more than once", "mailed 48 reminded", |_, history| {
            history.push(Event::Reminded { link: 1 });
        }),
        ("REMINDED without DELIVERED", "mailed 48 reminded", |payment, history| {
            history.retain(|event| event.kind() != "DELIVERED");
            sale(payment).mail = Mail::Owed { tries: 0, at: START };
        }),
        (needless, "mailed", |payment, _| sale(payment).link.downloads = 1),
        (needless, "mailed", |payment, _| sale(payment).link.revoked = true),
        (needless, "mailed", |payment, _| sale(payment).mail = Mail::Owed { tries: 0, at: START }),
    ];
    for (law, words, spoil) in cases {
        let tale = after(Policy::default(), words);
        let (mut payment, mut history) = (tale.payment.unwrap(), tale.history);
        assert_eq!(violations(&payment, &history), Vec::<String>::new());
        spoil(&mut payment, &mut history);
        assert_eq!(violations(&payment, &history), [format!("{}: {law}", payment.id)], "{words}");
    }
}
