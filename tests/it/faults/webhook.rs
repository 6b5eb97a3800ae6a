//! Webhooks as they come on a bad day: all at once, in any order, shifted, shortened, in another charset.

use std::time::Duration;

use auditshield::adapters::cinetpay::signature;
use auditshield::simulator;
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

use super::wire::Wire;
use super::{Shifted, paid_and_delivered_once};
use crate::contract::{FORM, shop};
use crate::support::{TestApp, times};

const SECRET: &[u8] = b"simulator-secret-key";
const SITE: &str = "445160";
const CALLBACK: &str = "/payment/callback/";

/// A form of these values in the documented order, as bytes, and the signature over them.
fn signed(values: &[&[u8]]) -> (Vec<u8>, String) {
    let mut form = Vec::new();
    for (name, value) in simulator::FIELDS.iter().zip(values) {
        if !form.is_empty() {
            form.push(b'&');
        }
        form.extend_from_slice(name.as_bytes());
        form.push(b'=');
        form.extend(
            percent_encoding::percent_encode(value, percent_encoding::NON_ALPHANUMERIC).flat_map(str::bytes),
        );
    }
    (form, signature::sign(SECRET, values))
}

/// The sixteen values of a notification about `transaction`.
fn values<'a>(transaction: &'a str, designation: &'a [u8], message: &'a [u8]) -> [&'a [u8]; 16] {
    [
        SITE.as_bytes(),
        transaction.as_bytes(),
        b"2026-09-29 14:13:16",
        b"15000",
        b"XOF",
        b"aa",
        b"OM",
        b"0707070707",
        b"225",
        b"fr",
        b"V4",
        b"SINGLE",
        b"PAYMENT",
        b"",
        designation,
        message,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_identical_at_once_are_one() {
    let app = TestApp::start().await;
    app.silent();
    let order = app.buy().await;
    app.cinetpay.approve(&order).unwrap();
    let (body, token) = app.notice(&order, "SUCCES");
    // Both ends are in this process, so each connection takes two of the thousand files that a user commonly may open.
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.extend(join_all((0..200).map(|_| app.callback(body.clone(), Some(&token)))).await);
    }
    assert_eq!(answers.len(), 1_000);
    assert!(answers.iter().all(|answer| *answer == StatusCode::OK), "{answers:?}");
    paid_and_delivered_once(&app, &order, "a thousand").await;
    let kinds = app.kinds(&order).await;
    assert_eq!(times(&kinds, "NOTIFIED"), 1, "{kinds:?}");
    assert_eq!(app.mailbox.messages().len(), 1);
}

/// What five notifications say, and what CinetPay answers when asked after each.
const FIVE: [(&str, &str); 5] = [
    ("", r#"{"code":"662","data":{"status":"PENDING"}}"#),
    ("WAITING_CUSTOMER_TO_VALIDATE", r#"{"code":"623","data":{"status":"WAITING_FOR_CUSTOMER"}}"#),
    ("TRANSACTION_CANCEL", r#"{"code":"627","data":{"status":"REFUSED"}}"#),
    ("PAYMENT_FAILED", r#"{"code":"602","data":{"status":"REFUSED"}}"#),
    ("SUCCES", r#"{"code":"00","data":{"status":"ACCEPTED","amount":"15000","currency":"XOF"}}"#),
];

fn orders_of(left: &[usize]) -> Vec<Vec<usize>> {
    if left.is_empty() {
        return vec![Vec::new()];
    }
    let after = |first: usize| {
        let rest: Vec<usize> = left.iter().copied().filter(|other| *other != first).collect();
        orders_of(&rest).into_iter().map(move |rest| [vec![first], rest].concat())
    };
    left.iter().flat_map(|first| after(*first)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_statuses_in_every_order_end_paid_once() {
    let (wire, shifted) = (Wire::start(None).await, Shifted::default());
    let url = wire.url();
    let settings = [("CINETPAY_API_URL", url.as_str()), ("AUDITSHIELD_CINETPAY__PER_SECOND", "10000")];
    let app = TestApp::by(shifted.clock(), &settings).await;
    wire.to(app.cinetpay.addr());
    app.silent();
    let all = orders_of(&[0, 1, 2, 3, 4]);
    assert_eq!(all.len(), 120);
    for some in all.chunks(12) {
        join_all(some.iter().map(|sequence| five(&app, &wire, sequence))).await;
    }
    assert_eq!(app.mailbox.messages().len(), 120);
}

async fn five(app: &TestApp, wire: &Wire, sequence: &[usize]) {
    let order = app.buy().await;
    let mut paid = false;
    for (step, which) in sequence.iter().enumerate() {
        let (message, answer) = FIVE[*which];
        wire.answer(&order, answer);
        let (body, token) = app.notice(&order, message);
        assert_eq!(app.callback(body, Some(&token)).await, StatusCode::OK, "{sequence:?}");
        let begun = std::time::Instant::now();
        loop {
            let now = app.kinds(&order).await;
            if paid || times(&now, "CHECKED") > step {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(15), "{sequence:?} at {step}: {now:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        paid |= message == "SUCCES";
        let status = app.order(&order).await["status"].clone();
        assert_eq!(status == "PAID", paid, "{sequence:?} at {step}: {status}");
    }
    paid_and_delivered_once(app, &order, &format!("{sequence:?}")).await;
    let kinds = app.kinds(&order).await;
    assert_eq!(times(&kinds, "NOTIFIED"), 5, "{sequence:?}: {kinds:?}");
}

/// The signature has no separators: whoever has seen one notification can move the boundaries between its fields.
#[tokio::test(flavor = "multi_thread")]
async fn shifted_boundaries_are_200_and_make_no_work_for_anybody() {
    let app = TestApp::start().await;
    app.silent();
    let orders = [app.buy().await, app.buy().await];
    let [order, other] = &orders;
    for id in &orders {
        app.cinetpay.approve(id).unwrap();
    }
    let date = "2026-09-29 14:13:16";
    // The same bytes, cut elsewhere: the whole order's number, one character less, one more, the other order's within.
    let whole = format!("{SITE}{order}{date}");
    let within = format!("{SITE}{other}{order}{date}");
    for (text, cuts) in [
        (&whole, [5, 6 + order.len()]),
        (&whole, [7, 6 + order.len()]),
        (&whole, [0, 0]),
        (&whole, [6, 5 + order.len()]),
        (&whole, [6, 7 + order.len()]),
        (&within, [6 + other.len(), 6 + other.len() + order.len()]),
    ] {
        let mut shifted = values("", b"Kit", b"SUCCES");
        (shifted[0], shifted[1], shifted[2]) =
            (&text.as_bytes()[..cuts[0]], &text.as_bytes()[cuts[0]..cuts[1]], &text.as_bytes()[cuts[1]..]);
        let (body, token) = signed(&shifted);
        assert_eq!(app.callback(body, Some(&token)).await, StatusCode::OK, "{cuts:?}");
    }
    for id in &orders {
        assert_eq!(app.kinds(id).await, ["CREATED", "INITIATED"], "nothing was asked, nothing written");
    }
    // A boundary moved behind the order's number leaves that number whole: it means "go and look", nothing else.
    let mut amount = values(order, b"Kit", b"SUCCES");
    (amount[3], amount[4]) = (b"15", b"000XOF");
    let (body, token) = signed(&amount);
    assert_eq!(app.callback(body, Some(&token)).await, StatusCode::OK);
    paid_and_delivered_once(&app, order, "the check decides").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shortened_and_oddly_spelled_but_genuine_notifications_count() {
    let app = TestApp::start().await;
    app.silent();
    for (name, designation, message, missing, kind) in [
        (
            "without the two last fields",
            &b"Kit"[..],
            &b""[..],
            &["&cpm_custom=", "&cpm_error_message="][..],
            FORM,
        ),
        ("Latin-1 under UTF-8's name", b"Caf\xe9 \xe9toil\xe9", b"SUCCES", &[], FORM),
        (
            "another charset by name",
            "Café".as_bytes(),
            b"SUCCES",
            &[],
            ("content-type", "application/x-www-form-urlencoded; charset=iso-8859-1"),
        ),
        ("no media type", b"Kit", b"SUCCES", &[], ("x-nothing", "0")),
        ("NUL and line ends", b"a\0b\r\nc", b"SUCCES", &[], FORM),
    ] {
        let order = app.buy().await;
        app.cinetpay.approve(&order).unwrap();
        let (body, token) = signed(&values(&order, designation, message));
        let mut body = String::from_utf8(body).unwrap();
        for field in missing {
            assert!(body.contains(field), "{field} in {body}");
            body = body.replace(field, "");
        }
        let answer = shop(&app, "POST", CALLBACK, &[kind, ("x-token", &token)], body).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        paid_and_delivered_once(&app, &order, name).await;
    }
    assert_eq!(app.mailbox.messages().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_megabyte_is_413_and_writes_nothing() {
    let app = TestApp::start().await;
    app.silent();
    let order = app.buy().await;
    let (body, token) = app.notice(&order, "SUCCES");
    let large = format!("{body}&padding={}", "x".repeat(1024 * 1024));
    let headers = [FORM, ("x-token", token.as_str())];
    shop(&app, "POST", CALLBACK, &headers, large).await.is_problem(413);
    assert_eq!(app.kinds(&order).await, ["CREATED", "INITIATED"]);
    assert_eq!(app.order(&order).await["status"], json!("PENDING"));
}
