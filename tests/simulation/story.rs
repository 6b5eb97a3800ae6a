//! A seed's whole story: life after life, until nothing is owed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use crate::INJECTED;
use crate::knobs::Knobs;
use crate::life::{live, reopen};
use crate::world::{End, World};

/// Lives of one story at most.
const LIVES_MAX: u32 = 60;
/// Lines of a failed story that are printed, counted from its end.
const LINES_MAX: usize = 400;

thread_local! {
    /// Panics on this thread that nobody intended.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What a seed led to.
pub struct Story {
    pub seed: u64,
    pub trace: Vec<String>,
    pub counts: BTreeMap<&'static str, u64>,
    pub violations: Vec<String>,
}

impl Story {
    /// The usual story of a seed.
    pub fn of(seed: u64) -> Self {
        Self::with(seed, Knobs::of(seed), false)
    }

    /// One with knobs of its own, and on request with a first order that kills its actor until calm.
    pub fn with(seed: u64, knobs: Knobs, poisonous: bool) -> Self {
        listen_for_panics();
        PANICS.take();
        let world = World::of(seed);
        world.with(|s| {
            s.knobs = knobs;
            s.poison.first = poisonous;
        });
        if catch_unwind(AssertUnwindSafe(|| lives(&world))).is_err() {
            world.with(|s| s.violate("the story itself panicked".to_owned()));
        }
        let panics = PANICS.take();
        world.with(|s| {
            panics.into_iter().for_each(|text| s.violate(format!("a panic: {text}")));
            Story {
                seed,
                trace: std::mem::take(&mut s.trace),
                counts: std::mem::take(&mut s.counts),
                violations: std::mem::take(&mut s.violations),
            }
        })
    }

    /// Prints it: whole when it was asked for alone, else its end.
    pub fn tell(&self) {
        let all = std::env::var_os("SEED").is_some();
        let from = if all { 0 } else { self.trace.len().saturating_sub(LINES_MAX) };
        eprintln!("=== seed {} ({} lines, from line {from})", self.seed, self.trace.len());
        self.trace[from..].iter().for_each(|line| eprintln!("{line}"));
        self.violations.iter().for_each(|text| eprintln!("seed {}: {text}", self.seed));
    }
}

fn lives(world: &Arc<World>) {
    world.with(|s| {
        let knobs = format!("{:?}", s.knobs);
        s.note(knobs);
        s.open_shop();
    });
    for _ in 0..LIVES_MAX {
        let end = in_runtime(live(Arc::clone(world)));
        if !world.with(|s| s.violations.is_empty()) {
            return;
        }
        if end == End::Finished {
            return in_runtime(reopen(Arc::clone(world)));
        }
        world.with(|s| {
            s.catch_up();
            s.wreck(end);
        });
    }
    world.with(|s| s.violate("the story does not end".to_owned()));
}

/// A process: its runtime, its clock, and nothing left of either afterwards.
fn in_runtime<T>(life: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(life)
}

/// Panics that were injected are silent; others are remembered as violations.
fn listen_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let text = panic.payload_as_str().unwrap_or("no text").to_owned();
            if text.starts_with(INJECTED) {
                return;
            }
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            PANICS.with_borrow_mut(|all| all.push(format!("{place}: {text}")));
            usual(panic);
        }));
    });
}
