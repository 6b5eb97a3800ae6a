//! The one thread that writes and flushes sled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::gauge;
use tracing::{error, warn};

use super::overlay::Overlay;
use super::place::Folder;
use super::{Change, Index, IndexError};
use crate::domain::values::Timestamp;
use crate::ledger::journal::{OnFatal, Writer};
use crate::ledger::simulated::Pace;

/// Changes that become one batch at most.
const BATCH_CHANGES_MAX: usize = 1024;
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
const OVERLAY_CHANGES_MAX: usize = 8 * 1024;
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
}

impl Indexer {
    /// Runs until the overlay is closed and empty, then checkpoints.
    pub(crate) fn run(self) {
        let mut checkpoint = Instant::now();
        let mut dirty = true;
        let mut failures = 0;
        let mut newest = None;
        while let Some(changes) = self.overlay.peek(BATCH_CHANGES_MAX, CHECKPOINT_EVERY) {
            if let Err(error) = self.take_in(&changes) {
                failures += 1;
                self.failed(&error, failures);
                if self.overlay.lock().closing {
                    // The next start replays what is missing.
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
                dirty = false;
                checkpoint = Instant::now();
                self.checkpoint(newest);
            }
        }
        self.checkpoint(newest);
    }

    /// The same as [`Indexer::run`] as a task, whose batches take as long as the machine says.
    pub(crate) async fn run_paced(self, pace: Pace) {
        let mut checkpoint = tokio::time::Instant::now();
        let mut failures = 0;
        let mut newest = None;
        while let Some(changes) = self.overlay.peek(BATCH_CHANGES_MAX, Duration::ZERO) {
            // Further commits arrive while a batch is on its way.
            let rest = if changes.is_empty() { IDLE_REST } else { (pace.index)() };
            tokio::time::sleep(rest).await;
            if let Err(error) = self.take_in(&changes) {
                failures += 1;
                self.failed(&error, failures);
                if self.overlay.lock().closing {
                    return;
                }
                continue;
            }
            failures = 0;
            newest = newest.max(changes.iter().map(|change| change.snapshot.payment.created_at).max());
            if checkpoint.elapsed() >= CHECKPOINT_EVERY {
                checkpoint = tokio::time::Instant::now();
                self.checkpoint(newest);
            }
        }
        self.checkpoint(newest);
    }

    fn take_in(&self, changes: &[Change]) -> Result<(), IndexError> {
        self.index.apply(changes)?;
        self.overlay.forget(changes.len());
        if let Some(last) = changes.last() {
            self.state.applied_seq.store(last.applied.seq, Ordering::Release);
        }
        let applied = self.state.applied_seq.load(Ordering::Acquire);
        gauge!("auditshield_index_lag").set(self.journal.last_seq().saturating_sub(applied) as f64);
        Ok(())
    }

    fn failed(&self, error: &IndexError, failures: u32) {
        if failures % FAILURES_PER_WARNING == 1 {
            warn!(%error, failures, "the index cannot be written; commits stay in the journal and in memory");
        }
        if self.overlay.pending() > OVERLAY_CHANGES_MAX && self.journal.trouble().is_none() {
            error!("the index stays unwritable although the disk has room: restarting to rebuild it");
            (self.on_fatal)("the index is unwritable");
        }
    }

    /// Why ages are counted from the newest order and not from the clock: only new orders bring new keys, and the
    /// ledger has no clock of its own.
    fn checkpoint(&self, newest: Option<Timestamp>) {
        let age = i64::try_from(REQUEST_AGE_MAX.as_millis()).unwrap_or(i64::MAX);
        let oldest = newest.map(|newest| Timestamp::from_millis(newest.millis().saturating_sub(age)));
        let forgotten = oldest.map_or(Ok(()), |oldest| self.index.forget_requests(oldest, FORGET_MAX));
        let outcome = forgotten.and_then(|()| self.index.flush());
        if let Err(error) = outcome {
            warn!(%error, "the index could not be flushed; it will be rebuilt if the power fails");
        }
        if let Err(error) = self.folder.sync() {
            warn!(%error, "the index could not be synced; it will be rebuilt if the power fails");
        }
    }
}
