//! The reminder in the real daemon: once, in time, and only to a buyer who never used a link that still lives.

use std::time::Duration;

use auditshield::simulator::mailbox::{Fault, Step};

use crate::faults::Shifted;
use crate::support::{TestApp, times};

const HOUR: Duration = Duration::from_secs(3600);
/// How long a mail may take.
const MAIL_MAX: Duration = Duration::from_secs(15);

async fn delivered(app: &TestApp) -> String {
    let order = app.buy().await;
    app.cinetpay.approve(&order).unwrap();
    app.until(&order, "DELIVERED").await;
    order
}

/// Several orders, one clock: who is reminded, and who is not.
#[tokio::test(flavor = "multi_thread")]
async fn an_unused_link_is_reminded_of_once() {
    let shifted = Shifted::default();
    let mut app =
        TestApp::by(shifted.clock(), &[("AUDITSHIELD_MERCHANT__CONTACT", "+225 07 00 00 00 00")]).await;
    let used = delivered(&app).await;
    let link = app.link().await;
    let started = app.client.post(&link).send().await.unwrap();
    assert_eq!(started.status().as_u16(), 303, "a download was started");
    let (revoked, refunded) = (delivered(&app).await, delivered(&app).await);
    assert!(app.act(&revoked, "revoke").await.status().is_success());
    assert!(app.act(&refunded, "refund").await.status().is_success());
    let unused = delivered(&app).await;
    let before = app.mailbox.messages().len();
    shifted.forward(47 * HOUR);
    // A restart neither loses it nor brings it forward.
    app.restart().await;
    assert_eq!(times(&app.kinds(&unused).await, "REMINDED"), 0, "a day before the end, not sooner");
    shifted.forward(2 * HOUR);
    app.until(&unused, "REMINDED").await;
    let mails = app.mailbox.wait_for(before + 1, MAIL_MAX).await;
    let (first, reminder) = (mails[before - 1].read(), mails[before].read());
    let (text, html) = (reminder.text.unwrap(), reminder.html.unwrap());
    assert!(reminder.subject.starts_with("Votre lien expire bientôt"), "{}", reminder.subject);
    for part in ["pas encore été téléchargé", "+225 07 00 00 00 00", unused.as_str()] {
        assert!(text.contains(part) && html.contains(part), "{part}: {text}");
    }
    let download =
        |text: &str| text.split_whitespace().find(|word| word.contains("/download/")).unwrap().to_owned();
    let (theirs, ours) = (download(&first.text.unwrap()), download(&text));
    let token = |link: &str| link.split("/download/").nth(1).unwrap().to_owned();
    assert_eq!(token(&theirs), token(&ours), "the same link");
    shifted.forward(10 * HOUR);
    app.restart().await;
    delivered(&app).await;
    for other in [&used, &revoked, &refunded] {
        assert_eq!(times(&app.kinds(other).await, "REMINDED"), 0, "{other}");
    }
    assert_eq!(times(&app.kinds(&unused).await, "REMINDED"), 1);
    assert_eq!(app.mailbox.messages().len(), before + 2, "the reminder, and the last delivery");
    app.end().await;
}

/// A mail server that asks for patience gets the reminder later; a link that ended meanwhile is let be.
#[tokio::test(flavor = "multi_thread")]
async fn a_reminder_is_tried_again_and_given_up_in_time() {
    let shifted = Shifted::default();
    let app = TestApp::by(shifted.clock(), &[]).await;
    let (tried, late) = (delivered(&app).await, delivered(&app).await);
    app.mailbox.set_fault(Some(Fault { times: Some(1), ..Fault::reply(Step::Rcpt, 451) }));
    shifted.forward(48 * HOUR);
    for order in [&tried, &late] {
        app.until(order, "REMINDED").await;
    }
    let all = [app.kinds(&tried).await, app.kinds(&late).await].concat();
    assert_eq!((times(&all, "REMINDER_FAILED"), times(&all, "REMINDED")), (1, 2), "{all:?}");
    let slept = delivered(&app).await;
    shifted.forward(80 * HOUR);
    let order = app.until(&slept, "REMINDER_FAILED").await;
    let event = order["events"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&event["detail"]["reason"], &event["detail"]["next_at"]),
        (&"LATE".into(), &serde_json::Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_merchant_may_do_without_reminders() {
    for (name, value) in [("AUDITSHIELD_DOWNLOAD__REMIND_BEFORE", "0s"), ("AUDITSHIELD_DOWNLOAD__TTL", "47h")]
    {
        let app = TestApp::with(&[(name, value)]).await;
        let order = app.buy().await;
        app.cinetpay.approve(&order).unwrap();
        let order = app.until(&order, "DELIVERED").await;
        let delivered = order["events"].as_array().unwrap().iter().find(|event| event["kind"] == "DELIVERED");
        assert_eq!(delivered.unwrap()["detail"].get("remind_at"), None, "{name}");
    }
}
