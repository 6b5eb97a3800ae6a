//! Files that the proxy sends, with the shipped configurations: the daemon judges and counts, the bytes are the proxy's.

use reqwest::Method;
use reqwest::header::HeaderMap;

use super::*;

/// A name that has to be encoded on its way to the proxy.
const FILE: &str = "kit à vendre %20.bin";
const FILE_BYTES: usize = 300_000;

fn content() -> Vec<u8> {
    (0..FILE_BYTES).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

/// One order's file, the download already started; and what the file's address was.
async fn started(street: &mut Street) -> String {
    let folder = street.world.path("files");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join(FILE), content()).unwrap();
    let catalog = street.world.path("catalog.toml");
    let text = std::fs::read_to_string(&catalog).unwrap();
    assert!(text.contains("\"kit.bin\""));
    std::fs::write(&catalog, text.replace("kit.bin", &format!("files/{FILE}"))).unwrap();
    street.world.kill();
    street.world.start().await;
    let link = events_come_at_once(street).await;
    let pressed = street.client.post(&link).send().await.unwrap();
    let place = pressed.headers()["location"].to_str().unwrap().to_owned();
    reqwest::Url::parse(&link).unwrap().join(&place).unwrap().to_string()
}

/// A request for the file: what it says, and which status, first byte and length come back.
type Row<'a> = (Method, &'a [(&'a str, &'a str)], u16, Option<(usize, usize)>);

async fn asks(street: &Street, place: &str, row: &Row<'_>) -> HeaderMap {
    let (method, headers, status, span) = row;
    let mut request = street.client.request(method.clone(), place);
    for (name, value) in *headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let found = answer.headers().clone();
    assert_eq!(answer.status(), *status, "{row:?}: {found:?}");
    for leaked in ["x-accel-redirect", "x-sendfile"] {
        assert!(!found.contains_key(leaked), "{row:?}: {found:?}");
    }
    let body = answer.bytes().await.unwrap();
    if let Some((first, length)) = span {
        assert_eq!(found["content-length"], length.to_string(), "{row:?}");
        let want = if *method == Method::HEAD { &[][..] } else { &content()[*first..first + length] };
        assert!(body == want, "{row:?}: other bytes");
    }
    found
}

async fn sent_by_the_proxy(kind: Kind, by: &str) {
    let mut street = Street::sending_files(kind, by).await;
    let place = started(&mut street).await;
    let whole = asks(&street, &place, &(Method::GET, &[], 200, Some((0, FILE_BYTES)))).await;
    let tag = whole["etag"].to_str().unwrap().to_owned();
    for (name, part) in [
        ("content-type", "application/octet-stream"),
        ("content-disposition", "filename*=UTF-8''kit%20%C3%A0%20vendre%20%2520.bin"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-robots-tag", "noindex"),
        ("referrer-policy", "no-referrer"),
        ("accept-ranges", "bytes"),
    ] {
        assert!(whole[name].to_str().unwrap().contains(part), "{name}: {whole:?}");
        assert_eq!(whole.get_all(name).iter().count(), 1, "{name}: {whole:?}");
    }
    let last = format!("bytes={}-", FILE_BYTES - 5);
    let rows: [Row<'_>; 8] = [
        (Method::HEAD, &[], 200, Some((0, FILE_BYTES))),
        (Method::GET, &[("range", "bytes=4-6")], 206, Some((4, 3))),
        (Method::GET, &[("range", "bytes=-7")], 206, Some((FILE_BYTES - 7, 7))),
        (Method::GET, &[("range", &last)], 206, Some((FILE_BYTES - 5, 5))),
        (Method::GET, &[("range", "bytes=4-6"), ("if-range", &tag)], 206, Some((4, 3))),
        (Method::GET, &[("range", "bytes=4-6"), ("if-range", "\"another\"")], 200, Some((0, FILE_BYTES))),
        (Method::GET, &[("range", "bytes=900000-")], 416, None),
        (Method::GET, &[("if-none-match", &tag)], 304, None),
    ];
    for row in &rows {
        asks(&street, &place, row).await;
    }
    another_edition_is_not_joined(&street, &place, &tag).await;
    let metrics = street.world.metrics().await;
    let handed = format!("auditshield_downloads_total{{outcome=\"handed_over\"}} {}", rows.len() + 2);
    assert!(metrics.contains(&handed) && !metrics.contains("outcome=\"served\""), "{metrics}");
    one_download_whatever_follows(&street, &place).await;
    nobody_else_is_handed_a_file(&street).await;
    let written = street.written();
    assert!(written.contains("/download/***") && !written.contains(&token(&place)), "{written}");
}

/// A download that goes on after the merchant replaced the file begins anew.
async fn another_edition_is_not_joined(street: &Street, place: &str, tag: &str) {
    let file = street.world.path("files").join(FILE);
    let mut next = content();
    next[0] = 250;
    std::fs::write(&file, &next).unwrap();
    let later = std::time::SystemTime::now() + Duration::from_secs(5);
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
    let request = street.client.get(place).header("range", "bytes=4-6").header("if-range", tag);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.bytes().await.unwrap() == next);
    std::fs::write(&file, content()).unwrap();
}

/// Ten requests for the bytes, and the order has one DOWNLOADED; a link that is over gets no byte of the proxy's either.
async fn one_download_whatever_follows(street: &Street, place: &str) {
    let (_, listed) = street.world.get(&format!("{}/api/orders", street.world.admin)).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let order = listed["orders"][0]["order_id"].as_str().unwrap().to_owned();
    let now = street.world.order(&order).await;
    assert_eq!(crate::process_support::times(&now, "DOWNLOADED"), 1, "{now:#}");
    let revoke = format!("{}/api/orders/{order}/revoke", street.world.admin);
    let revoked = street.world.client.post(revoke).bearer_auth(crate::process_support::ADMIN_TOKEN);
    assert_eq!(revoked.json(&json!({"note": "test"})).send().await.unwrap().status(), 200);
    let refused = street.client.get(place).header("accept", "text/html").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::GONE);
    assert!(refused.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
}

/// Past the proxy the daemon sends the bytes itself, and the proxy's own place for the files opens to nobody.
async fn nobody_else_is_handed_a_file(street: &Street) {
    let order = street.buy().await;
    street.world.cinetpay.approve(&order).unwrap();
    let (form, token) = notice_saying(&order, "");
    assert_eq!(street.notify(form, &token).await.status(), StatusCode::OK);
    street.world.until(&order, "DELIVERED").await;
    let mails = street.world.mailbox.wait_for(2, PATIENCE).await;
    let text = mails[1].read().text.unwrap();
    let start = text.find(&street.at("/download/")).unwrap();
    let link = text[start..].split_whitespace().next().unwrap().replace(&street.base, &street.world.shop);
    // Straight to the daemon, and not from the proxy's address.
    let direct =
        Client::builder().redirect(reqwest::redirect::Policy::none()).local_address(BUYER).no_proxy();
    let direct = direct.build().unwrap();
    let pressed = direct.post(&link).send().await.unwrap();
    let place = format!("{}{}", street.world.shop, pressed.headers()["location"].to_str().unwrap());
    let file = direct.get(place).send().await.unwrap();
    assert!(!file.headers().contains_key("x-accel-redirect") && !file.headers().contains_key("x-sendfile"));
    assert!(file.bytes().await.unwrap() == content(), "the daemon's own bytes");
    for path in ["/auditshield-files/", "/auditshield-files/kit%20%C3%A0%20vendre%20%2520.bin"] {
        assert_eq!(street.client.get(street.at(path)).send().await.unwrap().status(), 404, "{path}");
    }
}

#[tokio::test]
async fn nginx_sends_the_files() {
    if has_tools("tests/proxy/run") {
        sent_by_the_proxy(Kind::Nginx, "x-accel-redirect").await;
    }
}

#[tokio::test]
async fn apache_sends_the_files() {
    if has_tools("tests/proxy/run") {
        sent_by_the_proxy(Kind::Apache, "x-sendfile").await;
    }
}
