//! A medium in memory whose writes and syncs fail on request, and which loses what was never synced.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::medium::KEYS;

/// Unsynced bytes survive a power cut or are lost in pieces of this size.
pub const SECTOR_BYTES: usize = 512;

/// One failure to come. Faults of a kind are used up in the order they were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The next write stores only this many bytes, then fails.
    Write {
        /// Bytes that reach the segment before the error.
        stored: usize,
        /// The error.
        kind: ErrorKind,
    },
    /// The next sync fails; nothing becomes durable.
    Sync(ErrorKind),
    /// The next truncation fails.
    Truncate(ErrorKind),
}

/// What a medium is asked to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Bytes into a segment. Half of them reach it before the failure.
    Write,
    /// A segment made durable.
    Sync,
    /// A segment cut off.
    Truncate,
    /// A segment made.
    Create,
    /// Directory entries made durable.
    SyncEntries,
}

/// A failure of one operation, or of every one from then on.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Which operation.
    pub operation: Operation,
    /// How many of them succeed first.
    pub after: u64,
    /// Whether all later ones fail too.
    pub forever: bool,
    /// The error.
    pub kind: ErrorKind,
}

/// Segments in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    segments: BTreeMap<u64, Content>,
    writes: VecDeque<(usize, ErrorKind)>,
    syncs: VecDeque<ErrorKind>,
    truncates: VecDeque<ErrorKind>,
    /// The failure to come, and how many operations of its kind were seen.
    plan: Option<Plan>,
    planned_seen: u64,
    /// Writes fail with `StorageFull` while set.
    full: bool,
    syncs_done: u64,
    failures: u64,
}

#[derive(Debug, Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    entry_durable: bool,
}

impl Memory {
    /// Plans a failure.
    pub fn inject(&self, fault: Fault) {
        let mut state = self.state();
        match fault {
            Fault::Write { stored, kind } => state.writes.push_back((stored, kind)),
            Fault::Sync(kind) => state.syncs.push_back(kind),
            Fault::Truncate(kind) => state.truncates.push_back(kind),
        }
    }

    /// Plans the failure of the n-th operation of a kind; None takes the plan back.
    pub fn plan(&self, plan: Option<Plan>) {
        let mut state = self.state();
        (state.plan, state.planned_seen) = (plan, 0);
    }

    /// Operations of the planned kind so far, the failed ones included.
    pub fn planned_seen(&self) -> u64 {
        self.state().planned_seen
    }

    /// Fills or frees the disk.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Successful syncs so far.
    pub fn syncs_done(&self) -> u64 {
        self.state().syncs_done
    }

    /// Cuts the power: of what was never synced, each sector survives only if `keep` says so.
    pub fn power_cut(&self, keep: &mut dyn FnMut() -> bool) {
        let mut state = self.state();
        state.segments.retain(|_, content| content.entry_durable || keep());
        for content in state.segments.values_mut() {
            content.cut(keep);
        }
    }

    /// The bytes of a segment, as a reader sees them now.
    pub fn bytes(&self, first: u64) -> Vec<u8> {
        self.state().segments.get(&first).map(|content| content.now.clone()).unwrap_or_default()
    }

    /// The bytes of a segment from `offset` on that a power cut would leave for certain.
    pub fn durable(&self, first: u64, offset: usize) -> Vec<u8> {
        let state = self.state();
        let content = state.segments.get(&first).filter(|content| content.entry_durable);
        content.and_then(|content| content.durable.get(offset..)).unwrap_or_default().to_vec()
    }

    /// The first seq of every segment, ascending.
    pub fn segments(&self) -> Vec<u64> {
        self.list()
    }

    /// Takes back every failure that was planned and has not happened, and frees the disk.
    pub fn heal(&self) {
        let mut state = self.state();
        state.writes.clear();
        state.syncs.clear();
        state.truncates.clear();
        state.full = false;
    }

    /// Whether a failure is planned, or the disk is full.
    pub fn is_failing(&self) -> bool {
        let state = self.state();
        state.full || !(state.writes.is_empty() && state.syncs.is_empty() && state.truncates.is_empty())
    }

    /// How many writes and syncs failed so far.
    pub fn failures(&self) -> u64 {
        self.state().failures
    }

    /// A copy that shares nothing with this one.
    pub fn fork(&self) -> Memory {
        Memory { state: Arc::new(Mutex::new(self.state().clone())) }
    }

    /// Replaces a segment, durably: a disk that rots, or a fixture.
    pub fn put(&self, first: u64, bytes: Vec<u8>) {
        let content = Content { durable: bytes.clone(), now: bytes, entry_durable: true };
        self.state().segments.insert(first, content);
    }

    pub(super) fn list(&self) -> Vec<u64> {
        self.state().segments.keys().copied().filter(|first| *first != KEYS).collect()
    }

    pub(super) fn open(&self, first: u64) -> io::Result<()> {
        self.state().content(first).map(|_| ())
    }

    pub(super) fn create(&self, first: u64) -> io::Result<()> {
        let mut state = self.state();
        state.due(Operation::Create)?;
        if state.full {
            state.failures += 1;
            return Err(ErrorKind::StorageFull.into());
        }
        state.segments.entry(first).or_default();
        Ok(())
    }

    pub(super) fn sync_entries(&self) -> io::Result<()> {
        let mut state = self.state();
        state.due(Operation::SyncEntries)?;
        state.segments.values_mut().for_each(|content| content.entry_durable = true);
        Ok(())
    }

    pub(super) fn len(&self, first: u64) -> io::Result<u64> {
        Ok(self.state().content(first)?.now.len() as u64)
    }

    pub(super) fn read_at(&self, first: u64, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state();
        let bytes = &state.content(first)?.now;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    pub(super) fn write_at(&self, first: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state();
        let planned = state.due(Operation::Write).err().map(|error| (bytes.len() / 2, error.kind()));
        let fault = match planned.or_else(|| state.writes.pop_front()) {
            None if state.full => Some((0, ErrorKind::StorageFull)),
            planned => planned,
        };
        state.failures += u64::from(fault.is_some());
        let stored = fault.map_or(bytes.len(), |(stored, _)| stored.min(bytes.len()));
        let now = &mut state.content(first)?.now;
        let from = usize::try_from(offset).map_err(|_| ErrorKind::InvalidInput)?;
        if now.len() < from + stored {
            now.resize(from + stored, 0);
        }
        now[from..from + stored].copy_from_slice(&bytes[..stored]);
        fault.map_or(Ok(()), |(_, kind)| Err(kind.into()))
    }

    pub(super) fn sync(&self, first: u64) -> io::Result<()> {
        let mut state = self.state();
        state.due(Operation::Sync)?;
        if let Some(kind) = state.syncs.pop_front() {
            state.failures += 1;
            return Err(kind.into());
        }
        state.syncs_done += 1;
        let content = state.content(first)?;
        content.durable.clone_from(&content.now);
        Ok(())
    }

    pub(super) fn truncate(&self, first: u64, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.due(Operation::Truncate)?;
        if let Some(kind) = state.truncates.pop_front() {
            return Err(kind.into());
        }
        let len = usize::try_from(len).map_err(|_| ErrorKind::InvalidInput)?;
        state.content(first)?.now.resize(len, 0);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts an operation, and fails it if it is its turn.
    fn due(&mut self, operation: Operation) -> io::Result<()> {
        let Some(plan) = self.plan.filter(|plan| plan.operation == operation) else { return Ok(()) };
        self.planned_seen += 1;
        let hit =
            if plan.forever { self.planned_seen > plan.after } else { self.planned_seen == plan.after + 1 };
        if hit { Err(plan.kind.into()) } else { Ok(()) }
    }

    fn content(&mut self, first: u64) -> io::Result<&mut Content> {
        self.segments.get_mut(&first).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Content {
    fn cut(&mut self, keep: &mut dyn FnMut() -> bool) {
        let mut after = self.durable.clone();
        let sectors = self.now.len().div_ceil(SECTOR_BYTES);
        for sector in 0..sectors {
            let from = sector * SECTOR_BYTES;
            let to = (from + SECTOR_BYTES).min(self.now.len());
            let unsynced = self.durable.get(from..to) != Some(&self.now[from..to]);
            if unsynced && keep() {
                if after.len() < to {
                    after.resize(to, 0);
                }
                after[from..to].copy_from_slice(&self.now[from..to]);
            }
        }
        self.now.clone_from(&after);
        self.durable = after;
    }
}
