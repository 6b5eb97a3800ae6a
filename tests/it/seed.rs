//! The tests that the project began with, by their names, against the real daemon, the real ledger, the simulated CinetPay
//! and a real SMTP conversation.

use reqwest::StatusCode;

use crate::support::{FILE, TestApp, times};

#[tokio::test(flavor = "multi_thread")]
async fn start_checkout_creates_a_payment_and_calls_init_payment() {
    let app = TestApp::start().await;
    let order = app.buy().await;
    let transaction = app.cinetpay.transaction(&order).expect("CinetPay was asked");
    assert_eq!(transaction.counts.init, 1);
    let payment = app.order(&order).await;
    assert_eq!(payment["status"], "PENDING");
    assert_eq!(payment["amount"], 15_000);
    assert_eq!(payment["email"], "awa@example.ci");
    assert_eq!(app.kinds(&order).await, ["CREATED", "INITIATED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_without_a_signature_is_400() {
    let app = TestApp::start().await;
    let order = app.buy().await;
    let (body, _) = app.notice(&order, "SUCCES");
    assert_eq!(app.callback(body, None).await, StatusCode::BAD_REQUEST);
    assert_eq!(app.kinds(&order).await, ["CREATED", "INITIATED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_with_a_bad_signature_is_400() {
    let app = TestApp::start().await;
    let order = app.buy().await;
    let (body, token) = app.notice(&order, "SUCCES");
    let forged = format!("{}0", &token[..63]);
    let forged = if forged == token { format!("{}1", &token[..63]) } else { forged };
    for bad in [forged.as_str(), "", "0", &token[..62], &format!("{token}00")] {
        assert_eq!(app.callback(body.clone(), Some(bad)).await, StatusCode::BAD_REQUEST, "{bad}");
    }
    assert_eq!(app.kinds(&order).await, ["CREATED", "INITIATED"]);
    assert_eq!(app.callback(body, Some(&token.to_uppercase())).await, StatusCode::OK, "hex is hex");
}

#[tokio::test(flavor = "multi_thread")]
async fn good_signature_check_refused_is_failed_and_no_delivery() {
    let app = TestApp::start().await;
    app.silent();
    let order = app.buy().await;
    app.cinetpay.refuse(&order, "602").unwrap();
    assert_eq!(app.notify(&order).await, StatusCode::OK);
    let payment = app.until(&order, "FAILED").await;
    assert_eq!(payment["status"], "FAILED");
    assert!(app.mailbox.messages().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn good_signature_check_accepted_is_paid_and_delivered() {
    let app = TestApp::start().await;
    app.silent();
    let order = app.buy().await;
    app.cinetpay.approve(&order).unwrap();
    assert_eq!(app.notify(&order).await, StatusCode::OK);
    let payment = app.until(&order, "DELIVERED").await;
    assert_eq!(payment["status"], "PAID");
    assert!(payment["provider_tx_id"].as_str().is_some_and(|id| !id.is_empty()));
    let link = app.link().await;
    assert_eq!(app.client.get(&link).send().await.unwrap().status(), StatusCode::OK);
    let started = app.client.post(&link).send().await.unwrap();
    assert_eq!(started.status(), StatusCode::SEE_OTHER);
    let to =
        reqwest::Url::parse(&link).unwrap().join(started.headers()["location"].to_str().unwrap()).unwrap();
    let file = app.client.get(to).send().await.unwrap();
    assert_eq!(file.status(), StatusCode::OK);
    assert_eq!(file.bytes().await.unwrap().as_ref(), FILE);
    assert_eq!(times(&app.kinds(&order).await, "DOWNLOADED"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_twice_is_one_delivery() {
    let app = TestApp::start().await;
    app.silent();
    let order = app.buy().await;
    app.cinetpay.approve(&order).unwrap();
    assert_eq!(app.notify(&order).await, StatusCode::OK);
    assert_eq!(app.notify(&order).await, StatusCode::OK);
    app.until(&order, "DELIVERED").await;
    assert_eq!(app.notify(&order).await, StatusCode::OK);
    let kinds = app.kinds(&order).await;
    for kind in ["NOTIFIED", "PAID", "DELIVERED"] {
        assert_eq!(times(&kinds, kind), 1, "{kind} in {kinds:?}");
    }
    assert_eq!(app.mailbox.messages().len(), 1);
}
