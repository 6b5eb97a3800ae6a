//! The ledger: the journal, which is the truth, and the index derived from it. The only place that names sled. With the
//! feature `postgres`, also a database that several daemons share.
//!
//! Invariant: `commit` returns Ok only after its line was fdatasync'ed (or committed by the database), and from then on
//! every read sees it.
//! Invariant: what the index holds is what folding the journal gives; whenever in doubt it is rebuilt.
//! Why an enum and not a trait: the stores are ours, few and known.

mod backup;
pub mod check;
pub mod cluster;
mod embedded;
mod erasure;
mod error;
mod export;
mod health;
mod index;
pub mod journal;
mod lock;
#[cfg(feature = "postgres")]
pub mod migrate;
mod open;
#[cfg(feature = "postgres")]
mod postgres;
mod query;
mod record;
pub mod seal;
mod shared;
pub mod simulated;
mod standing;
#[cfg(test)]
mod tests;
mod vault;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::calendar::Period;
use crate::domain::event::Event;
use crate::domain::evidence::Entry;
use crate::domain::payment::{FoldError, Payment};
use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::{Email, OrderId, Timestamp};

pub use backup::{BackupError, Copied, backup, restore, restore_with};
pub use check::{LostKeys, Report, rebuild, rebuild_with, verify};
pub use error::OpenError;
pub use export::{Exported, export};
pub use health::{Counts, Health, room};
pub use index::IndexError;
pub use journal::{JournalError, OnFatal};
pub use query::{PAGE_ORDERS_MAX, Page, Query, Sales};
pub use record::Line;
pub use seal::Lost;
pub use shared::{Ahead, Lease};
pub use standing::Standing;

/// The thread in which the index's store is let go of. It may panic there, at sled's own last sync: expected, handled.
pub const LETTING_GO: &str = "index-close";

/// How to open a ledger.
#[derive(Clone)]
pub struct OpenOptions {
    /// The store's folder; made if it is missing.
    pub folder: PathBuf,
    /// Called once, from a thread of the ledger, when the process must exit with a failure and replay.
    pub on_fatal: OnFatal,
    /// A journal segment is closed once it holds this many bytes ([`journal::SEGMENT_BYTES_MAX`]).
    pub segment_bytes: u64,
}

impl OpenOptions {
    /// The usual options for a folder.
    pub fn new(folder: impl Into<PathBuf>, on_fatal: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let segment_bytes = failpoint_bound!("SEGMENT_BYTES", journal::SEGMENT_BYTES_MAX);
        OpenOptions { folder: folder.into(), on_fatal: Arc::new(on_fatal), segment_bytes }
    }
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
    /// A stored line is not what it should be.
    #[error("unreadable line: {0}")]
    Line(String),
    /// An order's key is missing.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The database did not answer, or refused.
    #[error("the database: {0}")]
    Database(String),
}

/// Why a commit failed. Except for `Unknown` it certainly did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// No room on the disk, or too much is waiting: the caller may try again later.
    #[error("no room: nothing was written")]
    NoRoom,
    /// The write failed and was undone.
    #[error("the journal could not be written: {0}")]
    Io(String),
    /// The events cannot follow that state.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The commit does not continue the stored version, or another commit of this order is on its way.
    #[error("the order has moved on")]
    Conflict,
    /// The lease that it was to be committed under was over, and another node has the order's errand.
    #[error("another node has taken over")]
    Fenced,
    /// The commit is larger than a journal line may be.
    #[error("the commit is too large")]
    TooLarge,
    /// The ledger is closed.
    #[error("the ledger is closed")]
    Closed,
    /// The sync failed: whether it is durable shows after the restart. The process is about to exit.
    #[error("the journal's disk failed; the fate of the commit is unknown")]
    Unknown,
    /// The order could not be read.
    #[error(transparent)]
    Read(#[from] LedgerError),
    /// The order cannot be erased: its first lines were written before there were keys.
    #[error("its personal data stand in plain text in lines that are never changed")]
    Unsealed,
}

/// The handle to the store; clones share it. Reads are safe inline unless said otherwise.
#[derive(Clone)]
pub enum Ledger {
    /// Journal and index in a folder of this machine.
    Embedded(Arc<embedded::Embedded>),
    /// A database that several daemons share.
    #[cfg(feature = "postgres")]
    Postgres(Arc<postgres::Postgres>),
}

/// The expression for the store that this ledger is.
macro_rules! by {
    ($ledger:expr, $store:ident => $embedded:expr, $shared:ident => $rows:expr) => {
        match $ledger {
            Ledger::Embedded($store) => $embedded,
            #[cfg(feature = "postgres")]
            Ledger::Postgres($shared) => $rows,
        }
    };
}
use by;

impl Ledger {
    /// Opens the store: locks the folder, checks and replays the journal. Blocks.
    ///
    /// # Errors
    /// In use, damaged, or unusable; nothing was changed then.
    pub fn open(options: OpenOptions) -> Result<Ledger, OpenError> {
        open::open(options).map(|store| Ledger::Embedded(Arc::new(store)))
    }

    /// Opens the store of a simulated machine, whose workers are tasks of the current runtime.
    ///
    /// # Errors
    /// Damaged, or the index cannot be made.
    pub fn open_simulated(options: simulated::Options) -> Result<Ledger, OpenError> {
        open::open_simulated(options).map(|store| Ledger::Embedded(Arc::new(store)))
    }

    /// The order's committed state.
    ///
    /// # Errors
    /// The index or the journal cannot be read.
    pub fn load(&self, id: OrderId) -> Result<Option<Payment>, LedgerError> {
        Ok(self.standing(id)?.map(|standing| Payment::clone(standing.payment())))
    }

    /// The order's committed state, to be continued by a commit.
    ///
    /// # Errors
    /// The index or the journal cannot be read.
    pub fn standing(&self, id: OrderId) -> Result<Option<Standing>, LedgerError> {
        by!(self, store => Ok(store.stored(id)?.map(Standing::of)), rows => Ok(rows.stored(id)?.map(Standing::row)))
    }

    /// Folds `events` onto `base`, which is none for a new order, and makes them durable: all of them, as the order's next
    /// version, or none. What it returns is what folding gives, and what every read of this handle sees from then on.
    /// Answers once the caller may speak of it, not before.
    ///
    /// # Errors
    /// See [`CommitError`]; a `base` that is not the order's newest state, or no events, is a conflict.
    pub async fn commit(
        &self,
        id: OrderId,
        base: Option<&Standing>,
        events: &[Event],
        now: Timestamp,
    ) -> Result<Standing, CommitError> {
        self.commit_under(None, id, base, events, now).await
    }

    /// Orders due until `now`, `now` included, oldest first, each once, at most `limit`. What an order owed before its last
    /// commit is forgotten. A shared ledger leaves out orders whose errand another node has, and shows those that another
    /// node committed last two seconds later. Scans: call it in `spawn_blocking`.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<(Timestamp, OrderId)>, LedgerError> {
        by!(self, store => query::due(store, now, limit), rows => rows.due(now, limit))
    }

    /// A page of orders, newest first; every order that matches is on one page and on one only, however many commits fall
    /// between two pages. Addresses and transaction numbers match as a whole, whatever their case. Scans: call it in
    /// `spawn_blocking`.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn list(&self, query: &Query) -> Result<Page, LedgerError> {
        by!(self, store => query::list(store, query), rows => rows.list(query))
    }

    /// Every commit of an order, oldest first, versions 1, 2, 3 …; none for an unknown order. Folding them gives its state.
    /// Their `seq` grows: the line's number in the journal, or in the order's own chain where the ledger is shared. Reads
    /// the disk: call it in `spawn_blocking`.
    ///
    /// # Errors
    /// The journal cannot be read or is damaged there.
    pub fn history(&self, id: OrderId) -> Result<Vec<Line>, LedgerError> {
        by!(self, store => store.history(id), rows => rows.history(id))
    }

    /// The same with each line's bytes and hash: the SHA-256 of the text before `,"hash":`, which the text ends with.
    /// Reads the disk: call it in `spawn_blocking`.
    ///
    /// # Errors
    /// The journal cannot be read or is damaged there.
    pub fn evidence(&self, id: OrderId) -> Result<Vec<Entry>, LedgerError> {
        by!(self, store => store.evidence(id), rows => rows.evidence(id))
    }

    /// Every order in whose lines this address stands, now or before it was corrected, oldest first. Reads every line that
    /// holds something personal: call it in `spawn_blocking`.
    ///
    /// # Errors
    /// The journal cannot be read or is damaged.
    pub fn mentions(&self, address: &Email) -> Result<Vec<OrderId>, LedgerError> {
        by!(self, store => store.mentions(address), rows => rows.mentions(address))
    }

    /// The number of a paid order's receipt: 1, 2, 3 … within the year (UTC) of the payment, in the journal's order,
    /// without gaps, the same for ever. None before the payment.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn receipt(&self, id: OrderId) -> Result<Option<ReceiptNumber>, LedgerError> {
        by!(self, store => store.receipt(id), rows => rows.receipt(id))
    }

    /// The order and the request's fingerprint that an idempotency key (hashed) stands for, for 24 h. A newer order with the
    /// same key takes its place, once the former cannot be paid any more; a shared ledger refuses it before that.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn find_key(&self, key: &str, now: Timestamp) -> Result<Option<(OrderId, String)>, LedgerError> {
        by!(self, store => query::find_key(store, key, now), rows => rows.find_key(key, now))
    }

    /// Orders per status.
    pub fn counts(&self) -> Counts {
        by!(self, store => Counts(store.overlay.lock().counts), rows => rows.counts())
    }

    /// What was paid on each of these days, oldest first. Sums are kept by hours: where a clock is not whole hours from UTC,
    /// the hour in which its midnight falls counts for the day before. Answered from memory, or by the database.
    pub fn sales(&self, period: Period) -> Vec<Sales> {
        by!(self, store => query::sales(store, period), rows => rows.sales(period))
    }

    /// How many paid orders have a mail that was refused for good; a [`Query`] lists them. Answered from memory, or by the
    /// database.
    pub fn stalled(&self) -> usize {
        by!(self, store => store.overlay.lock().totals.stalled().len(), rows => rows.stalled())
    }

    /// When the oldest PENDING order was taken.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn oldest_pending(&self) -> Result<Option<Timestamp>, LedgerError> {
        by!(self, store => query::oldest_pending(store), rows => rows.oldest_pending())
    }

    /// Whether it can commit.
    pub fn health(&self) -> Health {
        by!(self, store => store.health(), rows => rows.health())
    }

    /// Free bytes on the store's disk, as far as this user may fill it.
    ///
    /// # Errors
    /// The system's answer.
    pub fn free_bytes(&self) -> std::io::Result<u64> {
        by!(self, store => store.folder.free_bytes(), _rows => Err(std::io::ErrorKind::Unsupported.into()))
    }

    /// A round trip through the writer thread: answers behind everything that waits.
    ///
    /// # Errors
    /// Why a commit would not be taken now.
    pub async fn probe(&self) -> Result<(), CommitError> {
        by!(self, store => store.probe().await, rows => rows.probe().await)
    }

    /// Writes what waits, brings the index up to date, syncs, and notes that all was in order. Later commits are
    /// refused; the folder is free for another process when this returns. Closing twice is once.
    pub async fn close(&self) {
        let store = by!(self, store => Arc::clone(store), rows => return rows.close().await);
        if store.simulated {
            return store.close_simulated().await;
        }
        if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
            tracing::error!("closing the ledger panicked; the next start replays the journal");
        }
    }
}
