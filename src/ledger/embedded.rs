//! The store in a folder: commits through the journal's thread, reads from overlay and index.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::{error, warn};

use super::index::guard::Folder;
use super::index::indexer::IndexerState;
use super::index::overlay::Overlay;
use super::index::{Change, Index};
use super::journal::{
    self, AppendError, Entry as Append, KeyWork, Medium, OnFatal, Trouble, Writer, Written, read_line,
};
use super::lock::Lock;
use super::record::{Commit, Keys, Line, Located, Read, ReadError, Snapshot, decode_body};
use super::seal::Keyring;
use super::vault::Vault;
use super::worker::Worker;
use super::{CommitError, Health, LETTING_GO, LedgerError};
use crate::domain::event::Event;
use crate::domain::evidence::Entry;
use crate::domain::payment::Payment;
use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::{OrderId, Timestamp};

/// Commits that may be on their way, from the queue to sled.
pub(super) const UNINDEXED_COMMITS_MAX: usize = journal::QUEUE_COMMITS_MAX - 64;
/// How long the index may take to write what waits when the store is closed.
const INDEX_CLOSE_MAX: Duration = Duration::from_secs(15);
/// A commit waits this long for its turn before it is refused.
const PERMIT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Journal, index and what stands between them.
pub struct Embedded {
    pub(super) medium: Medium,
    pub(super) ring: Arc<Keyring>,
    pub(super) journal: Arc<Writer>,
    /// Taken at `close`, so that sled lets go of its files although handles to the ledger live on.
    pub(super) index: RwLock<Option<Index>>,
    pub(super) overlay: Arc<Overlay>,
    pub(super) indexer: Arc<IndexerState>,
    /// The index's worker.
    pub(super) thread: Mutex<Option<Worker>>,
    /// Ends the process.
    pub(super) on_fatal: OnFatal,
    pub(super) permits: Arc<Semaphore>,
    pub(super) folder: Folder,
    /// Held for as long as the store is open; a simulated one has none.
    pub(super) lock: Mutex<Option<Lock>>,
    /// Whether its workers are tasks.
    pub(super) simulated: bool,
}

impl Embedded {
    /// sled, while the store is open.
    pub(super) fn index(&self) -> Result<Index, LedgerError> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.clone().ok_or(LedgerError::Closed)
    }

    /// The committed state of an order, wherever it is.
    pub(super) fn stored(&self, id: OrderId) -> Result<Option<Arc<Snapshot>>, LedgerError> {
        // The overlay first: what it dropped in between is in sled.
        if let Some((_, snapshot)) = self.overlay.lock().latest.get(&id) {
            return Ok(Some(Arc::clone(snapshot)));
        }
        let Some((lines, state)) = self.index()?.order(id)? else { return Ok(None) };
        Ok(Some(Arc::new(match state {
            Some((payment, vault)) => Snapshot { payment: Arc::new(payment), vault, lines },
            None => self.refold(id, &lines)?,
        })))
    }

    /// The number of a paid order's receipt.
    pub(super) fn receipt(&self, id: OrderId) -> Result<Option<ReceiptNumber>, LedgerError> {
        // The overlay first: what it dropped in between is in sled.
        let fresh = self.overlay.lock().receipts.get(&id).copied();
        match fresh {
            Some(number) => Ok(Some(number)),
            None => Ok(self.index()?.receipt(id)?),
        }
    }

    /// The order whose receipt has this number.
    pub(super) fn numbered(&self, number: ReceiptNumber) -> Result<Option<OrderId>, LedgerError> {
        // The overlay first: what it dropped in between is in sled.
        let fresh = self.overlay.lock().receipts.iter().find(|(_, own)| **own == number).map(|(id, _)| *id);
        match fresh {
            Some(id) => Ok(Some(id)),
            None => Ok(self.index()?.numbered(number)?),
        }
    }

    /// Every commit of an order.
    pub(super) fn history(&self, id: OrderId) -> Result<Vec<Line>, LedgerError> {
        let Some(snapshot) = self.stored(id)? else { return Ok(Vec::new()) };
        snapshot.lines.iter().map(|located| self.line(id, located).map(|(read, _)| read.line)).collect()
    }

    /// The same lines with their bytes and hashes.
    pub(super) fn evidence(&self, id: OrderId) -> Result<Vec<Entry>, LedgerError> {
        let Some(snapshot) = self.stored(id)? else { return Ok(Vec::new()) };
        let read = |located: &Located| {
            let (Read { line: Line { seq, at, version, events }, .. }, bytes) = self.line(id, located)?;
            let unreadable = |_| LedgerError::Line("not UTF-8".into());
            let text = String::from_utf8(bytes).map_err(unreadable)?;
            let sound =
                journal::line::decode(text.as_bytes()).map_err(|reason| LedgerError::Line(reason.into()))?;
            let hash = String::from_utf8_lossy(&sound.hash).into_owned();
            Ok(Entry { seq, at, version, events, text, hash })
        };
        snapshot.lines.iter().map(read).collect()
    }

    /// A line and its bytes.
    pub(super) fn line(&self, id: OrderId, located: &Located) -> Result<(Read, Vec<u8>), LedgerError> {
        let bytes = read_line(&self.medium, located.seq, located.position)?;
        let line = journal::line::decode(&bytes).map_err(|reason| LedgerError::Line(reason.into()))?;
        let unreadable = |error| match error {
            ReadError::Lost(lost) => LedgerError::Lost(lost),
            ReadError::Line(reason) | ReadError::Keys(reason) => LedgerError::Line(reason),
        };
        let read = match decode_body(line.seq, line.body, Keys::Of(&self.ring)) {
            Err(ReadError::Lost(lost)) => {
                let bare = decode_body(line.seq, line.body, Keys::None).map_err(unreadable)?;
                match bare.kept.slot() {
                    Some(slot) if self.says_destroyed(id, slot)? => bare,
                    Some(_) | None => return Err(LedgerError::Lost(lost)),
                }
            }
            read => read.map_err(unreadable)?,
        };
        match read {
            read if read.order == id && read.line.seq == located.seq => Ok((read, bytes)),
            _ => Err(LedgerError::Line("the index points to another order's line".into())),
        }
    }

    /// A snapshot of another format is folded again from its events.
    fn refold(&self, id: OrderId, lines: &[Located]) -> Result<Snapshot, LedgerError> {
        let mut snapshot: Option<Snapshot> = None;
        for located in lines {
            let (read, _) = self.line(id, located)?;
            let next = Snapshot::after(snapshot.as_ref(), &read, located.position, &self.ring);
            snapshot = Some(next.map_err(LedgerError::Line)?);
        }
        snapshot.ok_or_else(|| LedgerError::Line("an order without lines".into()))
    }

    pub(super) async fn commit(
        &self,
        id: OrderId,
        base: Option<&Arc<Snapshot>>,
        events: &[Event],
        now: Timestamp,
    ) -> Result<Arc<Snapshot>, CommitError> {
        let permit = self.permit().await?;
        self.claim(id, base)?;
        let (reply, answer) = oneshot::channel();
        match self.entry(id, base, events, now, permit, reply) {
            Ok(entry) => self.journal.append(entry),
            Err(error) => {
                self.overlay.lock().in_flight.remove(&id);
                return Err(error);
            }
        }
        // The thread drops what it holds only when it ends in a fatal state.
        let written = answer.await.map_err(|_| CommitError::Unknown)?;
        written.map_err(refusal)
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, CommitError> {
        // Without a timer where there is room, which is nearly always.
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let permit = Arc::clone(&self.permits).acquire_owned();
        match tokio::time::timeout(PERMIT_WAIT_MAX, permit).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(CommitError::Closed),
            Err(_) => {
                self.judge_index();
                Err(CommitError::NoRoom)
            }
        }
    }

    /// Takes the order for one commit, if nobody else has and `base` is its newest state.
    ///
    /// Why the version is read again: whoever continues an order holds what it read before, and a second owner would
    /// otherwise be noticed only when the journal is folded.
    fn claim(&self, id: OrderId, base: Option<&Arc<Snapshot>>) -> Result<(), CommitError> {
        let version = base.map_or(0, |base| base.payment.version);
        let known = {
            let mut state = self.overlay.lock();
            if !state.in_flight.insert(id) {
                return Err(CommitError::Conflict);
            }
            state.latest.get(&id).map(|(_, snapshot)| snapshot.payment.version)
        };
        // From here on no commit of this order is added; what the overlay dropped in between is in sled.
        let newest = match known {
            Some(known) => Ok(known),
            None => self.index().and_then(|index| Ok(index.version(id)?)),
        };
        let claimed = match newest {
            Ok(newest) if newest == version => return Ok(()),
            Ok(_) => CommitError::Conflict,
            Err(error) => error.into(),
        };
        self.overlay.lock().in_flight.remove(&id);
        Err(claimed)
    }

    fn entry(
        &self,
        id: OrderId,
        base: Option<&Arc<Snapshot>>,
        events: &[Event],
        now: Timestamp,
        permit: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<Arc<Snapshot>, AppendError>>,
    ) -> Result<Append, CommitError> {
        if events.is_empty() {
            return Err(CommitError::Conflict);
        }
        let payment = Payment::evolve(base.map(|base| &*base.payment), id, events, now)?;
        let erases = self.keys_to_destroy(id, base, events)?;
        let (seal, before) = self.seal(id, base, events)?;
        let commit = Commit { order: id, version: payment.version, events, at: now, erases: &erases };
        let body = commit.encode(seal.as_ref()).map_err(CommitError::Io)?;
        let vault = Vault::after(base.map(|base| &**base), &payment, seal.as_ref(), &self.ring);
        let vault = vault.map_err(CommitError::Io)?;
        let after = erases.iter().map(|slot| Keyring::destroyed(*slot, id)).collect();
        let keys = KeyWork { before, after };
        let (ring, slot) = (Arc::clone(&self.ring), seal.as_ref().map(|seal| seal.slot));
        let mut lines = Vec::with_capacity(base.map_or(0, |base| base.lines.len()) + 1);
        lines.extend(base.iter().flat_map(|base| &base.lines));
        let (payment, before) = (Arc::new(payment), base.cloned());
        let overlay = Arc::clone(&self.overlay);
        // Why here and not after the answer: the caller may be gone by then, and the index must not miss a line.
        let done = Box::new(move |outcome: Result<Written, AppendError>| {
            let outcome = match outcome {
                Ok(written) => {
                    lines.push(Located { seq: written.seq, position: written.position });
                    slot.into_iter().for_each(|slot| ring.name(slot));
                    let snapshot = Arc::new(Snapshot { payment, vault, lines });
                    let change = Change { written, before, snapshot: Arc::clone(&snapshot), receipt: None };
                    overlay.add(change, permit);
                    Ok(snapshot)
                }
                Err(error) => {
                    overlay.lock().in_flight.remove(&id);
                    Err(error)
                }
            };
            // Nobody waits any more: the commit stands all the same.
            let _ = reply.send(outcome);
        });
        Ok(Append { body, keys, done })
    }

    pub(super) fn health(&self) -> Health {
        let trouble = self.journal.trouble().map(|trouble| match trouble {
            Trouble::Unhealthy(error) => error.to_string(),
            Trouble::Fatal => AppendError::Fatal.to_string(),
            Trouble::Closed => AppendError::Closed.to_string(),
        });
        let full = self.permits.available_permits() == 0;
        // An index that fails is no reason by itself: reads see the overlay, and the journal commits.
        let lag = full.then(|| "l'index ne suit pas / the index does not keep up".to_owned());
        let reason = trouble.or(lag);
        Health {
            can_commit: reason.is_none(),
            reason,
            last_seq: self.journal.last_seq(),
            applied_seq: self.indexer.applied_seq.load(Ordering::Acquire),
            index_in_doubt: self.indexer.in_doubt.load(Ordering::Acquire),
            queue_depth: self.journal.waiting(),
        }
    }

    pub(super) async fn probe(&self) -> Result<(), CommitError> {
        let (pong, answer) = oneshot::channel();
        self.journal.ping(Box::new(move || {
            // Nobody waits any more.
            let _ = pong.send(());
        }));
        let answered = answer.await;
        match self.journal.trouble() {
            None if answered.is_ok() => Ok(()),
            None | Some(Trouble::Closed) => Err(CommitError::Closed),
            Some(Trouble::Fatal) => Err(CommitError::Unknown),
            Some(Trouble::Unhealthy(error)) => Err(refusal(error)),
        }
    }

    /// No commit gets through any more because the index does not keep up: if it never will, the process restarts.
    fn judge_index(&self) {
        if self.indexer.is_stuck() && self.journal.trouble().is_none() {
            error!("the index hangs although the disk has room: restarting to rebuild it");
            (self.on_fatal)("the index hangs");
        }
    }

    pub(super) fn close(&self) {
        self.permits.close();
        self.journal.close();
        self.overlay.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        let Some(ended) = thread.join_within(INDEX_CLOSE_MAX) else {
            // sled waits for a write that failed. Nothing is lost: the next start replays the journal. Its handle is
            // left alone, since letting go of it would wait as well.
            warn!("the index does not end; the next start brings it up to date");
            std::mem::forget(self.index.write().unwrap_or_else(PoisonError::into_inner).take());
            return;
        };
        self.settle(ended);
    }

    /// The same as [`Embedded::close`] where the workers are tasks of the caller's runtime.
    pub(super) async fn close_simulated(&self) {
        self.permits.close();
        let writer = self.journal.shut();
        if let Some(writer) = writer {
            writer.ended().await;
        }
        self.overlay.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            self.settle(thread.ended().await);
        }
    }

    /// Notes that all was in order, if it was, and lets go of the files.
    fn settle(&self, ended: bool) {
        let level = self.indexer.applied_seq.load(Ordering::Acquire) == self.journal.last_seq();
        if !self.let_go() {
            warn!("the index's last sync failed; the next start looks closer");
        } else if !ended || !level || self.journal.trouble() != Some(Trouble::Closed) {
            warn!("the index is not complete; the next start brings it up to date");
        } else if self.indexer.in_doubt.load(Ordering::Acquire) {
            warn!("the index was not read to its end; the next start reads it, or makes it anew");
        } else if let Err(error) = self.folder.mark_clean() {
            warn!(%error, "cannot note that the index was closed in order");
        }
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Lets go of the index's store. False: its last sync failed. Why in a thread of its own: sled syncs once more when
    /// it is dropped, and panics where it cannot.
    fn let_go(&self) -> bool {
        let index = self.index.write().unwrap_or_else(PoisonError::into_inner).take();
        self.simulated || Worker::thread(LETTING_GO, move || drop(index)).is_ok_and(Worker::join)
    }
}

/// A store dropped without `close` leaves no thread behind, and no mark of order: the next start looks closer.
impl Drop for Embedded {
    fn drop(&mut self) {
        self.journal.close();
        self.overlay.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| !thread.join()) {
            warn!("the index's thread had panicked");
        }
    }
}

fn refusal(error: AppendError) -> CommitError {
    match error {
        AppendError::NoRoom => CommitError::NoRoom,
        AppendError::Io(reason) => CommitError::Io(reason),
        AppendError::TooLarge => CommitError::TooLarge,
        AppendError::Closed => CommitError::Closed,
        AppendError::Fatal => CommitError::Unknown,
    }
}
