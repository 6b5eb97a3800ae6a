//! The index: sled, derived from the journal, thrown away and rebuilt whenever in doubt.
//!
//! Why one tree with key prefixes: a sled batch is atomic per tree. Why lazily written: its CPU, not the disk, was
//! the bottleneck; what is not in it yet is read from the overlay.

mod block;
pub(crate) mod compare;
mod garbage;
pub(crate) mod guard;
pub(crate) mod indexer;
pub(crate) mod keys;
pub(super) mod memory;
pub(crate) mod overlay;
pub(super) mod packed;
mod place;
pub(crate) mod receipts;
mod store;
pub(crate) mod totals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::journal::{Applied, Written};
use super::record::{Located, Snapshot, ThawError, decode_snapshot, encode_snapshot, stored_version};
use super::seal::{Keyring, Lost};
use super::vault::Vault;
use crate::domain::payment::{Payment, Status, due_at};
use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::{OrderId, Timestamp};
use keys::KeyEntry;
use packed::Packed;
use receipts::Series;
pub(crate) use store::{Batch, Store, Write};

/// How many statuses there are.
pub(crate) const STATUSES: usize = Status::NAMES.len();

/// What can go wrong with sled or its contents.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// sled's own.
    #[error("index: {0}")]
    Sled(#[from] sled::Error),
    /// A value does not decode, or does not encode.
    #[error("index: unreadable value: {0}")]
    Value(#[from] postcard::Error),
    /// The order's key is missing.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The keys cannot be read.
    #[error("{0}")]
    Keys(String),
}

impl From<ThawError> for IndexError {
    fn from(error: ThawError) -> Self {
        match error {
            ThawError::Lost(lost) => Self::Lost(lost),
            ThawError::Keys(reason) => Self::Keys(reason),
            ThawError::Damaged => Self::Value(postcard::Error::DeserializeBadEncoding),
        }
    }
}

impl IndexError {
    /// Whether the index itself is at fault, and trying again would be in vain: it must be made anew.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, IndexError::Value(_) | IndexError::Sled(sled::Error::Corruption { .. }))
    }

    /// Whether the disk was full.
    pub(crate) fn is_full_disk(&self) -> bool {
        matches!(self, IndexError::Sled(sled::Error::Io(error)) if error.kind() == std::io::ErrorKind::StorageFull)
    }
}

/// The open index.
#[derive(Clone)]
pub(crate) struct Index {
    db: Packed,
    /// Opens the states' personal parts, and hashes addresses.
    ring: Arc<Keyring>,
}

/// A stored order: its lines, and its state unless that must be folded again.
pub(crate) type StoredOrder = (Vec<Located>, Option<(Payment, Vault)>);

/// What is due.
#[derive(Default)]
pub(crate) struct Due {
    /// When, and which order.
    pub(crate) moments: BTreeSet<(Timestamp, OrderId)>,
    /// Orders whose state must be folded again to know when.
    pub(crate) unread: Vec<OrderId>,
}

/// One commit on its way into the index.
#[derive(Clone)]
pub(crate) struct Change {
    /// The line.
    pub(crate) written: Written,
    /// The order before it; none if it began with it.
    pub(crate) before: Option<Arc<Snapshot>>,
    /// The order after it.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The number of the receipt, if the line made a payment: given once its place in the journal is known.
    pub(crate) receipt: Option<ReceiptNumber>,
}

/// The place of a status in [`Status::NAMES`].
pub(crate) fn status_place(payment: &Payment) -> usize {
    Status::NAMES.iter().position(|name| *name == payment.status.name()).unwrap_or(0)
}

impl Index {
    /// Wraps an open store.
    pub(crate) fn new(db: Store, ring: Arc<Keyring>) -> Self {
        Index { db: Packed::new(db), ring }
    }

    /// The keys that it works with.
    pub(crate) fn ring(&self) -> &Keyring {
        &self.ring
    }

    /// Whether its addresses were hashed with this key file.
    pub(crate) fn fits_keys(&self) -> Result<bool, IndexError> {
        Ok(self.db.get(keys::KEYRING)?.is_some_and(|mark| *mark == self.ring.mark()))
    }

    /// One more than the last record of the key file that a line names; none in an index from before that was noted.
    pub(crate) fn named(&self) -> Result<Option<u64>, IndexError> {
        let stored = self.db.get(keys::NAMED)?;
        Ok(stored.map(|bytes| postcard::from_bytes(&bytes)).transpose()?)
    }

    /// Whether it is laid out as this version does it. An empty one is.
    pub(crate) fn is_ours(&self) -> Result<bool, IndexError> {
        Ok(self.db.is_empty()
            || self.db.get(keys::LAYOUT)?.is_some_and(|layout| *layout == *keys::LAYOUT_PACKED))
    }

    /// The last line taken in.
    pub(crate) fn applied(&self) -> Result<Option<Applied>, IndexError> {
        let stored = self.db.get(keys::APPLIED)?;
        Ok(stored.map(|bytes| postcard::from_bytes(&bytes)).transpose()?)
    }

    /// One order.
    pub(crate) fn order(&self, id: OrderId) -> Result<Option<StoredOrder>, IndexError> {
        let Some(bytes) = self.db.get(keys::order(id))? else { return Ok(None) };
        let (lines, frozen) = decode_snapshot(&bytes)?;
        Ok(Some((lines, frozen.map(|frozen| frozen.thaw(&self.ring)).transpose()?)))
    }

    /// The version of one order, 0 for none. Reads less than [`Index::order`].
    pub(crate) fn version(&self, id: OrderId) -> Result<u32, IndexError> {
        let stored = self.db.get(keys::order(id))?;
        Ok(stored.map_or(Ok(0), |bytes| stored_version(&bytes))?)
    }

    /// Takes changes in, in one atomic batch; several of one order become one write.
    pub(crate) fn apply(&self, changes: &[Change]) -> Result<(), IndexError> {
        let Some(last) = changes.last() else { return Ok(()) };
        let mut counts = self.counts()?;
        let mut batch = Batch::default();
        batch.extend(writes(changes, &mut counts, &self.ring)?);
        batch.extend(self.sums(changes)?);
        self.note(&mut batch, &counts, &Applied::from(&last.written))?;
        self.note_series(&mut batch, changes)?;
        self.db.apply(batch)?;
        Ok(())
    }

    /// Notes where the index stands.
    fn note(&self, batch: &mut Batch, counts: &[u64; STATUSES], last: &Applied) -> Result<(), IndexError> {
        batch.insert(keys::COUNTS, postcard::to_stdvec(counts)?);
        batch.insert(keys::APPLIED, postcard::to_stdvec(last)?);
        batch.insert(keys::KEYRING, &self.ring.mark());
        batch.insert(keys::NAMED, postcard::to_stdvec(&self.ring.named())?);
        if self.db.get(keys::LAYOUT)?.is_none() {
            batch.insert(keys::LAYOUT, keys::LAYOUT_PACKED);
        }
        Ok(())
    }

    /// Takes changes into an index that is being made anew, in no particular order and not at once: until
    /// [`Index::filled`] it does not say where it ends, and an index that does not is thrown away.
    ///
    /// Why two threads: making an index anew spends its time in sled, which serves several at once.
    pub(crate) fn fill(&self, changes: &[Change], counts: &mut [u64; STATUSES]) -> Result<(), IndexError> {
        let mut writes = writes(changes, counts, &self.ring)?;
        writes.extend(self.sums(changes)?);
        self.db.fill(writes)?;
        Ok(())
    }

    /// The end of a filling: from here on the index counts.
    pub(crate) fn filled(
        &self,
        last: &Applied,
        counts: &[u64; STATUSES],
        series: &Series,
    ) -> Result<(), IndexError> {
        let mut batch = Batch::default();
        self.note(&mut batch, counts, last)?;
        receipts::put(&mut batch, series)?;
        self.db.apply(batch)?;
        Ok(())
    }

    /// Forgets idempotency keys older than `before`, at most `limit`.
    pub(crate) fn forget_requests(&self, before: Timestamp, limit: usize) -> Result<(), IndexError> {
        let mut batch = Batch::default();
        for key in self.db.keys(keys::request_ages_until(before)).take(limit) {
            let key = key?;
            let request = keys::request_of_age(&key);
            // The same key may have been used again since.
            let entry =
                self.db.get(&request)?.and_then(|bytes| postcard::from_bytes::<KeyEntry>(&bytes).ok());
            if entry.is_none_or(|entry| entry.at <= before) {
                batch.remove(request);
            }
            batch.remove(key);
        }
        self.db.apply(batch)?;
        Ok(())
    }

    /// The order that an idempotency key stands for.
    pub(crate) fn request(&self, key: &str) -> Result<Option<KeyEntry>, IndexError> {
        let stored = self.db.get(keys::request(key))?;
        Ok(stored.map(|bytes| postcard::from_bytes(&bytes)).transpose()?)
    }

    /// Every order that is due at some moment, and when. None: the marks are an earlier version's.
    pub(crate) fn due(&self) -> Result<Option<Due>, IndexError> {
        let mut all = Due::default();
        for key in self.db.keys_under(&[keys::DUE]) {
            let Some(id) = keys::due_of(&key?) else { return Ok(None) };
            let state = match self.order(id) {
                Ok(Some((_, state))) => state,
                Ok(None) => return Ok(None),
                // One order is no reason to close the shop.
                Err(IndexError::Lost(_)) => None,
                Err(error) => return Err(error),
            };
            match state.as_ref().map(|(payment, _)| due(payment)) {
                Some(Some(at)) => drop(all.moments.insert((at, id))),
                Some(None) => return Ok(None),
                None => all.unread.push(id),
            }
        }
        Ok(Some(all))
    }

    /// The ids under a prefix of keys that end in an id, newest first, all older than `cursor`.
    pub(crate) fn ids(
        &self,
        prefix: &[u8],
        low: [u8; 16],
        high: [u8; 16],
    ) -> impl DoubleEndedIterator<Item = Result<OrderId, IndexError>> + use<> {
        let from = [prefix, &low[..]].concat();
        let to = [prefix, &high[..]].concat();
        self.db.keys(from..=to).map(|key| {
            let key = key?;
            keys::id_of(&key).ok_or_else(|| postcard::Error::DeserializeUnexpectedEnd.into())
        })
    }

    /// Reads every key and value, to know that sled can, for as long as `go_on` says so. False: not all were read.
    pub(crate) fn read_all(&self, go_on: &dyn Fn() -> bool) -> Result<bool, IndexError> {
        for entry in self.entries() {
            let (key, value) = entry?;
            if !go_on() {
                return Ok(false);
            }
            if key.first() == Some(&keys::ORDER) {
                decode_snapshot(&value)?;
            }
        }
        Ok(true)
    }

    /// The orders of each status, as the last batch noted them.
    ///
    /// Why noted: counting a hundred thousand keys took longer than everything else of a start.
    pub(crate) fn counts(&self) -> Result<[u64; STATUSES], IndexError> {
        match self.db.get(keys::COUNTS)? {
            Some(noted) => Ok(postcard::from_bytes(&noted)?),
            None => self.recount(),
        }
    }

    /// Counts the orders of each status, key by key.
    pub(crate) fn recount(&self) -> Result<[u64; STATUSES], IndexError> {
        let mut counts = [0; STATUSES];
        for (place, count) in counts.iter_mut().enumerate() {
            for key in self.db.keys_under(&keys::status(place)) {
                key?;
                *count += 1;
            }
        }
        Ok(counts)
    }

    /// Whether it has this key.
    pub(crate) fn holds(&self, key: &[u8]) -> Result<bool, IndexError> {
        Ok(self.db.get(key)?.is_some())
    }

    /// Every key and value, in order.
    pub(crate) fn entries(
        &self,
    ) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec), IndexError>> + use<> {
        self.db.iter().map(|entry| Ok(entry?))
    }

    /// Whether it holds anything at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.db.is_empty()
    }

    /// Hands everything to the kernel; the caller syncs the file ([`guard::sync_db`]).
    pub(crate) fn flush(&self) -> Result<(), IndexError> {
        self.db.flush()?;
        Ok(())
    }
}

/// What `changes` amount to, several of one order to one, and the counts after them.
///
/// Why what did not change is not written again: sled copies a page for every key.
fn writes(
    changes: &[Change],
    counts: &mut [u64; STATUSES],
    ring: &Keyring,
) -> Result<Vec<Write>, IndexError> {
    // From the state before an order's first change to the one after its last, oldest order first: an idempotency key
    // that was used again after a day stands for the newer order.
    let mut orders: BTreeMap<OrderId, (Option<&Snapshot>, &Snapshot)> = BTreeMap::new();
    for change in changes {
        let first = (change.before.as_deref(), &*change.snapshot);
        orders.entry(change.snapshot.payment.id).or_insert(first).1 = &change.snapshot;
    }
    let mut writes = receipts::writes(changes)?;
    for (id, (before, now)) in orders {
        writes.push((keys::order(id), Some(encode_snapshot(now)?)));
        if before.is_none_or(|before| !keys::are_same(&before.payment, &now.payment)) {
            let old = before.map_or_else(Vec::new, |before| keys::derived(&before.payment, ring));
            let new = keys::derived(&now.payment, ring);
            writes.extend(old.iter().filter(|key| !new.contains(key)).map(|key| (key.clone(), None)));
            writes
                .extend(new.into_iter().filter(|key| !old.contains(key)).map(|key| (key, Some(Vec::new()))));
        }
        if let Some(before) = before {
            let count = &mut counts[status_place(&before.payment)];
            *count = count.saturating_sub(1);
        }
        counts[status_place(&now.payment)] += 1;
        if let (None, Some(request)) = (before, &now.payment.request) {
            let entry = KeyEntry::of(&now.payment, request);
            writes.push((keys::request(&request.key), Some(postcard::to_stdvec(&entry)?)));
            writes.push((keys::request_age(entry.at, &request.key), Some(Vec::new())));
        }
    }
    Ok(writes)
}

/// When an order is due.
pub(crate) fn due(payment: &Payment) -> Option<Timestamp> {
    due_at(payment)
}
