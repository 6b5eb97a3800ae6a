//! What a buyer's browser and a merchant's own shop meet: purchase, waiting page, status.

use serde_json::{Value, json};

use super::{Answer, BUY, FORM, HTML, JSON, names, shop};
use crate::support::TestApp;

const AWA: &str = "email=awa%40example.ci&name=Awa+Kon%C3%A9&phone=%2B2250707070707";
const HERE: &str = "Retour reçu, en attente de confirmation";

async fn post(app: &TestApp, headers: &[(&str, &str)], body: &str) -> Answer {
    shop(app, "POST", BUY, headers, body.to_owned()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shop_and_the_purchase_page() {
    let app = TestApp::start().await;
    let front = shop(&app, "GET", "/", &[HTML], "").await;
    assert!(front.is_page(200).contains(r#"href="/buy/audit-kit/standard/"#), "{}", front.body);
    let page = shop(&app, "GET", BUY, &[HTML], "").await;
    let text = page.is_page(200).replace('\u{202f}', " ");
    for part in [r#"<html lang="fr">"#, r#"<form method="post""#, r#"name="email""#, "15 000 FCFA", "Acheter"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let english = shop(&app, "GET", &format!("{BUY}?lang=en"), &[HTML], "").await;
    assert!(english.is_page(200).contains(r#"<html lang="en">"#));
    let asset = text.split('"').find(|part| part.starts_with("/assets/")).expect("an asset");
    assert_eq!(shop(&app, "GET", asset, &[], "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_goes_to_the_payment_page_and_json_gets_the_order() {
    let app = TestApp::start().await;
    for headers in [vec![FORM, HTML], vec![FORM], vec![FORM, HTML, ("origin", "https://other.example")]] {
        let sent = post(&app, &headers, AWA).await;
        assert_eq!(sent.status, 303, "{headers:?}");
        assert!(sent.header("location").starts_with(app.cinetpay.base_url()), "{}", sent.header("location"));
    }
    let typed = ("content-type", "application/json");
    let body = r#"{"email":"awa@example.ci","name":"Awa","phone":"+2250707070707"}"#;
    for (headers, body) in [(vec![typed, JSON], body), (vec![typed], body), (vec![FORM, JSON], AWA)] {
        let made = post(&app, &headers, body).await;
        assert_eq!(made.status, 201, "{headers:?}");
        assert_eq!(made.header("content-type"), "application/json");
        let made = made.json();
        assert_eq!(names(&made), ["amount", "currency", "order_id", "payment_url", "status"]);
        assert_eq!((&made["status"], &made["amount"]), (&json!("PENDING"), &json!(15_000)));
        let order = app.order(made["order_id"].as_str().unwrap()).await;
        assert_eq!((&order["email"], &order["status"]), (&json!("awa@example.ci"), &json!("PENDING")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_400_and_an_unknown_product_404() {
    let app = TestApp::start().await;
    let long = format!("email={}%40example.ci", "a".repeat(300));
    for (body, field) in [
        ("", "email"),
        ("email=", "email"),
        ("email=awa", "email"),
        ("email=awa%40example.ci%0D%0ABcc%3A+x%40y.zz", "email"),
        (&long, "email"),
        ("email=awa%40example.ci&phone=call+me", "phone"),
    ] {
        let wrong = post(&app, &[FORM, JSON], body).await;
        assert_eq!(wrong.is_problem(400)["field"], field, "{body}");
    }
    for body in ["", "[]", "{", "7", r#"{"email":7}"#, r#"{"email":{"a":"b"}}"#, "null"] {
        post(&app, &[("content-type", "application/json"), JSON], body).await.is_problem(400);
    }
    let page = post(&app, &[FORM, HTML], "email=awa&name=%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert!(page.is_page(400).contains(r#"aria-invalid="true""#));
    assert!(page.body.contains(r#"value="awa""#), "what was typed is kept");
    for path in ["/buy/audit-kit/platinum/", "/buy/nothing/standard", "/buy/%FF/standard/"] {
        for method in ["GET", "POST"] {
            shop(&app, method, path, &[FORM, JSON], AWA).await.is_problem(404);
            shop(&app, method, path, &[FORM, HTML], AWA).await.is_page(404);
        }
    }
    assert_eq!(app.api("orders").await["orders"], json!([]), "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_purchases_are_429_and_say_when() {
    let app = TestApp::with(&[("AUDITSHIELD_LIMITS__BUY_PER_MINUTE", "1")]).await;
    assert_eq!(post(&app, &[FORM, JSON], AWA).await.status, 201);
    let said = |answer: &Answer| answer.header("retry-after").parse::<u32>().unwrap();
    let json = post(&app, &[FORM, JSON], AWA).await;
    json.is_problem(429);
    assert!((1..=60).contains(&said(&json)));
    let page = post(&app, &[FORM, HTML], AWA).await;
    page.is_page(429);
    assert!((1..=60).contains(&said(&page)));
}

#[tokio::test(flavor = "multi_thread")]
async fn cinetpay_out_of_reach_is_502_as_asked() {
    let app = TestApp::start().await;
    app.cinetpay.patch(&json!({"init_fault": {"kind": "error500"}})).unwrap();
    post(&app, &[FORM, JSON], AWA).await.is_problem(502);
    post(&app, &[FORM, HTML], AWA).await.is_page(502);
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_may_buy_from_allowed_origins_only() {
    let shops = "https://boutique.example,https://www.boutique.example";
    let app = TestApp::with(&[("AUDITSHIELD_SERVER__ALLOWED_ORIGINS", shops)]).await;
    let asks = [
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,idempotency-key"),
    ];
    for origin in ["https://boutique.example", "https://www.boutique.example"] {
        let from = ("origin", origin);
        let before = shop(&app, "OPTIONS", BUY, &[from, asks[0], asks[1]], "").await;
        assert_eq!((before.status, before.header("access-control-allow-origin")), (204, origin));
        assert!(before.header("access-control-allow-methods").contains("POST"));
        let allowed = before.header("access-control-allow-headers").to_ascii_lowercase();
        assert!(allowed.contains("content-type") && allowed.contains("idempotency-key"), "{allowed}");
        for (body, status) in [(AWA, 201), ("email=awa", 400)] {
            let answer = post(&app, &[FORM, JSON, from], body).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, origin));
            assert!(answer.headers.get_all("vary").iter().any(|vary| vary == "Origin"));
            assert_eq!(answer.header("access-control-allow-credentials"), "");
        }
    }
    for origin in
        ["https://evil.example", "https://boutique.example.evil.example", "http://boutique.example", "null"]
    {
        let before = shop(&app, "OPTIONS", BUY, &[("origin", origin), asks[0]], "").await;
        assert!(!before.headers.contains_key("access-control-allow-origin"), "{origin}");
        let answer = post(&app, &[FORM, JSON, ("origin", origin)], AWA).await;
        assert_eq!(answer.status, 201, "a plain form needs no permission");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn coming_back_delivers_nothing_and_changes_nothing() {
    let app = TestApp::start().await;
    app.silent();
    let order = app.buy().await;
    app.cinetpay.approve(&order).unwrap();
    let before = app.order(&order).await;
    let hint = format!("transaction_id={order}&token=x&status=ACCEPTED");
    for path in ["/payment/return/", "/payment/return"] {
        let got = shop(&app, "GET", &format!("{path}?{hint}"), &[HTML], "").await;
        let posted = shop(&app, "POST", path, &[HTML, FORM], hint.clone()).await;
        for page in [got, posted] {
            assert!(page.is_page(200).contains(HERE));
            assert!(page.body.contains(&order) && !page.body.contains("awa@example.ci"));
        }
    }
    for body in ["", "transaction_id=nothing", "transaction_id=%3Cscript%3E", "\u{0}%FF=&&==", "a=1&a=1"] {
        let page = shop(&app, "POST", "/payment/return/", &[HTML, FORM], body.to_owned()).await;
        assert!(page.is_page(200).contains(HERE), "{body}");
    }
    assert_eq!(app.order(&order).await, before);
    assert_eq!(app.cinetpay.transaction(&order).unwrap().counts.check, 0, "nobody was asked");
    assert!(app.mailbox.messages().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_json_and_a_stream_without_personal_data() {
    let app = TestApp::start().await;
    app.silent();
    let order = app.buy().await;
    let path = format!("/payment/status/{order}/");
    let now = shop(&app, "GET", &path, &[JSON], "").await;
    assert_eq!((now.status, now.header("content-type")), (200, "application/json"));
    assert_eq!(now.header("cache-control"), "no-store");
    assert_eq!(names(&now.json()), ["delivered", "final", "order_id", "status"]);
    assert_eq!((&now.json()["status"], &now.json()["order_id"]), (&json!("PENDING"), &json!(order)));
    let stream = shop(&app, "GET", &path, &[("accept", "text/event-stream")], "");
    let sale = async {
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
        app.cinetpay.approve(&order).unwrap();
        app.notify(&order).await;
    };
    let (stream, ()) = tokio::join!(stream, sale);
    assert_eq!((stream.status, stream.header("content-type")), (200, "text/event-stream"));
    let told: Vec<Value> = stream
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    assert_eq!(told.first().unwrap()["status"], "PENDING", "{}", stream.body);
    let last = told.last().unwrap();
    assert_eq!(
        (&last["status"], &last["delivered"], &last["final"]),
        (&json!("PAID"), &json!(true), &json!(true))
    );
    assert!(!stream.body.contains('@') && !stream.body.contains("/download/"), "{}", stream.body);
    for unknown in ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "nothing", "%FF"] {
        shop(&app, "GET", &format!("/payment/status/{unknown}/"), &[JSON], "").await.is_problem(404);
    }
}
