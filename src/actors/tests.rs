//! The laws of the actor system: one owner per order, nothing lost in a passivation or a crash, results exactly once.

mod reminders;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::domain::event::Decision;
use crate::domain::input::{Acceptance, Notice, Purchase, Verdict};
use crate::domain::values::{Attempt, Buyer, Claimed, Currency, Email, Lang, Money, OrderId, TransactionId};
use crate::ledger::OpenOptions;
use crate::ports::{Letter, OpenRequest, Opened, PortFuture, Posted};

/// Counts who sits where, and poisons orders on request.
#[derive(Default)]
struct Census {
    seated: Mutex<HashMap<OrderId, usize>>,
    poisoned: Mutex<HashSet<OrderId>>,
    sittings: AtomicU64,
    doubles: AtomicU64,
    dead: AtomicU64,
}

impl Census {
    fn see(&self, moment: Moment) {
        match moment {
            Moment::Sits { order, seat } => self.sits(order, seat),
            Moment::Decides { order, seat } => self.touch(order, seat),
            Moment::Replaced { .. } => drop(self.dead.fetch_add(1, Ordering::Relaxed)),
            Moment::Decided { .. } | Moment::Benched { .. } => {}
        }
    }
    fn sits(&self, order: OrderId, seat: usize) {
        self.sittings.fetch_add(1, Ordering::Relaxed);
        self.seated.lock().unwrap().insert(order, seat);
    }
    /// An actor is about to decide for an order: it must be the last one that sat down for it.
    fn touch(&self, order: OrderId, seat: usize) {
        if self.seated.lock().unwrap().get(&order) != Some(&seat) {
            self.doubles.fetch_add(1, Ordering::Relaxed);
        }
        assert!(!self.poisoned.lock().unwrap().contains(&order), "poison");
    }
}

/// A scripted CinetPay and mail server.
#[derive(Default)]
struct World {
    checks: AtomicU64,
    mails: AtomicU64,
    check_time: Duration,
    panics: bool,
}

impl Provider for World {
    fn open(&self, request: OpenRequest) -> PortFuture<'_, Opened> {
        let payment_url = format!("https://pay/{}", request.transaction);
        Box::pin(async move { Opened::Page { payment_url, payment_token: "t".to_owned() } })
    }
    fn check(&self, _: TransactionId) -> PortFuture<'_, Verdict> {
        Box::pin(async move {
            tokio::time::sleep(self.check_time).await;
            assert!(
                !self.panics || self.checks.load(Ordering::Relaxed) > 0 || self.count_and_panic(),
                "never"
            );
            self.checks.fetch_add(1, Ordering::Relaxed);
            Verdict::Accepted(Acceptance {
                claimed: Claimed { amount: Some(500), currency: Some(Currency::Xof) },
                provider_tx_id: Some("MP1".to_owned()),
                payment_method: None,
            })
        })
    }
}

impl World {
    /// The first check panics, the following ones do not.
    fn count_and_panic(&self) -> bool {
        self.checks.fetch_add(1, Ordering::Relaxed);
        false
    }
}

impl Mailer for World {
    fn send(&self, _: Letter) -> PortFuture<'_, Posted> {
        self.mails.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Posted::Accepted })
    }
}

struct Stage {
    orders: Orders,
    shared: Arc<Shared>,
    census: Arc<Census>,
    world: Arc<World>,
    _running: Running,
    _folder: tempfile::TempDir,
}

async fn stage(world: World, settings: Settings) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(OpenOptions::new(folder.path(), |_| {})).unwrap();
    let world = Arc::new(world);
    let census = Arc::new(Census::default());
    let eye = Arc::clone(&census);
    let settings = Settings { witness: Witness::new(move |moment| eye.see(moment)), ..settings };
    let parts = Parts {
        ledger,
        provider: world.clone(),
        mailer: world.clone(),
        catalog: crate::ports::Current::new(crate::domain::catalog::Catalog::default()),
        policy: Policy::default(),
        clock: Clock::system(),
        settings: settings.clone(),
    };
    let shared = Shared::of(parts);
    let (orders, running) = Orders::launch(Arc::clone(&shared), settings).await.unwrap();
    Stage { orders, shared, census, world, _running: running, _folder: folder }
}

fn small(seats: usize) -> Settings {
    Settings { seats, verify_max: 2, open_max: 4, deliver_max: 2, ..Settings::default() }
}

fn id(n: u128) -> OrderId {
    OrderId::new(Clock::system().now(), n)
}

fn buy() -> Input {
    Input::Buy(Box::new(Purchase {
        product: "kit".to_owned(),
        tier: "one".to_owned(),
        price: Money::price(500, Currency::Xof).unwrap(),
        buyer: Buyer {
            email: Email::parse("awa@example.ci").unwrap(),
            name: None,
            phone: None,
            lang: Lang::Fr,
        },
        request: None,
    }))
}

fn notice(n: u8) -> Input {
    Input::Notify(Notice { attempt: Attempt::FIRST, digest: [n; 32] })
}

impl Stage {
    async fn until(&self, order: OrderId, holds: impl Fn(&Payment) -> bool) -> Payment {
        for _ in 0..400 {
            if let Some(payment) = self.shared.parts.ledger.load(order).unwrap()
                && holds(&payment)
            {
                return payment;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("not within ten seconds: {:?}", self.shared.parts.ledger.load(order).unwrap());
    }
    async fn delivered(&self, order: OrderId) -> Payment {
        self.until(order, |payment| payment.sale().is_some_and(|sale| sale.delivered_at.is_some())).await
    }
    /// Waits until the roster has replaced this many dead actors.
    async fn buried(&self, dead: u64) {
        while self.census.dead.load(Ordering::Relaxed) < dead {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    fn counted(&self) -> (u64, u64) {
        let census = &self.census;
        (census.sittings.load(Ordering::Relaxed), census.doubles.load(Ordering::Relaxed))
    }
    fn kinds(&self, order: OrderId) -> Vec<&'static str> {
        let lines = self.shared.parts.ledger.history(order).unwrap();
        lines.iter().flat_map(|line| line.events.iter().map(crate::domain::event::Event::kind)).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_from_purchase_to_delivery() {
    let stage = stage(World::default(), small(16)).await;
    let order = id(1);
    let receipt = stage.orders.submit(order, buy()).await.unwrap();
    assert_eq!(receipt.payment.payment_url.as_deref(), Some(format!("https://pay/{order}").as_str()));
    assert!(!stage.orders.submit(order, notice(1)).await.unwrap().duplicate);
    stage.delivered(order).await;
    assert!(stage.orders.submit(order, notice(1)).await.unwrap().duplicate);
    assert_eq!(
        stage.kinds(order),
        ["CREATED", "INITIATED", "NOTIFIED", "CHECKED", "PAID", "DELIVERED"],
        "one commit each, in this order"
    );
    assert!(stage.orders.drain(Duration::from_secs(5)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_at_once_are_one_sitting_in_order() {
    let stage = stage(World::default(), small(16)).await;
    let order = id(2);
    stage.orders.submit(order, buy()).await.unwrap();
    let notes = (0..100_u32).map(|n| {
        let orders = stage.orders.clone();
        async move { orders.submit(order, notice(u8::try_from(n % 20).unwrap())).await }
    });
    let answers = futures_util::future::join_all(notes).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(answers.iter().filter(|one| !one.as_ref().unwrap().duplicate).count(), 20);
    stage.delivered(order).await;
    let digests = stage.shared.parts.ledger.load(order).unwrap().unwrap().notices;
    let wanted: Vec<String> = (0..20_u8).map(|n| format!("{n:02x}").repeat(16)).collect();
    assert_eq!(digests, wanted, "effects in the order of the submits");
    assert_eq!(stage.counted().1, 0);
    assert_eq!(stage.world.mails.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_orders_share_few_seats_and_never_two_of_one() {
    let stage = stage(World::default(), Settings { asks_max: 20_000, ..small(4) }).await;
    let count = 400_u128;
    let sales = (0..count).map(|n| {
        let orders = stage.orders.clone();
        async move {
            let order = id(n);
            loop {
                match orders.submit(order, buy()).await {
                    // The page may have no permit: the buyer's repeat goes on with it.
                    Ok(_) => break,
                    Err(AskError::Busy) => match orders.submit(order, Input::Repeat).await {
                        Ok(_) => break,
                        Err(AskError::Busy) => tokio::time::sleep(Duration::from_millis(5)).await,
                        Err(other) => panic!("{other}"),
                    },
                    Err(AskError::Refused(Refusal::Exists)) => {
                        if orders.submit(order, Input::Repeat).await.is_ok() {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            let first = orders.submit(order, notice(1));
            let second = orders.submit(order, notice(1));
            let (first, second) = futures_util::future::join(first, second).await;
            assert!(first.unwrap().duplicate != second.unwrap().duplicate);
            // A trickle that keeps crossing the seat's word that it is quiet.
            let trickle = (2..10_u8).map(|n| {
                let orders = &orders;
                async move {
                    for _ in 0..u32::from(n) * 3 {
                        tokio::task::yield_now().await;
                    }
                    assert!(!orders.submit(order, notice(n)).await.unwrap().duplicate);
                }
            });
            futures_util::future::join_all(trickle).await;
            order
        }
    });
    let orders = futures_util::future::join_all(sales).await;
    for order in &orders {
        stage.delivered(*order).await;
    }
    let (sittings, doubles) = stage.counted();
    assert!(sittings >= u64::try_from(count).unwrap());
    assert_eq!(doubles, 0, "an order sat twice");
    assert_eq!(
        stage.world.mails.load(Ordering::Relaxed),
        u64::try_from(count).unwrap(),
        "a mail twice, or none"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_loses_the_answer_and_nothing_else_and_poison_is_benched() {
    let stage = stage(World::default(), small(16)).await;
    let (bad, good) = (id(3), id(4));
    stage.orders.submit(bad, buy()).await.unwrap();
    stage.orders.submit(good, buy()).await.unwrap();
    stage.census.poisoned.lock().unwrap().insert(bad);
    assert_eq!(stage.orders.submit(bad, notice(1)).await.unwrap_err(), AskError::Gone);
    stage.census.poisoned.lock().unwrap().remove(&bad);
    stage.buried(1).await;
    assert!(
        !stage.orders.submit(bad, notice(1)).await.unwrap().duplicate,
        "the disk's state, not the dead actor's"
    );
    stage.delivered(bad).await;

    stage.census.poisoned.lock().unwrap().insert(bad);
    // The strike of the first panic still counts.
    for dead in 2..=3 {
        assert_eq!(stage.orders.submit(bad, notice(9)).await.unwrap_err(), AskError::Gone);
        stage.buried(dead).await;
    }
    stage.census.poisoned.lock().unwrap().remove(&bad);
    assert_eq!(stage.orders.submit(bad, notice(9)).await.unwrap_err(), AskError::Gone, "on the bench");
    assert!(stage.orders.submit(good, notice(1)).await.is_ok(), "the others go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_errand_that_panics_reports_once_and_is_tried_again() {
    let stage = stage(World { panics: true, ..World::default() }, small(16)).await;
    let order = id(5);
    stage.orders.submit(order, buy()).await.unwrap();
    stage.orders.submit(order, notice(1)).await.unwrap();
    stage.delivered(order).await;
    let kinds = stage.kinds(order);
    assert_eq!(kinds.iter().filter(|kind| **kind == "CHECKED").count(), 2, "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_errand_that_hangs_is_given_up() {
    let world = World { check_time: Duration::from_secs(3600), ..World::default() };
    let stage = stage(world, Settings { errand_time: Duration::from_millis(100), ..small(16) }).await;
    let order = id(6);
    stage.orders.submit(order, buy()).await.unwrap();
    stage.orders.submit(order, notice(1)).await.unwrap();
    let payment = stage.until(order, |payment| payment.checks > 0).await;
    assert_eq!(payment.status_name(), "PENDING", "silence is not a refusal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_checks_slow_no_webhook() {
    let world = World { check_time: Duration::from_secs(5), ..World::default() };
    let stage = stage(world, small(16)).await;
    let all: Vec<OrderId> = (0..60).map(|n| id(1_000 + n)).collect();
    for order in &all {
        while stage.orders.submit(*order, buy()).await.is_err() {}
    }
    let begun = std::time::Instant::now();
    for order in &all {
        stage.orders.submit(*order, notice(1)).await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "intake waited for checks: {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_answers_everything_it_took() {
    let stage = stage(World { check_time: Duration::from_millis(100), ..World::default() }, small(16)).await;
    let all: Vec<OrderId> = (0..50).map(|n| id(2_000 + n)).collect();
    for order in &all {
        while stage.orders.submit(*order, buy()).await.is_err() {}
    }
    let tasks: Vec<_> = all
        .iter()
        .map(|order| {
            let (orders, order) = (stage.orders.clone(), *order);
            tokio::spawn(async move { (order, orders.submit(order, notice(1)).await) })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(5)).await;
    stage.orders.drain(Duration::from_secs(10)).await;
    for task in tasks {
        let (order, answer) = task.await.unwrap();
        if answer.is_ok() {
            let payment = stage.shared.parts.ledger.load(order).unwrap().unwrap();
            assert_eq!(payment.notices.len(), 1, "answered 200 and absent on disk");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_decide_what_machines_may_not() {
    let stage = stage(World::default(), small(16)).await;
    let order = id(7);
    let by = || Decision { by: "admin".to_owned(), note: "seen".to_owned() };
    stage.orders.submit(order, buy()).await.unwrap();
    let refused = stage.orders.submit(order, Input::Approve(by())).await.unwrap_err();
    assert_eq!(refused, AskError::Refused(Refusal::Status("PENDING")));
    let verified = stage.orders.submit(order, Input::Verify).await.unwrap();
    assert_eq!(verified.payment.status_name(), "PAID");
    stage.delivered(order).await;
    stage.orders.submit(order, Input::Resend(by())).await.unwrap();
    stage.until(order, |_| stage.world.mails.load(Ordering::Relaxed) == 2).await;
    let refunded = stage.orders.submit(order, Input::Refund(by())).await.unwrap();
    assert_eq!(refunded.payment.status_name(), "REFUNDED");
    let unknown = stage.orders.submit(id(8), notice(1)).await.unwrap_err();
    assert_eq!(unknown, AskError::Refused(Refusal::UnknownOrder));
}

#[test]
fn errands_hold_at_most_half_the_seats() {
    assert!(Settings::default().errands_fit());
    assert!(!Settings { verify_max: 300, ..Settings::default() }.errands_fit());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_what_is_under_way() {
    let stage = stage(World { check_time: Duration::from_millis(300), ..World::default() }, small(8)).await;
    let order = id(77);
    stage.orders.submit(order, buy()).await.unwrap();
    stage.orders.submit(order, notice(1)).await.unwrap();
    assert!(stage.orders.drain(Duration::from_secs(10)).await);
    assert_eq!(stage.kinds(order).last(), Some(&"DELIVERED"), "what had begun was finished");
}
