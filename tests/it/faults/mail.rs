//! The mail server's faults, verb by verb, over TLS with a private authority: the sale stands, the mail is not lost, and
//! no second mail differs from the first.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use super::mail_gate::{Act, Gate, VERBS, Verb, Way};
use super::tls::{Authority, Shown};
use super::{NEXT_TRY, Shifted, details, paid_and_delivered_once};
use crate::support::TestApp;

/// For one mail. Long enough for a handshake on a busy machine.
const DEADLINE: &str = "5s";

struct Post {
    app: TestApp,
    gate: Gate,
    shifted: Shifted,
    authority: Authority,
    _folder: tempfile::TempDir,
}

async fn post(way: Way, deadline: &str, told: bool) -> Post {
    let authority = Authority::new();
    let (gate, shifted) = (Gate::start(way, authority.server(Shown::Good)).await, Shifted::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, &authority.pem).unwrap();
    let (url, file) = (gate.url(), path.display().to_string());
    let mut settings = vec![("AUDITSHIELD_MAIL__URL", url.as_str()), ("AUDITSHIELD_MAIL__TIMEOUT", deadline)];
    if told {
        settings.push(("AUDITSHIELD_MAIL__CA_FILE", &file));
    }
    let app = TestApp::by(shifted.clock(), &settings).await;
    gate.to(app.mailbox.addr());
    app.silent();
    Post { app, gate, shifted, authority, _folder: folder }
}

impl Post {
    /// An order whose payment is verified; its mail is another matter.
    async fn paid(&self) -> String {
        let order = self.app.buy().await;
        self.app.cinetpay.approve(&order).unwrap();
        assert_eq!(self.app.notify(&order).await, StatusCode::OK);
        self.app.until(&order, "PAID").await;
        order
    }

    /// The order after its mail has failed, and the reason.
    async fn failed(&self, what: &str) -> (String, Value, String) {
        let order = self.paid().await;
        let now = self.app.until(&order, "MAIL_FAILED").await;
        assert_eq!(now["status"], "PAID", "{what}");
        assert!(self.gate.struck() > 0, "{what}: the fault must have struck");
        let reason = details(&now, "MAIL_FAILED")[0]["reason"].as_str().unwrap().to_owned();
        (order, now, reason)
    }

    /// The fault is gone: the next try delivers, `before` mails being there already, all alike.
    async fn recovers(&self, order: &str, before: usize, what: &str) {
        self.gate.set(None);
        self.shifted.forward(NEXT_TRY);
        paid_and_delivered_once(&self.app, order, what).await;
        self.has_mails(before + 1, what);
    }

    /// Exactly so many mails, byte for byte the same; and forgets them.
    fn has_mails(&self, count: usize, what: &str) {
        let mails = self.app.mailbox.messages();
        assert_eq!(mails.len(), count, "{what}");
        assert!(mails.iter().all(|mail| mail.raw == mails[0].raw), "{what}: a different second mail");
        self.app.mailbox.clear();
    }
}

/// Refusals of this recipient or this text are for good; a person has to look. Everything else is tried again.
fn is_for_good(verb: Verb, code: u16) -> bool {
    code >= 550 && matches!(verb, Verb::Rcpt | Verb::Data | Verb::Dot)
}

async fn every_code_at(verbs: &[Verb]) {
    let post = post(Way::StartTls, DEADLINE, true).await;
    for verb in verbs {
        for code in [421, 450, 451, 550, 552] {
            let what = format!("{code} at {verb:?}");
            post.gate.set(Some((*verb, Act::Reply(code))));
            let (order, now, reason) = post.failed(&what).await;
            assert_eq!(reason, format!("{code} {}.0.0", code / 100), "{what}");
            let for_good = is_for_good(*verb, code);
            let stands = if for_good { "stalled" } else { "owed" };
            assert_eq!(now["delivery"]["status"], stands, "{what}");
            assert!(post.app.mailbox.messages().is_empty(), "{what}");
            if for_good {
                post.gate.set(None);
                assert_eq!(post.app.act(&order, "resend").await.status(), StatusCode::OK, "{what}");
            }
            post.recovers(&order, 0, &what).await;
        }
    }
    assert_eq!(post.gate.in_clear(), Vec::<String>::new(), "nothing but EHLO and STARTTLS in clear");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_before_the_mail_is_tried_again() {
    every_code_at(&VERBS[..4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_within_the_mail_is_final_or_tried_again() {
    every_code_at(&VERBS[4..]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_at_any_verb_loses_no_mail() {
    let post = post(Way::StartTls, DEADLINE, true).await;
    for verb in VERBS {
        let what = format!("drop at {verb:?}");
        post.gate.set(Some((verb, Act::Drop)));
        let (order, _, reason) = post.failed(&what).await;
        assert_eq!(reason, "NETWORK", "{what}");
        post.recovers(&order, 0, &what).await;
    }
    // The mail server has it, we do not know: one more copy, the same.
    post.gate.set(Some((Verb::Dot, Act::DropAfter)));
    let (order, now, reason) = post.failed("drop after the dot").await;
    assert_eq!((reason.as_str(), &now["delivery"]["status"]), ("NETWORK", &"owed".into()));
    post.recovers(&order, 1, "drop after the dot").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_are_no_verdict_and_fill_no_memory() {
    let post = post(Way::StartTls, "2s", true).await;
    let late = [
        (Verb::Banner, Act::Silence, "TIMEOUT"),
        (Verb::Dot, Act::Silence, "TIMEOUT"),
        (Verb::Ehlo, Act::Say("250-first\r\n250-second\r\n"), "TIMEOUT"),
        (Verb::Mail, Act::Say("25"), "TIMEOUT"),
        (Verb::Rcpt, Act::Say("250-half\r\n550 another code\r\n"), "NETWORK"),
        (Verb::Mail, Act::Say("two hundred and fifty\r\n"), "NETWORK"),
        (Verb::Data, Act::Say("\0\u{1}\u{2}\r\n"), "NETWORK"),
        (Verb::Banner, Act::Endless, "NETWORK"),
        (Verb::Rcpt, Act::Endless, "NETWORK"),
        (Verb::Dot, Act::Endless, "NETWORK"),
    ];
    for (verb, act, want) in late {
        let what = format!("{act:?} at {verb:?}");
        post.gate.set(Some((verb, act)));
        let (order, _, reason) = post.failed(&what).await;
        assert_eq!(reason, want, "{what}");
        post.recovers(&order, 0, &what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_cannot_be_talked_away() {
    let post = post(Way::StartTls, DEADLINE, true).await;
    for (verb, act, want) in
        [(Verb::Ehlo, Act::Strip, "UNSUPPORTED"), (Verb::StartTls, Act::Smuggle, "NETWORK")]
    {
        post.gate.set(Some((verb, act)));
        let (order, _, reason) = post.failed(want).await;
        assert_eq!(reason, want);
        assert!(post.app.mailbox.messages().is_empty(), "{want}");
        post.recovers(&order, 0, want).await;
    }
    assert_eq!(post.gate.in_clear(), Vec::<String>::new(), "no password, no address, no mail in clear");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_certificates_are_refused_and_a_private_authority_is_believed_by_configuration() {
    for way in [Way::Implicit, Way::StartTls] {
        let post = post(way, DEADLINE, true).await;
        let order = post.paid().await;
        post.recovers(&order, 0, "a good certificate").await;
        for shown in [Shown::WrongName, Shown::Expired, Shown::SelfSigned, Shown::Stranger] {
            let what = format!("{shown:?}, {way:?}");
            post.gate.show(post.authority.server(shown));
            let (order, _, reason) = post.failed(&what).await;
            assert!(["TLS", "NETWORK"].contains(&reason.as_str()), "{what}: {reason}");
            assert!(post.app.mailbox.messages().is_empty(), "{what}");
            post.gate.show(post.authority.server(Shown::Good));
            post.recovers(&order, 0, &what).await;
        }
        let stranger = self::post(way, DEADLINE, false).await;
        let order = stranger.paid().await;
        stranger.app.until(&order, "MAIL_FAILED").await;
        assert!(stranger.app.mailbox.messages().is_empty(), "{way:?}: nobody told it of the authority");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooled_connection_that_closed_while_idle_costs_nothing() {
    for way in [Way::Implicit, Way::StartTls] {
        let post = post(way, DEADLINE, true).await;
        for round in 0..3 {
            let order = post.paid().await;
            paid_and_delivered_once(&post.app, &order, "pooled").await;
            assert_eq!(details(&post.app.order(&order).await, "MAIL_FAILED").len(), 0, "round {round}");
            post.has_mails(1, "pooled");
            // The server's end of the kept connection goes.
            post.gate.set(None);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
