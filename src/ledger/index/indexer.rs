//! The one thread that writes and flushes sled.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::overlay::Overlay;
use super::place::Folder;
use super::{Change, Index, IndexError};
use crate::domain::values::Timestamp;
use crate::ledger::journal::{OnFatal, Writer};
use crate::ledger::simulated::Pace;

/// How long a change may wait for others of its order. Readers see it meanwhile; a restart would replay it.
const LINGER: Duration = Duration::from_millis(250);
/// sled is flushed and its file synced this often.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// After a failed write the next try comes after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// With nothing to take in, the indexer of a simulated machine looks again after this.
const IDLE_REST: Duration = Duration::from_millis(250);
/// One failure in so many is logged.
const FAILURES_PER_WARNING: u32 = 60;
/// sled 0.34 takes no write any more after one that failed. Journal and overlay carry on alone; once the overlay
/// holds so many changes and the journal is healthy, the process restarts, which replays them into a fresh sled.
const OVERLAY_CHANGES_MAX: usize = 4 * 1024;
/// So many tries in vain, one a second, on a disk that has room again: sled keeps the error of a full disk for good, and
/// what it took in before it noticed cannot be read any more.
const FULL_DISK_TRIES: u32 = 3;
/// Free room on a disk that is not full any more.
const ROOM_BYTES_MIN: u64 = 1024 * 1024;
/// No write or flush of sled takes so long on a disk that works.
const SLED_TIME_MAX: Duration = Duration::from_secs(60);
/// Idempotency keys are honoured for this long.
pub(crate) const REQUEST_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Idempotency keys forgotten per checkpoint, at most.
const FORGET_MAX: usize = 4096;

/// What the thread works with.
pub(crate) struct Indexer {
    /// sled.
    pub(crate) index: Index,
    /// Its folder.
    pub(crate) folder: Folder,
    /// Where changes come from.
    pub(crate) overlay: Arc<Overlay>,
    /// What others may know of it.
    pub(crate) state: Arc<IndexerState>,
    /// To tell a full disk from a broken sled.
    pub(crate) journal: Arc<Writer>,
    /// Ends the process.
    pub(crate) on_fatal: OnFatal,
}

/// What others may know of the thread.
#[derive(Debug, Default)]
pub(crate) struct IndexerState {
    /// The last seq in sled.
    pub(crate) applied_seq: AtomicU64,
    /// The index was not closed in order and not read since, or is damaged: not to be noted as closed in order.
    pub(crate) in_doubt: AtomicBool,
    /// Since when the thread is inside sled.
    busy_since: Mutex<Option<Instant>>,
}

impl IndexerState {
    /// Whether sled has not come back for so long. After a write of its own that failed, sled 0.34 may wait for ever.
    pub(crate) fn is_stuck(&self) -> bool {
        let busy = self.busy_since.lock().unwrap_or_else(PoisonError::into_inner);
        busy.is_some_and(|since| since.elapsed() > SLED_TIME_MAX)
    }

    fn inside<T>(&self, sled: impl FnOnce() -> T) -> T {
        *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let done = sled();
        *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
        done
    }
}

impl Indexer {
    /// Runs until the overlay is closed and empty, then checkpoints.
    pub(crate) fn run(self) {
        let _alarm = PanicAlarm(Arc::clone(&self.on_fatal));
        if !self.is_trusted() {
            return;
        }
        let mut checkpoint = Instant::now();
        let mut dirty = true;
        let mut failures = 0;
        let mut newest = None;
        while let Some(changes) = self.overlay.peek(CHECKPOINT_EVERY, LINGER) {
            if let Err(error) = self.take_in(&changes) {
                failures += 1;
                // Closing: the next start replays what is missing.
                if !self.goes_on_after(&error, failures) || self.overlay.lock().closing {
                    return;
                }
                #[expect(clippy::disallowed_methods, reason = "the indexer's own thread")]
                std::thread::sleep(RETRY_AFTER);
                continue;
            }
            failures = 0;
            dirty |= !changes.is_empty();
            newest = newest.max(changes.iter().map(|change| change.snapshot.payment.created_at).max());
            if dirty && checkpoint.elapsed() >= CHECKPOINT_EVERY {
                checkpoint = Instant::now();
                match self.checkpoint(newest) {
                    Ok(()) => dirty = false,
                    // What sled took in before it noticed that the disk was full is as good as lost.
                    Err(error) if error.is_full_disk() && self.has_room() => return self.give_up(),
                    Err(_) => {}
                }
            }
        }
        // What was not flushed is replayed by the next start.
        let _ = self.checkpoint(newest);
    }

    /// The same as [`Indexer::run`] as a task, whose batches take as long as the machine says.
    pub(crate) async fn run_paced(self, pace: Pace) {
        if !self.is_trusted() {
            return;
        }
        let mut checkpoint = tokio::time::Instant::now();
        let mut failures = 0;
        let mut newest = None;
        while let Some(changes) = self.overlay.peek(Duration::ZERO, Duration::ZERO) {
            // Further commits arrive while a batch is on its way.
            let rest = if changes.is_empty() { IDLE_REST } else { (pace.index)() };
            tokio::time::sleep(rest).await;
            if let Err(error) = self.take_in(&changes) {
                failures += 1;
                if !self.goes_on_after(&error, failures) || self.overlay.lock().closing {
                    return;
                }
                continue;
            }
            failures = 0;
            newest = newest.max(changes.iter().map(|change| change.snapshot.payment.created_at).max());
            if checkpoint.elapsed() >= CHECKPOINT_EVERY {
                checkpoint = tokio::time::Instant::now();
                // A simulated machine's index has no disk of its own to be full.
                let _ = self.checkpoint(newest);
            }
        }
        let _ = self.checkpoint(newest);
    }

    /// Reads all of an index that a killed process left. Why not before the daemon serves: with a hundred thousand
    /// orders it takes longer than everything else of a start, and sled has hardly ever been found damaged by a kill.
    /// False: it is damaged.
    fn is_trusted(&self) -> bool {
        if !self.state.in_doubt.load(Ordering::Acquire) {
            return true;
        }
        let go_on = || !self.overlay.lock().closing;
        let error = match catch_unwind(AssertUnwindSafe(|| self.index.read_all(&go_on))) {
            Ok(Ok(all)) => {
                self.state.in_doubt.store(!all, Ordering::Release);
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "sled panicked while it was read".to_owned(),
        };
        self.condemn(&error);
        false
    }

    /// Ends the process, and lets the next start make the index anew.
    fn condemn(&self, error: &str) {
        error!(error, "the index is damaged: restarting to make it anew from the journal");
        self.state.in_doubt.store(true, Ordering::Release);
        if let Err(error) = self.folder.mark_damaged() {
            warn!(%error, "cannot note that the index is damaged");
        }
        (self.on_fatal)("the index is damaged");
    }

    fn take_in(&self, changes: &[Change]) -> Result<(), IndexError> {
        self.state.inside(|| self.index.apply(changes))?;
        self.overlay.forget(changes.len());
        if let Some(last) = changes.last() {
            self.state.applied_seq.store(last.written.seq, Ordering::Release);
        }
        Ok(())
    }

    /// Whether another try makes sense.
    fn goes_on_after(&self, error: &IndexError, failures: u32) -> bool {
        if error.is_damage() {
            self.condemn(&error.to_string());
            return false;
        }
        if failures % FAILURES_PER_WARNING == 1 {
            warn!(%error, failures, "the index cannot be written; commits stay in the journal and in memory");
        }
        let stale = error.is_full_disk() && failures >= FULL_DISK_TRIES && self.has_room();
        if (stale || self.overlay.pending() > OVERLAY_CHANGES_MAX) && self.journal.trouble().is_none() {
            self.give_up();
        }
        true
    }

    fn give_up(&self) {
        error!("the index stays unwritable although the disk has room: restarting to rebuild it");
        (self.on_fatal)("the index is unwritable");
    }

    fn has_room(&self) -> bool {
        self.folder.free_bytes().is_ok_and(|free| free >= ROOM_BYTES_MIN)
    }

    /// Why ages are counted from the newest order and not from the clock: only new orders bring new keys, and the
    /// ledger has no clock of its own.
    fn checkpoint(&self, newest: Option<Timestamp>) -> Result<(), IndexError> {
        let age = i64::try_from(REQUEST_AGE_MAX.as_millis()).unwrap_or(i64::MAX);
        let oldest = newest.map(|newest| Timestamp::from_millis(newest.millis().saturating_sub(age)));
        let forgotten = oldest.map_or(Ok(()), |oldest| self.index.forget_requests(oldest, FORGET_MAX));
        let outcome = forgotten.and_then(|()| self.state.inside(|| self.index.flush()));
        if let Err(error) = &outcome {
            warn!(%error, "the index could not be flushed; it will be rebuilt if the power fails");
        }
        failpoint!("index.flushed_before_sync");
        if let Err(error) = self.folder.sync() {
            warn!(%error, "the index could not be synced; it will be rebuilt if the power fails");
        }
        outcome
    }
}

/// sled panics where others answer an error. Without its thread the index would stand still, commits would pile up in
/// memory and end in refusals: the process restarts instead, and replays.
struct PanicAlarm(OnFatal);

impl Drop for PanicAlarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)("the index's thread panicked");
        }
    }
}
