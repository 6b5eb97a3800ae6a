//! The clock jumps: forward, back, by minutes and by days. Money and mails stay as they are.

use std::time::Duration;

use reqwest::StatusCode;

use super::{Shifted, paid_and_delivered_once};
use crate::contract::{HTML, shop};
use crate::support::{TestApp, times};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// Where a jump falls in an order's life.
#[derive(Debug, Clone, Copy)]
enum Before {
    Webhook,
    Check,
    Mail,
}

fn jump(shifted: &Shifted, forward: bool, by: Duration) {
    if forward { shifted.forward(by) } else { shifted.back(by) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_under_a_jumping_clock_is_paid_and_delivered_once() {
    for (name, forward, by) in
        [("a day forward", true, DAY), ("a day back", false, DAY), ("ten minutes back", false, MINUTE * 10)]
    {
        for when in [Before::Webhook, Before::Check, Before::Mail] {
            let what = format!("{name} before the {when:?}");
            let shifted = Shifted::default();
            let mut app = TestApp::by(shifted.clock(), &[]).await;
            app.silent();
            let order = app.buy().await;
            app.cinetpay.approve(&order).unwrap();
            match when {
                Before::Webhook => jump(&shifted, forward, by),
                Before::Check => {
                    app.cinetpay.patch(&serde_json::json!({"check_latency_ms": 300})).unwrap();
                }
                Before::Mail => app.mailbox.set_fault(Some(auditshield::simulator::mailbox::Fault::dropped(
                    auditshield::simulator::mailbox::Step::Connect,
                ))),
            }
            assert_eq!(app.notify(&order).await, StatusCode::OK, "{what}");
            match when {
                Before::Webhook => {}
                Before::Check => jump(&shifted, forward, by),
                Before::Mail => {
                    app.until(&order, "MAIL_FAILED").await;
                    jump(&shifted, forward, by);
                    app.mailbox.set_fault(None);
                    if !forward {
                        late_but_never_lost(&mut app, &shifted, &order, by).await;
                    }
                }
            }
            paid_and_delivered_once(&app, &order, &what).await;
            assert_eq!(app.mailbox.messages().len(), 1, "{what}");
            // A second webhook in the new time is still a duplicate.
            assert_eq!(app.notify(&order).await, StatusCode::OK, "{what}");
            assert_eq!(times(&app.kinds(&order).await, "NOTIFIED"), 1, "{what}");
            app.end().await;
        }
    }
}

/// What is due at a time of day waits for that time of day, across a restart too.
async fn late_but_never_lost(app: &mut TestApp, shifted: &Shifted, order: &str, by: Duration) {
    app.restart().await;
    assert_eq!(app.order(order).await["delivery"]["status"], "owed");
    shifted.forward(by + MINUTE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_lives_by_the_clock_and_no_jump_back_revives_what_was_spent() {
    let shifted = Shifted::default();
    let app = TestApp::by(shifted.clock(), &[("AUDITSHIELD_DOWNLOAD__MAX_DOWNLOADS", "1")]).await;
    app.silent();
    let order = app.buy().await;
    app.cinetpay.approve(&order).unwrap();
    assert_eq!(app.notify(&order).await, StatusCode::OK);
    let link = app.link().await;
    let path = link.trim_start_matches(&app.shop).to_owned();
    let look = async || shop(&app, "GET", &path, &[HTML], "").await.status;
    assert_eq!(look().await, 200);
    // A token of the future is a forgery or a clock that went back: refused, and good again when time catches up.
    shifted.back(DAY);
    assert_eq!(look().await, 403, "issued tomorrow");
    shifted.forward(DAY);
    assert_eq!(look().await, 200);
    assert_eq!(shop(&app, "POST", &path, &[HTML], "").await.status, 303);
    for (forward, by) in [(false, MINUTE * 10), (true, MINUTE * 10), (true, DAY * 4), (false, DAY * 4)] {
        jump(&shifted, forward, by);
        let status = shop(&app, "POST", &path, &[HTML], "").await.status;
        assert!([403, 410].contains(&status), "{status}: the one download is spent at any time");
    }
    assert_eq!(times(&app.kinds(&order).await, "DOWNLOADED"), 1);
}
