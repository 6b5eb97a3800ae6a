//! Buyers at the balancer, and CinetPay, which tells every node of each payment, twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::fleet::Fleet;
use crate::process_support::{Dice, NAME, PATIENCE, World, notice};

/// Copies of a notification that each node gets, beside the one that comes by way of the balancer.
const COPIES: usize = 2;
/// Further attempts of a payment whose page is looked for.
const ATTEMPTS_MAX: u32 = 9;
/// A buyer's next purchase comes at most this long after the one before, in milliseconds.
const LULL_MILLIS_MAX: u64 = 400;
/// Between two tries of a buyer who was refused.
const AGAIN: Duration = Duration::from_millis(50);
/// How long a buyer waits for an answer before the same purchase is sent again.
const ANSWER: Duration = Duration::from_secs(20);

/// What the buyers and CinetPay know.
#[derive(Default)]
pub(crate) struct Street {
    over: AtomicBool,
    /// Notifications answered 200.
    pub(crate) heard: AtomicUsize,
    /// Purchases and notifications that were not taken, by their answer, or what was there instead of one.
    refused: Mutex<BTreeMap<String, usize>>,
    pub(crate) sold: AtomicUsize,
    /// Orders of which a notification was answered 200.
    promised: Mutex<BTreeSet<String>>,
    /// Notifications that are still out although another copy was answered.
    late: tokio::sync::Mutex<JoinSet<bool>>,
}

/// Buyers at work.
pub(crate) struct Buyers {
    pub(crate) street: Arc<Street>,
    tasks: JoinSet<()>,
}

/// The doors of the shop.
#[derive(Clone)]
struct Doors {
    balancer: String,
    nodes: Vec<String>,
    client: reqwest::Client,
}

// === impl Street ===

impl Street {
    pub(crate) fn promised(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.promised.lock().unwrap()
    }

    fn refuse(&self, what: &str, answer: reqwest::Result<Response>) {
        let why = match answer {
            Ok(answer) => format!("{what}: {}", answer.status().as_u16()),
            Err(fault) if fault.is_timeout() => format!("{what}: no answer in time"),
            Err(_) => format!("{what}: no answer"),
        };
        *self.refused.lock().unwrap().entry(why).or_default() += 1;
    }

    pub(crate) fn refused(&self) -> BTreeMap<String, usize> {
        self.refused.lock().unwrap().clone()
    }
}

// === impl Buyers ===

impl Buyers {
    /// So many buy, pay, and are told of, one purchase after the other, until it is over.
    pub(crate) fn at(fleet: &Fleet, count: usize) -> Buyers {
        let doors = Doors {
            balancer: fleet.balancer.shop.clone(),
            nodes: fleet.nodes.iter().map(|node| node.shop.clone()).collect(),
            client: fleet.outside.client.clone(),
        };
        let (street, mut tasks) = (Arc::new(Street::default()), JoinSet::new());
        for number in 0..count {
            tasks.spawn(buyer(number, Arc::clone(&fleet.outside), doors.clone(), Arc::clone(&street)));
        }
        Buyers { street, tasks }
    }

    /// Orders sold so far.
    pub(crate) fn sold(&self) -> usize {
        self.street.sold.load(Ordering::SeqCst)
    }

    /// Waits until so many orders were sold.
    pub(crate) async fn until(&mut self, sold: usize) {
        let mut seen = (0, Instant::now());
        while self.sold() < sold {
            let now = self.sold();
            if now > seen.0 {
                seen = (now, Instant::now());
            }
            assert!(seen.1.elapsed() < 2 * PATIENCE, "nothing is sold any more, after {now} orders");
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Each ends with the purchase at hand, told of, and every copy of every notification has its answer, or none.
    pub(crate) async fn end(mut self) -> Arc<Street> {
        self.street.over.store(true, Ordering::SeqCst);
        while let Some(buyer) = self.tasks.join_next().await {
            buyer.unwrap();
        }
        std::mem::take(&mut *self.street.late.lock().await).join_all().await;
        self.street
    }
}

async fn buyer(number: usize, outside: Arc<World>, doors: Doors, street: Arc<Street>) {
    let mut dice = Dice::of(u64::try_from(number).unwrap() + 1);
    for turn in 0.. {
        if street.over.load(Ordering::SeqCst) {
            return;
        }
        let order = doors.sale(&outside, &format!("buyer{number}.{turn}"), &mut dice, &street).await;
        street.promised().insert(order);
        tokio::time::sleep(Duration::from_millis(dice.below(LULL_MILLIS_MAX))).await;
    }
}

/// One sale at one door, told of there: the order's number.
pub(crate) async fn sale(fleet: &Fleet, door: &str, name: &str) -> String {
    let client = fleet.outside.client.clone();
    let doors = Doors { balancer: door.to_owned(), nodes: Vec::new(), client };
    doors.sale(&fleet.outside, name, &mut Dice::of(1), &Arc::default()).await
}

// === impl Doors ===

impl Doors {
    /// Buys, pays, and has CinetPay tell of it until somebody says 200.
    async fn sale(&self, outside: &World, name: &str, dice: &mut Dice, street: &Arc<Street>) -> String {
        let order = self.bought(name, dice, street).await;
        street.sold.fetch_add(1, Ordering::SeqCst);
        // An order that was opened twice, because the first answer was lost, has a second page.
        let again = (2..=ATTEMPTS_MAX).rev().map(|attempt| format!("{order}R{attempt}"));
        let mut pages = again.chain([order.clone()]);
        let page = pages.find(|page| outside.cinetpay.transaction(page).is_some()).expect("a page");
        outside.cinetpay.approve(&page).unwrap();
        self.told(&page, street).await;
        order
    }

    /// Sends the same purchase, under one key, until it is answered: at the balancer mostly, at a node now and then.
    async fn bought(&self, name: &str, dice: &mut Dice, street: &Street) -> String {
        let body = json!({"email": format!("{name}@example.ci"), "name": NAME});
        let begun = Instant::now();
        loop {
            let at = usize::try_from(dice.below(2 * self.nodes.len() as u64 + 1)).unwrap();
            let door = self.nodes.get(at).unwrap_or(&self.balancer);
            let request = self.client.post(format!("{door}/buy/audit-kit/standard/")).timeout(ANSWER);
            let request = request.header("accept", "application/json").header("idempotency-key", name);
            match request.json(&body).send().await {
                Ok(answer) if answer.status() == StatusCode::CREATED => {
                    // A node may die in the middle of its answer.
                    if let Ok(body) = answer.json::<Value>().await {
                        return body["order_id"].as_str().expect("an order").to_owned();
                    }
                }
                other => street.refuse("purchase", other),
            }
            assert!(begun.elapsed() < 2 * PATIENCE, "{name}: nobody sells");
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Tells every node, and the balancer, until one of them says 200. The other copies come when they come.
    async fn told(&self, page: &str, street: &Arc<Street>) {
        let begun = Instant::now();
        loop {
            let mut tries = JoinSet::new();
            let copies = self.nodes.iter().flat_map(|door| std::iter::repeat_n(door, COPIES));
            for door in copies.chain([&self.balancer]) {
                tries.spawn(notify(self.client.clone(), door.clone(), page.to_owned(), Arc::clone(street)));
            }
            while let Some(heard) = tries.join_next().await {
                if heard.unwrap() {
                    let mut late = street.late.lock().await;
                    late.spawn(async move { tries.join_all().await.contains(&true) });
                    // Those that are through need no keeping.
                    while late.try_join_next().is_some() {}
                    return;
                }
            }
            assert!(begun.elapsed() < 2 * PATIENCE, "{page}: no node takes a notification");
            tokio::time::sleep(AGAIN).await;
        }
    }
}

async fn notify(client: reqwest::Client, door: String, transaction: String, street: Arc<Street>) -> bool {
    let (form, token) = notice(&transaction);
    let request = client.post(format!("{door}/payment/callback/")).header("x-token", token).body(form);
    let request = request.header("content-type", "application/x-www-form-urlencoded").timeout(ANSWER);
    match request.send().await {
        Ok(answer) if answer.status() == StatusCode::OK => {
            street.heard.fetch_add(1, Ordering::SeqCst);
            true
        }
        other => {
            street.refuse("notification", other);
            false
        }
    }
}
