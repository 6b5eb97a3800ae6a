//! What a buyer may ask of an order: to pay after a refusal, the mail once more, another address.

use super::super::payment::{Mail, Status};
use super::super::values::ATTEMPTS_MAX;
use super::super::wishes::{READDRESS_LINKS_MAX, SEND_AGAIN_SECONDS};
use super::*;

/// Tells each word of `story` (`+n` lets n seconds pass) and gives the last answer with the status.
pub(super) fn after(status: &str, story: &str) -> (String, Tale) {
    let mut tale = Tale::at(status);
    let mut said = String::new();
    for word in story.split(' ') {
        match word.strip_prefix('+') {
            Some(seconds) => {
                tale.later(Duration::from_secs(seconds.parse().unwrap()));
            }
            None => said = tale.tell(&input(word)),
        }
    }
    (format!("{said} · {}", tale.status()), tale)
}

#[test]
fn wishes_are_granted_where_they_harm_nobody() {
    let ten = format!("+{SEND_AGAIN_SECONDS}");
    let just_before = format!("+{}", SEND_AGAIN_SECONDS - 1);
    let check = |status: &str, story: &str, want: &str| {
        assert_eq!(after(status, story).0, want, "{status}: {story}");
    };
    // Another page for a refused order, and its fate.
    check("FAILED", "openedAgain", "INITIATED · PENDING");
    check("FAILED", "opened", "nothing · FAILED");
    check("FAILED", "openedAgain accepted", "CHECKED PAID · PAID");
    check("FAILED", "openedAgain refused", "CHECKED FAILED · FAILED");
    check("PENDING", "openedAgain", "nothing · PENDING");
    check("FAILED", "+259199 retry", "nothing · FAILED");
    check("FAILED", "+259200 retry", "no: not possible in status FAILED · FAILED");
    check("CREATED", "+259200 pending retry", "no: no payment page can be opened any more · EXPIRED");
    check("REVIEW", "reject retry", "no: not possible in status FAILED · FAILED");
    // A person corrects the address, wherever the order stands, but not once it is refunded.
    check("PENDING", "correct", "NOTE · PENDING");
    check("REVIEW", "correct correct", "nothing · REVIEW");
    check("PAID", "mailed download correct", "NOTE · PAID");
    check("PAID", "mailed download readdress", "no: the address can no longer be changed · PAID");
    check("PAID", "mailed correct download", "no: the link does not work · PAID");
    check("PAID", "mailed revoke correct resend", "NOTE · PAID");
    check("REFUNDED", "correct", "no: not possible in status REFUNDED · REFUNDED");
    let (_, tale) = after("PAID", "mailed revoke correct");
    let sale = tale.payment.as_ref().and_then(Payment::sale).unwrap();
    assert!(sale.link.revoked && sale.link.number == 1, "a withdrawn link stays so");
    // The mail once more.
    check("PENDING", "sendAgain", "no: not possible in status PENDING · PENDING");
    check("PAID", "sendAgain", "nothing · PAID");
    check("PAID", &format!("mailed {just_before} sendAgain"), "no: sent a moment ago · PAID");
    check("PAID", &format!("mailed {ten} sendAgain"), "NOTE · PAID");
    check("PAID", &format!("mailed {ten} sendAgain mailed"), "RESENT · PAID");
    check("PAID", &format!("mailed {ten} revoke sendAgain"), "no: the link does not work · PAID");
    let used = "mailed download download download download download";
    check("PAID", &format!("{used} {ten} sendAgain"), "no: the link does not work · PAID");
    check("PAID", &format!("{used} +300000 sendAgain"), "no: the link does not work · PAID");
    check("PAID", "mailRefused sendAgain", "NOTE · PAID");
    // Another address.
    check("PENDING", "readdress accepted mailed", "DELIVERED · PAID");
    check("PENDING", "readdress readdress", "nothing · PENDING");
    check("PAID", "mailed readdress", "NOTE · PAID");
    check("PAID", "mailed download readdress", "no: the address can no longer be changed · PAID");
    check("PAID", "revoke readdress", "no: the link does not work · PAID");
    check("REFUNDED", "readdress", "no: not possible in status REFUNDED · REFUNDED");
}

#[test]
fn time_is_added_to_a_link_and_downloads_are_not() {
    let (_, tale) = after("PAID", "mailed download download +300000 sendAgain");
    let link = &tale.payment.as_ref().unwrap().sale().unwrap().link;
    assert_eq!((link.number, link.downloads, link.state(tale.now)), (1, 2, LinkState::Live));
}

/// The mail to the mistyped address may be under way while the address is corrected: its fate says nothing of the one
/// that is owed then, and its link opens nothing.
#[test]
fn a_corrected_address_gets_a_mail_of_its_own() {
    for late in ["mailed", "mailRefused", "mailLater"] {
        let (said, tale) = after("PAID", &format!("readdress {late}"));
        assert_eq!(said, "nothing · PAID", "{late} of the former link");
        let payment = tale.payment.as_ref().unwrap();
        let sale = payment.sale().unwrap();
        assert_eq!(payment.buyer.email.expose(), "awa@gmail.com");
        assert!(matches!(sale.mail, Mail::Owed { tries: 0, .. }), "{late}");
        assert_eq!((sale.link.number, sale.link.downloads), (2, 0));
        let old = decide(&tale.policy, Some(payment), &Input::Download { link: 1 }, tale.now);
        assert_eq!(old, Err(Refusal::Link(LinkState::Revoked)));
    }
}

#[test]
fn wishes_are_bounded() {
    let mut tale = Tale::at("PAID");
    for number in 2..=READDRESS_LINKS_MAX + 1 {
        let email = Email::parse(&format!("awa{number}@example.ci")).unwrap();
        let said = tale.tell(&Input::Readdress(email));
        assert_eq!(said == "NOTE", number <= READDRESS_LINKS_MAX, "{number}: {said}");
    }
    let mut tale = Tale::at("FAILED");
    let mut attempt = Attempt::FIRST;
    while let Some(next) = attempt.next() {
        assert_eq!(tale.tell(&Input::Retry), "nothing");
        attempt = next;
        let opened = Report::Opened { attempt, payment_url: "https://pay".into(), payment_token: "t".into() };
        assert_eq!(tale.tell(&Input::Report(opened)), "INITIATED");
        let answers = attempt.newest_first().map(|one| (one, verdict("refused"))).collect();
        let report = Report::Checked { answers, notices: NOTICES_MAX };
        assert_eq!(tale.tell(&Input::Report(report)), "CHECKED FAILED");
    }
    assert_eq!(attempt.number(), ATTEMPTS_MAX);
    assert_eq!(tale.tell(&Input::Retry), "no: not possible in status FAILED");
}

/// A page that was opened unheard keeps its number: the next try asks about it instead of opening it twice.
#[test]
fn an_unread_answer_uses_its_number_up() {
    let mut tale = Tale::at("FAILED");
    let second = Attempt::FIRST.next().unwrap();
    let lost = Report::NotOpened { attempt: second, reason: "TIMEOUT".into(), ambiguous: true };
    assert_eq!(tale.tell(&Input::Report(lost)), "INIT_FAILED");
    let payment = tale.payment.as_ref().unwrap();
    assert!(matches!(payment.status, Status::Failed { .. }), "it is refused until another page is open");
    assert_eq!(payment.attempt, second);
    assert!(!payment.takes_page(second) && payment.takes_page(second.next().unwrap()));
}
