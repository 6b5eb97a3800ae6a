//! The ledger: the journal, which is the truth, and the index derived from it. The only place that names sled.
//!
//! Invariant: `commit` returns Ok only after its line was fdatasync'ed, and from then on every read sees it.
//! Invariant: what the index holds is what folding the journal gives; whenever in doubt it is rebuilt.
//! Why an enum and not a trait: the stores are ours, few and known.

mod backup;
pub mod check;
mod embedded;
mod erasure;
mod export;
mod index;
pub mod journal;
mod open;
mod query;
mod record;
pub mod seal;
pub mod simulated;
#[cfg(test)]
mod tests;
mod vault;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::calendar::Period;
use crate::domain::event::Event;
use crate::domain::evidence::Entry;
use crate::domain::payment::{FoldError, Payment, Status};
use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::{Email, OrderId, Timestamp};

pub use backup::{BackupError, Copied, backup, restore, restore_with};
pub use check::{LostKeys, Report, rebuild, rebuild_with, verify};
pub use export::{Exported, export};
pub use index::IndexError;
pub use journal::{JournalError, OnFatal};
pub use query::{PAGE_ORDERS_MAX, Page, Query, Sales};
pub use record::Line;
pub use seal::Lost;

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

/// Why a ledger does not open. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "Le dossier {0} est déjà utilisé par un autre auditshield. Arrêtez-le, ou choisissez un autre dossier \
         (AUDITSHIELD_STORE__URL). / The folder {0} is in use by another auditshield. Stop it, or choose another \
         folder (AUDITSHIELD_STORE__URL)."
    )]
    InUse(PathBuf),
    /// The folder cannot be made, read or locked.
    #[error(
        "Le dossier {path} est inutilisable: {source}. Vérifiez droits, place et disque, puis relancez. / Cannot use the \
         folder {path}: {source}. Check rights, room and disk, then try again."
    )]
    Folder {
        /// The folder or a file in it.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A restoration into the folder never came to its end.
    #[error(
        "Une restauration dans {0} a été interrompue. Relancez-la: « auditshield ledger restore <sauvegarde> {0} ». / A \
         restoration into {0} was interrupted. Run it again: `auditshield ledger restore <backup> {0}`."
    )]
    Restoring(PathBuf),
    /// The journal is damaged, or does not fit the index.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Not even an empty index can be made.
    #[error(
        "L'index ne peut pas être créé: {0} (disque plein ?) / the index cannot be made: {0} (disk full?)"
    )]
    Index(String),
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
}

/// An order as it was committed: what its next commit continues. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing(Arc<record::Snapshot>);

impl Standing {
    /// The order's state.
    pub fn payment(&self) -> &Arc<Payment> {
        &self.0.payment
    }

    /// The number of its last journal line.
    pub fn seq(&self) -> u64 {
        self.0.lines.last().map_or(0, |line| line.seq)
    }
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

/// Whether the ledger can commit, and how it keeps up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether a commit would be taken now.
    pub can_commit: bool,
    /// Why not, for `/readyz`: no paths, no personal data.
    pub reason: Option<String>,
    /// The journal's last seq.
    pub last_seq: u64,
    /// The index's last seq on sled.
    pub applied_seq: u64,
    /// The index was left by a process that was killed and is not read to its end yet, or is damaged.
    pub index_in_doubt: bool,
    /// Commits waiting for the journal.
    pub queue_depth: usize,
}

/// Orders per status, in the order of [`Status::NAMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts(pub [u64; Status::NAMES.len()]);

impl Counts {
    /// Status names with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        Status::NAMES.into_iter().zip(self.0)
    }
}

/// Room on the disk of a folder: free bytes, as far as this user may fill it, and all there are.
///
/// # Errors
/// The system's answer.
pub fn room(folder: &std::path::Path) -> std::io::Result<(u64, u64)> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok((disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize)))
}

/// The handle to the store; clones share it. Reads are safe inline unless said otherwise.
#[derive(Clone)]
pub enum Ledger {
    /// Journal and index in a folder of this machine.
    Embedded(Arc<embedded::Embedded>),
}

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
        let Ledger::Embedded(store) = self;
        Ok(store.stored(id)?.map(|snapshot| Payment::clone(&snapshot.payment)))
    }

    /// The order's committed state, to be continued by a commit.
    ///
    /// # Errors
    /// The index or the journal cannot be read.
    pub fn standing(&self, id: OrderId) -> Result<Option<Standing>, LedgerError> {
        let Ledger::Embedded(store) = self;
        Ok(store.stored(id)?.map(Standing))
    }

    /// Folds `events` onto `base`, which is none for a new order, and makes them durable.
    ///
    /// # Errors
    /// See [`CommitError`]; a `base` that is not the order's newest state is a conflict.
    pub async fn commit(
        &self,
        id: OrderId,
        base: Option<&Standing>,
        events: &[Event],
        now: Timestamp,
    ) -> Result<Standing, CommitError> {
        let Ledger::Embedded(store) = self;
        let base = base.map(|standing| &standing.0);
        store.commit(id, base, events, now).await.map(Standing)
    }

    /// Orders due until `now`, oldest first, at most `limit`. Scans: call it in `spawn_blocking`.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<(Timestamp, OrderId)>, LedgerError> {
        let Ledger::Embedded(store) = self;
        query::due(store, now, limit)
    }

    /// A page of orders, newest first. Scans: call it in `spawn_blocking`.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn list(&self, query: &Query) -> Result<Page, LedgerError> {
        let Ledger::Embedded(store) = self;
        query::list(store, query)
    }

    /// Every commit of an order, oldest first, from the journal. Reads the disk: call it in `spawn_blocking`.
    ///
    /// # Errors
    /// The journal cannot be read or is damaged there.
    pub fn history(&self, id: OrderId) -> Result<Vec<Line>, LedgerError> {
        let Ledger::Embedded(store) = self;
        match store.stored(id)? {
            Some(snapshot) => store.lines(id, &snapshot.lines),
            None => Ok(Vec::new()),
        }
    }

    /// The same with each line's bytes and hash. Reads the disk: call it in `spawn_blocking`.
    ///
    /// # Errors
    /// The journal cannot be read or is damaged there.
    pub fn evidence(&self, id: OrderId) -> Result<Vec<Entry>, LedgerError> {
        let Ledger::Embedded(store) = self;
        match store.stored(id)? {
            Some(snapshot) => store.evidence(id, &snapshot.lines),
            None => Ok(Vec::new()),
        }
    }

    /// Every order in whose lines this address stands, now or before it was corrected. Reads the whole journal: call it
    /// in `spawn_blocking`.
    ///
    /// # Errors
    /// The journal cannot be read or is damaged.
    pub fn mentions(&self, address: &Email) -> Result<Vec<OrderId>, LedgerError> {
        let Ledger::Embedded(store) = self;
        store.mentions(address)
    }

    /// The number of a paid order's receipt: 1, 2, 3 … within the year (UTC) of the payment, in the journal's order,
    /// without gaps, the same for ever. None before the payment.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn receipt(&self, id: OrderId) -> Result<Option<ReceiptNumber>, LedgerError> {
        let Ledger::Embedded(store) = self;
        store.receipt(id)
    }

    /// The order and the request's fingerprint that an idempotency key (hashed) stands for, for 24 h.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn find_key(&self, key: &str, now: Timestamp) -> Result<Option<(OrderId, String)>, LedgerError> {
        let Ledger::Embedded(store) = self;
        query::find_key(store, key, now)
    }

    /// Orders per status.
    pub fn counts(&self) -> Counts {
        let Ledger::Embedded(store) = self;
        Counts(store.overlay.lock().counts)
    }

    /// What was paid on each of these days, oldest first. Sums are kept by hours: where a clock is not whole hours from UTC,
    /// the hour in which its midnight falls counts for the day before. Answered from memory.
    pub fn sales(&self, period: Period) -> Vec<Sales> {
        let Ledger::Embedded(store) = self;
        query::sales(store, period)
    }

    /// How many paid orders have a mail that was refused for good. Answered from memory; a [`Query`] lists them.
    pub fn stalled(&self) -> usize {
        let Ledger::Embedded(store) = self;
        store.overlay.lock().totals.stalled().len()
    }

    /// When the oldest PENDING order was taken.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn oldest_pending(&self) -> Result<Option<Timestamp>, LedgerError> {
        let Ledger::Embedded(store) = self;
        query::oldest_pending(store)
    }

    /// Whether it can commit.
    pub fn health(&self) -> Health {
        let Ledger::Embedded(store) = self;
        store.health()
    }

    /// Free bytes on the store's disk, as far as this user may fill it.
    ///
    /// # Errors
    /// The system's answer.
    pub fn free_bytes(&self) -> std::io::Result<u64> {
        let Ledger::Embedded(store) = self;
        store.folder.free_bytes()
    }

    /// A round trip through the writer thread: answers behind everything that waits.
    ///
    /// # Errors
    /// Why a commit would not be taken now.
    pub async fn probe(&self) -> Result<(), CommitError> {
        let Ledger::Embedded(store) = self;
        store.probe().await
    }

    /// Writes what waits, brings the index up to date, syncs, and notes that all was in order. Later commits are
    /// refused; the folder is free for another process when this returns.
    pub async fn close(&self) {
        let Ledger::Embedded(store) = self;
        if store.simulated {
            return store.close_simulated().await;
        }
        let store = Arc::clone(store);
        if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
            tracing::error!("closing the ledger panicked; the next start replays the journal");
        }
    }
}
