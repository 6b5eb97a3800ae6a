//! Deterministic simulation: the real actors, domain and ledger on a paused clock, one seed one story.
//!
//! `cargo test --test simulation` runs 1 000 seeds; `SEEDS=1000000 cargo test --release --test simulation` runs more and
//! tells how far it is; `SEED=7 cargo test --test simulation` tells one story line by line.

#![allow(unreachable_pub, reason = "shared by the modules of this binary")]
#![allow(clippy::print_stderr, reason = "a test says what it found")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should panic")]

mod acts;
mod books;
mod chance;
mod cinetpay;
mod knobs;
mod laws;
mod life;
mod oracle;
mod ports;
mod post;
mod story;
mod trouble;
mod wishes;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use auditshield::domain::values::OrderId;
use story::Story;

/// What an intended panic says.
pub const INJECTED: &str = "injected";
/// Seeds of a usual run.
const SEEDS: u64 = 1_000;
/// Threads, one runtime each.
const THREADS: u64 = 2;
/// A run tells how far it is every so many seeds.
const PROGRESS_SEEDS: u64 = 10_000;
/// Failing seeds that are told in full.
const FAILURES_MAX: usize = 3;
/// Seeds that once found something, each with what it found.
const REGRESSIONS: &str = include_str!("regressions.txt");
/// What must have happened in a usual run, and how often at least: the generator cannot silently go blank.
const FLOORS: &str = include_str!("floors.txt");

/// The last characters of an order's number: enough to follow it through a story.
pub fn short(order: OrderId) -> String {
    order.to_string().split_off(20)
}

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn fail(failed: &[Story]) -> ! {
    for story in failed.iter().take(FAILURES_MAX) {
        story.tell();
    }
    let seeds: Vec<u64> = failed.iter().map(|story| story.seed).collect();
    panic!(
        "{} seeds broke a law: {seeds:?}; SEED=<n> cargo test --test simulation tells one again",
        seeds.len()
    );
}

#[test]
fn seeds() {
    if let Some(seed) = asked("SEED") {
        let story = Story::of(seed);
        story.tell();
        assert!(story.violations.is_empty(), "seed {seed} breaks a law");
        return;
    }
    let count = asked("SEEDS").unwrap_or(SEEDS);
    let first = asked("FIRST_SEED").unwrap_or(0);
    let (next, began) = (AtomicU64::new(first), Instant::now());
    let totals = Mutex::new((BTreeMap::<&'static str, u64>::new(), Vec::<Story>::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || totals.lock().unwrap().1.len() >= FAILURES_MAX {
                        return;
                    }
                    let story = Story::of(seed);
                    let mut totals = totals.lock().unwrap();
                    for (kind, times) in &story.counts {
                        *totals.0.entry(kind).or_default() += times;
                    }
                    if !story.violations.is_empty() {
                        totals.1.push(story);
                    }
                    let done = seed - first + 1;
                    if done.is_multiple_of(PROGRESS_SEEDS) {
                        let speed = done as f64 / began.elapsed().as_secs_f64();
                        eprintln!("{done} of {count} seeds, {speed:.0} a second");
                    }
                }
            });
        }
    });
    let (counts, failed) = totals.into_inner().unwrap();
    if asked("SEEDS").is_some() || std::env::var_os("COUNTS").is_some() {
        let seconds = began.elapsed().as_secs_f64();
        eprintln!("{count} seeds in {seconds:.1} s; what happened in them:");
        counts.iter().for_each(|(kind, times)| eprintln!("{times:>10} {kind}"));
    }
    if !failed.is_empty() {
        fail(&failed);
    }
    if count >= SEEDS {
        check_floors(&counts);
    }
}

fn check_floors(counts: &BTreeMap<&'static str, u64>) {
    let mut missing = Vec::new();
    for line in FLOORS.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let (floor, kind) = line.trim().split_once(' ').expect("a number and a kind");
        let (floor, kind): (u64, &str) = (floor.parse().expect("a number"), kind.trim());
        let times = counts.get(kind).copied().unwrap_or(0);
        if times < floor {
            missing.push(format!("{kind}: {times} times, wanted {floor}"));
        }
    }
    assert!(missing.is_empty(), "the stories have become blank:\n  {}", missing.join("\n  "));
}

#[test]
fn seeds_that_once_found_something() {
    for line in REGRESSIONS.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let (seed, found) = line.trim().split_once(' ').expect("a seed and what it found");
        let story = Story::of(seed.parse().expect("a seed"));
        if !story.violations.is_empty() {
            eprintln!("seed {seed} found before: {found}");
            fail(&[story]);
        }
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let mut lines = 0;
    for seed in 0..25 {
        let (once, again) = (Story::of(seed), Story::of(seed));
        let differs = once.trace.iter().zip(&again.trace).position(|(a, b)| a != b);
        if let Some(line) = differs {
            let from = line.saturating_sub(5);
            let until = |story: &Story| story.trace[from..=line].join("\n");
            panic!("seed {seed} differs at line {line}:\n{}\n--- and ---\n{}", until(&once), until(&again));
        }
        assert_eq!(once.trace.len(), again.trace.len(), "seed {seed}");
        lines += once.trace.len();
    }
    assert!(lines > 2_000, "the stories tell nothing: {lines} lines");
}
