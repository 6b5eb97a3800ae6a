//! CinetPay's faults, one line each, for init and for check: what the order is right after, and that it ends paid and
//! delivered once the fault has gone.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::wire::{Act, Call, Wire, http};
use super::{NEXT_TRY, Shifted, details, paid_and_delivered_once};
use crate::support::{TestApp, times};

/// Cases at one time: most of them wait.
const CASES_AT_ONCE: usize = 6;
/// One call's deadline in these tests.
const DEADLINE: Duration = Duration::from_secs(1);
const PAID: &str =
    r#"{"code":"00","message":"SUCCES","data":{"amount":"15000","currency":"XOF","status":"ACCEPTED"}}"#;
const PAGE: &str =
    r#"{"code":"201","data":{"payment_token":"f","payment_url":"https://checkout.cinetpay.com/payment/f"}}"#;

/// What the daemon makes of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// Nothing was learnt, and this is written down.
    Doubt(&'static str),
    /// The answer holds.
    Sound,
    /// Paid, but not what was asked for: a person decides.
    Review,
    /// Such an answer does not exist for this call.
    Absent,
}

use Read::{Absent, Doubt, Review, Sound};

struct Case {
    name: &'static str,
    act: Act,
    /// How the reason of INIT_FAILED begins.
    init: Read,
    /// How the code of CHECKED begins.
    check: Read,
}

fn status(line: &str, headers: &str, body: &str) -> Act {
    let length = body.len();
    Act::Say(format!(
        "HTTP/1.1 {line}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

fn throttled(retry_after: &str) -> Act {
    let answer = r#"{"code":"429","message":"TOO_MANY_REQUEST"}"#;
    status("429 Too Many Requests", &format!("retry-after: {retry_after}\r\n"), answer)
}

/// The whole catalogue. A fault that no answer can be read from is doubt for both calls.
fn cases() -> Vec<Case> {
    let case = |name, act, init, check| Case { name, act, init, check };
    let html = "<html><h1>Bad gateway</h1></html>";
    let in_a_year = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(365 * 86_400));
    let soon = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(60));
    let late = Doubt("CinetPay did not answer in time");
    let cut = Doubt("CinetPay's answer was cut");
    let long = Doubt("the answer is too long");
    let truncated = &PAID[..40];
    let huge = format!(r#"{{"code":"00","data":{{"junk":"{}"}}}}"#, "x".repeat(10 * 1024 * 1024));
    let redirect = |line| status(line, "location: http://127.0.0.1:1/v2/payment\r\n", PAID);
    vec![
        case("refused", Act::Refuse, Doubt("no connection to CinetPay"), Doubt("no connection to CinetPay")),
        case("black hole", Act::Mute, late, late),
        case("closed at once", Act::Slam, cut, cut),
        case("500", status("500 Internal Server Error", "", html), Doubt("HTTP 500"), Doubt("http 500")),
        case(
            "500 with a paid answer",
            status("500 Internal Server Error", "", PAID),
            Doubt("HTTP 500"),
            Doubt("00"),
        ),
        case("502", status("502 Bad Gateway", "", html), Doubt("HTTP 502"), Doubt("http 502")),
        case("503", status("503 Service Unavailable", "", html), Doubt("HTTP 503"), Doubt("http 503")),
        case("429, seconds", throttled("7"), Doubt("HTTP 429"), Doubt("429")),
        case("429, a date", throttled(&soon), Doubt("HTTP 429"), Doubt("429")),
        case("429, a year", throttled("31536000"), Doubt("HTTP 429"), Doubt("429")),
        case("429, a date in a year", throttled(&in_a_year), Doubt("HTTP 429"), Doubt("429")),
        case(
            "429, no number at all",
            throttled("99999999999999999999999999"),
            Doubt("HTTP 429"),
            Doubt("429"),
        ),
        case("429, nonsense", throttled("-1 soon"), Doubt("HTTP 429"), Doubt("429")),
        case(
            "200 with HTML",
            status("200 OK", "", html),
            Doubt("HTTP 200, unreadable"),
            Doubt("http 200 unreadable"),
        ),
        case(
            "truncated JSON",
            status("200 OK", "", truncated),
            Doubt("HTTP 200, unreadable"),
            Doubt("http 200 unread"),
        ),
        case("huge JSON", status("200 OK", "", &huge), long, long),
        case("endless JSON", Act::Flood("HTTP/1.1 200 OK\r\n\r\n{".to_owned()), long, long),
        case("endless headers", Act::Flood("HTTP/1.1 200 OK\r\nx: ".to_owned()), cut, cut),
        case("one byte a second", Act::Drip(http("1.1", "200 OK", "application/json", PAID)), late, late),
        case("after our time-out", Act::Late(DEADLINE * 2), late, late),
        case("cut in the body", Act::Half, cut, cut),
        case("redirect 302", redirect("302 Found"), Doubt("HTTP 302"), Doubt("00")),
        case("redirect 307", redirect("307 Temporary Redirect"), Doubt("HTTP 307"), Doubt("00")),
        case("not HTTP", Act::Say("220 mail.example ESMTP\r\n".to_owned()), cut, cut),
        case("closed while idle", Act::Idle, Sound, Sound),
        case("HTTP/1.0", Act::Old, Sound, Sound),
        case("called text/html", Act::Called("text/html; charset=iso-8859-1"), Sound, Sound),
        case(
            "a page of a scripting address",
            Act::Replaced("\"http://", "\"javascript://"),
            Doubt("HTTP 200"),
            Absent,
        ),
        case("a page for a page's sake", status("200 OK", "", PAGE), Absent, Doubt("201")),
        case("wrong amount", Act::Replaced("\"15000\"", "\"100\""), Absent, Review),
        case("wrong currency", Act::Replaced("\"XOF\"", "\"XAF\""), Absent, Review),
        case("no amount", Act::Replaced("\"amount\"", "\"montant\""), Absent, Review),
        case("a negative amount", Act::Replaced("\"15000\"", "\"-15000\""), Absent, Review),
        case(
            "another site",
            Act::Replaced("\"data\":{", "\"data\":{\"cpm_site_id\":\"999999\","),
            Absent,
            Doubt("OTHER"),
        ),
        case(
            "another transaction",
            Act::Replaced("\"data\":{", "\"data\":{\"cpm_trans_id\":\"01ARZ3NDEKTSV4RRFFQ69G5FAV\","),
            Absent,
            Doubt("OTHER"),
        ),
        case("ACCEPTED in a refusal", Act::Replaced("\"00\"", "\"627\""), Absent, Doubt("627")),
    ]
}

/// A shop whose CinetPay stands behind a wire.
async fn shop() -> (TestApp, Wire, Shifted) {
    let (wire, shifted) = (Wire::start(None).await, Shifted::default());
    let deadline = humantime::format_duration(DEADLINE).to_string();
    let settings = [
        ("CINETPAY_API_URL", wire.url()),
        ("AUDITSHIELD_CINETPAY__TIMEOUT", deadline.clone()),
        ("AUDITSHIELD_CINETPAY__CONNECT_TIMEOUT", deadline),
    ];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let app = TestApp::by(shifted.clock(), &settings).await;
    wire.to(app.cinetpay.addr());
    app.silent();
    (app, wire, shifted)
}

async fn check_case(Case { name, act, check, .. }: Case) {
    if check == Absent {
        return;
    }
    let (app, wire, shifted) = shop().await;
    let order = app.buy().await;
    app.cinetpay.approve(&order).unwrap();
    wire.set(Call::Check, act);
    assert_eq!(app.notify(&order).await, StatusCode::OK, "{name}");
    match check {
        Doubt(code) => {
            let now = app.until(&order, "CHECKED").await;
            let seen = details(&now, "CHECKED");
            let begins = seen[0]["code"].as_str().unwrap().starts_with(code);
            assert!(begins, "{name}: {seen:?}");
            still_pending(&app, &order, name).await;
            wire.mend(None).await;
            shifted.forward(NEXT_TRY);
        }
        Review => {
            app.until(&order, "REVIEW").await;
            assert!(app.mailbox.messages().is_empty(), "{name}: nothing is delivered");
            wire.mend(None).await;
            assert_eq!(app.act(&order, "verify").await.status(), StatusCode::OK, "{name}");
        }
        Sound | Absent => {}
    }
    paid_and_delivered_once(&app, &order, name).await;
    if check == Sound {
        // Whatever the answer did to the connection, the next call goes through.
        wire.mend(None).await;
        app.buy().await;
    }
    assert_eq!(app.mailbox.messages().len(), 1, "{name}");
}

/// No verdict, no mail, and nothing in the history that one would have to take back.
async fn still_pending(app: &TestApp, order: &str, name: &str) {
    let now = app.order(order).await;
    assert_eq!(now["status"], "PENDING", "{name}: {now:#}");
    let kinds = app.kinds(order).await;
    let wrong = ["PAID", "FAILED", "REVIEW", "EXPIRED", "DELIVERED"];
    assert!(!kinds.iter().any(|kind| wrong.contains(&kind.as_str())), "{name}: {kinds:?}");
    assert!(app.mailbox.messages().is_empty(), "{name}");
}

async fn init_case(Case { name, act, init, .. }: Case) {
    let Doubt(reason) = init else { return sound_init(name, act, init).await };
    let (app, wire, _) = shop().await;
    let key = [("idempotency-key", "fault")];
    let buyer = json!({"email": "awa@example.ci"});
    wire.set(Call::Init, act);
    let answer = app.buy_with(&key, &buyer).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY, "{name}");
    let orders = app.api("orders").await;
    let orders = orders["orders"].as_array().unwrap();
    assert_eq!(orders.len(), 1, "{name}");
    let order = orders[0]["order_id"].as_str().unwrap();
    let now = app.order(order).await;
    assert_eq!(now["status"], "CREATED", "{name}: {now:#}");
    let failed = details(&now, "INIT_FAILED");
    assert!(failed[0]["reason"].as_str().unwrap().starts_with(reason), "{name}: {failed:?}");
    wire.mend(None).await;
    let mut answer = app.buy_with(&key, &buyer).await;
    let begun = std::time::Instant::now();
    while answer.status() != StatusCode::CREATED {
        // Ten faulty calls in a row pause all calls for a moment.
        assert!(begun.elapsed() < Duration::from_secs(10), "{name}: {}", answer.status());
        tokio::time::sleep(Duration::from_millis(200)).await;
        answer = app.buy_with(&key, &buyer).await;
    }
    pay_and_see(&app, &answer.json().await.unwrap(), order, name).await;
}

async fn sound_init(name: &str, act: Act, init: Read) {
    if init != Sound {
        return;
    }
    let (app, wire, _) = shop().await;
    wire.set(Call::Init, act);
    let answer = app.buy_with(&[], &json!({"email": "awa@example.ci"})).await;
    assert_eq!(answer.status(), StatusCode::CREATED, "{name}");
    let body: Value = answer.json().await.unwrap();
    let order = body["order_id"].as_str().unwrap().to_owned();
    assert!(wire.struck() > 0, "{name}: the fault must have struck");
    pay_and_see(&app, &body, &order, name).await;
}

/// The buyer pays on the page that was shown, whichever attempt's it is.
async fn pay_and_see(app: &TestApp, body: &Value, order: &str, name: &str) {
    assert_eq!(body["order_id"], order, "{name}: the same order");
    let page = body["payment_url"].as_str().unwrap();
    let shown = app.cinetpay.transactions().into_iter().find(|one| page.ends_with(&one.token)).expect(name);
    let transaction = shown.order.transaction_id;
    app.cinetpay.approve(&transaction).unwrap();
    assert_eq!(app.notify(&transaction).await, StatusCode::OK, "{name}");
    paid_and_delivered_once(app, order, name).await;
    assert_eq!(app.mailbox.messages().len(), 1, "{name}");
}

/// Plays every case, some at a time.
async fn every_case<F: Future<Output = ()>>(play: fn(Case) -> F) {
    let played = futures_util::stream::iter(cases()).map(play).buffer_unordered(CASES_AT_ONCE);
    played.collect::<Vec<_>>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_check_is_doubt_and_ends_paid() {
    every_case(check_case).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_an_init_is_a_502_and_ends_paid() {
    every_case(init_case).await;
}

/// A simulated half hour without CinetPay, with webhooks, a sale before and a sale within.
#[tokio::test(flavor = "multi_thread")]
async fn thirty_minutes_without_cinetpay() {
    let (app, wire, shifted) = shop().await;
    let before = app.buy().await;
    app.cinetpay.approve(&before).unwrap();
    wire.set(Call::Check, Act::Refuse);
    assert_eq!(app.notify(&before).await, StatusCode::OK);
    let key = [("idempotency-key", "outage")];
    let buyer = json!({"email": "awa@example.ci"});
    assert_eq!(app.buy_with(&key, &buyer).await.status(), StatusCode::BAD_GATEWAY);
    let (mut minutes, mut asked) = (0, 0);
    while minutes < 30 {
        shifted.forward(Duration::from_secs(60));
        minutes += 1;
        // Each minute the alarm has had its look when a webhook that comes again has been answered.
        assert_eq!(app.notify(&before).await, StatusCode::OK, "minute {minutes}");
        tokio::time::sleep(Duration::from_millis(150)).await;
        let now = app.order(&before).await;
        assert_eq!(now["status"], "PENDING", "minute {minutes}");
        asked = details(&now, "CHECKED").len();
    }
    assert!((5..=20).contains(&asked), "{asked} questions in half an hour: neither silence nor a hail");
    assert!(app.mailbox.messages().is_empty());
    wire.mend(None).await;
    // Real time: calls are paused for up to a minute after faults in a row, and time jumps do not shorten that.
    let begun = std::time::Instant::now();
    while app.order(&before).await["status"] != "PAID" {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:#}", app.order(&before).await);
        shifted.forward(NEXT_TRY);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    paid_and_delivered_once(&app, &before, "before the outage").await;
    let answer = app.buy_with(&key, &buyer).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let body: Value = answer.json().await.unwrap();
    let within = body["order_id"].as_str().unwrap().to_owned();
    let page = body["payment_url"].as_str().unwrap();
    let shown = app.cinetpay.transactions().into_iter().find(|one| page.ends_with(&one.token)).unwrap();
    app.cinetpay.approve(&shown.order.transaction_id).unwrap();
    assert_eq!(app.notify(&shown.order.transaction_id).await, StatusCode::OK);
    paid_and_delivered_once(&app, &within, "within the outage").await;
    assert_eq!(app.mailbox.messages().len(), 2);
    assert_eq!(times(&app.kinds(&within).await, "CREATED"), 1);
}
