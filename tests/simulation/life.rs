//! One life of the daemon: from opening the ledger to a crash, a drain or the end of the story.

use std::sync::Arc;
use std::time::Duration;

use auditshield::actors::{Moment, Orders, Parts, Settings, Witness};
use auditshield::ledger::simulated::{Options, Pace};
use auditshield::ledger::{Ledger, OpenError, OpenOptions};
use auditshield::ports::Clock;
use futures_util::FutureExt;

use crate::acts::{Act, Shop};
use crate::ports::Port;
use crate::trouble::Blow;
use crate::world::{End, State, World};
use crate::{INJECTED, short};

/// Between two looks of the judge, in milliseconds.
const LOOK_MILLIS: u64 = 5_000;
/// Between two looks whether everybody has an answer, before a drain, in milliseconds.
const LAST_ANSWERS_MILLIS: u64 = 20;
/// How long a drain may take once trouble is over, in seconds.
const DRAIN_SECONDS_MAX: u64 = 120;

/// How a machine's ledger is opened: its faults end the process.
pub fn options(world: &Arc<World>) -> Options {
    let (machine, knobs) = world.with(|s| (s.machine.clone(), s.knobs.clone()));
    let span = |most: u64| {
        let world = Arc::clone(world);
        Arc::new(move || Duration::from_millis(world.with(|s| s.chance.disk.between(0, most))))
    };
    let pace =
        Pace { sync: span(knobs.sync_ms), index: span(knobs.index_ms), batch_bytes: knobs.batch_bytes };
    let dying = Arc::clone(world);
    let mut usual = OpenOptions::new("(memory)", move |_: &str| dying.die(End::Exited));
    usual.segment_bytes = knobs.segment_bytes;
    let sync = Arc::clone(&pace.sync);
    let passing = Arc::clone(world);
    let pace = Pace {
        sync: Arc::new(move || {
            passing.with(State::catch_up);
            passing.pass("dies between write and sync");
            sync()
        }),
        ..pace
    };
    Options { machine, pace, usual }
}

/// Runs the daemon until something ends it.
pub async fn live(world: Arc<World>) -> End {
    let _ = world.end.notified().now_or_never();
    world.with(State::begin);
    let end = run(&world).await;
    world.with(|s| {
        s.note(format!("ends: {end:?}"));
        s.end();
    });
    end
}

async fn run(world: &Arc<World>) -> End {
    world.with(State::rot);
    let failures = world.with(|s| s.machine.journal.failures());
    let ledger = match Ledger::open_simulated(options(world)) {
        Ok(ledger) => ledger,
        Err(why) => return world.with(|s| s.not_started(failures, &why)),
    };
    if let Some(end) = world.with(|s| s.dead) {
        return end;
    }
    world.with(|s| s.opened(&ledger));
    let settings = world.with(|s| s.knobs.settings.clone());
    let (eye, watch) = (Arc::clone(world), Arc::clone(world));
    let witness = Witness::new(move |moment| {
        assert!(!eye.with(|s| s.witness(moment)), "{INJECTED}: an order's actor");
    });
    let parts = Parts {
        ledger: ledger.clone(),
        provider: Arc::new(Port(Arc::clone(world))),
        mailer: Arc::new(Port(Arc::clone(world))),
        catalog: auditshield::ports::Current::new(auditshield::domain::catalog::Catalog::default()),
        policy: world.with(|s| s.knobs.policy),
        clock: Clock::new(move || watch.with(|s| s.clock())),
        settings: Settings { witness, ..settings },
    };
    let (orders, mut running) = Orders::start(parts).await.expect("the actors start");
    let shop = Shop { world: Arc::clone(world), orders, ledger };
    loop {
        let wait = world.with(|s| s.wait());
        tokio::select! {
            biased;
            () = world.end.notified() => return world.with(|s| s.dead).unwrap_or(End::Killed),
            () = running.ended() => {
                world.with(|s| s.violate("the roster or the alarm ended".to_owned()));
                return End::Finished;
            }
            () = tokio::time::sleep(wait) => {}
        }
        while let Some(act) = world.with(State::due) {
            if let Some(end) = step(&shop, act).await {
                return end;
            }
        }
    }
}

/// Does what is due; the end, if it is one.
async fn step(shop: &Shop, act: Act) -> Option<End> {
    let world = &shop.world;
    match act {
        Act::Trouble => match world.with(State::trouble) {
            Blow::Dies(end) => {
                world.die(end);
                return Some(end);
            }
            Blow::Drains(patience) => {
                // As the daemon does: nobody new is let in, and who is inside gets an answer first.
                while world.with(|s| s.asks_open > 0 && s.dead.is_none()) {
                    tokio::time::sleep(Duration::from_millis(LAST_ANSWERS_MILLIS)).await;
                }
                let quiet = shop.orders.drain(Duration::from_millis(patience)).await;
                world.with(|s| {
                    s.note(format!("drained: {quiet}"));
                    // Cut off by its deadline it is a crash like others: a mail just answered may not be in the journal.
                    s.mishaps += u64::from(!quiet);
                });
                shop.ledger.close().await;
                return Some(world.with(|s| s.dead).unwrap_or(End::Drained));
            }
            Blow::Goes => {}
        },
        Act::Room => world.with(|s| s.machine.journal.set_full(false)),
        Act::IndexWell => world.with(|s| s.machine.index.set_failing(false)),
        Act::Calm => world.with(State::calm_down),
        Act::Look => {
            let over = world.with(|s| {
                s.look(&shop.ledger, false);
                s.plan(LOOK_MILLIS, Act::Look);
                s.is_over()
            });
            if over {
                return Some(finish(shop).await);
            }
        }
        act => drop(tokio::spawn(shop.clone().act(act))),
    }
    None
}

/// All is done: the drain is quiet, and the store closes in order.
async fn finish(shop: &Shop) -> End {
    let world = &shop.world;
    world.with(|s| s.look(&shop.ledger, true));
    if !shop.orders.drain(Duration::from_secs(DRAIN_SECONDS_MAX)).await {
        world.with(|s| s.violate("a seat is stuck: the last drain is not quiet".to_owned()));
    }
    shop.ledger.close().await;
    End::Finished
}

/// After the end: the closed store opens without repair and gives what the journal says.
pub async fn reopen(world: Arc<World>) {
    world.with(State::begin);
    match Ledger::open_simulated(options(&world)) {
        Ok(ledger) => world.with(|s| s.opened(&ledger)),
        Err(why) => world.with(|s| s.violate(format!("the last start was refused: {why}"))),
    }
    world.with(State::end);
}

impl State {
    /// What an owner does is watched here. True: its actor panics.
    fn witness(&mut self, moment: Moment) -> bool {
        if self.dead.is_some() {
            return false;
        }
        match moment {
            Moment::Sits { order, seat } => {
                let busy = self.deciding.get(&order).is_some_and(|seats| !seats.is_empty());
                if busy {
                    self.violate(format!("{} is taken up by a second actor", short(order)));
                }
                if self.seated.insert(order, seat).is_some_and(|before| before != seat) {
                    self.count("order moved to another seat");
                }
                false
            }
            Moment::Decides { order, seat } => {
                if self.seated.get(&order) != Some(&seat) {
                    self.violate(format!("two actors decide for {}", short(order)));
                }
                let seats = self.deciding.entry(order).or_default();
                seats.insert(seat);
                if seats.len() > 1 {
                    self.violate(format!("two actors decide at once for {}", short(order)));
                }
                let Some(left) = self.poison.orders.get_mut(&order).filter(|left| **left > 0) else {
                    return false;
                };
                *left -= 1;
                self.deaths_expected += 1;
                self.mishaps += 1;
                self.count("panic in an order's actor");
                self.note(format!("panics {}", short(order)));
                true
            }
            Moment::Decided { order, seat } => {
                self.deciding.entry(order).or_default().remove(&seat);
                false
            }
            Moment::Replaced { seat, order } => {
                self.deaths += 1;
                if let Some(order) = order {
                    self.deciding.entry(order).or_default().remove(&seat);
                }
                false
            }
            Moment::Benched { order } => {
                self.count("order benched");
                self.note(format!("benched {}", short(order)));
                false
            }
        }
    }

    /// A disk that fails keeps the daemon from starting, and the supervisor tries again; nothing else may.
    fn not_started(&mut self, failures: u64, why: &OpenError) -> End {
        let (journal, index) = (&self.machine.journal, &self.machine.index);
        if journal.failures() == failures && !journal.is_failing() && !index.is_failing() {
            self.violate(format!("the start was refused: {why}"));
            return End::Finished;
        }
        journal.heal();
        index.set_failing(false);
        self.count("no start on a failing disk");
        self.note(format!("not started: {why}"));
        self.index_hurt = true;
        End::Killed
    }

    /// How long until the next act.
    fn wait(&self) -> Duration {
        let next = self.queue.keys().next().map_or(LOOK_MILLIS, |(at, _)| at.saturating_sub(self.now()));
        Duration::from_millis(next)
    }

    /// The next act whose time has come.
    fn due(&mut self) -> Option<Act> {
        let now = self.now();
        let entry = self.queue.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// A ledger was opened: what was acknowledged is there, reads agree, and the index was kept if it could be.
    fn opened(&mut self, ledger: &Ledger) {
        self.recovered = true;
        self.catch_up_again();
        let rebuilds = self.machine.index.times_set_aside();
        if rebuilds > self.rebuilds_seen && !self.index_hurt {
            self.violate("the index was made anew without need".to_owned());
        }
        self.rebuilds_seen = rebuilds;
        self.index_hurt = false;
        self.look(ledger, true);
    }
}
