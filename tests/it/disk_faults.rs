//! The whole program on a disk that fails: strace makes the n-th system call on its files fail, for every n until a
//! sale has none left to fail. `tests/disk/run` runs it; alone it needs `AUDITSHIELD_DISK=short` or `long`. What must
//! hold of every run, whatever failed: no answer that was given is lost, nothing panics, an end is a non-zero exit with
//! a sentence that names what failed, and a start on the healthy disk finishes what was sold.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;

use crate::process_support::World;

/// A run that neither completes nor ends within this time hangs.
const RUN_MAX: Duration = Duration::from_secs(20);
/// How long a sale may wait for its mail while the disk is failing; it may also never come before the restart.
const SALE_MAX: Duration = Duration::from_secs(4);
/// The n-th calls tried in the short form.
const SHORT_MAX: u32 = 6;
/// No sale needs so many calls of one kind on these files.
const CALLS_MAX: u32 = 200;

/// One kind of failure.
struct Fault {
    /// System calls, as strace names them.
    calls: &'static str,
    /// The files, relative to the store.
    files: &'static [&'static str],
    error: &'static str,
    /// `+`: this call and every later one; else only this one.
    then: &'static str,
    /// Tried in the short form too.
    short: bool,
    /// What the store holds.
    before: Before,
    /// How the run ends in which the n-th call fails.
    ends: fn(u32) -> Ending,
}

/// What the store holds when the disk begins to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// It was never used.
    Nothing,
    /// An order, by a daemon that was killed.
    Killed,
    /// The same, and the machine restarted: the index is set aside.
    Restarted,
    /// The same, killed in the middle of a write: half a line is cut off.
    Torn,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    /// Sold and delivered as if nothing had happened.
    Unharmed,
    /// Stayed up; what could not be committed was answered 503.
    Refused,
    /// Did not start, and said why.
    NotStarted,
    /// Stopped acknowledging and exited non-zero.
    Exited,
}
use Before::{Killed, Nothing, Restarted, Torn};
use Ending::{Exited, NotStarted, Refused, Unharmed};

const JOURNAL: &[&str] = &["journal", "journal/00000000000000000001.jsonl"];
const KEYS: &[&str] = &["journal/orders.keys"];
const SLED: &[&str] = &["index/db"];
const INDEX: &[&str] = &["index", "index/db", "index/conf", "index.state"];

const fn fault(
    calls: &'static str,
    files: &'static [&'static str],
    error: &'static str,
    ends: fn(u32) -> Ending,
) -> Fault {
    Fault { calls, files, error, ends, then: "", short: true, before: Nothing }
}

impl Fault {
    /// Every later call fails too.
    const fn and_all_later(mut self) -> Self {
        self.then = "+";
        self
    }

    /// Not part of the short form.
    const fn long(mut self) -> Self {
        self.short = false;
        self
    }

    const fn after(mut self, before: Before) -> Self {
        self.before = before;
        self
    }

    /// What the system says of the error.
    fn words(&self) -> &'static str {
        match self.error {
            "ENOSPC" => "No space left on device",
            "EACCES" => "Permission denied",
            "EMFILE" => "Too many open files",
            _ => "Input/output error",
        }
    }

    fn name(&self) -> String {
        format!("{} {}{} {} {:?}", self.calls, self.error, self.then, self.files[0], self.before)
    }
}

/// Lines of one sale, each a write and a sync of its own: CREATED, INITIATED, NOTIFIED, PAID, DELIVERED.
const SALE_LINES: u32 = 5;
/// The last line of two sales that somebody waits for: the second NOTIFIED.
const LAST_ANSWERED: u32 = 2 * SALE_LINES - 2;

/// One write fails. The buyer's and CinetPay's own lines are refused, what the daemon owes itself is done again.
fn one_write(n: u32) -> Ending {
    if matches!((n - 1) % SALE_LINES, 0 | 2) { Refused } else { Unharmed }
}

/// Every write fails from one on: as long as somebody still waits for a line, they are refused.
fn no_more_writes(n: u32) -> Ending {
    if n <= LAST_ANSWERED { Refused } else { Unharmed }
}

/// Of a new store: the folder is opened to sync the new key file, to ask for a history, and by the recovery. The writer's
/// second call syncs a segment's name: fatal.
fn open_new_journal(n: u32) -> Ending {
    if n == 2 { Exited } else { NotStarted }
}

/// Two calls ask whether there is a history. All others are the recovery's, and the writer's first.
fn open_old_journal(n: u32) -> Ending {
    if n <= 2 { Unharmed } else { NotStarted }
}

/// Two looks at `index.state`; then it is written. Everything after that sled can do without.
fn open_index(n: u32) -> Ending {
    if n == 3 { NotStarted } else { Unharmed }
}

/// The note that the index is open must be durable before it is. Later syncs are made up for by a rebuild.
fn sync_index(n: u32) -> Ending {
    if n == 1 { NotStarted } else { Unharmed }
}

/// The note's text and its line end, first that the index is open, and then that it was closed in order.
fn note_index(n: u32) -> Ending {
    if n <= 2 { NotStarted } else { Unharmed }
}

/// strace counts the calls of each thread by itself: in a run, the n-th call of every thread fails.
const FAULTS: &[Fault] = &[
    // Nothing may be assumed after a failed sync: the process ends. A failed write is cut off, and the commit refused.
    fault("fdatasync", JOURNAL, "EIO", |_| Exited),
    fault("fdatasync", JOURNAL, "ENOSPC", |_| Exited).and_all_later().long(),
    // The first sync of the folder is the key file's, which a start makes.
    fault("fsync", JOURNAL, "EIO", |_| NotStarted),
    fault("fdatasync", KEYS, "EIO", |n| if n == 1 { NotStarted } else { Exited }),
    fault("pwrite64", JOURNAL, "ENOSPC", one_write),
    fault("pwrite64", JOURNAL, "ENOSPC", no_more_writes).and_all_later(),
    fault("pwrite64", JOURNAL, "EIO", one_write).long(),
    fault("pwrite64", JOURNAL, "EIO", no_more_writes).and_all_later().long(),
    fault("openat", JOURNAL, "EIO", open_new_journal),
    fault("openat", JOURNAL, "EMFILE", open_new_journal).long(),
    fault("openat", JOURNAL, "EACCES", |_| NotStarted).and_all_later(),
    fault("openat", JOURNAL, "EIO", open_old_journal).long().after(Killed),
    fault("ftruncate", JOURNAL, "EIO", |_| NotStarted).after(Torn),
    // The index is derived: what it cannot take stays in the journal and in memory.
    fault("pwrite64", INDEX, "ENOSPC", |_| Unharmed).and_all_later(),
    fault("pwrite64", INDEX, "ENOSPC", |_| Unharmed).and_all_later().long().after(Killed),
    fault("pwrite64", INDEX, "EIO", |_| Unharmed).long(),
    fault("fdatasync,fsync,sync_file_range", INDEX, "EIO", sync_index).and_all_later(),
    // sled's own last sync, when it is let go of: it panics there, in a thread of its own.
    fault("fsync", SLED, "EIO", |_| Unharmed),
    fault("openat", INDEX, "EIO", open_index).long(),
    fault("openat", INDEX, "EIO", open_index).long().after(Killed),
    fault("write", INDEX, "ENOSPC", note_index),
    fault("rename,renameat,renameat2", INDEX, "EIO", |_| NotStarted).after(Restarted),
];

pub(crate) fn strace() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("strace")).find(|file| file.exists())
}

#[tokio::test]
async fn the_nth_system_call_fails() {
    let Some(long) = std::env::var_os("AUDITSHIELD_DISK").map(|form| form == "long") else {
        println!("NOT RUN: failing system calls. tests/disk/run runs them.");
        return;
    };
    let strace = strace().expect("strace: tests/disk/run installs it");
    let mut runs = 0;
    // One row again: "pwrite64 ENOSPC+ index Nothing".
    let only = std::env::var("AUDITSHIELD_DISK_ONLY").ok();
    let wanted = |fault: &&Fault| match &only {
        Some(only) => *only == fault.name(),
        None => long || fault.short,
    };
    for fault in FAULTS.iter().filter(wanted) {
        let mut ended: BTreeMap<Ending, u32> = BTreeMap::new();
        let (mut tried, mut wrong) = (0, Vec::new());
        let complete = loop {
            if tried >= if long { CALLS_MAX } else { SHORT_MAX } {
                break false;
            }
            let Some(ending) = run(&strace, fault, tried + 1).await else { break true };
            tried += 1;
            *ended.entry(ending).or_default() += 1;
            if ending != (fault.ends)(tried) {
                wrong.push(format!("{tried}: {ending:?} instead of {:?}", (fault.ends)(tried)));
            }
        };
        let name = fault.name();
        println!("{name}: {tried} runs{}, {ended:?}", if complete { ", every n" } else { ", short form" });
        assert!(complete || !long, "{name}: a sale never ran out of calls");
        assert!(tried > 0, "{name}: never called");
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
        runs += tried;
    }
    println!("{runs} runs with a failing system call");
}

/// One run with the n-th call failing. None if there was no n-th call.
async fn run(strace: &std::path::Path, fault: &Fault, n: u32) -> Option<Ending> {
    // Nobody polls and nobody repeats: what was answered 200 must be enough.
    let mut world =
        World::new(&[("AUDITSHIELD_VERIFY__FIRST_POLL", "1h"), ("AUDITSHIELD_LOG", "info")]).await;
    world.cinetpay.patch(&json!({"notify": {"enabled": false}})).unwrap();
    let (store, log) = (world.path("store"), world.path("strace"));
    prepare(&mut world, fault.before).await;
    let mut wrapper: Vec<String> = [strace.to_str().unwrap(), "-D", "-f", "-qq", "-o", log.to_str().unwrap()]
        .map(str::to_owned)
        .to_vec();
    for file in fault.files {
        wrapper.extend(["-P".to_owned(), store.join(file).to_str().unwrap().to_owned()]);
    }
    let inject = format!("inject={}:error={}:when={n}{}", fault.calls, fault.error, fault.then);
    wrapper.extend(["-e".to_owned(), format!("trace={}", fault.calls), "-e".to_owned(), inject]);
    world.wrapper = wrapper;
    let context =
        |world: &World| format!("{} {} {n}{}\n{}", fault.calls, fault.error, fault.then, world.said());

    let sold = sale(&mut world).await;
    let ending = match sold.ended {
        Some(0) => panic!("ended as if all were well: {}", context(&world)),
        Some(_) if !sold.started => NotStarted,
        Some(_) => Exited,
        None if sold.refused => Refused,
        None => Unharmed,
    };
    if world.is_up() {
        world.term();
        assert!(world.ends().await, "it does not end: {}\n{}", world.threads(), context(&world));
    }
    world.forget();
    let injected = std::fs::read_to_string(&log).unwrap_or_default().contains("INJECTED");
    if !injected {
        assert!(
            sold.started && !sold.refused && sold.ended.is_none(),
            "without a fault: {}",
            context(&world)
        );
        return None;
    }
    let said = world.said();
    assert!(!said.contains("panicked: "), "{}", context(&world));
    if ending == NotStarted {
        // Which file, and what the system said of it.
        let words = [store.to_str().unwrap(), fault.words(), "then try again"];
        assert!(words.iter().all(|word| said.contains(word)), "not all of {words:?}: {}", context(&world));
    }
    // The healthy disk again.
    world.wrapper.clear();
    world.start().await;
    for order in &sold.taken {
        world.order(order).await;
    }
    for order in &sold.told {
        world.until(order, "DELIVERED").await;
    }
    world.ends_well(&store).await;
    Some(ending)
}

/// Brings the store into the state before.
async fn prepare(world: &mut World, before: Before) {
    if before == Nothing {
        return;
    }
    world.start().await;
    world.buy().await;
    world.kill();
    let store = world.path("store");
    let state = store.join("index.state");
    let segment = store.join(JOURNAL[1]);
    match before {
        Nothing | Killed => {}
        Restarted => std::fs::write(state, "another-boot open\n").unwrap(),
        Torn => {
            let whole = std::fs::read(&segment).unwrap();
            std::fs::write(&segment, [&whole[..], &whole[..40]].concat()).unwrap();
        }
    }
}

/// What a run was answered.
#[derive(Default)]
struct Sold {
    started: bool,
    refused: bool,
    /// The exit code, where it ended by itself.
    ended: Option<i32>,
    /// Orders answered 201.
    taken: Vec<String>,
    /// Orders whose notification was answered 200.
    told: Vec<String>,
}

/// Starts, sells twice, stops looking as soon as the process is gone.
async fn sale(world: &mut World) -> Sold {
    let mut sold = Sold::default();
    world.spawn();
    let begun = Instant::now();
    while !world.is_ready().await {
        if let Some(code) = world.ended_with() {
            return Sold { ended: Some(code), ..sold };
        }
        if begun.elapsed() > RUN_MAX {
            // Up, and honest about not being ready.
            (sold.started, sold.refused) = (true, true);
            return sold;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sold.started = true;
    for _ in 0..2 {
        match world.try_buy("awa@example.ci").await {
            Ok(order) => {
                sold.taken.push(order.clone());
                world.cinetpay.approve(&order).unwrap();
                match world.try_notify(&order).await {
                    Some(StatusCode::OK) => {
                        sold.told.push(order.clone());
                        delivered(world, &order).await;
                    }
                    Some(StatusCode::SERVICE_UNAVAILABLE) => sold.refused = true,
                    Some(other) => panic!("{other}: {}", world.said()),
                    None => {}
                }
            }
            Err(Some(status)) => {
                assert!(status.is_server_error(), "{status}: {}", world.said());
                sold.refused = true;
            }
            Err(None) => {}
        }
        sold.ended = ended_soon(world).await;
        if sold.ended.is_some() {
            return sold;
        }
    }
    sold
}

/// The exit code, if the daemon is about to end: it answers before it goes, and takes a moment to do so.
async fn ended_soon(world: &mut World) -> Option<i32> {
    for _ in 0..10 {
        if let Some(code) = world.ended_with() {
            return Some(code);
        }
        if world.is_ready().await {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.ended_with()
}

/// Waits a while until the delivery is recorded, so that each of the sale's commits is a write of its own. It may also
/// have to wait for the restart. Why not the admin's view: it reads the journal, whose calls are counted here.
async fn delivered(world: &mut World, order: &str) {
    let begun = Instant::now();
    let address = format!("{}/payment/status/{order}/", world.shop);
    while begun.elapsed() < SALE_MAX && world.is_up() {
        if let Ok(answer) = world.client.get(&address).send().await
            && let Ok(shown) = answer.json::<serde_json::Value>().await
            && shown["delivered"] == true
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
