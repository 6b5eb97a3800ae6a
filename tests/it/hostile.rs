//! What the network throws at a public address: too much, too slow, malformed. The daemon says 4xx and lives.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::contract::{BUY, FORM, HTML, JSON, ask, office, shop};
use crate::support::{ADMIN_TOKEN, TestApp};

const TYPED: (&str, &str) = ("content-type", "application/json");
const CALLBACK: &str = "/payment/callback/";

async fn lives(app: &TestApp) {
    assert_eq!(shop(app, "GET", "/healthz", &[], "").await.status, 200);
    assert_eq!(shop(app, "GET", "/readyz", &[], "").await.status, 200);
    app.buy().await;
}

/// Sends raw bytes and reads until the other end closes; the first line of the answer.
async fn raw(app: &TestApp, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(app.shop.trim_start_matches("http://")).await.unwrap();
    for part in parts {
        stream.write_all(part).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut answer = vec![0; 256];
    let read = tokio::time::timeout(Duration::from_secs(15), stream.read(&mut answer)).await;
    let length = read.expect("an answer in time").unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_megabytes_are_413() {
    let app = TestApp::start().await;
    let big = vec![b'a'; 5 * 1024 * 1024];
    shop(&app, "POST", BUY, &[FORM, JSON], big.clone()).await.is_problem(413);
    shop(&app, "POST", BUY, &[TYPED, JSON], big.clone()).await.is_problem(413);
    shop(&app, "POST", BUY, &[FORM, HTML], big.clone()).await.is_page(413);
    shop(&app, "POST", CALLBACK, &[FORM, ("x-token", "00")], big.clone()).await.is_problem(413);
    office(&app, "POST", "/admin/login/", &[FORM, HTML], big.clone()).await.is_page(413);
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let act = "/api/orders/01ARZ3NDEKTSV4RRFFQ69G5FAV/verify";
    office(&app, "POST", act, &[TYPED, ("authorization", bearer.as_str())], big.clone())
        .await
        .is_problem(413);
    shop(&app, "POST", "/payment/return/", &[FORM, HTML], big).await.is_page(200);
    lives(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_text_is_400() {
    let app = TestApp::start().await;
    for body in [
        &b"email=\xff\xfe%40example.ci"[..],
        b"email=%FF%FE%40example.ci",
        b"email=a%40b.ci&name=%C3%28",
        b"\xff\xfe",
    ] {
        shop(&app, "POST", BUY, &[FORM, JSON], body.to_vec()).await.is_problem(400);
        shop(&app, "POST", BUY, &[FORM, HTML], body.to_vec()).await.is_page(400);
    }
    for body in
        [&b"{\"email\":\"\xff\"}"[..], b"\xff", b"{\"email\":\"\\ud800\"}", b"{\"email\":\"a@b.ci\\u0000\"}"]
    {
        shop(&app, "POST", BUY, &[TYPED, JSON], body.to_vec()).await.is_problem(400);
    }
    shop(&app, "POST", BUY, &[TYPED, JSON], "[".repeat(10_000)).await.is_problem(400);
    shop(&app, "POST", CALLBACK, &[FORM, ("x-token", "00")], b"cpm_trans_id=\xff%FF%".to_vec())
        .await
        .is_problem(400);
    lives(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_fields_are_4xx_at_once() {
    let app = TestApp::start().await;
    let begun = Instant::now();
    let many = (0..20_000).map(|n| format!("field{n}=1&")).collect::<String>();
    let tiny = "a&".repeat(8_000);
    let object = format!(
        "{{{}\"email\":\"a@b.ci\"}}",
        (0..1_000).map(|n| format!("\"f{n}\":\"\",")).collect::<String>()
    );
    for path in [BUY, CALLBACK] {
        shop(&app, "POST", path, &[FORM, JSON, ("x-token", "00")], many.clone()).await.is_problem(413);
        shop(&app, "POST", path, &[FORM, JSON, ("x-token", "00")], tiny.clone()).await.is_problem(400);
    }
    shop(&app, "POST", BUY, &[TYPED, JSON], object).await.is_problem(400);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    lives(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_twice_is_400() {
    let app = TestApp::start().await;
    shop(&app, "POST", BUY, &[FORM, JSON], "email=a%40b.ci&email=c%40d.ci").await.is_problem(400);
    shop(&app, "POST", BUY, &[TYPED, JSON], r#"{"email":"a@b.ci","email":"c@d.ci"}"#).await.is_problem(400);
    let (body, token) = app.notice("01ARZ3NDEKTSV4RRFFQ69G5FAV", "SUCCES");
    let twice = format!("{body}&cpm_trans_id=01ARZ3NDEKTSV4RRFFQ69G5FAV");
    assert_eq!(app.callback(twice, Some(&token)).await, StatusCode::BAD_REQUEST);
    lives(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_bodies_are_read_and_broken_ones_refused() {
    let app = TestApp::start().await;
    let (body, token) = app.notice("01ARZ3NDEKTSV4RRFFQ69G5FAV", "SUCCES");
    let head = format!(
        "POST {CALLBACK} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nx-token: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let (first, rest) = body.split_at(40);
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let (one, two) = (chunk(first), chunk(rest));
    let whole = raw(&app, &[head.as_bytes(), one.as_bytes(), two.as_bytes(), b"0\r\n\r\n"]).await;
    assert_eq!(whole, "HTTP/1.1 200 OK");
    let large = chunk(&"x".repeat(70_000));
    let large = raw(&app, &[head.as_bytes(), large.as_bytes(), b"0\r\n\r\n"]).await;
    assert_eq!(large, "HTTP/1.1 413 Payload Too Large");
    let broken = raw(&app, &[head.as_bytes(), b"zz\r\nnonsense\r\n"]).await;
    assert!(broken.is_empty() || broken.starts_with("HTTP/1.1 400"), "{broken}");
    let nonsense = raw(&app, &[b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n"]).await;
    assert!(nonsense.is_empty() || nonsense.starts_with("HTTP/1.1 400"), "{nonsense}");
    let endless = format!("GET / HTTP/1.1\r\nHost: x\r\nx-long: {}\r\n\r\n", "a".repeat(60_000));
    let endless = raw(&app, &[endless.as_bytes()]).await;
    assert!(endless.is_empty() || endless.starts_with("HTTP/1.1 4"), "{endless}");
    lives(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_are_given_up_and_hold_up_nobody() {
    let app = TestApp::start().await;
    let head =
        format!("POST {CALLBACK} HTTP/1.1\r\nHost: x\r\nx-token: 00\r\nContent-Length: 1000\r\n\r\nabc");
    let parts = [head.as_bytes()];
    let slow = futures_util::future::join_all((0..50).map(|_| raw(&app, &parts)));
    let others = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let begun = Instant::now();
        lives(&app).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    };
    let (answers, ()) = tokio::join!(slow, others);
    assert!(answers.iter().all(|line| line == "HTTP/1.1 408 Request Timeout"), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_hanging_checks_hold_up_no_other_webhook() {
    let app = TestApp::with(&[("AUDITSHIELD_CINETPAY__PER_SECOND", "10000")]).await;
    app.silent();
    // No more payment pages are opened at one time than the daemon has room for.
    let mut hanging = Vec::new();
    while hanging.len() < 340 {
        hanging.extend(futures_util::future::join_all((0..20).map(|_| app.buy())).await);
    }
    let quick = hanging.split_off(300);
    app.cinetpay.patch(&json!({"check_fault": {"kind": "timeout"}})).unwrap();
    let answers = futures_util::future::join_all(hanging.iter().map(|order| app.notify(order))).await;
    assert!(answers.iter().all(|status| *status == StatusCode::OK), "{answers:?}");
    let mut took = Vec::new();
    for order in &quick {
        let begun = Instant::now();
        assert_eq!(app.notify(order).await, StatusCode::OK);
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    let median = took[took.len() / 2];
    assert!(median < Duration::from_millis(100), "median {median:?}, worst {:?}", took.last());
    let seen = app.kinds(&quick[0]).await;
    assert!(seen.contains(&"NOTIFIED".to_owned()), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_address_is_believed_of_trusted_proxies_only() {
    let limit = ("AUDITSHIELD_LIMITS__BUY_PER_MINUTE", "1");
    let buy = |from: &'static str, name: &'static str| {
        move |app: TestApp| async move {
            let headers = [FORM, JSON, (name, from)];
            let status = shop(&app, "POST", BUY, &headers, "email=a%40b.ci").await.status;
            (app, status)
        }
    };
    let (app, first) = buy("203.0.113.1", "x-forwarded-for")(TestApp::with(&[limit]).await).await;
    let (app, second) = buy("203.0.113.2", "x-forwarded-for")(app).await;
    let (_, third) = buy("for=203.0.113.3", "forwarded")(app).await;
    assert_eq!((first, second, third), (201, 429, 429), "nobody is trusted");
    let trusting = TestApp::with(&[limit, ("AUDITSHIELD_SERVER__TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let (app, first) = buy("203.0.113.1", "x-forwarded-for")(trusting).await;
    let (app, second) = buy("203.0.113.2", "x-forwarded-for")(app).await;
    let (app, again) = buy("203.0.113.1", "x-forwarded-for")(app).await;
    let (_, behind) = buy("203.0.113.9, 203.0.113.2", "x-forwarded-for")(app).await;
    assert_eq!(
        (first, second, again, behind),
        (201, 201, 429, 429),
        "the last hop counts, not what it was told"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_paths_are_404() {
    let app = TestApp::start().await;
    for path in [
        "/buy//standard/",
        "/buy/../admin/",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%2f..%2fCargo.toml",
        "/download/",
    ] {
        let url = format!("{}{path}", app.shop);
        let answer = ask(&app, "GET", &url, &[JSON], "").await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
    }
    lives(&app).await;
}
