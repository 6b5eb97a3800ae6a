//! An index in memory, for the simulation: a crash sets it back, empties it, or leaves it unopenable.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sled::IVec;

use super::block::Pair;

/// Batches that can be undone. Older ones count as having reached the disk.
const UNDO_BATCHES_MAX: usize = 256;

/// The index of a simulated machine. Clones share it; it outlives the process that has it open.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    table: BTreeMap<IVec, IVec>,
    /// What each of the last batches replaced.
    undo: VecDeque<Vec<Pair>>,
    /// The last batch is part of a filling, and goes with the next one: no crash falls in between here.
    filling: bool,
    exists: bool,
    broken: bool,
    failing: bool,
    /// Which boot of the machine this is.
    boot: u64,
    /// The boot that opened it last, and whether it was closed in order since.
    marker: Option<(u64, bool)>,
    set_aside: u64,
}

impl Memory {
    /// The process died: of the last batches, `batches` never reached the file. Nothing is lost after a close in order.
    pub fn set_back(&self, batches: usize) {
        let mut state = self.state();
        if state.was_closed() {
            return;
        }
        for _ in 0..batches {
            let Some(replaced) = state.undo.pop_back() else { return };
            for (key, value) in replaced {
                match value {
                    Some(value) => state.table.insert(key, value),
                    None => state.table.remove(&key),
                };
            }
        }
    }

    /// It comes back empty, without a word.
    pub fn empty(&self) {
        let mut state = self.state();
        state.table.clear();
        state.undo.clear();
    }

    /// It does not open any more.
    pub fn break_file(&self) {
        self.state().broken = true;
    }

    /// Whether writes fail from now on.
    pub fn set_failing(&self, failing: bool) {
        self.state().failing = failing;
    }

    /// Whether writes fail.
    pub fn is_failing(&self) -> bool {
        self.state().failing
    }

    /// The machine starts again after a power cut.
    pub fn reboot(&self) {
        self.state().boot += 1;
    }

    /// How often it was set aside, to be made anew.
    pub fn times_set_aside(&self) -> u64 {
        self.state().set_aside
    }

    /// A copy that shares nothing with this one.
    pub fn fork(&self) -> Memory {
        Memory { state: Arc::new(Mutex::new(self.state().clone())) }
    }

    pub(super) fn exists(&self) -> bool {
        self.state().exists
    }

    pub(super) fn was_closed(&self) -> bool {
        self.state().was_closed()
    }

    pub(super) fn lost_power(&self) -> bool {
        let state = self.state();
        match state.marker {
            Some((boot, closed)) => !closed && boot != state.boot,
            None => state.exists,
        }
    }

    pub(super) fn mark(&self, closed: bool) {
        let mut state = self.state();
        state.marker = Some((state.boot, closed));
        if closed {
            state.undo.clear();
        }
    }

    pub(super) fn discard(&self) {
        let mut state = self.state();
        state.set_aside += u64::from(state.exists);
        (state.exists, state.broken) = (false, false);
        state.table.clear();
        state.undo.clear();
    }

    /// False if it does not open.
    pub(super) fn open(&self) -> bool {
        let mut state = self.state();
        if !state.broken {
            state.exists = true;
        }
        !state.broken
    }

    pub(super) fn get(&self, key: &[u8]) -> sled::Result<Option<IVec>> {
        Ok(self.state().table.get(key).cloned())
    }

    pub(super) fn fill(&self, writes: Vec<Pair>) -> sled::Result<()> {
        self.apply(writes)?;
        self.state().filling = true;
        Ok(())
    }

    pub(super) fn apply(&self, writes: Vec<Pair>) -> sled::Result<()> {
        let mut state = self.state();
        if state.failing {
            return Err(sled::Error::Io(io::ErrorKind::StorageFull.into()));
        }
        let mut replaced = Vec::with_capacity(writes.len());
        for (key, value) in writes {
            let before = match value {
                Some(value) => state.table.insert(key.clone(), value),
                None => state.table.remove(&key),
            };
            replaced.push((key, before));
        }
        replaced.reverse();
        if std::mem::take(&mut state.filling) {
            replaced.extend(state.undo.pop_back().unwrap_or_default());
        }
        state.undo.push_back(replaced);
        if state.undo.len() > UNDO_BATCHES_MAX {
            state.undo.pop_front();
        }
        Ok(())
    }

    pub(super) fn first_within(&self, low: Bound<&[u8]>, high: Bound<&[u8]>) -> Option<(IVec, IVec)> {
        let state = self.state();
        state.table.range::<[u8], _>((low, high)).next().map(|(key, value)| (key.clone(), value.clone()))
    }

    pub(super) fn last_within(&self, low: Bound<&[u8]>, high: Bound<&[u8]>) -> Option<(IVec, IVec)> {
        let state = self.state();
        state.table.range::<[u8], _>((low, high)).next_back().map(|(key, value)| (key.clone(), value.clone()))
    }

    pub(super) fn entries(&self) -> Vec<(IVec, IVec)> {
        self.state().table.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn was_closed(&self) -> bool {
        self.marker.is_some_and(|(_, closed)| closed)
    }
}
