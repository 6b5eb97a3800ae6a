//! What is committed and not yet in sled. Bounded: each change holds a permit until it is indexed.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::keys::KeyEntry;
use super::{Change, STATUSES, status_place};
use crate::domain::values::OrderId;
use crate::ledger::record::Snapshot;

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
    /// Idempotency keys of orders in `pending`.
    pub(crate) requests: HashMap<String, KeyEntry>,
    /// Orders per status, everything committed included.
    pub(crate) counts: [u64; STATUSES],
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

    /// Takes a durable commit in: from here on every reader sees it. `before` is the place of the former status.
    pub(crate) fn add(&self, change: Change, before: Option<usize>, permit: OwnedSemaphorePermit) {
        let mut state = self.lock();
        let payment = &change.snapshot.payment;
        state.in_flight.remove(&payment.id);
        if let Some(before) = before {
            state.counts[before] = state.counts[before].saturating_sub(1);
        }
        state.counts[status_place(payment)] += 1;
        if let (None, Some(request)) = (before, &payment.request) {
            state.requests.insert(request.key.clone(), KeyEntry::of(payment, request));
        }
        state.latest.insert(payment.id, (change.applied.seq, Arc::clone(&change.snapshot)));
        state.pending.push_back((change, permit));
        drop(state);
        self.grown.notify_one();
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

    /// The oldest changes, at most `limit`, left in place; empty after `patience`. None once closed and empty.
    pub(crate) fn peek(&self, limit: usize, patience: Duration) -> Option<Vec<Change>> {
        let state = self.lock();
        let idle = |state: &mut State| state.pending.is_empty() && !state.closing;
        let waited = self.grown.wait_timeout_while(state, patience, idle);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.pending.is_empty() && state.closing {
            return None;
        }
        Some(state.pending.iter().take(limit).map(|(change, _)| change.clone()).collect())
    }

    /// Drops the oldest `count` changes, now in sled.
    pub(crate) fn forget(&self, count: usize) {
        let mut state = self.lock();
        for _ in 0..count {
            let Some((change, _)) = state.pending.pop_front() else { return };
            let payment = &change.snapshot.payment;
            if state.latest.get(&payment.id).is_some_and(|(seq, _)| *seq == change.applied.seq) {
                state.latest.remove(&payment.id);
            }
            if let (1, Some(request)) = (payment.version, &payment.request) {
                // The key may stand for a newer order by now.
                if state.requests.get(&request.key).is_some_and(|entry| entry.order == payment.id) {
                    state.requests.remove(&request.key);
                }
            }
        }
    }
}
