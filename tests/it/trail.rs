//! The id of a request: from a notification's header through the order's actor, the check and the mail to CinetPay.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use auditshield::ports::RequestId;
use bytes::Bytes;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use warp::Filter;
use warp::http::HeaderMap;

use crate::process_support::{EMAIL, PATIENCE, World, notice};

/// A call at CinetPay: its path's last part, and the id it brought.
type Calls = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// Stands before the simulated CinetPay, and writes down who calls in whose name.
struct Door {
    calls: Calls,
    /// How long each call is kept waiting, in milliseconds.
    slow: Arc<AtomicU64>,
}

impl Door {
    /// In front of the CinetPay of this world, which is not started yet.
    async fn before(world: &mut World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = format!("http://{}", listener.local_addr().unwrap());
        let behind = world.settings.insert("CINETPAY_API_URL".to_owned(), place).unwrap();
        let door = Self { calls: Calls::default(), slow: Arc::default() };
        let (calls, slow, client) = (Arc::clone(&door.calls), Arc::clone(&door.slow), world.client.clone());
        let route = warp::path::full().and(warp::header::headers_cloned()).and(warp::body::bytes()).then(
            move |path: warp::path::FullPath, headers: HeaderMap, body: Bytes| {
                let call = if path.as_str().ends_with("/check") { "check" } else { "init" };
                let id = headers.get("x-request-id").map(|id| id.to_str().unwrap().to_owned());
                calls.lock().unwrap().push((call.to_owned(), id));
                let asked = client.post(format!("{behind}{}", path.as_str()));
                let asked = asked.header("content-type", "application/json").header("user-agent", "door");
                let wait = Duration::from_millis(slow.load(Ordering::Relaxed));
                async move {
                    tokio::time::sleep(wait).await;
                    let answer = asked.body(body).send().await.unwrap();
                    let status = answer.status();
                    warp::reply::with_status(answer.bytes().await.unwrap().to_vec(), status)
                }
            },
        );
        tokio::spawn(warp::serve(route).incoming(listener).run());
        door
    }

    /// The ids that calls of this kind brought so far.
    fn ids(&self, call: &str) -> Vec<Option<String>> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(kind, _)| kind == call).map(|(_, id)| id.clone()).collect()
    }

    async fn has_heard(&self, call: &str, count: usize) -> Vec<Option<String>> {
        let begun = Instant::now();
        loop {
            let ids = self.ids(call);
            if ids.len() >= count {
                return ids;
            }
            assert!(begun.elapsed() < PATIENCE, "{count} × {call} wanted: {ids:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn world(overrides: &[(&str, &str)]) -> (World, Door) {
    let quiet = [("AUDITSHIELD_VERIFY__FIRST_POLL", "24h"), ("AUDITSHIELD_LOG", "debug")];
    let mut world = World::new(&[&quiet, overrides].concat()).await;
    let door = Door::before(&mut world).await;
    world.start().await;
    world.cinetpay.patch(&json!({"notify": {"enabled": false}})).unwrap();
    (world, door)
}

/// Buys under this id; the order's number.
async fn buy(world: &World, id: &str) -> String {
    let request = world.client.post(format!("{}/buy/audit-kit/standard/", world.shop));
    let request = request.header("accept", "application/json").header("x-request-id", id);
    let answer = request.json(&json!({"email": EMAIL})).send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], id);
    assert_eq!(answer.status(), StatusCode::CREATED);
    answer.json::<Value>().await.unwrap()["order_id"].as_str().unwrap().to_owned()
}

/// Tells of a payment under these ids, one header line each; what the answer calls the request.
async fn notify(world: &World, order: &str, ids: &[&str]) -> String {
    let (form, token) = notice(order);
    let mut request = world.client.post(format!("{}/payment/callback/", world.shop)).header("x-token", token);
    for id in ids {
        request = request.header("x-request-id", *id);
    }
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.headers()["x-request-id"].to_str().unwrap().to_owned()
}

/// What a line of the log says of its request, itself or in whichever of its spans.
fn ids_of(line: &Value) -> BTreeSet<String> {
    let spans = line["spans"].as_array().into_iter().flatten();
    let ids = spans.chain([line]).filter_map(|place| place["request_id"].as_str());
    ids.map(ToOwned::to_owned).collect()
}

/// The lines about this order.
fn lines(world: &World, order: &str) -> Vec<Value> {
    let said = world.said();
    let lines = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    let about = |line: &Value| {
        let spans = line["spans"].as_array().into_iter().flatten();
        line["order"] == order || spans.into_iter().any(|span| span["order"] == order)
    };
    lines.filter(about).collect()
}

#[tokio::test]
async fn a_notifications_id_is_in_every_line_that_follows_from_it_and_goes_out_to_cinetpay() {
    let (mut world, door) = world(&[]).await;
    let order = buy(&world, "the-purchase.1").await;
    world.cinetpay.approve(&order).unwrap();
    assert_eq!(notify(&world, &order, &["the-notification_1"]).await, "the-notification_1");
    world.until(&order, "DELIVERED").await;
    let mails = world.mailbox.wait_for(1, PATIENCE).await;
    assert_eq!(door.ids("init"), [Some("the-purchase.1".to_owned())]);
    assert_eq!(door.ids("check"), [Some("the-notification_1".to_owned())]);
    for mail in mails {
        let raw = String::from_utf8_lossy(&mail.raw).into_owned();
        assert!(!raw.contains("the-notification_1") && !raw.contains("the-purchase.1"), "{raw}");
    }
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());
    let lines = lines(&world, &order);
    for (kind, id) in [
        ("CREATED", "the-purchase.1"),
        ("INITIATED", "the-purchase.1"),
        ("NOTIFIED", "the-notification_1"),
        ("CHECKED", "the-notification_1"),
        ("PAID", "the-notification_1"),
        ("DELIVERED", "the-notification_1"),
    ] {
        let of_kind: Vec<_> = lines.iter().filter(|line| line["kind"] == kind).collect();
        assert_eq!(of_kind.len(), 1, "{kind}");
        assert_eq!(ids_of(of_kind[0]), BTreeSet::from([id.to_owned()]), "{}", of_kind[0]);
    }
    let said = |line: &&Value| line["message"] == "the mail server took a mail";
    let conversation = lines.iter().find(said).expect("a line of the conversation with the mail server");
    assert_eq!(ids_of(conversation), BTreeSet::from(["the-notification_1".to_owned()]));
    for line in &lines {
        assert_eq!(ids_of(line).len(), 1, "a line without an id, or with two: {line}");
    }
}

#[tokio::test]
async fn whatever_could_be_more_than_an_id_is_not_taken_over() {
    let (mut world, door) = world(&[]).await;
    let longer = "x".repeat(65);
    let strange: [&[&str]; 6] = [
        &[],
        &["{\"level\":\"ERROR\"}"],
        &["awa@example.ci"],
        &[&longer],
        &["once-17", "twice-17"],
        &["one two"],
    ];
    for (n, ids) in strange.into_iter().enumerate() {
        let order = buy(&world, "any").await;
        world.cinetpay.approve(&order).unwrap();
        let called = notify(&world, &order, ids).await;
        let hex = called.len() == 32 && called.bytes().all(|c| c.is_ascii_hexdigit());
        assert!(hex && RequestId::parse(&called).is_some(), "{ids:?}: {called}");
        assert_eq!(door.has_heard("check", n + 1).await[n], Some(called), "{ids:?}");
        world.until(&order, "PAID").await;
    }
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());
    for ids in strange.into_iter().flatten() {
        assert!(!world.said().contains(ids), "{ids} stands in the log");
    }
}

#[tokio::test]
async fn a_check_that_waits_for_its_turn_keeps_its_requests_id() {
    let (world, door) = world(&[("AUDITSHIELD_VERIFY__CONCURRENCY", "1")]).await;
    let mut orders = Vec::new();
    for _ in 0..4 {
        let order = buy(&world, "any").await;
        world.cinetpay.approve(&order).unwrap();
        orders.push(order);
    }
    door.slow.store(300, Ordering::Relaxed);
    let names: Vec<String> = (0..orders.len()).map(|n| format!("notification-{n}")).collect();
    for (order, name) in orders.iter().zip(&names) {
        notify(&world, order, &[name]).await;
    }
    assert!(door.ids("check").len() < orders.len(), "they were to wait for each other");
    let heard: BTreeSet<_> = door.has_heard("check", orders.len()).await.into_iter().flatten().collect();
    assert_eq!(heard, names.into_iter().collect());
    for order in &orders {
        world.until(order, "DELIVERED").await;
    }
}

#[tokio::test]
async fn an_errand_that_outlives_a_restart_has_an_id_of_its_own() {
    // As shipped: without the spans of `debug`.
    let (mut world, door) = world(&[("AUDITSHIELD_LOG", "info")]).await;
    let order = buy(&world, "the-purchase").await;
    world.cinetpay.approve(&order).unwrap();
    door.slow.store(60_000, Ordering::Relaxed);
    notify(&world, &order, &["before-the-crash"]).await;
    assert_eq!(door.has_heard("check", 1).await, [Some("before-the-crash".to_owned())]);
    world.kill();
    door.slow.store(0, Ordering::Relaxed);
    world.start().await;
    world.until(&order, "DELIVERED").await;
    let own = door.ids("check")[1].clone().expect("an id");
    assert_eq!(own.len(), 32, "{own}");
    let paid: Vec<_> = lines(&world, &order).into_iter().filter(|line| line["kind"] == "PAID").collect();
    assert_eq!(paid.len(), 1);
    assert_eq!(ids_of(&paid[0]), BTreeSet::from([own]));
}
