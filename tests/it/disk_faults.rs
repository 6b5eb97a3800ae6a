//! The whole program on a disk that fails: strace makes the n-th system call on its files fail, for every n until a
//! sale has none left to fail. `tests/disk/run` runs it; alone it needs `AUDITSHIELD_DISK=short` or `long`.
//!
//! What must hold of every run, whatever failed: no answer that was given is lost, nothing panics, an end is a
//! non-zero exit with a sentence that names what failed, and a start on the healthy disk finishes what was sold.

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
    /// How a run may end while it fails.
    ends: &'static [Ending],
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
use Ending::{Exited, NotStarted, Refused, Unharmed};

const JOURNAL: &[&str] = &["journal", "journal/00000000000000000001.jsonl"];
const INDEX: &[&str] = &["index", "index/db", "index/conf", "index.state"];
const ANY: &[Ending] = &[Unharmed, Refused, NotStarted, Exited];

const fn fault(
    calls: &'static str,
    files: &'static [&'static str],
    error: &'static str,
    then: &'static str,
    short: bool,
    ends: &'static [Ending],
) -> Fault {
    Fault { calls, files, error, then, short, ends }
}

const FAULTS: &[Fault] = &[
    // A failed sync: nothing may be assumed, so the process ends. In the start it is refused.
    fault("fdatasync", JOURNAL, "EIO", "", true, &[NotStarted, Exited]),
    fault("fdatasync", JOURNAL, "ENOSPC", "+", false, &[NotStarted, Exited]),
    fault("fsync", JOURNAL, "EIO", "", true, &[NotStarted, Exited]),
    // A failed write is cut off again, and the commit refused.
    fault("pwrite64", JOURNAL, "ENOSPC", "", true, &[Refused, Unharmed]),
    fault("pwrite64", JOURNAL, "ENOSPC", "+", true, &[Refused]),
    fault("pwrite64", JOURNAL, "EIO", "", false, &[Refused, Unharmed]),
    fault("pwrite64", JOURNAL, "EIO", "+", false, &[Refused]),
    fault("openat", JOURNAL, "EIO", "", true, &[NotStarted, Refused, Unharmed]),
    fault("openat", JOURNAL, "EACCES", "+", true, &[NotStarted, Refused, Unharmed]),
    fault("openat", JOURNAL, "EMFILE", "", false, &[NotStarted, Refused, Unharmed]),
    // The index is derived: it never keeps a sale from being recorded, and a start without one is refused at worst.
    fault("pwrite64", INDEX, "ENOSPC", "+", true, ANY),
    fault("pwrite64", INDEX, "EIO", "", false, ANY),
    fault("fdatasync,fsync,sync_file_range", INDEX, "EIO", "+", true, ANY),
    fault("openat", INDEX, "EIO", "", false, ANY),
    fault("write", INDEX, "ENOSPC", "", true, &[NotStarted, Unharmed]),
    fault("ftruncate", INDEX, "EIO", "", false, ANY),
    fault("rename,renameat,renameat2", INDEX, "EIO", "", false, ANY),
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
    // One row again: "pwrite64 ENOSPC+ index".
    let only = std::env::var("AUDITSHIELD_DISK_ONLY").ok();
    let wanted = |fault: &&Fault| match &only {
        Some(only) => *only == format!("{} {}{} {}", fault.calls, fault.error, fault.then, fault.files[0]),
        None => long || fault.short,
    };
    for fault in FAULTS.iter().filter(wanted) {
        let mut ended: BTreeMap<Ending, u32> = BTreeMap::new();
        let mut tried = 0;
        let complete = loop {
            if tried >= if long { CALLS_MAX } else { SHORT_MAX } {
                break false;
            }
            match run(&strace, fault, tried + 1).await {
                Some(ending) => *ended.entry(ending).or_default() += 1,
                None => break true,
            }
            tried += 1;
        };
        assert!(complete || !long, "{} {}: a sale never ran out of calls", fault.calls, fault.error);
        assert!(tried > 0, "{} on {:?} was never called", fault.calls, fault.files);
        println!(
            "{} {}{} on {}: {tried} runs{}, {ended:?}",
            fault.calls,
            fault.error,
            if fault.then.is_empty() { "" } else { " from the n-th on" },
            fault.files[0],
            if complete { ", every n" } else { ", short form" },
        );
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
        world.forget();
    } else {
        world.forget();
    }
    let injected = std::fs::read_to_string(&log).unwrap_or_default().contains("INJECTED");
    if !injected {
        assert!(
            sold.started && !sold.refused && sold.ended.is_none(),
            "without a fault: {}",
            context(&world)
        );
        return None;
    }
    assert!(fault.ends.contains(&ending), "{ending:?}: {}", context(&world));
    let said = world.said();
    assert!(!said.contains("panicked at"), "{}", context(&world));
    if ending == NotStarted {
        let named = said.contains(store.to_str().unwrap()) || said.contains("index");
        assert!(named, "names no file: {}", context(&world));
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
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{}", context(&world));
    world.verify_journal(&store).await;
    Some(ending)
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

/// Waits a while for the mail: it may also have to wait for the restart.
async fn delivered(world: &mut World, order: &str) {
    let begun = Instant::now();
    while begun.elapsed() < SALE_MAX && world.is_up() {
        if world
            .mailbox
            .messages()
            .iter()
            .any(|mail| mail.read().text.is_some_and(|text| text.contains(order)))
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
