//! The client against servers that misbehave byte by byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::domain::values::{Buyer, Currency, Email, Lang, Money};

const ORDER: &str = "01JD0QZ6Y3V9K2M4N6P8R0S2T4";
const KEY: &str = "very-secret-key";
const PAID: &str = r#"{"code":"00","data":{"status":"ACCEPTED","amount":"100","currency":"XOF"}}"#;
const PATIENCE: Duration = Duration::from_millis(400);

/// What a server does with each connection, after reading the request unless it says otherwise.
#[derive(Clone)]
enum Act {
    /// These bytes, then the end.
    Say(String),
    /// Nothing, for longer than the client waits.
    Silence,
    /// Closes without having read.
    CloseAtOnce,
}

struct Server {
    url: Url,
    connections: Arc<AtomicUsize>,
}

async fn server(act: Act) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(perform(stream, act.clone()));
        }
    });
    Server { url, connections }
}

async fn perform(mut stream: TcpStream, act: Act) {
    match act {
        Act::CloseAtOnce => {}
        Act::Silence => tokio::time::sleep(PATIENCE * 20).await,
        Act::Say(text) => {
            // Every request here fits one read, or its rest does not matter.
            let mut request = [0; 8192];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
            // Closing with bytes unread would reset the connection and lose what was said.
            let _ = tokio::time::timeout(PATIENCE, stream.read(&mut request)).await;
        }
    }
}

fn http(status: &str, headers: &str, body: &str) -> Act {
    let length = body.len();
    Act::Say(format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    ))
}

fn settings(api_url: Url) -> Settings {
    Settings {
        api_url,
        authorities: None,
        api_key: KEY.to_owned(),
        site_id: "445160".to_owned(),
        notify_url: "https://shop.example/notify".to_owned(),
        return_url: Url::parse("https://shop.example/return").unwrap(),
        channels: "ALL".to_owned(),
        connect_timeout: PATIENCE / 2,
        timeout: PATIENCE,
        per_second: 1000,
        concurrency: 4,
    }
}

fn transaction() -> TransactionId {
    TransactionId::parse(ORDER).unwrap()
}

fn asked() -> OpenRequest {
    OpenRequest {
        transaction: transaction(),
        price: Money::price(15_000, Currency::Xof).unwrap(),
        description: "Kit".to_owned(),
        buyer: Buyer {
            email: Email::parse("a@example.com").unwrap(),
            name: None,
            phone: None,
            lang: Lang::Fr,
        },
    }
}

fn client(server: &Server) -> Client {
    Client::new(settings(server.url.clone())).unwrap()
}

fn opened_word(opened: &Opened) -> String {
    match opened {
        Opened::Page { payment_url, .. } => format!("page {payment_url}"),
        Opened::Refused { reason } => format!("refused: {reason}"),
        Opened::Ambiguous { reason } => format!("ambiguous: {reason}"),
        Opened::NotSent { reason } => format!("not sent: {reason}"),
    }
}

fn unknown(verdict: Verdict) -> (String, bool, Option<Duration>) {
    match verdict {
        Verdict::Unknown { code, answered, retry_after } => (code, answered, retry_after),
        Verdict::Accepted(_) | Verdict::Refused { .. } | Verdict::Pending { .. } => panic!("{verdict:?}"),
    }
}

#[tokio::test]
async fn whatever_may_have_arrived_is_ambiguous_to_init_and_unknown_to_check() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"code\":\"201\"".to_owned();
    let huge = http("200 OK", "", &"x".repeat(ANSWER_BYTES_MAX + 1));
    let endless = Act::Say(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", " ".repeat(200 * 1024)));
    let cases = [
        ("cut in the body", Act::Say(half), "CinetPay's answer was cut"),
        ("cut before the answer", Act::Say(String::new()), "CinetPay's answer was cut"),
        ("early close", Act::CloseAtOnce, "CinetPay's answer was cut"),
        ("not HTTP", Act::Say("garbage\r\n\r\n".to_owned()), "CinetPay's answer was cut"),
        ("silence", Act::Silence, "CinetPay did not answer in time"),
        ("huge", huge, "the answer is too long"),
        ("huge without a length", endless, "the answer is too long"),
    ];
    for (name, act, expected) in cases {
        let client = client(&server(act).await);
        let opened = opened_word(&client.open(asked()).await);
        assert!(opened.starts_with(&format!("ambiguous: {expected}")), "{name}: {opened}");
        let (code, answered, _) = unknown(client.check(transaction()).await);
        assert!(code.starts_with(expected) && !answered, "{name}: {code}");
    }
}

#[tokio::test]
async fn answers_that_are_not_what_was_asked_for() {
    let html = "<html>Bad gateway</html>";
    let elsewhere = server(http("200 OK", "", PAID)).await;
    let redirect = http("307 Temporary Redirect", &format!("location: {}\r\n", elsewhere.url), "");
    let cases = [
        (http("502 Bad Gateway", "", html), "ambiguous: HTTP 502, unreadable", "http 502 unreadable"),
        (http("403 Forbidden", "", html), "ambiguous: HTTP 403, unreadable", "http 403 unreadable"),
        (http("200 OK", "", html), "ambiguous: HTTP 200, unreadable", "http 200 unreadable"),
        (redirect, "ambiguous: HTTP 307, unreadable", "http 307 unreadable"),
    ];
    for (act, opened, checked) in cases {
        let client = client(&server(act).await);
        assert_eq!(opened_word(&client.open(asked()).await), opened);
        let (code, answered, _) = unknown(client.check(transaction()).await);
        assert_eq!((code.as_str(), answered), (checked, false));
    }
    assert_eq!(elsewhere.connections.load(Ordering::SeqCst), 0, "no redirect is followed");
}

#[tokio::test]
async fn a_429_is_refused_and_its_patience_is_told() {
    let act =
        http("429 Too Many Requests", "Retry-After: 7\r\n", r#"{"code":429,"message":"TOO_MANY_REQUEST"}"#);
    let client = client(&server(act).await);
    for _ in 0..10 {
        let (code, answered, retry_after) = unknown(client.check(transaction()).await);
        assert_eq!((code.as_str(), answered, retry_after), ("429", false, Some(Duration::from_secs(7))));
    }
    let opened = opened_word(&client.open(asked()).await);
    assert_eq!(opened, "refused: HTTP 429 429 TOO_MANY_REQUEST", "and the breaker is still closed");
}

#[tokio::test]
async fn what_never_left_is_not_sent() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap()
    };
    let plain = server(http("200 OK", "", "no TLS here")).await;
    let mute = server(Act::Silence).await;
    let [mut no_tls, mut slow_tls] = [plain.url, mute.url];
    no_tls.set_scheme("https").unwrap_or_default();
    slow_tls.set_scheme("https").unwrap_or_default();
    let unresolved = Url::parse("http://cinetpay.invalid/").unwrap();
    for url in [closed, no_tls, slow_tls, unresolved] {
        let client = Client::new(settings(url.clone())).unwrap();
        let opened = opened_word(&client.open(asked()).await);
        assert!(opened.starts_with("not sent: no connection to CinetPay: "), "{url}: {opened}");
    }
}

#[tokio::test]
async fn a_cinetpay_that_is_down_is_left_alone() {
    let down = server(http("500 Internal Server Error", "", r#"{"code":"603"}"#)).await;
    let client = client(&down);
    let mut paused = 0;
    for _ in 0..20 {
        paused += usize::from(matches!(client.open(asked()).await, Opened::NotSent { .. }));
    }
    let connections = down.connections.load(Ordering::SeqCst);
    // A slow machine may let a probe or two through.
    assert!((5..10).contains(&connections) && paused + connections == 20, "{connections} and {paused}");
    let (code, answered, _) = unknown(client.check(transaction()).await);
    assert!(!answered && !code.is_empty());
}

#[tokio::test]
async fn who_waits_too_long_for_a_place_is_not_sent() {
    let mute = server(Act::Silence).await;
    let mut settings = settings(mute.url.clone());
    settings.concurrency = 0;
    settings.timeout = PATIENCE * 4;
    let patient = Arc::new(Client::new(settings.clone()).unwrap());
    let first = tokio::spawn({
        let client = Arc::clone(&patient);
        async move { client.open(asked()).await }
    });
    while mute.connections.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let held = patient.slots.available_permits();
    assert_eq!(held, 0, "a concurrency of zero is one");
    assert!(opened_word(&first.await.unwrap()).starts_with("ambiguous: CinetPay did not answer in time"));

    settings.timeout = PATIENCE;
    settings.per_second = 0;
    settings.api_url = server(http("200 OK", "", PAID)).await.url;
    let narrow = Client::new(settings).unwrap();
    assert!(matches!(narrow.check(transaction()).await, Verdict::Accepted(_)));
    let opened = opened_word(&narrow.open(asked()).await);
    assert_eq!(opened, "not sent: too many calls to CinetPay under way", "one call a second");
}

#[tokio::test]
async fn our_key_is_in_no_reason_and_no_debug() {
    let body = format!(r#"{{"code":"609","message":"AUTH_NOT_FOUND","description":"{KEY} is unknown"}}"#);
    let client = client(&server(http("400 Bad Request", "", &body)).await);
    let opened = opened_word(&client.open(asked()).await);
    assert_eq!(opened, "refused: HTTP 400 609 AUTH_NOT_FOUND … is unknown");
    let shown = format!("{client:?} {:?}", client.settings);
    assert!(shown.contains("445160") && !shown.contains(KEY), "{shown}");
}

#[test]
fn addresses_of_calls() {
    let at =
        |base: &str| Client::new(settings(Url::parse(base).unwrap())).map(|made| made.check_url.to_string());
    assert_eq!(
        at("https://api-checkout.cinetpay.com").unwrap(),
        "https://api-checkout.cinetpay.com/v2/payment/check"
    );
    assert_eq!(
        at("https://gate.example/cinetpay/").unwrap(),
        "https://gate.example/cinetpay/v2/payment/check"
    );
    for bad in ["mailto:a@example.com", "ftp://a.example/"] {
        assert!(matches!(at(bad), Err(ClientError::Address)), "{bad}");
    }
}
