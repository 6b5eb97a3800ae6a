//! Blows at random moments under a storm of purchases, duplicated notifications, downloads and acts of the admin:
//! what was answered is kept, and nothing happens twice.
//!
//! Polling is an hour away, and CinetPay's own tries are not repeated: only durability can save an order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use auditshield::simulator::mailbox::{Fault, Step};
use serde_json::{Value, json};

use crate::disk::{self, Disk};
use crate::process_support::{ADMIN_TOKEN, Dice, PATIENCE, World, times};
use crate::street::Street;
use crate::told::{DOWNLOADS_MAX, Letter, is_settled, violations};

/// Blows that fall on one store and one simulator, which remembers a bounded number of payments.
const BLOWS_MAX: usize = 200;
/// Buyers at work at one time.
const BUYERS: usize = 6;
/// A blow falls at most this long after the one before, and the start, in milliseconds.
const LULL_MILLIS_MAX: u64 = 350;
/// How long nothing at all may come to rest once the daemon is left alone. How much is left is the machine's affair: a
/// slow one that is struck every half second gets little done meanwhile.
const REST: Duration = Duration::from_secs(60);
/// How long the people of a storm may take to go home: their questions have shorter time-outs.
const HOME_MAX: Duration = Duration::from_secs(60);
/// How long the daemon is stopped and then let go on.
/// Not a multiple of how long people wait for an answer: who began to wait when it began would give up just when it ends.
const HELD: Duration = Duration::from_secs(34);
/// One blow of so many is a SIGTERM, whose drain must end with exit code 0.
const TERM_EVERY: usize = 10;

/// What strikes.
enum Blow {
    /// kill -9, and now and then SIGTERM. `held`: one SIGSTOP for half a minute too.
    Kill { held: bool },
    /// The power under the store fails, then the process dies.
    Cut(Disk),
}

/// What is counted, and how two counts become one.
macro_rules! sums {
    ($($count:ident),+) => {
        /// What a storm was.
        #[derive(Default)]
        struct Sums {
            $($count: usize,)+
            violations: Vec<String>,
        }

        impl Sums {
            fn add(&mut self, other: Sums) {
                $(self.$count += other.$count;)+
                self.violations.extend(other.violations);
            }
        }
    };
}

sums!(
    kills, drains, holds, cuts, orders, bought, notified, downloads, acts, mails, resent, repeated, late,
    dark
);

impl Sums {
    fn print(&self, name: &str) {
        println!(
            "crash: {name}: {} kills, {} drains, {} stops of 34 s, {} power cuts; {} orders, of them {} answered 201, \
             {} notifications answered 200; {} downloads started, {} acts of the admin; {} mails, of them {} sent again \
             by the admin and {} by a blow; {} late answers; {} violations",
            self.kills,
            self.drains,
            self.holds,
            self.cuts,
            self.orders,
            self.bought,
            self.notified,
            self.downloads,
            self.acts,
            self.mails,
            self.resent,
            self.repeated,
            self.late,
            self.violations.len(),
        );
    }
}

/// A number from the environment: the long form's.
fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect(name))
}

async fn world(store: Option<&Disk>) -> World {
    let downloads = DOWNLOADS_MAX.to_string();
    let mut settings = vec![
        ("AUDITSHIELD_VERIFY__FIRST_POLL", "1h"),
        ("AUDITSHIELD_LOG", "warn"),
        ("AUDITSHIELD_CINETPAY__PER_SECOND", "1000"),
        ("AUDITSHIELD_DOWNLOAD__MAX_DOWNLOADS", downloads.as_str()),
        ("AUDITSHIELD_LIMITS__DOWNLOAD_PER_MINUTE", "0"),
    ];
    let url = store.map(|disk| format!("sled:{}", disk.path().join("store").display()));
    settings.extend(url.iter().map(|url| ("AUDITSHIELD_STORE__URL", url.as_str())));
    let world = World::new(&settings).await;
    let genuine = json!({
        "auto_approve_ms": 15,
        "check_latency_ms": 15,
        "notify": {"copies": 3, "retries": 0, "ping": false, "timeout_ms": 5000},
    });
    world.cinetpay.patch(&genuine).unwrap();
    // The mail server takes its time after the final dot: a blow often falls between its yes and ours.
    world.mailbox.set_fault(Some(Fault { code: None, latency_ms: 5, ..Fault::reply(Step::Dot, 0) }));
    world
}

/// `count` blows on one store; then the verdict.
async fn storm(blow: Blow, count: usize, dice: &mut Dice) -> Sums {
    let mut world = world(if let Blow::Cut(disk) = &blow { Some(disk) } else { None }).await;
    world.start().await;
    let street = Street::of(&world, dice);
    let people = street.open(BUYERS);
    let mut sums = Sums::default();
    let mut audited = 0;
    for round in 0..count {
        // Every fourth blow falls somewhere in the start itself.
        if round % 4 != 3 {
            world.ready().await;
            if matches!(blow, Blow::Cut(_)) {
                audited = look_back(&world, &street, audited).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(dice.below(LULL_MILLIS_MAX))).await;
        strike(&blow, &mut world, round, &street, &mut sums).await;
        world.spawn();
    }
    world.ready().await;
    street.close();
    for (name, person) in people {
        let home = tokio::time::timeout(HOME_MAX, person).await;
        home.unwrap_or_else(|_| panic!("{name} hangs although every question has a time-out")).unwrap();
    }
    judge(world, &street, sums).await
}

async fn strike(blow: &Blow, world: &mut World, round: usize, street: &Street, sums: &mut Sums) {
    match blow {
        Blow::Cut(disk) => {
            let switch = disk.arm();
            let (before, mails) = (heard(world), newest(world));
            street.dark.store(true, Ordering::Relaxed);
            switch.cut();
            world.kill();
            disk.restore().await;
            {
                let mut told = street.told.lock();
                told.notified_dark.extend(heard(world).difference(&before).cloned());
                told.mailed_dark.extend(mails + 1..=newest(world));
            }
            street.dark.store(false, Ordering::Relaxed);
            // A loop device alone may vanish and come back; with the next blow the machine restarts as well.
            if round.is_multiple_of(2) {
                disk::note_restart(&disk.path().join("store"));
            }
            sums.cuts += 1;
        }
        Blow::Kill { held: true } if round == 1 => {
            street.held.store(true, Ordering::Relaxed);
            world.signal("-STOP");
            tokio::time::sleep(HELD).await;
            world.signal("-CONT");
            world.ready().await;
            street.held.store(false, Ordering::Relaxed);
            world.kill();
            (sums.holds, sums.kills) = (sums.holds + 1, sums.kills + 1);
        }
        Blow::Kill { .. } if round % TERM_EVERY == 4 => {
            // Before it is ready it does not listen for signals yet, and simply dies of one.
            world.ready().await;
            world.term();
            let end = world.end().await;
            if end.code() != Some(0) {
                street.told.break_(format!("a drain ended with {end}: {}", world.said()));
            }
            sums.drains += 1;
        }
        Blow::Kill { .. } => {
            world.kill();
            sums.kills += 1;
        }
    }
}

/// Transactions of which CinetPay's own notification was answered 200.
fn heard(world: &World) -> BTreeSet<String> {
    let paid = world.cinetpay.transactions().into_iter().filter(|payment| payment.counts.notify_ok > 0);
    paid.map(|payment| payment.order.transaction_id).collect()
}

/// The number of the mailbox's newest mail.
fn newest(world: &World) -> u64 {
    world.mailbox.messages().last().map_or(0, |mail| mail.number)
}

/// After every cut: the orders answered 201 since the last look are there, with their notifications.
async fn look_back(world: &World, street: &Street, from: usize) -> usize {
    let (recent, notified) = {
        let told = street.told.lock();
        (told.recent.clone(), told.notified.clone())
    };
    for order in recent.iter().skip(from) {
        let (status, body) = world.get(&format!("{}/api/orders/{order}", world.admin)).await;
        let known: Value = serde_json::from_str(&body).unwrap_or_default();
        if status != 200 {
            street.told.break_(format!("{order}: answered 201, and {status} after a power cut"));
        } else if notified.get(order).map_or(0, BTreeSet::len) > times(&known, "NOTIFIED") {
            street
                .told
                .break_(format!("{order}: a NOTIFIED that was answered 200 is gone after a power cut"));
        }
    }
    recent.len()
}

/// Lets everything come to rest, and compares what was answered with what there is.
async fn judge(mut world: World, street: &Street, mut sums: Sums) -> Sums {
    world.mailbox.set_fault(None);
    for transaction in heard(&world) {
        let mut told = street.told.lock();
        if !told.notified_dark.contains(&transaction) {
            told.notified.entry(transaction[..26].to_owned()).or_default().insert(transaction);
        }
    }
    let promised = street.told.lock().notified.clone();
    let restless = |orders: &BTreeMap<String, Value>| {
        // What was not promised may still be under way too: it must come to rest as well before mails are counted.
        let paid = |one: &Value| times(one, "PAID") > 0;
        let owed = |one: &Value| one["status"] == "PAID" && one["delivery"]["status"] == "owed";
        let wanted = |(id, one): &(&String, &Value)| promised.contains_key(*id) || paid(one);
        orders.iter().filter(wanted).filter(|(_, one)| !is_settled(one) || owed(one)).count()
    };
    let mut orders = listed(&world).await;
    let (mut left, mut moved) = (restless(&orders), Instant::now());
    while left > 0 && moved.elapsed() < REST {
        tokio::time::sleep(Duration::from_millis(200)).await;
        orders = listed(&world).await;
        let now = restless(&orders);
        if now < left {
            (left, moved) = (now, Instant::now());
        }
    }
    street.collect().await;
    let mails = street.mails.lock().unwrap().clone();
    let answers = std::mem::take(&mut *street.told.lock());
    sums.violations = violations(&answers, &orders, &mails);
    sums.orders = orders.len();
    sums.bought = answers.bought.len();
    sums.notified = answers.notified.values().map(BTreeSet::len).sum();
    sums.downloads = usize::try_from(answers.started.values().sum::<u64>()).unwrap();
    sums.acts = answers.refunded.len() + answers.revoked.len() + answers.resent.values().sum::<usize>();
    sums.mails = mails.len();
    sums.resent = orders.values().map(|one| times(one, "RESENT")).sum();
    sums.repeated = repeated(&mails).saturating_sub(sums.resent);
    sums.late = answers.late;
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());
    let store = world.settings["AUDITSHIELD_STORE__URL"].trim_start_matches("sled:").to_owned();
    world.verify_journal(std::path::Path::new(&store)).await;
    sums
}

/// Mails beyond the first of each order.
fn repeated(mails: &[Letter]) -> usize {
    let names: BTreeSet<&str> = mails.iter().map(|letter| letter.id.as_str()).collect();
    mails.len() - names.len()
}

/// Every order that the daemon knows.
async fn listed(world: &World) -> BTreeMap<String, Value> {
    let mut orders = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let url = format!("{}/api/orders{cursor}", world.admin);
        let asked = world.client.get(url).bearer_auth(ADMIN_TOKEN).timeout(PATIENCE).send().await.unwrap();
        let page: Value = asked.json().await.unwrap();
        for one in page["orders"].as_array().expect("orders") {
            orders.insert(one["order_id"].as_str().unwrap().to_owned(), one.clone());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("?cursor={next}"),
            None => return orders,
        }
    }
}

/// Storm after storm until so many blows have fallen.
async fn storms(name: &str, count: usize, mut blow: impl FnMut(usize) -> Result<Blow, String>) {
    let mut dice = Dice::new();
    let mut sums = Sums::default();
    let mut done = 0;
    while done < count {
        let blows = BLOWS_MAX.min(count - done);
        match blow(done) {
            Ok(blow) => sums.add(storm(blow, blows, &mut dice).await),
            Err(why) => return disk::not_run(name, &why),
        }
        done += blows;
        sums.print(&format!("{name}, so far"));
        assert!(sums.violations.is_empty(), "{:#?}", sums.violations);
    }
    sums.print(name);
    assert!(sums.bought > count && sums.notified > count && sums.downloads > 0, "no storm");
    assert_eq!(sums.late, 0, "a daemon that was alive did not answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_nothing_and_double_nothing() {
    let held = number("AUDITSHIELD_HOLDS", 0) > 0;
    let count = number("AUDITSHIELD_KILLS", 20);
    storms("kill storm", count, |done| Ok(Blow::Kill { held: held && done == 0 })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_on_ext4_lose_nothing_and_double_nothing() {
    cuts(disk::KINDS[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_on_xfs_lose_nothing_and_double_nothing() {
    cuts(disk::KINDS[1]).await;
}

async fn cuts(kind: &'static str) {
    let count = number("AUDITSHIELD_CUTS", 4);
    storms(kind, count, |_| Disk::new(kind).map(Blow::Cut)).await;
}
