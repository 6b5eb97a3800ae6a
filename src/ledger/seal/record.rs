//! One record of the key file: 64 bytes at 64 times its number. Record 0 is the file's own.
//!
//! ```text
//! 0..16   the order's id, big-endian; `AUDITSHIELD-KEYS` in record 0
//! 16..48  the key; zeros once it was destroyed or given up
//! 48      K live, E destroyed by an erasure, L given up as lost; H in record 0
//! 49..64  the first 15 bytes of SHA-256 over "auditshield.key", the record's number (8 bytes, big-endian), bytes 0..49
//! ```

use sha2::{Digest, Sha256};

use super::{KEY_BYTES, Key};
use crate::domain::values::OrderId;
use crate::ledger::journal::SLOT_BYTES;

const ID_BYTES: usize = 16;
const STATE_AT: usize = ID_BYTES + KEY_BYTES;
const CHECK_AT: usize = STATE_AT + 1;
const PURPOSE: &[u8] = b"auditshield.key";
const MAGIC: [u8; ID_BYTES] = *b"AUDITSHIELD-KEYS";

const LIVE: u8 = b'K';
const DESTROYED: u8 = b'E';
const GIVEN_UP: u8 = b'L';
const HEAD: u8 = b'H';

/// A record's bytes.
pub(crate) type Record = [u8; SLOT_BYTES];

/// What a record says of an order's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// It is there.
    Live(Key),
    /// It was destroyed by an erasure.
    Destroyed,
    /// It was lost, and a person accepted that.
    GivenUp,
    /// It is not there, or damaged, or another order's.
    Lost,
}

impl Held {
    /// What `record` says of this order's key.
    pub(super) fn read(record: &Record, slot: u64, order: OrderId) -> Held {
        match (Inside::of(record, slot), order.bytes()) {
            (Some(Inside { id, key, state: LIVE }), own) if id == own => Held::Live(Key(key)),
            (Some(Inside { id, state: DESTROYED, .. }), own) if id == own => Held::Destroyed,
            (Some(Inside { id, state: GIVEN_UP, .. }), own) if id == own => Held::GivenUp,
            _ => Held::Lost,
        }
    }
}

struct Inside {
    id: [u8; ID_BYTES],
    key: [u8; KEY_BYTES],
    state: u8,
}

impl Inside {
    /// None if the check does not fit.
    fn of(record: &Record, slot: u64) -> Option<Self> {
        if check(record, slot) != record[CHECK_AT..] {
            return None;
        }
        let (id, rest) = record.split_first_chunk()?;
        let (key, rest) = rest.split_first_chunk()?;
        Some(Inside { id: *id, key: *key, state: rest[0] })
    }
}

fn check(record: &Record, slot: u64) -> [u8; SLOT_BYTES - CHECK_AT] {
    let digest = Sha256::new()
        .chain_update(PURPOSE)
        .chain_update(slot.to_be_bytes())
        .chain_update(&record[..CHECK_AT])
        .finalize();
    let mut check = [0; SLOT_BYTES - CHECK_AT];
    check.iter_mut().zip(digest).for_each(|(byte, own)| *byte = own);
    check
}

fn made(slot: u64, id: [u8; ID_BYTES], key: [u8; KEY_BYTES], state: u8) -> Record {
    let mut record = [0; SLOT_BYTES];
    record[..ID_BYTES].copy_from_slice(&id);
    record[ID_BYTES..STATE_AT].copy_from_slice(&key);
    record[STATE_AT] = state;
    let check = check(&record, slot);
    record[CHECK_AT..].copy_from_slice(&check);
    record
}

/// The record of a key.
pub(super) fn live(slot: u64, order: OrderId, key: &Key) -> Record {
    made(slot, order.bytes(), key.0, LIVE)
}

/// What is left of a key that was destroyed.
pub(super) fn destroyed(slot: u64, order: OrderId) -> Record {
    made(slot, order.bytes(), [0; KEY_BYTES], DESTROYED)
}

/// What stands for a key that was lost.
pub(super) fn given_up(slot: u64, order: OrderId) -> Record {
    made(slot, order.bytes(), [0; KEY_BYTES], GIVEN_UP)
}

/// The file's own record, which holds the key of the index's addresses.
pub(super) fn head(key: &Key) -> Record {
    made(0, MAGIC, key.0, HEAD)
}

/// The key of the index's addresses.
pub(super) fn read_head(record: &Record) -> Option<Key> {
    Inside::of(record, 0).filter(|head| head.id == MAGIC && head.state == HEAD).map(|head| Key(head.key))
}

/// Whether a record is whole, and not this order's.
pub(super) fn is_of_another(record: &Record, slot: u64, order: OrderId) -> bool {
    Inside::of(record, slot).is_some_and(|inside| inside.id != order.bytes())
}

/// Whether a record may be copied: it is whole, or it was never written.
pub(crate) fn is_whole(record: &Record, slot: u64) -> bool {
    Inside::of(record, slot).is_some() || record.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    /// A flipped bit, another place, another order: a key that is lost. Never one that was destroyed.
    #[test]
    fn damage_is_never_an_erasure() {
        let (order, other) = (OrderId::from_bytes([1; 16]), OrderId::from_bytes([2; 16]));
        let key = Key([9; KEY_BYTES]);
        let (record, gone) = (live(5, order, &key), destroyed(5, order));
        assert_eq!(Held::read(&record, 5, order), Held::Live(key.clone()));
        assert_eq!(Held::read(&gone, 5, order), Held::Destroyed);
        assert_eq!(Held::read(&given_up(5, order), 5, order), Held::GivenUp);
        assert!(!gone.windows(4).any(|part| part == [9; 4]), "nothing of the key is left");
        for (slot, whose) in [(6, order), (5, other)] {
            assert_eq!(Held::read(&record, slot, whose), Held::Lost);
            assert_eq!(Held::read(&gone, slot, whose), Held::Lost);
        }
        for at in 0..SLOT_BYTES {
            for bit in 0..8 {
                for sound in [record, gone] {
                    let mut damaged = sound;
                    damaged[at] ^= 1 << bit;
                    assert_eq!(Held::read(&damaged, 5, order), Held::Lost, "byte {at}");
                    assert!(!is_whole(&damaged, 5));
                }
            }
        }
        assert_eq!(Held::read(&[0; SLOT_BYTES], 5, order), Held::Lost, "never written");
        assert!(is_whole(&[0; SLOT_BYTES], 5) && is_whole(&record, 5));
        assert_eq!(read_head(&head(&key)), Some(key));
        assert_eq!(read_head(&record), None);
    }
}
