//! The crash matrix: one scripted sale per case, the process dies at a named point, starts again, and the sale must
//! end as if nothing had been.

mod backup;
mod cases;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use auditshield::simulator::mailbox::{Fault, Step};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use self::cases::{CASES, Case, During, Panic, Prepared, WATCHDOG};
use crate::disk::{self, Disk};
use crate::process_support::{ADMIN_TOKEN, EMAIL, PATIENCE, World, times};

/// Journal segments of this many bytes hold one line.
const SMALL_SEGMENT_BYTES: &str = "100";
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The sale of a prepared store: CREATED, INITIATED, NOTIFIED, PAID, DELIVERED.
const KEY: &str = "the-buyer-s-only-key";

/// How the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Kill,
    Abort,
    Panic,
    Cut(&'static str),
}

impl How {
    fn action(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Abort => "abort",
            Self::Panic => "panic",
            Self::Cut(_) => "stop",
        }
    }
}

/// One case under way.
struct Stage<'a> {
    case: &'a Case,
    how: How,
    world: World,
    disk: Option<Disk>,
}

async fn play(case: &Case, how: How) -> Result<(), String> {
    let disk = if let How::Cut(kind) = how { Some(Disk::new(kind)?) } else { None };
    let poll = if case.polls { "1s" } else { "1h" };
    let mut settings = vec![("AUDITSHIELD_VERIFY__FIRST_POLL", poll), ("AUDITSHIELD_LOG", "warn")];
    let url = disk.as_ref().map(|disk| format!("sled:{}", disk.path().join("store").display()));
    settings.extend(url.iter().map(|url| ("AUDITSHIELD_STORE__URL", url.as_str())));
    let mut world = World::new(&settings).await;
    if case.point.starts_with("journal.segment") {
        world.settings.insert("AUDITSHIELD_CRASH_SEGMENT_BYTES".to_owned(), SMALL_SEGMENT_BYTES.to_owned());
    }
    world.cinetpay.patch(&json!({"notify": {"retries": 0, "ping": false}})).unwrap();
    let mut stage = Stage { case, how, world, disk };
    match case.during {
        During::Purchase => stage.purchase().await,
        During::Payment => stage.payment().await,
        During::Drain => stage.drain().await,
        During::Erasure => {
            stage.erasure().await;
            stage.erased().await;
            return Ok(());
        }
        During::Start(prepared) => stage.start(prepared).await,
    }
    stage.conclude().await;
    Ok(())
}

impl Stage<'_> {
    fn named(&self) -> String {
        format!("row {} {} {:?}", self.case.row, self.case.point, self.how)
    }

    fn store(&self) -> PathBuf {
        PathBuf::from(self.world.settings["AUDITSHIELD_STORE__URL"].trim_start_matches("sled:"))
    }

    /// Tells the next daemon where to die.
    fn arm(&mut self) {
        let point = self.case.point;
        let at = point.find(['@', '~']).unwrap_or(point.len());
        let text = format!("{}={}{}", &point[..at], self.how.action(), &point[at..]);
        self.world.settings.insert("AUDITSHIELD_CRASH".to_owned(), text);
    }

    /// Waits for the blow, looks at what is durable, and starts the daemon again if it ended.
    async fn crash(&mut self) {
        self.world.settings.remove("AUDITSHIELD_CRASH");
        let survives = self.how == How::Panic && self.case.panic == Panic::Survives;
        match self.how {
            How::Panic if survives => self.until(|stage| stage.world.said().contains("crash point")).await,
            How::Panic => {
                let end = self.world.end().await;
                assert!(matches!(end.code(), Some(1 | 101)), "{}: {end}", self.named());
            }
            How::Kill | How::Abort => {
                let end = self.world.end().await;
                let signal = if self.how == How::Kill { 9 } else { 6 };
                assert_eq!(end.signal(), Some(signal), "{}: {}", self.named(), self.world.said());
            }
            How::Cut(_) => self.cut().await,
        }
        let said = self.world.said();
        assert!(said.contains("crash point"), "{}: the point was not reached: {said}", self.named());
        if survives {
            return;
        }
        let allowed = if let How::Cut(_) = self.how { &self.case.cut } else { &self.case.killed };
        let held = whole_lines(&self.store());
        assert!(allowed.contains(&held), "{}: {held} lines are durable, not {allowed:?}", self.named());
        self.world.start().await;
    }

    async fn cut(&mut self) {
        let pid = self.world.pid();
        self.until(|_| is_stopped(pid)).await;
        let disk = self.disk.as_ref().expect("a disk");
        disk.arm().cut();
        self.world.kill();
        disk.restore().await;
        disk::note_restart(&self.store());
    }

    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < PATIENCE, "{}: no blow fell: {}", self.named(), self.world.said());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Rows 1 to 5: the buyer's request dies with the daemon; the buyer tries again.
    async fn purchase(&mut self) {
        self.arm();
        self.world.start().await;
        let (client, shop) = (self.world.client.clone(), self.world.shop.clone());
        let asked = tokio::spawn(async move { buy(&client, &shop).await });
        self.crash().await;
        // No answer, or 201 of a panic that the order got over.
        let _ = asked.await.unwrap();
    }

    /// Rows 6 to 14: CinetPay tells of the payment once, and not again.
    async fn payment(&mut self) {
        // The 200 is out long before the check is answered, and the dot long before the 250.
        self.world.cinetpay.patch(&json!({"check_latency_ms": 300})).unwrap();
        if self.case.point == "mail.dot_before_answer" {
            let slow = Fault { code: None, latency_ms: 1_500, ..Fault::reply(Step::Dot, 0) };
            self.world.mailbox.set_fault(Some(Fault { times: Some(1), ..slow }));
        }
        self.arm();
        self.world.start().await;
        self.bought().await;
        self.pay();
        self.crash().await;
        let told = self.transaction().counts.notify_ok;
        let before = ["callback.before_append", "callback.before_answer", "journal.appended_before_sync@3"];
        let silent = before.contains(&self.case.point);
        assert_eq!(told, u64::from(!silent), "{}: the notification's answer", self.named());
    }

    /// Row 17: SIGTERM while the check of a payment is under way.
    async fn drain(&mut self) {
        self.world.cinetpay.patch(&json!({"check_latency_ms": 300})).unwrap();
        self.arm();
        self.world.start().await;
        self.bought().await;
        self.pay();
        self.until(|stage| stage.transaction().counts.notify_ok == 1).await;
        self.world.term();
        self.crash().await;
    }

    /// Row 18: the erasure of a delivered order.
    async fn erasure(&mut self) {
        self.arm();
        self.world.start().await;
        let order = self.bought().await;
        self.pay();
        self.world.until(&order, "DELIVERED").await;
        let url = format!("{}/api/privacy/erase", self.world.admin);
        let wish = json!({"email": EMAIL, "confirm": EMAIL});
        let request = self.world.client.post(url).bearer_auth(ADMIN_TOKEN).json(&wish);
        let asked = tokio::spawn(request.send());
        self.crash().await;
        // Nobody was told that it was done: the process died before, or said so.
        let done = asked.await.unwrap().is_ok_and(|answer| answer.status().is_success());
        assert!(!done, "{}: answered", self.named());
    }

    /// It is durable, so it is completed: the key is destroyed by the next start, and the journal is sound.
    async fn erased(mut self) {
        self.world.ready().await;
        let name = self.named();
        let (_, listed) = self.world.get(&format!("{}/api/orders", self.world.admin)).await;
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let order = &listed["orders"][0];
        assert_eq!(
            (&order["status"], &order["email"]),
            (&json!("PAID"), &json!("effacé")),
            "{name}: {order:#}"
        );
        assert_eq!(times(order, "ERASED"), 1, "{name}: {order:#}");
        let keys = std::fs::read(self.store().join("journal/orders.keys")).unwrap();
        assert_eq!((keys.len(), keys[64 + 48], &keys[64 + 16..64 + 48]), (128, b'E', &[0; 32][..]), "{name}");
        self.world.term();
        assert_eq!(self.world.end().await.code(), Some(0), "{name}: {}", self.world.said());
        self.world.verify_journal(&self.store()).await;
    }

    /// Rows 15 and 16: a start that is interrupted, and repeated.
    async fn start(&mut self, prepared: Prepared) {
        self.world.start().await;
        let order = self.bought().await;
        self.pay();
        self.world.until(&order, "DELIVERED").await;
        self.world.kill();
        match prepared {
            Prepared::Killed => {}
            Prepared::Restarted => disk::note_restart(&self.store()),
            Prepared::Torn => tear(&self.store()),
        }
        self.arm();
        self.world.spawn();
        self.crash().await;
    }

    /// Buys until it is answered 201.
    async fn bought(&self) -> String {
        let begun = Instant::now();
        loop {
            if let Some(order) = buy(&self.world.client, &self.world.shop).await {
                return order;
            }
            assert!(begun.elapsed() < PATIENCE, "{}: no purchase: {}", self.named(), self.world.said());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The payment that the buyer was sent to: the newest.
    fn transaction(&self) -> auditshield::simulator::Transaction {
        self.world.cinetpay.transactions().pop().expect("a payment page")
    }

    fn pay(&self) {
        self.world.cinetpay.approve(&self.transaction().order.transaction_id).unwrap();
    }

    /// The sale goes to its end, and is one sale: one order, one PAID, one link, one mail or the same again.
    async fn conclude(mut self) {
        self.world.ready().await;
        let order = self.bought().await;
        if self.case.during == During::Purchase {
            self.pay();
        }
        self.world.until(&order, "DELIVERED").await;
        let name = self.named();
        // CinetPay says it once more: nothing new but, at most, that it was said.
        assert!(self.world.cinetpay.notify(&self.transaction().order.transaction_id));
        let told = self.transaction().counts.notify;
        self.until(|stage| stage.transaction().counts.notify > told).await;
        let whole = self.world.until(&order, "NOTIFIED").await;
        for kind in ["CREATED", "INITIATED", "NOTIFIED", "PAID", "DELIVERED"] {
            assert_eq!(times(&whole, kind), 1, "{name}: {kind}: {whole:#}");
        }
        assert_eq!(whole["status"], "PAID", "{name}");
        self.attempts(&whole);
        let (_, listed) = self.world.get(&format!("{}/api/orders", self.world.admin)).await;
        let listed: Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(listed["orders"].as_array().map(Vec::len), Some(1), "{name}: {listed:#}");
        let mails = self.world.mailbox.messages();
        assert_eq!(mails.len(), self.case.mails, "{name}: mails");
        assert!(mails.iter().all(|mail| mail.raw == mails[0].raw && mail.to == mails[0].to), "{name}");
        download(&self.world, &mails[0].read().text.unwrap()).await;
        assert_eq!(times(&self.world.order(&order).await, "DOWNLOADED"), 1, "{name}");
        self.world.term();
        assert_eq!(self.world.end().await.code(), Some(0), "{name}: {}", self.world.said());
        self.world.verify_journal(&self.store()).await;
    }

    /// What was durable before CinetPay's answer was read is asked about first, and opened under another number.
    fn attempts(&self, order: &Value) {
        if self.case.during != During::Purchase || self.how == How::Panic {
            return;
        }
        let events = order["events"].as_array().unwrap();
        let opened = events.iter().find(|event| event["kind"] == "INITIATED").unwrap();
        let wanted: &[u64] = match (self.case.row, self.case.killed.start()) {
            (2, _) => &[1, 2],
            (_, 0) => &[1],
            _ => &[2],
        };
        let attempt = opened["detail"]["attempt"].as_u64().unwrap_or_default();
        assert!(wanted.contains(&attempt), "{}: attempt {attempt}: {order:#}", self.named());
    }
}

/// Whether a process stands still (SIGSTOP).
fn is_stopped(pid: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

async fn buy(client: &Client, shop: &str) -> Option<String> {
    let request = client.post(format!("{shop}/buy/audit-kit/standard/")).header("idempotency-key", KEY);
    let request = request.header("accept", "application/json").json(&json!({"email": EMAIL}));
    let answer = request.send().await.ok().filter(|answer| answer.status() == StatusCode::CREATED)?;
    let body: Value = answer.json().await.ok()?;
    body["order_id"].as_str().map(str::to_owned)
}

async fn download(world: &World, mail: &str) {
    let start = mail.find(&format!("{}/download/", world.shop)).expect("a link");
    let link = mail[start..].split_whitespace().next().unwrap();
    let pressed = world.client.post(link).send().await.unwrap();
    let place = pressed.headers()["location"].to_str().unwrap();
    let place = reqwest::Url::parse(link).unwrap().join(place).unwrap();
    let file = world.client.get(place).send().await.unwrap().text().await.unwrap();
    assert_eq!(file, "The kit itself.\n");
}

fn segments(store: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(store.join("journal")).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "jsonl"));
    files.sort();
    files
}

/// Lines with an end that are JSON: what a start can count on.
fn whole_lines(store: &Path) -> usize {
    let texts = segments(store).into_iter().map(|file| std::fs::read(file).unwrap());
    let whole = |bytes: Vec<u8>| {
        let lines = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec);
        lines.filter(|line| line.ends_with(b"\n") && serde_json::from_slice::<Value>(line).is_ok()).count()
    };
    texts.map(whole).sum()
}

/// Half a line behind the last.
fn tear(store: &Path) {
    let last = segments(store).pop().expect("a segment");
    let mut bytes = std::fs::read(&last).unwrap();
    let line = bytes.split_inclusive(|byte| *byte == b'\n').next_back().unwrap().to_vec();
    bytes.extend_from_slice(&line[..line.len() / 2]);
    std::fs::write(last, bytes).unwrap();
}

/// All of these cases, one after the other.
async fn column(how: How, cases: &[Case]) {
    let mut blows = 0;
    for case in cases {
        // A panic falls in the thread that reaches the point, never beside it.
        if how == How::Panic && case.point.contains('~') {
            continue;
        }
        let begun = Instant::now();
        if let Err(why) = play(case, how).await {
            return disk::not_run(how.action(), &why);
        }
        println!("row {:2} {} {how:?}: {:.1} s", case.row, case.point, begun.elapsed().as_secs_f64());
        blows += 1;
    }
    println!("crash: matrix, {how:?}: {blows} cases, as many recoveries, 0 violations");
}

#[tokio::test]
async fn kill_at_every_point() {
    column(How::Kill, CASES).await;
    column(How::Abort, WATCHDOG).await;
}

#[tokio::test]
async fn panic_at_every_point() {
    column(How::Panic, CASES).await;
}

#[tokio::test]
async fn power_cut_on_ext4_at_every_point() {
    column(How::Cut(disk::KINDS[0]), CASES).await;
}

#[tokio::test]
async fn power_cut_on_xfs_at_every_point() {
    column(How::Cut(disk::KINDS[1]), CASES).await;
}
