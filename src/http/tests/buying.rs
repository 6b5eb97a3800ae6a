//! Shop, purchase, notification, waiting page.

use super::*;
use crate::domain::values::ATTEMPTS_MAX;

#[tokio::test]
async fn pages_open_with_and_without_a_slash() {
    let stage = stage().await;
    for path in
        ["/", "/buy/audit-kit/standard/", "/buy/audit-kit/standard", "/payment/return", "/payment/return/"]
    {
        let answer = stage.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert!(header(&answer, "content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
        assert!(answer.body().len() < 14 * 1024, "{path}");
        assert!(!text(&answer).contains("<script>") && !text(&answer).contains(" style="), "{path}");
    }
    let shop = stage.get("/").await;
    assert!(text(&shop).contains("15\u{202f}000\u{202f}FCFA"));
    assert!(text(&stage.get("/?lang=en").await).contains("Shop"));
    let asset = text(&shop).split("href=\"").find(|part| part.starts_with("/assets/style")).unwrap();
    let asset = asset.split('"').next().unwrap();
    let style = stage.get(asset).await;
    assert_eq!(style.status(), StatusCode::OK);
    assert!(header(&style, "cache-control").contains("immutable"));
    for path in ["/healthz", "/readyz", "/healthz/", "/payment/callback", "/payment/callback/"] {
        assert_eq!(stage.get(path).await.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_said_so() {
    let stage = stage().await;
    for path in [
        "/nothing",
        "/buy/audit-kit/gold/",
        "/buy/%ff/x/",
        "/payment/status/nothing/",
        "/assets/x",
        "/buy//standard/",
    ] {
        assert_eq!(stage.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    for (method, path) in [
        ("PUT", "/"),
        ("DELETE", "/payment/callback/"),
        ("POST", "/healthz"),
        ("PUT", "/buy/audit-kit/standard/"),
    ] {
        let answer = request().method(method).path(path).reply(&stage.public).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert!(header(&answer, "allow").contains("GET"), "{method} {path}");
        assert_eq!(header(&answer, "content-type"), "application/problem+json");
    }
    assert!(header(&stage.get("/nothing").await, "content-type").starts_with("text/html"));
}

#[tokio::test]
async fn a_program_gets_json_and_a_browser_a_redirect() {
    let stage = stage().await;
    let answer = buy("awa@example.ci").reply(&stage.public).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let body = json(&answer);
    let order = body["order_id"].as_str().unwrap();
    assert_eq!(body["status"], "PENDING");
    assert_eq!((&body["amount"], &body["currency"]), (&15_000.into(), &"XOF".into()));
    assert_eq!(body["payment_url"], format!("https://pay.example/{order}"));
    let form = post("/buy/audit-kit/standard")
        .header("accept", "text/html")
        .header("origin", "https://other.example");
    let form = form
        .header("content-type", "application/x-www-form-urlencoded")
        .body("email=awa%40example.ci&name=Awa");
    let answer = form.reply(&stage.public).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert!(header(&answer, "location").starts_with("https://pay.example/"));
    assert_eq!(header(&answer, "access-control-allow-origin"), "");
}

#[tokio::test]
async fn bad_input_names_its_field() {
    let stage = stage().await;
    let check = async |body: &str, status: u16, field: &str| {
        let call = post("/buy/audit-kit/standard/").header("accept", "application/json");
        let answer = call.header("content-type", "application/json").body(body).reply(&stage.public).await;
        assert_eq!(answer.status().as_u16(), status, "{body}");
        assert_eq!(json(&answer)["field"].as_str().unwrap_or_default(), field, "{body}");
    };
    check("{}", 400, "email").await;
    check("{\"email\":\"no\"}", 400, "email").await;
    check("{\"email\":5}", 400, "email").await;
    check("{\"email\":\"a@b.ci\",\"phone\":\"call me\"}", 400, "phone").await;
    check("{\"email\":\"a@b.ci\",\"name\":[]}", 400, "name").await;
    check("not json", 400, "").await;
    let form = post("/buy/audit-kit/standard/").header("accept", "text/html");
    let answer = form
        .header("content-type", "application/x-www-form-urlencoded")
        .body("email=%3Cno&name=Awa")
        .reply(&stage.public)
        .await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(text(&answer).contains("value=\"Awa\"") && text(&answer).contains("aria-invalid"));
    assert!(!text(&answer).contains("<no"));
    let twice = post("/buy/audit-kit/standard/").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(twice.body("email=a@b.ci&email=c@d.ci").reply(&stage.public).await.status(), 400);
    let large = buy(&"a".repeat(20_000)).reply(&stage.public).await;
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let other = post("/buy/audit-kit/standard/").header("content-type", "text/xml").body("<a/>");
    assert_eq!(other.reply(&stage.public).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn one_key_makes_one_order() {
    let stage = stage().await;
    let send = |key: &'static str, email: &'static str| {
        let public = stage.public.clone();
        async move { buy(email).header("idempotency-key", key).reply(&public).await }
    };
    let ask = || send("k1", "awa@example.ci");
    let (a, b, c, d, e) = tokio::join!(ask(), ask(), ask(), ask(), ask());
    let answers = [a, b, c, d, e];
    let orders: HashSet<String> =
        answers.iter().map(|answer| json(answer)["order_id"].as_str().unwrap_or("none").to_owned()).collect();
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert_eq!(stage.world.opened.load(Ordering::Relaxed), 1);
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::CREATED));
    let other = send("k1", "eve@example.ci").await;
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(header(&other, "content-type"), "application/problem+json");
    assert!(!orders.contains(json(&send("k2", "awa@example.ci").await)["order_id"].as_str().unwrap()));
    // After a restart the claims are gone, and the ledger knows the key.
    let fresh = public_routes(&stage.deps);
    let again = buy("awa@example.ci").header("idempotency-key", "k1").reply(&fresh).await;
    assert!(orders.contains(json(&again)["order_id"].as_str().unwrap()));
    assert_eq!(buy("a@b.ci").header("idempotency-key", "").reply(&fresh).await.status(), 400);
}

/// CinetPay refuses every page that an order may ask for: the key goes over to another order, which is one order too.
#[tokio::test]
async fn a_key_outlives_an_order_without_a_page() {
    let stage = stage().await;
    let ask = async |public: &BoxedFilter<(Response,)>| {
        buy("awa@example.ci").header("idempotency-key", "k").reply(public).await
    };
    let listed =
        async || json(&stage.api("GET", "/api/orders", "").await)["orders"].as_array().unwrap().clone();
    stage.world.closed.store(true, Ordering::Relaxed);
    for number in 1..=u64::from(ATTEMPTS_MAX) {
        assert_eq!(ask(&stage.public).await.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(stage.world.opened.load(Ordering::Relaxed), number);
    }
    assert_eq!(listed().await.len(), 1, "as long as it has a number left, it is the same order");
    let spent = listed().await[0]["order_id"].clone();
    stage.world.closed.store(false, Ordering::Relaxed);
    // After a restart the claims are gone, and the ledger knows the key for the order that is spent.
    let fresh = public_routes(&stage.deps);
    let (a, b, c) = tokio::join!(ask(&fresh), ask(&fresh), ask(&fresh));
    let orders: HashSet<String> = [&a, &b, &c]
        .map(|answer| {
            assert_eq!(answer.status(), StatusCode::CREATED, "{}", text(answer));
            json(answer)["order_id"].as_str().unwrap().to_owned()
        })
        .into();
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert!(!orders.contains(spent.as_str().unwrap()));
    // In both processes, and in one that starts now, the key stands for the new order.
    for public in [&stage.public, &fresh, &public_routes(&stage.deps)] {
        assert!(orders.contains(json(&ask(public).await)["order_id"].as_str().unwrap()));
    }
    assert_eq!(listed().await.len(), 2);
    // The spent one takes no further line, however often it is asked.
    let lines = stage.deps.ledger.history(OrderId::parse(spent.as_str().unwrap()).unwrap()).unwrap().len();
    assert_eq!(lines, 1 + usize::from(ATTEMPTS_MAX));
}

#[tokio::test]
async fn a_closed_cinetpay_is_502_and_the_same_order_goes_on() {
    let stage = stage().await;
    stage.world.closed.store(true, Ordering::Relaxed);
    let down = buy("awa@example.ci").header("idempotency-key", "k").reply(&stage.public).await;
    assert_eq!(down.status(), StatusCode::BAD_GATEWAY, "{}", text(&down));
    stage.world.closed.store(false, Ordering::Relaxed);
    let up = buy("awa@example.ci").header("idempotency-key", "k").reply(&stage.public).await;
    assert_eq!(up.status(), StatusCode::CREATED, "{}", text(&up));
    let listed = stage.api("GET", "/api/orders", "").await;
    assert_eq!(json(&listed)["orders"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn too_many_purchases_are_429() {
    let stage = stage().await;
    let peer = serve::Peer::Address("10.0.0.9".parse().unwrap());
    let answer = buy("awa@example.ci").extension(peer).reply(&stage.public).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&answer, "retry-after"), "7");
}

#[tokio::test]
async fn only_allowed_origins_may_fetch() {
    let stage = stage().await;
    let ask = async |origin: &str| {
        let call = request().method("OPTIONS").path("/buy/audit-kit/standard/").header("origin", origin);
        call.header("access-control-request-method", "POST").reply(&stage.public).await
    };
    let good = ask("https://shop.example").await;
    assert_eq!(good.status(), StatusCode::NO_CONTENT);
    assert_eq!(header(&good, "access-control-allow-origin"), "https://shop.example");
    assert!(header(&good, "access-control-allow-headers").contains("Idempotency-Key"));
    let bad = ask("https://evil.example").await;
    assert_eq!(bad.status(), StatusCode::FORBIDDEN);
    assert_eq!(header(&bad, "access-control-allow-origin"), "");
    let bought = buy("awa@example.ci").header("origin", "https://shop.example").reply(&stage.public).await;
    assert_eq!(header(&bought, "access-control-allow-origin"), "https://shop.example");
}

#[tokio::test]
async fn notifications_are_answered_as_the_contract_says() {
    let stage = stage().await;
    let order = stage.bought().await;
    let good = format!("445160 {order}");
    let check = async |body: &str, token: Option<&str>, status: u16| {
        let answer = stage.notify(body, token).await;
        assert_eq!(answer.status().as_u16(), status, "{body} {token:?}");
    };
    check(&good, None, 400).await;
    check(&good, Some("bad"), 400).await;
    check("unreadable", Some("good"), 400).await;
    check(&format!("999999 {order}"), Some("good"), 200).await;
    assert_eq!(
        stage.deps.load(order).unwrap().unwrap().notices.len(),
        0,
        "a foreign site id must change nothing"
    );
    check("445160 SOMEBODYELSES", Some("good"), 200).await;
    check("445160 01JD0QZ6Y3V9K2M4N6P8R0S2T4", Some("good"), 200).await;
    check(&good, Some("good"), 200).await;
    check(&good, Some("good"), 200).await;
    assert_eq!(stage.deps.load(order).unwrap().unwrap().notices.len(), 1);
    check(&"x".repeat(callback::NOTICE_BYTES_MAX + 1), Some("good"), 413).await;
    check(&"x".repeat(5_000_000), Some("good"), 413).await;
    check(&"x".repeat(9_000_000), Some("good"), 413).await;
}

#[tokio::test]
async fn the_waiting_page_follows_and_changes_nothing() {
    let stage = stage().await;
    let order = stage.bought().await;
    let before = stage.deps.load(order).unwrap();
    let page = stage.get(&format!("/payment/return/?transaction_id={order}R2")).await;
    assert!(text(&page).contains(&format!("data-order=\"{order}\"")) && text(&page).contains("status.js"));
    assert!(text(&page).contains("Retour reçu, en attente de confirmation…"));
    let english = stage.get(&format!("/payment/return/?transaction_id={order}&lang=en")).await;
    assert!(text(&english).contains("You are back") && text(&english).contains("Retour reçu, en attente"));
    let posted =
        post("/payment/return/").body(format!("transaction_id={order}&token=t")).reply(&stage.public).await;
    assert!(text(&posted).contains(&format!("data-order=\"{order}\"")));
    let hostile = stage.get("/payment/return/?transaction_id=%3Cscript%3E").await;
    assert!(hostile.status() == StatusCode::OK && !text(&hostile).contains("<script>"));
    assert_eq!(stage.deps.load(order).unwrap(), before);
    let status = stage.get(&format!("/payment/status/{order}")).await;
    assert_eq!(json(&status)["status"], "PENDING");
    assert!(!text(&status).contains("awa"));
    let order = stage.sold().await;
    let live = request().path(&format!("/payment/status/{order}/")).header("accept", "text/event-stream");
    let live = live.reply(&stage.public).await;
    assert_eq!(header(&live, "content-type"), "text/event-stream");
    assert!(text(&live).starts_with("data: {") && text(&live).contains("\"delivered\":true"));
}
