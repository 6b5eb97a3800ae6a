//! Opening the store: lock, index, journal, replay.

use std::collections::HashMap;
use std::fs::TryLockError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, RwLock};

use metrics::counter;
use tokio::sync::Semaphore;
use tracing::{error, info, warn};

use super::backup::was_interrupted;
use super::embedded::{Embedded, UNINDEXED_COMMITS_MAX};
use super::erasure::{completed, mend};
use super::index::guard::{Folder, Sled};
use super::index::indexer::{Indexer, IndexerState};
use super::index::overlay::Overlay;
use super::index::receipts::Series;
use super::index::totals::Totals;
use super::index::{self, Change, Due, Index, IndexError, STATUSES, keys};
use super::journal::{
    self, Applied, HashText, JournalError, Medium, Position, Recovered, Settings, Writer, Written,
};
use super::lock::Lock;
use super::record::{Keys, Read, ReadError, Snapshot, decode_body};
use super::seal::{Chance, Keyring};
use super::simulated::{self, Pace};
use super::vault::Vault;
use super::worker::Worker;
use super::{OpenError, OpenOptions};
use crate::domain::values::OrderId;

/// So many of the newest orders are tried for one that has a key. Where all of them are erased nothing is said of the file.
const NEWEST_ORDERS_MAX: usize = 64;
/// The journal's name until `ledger migrate` has written all of it. Also a build that cannot migrate does not serve it.
pub(super) const MIGRATING: &str = "journal.migrating";
/// Lines replayed into sled per batch. Several lines of one order become one write.
const REPLAY_LINES_MAX: usize = 8 * 1024;

pub(super) fn open(options: OpenOptions) -> Result<Embedded, OpenError> {
    let store = &options.folder;
    std::fs::create_dir_all(store).map_err(folder_error(store))?;
    whole(store)?;
    let lock = lock(store)?;
    let medium = Medium::Disk(store.join("journal"));
    let folder = Folder::of(store);
    assemble(&options, medium, Chance::System, folder, Some(lock), None)
}

/// The same on a simulated machine. Needs the runtime whose tasks its workers become.
pub(super) fn open_simulated(options: simulated::Options) -> Result<Embedded, OpenError> {
    let simulated::Options { machine, pace, usual } = options;
    let (medium, folder) = (Medium::Memory(machine.journal), Folder::Memory(machine.index));
    assemble(&usual, medium, machine.chance.0, folder, None, Some(pace))
}

/// Recovers, and starts both workers: threads, or with a pace tasks.
fn assemble(
    options: &OpenOptions,
    medium: Medium,
    chance: Chance,
    folder: Folder,
    lock: Option<Lock>,
    pace: Option<Pace>,
) -> Result<Embedded, OpenError> {
    let store = &options.folder;
    let was_closed = folder.was_closed();
    let ring = Arc::new(Keyring::open(&medium, chance)?);
    let Opened { index, recovered, memory, anew } = open_index(&folder, &medium, &ring, store)?;
    let settings = Settings { segment_bytes: options.segment_bytes, on_fatal: Arc::clone(&options.on_fatal) };
    let journal = Arc::new(Writer::start_at(medium.clone(), &recovered, settings, pace.clone())?);
    let overlay = Arc::new(Overlay::default());
    {
        let mut state = overlay.lock();
        (state.counts, state.series, state.totals) = (memory.counts, memory.series, memory.totals);
        state.due = memory.due.moments;
    }
    let state = Arc::new(IndexerState::default());
    state.applied_seq.store(journal.last_seq(), Ordering::Release);
    state.in_doubt.store(!was_closed && !anew, Ordering::Release);
    let indexer = Indexer {
        index: index.clone(),
        folder: folder.clone(),
        overlay: Arc::clone(&overlay),
        state: Arc::clone(&state),
        journal: Arc::clone(&journal),
        on_fatal: Arc::clone(&options.on_fatal),
    };
    let simulated = pace.is_some();
    let thread = match pace {
        None => Worker::thread("index", move || indexer.run()).map_err(folder_error(store))?,
        Some(pace) => Worker::task(indexer.run_paced(pace)),
    };
    info!(last_seq = journal.last_seq(), "the ledger is open");
    let store = Embedded {
        medium,
        ring,
        journal,
        index: RwLock::new(Some(index)),
        overlay,
        indexer: state,
        thread: Mutex::new(Some(thread)),
        on_fatal: Arc::clone(&options.on_fatal),
        permits: Arc::new(Semaphore::new(UNINDEXED_COMMITS_MAX)),
        folder,
        lock: Mutex::new(lock),
        simulated,
    };
    memory.due.unread.into_iter().for_each(|id| look_up(&store, id));
    Ok(store)
}

/// Notes when an order is due whose state is of another format, or damaged.
fn look_up(store: &Embedded, id: OrderId) {
    match store.stored(id) {
        Ok(snapshot) => {
            let at = snapshot.and_then(|snapshot| index::due(&snapshot.payment));
            store.overlay.lock().due.extend(at.map(|at| (at, id)));
        }
        // One order is no reason to close the shop; `ledger verify` names it too.
        Err(fault) => error!(order = %id, %fault, "an order that is due cannot be read"),
    }
}

/// Takes the store for this process.
pub(super) fn lock(store: &Path) -> Result<Lock, OpenError> {
    let path = store.join("lock");
    Lock::take(&path).map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::InUse(store.to_owned()),
        TryLockError::Error(source) => OpenError::Folder { path, source },
    })
}

/// Refuses a store that a restoration or a migration has not finished: it would look like a first start.
pub(super) fn whole(store: &Path) -> Result<(), OpenError> {
    if was_interrupted(store) {
        Err(OpenError::Restoring(store.to_owned()))
    } else if store.join(MIGRATING).exists() {
        Err(OpenError::Migrating(store.display().to_string()))
    } else {
        Ok(())
    }
}

pub(super) fn folder_error(path: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Folder { path, source }
}

pub(super) struct Opened {
    pub(super) index: Index,
    pub(super) recovered: Recovered,
    pub(super) memory: Memory,
    /// This start made the index: there is nothing of an earlier process in it.
    anew: bool,
}

/// What is kept in memory as well, of everything that is committed.
pub(super) struct Memory {
    pub(super) counts: [u64; STATUSES],
    series: Series,
    pub(super) totals: Totals,
    due: Due,
}

/// Opens the index and brings it level with the journal; an index in doubt is set aside and made anew, once.
pub(super) fn open_index(
    folder: &Folder,
    medium: &Medium,
    ring: &Arc<Keyring>,
    store: &Path,
) -> Result<Opened, OpenError> {
    let has_history = medium.list().is_ok_and(|segments| {
        segments.iter().any(|&first| medium.open_read(first).and_then(|s| s.size()).is_ok_and(|len| len > 0))
    });
    if folder.lost_power() {
        discard(folder, store, "the machine restarted while it was open, or it is of unknown origin")?;
    } else if has_history && !folder.exists() {
        note_rebuild("it is missing");
    }
    folder.mark_open().map_err(folder_error(store))?;
    let mut outcome = attempt(folder, medium, ring, has_history);
    if matches!(outcome, Err(Refused::Journal(JournalError::Lost(_)))) && completed(medium, ring)? {
        outcome = attempt(folder, medium, ring, has_history);
    }
    match outcome {
        Ok(opened) => Ok(opened),
        Err(Refused::Journal(error)) => Err(error.into()),
        Err(Refused::Locked) => Err(OpenError::InUse(store.to_owned())),
        Err(Refused::Index(reason)) => {
            discard(folder, store, &reason)?;
            attempt(folder, medium, ring, false).map_err(|refused| match refused {
                Refused::Journal(error) => error.into(),
                Refused::Locked => OpenError::InUse(store.to_owned()),
                Refused::Index(reason) => OpenError::Index(reason),
            })
        }
    }
}

/// Sets the index aside; the journal is replayed from its first line then.
pub(super) fn discard(folder: &Folder, store: &Path, reason: &str) -> Result<(), OpenError> {
    note_rebuild(reason);
    folder.set_aside().map_err(folder_error(store))?;
    failpoint!("index.set_aside");
    Ok(())
}

fn note_rebuild(reason: &str) {
    warn!(reason, "rebuilding the index from the journal");
    counter!("auditshield_index_rebuilds_total").increment(1);
}

enum Refused {
    /// The journal's fault: the start is refused.
    Journal(JournalError),
    /// sled is still open somewhere in this process, or in a program that ignores our lock.
    Locked,
    /// The index's fault: it is rebuilt.
    Index(String),
}

fn attempt(folder: &Folder, medium: &Medium, ring: &Arc<Keyring>, used: bool) -> Result<Opened, Refused> {
    let db = match folder.open() {
        Sled::Open(db) => db,
        Sled::Locked => return Err(Refused::Locked),
        Sled::Broken => return Err(Refused::Index("sled does not open".into())),
    };
    let index = Index::new(db, Arc::clone(ring));
    let outcome = catch_unwind(AssertUnwindSafe(|| level(&index, medium, used)));
    let panicked = Err(Refused::Index("sled panicked while it was read".into()));
    let (recovered, memory, anew) = outcome.unwrap_or(panicked)?;
    Ok(Opened { index, recovered, memory, anew })
}

/// What the journal recovered, what the index says once it is level with it, and whether it was made anew.
type Level = (Recovered, Memory, bool);

fn level(index: &Index, medium: &Medium, used: bool) -> Result<Level, Refused> {
    let in_doubt = |error: IndexError| Refused::Index(error.to_string());
    failpoint!("index.opened");
    if !index.is_ours().map_err(in_doubt)? {
        return Err(Refused::Index("it is laid out as by an earlier version".into()));
    }
    let applied = index.applied().map_err(in_doubt)?;
    if applied.is_none() && !index.is_empty() {
        return Err(Refused::Index("it does not say where it ends".into()));
    }
    if applied.is_none() && used {
        note_rebuild("it is empty although the journal is not");
    }
    let series = match (index.series().map_err(in_doubt)?, &applied) {
        (Some(series), _) => series,
        (None, None) => Series::default(),
        (None, Some(_)) => return Err(Refused::Index("it was made before receipts had numbers".into())),
    };
    named(index, medium, applied.is_some())?;
    let anew = applied.is_none().then_some([0; STATUSES]);
    let mut replay =
        Replay { index, orders: HashMap::new(), lines: 0, last: None, anew, series, erased: Vec::new() };
    let recovered = journal::recover(medium, applied.as_ref(), &mut |line, position| {
        let receiver = |reason| JournalError::Receiver { seq: line.seq, reason };
        let read = decode_body(line.seq, line.body, Keys::Of(index.ring())).map_err(|error| match error {
            ReadError::Lost(lost) => JournalError::Lost(lost),
            ReadError::Line(reason) | ReadError::Keys(reason) => receiver(reason),
        })?;
        replay.take(&read, line.hash, position).map_err(receiver)
    });
    let recovered = recovered.map_err(|error| match error {
        JournalError::Receiver { seq, reason } => Refused::Index(format!("line {seq}: {reason}")),
        other => Refused::Journal(other),
    })?;
    // After the journal, which knows better whether the index is another store's.
    if applied.is_some() && !index.fits_keys().map_err(in_doubt)? {
        return Err(Refused::Index("it was made with another key file, or before there was one".into()));
    }
    newest_opens(index)?;
    index.ring().destroy(&replay.erased).map_err(Refused::Journal)?;
    let series = replay.end().map_err(Refused::Index)?;
    let counts = index.counts().map_err(in_doubt)?;
    let totals = index.totals().map_err(in_doubt)?;
    if !totals.agree(&counts) {
        return Err(Refused::Index("its sales do not add up".into()));
    }
    let Some(due) = index.due().map_err(in_doubt)? else {
        return Err(Refused::Index("its marks of what is due are not this version's".into()));
    };
    Ok((recovered, Memory { counts, series, totals, due }, applied.is_none()))
}

/// Takes over which records of the key file lines name, so that none is ever given to a second order, and repairs a file
/// that ends before the last of them.
fn named(index: &Index, medium: &Medium, used: bool) -> Result<(), Refused> {
    let in_doubt = |error: IndexError| Refused::Index(error.to_string());
    // An index of another key file says nothing about this one; what becomes of it is decided after the journal.
    if !used || !index.fits_keys().map_err(in_doubt)? {
        return Ok(());
    }
    let Some(named) = index.named().map_err(in_doubt)? else {
        return Err(Refused::Index("it was made before it knew how many keys there are".into()));
    };
    if index.ring().ends_before(named) {
        mend(medium, index.ring()).map_err(Refused::Journal)?;
    }
    index.ring().name_until(named);
    Ok(())
}

/// Opens the newest order that has a key, so that a key file that is missing or ends too soon is noticed before anything
/// is sold.
fn newest_opens(index: &Index) -> Result<(), Refused> {
    let in_doubt = |error: IndexError| Refused::Index(error.to_string());
    for id in index.ids(&[keys::ORDER], [0; 16], [u8::MAX; 16]).rev().take(NEWEST_ORDERS_MAX) {
        match index.order(id.map_err(in_doubt)?) {
            Err(IndexError::Lost(lost)) => return Err(Refused::Journal(lost.into())),
            Ok(Some((_, Some((_, Vault::Sealed { .. }))))) => return Ok(()),
            other => other.map(drop).map_err(in_doubt)?,
        }
    }
    Ok(())
}

/// Folds journal lines into sled.
struct Replay<'a> {
    index: &'a Index,
    /// What has changed since the last batch, and the last line of each order.
    orders: HashMap<OrderId, Change>,
    /// Lines since the last batch.
    lines: usize,
    /// The last of them.
    last: Option<Written>,
    /// The orders of each status, while an empty index is filled.
    anew: Option<[u64; STATUSES]>,
    /// The receipt numbers given so far.
    series: Series,
    /// Keys that the lines say are destroyed.
    erased: Vec<(u64, OrderId)>,
}

impl Replay<'_> {
    fn take(&mut self, read: &Read, hash: HashText, position: Position) -> Result<(), String> {
        let (id, seq) = (read.order, read.line.seq);
        let before = match self.orders.get(&id) {
            Some(change) => Some(Arc::clone(&change.snapshot)),
            None => match self.index.order(id).map_err(|error| error.to_string())? {
                Some((lines, Some((payment, vault)))) => {
                    Some(Arc::new(Snapshot { payment: Arc::new(payment), vault, lines }))
                }
                Some((_, None)) => return Err("a snapshot of an unknown format".into()),
                None => None,
            },
        };
        self.erased.extend(read.erases.iter().map(|slot| (*slot, id)));
        read.kept.slot().into_iter().for_each(|slot| self.index.ring().name(slot));
        let snapshot = Snapshot::after(before.as_deref(), read, position, self.index.ring())?;
        let snapshot = Arc::new(snapshot);
        let written = Written { seq, position, hash };
        let receipt = self.series.number(before.as_ref().map(|before| &*before.payment), &snapshot.payment);
        let change = Change { written, before, snapshot: Arc::clone(&snapshot), receipt };
        let known = self.orders.entry(id).or_insert(change);
        known.snapshot = snapshot;
        known.receipt = known.receipt.or(receipt);
        self.last = Some(written);
        self.lines += 1;
        if self.lines >= REPLAY_LINES_MAX { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), String> {
        let Some(last) = &self.last else { return Ok(()) };
        let change = |(_, change)| Change { written: *last, ..change };
        let changes: Vec<Change> = self.orders.drain().map(change).collect();
        match &mut self.anew {
            Some(counts) => self.index.fill(&changes, counts),
            None => self.index.apply(&changes),
        }
        .map_err(|error| error.to_string())?;
        failpoint!("index.replaying");
        self.lines = 0;
        Ok(())
    }

    fn end(mut self) -> Result<Series, String> {
        self.flush()?;
        if let (Some(counts), Some(last)) = (&self.anew, &self.last) {
            let filled = self.index.filled(&Applied::from(last), counts, &self.series);
            filled.map_err(|error| error.to_string())?;
        }
        Ok(self.series)
    }
}
