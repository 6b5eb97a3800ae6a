//! The admin listener.

use super::*;

#[tokio::test]
async fn the_door_is_shut_without_the_token() {
    let stage = stage().await;
    for path in ["/api/orders", "/api/orders/x", "/admin/", "/admin/orders/x"] {
        let answer = request().path(path).reply(&stage.admin).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        let wrong = request().path(path).header("authorization", "Bearer wrong").reply(&stage.admin).await;
        assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(request().path(path).reply(&stage.admin).await.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(request().path("/metrics").reply(&stage.public).await.status(), StatusCode::NOT_FOUND);
    assert!(!AdminToken::new([String::new()]).is(""));
    stage.deps.readiness.drain();
    assert_eq!(request().path("/readyz").reply(&stage.admin).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn an_order_is_the_contracts() {
    let stage = stage().await;
    let order = stage.sold().await;
    let answer = stage.api("GET", &format!("/api/orders/{order}"), "").await;
    let body = json(&answer);
    let names = [
        "order_id",
        "status",
        "product",
        "tier",
        "amount",
        "currency",
        "email",
        "provider_tx_id",
        "payment_method",
        "created_at",
        "paid_at",
        "delivery",
        "events",
    ];
    for name in names {
        assert!(!body[name].is_null(), "{name}: {body}");
    }
    assert_eq!((&body["status"], &body["provider_tx_id"]), (&"PAID".into(), &"MP1".into()));
    let kinds: Vec<&str> =
        body["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds.first(), Some(&"CREATED"));
    assert!(kinds.contains(&"PAID") && kinds.contains(&"DELIVERED"), "{kinds:?}");
    for event in body["events"].as_array().unwrap() {
        assert!(event["seq"].is_u64() && event["at"].is_string() && event["detail"].is_object(), "{event}");
    }
    let listed = json(&stage.api("GET", "/api/orders?status=PAID&q=awa%40example.ci", "").await);
    assert_eq!(listed["orders"][0]["order_id"], order.to_string());
    assert_eq!(
        json(&stage.api("GET", "/api/orders?status=FAILED", "").await)["orders"],
        serde_json::json!([])
    );
    assert_eq!(stage.api("GET", "/api/orders?status=NO", "").await.status(), 400);
    assert_eq!(stage.api("GET", "/api/orders?cursor=NO", "").await.status(), 400);
}

#[tokio::test]
async fn acts_follow_the_table_of_refusals() {
    let stage = stage().await;
    let order = stage.sold().await;
    let act = async |id: &str, act: &str, body: &str| {
        stage.api("POST", &format!("/api/orders/{id}/{act}"), body).await.status().as_u16()
    };
    let id = order.to_string();
    assert_eq!(act(&id, "verify", "").await, 200);
    assert_eq!(act(&id, "approve", "").await, 409);
    assert_eq!(act(&id, "reject", "{}").await, 409);
    assert_eq!(act(&id, "resend", "{\"by\":\"Awa\",\"note\":\"asked\"}").await, 200);
    assert_eq!(act(&id, "dance", "").await, 404);
    assert_eq!(act("01JD0QZ6Y3V9K2M4N6P8R0S2T4", "verify", "").await, 404);
    assert_eq!(act("nonsense", "verify", "").await, 404);
    assert_eq!(act(&id, "refund", "not json").await, 400);
    assert_eq!(act(&id, "refund", "{\"note\":\"gave it back\"}").await, 200);
    let shown = json(&stage.api("GET", &format!("/api/orders/{id}"), "").await);
    assert_eq!(shown["status"], "REFUNDED");
    let get = stage.api("GET", &format!("/api/orders/{id}/refund"), "").await;
    assert_eq!(get.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_session_needs_its_own_forms() {
    let stage = stage().await;
    let order = stage.sold().await;
    let login = async |token: &str| {
        post("/admin/login/").body(format!("token={}", token.replace(' ', "+"))).reply(&stage.admin).await
    };
    assert_eq!(login("wrong").await.status(), StatusCode::UNAUTHORIZED);
    let entered = login(TOKEN).await;
    assert_eq!(entered.status(), StatusCode::SEE_OTHER);
    let cookie = header(&entered, "set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let page = request().path("/admin/").header("cookie", &cookie).reply(&stage.admin).await;
    assert!(page.status() == StatusCode::OK && text(&page).contains(&order.to_string()));
    let path = format!("/admin/orders/{order}/");
    let page = request().path(&path).header("cookie", &cookie).reply(&stage.admin).await;
    assert!(text(&page).contains("DELIVERED"), "{}", text(&page));
    let csrf =
        text(&page).split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let press = async |csrf: &str| {
        let call = post(&format!("{path}revoke/")).header("cookie", &cookie);
        call.body(format!("csrf={csrf}&note=x")).reply(&stage.admin).await.status()
    };
    assert_eq!(press("wrong").await, StatusCode::FORBIDDEN);
    let api =
        post(&format!("/api/orders/{order}/revoke")).header("cookie", &cookie).reply(&stage.admin).await;
    assert_eq!(api.status(), StatusCode::FORBIDDEN);
    assert_eq!(press(&csrf).await, StatusCode::SEE_OTHER);
    let out = post("/admin/logout/")
        .header("cookie", &cookie)
        .body(format!("csrf={csrf}"))
        .reply(&stage.admin)
        .await;
    assert_eq!(out.status(), StatusCode::SEE_OTHER);
    let page = request().path("/admin/").header("cookie", &cookie).reply(&stage.admin).await;
    assert_eq!(page.status(), StatusCode::UNAUTHORIZED);
}
