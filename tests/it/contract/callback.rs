//! The address that CinetPay notifies.

use auditshield::adapters::cinetpay::signature;
use auditshield::simulator;
use reqwest::StatusCode;

use super::{FORM, shop};
use crate::support::TestApp;

const SECRET: &str = "simulator-secret-key";
const SITE: &str = "445160";
const CALLBACK: &str = "/payment/callback/";

/// A notification and its signature, from whatever site, about whatever transaction.
fn signed(secret: &str, site: &str, transaction: &str) -> (String, String) {
    let values: Vec<&str> = simulator::FIELDS
        .iter()
        .map(|name| match *name {
            "cpm_site_id" => site,
            "cpm_trans_id" => transaction,
            "cpm_amount" => "15000",
            "cpm_error_message" => "SUCCES",
            _ => "",
        })
        .collect();
    let pairs = simulator::FIELDS.iter().zip(&values);
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let bytes: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
    (body, signature::sign(secret.as_bytes(), &bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_is_answered() {
    let app = TestApp::start().await;
    for path in [CALLBACK, "/payment/callback"] {
        for method in ["GET", "HEAD"] {
            assert_eq!(shop(&app, method, path, &[], "").await.status, 200, "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn genuine_notifications_are_200_whatever_they_are_about() {
    let app = TestApp::start().await;
    app.silent();
    let order = app.buy().await;
    for transaction in [
        order.as_str(),
        &order,
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "01ARZ3NDEKTSV4RRFFQ69G5FAVR7",
        "somebody-elses-42",
        "",
        "é%00<script>",
    ] {
        let (body, token) = signed(SECRET, SITE, transaction);
        assert_eq!(app.callback(body, Some(&token)).await, StatusCode::OK, "{transaction}");
    }
    for site in ["999999", ""] {
        let (body, token) = signed(SECRET, site, &order);
        assert_eq!(app.callback(body, Some(&token)).await, StatusCode::OK, "site {site}");
    }
    let (body, token) = signed(SECRET, SITE, &order);
    let headers = [FORM, ("x-token", token.as_str())];
    assert_eq!(
        shop(&app, "POST", "/payment/callback", &headers, body).await.status,
        200,
        "without the slash"
    );
    let kinds = app.kinds(&order).await;
    assert_eq!(crate::support::times(&kinds, "NOTIFIED"), 1, "{kinds:?}");
    assert_eq!(app.order(&order).await["status"], "PENDING", "the form's word counts for nothing");
    assert_eq!(
        app.api("orders").await["orders"].as_array().unwrap().len(),
        1,
        "no order is made of a notification"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unsigned_or_unreadable_is_400_and_too_large_413() {
    let app = TestApp::start().await;
    app.silent();
    let order = app.buy().await;
    let (body, token) = signed(SECRET, SITE, &order);
    let refused = |body: String, token: Option<String>| {
        let app = &app;
        async move {
            let mut headers = vec![FORM];
            if let Some(token) = &token {
                headers.push(("x-token", token));
            }
            shop(app, "POST", CALLBACK, &headers, body).await.is_problem(400);
        }
    };
    refused(body.clone(), None).await;
    refused(String::new(), Some(token.clone())).await;
    refused(body.replace("15000", "15001"), Some(token.clone())).await;
    refused(format!("{body}&cpm_amount=15000"), Some(token.clone())).await;
    refused(body.clone(), Some(signed("another-secret", SITE, &order).1)).await;
    refused(r#"{"cpm_trans_id":"x"}"#.to_owned(), Some(token.clone())).await;
    refused("x".repeat(64 * 1024), Some(token.clone())).await;
    let two = [FORM, ("x-token", token.as_str()), ("x-token", token.as_str())];
    shop(&app, "POST", CALLBACK, &two, body.clone()).await.is_problem(400);
    let headers = [FORM, ("x-token", token.as_str())];
    shop(&app, "POST", CALLBACK, &headers, format!("{body}&x={}", "x".repeat(64 * 1024)))
        .await
        .is_problem(413);
    assert_eq!(app.kinds(&order).await, ["CREATED", "INITIATED"]);
    assert_eq!(app.callback(body, Some(&token)).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_secrets_while_one_is_rotated_out() {
    let app = TestApp::with(&[("CINETPAY_WEBHOOK_SECRET", "the-new-secret, simulator-secret-key")]).await;
    let order = app.buy().await;
    for (secret, status) in [
        ("the-new-secret", 200),
        (SECRET, 200),
        ("the-new-secret, simulator-secret-key", 400),
        ("another-secret", 400),
    ] {
        let (body, token) = signed(secret, SITE, &order);
        assert_eq!(app.callback(body, Some(&token)).await.as_u16(), status, "{secret}");
    }
}
