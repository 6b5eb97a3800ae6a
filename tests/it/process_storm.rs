//! kill -9 at random moments under a storm of purchases: what was answered is kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use auditshield::simulator::mailbox::{Fault, Mail, Step};
use serde_json::json;
use tokio::sync::RwLock;

use crate::process_support::{Dice, World, times};

/// How often the daemon is killed.
const KILLS: usize = 50;
/// Buyers at work at one time.
const BUYERS: usize = 6;
/// How long everything may take to come to rest once the daemon is left alone.
const REST: Duration = Duration::from_secs(60);

/// Buys and buys; what was answered 201.
async fn buyer(world: Arc<RwLock<World>>, over: Arc<AtomicBool>, number: usize) -> Vec<String> {
    let mut orders = Vec::new();
    let (shop, client) = {
        let world = world.read().await;
        (world.shop.clone(), world.client.clone())
    };
    while !over.load(Ordering::Relaxed) {
        let body = json!({"email": format!("buyer{number}@example.ci")});
        let asked = client.post(format!("{shop}/buy/audit-kit/standard/")).json(&body);
        if let Ok(answer) = asked.header("accept", "application/json").send().await
            && answer.status() == reqwest::StatusCode::CREATED
            && let Ok(body) = answer.json::<serde_json::Value>().await
        {
            orders.push(body["order_id"].as_str().unwrap().to_owned());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    orders
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nine_fifty_times_loses_nothing_that_was_answered() {
    // Nobody polls: what the daemon does not remember by itself stays unpaid.
    let mut world = World::new(&[
        ("AUDITSHIELD_VERIFY__FIRST_POLL", "1h"),
        ("AUDITSHIELD_LOG", "warn"),
        ("AUDITSHIELD_CINETPAY__PER_SECOND", "1000"),
    ])
    .await;
    world
        .cinetpay
        .patch(&json!({
            "auto_approve_ms": 15,
            "check_latency_ms": 15,
            "notify": {"copies": 3, "retries": 0, "ping": false, "timeout_ms": 5000},
        }))
        .unwrap();
    let slow = Fault { code: None, latency_ms: 5, ..Fault::reply(Step::Dot, 0) };
    world.mailbox.set_fault(Some(slow));
    world.start().await;
    let world = Arc::new(RwLock::new(world));
    let over = Arc::new(AtomicBool::new(false));
    let buyers: Vec<_> = (0..BUYERS)
        .map(|number| tokio::spawn(buyer(Arc::clone(&world), Arc::clone(&over), number)))
        .collect();
    let mut dice = Dice::new();
    for round in 0..KILLS {
        // Every fourth kill strikes somewhere in the start itself.
        if round % 4 != 3 {
            world.write().await.ready().await;
        }
        tokio::time::sleep(Duration::from_millis(dice.below(400))).await;
        let mut world = world.write().await;
        world.kill();
        world.spawn();
    }
    println!("{KILLS} kills done");
    over.store(true, Ordering::Relaxed);
    let mut bought = Vec::new();
    for buyer in buyers {
        bought.extend(buyer.await.unwrap());
    }
    let mut world = Arc::into_inner(world).unwrap().into_inner();
    world.mailbox.set_fault(None);
    world.ready().await;
    let acknowledged = acknowledged(&world);
    println!("{} orders answered 201, {} notifications answered 200", bought.len(), acknowledged.len());
    assert!(bought.len() > KILLS && acknowledged.len() > KILLS, "no storm");
    rest(&world, &acknowledged).await;
    for order in &bought {
        world.order(order).await;
    }
    mails_of_an_order_are_one(&world).await;
    world.term();
    assert_eq!(world.end().await.code(), Some(0));
    world.verify_journal(&world.path("store")).await;
}

/// The orders paid at CinetPay with a notification that was answered 200.
fn acknowledged(world: &World) -> BTreeSet<String> {
    let told = world.cinetpay.transactions().into_iter().filter(|one| one.counts.notify_ok > 0);
    told.map(|one| one.order.transaction_id[..26].to_owned()).collect()
}

/// Waits until every one of these is delivered; then looks at them once more.
async fn rest(world: &World, orders: &BTreeSet<String>) {
    let begun = Instant::now();
    let mut waiting: Vec<&String> = orders.iter().collect();
    while !waiting.is_empty() {
        let mut still = Vec::new();
        for order in waiting {
            let now = world.order(order).await;
            if times(&now, "DELIVERED") == 0 {
                assert!(begun.elapsed() < REST, "not delivered: {now:#}\n{}", world.said());
                still.push(order);
            }
        }
        waiting = still;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for order in orders {
        let now = world.order(order).await;
        assert_eq!((times(&now, "PAID"), times(&now, "DELIVERED")), (1, 1), "{now:#}");
        assert_eq!(now["status"], "PAID", "{now:#}");
    }
}

/// A mail may go out twice when the kill came between the server's yes and ours: then it is the same mail.
async fn mails_of_an_order_are_one(world: &World) {
    // Orders whose 200 got lost in a kill are paid as well, and their mails may still be under way.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let metrics = world.metrics().await;
    let mut counted =
        metrics.lines().filter_map(|line| line.strip_prefix("auditshield_orders{status=\"PAID\"} "));
    let paid: usize = counted.next().unwrap().parse().unwrap();
    let mut mails: BTreeMap<String, Vec<Mail>> = BTreeMap::new();
    let mut links: HashMap<String, String> = HashMap::new();
    for mail in world.mailbox.messages() {
        let read = mail.read();
        let text = read.text.unwrap();
        let start = text.find(&format!("{}/download/", world.shop)).expect("a link");
        let link = text[start..].split_whitespace().next().unwrap().to_owned();
        let earlier = links.insert(read.message_id.clone(), link.clone());
        assert!(earlier.is_none_or(|earlier| earlier == link), "one mail, two links");
        mails.entry(read.message_id).or_default().push(mail);
    }
    let again = mails.values().filter(|copies| copies.len() > 1).count();
    println!("{} mails, {again} of them sent more than once", mails.len());
    assert_eq!(links.values().collect::<BTreeSet<_>>().len(), mails.len(), "one link in two mails");
    assert_eq!(mails.len(), paid, "as many mails as paid orders");
    for copies in mails.values() {
        assert!(copies.iter().all(|copy| copy.to == copies[0].to), "one mail, two recipients");
    }
}
