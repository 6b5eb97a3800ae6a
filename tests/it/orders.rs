//! What an order goes through when CinetPay, the mail server or the network are not at their best.

use std::time::{Duration, Instant};

use auditshield::simulator::mailbox::{Fault, Step};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{TestApp, times};

#[tokio::test(flavor = "multi_thread")]
async fn pending_is_not_failed() {
    let app = TestApp::start().await;
    app.silent();
    for shape in ["pending", "waiting_for_customer", "year2021"] {
        let order = app.buy().await;
        app.settle(&order, &json!({"pending_shape": shape}));
        assert_eq!(app.notify(&order).await, StatusCode::OK);
        let payment = app.until(&order, "CHECKED").await;
        assert_eq!(payment["status"], "PENDING", "{shape}");
        app.cinetpay.approve(&order).unwrap();
        assert_eq!(app.act(&order, "verify").await.status(), StatusCode::OK, "{shape}");
        app.until(&order, "PAID").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_fails_is_not_a_refusal_and_recovers() {
    let app = TestApp::start().await;
    app.silent();
    for kind in ["html502", "truncated", "throttle", "error500", "cut"] {
        let order = app.buy().await;
        app.settle(&order, &json!({"check_fault": {"kind": kind, "times": 1, "retry_after_s": 1}}));
        app.cinetpay.approve(&order).unwrap();
        assert_eq!(app.notify(&order).await, StatusCode::OK);
        app.until(&order, "DELIVERED").await;
        let kinds = app.kinds(&order).await;
        assert_eq!((times(&kinds, "FAILED"), times(&kinds, "CHECKED")), (0, 2), "{kind}: {kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_amount_or_currency_is_for_a_person() {
    let app = TestApp::start().await;
    app.silent();
    for claim in [json!({"accepted_amount": "100"}), json!({"accepted_currency": "XAF"})] {
        let order = app.buy().await;
        app.settle(&order, &claim);
        app.cinetpay.approve(&order).unwrap();
        assert_eq!(app.notify(&order).await, StatusCode::OK);
        let payment = app.until(&order, "REVIEW").await;
        assert_eq!(payment["status"], "REVIEW", "{claim}");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(app.mailbox.messages().is_empty(), "nothing is delivered");
    let listed = app.api("orders?status=REVIEW").await;
    let orders: Vec<&str> =
        listed["orders"].as_array().unwrap().iter().map(|one| one["order_id"].as_str().unwrap()).collect();
    assert_eq!(orders.len(), 2);
    assert_eq!(app.act(orders[0], "approve").await.status(), StatusCode::OK);
    app.until(orders[0], "DELIVERED").await;
    assert_eq!(app.act(orders[1], "reject").await.status(), StatusCode::OK);
    assert_eq!(app.order(orders[1]).await["status"], "FAILED");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_then_accepted_is_paid_and_accepted_then_refused_stays_paid() {
    let app = TestApp::start().await;
    app.silent();
    let order = app.buy().await;
    app.settle(&order, &json!({"late_success_ms": 200}));
    app.cinetpay.refuse(&order, "627").unwrap();
    assert_eq!(app.notify(&order).await, StatusCode::OK);
    app.until(&order, "FAILED").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    // The very same notification again: a duplicate, but a reason to look.
    assert_eq!(app.notify(&order).await, StatusCode::OK);
    app.until(&order, "DELIVERED").await;
    let (body, token) = app.notice(&order, "TRANSACTION_CANCEL");
    assert_eq!(app.callback(body, Some(&token)).await, StatusCode::OK);
    assert_eq!(app.order(&order).await["status"], "PAID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_webhook_is_found_by_polling() {
    let app = TestApp::with(&[("AUDITSHIELD_VERIFY__FIRST_POLL", "1s")]).await;
    app.silent();
    let order = app.buy().await;
    app.cinetpay.approve(&order).unwrap();
    let payment = app.until(&order, "DELIVERED").await;
    assert_eq!(payment["status"], "PAID");
    assert_eq!(times(&app.kinds(&order).await, "NOTIFIED"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_verdict_an_order_expires_and_a_late_answer_counts() {
    let app =
        TestApp::with(&[("AUDITSHIELD_VERIFY__FIRST_POLL", "1s"), ("AUDITSHIELD_VERIFY__HORIZON", "3s")])
            .await;
    app.silent();
    let order = app.buy().await;
    app.until(&order, "EXPIRED").await;
    app.cinetpay.approve(&order).unwrap();
    assert_eq!(app.notify(&order).await, StatusCode::OK);
    app.until(&order, "DELIVERED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_down_is_paid_now_and_delivered_later_once() {
    let app = TestApp::start().await;
    app.silent();
    let refusing = Fault { times: Some(2), ..Fault::reply(Step::Rcpt, 451) };
    app.mailbox.set_fault(Some(refusing));
    let order = app.buy().await;
    app.cinetpay.approve(&order).unwrap();
    assert_eq!(app.notify(&order).await, StatusCode::OK);
    app.until(&order, "MAIL_FAILED").await;
    assert_eq!(app.order(&order).await["status"], "PAID");
    app.until(&order, "DELIVERED").await;
    assert_eq!(app.mailbox.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_refused_for_good_waits_for_a_person() {
    let app = TestApp::start().await;
    app.silent();
    app.mailbox.set_fault(Some(Fault::reply(Step::Rcpt, 550)));
    let order = app.buy().await;
    app.cinetpay.approve(&order).unwrap();
    app.notify(&order).await;
    app.until(&order, "MAIL_FAILED").await;
    app.mailbox.set_fault(None);
    assert_eq!(app.act(&order, "resend").await.status(), StatusCode::OK);
    app.until(&order, "DELIVERED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_replays_write_nothing() {
    let app = TestApp::start().await;
    app.silent();
    let order = app.buy().await;
    app.cinetpay.approve(&order).unwrap();
    app.notify(&order).await;
    app.until(&order, "DELIVERED").await;
    let size = |app: &TestApp| -> u64 {
        let journal = app.folder.path().join("store/journal");
        std::fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    let before = size(&app);
    let (body, token) = app.notice(&order, "SUCCES");
    let replays = (0..1_000).map(|_| app.callback(body.clone(), Some(&token)));
    let answers = futures_util::future::join_all(replays).await;
    assert!(answers.iter().all(|answer| *answer == StatusCode::OK));
    assert_eq!(size(&app), before, "the journal did not grow");
    assert_eq!(app.mailbox.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_at_once_with_slow_checks_are_paid_in_time() {
    let app = TestApp::start().await;
    app.silent();
    app.cinetpay.patch(&json!({"check_latency_ms": 500})).unwrap();
    let mut orders = Vec::new();
    for _ in 0..16 {
        let order = app.buy().await;
        app.cinetpay.approve(&order).unwrap();
        orders.push(order);
    }
    let begun = Instant::now();
    let answers = futures_util::future::join_all(orders.iter().map(|order| app.notify(order))).await;
    assert!(answers.iter().all(|answer| *answer == StatusCode::OK));
    futures_util::future::join_all(orders.iter().map(|order| app.until(order, "PAID"))).await;
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timed_out_init_asks_first_and_opens_a_second_attempt() {
    let app = TestApp::with(&[("AUDITSHIELD_CINETPAY__TIMEOUT", "1s")]).await;
    app.silent();
    app.cinetpay.patch(&json!({"init_fault": {"kind": "timeout", "times": 1}})).unwrap();
    let answer = app.buy_with(&[], &json!({"email": "awa@example.ci"})).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let body: Value = answer.json().await.unwrap();
    let order = body["order_id"].as_str().unwrap();
    assert!(app.cinetpay.transaction(&format!("{order}R2")).is_some(), "a second attempt");
    app.cinetpay.approve(&format!("{order}R2")).unwrap();
    assert_eq!(app.notify(&format!("{order}R2")).await, StatusCode::OK);
    app.until(order, "DELIVERED").await;
    assert_eq!(app.kinds(order).await[..3], ["CREATED", "INIT_FAILED", "INITIATED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_makes_one_order() {
    let app = TestApp::start().await;
    let key = [("idempotency-key", "panier-1")];
    let body = json!({"email": "awa@example.ci"});
    let many = futures_util::future::join_all((0..8).map(|_| app.buy_with(&key, &body))).await;
    let mut orders = std::collections::BTreeSet::new();
    for answer in many {
        assert_eq!(answer.status(), StatusCode::CREATED);
        let body: Value = answer.json().await.unwrap();
        orders.insert(body["order_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(orders.len(), 1);
    let other = app.buy_with(&key, &json!({"email": "other@example.ci"})).await;
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test(flavor = "multi_thread")]
async fn cinetpay_out_of_reach_is_502_and_the_repeat_goes_on() {
    let app = TestApp::start().await;
    app.cinetpay.patch(&json!({"init_fault": {"kind": "error500"}})).unwrap();
    let key = [("idempotency-key", "panier-2")];
    let body = json!({"email": "awa@example.ci"});
    let refused = app.buy_with(&key, &body).await;
    assert_eq!(refused.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    app.cinetpay.patch(&json!({"init_fault": {"kind": "none"}})).unwrap();
    let opened = app.buy_with(&key, &body).await;
    assert_eq!(opened.status(), StatusCode::CREATED);
    assert_eq!(app.api("orders").await["orders"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_nothing() {
    let mut app = TestApp::with(&[("AUDITSHIELD_VERIFY__FIRST_POLL", "1s")]).await;
    app.silent();
    let order = app.buy().await;
    app.cinetpay.patch(&json!({"check_fault": {"kind": "html502"}})).unwrap();
    assert_eq!(app.notify(&order).await, StatusCode::OK);
    app.until(&order, "CHECKED").await;
    app.cinetpay.approve(&order).unwrap();
    app.cinetpay.patch(&json!({"check_fault": {"kind": "none"}})).unwrap();
    app.restart().await;
    app.until(&order, "DELIVERED").await;
    assert_eq!(app.mailbox.messages().len(), 1);
}
