//! The store with its neighbours packed together: several keys and values of a kind are one value of the store.
//!
//! Why: sled 0.34 copies a leaf of up to sixteen entries for every key that is written, keeps some hundred bytes in memory
//! for every leaf, and lets no reader in while a batch is written. What is sold together is notified, paid and delivered
//! together: a batch touches a few blocks where it would touch a thousand keys. Keys that are hashes have no neighbours in
//! time: their blocks are small, and spare memory only.
//!
//! A block stands under a key of its kind, its fence: it holds the keys from there to the next fence. The first block's
//! fence is the kind alone. A block that has become empty goes, and what is written there later falls to the one before.
//! One thread writes, any number read.

use std::collections::VecDeque;
use std::ops::{Bound, RangeInclusive};

use sled::IVec;

use super::block::{self, Damaged, Entries, Pair};
use super::keys;
use super::store::{Batch, Keys, Store, Write};

/// A larger block is cut: beyond that a reader of one order would read too much of its neighbours.
const BYTES_MAX: usize = 8 * 1024;
/// The first bytes of keys that are hashes.
const HASHED: [u8; 3] = [keys::EMAIL, keys::TRANSACTION, keys::REQUEST];
/// A larger block of theirs is cut, since each of their keys is written with all of its block.
const HASHED_BYTES_MAX: usize = 1024;

/// A key's kind, its first byte. None for what is not packed: the layout's own mark, which every version must find.
fn packed(key: &[u8]) -> Option<u8> {
    key.first().copied().filter(|_| key != keys::LAYOUT)
}

fn block_bytes_max(kind: u8) -> usize {
    if HASHED.contains(&kind) { HASHED_BYTES_MAX } else { BYTES_MAX }
}

/// The open store, as its keys and values.
#[derive(Clone)]
pub(crate) struct Packed(Store);

/// A block, and how far its keys may go.
struct Place {
    fence: IVec,
    bytes: Option<IVec>,
    until: Option<IVec>,
}

impl Packed {
    /// The keys and values of an open store.
    pub(crate) fn new(store: Store) -> Self {
        Packed(store)
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: impl AsRef<[u8]>) -> sled::Result<Option<IVec>> {
        let key = key.as_ref();
        let Some(kind) = packed(key) else { return self.0.get(key) };
        let Some((_, bytes)) = self.0.last_within(Bound::Included(&[kind]), Bound::Included(key))? else {
            return Ok(None);
        };
        Ok(block::find(&bytes, key)?.map(IVec::from))
    }

    /// Writes a batch.
    pub(crate) fn apply(&self, batch: Batch) -> sled::Result<()> {
        self.0.apply(Batch::of(self.pack(batch.into_pairs())?))
    }

    /// Writes pairs, two threads at a time. A crash may leave any of them.
    pub(crate) fn fill(&self, writes: Vec<Write>) -> sled::Result<()> {
        let pairs = writes.into_iter().map(|(key, value)| (key.into(), value.map(IVec::from)));
        self.0.fill(&self.pack(pairs.collect())?)
    }

    /// What writes to keys amount to in the store.
    fn pack(&self, mut writes: Vec<Pair>) -> sled::Result<Vec<Pair>> {
        // Stable: of two writes to one key the later stays the later.
        writes.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut all = Vec::new();
        let mut rest = &writes[..];
        while let Some(first) = rest.first() {
            let Some(kind) = packed(&first.0) else {
                all.push(first.clone());
                rest = &rest[1..];
                continue;
            };
            let place = self.place(kind, &first.0)?;
            let inside = |key: &[u8]| {
                key.first() == Some(&kind) && place.until.as_ref().is_none_or(|until| key < &until[..])
            };
            let (own, others) = rest.split_at(rest.partition_point(|(key, _)| inside(key)));
            rest = others;
            let merged = block::merge(place.bytes.as_deref().unwrap_or_default(), own)?;
            let bytes_max = block_bytes_max(kind);
            if merged.len() > bytes_max {
                // Half full: orders grow after they were cut, and full blocks would all be cut again.
                let mut pieces = block::cut(&merged, bytes_max / 2)?;
                if let Some((first, _)) = pieces.first_mut() {
                    *first = place.fence.to_vec();
                }
                all.extend(pieces.into_iter().map(|(key, piece)| (key.into(), Some(piece.into()))));
            } else if !merged.is_empty() {
                all.push((place.fence, Some(merged.into())));
            } else if place.bytes.is_some() {
                all.push((place.fence, None));
            }
        }
        Ok(all)
    }

    /// The block that a key falls into.
    fn place(&self, kind: u8, key: &[u8]) -> sled::Result<Place> {
        let found = self.0.last_within(Bound::Included(&[kind]), Bound::Included(key))?;
        let (fence, bytes) = match found {
            Some((fence, bytes)) => (fence, Some(bytes)),
            None => (IVec::from(&[kind]), None),
        };
        let next = self.0.first_within(Bound::Excluded(&fence), Bound::Excluded(&[kind + 1]))?;
        Ok(Place { fence, bytes, until: next.map(|(until, _)| until) })
    }

    /// The keys of a range, all of one kind.
    pub(crate) fn keys(&self, range: RangeInclusive<Vec<u8>>) -> Keys {
        let (low, high) = range.into_inner();
        self.walk(low, Bound::Included(high.into()))
    }

    /// The keys that begin with `prefix`, which begins with their kind.
    pub(crate) fn keys_under(&self, prefix: &[u8]) -> Keys {
        let mut above = prefix.to_vec();
        while above.pop_if(|byte| *byte == u8::MAX).is_some() {}
        let high = match above.last_mut() {
            Some(byte) => {
                *byte += 1;
                Bound::Excluded(above.into())
            }
            None => Bound::Unbounded,
        };
        self.walk(prefix.to_vec(), high)
    }

    fn walk(&self, low: Vec<u8>, high: Bound<IVec>) -> Keys {
        let kind = low.first().copied().unwrap_or_default();
        Box::new(Walk::new(self.0.clone(), kind, Bound::Included(low.into()), high))
    }

    /// Everything, in order. An entry that no reader would find where it stands is damage.
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = sled::Result<(IVec, IVec)>>> {
        let mut last = IVec::default();
        Box::new(self.0.iter().flat_map(move |entry| match entry {
            Ok((fence, bytes)) if packed(&fence).is_some() => {
                let unpacked = unpack(&last, &fence, &bytes);
                match unpacked {
                    Ok(entries) => {
                        last = entries.last().map_or_else(|| last.clone(), |(key, _)| key.clone());
                        entries.into_iter().map(Ok).collect()
                    }
                    Err(damaged) => vec![Err(damaged.into())],
                }
            }
            other => vec![other],
        }))
    }

    /// Whether it holds anything at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hands everything to the kernel.
    pub(crate) fn flush(&self) -> sled::Result<()> {
        self.0.flush()
    }
}

/// The entries of a block. `last` is the last one of the block before.
fn unpack(last: &[u8], fence: &[u8], bytes: &[u8]) -> Result<Vec<(IVec, IVec)>, Damaged> {
    let (mut all, mut entries) = (Vec::new(), Entries::of(bytes));
    while let Some(value) = entries.advance()? {
        all.push((IVec::from(entries.key()), IVec::from(value)));
    }
    let (Some((first, _)), Some((end, _))) = (all.first(), all.last()) else { return Err(Damaged) };
    let right = last < fence && fence <= &first[..] && fence.first() == end.first();
    if right { Ok(all) } else { Err(Damaged) }
}

/// Keys of one kind between two bounds, from both ends. The writer may cut and drop blocks meanwhile: what was there from
/// beginning to end is seen once.
struct Walk {
    store: Store,
    kind: u8,
    low: Bound<IVec>,
    high: Bound<IVec>,
    front: Side,
    back: Side,
}

/// How far one end has come.
#[derive(Default)]
struct Side {
    /// Keys of the block that was read last.
    keys: VecDeque<IVec>,
    /// Its fence.
    fence: Option<IVec>,
    ended: bool,
}

impl Side {
    fn read(&mut self, fence: IVec, bytes: &[u8]) -> Result<(), Damaged> {
        let mut entries = Entries::of(bytes);
        while entries.advance()?.is_some() {
            self.keys.push_back(IVec::from(entries.key()));
        }
        self.fence = Some(fence);
        Ok(())
    }
}

fn edge(bound: &Bound<IVec>) -> Option<&[u8]> {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    }
}

impl Walk {
    fn new(store: Store, kind: u8, low: Bound<IVec>, high: Bound<IVec>) -> Self {
        Walk { store, kind, low, high, front: Side::default(), back: Side::default() }
    }

    fn holds(&self, key: &IVec) -> bool {
        (match &self.low {
            Bound::Included(low) => key >= low,
            Bound::Excluded(low) => key > low,
            Bound::Unbounded => true,
        }) && match &self.high {
            Bound::Included(high) => key <= high,
            Bound::Excluded(high) => key < high,
            Bound::Unbounded => true,
        }
    }

    /// The block that holds `key`, or would.
    fn at(&self, key: &[u8]) -> sled::Result<Option<(IVec, IVec)>> {
        self.store.last_within(Bound::Included(&[self.kind]), Bound::Included(key))
    }

    fn above(&self, key: &[u8]) -> sled::Result<Option<(IVec, IVec)>> {
        self.store.first_within(Bound::Excluded(key), Bound::Excluded(&[self.kind + 1]))
    }

    /// Reads the next block from the front. False: there is none in range.
    fn forward(&mut self) -> sled::Result<bool> {
        let found = match (&self.front.fence, edge(&self.low)) {
            (Some(fence), _) => self.above(fence)?,
            (None, low) => {
                let low = low.unwrap_or_default();
                match self.at(low)? {
                    None => self.above(low)?,
                    found => found,
                }
            }
        };
        let Some((fence, bytes)) = found else { return Ok(false) };
        if edge(&self.high).is_some_and(|high| &fence[..] > high) {
            return Ok(false);
        }
        self.front.read(fence, &bytes)?;
        Ok(true)
    }

    /// Reads the next block from the back. False: there is none in range.
    fn backward(&mut self) -> sled::Result<bool> {
        let kind = [self.kind];
        let found = match (&self.back.fence, edge(&self.high)) {
            (Some(fence), _) if edge(&self.low).is_some_and(|low| &fence[..] <= low) => None,
            (Some(fence), _) => self.store.last_within(Bound::Included(&kind), Bound::Excluded(fence))?,
            (None, Some(high)) if high.first() == Some(&self.kind) => self.at(high)?,
            (None, _) => self.store.last_within(Bound::Included(&kind), Bound::Excluded(&[self.kind + 1]))?,
        };
        let Some((fence, bytes)) = found else { return Ok(false) };
        self.back.read(fence, &bytes)?;
        Ok(true)
    }
}

impl Iterator for Walk {
    type Item = sled::Result<IVec>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.front.ended {
            while let Some(key) = self.front.keys.pop_front() {
                if self.holds(&key) {
                    self.low = Bound::Excluded(key.clone());
                    return Some(Ok(key));
                }
            }
            match self.forward() {
                Ok(more) => self.front.ended = !more,
                Err(error) => {
                    self.front.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl DoubleEndedIterator for Walk {
    fn next_back(&mut self) -> Option<Self::Item> {
        while !self.back.ended {
            while let Some(key) = self.back.keys.pop_back() {
                if self.holds(&key) {
                    self.high = Bound::Excluded(key.clone());
                    return Some(Ok(key));
                }
            }
            match self.backward() {
                Ok(more) => self.back.ended = !more,
                Err(error) => {
                    self.back.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
