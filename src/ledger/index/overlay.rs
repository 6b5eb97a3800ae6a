//! What is committed and not yet in sled. Bounded: each change holds a permit until it is indexed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::keys::KeyEntry;
use super::receipts::Series;
use super::totals::Totals;
use super::{Change, STATUSES, due, status_place};
use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::{OrderId, Timestamp};
use crate::ledger::record::Snapshot;

/// Changes that become one batch at most.
pub(crate) const BATCH_CHANGES_MAX: usize = 2048;
/// Changes dropped under one lock.
const FORGET_PIECE: usize = 256;

/// Shared between the journal's thread (adds), the indexer (removes) and readers.
#[derive(Default)]
pub(crate) struct Overlay {
    state: Mutex<State>,
    grown: Condvar,
}

/// Its contents, under the lock.
#[derive(Default)]
pub(crate) struct State {
    pending: VecDeque<(Change, OwnedSemaphorePermit)>,
    /// The newest snapshot of each order in `pending`, and the seq of its line.
    pub(crate) latest: BTreeMap<OrderId, (u64, Arc<Snapshot>)>,
    /// When every order that is due at some moment is, everything committed included.
    ///
    /// Why in memory: each commit moves an order's moment, and only few orders have one. An order takes about 40 bytes
    /// here from its purchase until nothing is owed any more.
    pub(crate) due: BTreeSet<(Timestamp, OrderId)>,
    /// Idempotency keys of orders in `pending`.
    pub(crate) requests: HashMap<String, KeyEntry>,
    /// Orders per status, everything committed included.
    pub(crate) counts: [u64; STATUSES],
    /// The last receipt number of each year, everything committed included.
    pub(crate) series: Series,
    /// Receipt numbers given in `pending`.
    pub(crate) receipts: HashMap<OrderId, ReceiptNumber>,
    /// Sales by day and mails refused for good, everything committed included.
    pub(crate) totals: Totals,
    /// Orders with a commit on its way through the journal.
    pub(crate) in_flight: HashSet<OrderId>,
    /// No further change will come.
    pub(crate) closing: bool,
}

impl Overlay {
    /// The contents.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a durable commit in: from here on every reader sees it.
    ///
    /// Invariant: called in the journal's order, which is what receipts are numbered by.
    pub(crate) fn add(&self, mut change: Change, permit: OwnedSemaphorePermit) {
        let mut state = self.lock();
        let payment = &change.snapshot.payment;
        change.receipt = state.series.number(change.before.as_ref().map(|before| &*before.payment), payment);
        state.receipts.extend(change.receipt.map(|number| (payment.id, number)));
        state.in_flight.remove(&payment.id);
        let former = change.before.as_ref().and_then(|before| due(&before.payment));
        state.due.extend(due(payment).map(|at| (at, payment.id)));
        if let Some(at) = former.filter(|at| due(payment) != Some(*at)) {
            state.due.remove(&(at, payment.id));
        }
        if let Some(before) = &change.before {
            let count = &mut state.counts[status_place(&before.payment)];
            *count = count.saturating_sub(1);
        }
        state.counts[status_place(payment)] += 1;
        state.totals.see(change.before.as_deref().map(|before| &*before.payment), payment);
        if let (None, Some(request)) = (&change.before, &payment.request) {
            state.requests.insert(request.key.clone(), KeyEntry::of(payment, request));
        }
        state.latest.insert(payment.id, (change.written.seq, Arc::clone(&change.snapshot)));
        state.pending.push_back((change, permit));
        let pending = state.pending.len();
        drop(state);
        // Between these two the indexer waits for more, or is at work and will look by itself.
        if pending == 1 || pending == BATCH_CHANGES_MAX / 2 {
            self.grown.notify_one();
        }
    }

    /// Changes not yet in sled.
    pub(crate) fn pending(&self) -> usize {
        self.lock().pending.len()
    }

    /// No further change will come; the indexer ends when all are taken in.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.grown.notify_one();
    }

    /// The oldest changes, at most [`BATCH_CHANGES_MAX`], left in place; empty after `patience`. None once closed and
    /// empty.
    ///
    /// With fewer than half of that there it waits up to `linger` for more: an order that changes several times in a
    /// short while is then written once.
    pub(crate) fn peek(&self, patience: Duration, linger: Duration) -> Option<Vec<Change>> {
        let state = self.lock();
        let idle = |state: &mut State| state.pending.is_empty() && !state.closing;
        let waited = self.grown.wait_timeout_while(state, patience, idle);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let few = |state: &mut State| {
            !state.pending.is_empty() && state.pending.len() < BATCH_CHANGES_MAX / 2 && !state.closing
        };
        let waited = self.grown.wait_timeout_while(state, linger, few);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.pending.is_empty() && state.closing {
            return None;
        }
        Some(state.pending.iter().take(BATCH_CHANGES_MAX).map(|(change, _)| change.clone()).collect())
    }

    /// Drops the oldest `count` changes, now in sled.
    pub(crate) fn forget(&self, count: usize) {
        let mut left = count;
        while left > 0 {
            // In pieces: the journal's thread waits for the same lock.
            let piece = left.min(FORGET_PIECE);
            self.lock().forget(piece);
            left -= piece;
        }
    }
}

impl State {
    fn forget(&mut self, count: usize) {
        for _ in 0..count {
            let Some((change, _)) = self.pending.pop_front() else { return };
            let payment = &change.snapshot.payment;
            if change.receipt.is_some() {
                self.receipts.remove(&payment.id);
            }
            if self.latest.get(&payment.id).is_some_and(|(seq, _)| *seq == change.written.seq) {
                self.latest.remove(&payment.id);
            }
            if let (1, Some(request)) = (payment.version, &payment.request) {
                // The key may stand for a newer order by now.
                if self.requests.get(&request.key).is_some_and(|entry| entry.order == payment.id) {
                    self.requests.remove(&request.key);
                }
            }
        }
    }
}
