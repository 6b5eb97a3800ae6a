//! The admin listener: metrics for everybody on this machine, orders for who has the token.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Answer, FORM, HTML, JSON, names, office};
use crate::support::{ADMIN_TOKEN, TestApp};

const ACTIONS: [&str; 8] = ["verify", "resend", "address", "approve", "reject", "refund", "revoke", "erase"];

async fn paid(app: &TestApp) -> String {
    app.silent();
    let order = app.buy().await;
    app.cinetpay.approve(&order).unwrap();
    app.notify(&order).await;
    app.until(&order, "DELIVERED").await;
    order
}

fn ids(page: &Value) -> Vec<String> {
    let orders = page["orders"].as_array().unwrap_or_else(|| panic!("{page}"));
    orders.iter().map(|order| order["order_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_open_and_name_nobody() {
    let app = TestApp::start().await;
    let order = paid(&app).await;
    let metrics = office(&app, "GET", "/metrics", &[], "").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").starts_with("text/plain"));
    assert!(!metrics.body.contains(&order) && !metrics.body.contains('@'));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_without_the_token() {
    let app = TestApp::start().await;
    let order = app.buy().await;
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let nearly = format!("Bearer {}", &ADMIN_TOKEN[1..]);
    let basic = format!("Basic {ADMIN_TOKEN}");
    let wrong: [Vec<(&str, &str)>; 6] = [
        vec![],
        vec![("authorization", "Bearer ")],
        vec![("authorization", nearly.as_str())],
        vec![("authorization", basic.as_str())],
        vec![("authorization", ADMIN_TOKEN)],
        vec![("cookie", "auditshield_session=0000")],
    ];
    for headers in &wrong {
        for path in ["/api/orders", "/api/orders/", &format!("/api/orders/{order}"), "/api/nothing"] {
            let refused = office(&app, "GET", path, headers, "").await;
            refused.is_problem(401);
            assert_eq!(refused.header("www-authenticate"), "Bearer");
            assert!(!refused.body.contains("awa@"));
        }
        for action in ACTIONS {
            office(&app, "POST", &format!("/api/orders/{order}/{action}"), headers, "").await.is_problem(401);
        }
        let mut page = headers.clone();
        page.push(HTML);
        assert!(!office(&app, "GET", "/admin/", &page, "").await.is_page(401).contains(&order));
    }
    assert_eq!(app.kinds(&order).await, ["CREATED", "INITIATED"]);
    assert_eq!(
        office(&app, "GET", "/api/orders/", &[("authorization", bearer.as_str())], "").await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_has_the_contracts_members() {
    let app = TestApp::start().await;
    let order = paid(&app).await;
    let shown = app.order(&order).await;
    let members = [
        "amount",
        "created_at",
        "currency",
        "delivery",
        "email",
        "events",
        "order_id",
        "paid_at",
        "payment_method",
        "product",
        "provider_tx_id",
        "status",
        "tier",
    ];
    assert_eq!(names(&shown), members);
    let want = json!({"order_id": order, "status": "PAID", "product": "audit-kit", "tier": "standard",
                      "amount": 15_000, "currency": "XOF", "email": "awa@example.ci"});
    for (name, value) in want.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}");
    }
    assert!(shown["delivery"].is_object());
    for moment in [&shown["created_at"], &shown["paid_at"], &shown["events"][0]["at"]] {
        assert!(moment.as_str().is_some_and(|text| text.len() >= 20 && text.ends_with('Z')), "{moment}");
    }
    let mut last = 0;
    for event in shown["events"].as_array().unwrap() {
        assert_eq!(names(event), ["at", "detail", "kind", "seq"]);
        let seq = event["seq"].as_u64().unwrap();
        assert!(seq >= last, "{shown:#}");
        last = seq;
    }
    assert_eq!(app.api("orders").await["orders"][0], shown, "the list shows the same");
    let fresh = app.order(&app.buy().await).await;
    assert_eq!(names(&fresh), members);
    assert_eq!((&fresh["paid_at"], &fresh["provider_tx_id"]), (&Value::Null, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_filtered_and_goes_on_at_the_cursor() {
    let app = TestApp::with(&[("AUDITSHIELD_CINETPAY__PER_SECOND", "1000")]).await;
    let sold = paid(&app).await;
    let other = app.buy_with(&[], &json!({"email": "kofi@example.gh"})).await;
    let other = other.json::<Value>().await.unwrap()["order_id"].as_str().unwrap().to_owned();
    let mut all: BTreeSet<String> =
        futures_util::future::join_all((0..60).map(|_| app.buy())).await.into_iter().collect();
    all.extend([sold.clone(), other.clone()]);
    let (mut seen, mut path, mut pages) = (Vec::new(), "orders".to_owned(), 0);
    loop {
        let page = app.api(&path).await;
        seen.extend(ids(&page));
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("orders?cursor={cursor}");
    }
    assert_eq!((seen.len(), pages), (62, 2));
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "newest first, none twice");
    assert_eq!(seen.iter().cloned().collect::<BTreeSet<_>>(), all);
    assert_eq!(ids(&app.api("orders?status=PAID").await), std::slice::from_ref(&sold));
    assert_eq!(ids(&app.api("orders?status=REFUNDED").await), [""; 0]);
    assert_eq!(ids(&app.api("orders?q=kofi%40example.gh").await), std::slice::from_ref(&other));
    assert_eq!(ids(&app.api(&format!("orders?q={sold}")).await), std::slice::from_ref(&sold));
    let provider = app.order(&sold).await["provider_tx_id"].as_str().unwrap().to_owned();
    assert_eq!(ids(&app.api(&format!("orders?q={provider}")).await), std::slice::from_ref(&sold));
    assert_eq!(ids(&app.api("orders?status=PAID&q=kofi%40example.gh").await), [""; 0]);
    let today = app.order(&sold).await["created_at"].as_str().unwrap()[..10].to_owned();
    assert_eq!(ids(&app.api(&format!("orders?status=PAID&since={today}&until={today}")).await), [sold]);
    assert_eq!(ids(&app.api("orders?until=2020-01-01").await), [""; 0]);
    assert_eq!(ids(&app.api("orders?mail=stalled").await), [""; 0]);
    for wrong in
        ["orders?status=NONSENSE", "orders?cursor=nonsense", "orders?since=today", "orders?mail=lost"]
    {
        assert_eq!(app.api(wrong).await["status"], 400, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_answer_with_the_order_or_why_not() {
    let app = TestApp::start().await;
    let order = paid(&app).await;
    for (action, status) in [
        ("verify", StatusCode::OK),
        ("approve", StatusCode::CONFLICT),
        ("reject", StatusCode::CONFLICT),
        ("resend", StatusCode::OK),
        ("revoke", StatusCode::OK),
        ("refund", StatusCode::OK),
        ("resend", StatusCode::CONFLICT),
        ("nonsense", StatusCode::NOT_FOUND),
    ] {
        let answer = app.act(&order, action).await;
        assert_eq!(answer.status(), status, "{action}");
        if status == StatusCode::OK {
            assert_eq!(answer.json::<Value>().await.unwrap()["order_id"], order.as_str());
        }
    }
    assert_eq!(app.order(&order).await["status"], "REFUNDED");
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let headers = [JSON, ("authorization", bearer.as_str())];
    for path in ["/api/orders/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/api/orders/nonsense"] {
        office(&app, "GET", path, &headers, "").await.is_problem(404);
        office(&app, "POST", &format!("{path}/verify"), &headers, "").await.is_problem(404);
    }
    office(&app, "GET", &format!("/api/orders/{order}/refund"), &headers, "").await.is_problem(405);
}

async fn log_in(app: &TestApp, token: &str) -> Answer {
    office(app, "POST", "/admin/login/", &[HTML, FORM], format!("token={token}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_looks_freely_and_changes_with_its_own_forms_only() {
    let app = TestApp::start().await;
    let order = paid(&app).await;
    log_in(&app, "wrong").await.is_page(401);
    let entered = log_in(&app, ADMIN_TOKEN).await;
    assert_eq!((entered.status, entered.header("location")), (303, "/admin/"));
    let flags = entered.header("set-cookie").to_owned();
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(flags.contains(flag), "{flag} in {flags}");
    }
    assert!(!flags.contains(ADMIN_TOKEN));
    let cookie = ("cookie", flags.split(';').next().unwrap());
    assert_eq!(office(&app, "GET", "/api/orders", &[cookie], "").await.status, 200);
    let list = office(&app, "GET", "/admin/", &[cookie, HTML], "").await;
    assert!(list.is_page(200).contains(&order));
    let page = office(&app, "GET", &format!("/admin/orders/{order}/"), &[cookie, HTML], "").await;
    let (_, rest) = page.is_page(200).split_once(r#"name="csrf" value=""#).expect("a CSRF token");
    let csrf = rest.split('"').next().unwrap().to_owned();
    assert!(csrf.len() >= 32);
    let revoke = format!("/api/orders/{order}/revoke");
    let button = format!("/admin/orders/{order}/revoke/");
    for body in ["", "csrf=", "csrf=0000"] {
        office(&app, "POST", &revoke, &[cookie, FORM, JSON], body).await.is_problem(403);
        office(&app, "POST", &button, &[cookie, FORM, HTML], body).await.is_page(403);
        office(&app, "POST", "/admin/logout/", &[cookie, FORM, HTML], body).await.is_page(403);
    }
    assert_eq!(app.order(&order).await["delivery"]["revoked"], false);
    let form = format!("csrf={csrf}&note=essai");
    assert_eq!(office(&app, "POST", &button, &[cookie, FORM, HTML], form.clone()).await.status, 303);
    assert_eq!(app.order(&order).await["delivery"]["revoked"], true);
    let by_header = [cookie, ("x-csrf-token", csrf.as_str())];
    assert_eq!(
        office(&app, "POST", &format!("/api/orders/{order}/verify"), &by_header, "").await.status,
        200
    );
    assert_eq!(office(&app, "POST", "/admin/logout/", &[cookie, FORM, HTML], form).await.status, 303);
    office(&app, "GET", "/api/orders", &[cookie], "").await.is_problem(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_the_token_is_slowed_down() {
    let app = TestApp::with(&[("AUDITSHIELD_LIMITS__LOGIN_PER_MINUTE", "3")]).await;
    for _ in 0..3 {
        log_in(&app, "guess").await.is_page(401);
    }
    let slowed = log_in(&app, ADMIN_TOKEN).await;
    slowed.is_page(429);
    assert!(slowed.header("retry-after").parse::<u32>().unwrap() >= 1);
}
