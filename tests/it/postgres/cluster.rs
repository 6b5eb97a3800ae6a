//! Three daemons on one database, buyers and duplicated notifications at all of them, blows at random moments: what was
//! answered 200 is paid and delivered, and nothing happens twice.
//!
//! Polling is an hour away and CinetPay itself says nothing: only the notification that was answered can save an order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::Database;
use crate::process_support::{Dice, NAME, PATIENCE, World, notice, times};

const NODES: usize = 3;
/// Buyers at work at one time.
const BUYERS: usize = 4;
/// Copies of a notification that each node gets.
const COPIES: usize = 2;
/// A blow falls at most this long after the one before, in milliseconds.
const LULL_MILLIS_MAX: u64 = 900;
/// Longer than a lease with the time-outs below: four checks of one second, or two mails of two, and five seconds.
const PAUSE: Duration = Duration::from_secs(11);
/// How long nothing at all may come to rest in the end.
const REST: Duration = Duration::from_secs(60);

/// What the buyers and CinetPay know.
#[derive(Default)]
struct Street {
    over: AtomicBool,
    /// Notifications answered 200.
    heard: AtomicUsize,
    /// Orders of which a notification was answered 200.
    promised: Mutex<BTreeSet<String>>,
    sold: AtomicUsize,
}

/// A node as the outside sees it.
#[derive(Clone)]
struct Door {
    shop: String,
    client: reqwest::Client,
}

impl Door {
    async fn buy(&self, email: &str) -> Option<String> {
        let body = json!({"email": email, "name": NAME});
        let url = format!("{}/buy/audit-kit/standard/", self.shop);
        let answer =
            self.client.post(url).header("accept", "application/json").json(&body).send().await.ok()?;
        if answer.status() != StatusCode::CREATED {
            return None;
        }
        let body: Value = answer.json().await.ok()?;
        body["order_id"].as_str().map(ToOwned::to_owned)
    }

    async fn notify(&self, transaction: &str) -> bool {
        let (form, token) = notice(transaction);
        let url = format!("{}/payment/callback/", self.shop);
        let request = self.client.post(url).header("x-token", token).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }
}

/// A number from the environment: the long form's.
fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect(name))
}

async fn node(outside: &World, database: &Database, public: Option<&str>) -> World {
    let url = database.url();
    let mut settings = vec![
        ("AUDITSHIELD_STORE__URL", url.as_str()),
        ("CINETPAY_API_URL", outside.cinetpay.base_url()),
        ("AUDITSHIELD_MAIL__URL", &outside.settings["AUDITSHIELD_MAIL__URL"]),
        ("AUDITSHIELD_CINETPAY__TIMEOUT", "1s"),
        ("AUDITSHIELD_CINETPAY__CONNECT_TIMEOUT", "1s"),
        ("AUDITSHIELD_MAIL__TIMEOUT", "2s"),
        ("AUDITSHIELD_VERIFY__FIRST_POLL", "1h"),
        ("AUDITSHIELD_CINETPAY__PER_SECOND", "1000"),
        ("AUDITSHIELD_LOG", "info"),
    ];
    settings.extend(public.map(|public| ("AUDITSHIELD_SERVER__PUBLIC_URL", public)));
    World::new(&settings).await
}

/// Buys, pays, and has CinetPay tell every node until one of them says 200.
async fn buyer(number: usize, outside: Arc<World>, doors: Vec<Door>, street: Arc<Street>) {
    let mut dice = Dice::of(u64::try_from(number).unwrap() + 1);
    let mut turn = 0;
    while !street.over.load(Ordering::SeqCst) {
        turn += 1;
        let door = &doors[usize::try_from(dice.below(doors.len() as u64)).unwrap()];
        let Some(order) = door.buy(&format!("buyer{number}.{turn}@example.ci")).await else {
            tokio::task::yield_now().await;
            continue;
        };
        street.sold.fetch_add(1, Ordering::SeqCst);
        // An order that was opened twice, because the first answer was lost, has a second page.
        let pages = outside.cinetpay.transactions().into_iter().map(|payment| payment.order.transaction_id);
        let page = pages.filter(|page| page.starts_with(&order)).max().expect("a page");
        outside.cinetpay.approve(&page).unwrap();
        let begun = Instant::now();
        loop {
            let mut tries = tokio::task::JoinSet::new();
            for door in doors.iter().flat_map(|door| std::iter::repeat_n(door, COPIES)) {
                let (door, page) = (door.clone(), page.clone());
                tries.spawn(async move { door.notify(&page).await });
            }
            let heard = tries.join_all().await.into_iter().filter(|heard| *heard).count();
            street.heard.fetch_add(heard, Ordering::SeqCst);
            if heard > 0 {
                street.promised.lock().unwrap().insert(order);
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{order}: no node of three takes a notification");
        }
    }
}

/// Strikes now this node, now that one. One blow of so many stops it for longer than its leases.
async fn strike(nodes: &mut [World], kills: usize, pauses: usize, dice: &mut Dice) {
    for blow in 0..kills + pauses {
        tokio::time::sleep(Duration::from_millis(dice.below(LULL_MILLIS_MAX))).await;
        let place = usize::try_from(dice.below(NODES as u64)).unwrap();
        let node = &mut nodes[place];
        if blow * pauses / (kills + pauses) < (blow + 1) * pauses / (kills + pauses) {
            node.signal("-STOP");
            tokio::time::sleep(PAUSE).await;
            node.signal("-CONT");
        } else {
            node.kill();
            node.start().await;
        }
    }
}

/// Waits until every promised order is delivered, and returns them.
async fn rested(node: &World, promised: &BTreeSet<String>) -> BTreeMap<String, Value> {
    let mut orders = BTreeMap::new();
    let (mut left, mut moved) = (promised.len(), Instant::now());
    loop {
        for id in promised {
            let is_delivered = |order: &Value| times(order, "DELIVERED") > 0;
            if !orders.get(id).is_some_and(is_delivered) {
                orders.insert(id.clone(), node.order(id).await);
            }
        }
        let now = orders.values().filter(|order| times(order, "DELIVERED") == 0).count();
        if now < left {
            (left, moved) = (now, Instant::now());
        }
        if now == 0 {
            // Once more, for what came after the mail.
            for id in promised {
                orders.insert(id.clone(), node.order(id).await);
            }
            return orders;
        }
        let stuck: Vec<_> = orders.values().filter(|order| times(order, "DELIVERED") == 0).take(2).collect();
        assert!(moved.elapsed() < REST, "{now} promised orders are not delivered: {stuck:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Mails by Message-ID: an order's are all one mail.
fn mails(outside: &World, promised: &BTreeSet<String>) -> (usize, usize) {
    let mut letters: BTreeMap<String, (Vec<u8>, usize)> = BTreeMap::new();
    let mut orders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for mail in outside.mailbox.messages() {
        let name = mail.read().message_id;
        let order = name.trim_start_matches('<').split('.').next().unwrap_or_default().to_owned();
        orders.entry(order).or_default().insert(name.clone());
        let (text, count) = letters.entry(name.clone()).or_insert_with(|| (mail.raw.clone(), 0));
        assert_eq!(*text, mail.raw, "{name}: a repeated mail differs");
        *count += 1;
    }
    for order in promised {
        assert_eq!(orders.get(order).map(BTreeSet::len), Some(1), "{order}: its mails");
    }
    (letters.len(), letters.values().map(|(_, count)| count - 1).sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_and_pauses_of_three_nodes_lose_nothing_and_double_nothing() {
    let Some(database) = Database::new().await else { return };
    let (kills, pauses) = (number("AUDITSHIELD_KILLS", 8), number("AUDITSHIELD_PAUSES", 1));
    let outside = World::new(&[]).await;
    outside.cinetpay.patch(&json!({"notify": {"enabled": false}, "check_latency_ms": 15})).unwrap();
    let first = node(&outside, &database, None).await;
    let public = first.shop.clone();
    let mut nodes = vec![first];
    nodes[0].settings.insert("AUDITSHIELD_SERVER__PUBLIC_URL".to_owned(), public.clone());
    for _ in 1..NODES {
        nodes.push(node(&outside, &database, Some(&public)).await);
    }
    for node in &mut nodes {
        node.spawn();
    }
    for node in &mut nodes {
        node.ready().await;
    }
    let doors: Vec<Door> =
        nodes.iter().map(|node| Door { shop: node.shop.clone(), client: node.client.clone() }).collect();
    let (outside, street) = (Arc::new(outside), Arc::new(Street::default()));
    let mut buyers = tokio::task::JoinSet::new();
    for number in 0..BUYERS {
        buyers.spawn(buyer(number, Arc::clone(&outside), doors.clone(), Arc::clone(&street)));
    }
    strike(&mut nodes, kills, pauses, &mut Dice::new()).await;
    street.over.store(true, Ordering::SeqCst);
    while let Some(buyer) = buyers.join_next().await {
        buyer.unwrap();
    }
    let promised = std::mem::take(&mut *street.promised.lock().unwrap());
    let orders = rested(&nodes[0], &promised).await;
    for (id, order) in &orders {
        let once = ["CREATED", "PAID", "DELIVERED", "NOTIFIED"].map(|kind| times(order, kind));
        assert_eq!((once, &order["status"]), ([1; 4], &json!("PAID")), "{id}: {order:#}");
    }
    let (letters, repeated) = mails(&outside, &promised);
    let mut said = String::new();
    for node in &mut nodes {
        assert!(!node.said().contains("panicked: "), "{}", node.said());
        said.push_str(&node.get(&format!("{}/metrics", node.admin)).await.1);
        node.term();
        assert_eq!(node.end().await.code(), Some(0), "{}", node.said());
    }
    let (code, verified) = nodes[0].run(&["ledger", "verify"]).await;
    assert_eq!(code, 0, "{verified}");
    let total = |name: &str| -> u64 {
        let lines = said.lines().filter(|line| line.split([' ', '{']).next() == Some(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    println!(
        "cluster: {kills} kills, {pauses} pauses; {} orders sold, {} promised, {} notifications answered 200; {letters} \
         mails, {repeated} repeated; since their last start the nodes met {} conflicts and {} fences; {verified}",
        street.sold.load(Ordering::SeqCst),
        promised.len(),
        street.heard.load(Ordering::SeqCst),
        total("auditshield_commit_conflicts_total"),
        total("auditshield_commits_fenced_total"),
    );
    assert!(promised.len() > kills, "no storm: {} orders", promised.len());
}
