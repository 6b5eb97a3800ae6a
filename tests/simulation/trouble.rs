//! Bad luck: what goes wrong, when, and what a machine is like afterwards.

use std::io::ErrorKind;

use auditshield::ledger::simulated::Fault;

use crate::acts::Act;
use crate::books::Books;
use crate::knobs::usize_of;
use crate::world::{End, State};

/// Where an ambush can wait.
const AMBUSHES: &[&str] = &[
    "dies between write and sync",
    "dies after a page was opened",
    "dies after a check was answered",
    "dies after a mail was taken",
    "dies after a purchase was answered",
    "dies after a notification was answered",
];
/// Time that trouble and buyers leave for what is owed, on top of the horizon, in milliseconds.
const GRACE_MILLIS: u64 = 3_600_000;
const DAY_MILLIS: i64 = 86_400_000;
const TEN_MINUTES_MILLIS: i64 = 600_000;

/// What a stroke of bad luck does to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// It goes on.
    Goes,
    Dies(End),
    /// It is asked to drain within so many milliseconds.
    Drains(u64),
}

impl State {
    /// Plans everything that does not follow from something else.
    pub fn open_shop(&mut self) {
        let chaos = self.knobs.chaos_ms;
        for n in 0..self.knobs.buyers {
            let at = self.chance.buyers.between(0, chaos * 3 / 4);
            let at = if self.chance.buyers.one_in(3) { at / 5_000 * 5_000 } else { at };
            let purchase = self.purchase(n);
            self.plan(at, Act::Buy(purchase, 4));
        }
        for (times, act) in [
            (self.knobs.buyers, Act::Replay),
            (self.knobs.buyers / 2 + 1, Act::Admin),
            (self.knobs.buyers, Act::Download),
            (3, Act::Impostor),
        ] {
            for _ in 0..times {
                let at = self.chance.buyers.between(0, chaos);
                self.plan(at, act.clone());
            }
        }
        if self.chance.cinetpay.one_in(2) {
            for _ in 0..3 {
                let at = self.chance.cinetpay.between(chaos / 4, chaos);
                self.plan(at, Act::Burst);
            }
        }
        let blows = self.chance.trouble.between(0, 10);
        for _ in 0..blows {
            let at = self.chance.trouble.between(0, chaos);
            self.plan(at, Act::Trouble);
        }
        self.plan(chaos, Act::Calm);
        self.plan(1, Act::Look);
    }

    /// One stroke of bad luck, of a kind that this seed knows.
    pub fn trouble(&mut self) -> Blow {
        if self.calm {
            return Blow::Goes;
        }
        let on = [
            (self.knobs.crashes, 0),
            (self.knobs.crashes, 1),
            (self.knobs.crashes, 2),
            (self.knobs.crashes, 3),
            (self.knobs.disk, 4),
            (self.knobs.disk, 5),
            (self.knobs.network, 6),
            (self.knobs.panics, 7),
            (self.knobs.panics, 8),
            (self.knobs.clock, 9),
        ];
        let on: Vec<u32> = on.into_iter().filter(|(on, _)| *on).map(|(_, kind)| kind).collect();
        if on.is_empty() {
            return Blow::Goes;
        }
        match self.chance.trouble.pick(&on) {
            0 => return Blow::Dies(End::Killed),
            1 => return Blow::Dies(End::PowerCut),
            2 => return Blow::Drains(self.chance.trouble.pick(&[0, 1_000, 20_000])),
            3 => self.ambush = Some(self.chance.trouble.pick(AMBUSHES)),
            4 => self.fill_disk(),
            5 => self.break_disk(),
            6 => self.cut_network(),
            7 => self.poison_ports(),
            8 => self.poison_order(),
            _ => self.step_clock(),
        }
        Blow::Goes
    }

    fn fill_disk(&mut self) {
        let last = self.chance.trouble.skewed(1, 60_000);
        if self.chance.trouble.one_in(3) {
            self.machine.index.set_failing(true);
            self.plan(last, Act::IndexWell);
            self.count("index unwritable");
        } else {
            self.machine.journal.set_full(true);
            self.plan(last, Act::Room);
            self.count("disk full");
        }
        self.note("disk full".to_owned());
    }

    fn break_disk(&mut self) {
        let c = &mut self.chance.trouble;
        let kind = c.pick(&[ErrorKind::StorageFull, ErrorKind::Other]);
        let stored = usize_of(c.below(900));
        let (fault, name) = match c.below(4) {
            0 => (Fault::Sync(ErrorKind::Other), "failing sync"),
            1 => {
                self.machine.journal.inject(Fault::Truncate(ErrorKind::Other));
                (Fault::Write { stored, kind }, "write that cannot be cut off")
            }
            _ => (Fault::Write { stored, kind }, "failing write"),
        };
        self.machine.journal.inject(fault);
        self.count(name);
        self.note(format!("disk: {fault:?}"));
    }

    fn cut_network(&mut self) {
        let until = self.now() + self.chance.trouble.skewed(1_000, 300_000);
        let whose = if self.chance.trouble.one_in(2) {
            self.outage.cinetpay_until = until;
            "outage of CinetPay"
        } else {
            self.outage.mail_until = until;
            "outage of the mail server"
        };
        self.count(whose);
        self.note(format!("{whose} until {until}"));
    }

    fn poison_ports(&mut self) {
        let times = u32::try_from(self.chance.trouble.between(1, 3)).unwrap();
        if self.chance.trouble.one_in(2) {
            self.poison.cinetpay = times;
        } else {
            self.poison.mail = times;
        }
    }

    fn poison_order(&mut self) {
        let all: Vec<_> = self.sold.keys().copied().collect();
        if !all.is_empty() {
            let order = self.chance.trouble.pick(&all);
            let times = u32::try_from(self.chance.trouble.between(1, 5)).unwrap();
            self.poison.orders.insert(order, times);
        }
    }

    fn step_clock(&mut self) {
        let step = self.chance.trouble.pick(&[-TEN_MINUTES_MILLIS, DAY_MILLIS, -DAY_MILLIS]);
        self.skew += step;
        self.skew_max = self.skew_max.max(self.skew);
        self.count(match step {
            DAY_MILLIS => "clock a day ahead",
            TEN_MINUTES_MILLIS.. => "clock ahead",
            _ => "clock back",
        });
        self.note(format!("clock {step}"));
    }

    /// From now on nothing goes wrong any more, and the clock is right, or as far ahead as it ever was.
    /// Whether the hour has a mail left: of a minute's thirds one has none.
    pub fn may_mail(&mut self) -> bool {
        let left = !self.knobs.mail_cap || self.calm || !(self.now() / 20_000).is_multiple_of(3);
        match left {
            true => self.mails_reserved += 1,
            false => self.count("mail held by the hour's limit"),
        }
        left
    }

    /// A mail leaves: one of the hour's must have been taken for it.
    pub fn mail_leaves(&mut self) {
        match self.mails_reserved.checked_sub(1) {
            Some(left) => self.mails_reserved = left,
            None => self.violate("a mail left that the hour had no room for".to_owned()),
        }
    }

    pub fn calm_down(&mut self) {
        self.calm = true;
        self.calm_at = self.now();
        (self.poison.cinetpay, self.poison.mail) = (0, 0);
        self.poison.orders.clear();
        self.machine.journal.heal();
        self.machine.index.set_failing(false);
        self.outage.cinetpay_until = 0;
        self.outage.mail_until = 0;
        self.ambush = None;
        self.skew = self.skew_max;
        self.note("calm".to_owned());
    }

    /// Whether nothing is owed any more; what still is after its time is a violation.
    pub fn is_over(&mut self) -> bool {
        if !self.violations.is_empty() {
            return true;
        }
        if !self.calm || self.queue.values().any(|act| !matches!(act, Act::Look | Act::Trouble)) {
            return false;
        }
        let owed = self.owed();
        let horizon = u64::try_from(self.knobs.policy.horizon.as_millis()).unwrap();
        let unsure = self.sold.values().any(|sold| sold.unsure > 0) && self.now() < self.calm_at + 60_000;
        if owed.is_empty() && self.asks_open == 0 && !unsure && !self.reminds_soon() {
            return true;
        }
        let late = self.now() > self.calm_at + 2 * horizon + GRACE_MILLIS;
        if late {
            owed.into_iter().for_each(|text| self.violate(format!("never: {text}")));
        }
        late
    }

    /// What is left of the machine after a life, and how long it stays off.
    pub fn wreck(&mut self, end: End) {
        let cut = match end {
            End::PowerCut => true,
            End::Exited => self.chance.disk.one_in(2),
            End::Killed | End::Drained | End::Finished => false,
        };
        let (machine, c) = (self.machine.clone(), &mut self.chance.disk);
        if end == End::Exited {
            // Errors of the device end with the process.
            machine.journal.heal();
        }
        if cut {
            self.recovered = false;
            let keep = c.pick(&[0, 1, 2, 3]);
            machine.journal.power_cut(&mut || c.below(3) < keep);
            machine.index.reboot();
            self.index_hurt = true;
        }
        if end != End::Drained {
            match c.below(8) {
                0 => machine.index.empty(),
                1 => {
                    machine.index.break_file();
                    self.index_hurt = true;
                }
                2..=4 => machine.index.set_back(usize_of(c.below(6))),
                5 => machine.index.set_back(usize::MAX),
                _ => {}
            }
        }
        let name = match (end, cut) {
            (End::Killed, _) => "killed",
            (End::PowerCut, _) => "power cut",
            (End::Exited, _) => "exited after a failed sync",
            (End::Drained, _) => "drained",
            (End::Finished, _) => "finished",
        };
        self.count(name);
        let off = self.chance.trouble.pick(&[0, 10, 3_000, 90_000]);
        self.pause(off);
    }

    /// On a copy of the machine a bit of an acknowledged line flips: the start must be refused, or leave the damage
    /// where `ledger verify` finds it; never cut it off.
    pub fn rot(&mut self) {
        let lines = self.books.lines();
        if lines < 3 || !self.chance.disk.one_in(6) {
            return;
        }
        let fork = self.machine.fork();
        let segments = fork.journal.segments();
        let first = self.chance.disk.pick(&segments);
        let mut bytes = fork.journal.bytes(first);
        let is_last = segments.last() == Some(&first);
        let known = self.books.known_bytes(first);
        let end = if is_last { last_batch_start(&bytes[..known]) } else { known };
        if end == 0 {
            return;
        }
        let at = usize_of(self.chance.disk.below(end as u64));
        bytes[at] ^= 1 << self.chance.disk.below(8);
        fork.journal.put(first, bytes);
        let world = crate::world::World::of(0);
        world.with(|s| s.machine = fork.clone());
        let opened = auditshield::ledger::Ledger::open_simulated(crate::life::options(&world)).is_ok();
        self.count("rotten bit");
        let found = Books::default().catch_up(&fork.journal).is_err();
        if opened && !found {
            self.violate(format!("segment {first}, byte {at}: a rotten line was cut off"));
        }
        if !opened && !found {
            self.violate(format!("segment {first}, byte {at}: refused, and the journal was changed"));
        }
    }
}

/// Where the last batch of durable lines begins.
///
/// What may stand behind them, half a line or the zeros of a probe whose cut failed, tells no later batch. A rotten bit
/// in the last acknowledged batch would then be a second fault that looks just like a torn batch: not promised.
fn last_batch_start(bytes: &[u8]) -> usize {
    let mut start = 0;
    let mut latest = String::new();
    let mut offset = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let batch = text.split("\"batch\":").nth(1).and_then(|rest| rest.split(',').next());
        let batch = batch.unwrap_or_default().to_owned();
        if batch != latest {
            (start, latest) = (offset, batch);
        }
        offset += line.len();
    }
    start
}
