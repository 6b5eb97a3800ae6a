//! The mailed link and the file.

use super::*;

fn file(order: OrderId) -> RequestBuilder {
    request().path(&format!("/download/file/file:{order}:1/"))
}

#[tokio::test]
async fn looking_spends_nothing_and_the_button_one() {
    let stage = stage().await;
    let order = stage.sold().await;
    let left = || {
        let paid = stage.deps.load(order).unwrap().unwrap();
        paid.sale().unwrap().link.downloads
    };
    let path = format!("/download/mail:{order}:1/");
    for method in ["GET", "HEAD", "GET"] {
        let answer = request().method(method).path(&path).reply(&stage.public).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(header(&answer, "x-robots-tag").contains("noindex"));
        assert_eq!(header(&answer, "referrer-policy"), "no-referrer");
    }
    assert_eq!(left(), 0);
    let start = post(&path).reply(&stage.public).await;
    assert_eq!(start.status(), StatusCode::SEE_OTHER);
    let at = header(&start, "location").to_owned();
    assert!(at.starts_with("/download/file/"), "{at}");
    for range in ["", "bytes=2-4", "bytes=5-"] {
        let call = request().path(&at);
        let call = if range.is_empty() { call } else { call.header("range", range) };
        assert!(call.reply(&stage.public).await.status().is_success());
    }
    assert_eq!(left(), 1);
    assert_eq!(post(&path).reply(&stage.public).await.status(), StatusCode::SEE_OTHER);
    let spent = post(&path).reply(&stage.public).await;
    assert_eq!(spent.status(), StatusCode::GONE);
    assert!(text(&spent).contains("<h1>"));
    assert_eq!(stage.get(&path).await.status(), StatusCode::GONE);
    // What was started may be finished.
    assert_eq!(request().path(&at).reply(&stage.public).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn ranges_and_conditions() {
    let stage = stage().await;
    let order = stage.sold().await;
    let whole = file(order).reply(&stage.public).await;
    assert_eq!((whole.status(), whole.body().as_ref()), (StatusCode::OK, FILE));
    assert_eq!(header(&whole, "content-length"), "10");
    assert_eq!(header(&whole, "accept-ranges"), "bytes");
    assert_eq!(header(&whole, "content-type"), "application/pdf");
    assert_eq!(header(&whole, "x-content-type-options"), "nosniff");
    assert!(header(&whole, "cache-control").contains("no-store"));
    assert!(header(&whole, "content-disposition").contains("filename*=UTF-8''kit%20d%E2%80%99audit.pdf"));
    let tag = header(&whole, "etag").to_owned();
    let date = header(&whole, "last-modified").to_owned();
    let check = async |headers: &[(&str, &str)], status: u16, body: &[u8], range: &str| {
        let call = headers.iter().fold(file(order), |call, (name, value)| call.header(*name, *value));
        let answer = call.reply(&stage.public).await;
        assert_eq!(answer.status().as_u16(), status, "{headers:?}");
        assert_eq!(answer.body().as_ref(), body, "{headers:?}");
        assert_eq!(header(&answer, "content-range"), range, "{headers:?}");
    };
    check(&[("range", "bytes=0-3")], 206, b"0123", "bytes 0-3/10").await;
    check(&[("range", "bytes=-3")], 206, b"789", "bytes 7-9/10").await;
    check(&[("range", "bytes=10-")], 416, b"", "bytes */10").await;
    check(&[("range", "bytes=0-1,3-4")], 200, FILE, "").await;
    check(&[("range", "bytes=0-3"), ("if-range", &tag)], 206, b"0123", "bytes 0-3/10").await;
    check(&[("range", "bytes=0-3"), ("if-range", &date)], 206, b"0123", "bytes 0-3/10").await;
    check(&[("range", "bytes=0-3"), ("if-range", "\"other\"")], 200, FILE, "").await;
    check(&[("if-none-match", &tag)], 304, b"", "").await;
    check(&[("if-none-match", "\"other\"")], 200, FILE, "").await;
    let head = file(order).method("HEAD").reply(&stage.public).await;
    assert_eq!((head.body().len(), header(&head, "content-length")), (0, "10"));
}

#[tokio::test]
async fn links_that_do_not_work_say_why() {
    let stage = stage().await;
    let unpaid = stage.bought().await;
    let order = stage.sold().await;
    let check = async |method: &str, path: String, status: u16| {
        let answer = request().method(method).path(&path).reply(&stage.public).await;
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        assert!(text(&answer).contains("<h1>") || status == 503, "{method} {path}");
        assert!(!answer.body().windows(FILE.len()).any(|bytes| bytes == FILE), "{method} {path}");
    };
    for method in ["GET", "POST"] {
        check(method, "/download/forged/".to_owned(), 403).await;
        check(method, format!("/download/mail:{unpaid}:1/"), 403).await;
        check(method, format!("/download/mail:{order}:2/"), 410).await;
    }
    check("GET", format!("/download/file/mail:{order}:1/"), 403).await;
    check("GET", format!("/download/file/file:{unpaid}:1/"), 403).await;
    let revoked = stage.api("POST", &format!("/api/orders/{order}/revoke"), "{\"note\":\"test\"}").await;
    assert_eq!(revoked.status(), StatusCode::OK);
    for method in ["GET", "POST"] {
        check(method, format!("/download/mail:{order}:1/"), 410).await;
    }
    check("GET", format!("/download/file/file:{order}:1/"), 410).await;
    let order = stage.sold().await;
    std::fs::remove_file(&stage.deps.catalog.now().products[0].tiers[0].file).unwrap();
    check("GET", format!("/download/file/file:{order}:1/"), 503).await;
}
