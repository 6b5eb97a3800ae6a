//! The mailed link: looking spends nothing, the button spends one, the file resumes.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;

use super::{Answer, HTML, JSON, ask};
use crate::support::{FILE, TestApp, times};

/// A paid and delivered order, and the link of its mail.
async fn sold(app: &TestApp) -> (String, String) {
    app.silent();
    let order = app.buy().await;
    app.cinetpay.approve(&order).unwrap();
    assert_eq!(app.notify(&order).await, StatusCode::OK);
    app.until(&order, "DELIVERED").await;
    (order, app.link().await)
}

/// Presses the button; the file's address.
async fn start(app: &TestApp, link: &str) -> String {
    let started = ask(app, "POST", link, &[HTML], "").await;
    assert_eq!(started.status, 303, "{}", started.body);
    let to = started.header("location");
    assert!(to.starts_with("/download/"), "{to}");
    format!("{}{to}", app.shop)
}

async fn fetch(app: &TestApp, url: &str, headers: &[(&str, &str)]) -> Answer {
    ask(app, "GET", url, headers, "").await
}

/// The link is dead: every way to it is a page, or problem details, that says what to do; no byte of the file.
async fn is_dead(app: &TestApp, link: &str, status: u16, says: &str) {
    for method in ["GET", "POST"] {
        let page = ask(app, method, link, &[HTML], "").await;
        assert!(page.is_page(status).contains(says), "{method} {}", page.body);
        assert_eq!(page.header("x-robots-tag"), "noindex, nofollow");
        ask(app, method, link, &[JSON], "").await.is_problem(status);
    }
    assert_eq!(ask(app, "HEAD", link, &[], "").await.status, status);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_spends_nothing_and_the_button_spends_one() {
    let app = TestApp::start().await;
    let (order, link) = sold(&app).await;
    for url in [link.as_str(), link.trim_end_matches('/')] {
        for _ in 0..4 {
            let page = fetch(&app, url, &[HTML]).await;
            assert!(page.is_page(200).contains(r#"<form method="post">"#));
            assert_eq!(page.body.matches("<button").count(), 1);
            assert!(!page.body.contains("awa@example.ci"));
            let head = ask(&app, "HEAD", url, &[], "").await;
            assert_eq!((head.status, head.body.as_str()), (200, ""));
        }
    }
    assert_eq!(app.order(&order).await["delivery"]["downloads"], 0);
    let file = start(&app, &link).await;
    assert_eq!(app.order(&order).await["delivery"]["downloads"], 1);
    for url in [file.as_str(), file.trim_end_matches('/')] {
        let whole = fetch(&app, url, &[]).await;
        assert_eq!((whole.status, whole.body.as_bytes()), (200, FILE));
        assert!(whole.header("content-disposition").contains("kit.bin"));
    }
    let left = app.order(&order).await;
    assert_eq!(left["delivery"]["downloads"], 1, "{left}");
    assert_eq!(times(&app.kinds(&order).await, "DOWNLOADED"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_started_download_resumes_for_nothing() {
    let app = TestApp::start().await;
    let (order, link) = sold(&app).await;
    let file = start(&app, &link).await;
    let length = FILE.len();
    let head = ask(&app, "HEAD", &file, &[], "").await;
    assert_eq!((head.status, head.header("content-length")), (200, length.to_string().as_str()));
    assert_eq!((head.header("accept-ranges"), head.body.as_str()), ("bytes", ""));
    let tag = head.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2, "{tag}");
    let part = |from: usize, to: usize| format!("bytes {from}-{to}/{length}");
    for (range, from, to) in [
        ("bytes=4-9", 4, 9),
        ("bytes=0-0", 0, 0),
        ("bytes=10-", 10, length - 1),
        ("bytes=-5", length - 5, length - 1),
        ("bytes=20-999999", 20, length - 1),
    ] {
        for headers in [vec![("range", range)], vec![("range", range), ("if-range", tag.as_str())]] {
            let piece = fetch(&app, &file, &headers).await;
            assert_eq!(
                (piece.status, piece.header("content-range")),
                (206, part(from, to).as_str()),
                "{range}"
            );
            assert_eq!(piece.body.as_bytes(), &FILE[from..=to], "{range}");
            assert_eq!(piece.header("content-length"), (to - from + 1).to_string());
            assert_eq!(piece.header("etag"), tag);
        }
    }
    for changed in ["\"another\"", "W/\"weak\"", "Wed, 21 Oct 2015 07:28:00 GMT"] {
        let whole = fetch(&app, &file, &[("range", "bytes=4-9"), ("if-range", changed)]).await;
        assert_eq!((whole.status, whole.body.as_bytes()), (200, FILE), "{changed}");
    }
    let beyond = fetch(&app, &file, &[("range", "bytes=999999-")]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, format!("bytes */{length}").as_str()));
    for odd in ["bytes=9-4", "lines=1-2", "bytes=", "bytes=a-b"] {
        assert_eq!(fetch(&app, &file, &[("range", odd)]).await.status, 200, "{odd}");
    }
    let known = fetch(&app, &file, &[("if-none-match", tag.as_str())]).await;
    assert_eq!((known.status, known.body.as_str()), (304, ""));
    assert_eq!(app.order(&order).await["delivery"]["downloads"], 1, "none of it spent anything more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_link_is_403() {
    let app = TestApp::start().await;
    let (order, link) = sold(&app).await;
    let token = link.trim_end_matches('/').rsplit('/').next().unwrap().to_owned();
    let file = start(&app, &link).await;
    let grant = file.trim_end_matches('/').rsplit('/').next().unwrap().to_owned();
    let flipped = |text: &str, at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let middle = token.len() / 2;
    let forgeries = [
        flipped(&token, 2),
        flipped(&token, middle),
        flipped(&token, token.len() - 3),
        token[..token.len() - 1].to_owned(),
        format!("{token}A"),
        grant.clone(),
        order.clone(),
        "%FF".to_owned(),
        "a.b.c".to_owned(),
        "x".repeat(8_000),
    ];
    for forged in &forgeries {
        is_dead(&app, &format!("{}/download/{forged}/", app.shop), 403, "n’est pas valable").await;
    }
    for forged in [flipped(&grant, 2), token.clone(), "x".to_owned()] {
        let page = fetch(&app, &format!("{}/download/file/{forged}/", app.shop), &[HTML]).await;
        page.is_page(403);
    }
    assert_eq!(app.order(&order).await["delivery"]["downloads"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_link_is_410_and_what_was_started_goes_on() {
    let app = TestApp::with(&[("AUDITSHIELD_DOWNLOAD__MAX_DOWNLOADS", "2")]).await;
    let (order, link) = sold(&app).await;
    start(&app, &link).await;
    let file = start(&app, &link).await;
    is_dead(&app, &link, 410, "Écrivez au vendeur").await;
    is_dead(&app, &link, 410, &format!("Commande {order}.")).await;
    assert_eq!(fetch(&app, &file, &[("range", "bytes=1-2")]).await.status, 206);
    assert_eq!(app.order(&order).await["delivery"]["downloads"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_buttons_at_once_spend_no_more_than_there_are() {
    let app = TestApp::with(&[("AUDITSHIELD_DOWNLOAD__MAX_DOWNLOADS", "3")]).await;
    let (order, link) = sold(&app).await;
    let all = futures_util::future::join_all((0..20).map(|_| ask(&app, "POST", &link, &[HTML], ""))).await;
    let count = |status| all.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(303), count(410)), (3, 17));
    assert_eq!(app.order(&order).await["delivery"]["downloads"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_link_is_410() {
    let app = TestApp::with(&[("AUDITSHIELD_DOWNLOAD__TTL", "2s")]).await;
    let (_, link) = sold(&app).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    is_dead(&app, &link, 410, "a expiré").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_and_refunded_links_are_410_with_the_file_behind_them() {
    for action in ["revoke", "refund"] {
        let app = TestApp::start().await;
        let (order, link) = sold(&app).await;
        let file = start(&app, &link).await;
        assert_eq!(app.act(&order, action).await.status(), StatusCode::OK, "{action}");
        is_dead(&app, &link, 410, "a été désactivé").await;
        for headers in [vec![HTML], vec![HTML, ("range", "bytes=0-3")]] {
            fetch(&app, &file, &headers).await.is_page(410);
        }
        assert_eq!(ask(&app, "HEAD", &file, &[], "").await.status, 410, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_mail_brings_a_new_link_after_a_revocation() {
    let app = TestApp::start().await;
    let (order, link) = sold(&app).await;
    assert_eq!(app.act(&order, "revoke").await.status(), StatusCode::OK);
    let resent = app.act(&order, "resend").await;
    assert_eq!(resent.status(), StatusCode::OK);
    assert_eq!(resent.json::<serde_json::Value>().await.unwrap()["delivery"]["revoked"], json!(false));
    let mails = app.mailbox.wait_for(2, Duration::from_secs(10)).await;
    let text = mails[1].read().text.unwrap();
    let new = text.split_whitespace().find(|word| word.contains("/download/")).unwrap();
    assert_ne!(new, link);
    is_dead(&app, &link, 410, "a été désactivé").await;
    assert_eq!(fetch(&app, &start(&app, new).await, &[]).await.body.as_bytes(), FILE);
}
