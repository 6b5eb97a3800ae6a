//! What the index is written to: sled, or a table in memory that the simulation sets back at a crash.
//!
//! Why an enum and not a trait: two stores, both ours, with the same atomic batches.

use std::ops::Bound;

use sled::IVec;

use super::block::Pair;
use super::garbage;
use super::memory::Memory;

/// The open store.
#[derive(Clone)]
pub(crate) enum Store {
    /// The folder `index`.
    Sled(sled::Db),
    /// A table of the simulation.
    Memory(Memory),
}

/// Writes that happen together or not at all; of two to one key the later counts.
#[derive(Debug, Default)]
pub(crate) struct Batch(Vec<Pair>);

/// A key, and what is written to it; None removes it.
pub(crate) type Write = (Vec<u8>, Option<Vec<u8>>);

/// Keys in ascending order, readable from both ends.
pub(crate) type Keys = Box<dyn DoubleEndedIterator<Item = sled::Result<IVec>>>;

impl Batch {
    /// A batch of these writes.
    pub(super) fn of(pairs: Vec<Pair>) -> Self {
        Batch(pairs)
    }

    /// Its writes.
    pub(super) fn into_pairs(self) -> Vec<Pair> {
        self.0
    }

    /// Writes a key.
    pub(crate) fn insert(&mut self, key: impl Into<IVec>, value: impl Into<IVec>) {
        self.0.push((key.into(), Some(value.into())));
    }

    /// Adds writes.
    pub(crate) fn extend(&mut self, writes: Vec<Write>) {
        self.0.extend(writes.into_iter().map(|(key, value)| (key.into(), value.map(IVec::from))));
    }

    /// Removes a key.
    pub(crate) fn remove(&mut self, key: impl Into<IVec>) {
        self.0.push((key.into(), None));
    }
}

impl Store {
    /// The value of a key.
    pub(crate) fn get(&self, key: impl AsRef<[u8]>) -> sled::Result<Option<IVec>> {
        match self {
            Store::Sled(db) => db.get(key),
            Store::Memory(memory) => memory.get(key.as_ref()),
        }
    }

    /// Writes a batch.
    pub(crate) fn apply(&self, batch: Batch) -> sled::Result<()> {
        match self {
            Store::Sled(db) => {
                let mut writes = sled::Batch::default();
                for (key, value) in batch.0 {
                    match value {
                        Some(value) => writes.insert(key, value),
                        None => writes.remove(key),
                    }
                }
                db.apply_batch(writes)?;
                garbage::collect();
                Ok(())
            }
            Store::Memory(memory) => memory.apply(batch.0),
        }
    }

    /// Writes sorted pairs, two threads at a time, in any order between different keys. A crash may leave any of them.
    pub(super) fn fill(&self, writes: &[Pair]) -> sled::Result<()> {
        let db = match self {
            Store::Sled(db) => db,
            Store::Memory(memory) => return memory.fill(writes.to_vec()),
        };
        let mut middle = writes.len() / 2;
        // Writes to one key stay together, in their order.
        while middle > 0 && middle < writes.len() && writes[middle].0 == writes[middle - 1].0 {
            middle += 1;
        }
        let write = |writes: &[Pair]| {
            writes.iter().try_for_each(|(key, value)| match value {
                Some(value) => db.insert(key, value.clone()).map(drop),
                None => db.remove(key).map(drop),
            })
        };
        let (low, high) = writes.split_at(middle);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| write(high));
            let mine = write(low);
            let other = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            mine.and(other)
        })
    }

    /// The first key between two bounds, and its value.
    pub(super) fn first_within(
        &self,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
    ) -> sled::Result<Option<(IVec, IVec)>> {
        match self {
            Store::Sled(db) => db.range::<&[u8], _>((low, high)).next().transpose(),
            Store::Memory(memory) => Ok(memory.first_within(low, high)),
        }
    }

    /// The last key between two bounds, and its value.
    pub(super) fn last_within(
        &self,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
    ) -> sled::Result<Option<(IVec, IVec)>> {
        match self {
            Store::Sled(db) => db.range::<&[u8], _>((low, high)).next_back().transpose(),
            Store::Memory(memory) => Ok(memory.last_within(low, high)),
        }
    }

    /// Everything.
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = sled::Result<(IVec, IVec)>>> {
        match self {
            Store::Sled(db) => Box::new(db.iter()),
            Store::Memory(memory) => Box::new(memory.entries().into_iter().map(Ok)),
        }
    }

    /// Whether it holds anything at all.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Store::Sled(db) => db.is_empty(),
            Store::Memory(memory) => memory.entries().is_empty(),
        }
    }

    /// Hands everything to the kernel.
    pub(crate) fn flush(&self) -> sled::Result<()> {
        match self {
            Store::Sled(db) => db.flush().map(|_| ()),
            Store::Memory(_) => Ok(()),
        }
    }
}
