//! The crash matrix as data: where the process dies, and what must be found afterwards.

use std::ops::RangeInclusive;

/// What goes on when the point is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum During {
    /// A buyer buys.
    Purchase,
    /// CinetPay's notification of the payment comes, and what follows from it.
    Payment,
    /// SIGTERM comes while a payment is being checked.
    Drain,
    /// A delivered order is erased.
    Erasure,
    /// A store with one delivered order is opened.
    Start(Prepared),
}

/// What happened to the store before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prepared {
    /// kill -9.
    Killed,
    /// kill -9, and the machine restarted: the index is made anew.
    Restarted,
    /// kill -9 in the middle of a write: half a line at the end.
    Torn,
}

/// What a panic at the point does to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Panic {
    /// It ends: a thread of the ledger, or the program's own flow.
    Ends,
    /// It goes on: an actor, a request, a start that tries again.
    Survives,
}

/// One row.
pub(super) struct Case {
    /// The row of the table in docs/reliability.md.
    pub(super) row: u8,
    /// The point, and the how manieth time it is reached, or how long after it the blow falls.
    pub(super) point: &'static str,
    pub(super) during: During,
    pub(super) panic: Panic,
    /// Whole lines that the journal holds after SIGKILL. The sale's: CREATED, INITIATED, NOTIFIED, PAID, DELIVERED.
    pub(super) killed: RangeInclusive<usize>,
    /// The same after a power cut.
    pub(super) cut: RangeInclusive<usize>,
    /// No 200 was sent, and nobody repeats it: polling is what finds the payment.
    pub(super) polls: bool,
    /// Copies of the mail.
    pub(super) mails: usize,
}

const fn case(
    row: u8,
    point: &'static str,
    during: During,
    panic: Panic,
    killed: RangeInclusive<usize>,
) -> Case {
    let cut = *killed.start()..=*killed.end();
    Case { row, point, during, panic, killed, cut, polls: false, mails: 1 }
}

impl Case {
    /// What was only appended is in the page cache, and may go with the power.
    const fn unsynced(mut self, least: usize) -> Self {
        self.cut = least..=*self.cut.end();
        self
    }

    const fn polled(mut self) -> Self {
        self.polls = true;
        self
    }

    const fn mailed_twice(mut self) -> Self {
        self.mails = 2;
        self
    }
}

use During::{Drain, Erasure, Payment, Purchase, Start};
use Panic::{Ends, Survives};
use Prepared::{Killed, Restarted, Torn};

/// Every row. A point may stand in several: reached at another time, or at another stage of the program.
/// Those of row 16 that stand in `ledger backup` are in `backup.rs`: there it is a tool that dies, not the daemon.
pub(super) const CASES: &[Case] = &[
    case(1, "created.before_commit", Purchase, Survives, 0..=0),
    case(2, "journal.appended_before_sync", Purchase, Ends, 1..=1).unsynced(0),
    case(2, "keys.written_before_sync", Purchase, Ends, 0..=0),
    case(2, "keys.synced_before_append", Purchase, Ends, 0..=0),
    case(3, "created.before_init", Purchase, Survives, 1..=1),
    case(4, "init.sent_before_answer", Purchase, Survives, 1..=1),
    case(5, "init.answered_before_commit", Purchase, Survives, 1..=1),
    case(6, "callback.before_append", Payment, Survives, 2..=2).polled(),
    case(7, "journal.appended_before_sync@3", Payment, Ends, 3..=3).unsynced(2).polled(),
    case(8, "callback.before_answer", Payment, Survives, 3..=3),
    case(9, "check.sent_before_answer", Payment, Survives, 3..=3),
    case(10, "check.answered_before_commit", Payment, Survives, 3..=3),
    case(11, "journal.half_written@4", Payment, Ends, 3..=3),
    case(12, "paid.before_mail", Payment, Survives, 4..=4),
    case(13, "mail.dot_before_answer", Payment, Survives, 4..=4).mailed_twice(),
    case(14, "mail.accepted_before_commit", Payment, Survives, 4..=4).mailed_twice(),
    case(15, "index.opening", Start(Killed), Survives, 5..=5),
    case(15, "index.opening~1", Start(Killed), Survives, 5..=5),
    case(15, "index.opening~3", Start(Restarted), Survives, 5..=5),
    case(15, "index.opened", Start(Killed), Survives, 5..=5),
    case(16, "journal.segment_before_sync", Purchase, Ends, 0..=0),
    case(16, "journal.segment_before_sync@2", Purchase, Ends, 1..=1),
    case(16, "journal.segment_before_sync@4", Payment, Ends, 3..=3),
    case(16, "index.flushed_before_sync", Drain, Ends, 3..=5),
    case(16, "index.set_aside", Start(Restarted), Ends, 5..=5),
    case(16, "index.replaying", Start(Restarted), Survives, 5..=5),
    case(16, "journal.cut_before_settle", Start(Torn), Survives, 5..=5),
    case(17, "drain.begun", Drain, Ends, 3..=5),
    case(17, "drain.before_close", Drain, Ends, 3..=5),
    case(18, "keys.erased_before_destroyed", Erasure, Ends, 6..=6),
    case(18, "keys.destroyed_before_sync", Erasure, Ends, 6..=6),
];

/// A watchdog's SIGABRT is a crash like any other.
pub(super) const WATCHDOG: &[Case] = &[
    case(17, "callback.before_answer", Payment, Survives, 3..=3),
    case(17, "journal.appended_before_sync@3", Payment, Ends, 3..=3).polled(),
    case(17, "paid.before_mail", Payment, Survives, 4..=4),
];
