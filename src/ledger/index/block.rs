//! Neighbouring keys with their values, in one value of the store.
//!
//! An entry is three numbers (LEB128) and two texts: bytes shared with the key before it, bytes of the rest of its key,
//! bytes of its value, the rest of its key, its value. Keys ascend.

use sled::IVec;

/// Bits of a number in one of its bytes.
const BITS: u32 = 7;
const MORE: u8 = 1 << BITS;

/// A key, and what is written to it; None removes it.
pub(super) type Pair = (IVec, Option<IVec>);

/// A block's first key, and the block.
pub(super) type Piece = (Vec<u8>, Vec<u8>);

/// A block that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

impl From<Damaged> for sled::Error {
    fn from(_: Damaged) -> Self {
        sled::Error::Corruption { at: None, bt: () }
    }
}

/// The entries of a block, in order.
pub(super) struct Entries<'a> {
    rest: &'a [u8],
    key: Vec<u8>,
}

impl<'a> Entries<'a> {
    pub(super) fn of(block: &'a [u8]) -> Self {
        Entries { rest: block, key: Vec::new() }
    }

    /// The key of the entry that was read last.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Reads the next entry. Gives its value; None behind the last.
    pub(super) fn advance(&mut self) -> Result<Option<&'a [u8]>, Damaged> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (shared, own, value) = (self.number()?, self.number()?, self.number()?);
        let own = self.take(own)?;
        // The key ascends: what follows the shared bytes is greater than what followed them before.
        if shared > self.key.len() || self.key[shared..] >= *own {
            return Err(Damaged);
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(own);
        self.take(value).map(Some)
    }

    fn number(&mut self) -> Result<usize, Damaged> {
        let mut number = 0_u32;
        for shift in (0..u32::BITS).step_by(BITS as usize) {
            let (byte, rest) = self.rest.split_first().ok_or(Damaged)?;
            self.rest = rest;
            number |= u32::from(byte & !MORE) << shift;
            if byte & MORE == 0 {
                return usize::try_from(number).map_err(|_| Damaged);
            }
        }
        Err(Damaged)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Damaged)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// A block in the making.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    last: Vec<u8>,
}

impl Block {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        let shared = self.last.iter().zip(key).take_while(|(a, b)| a == b).count();
        let own = &key[shared..];
        for number in [shared, own.len(), value.len()] {
            self.number(number);
        }
        self.bytes.extend_from_slice(own);
        self.bytes.extend_from_slice(value);
        self.last.truncate(shared);
        self.last.extend_from_slice(own);
    }

    fn number(&mut self, mut number: usize) {
        loop {
            let [low, ..] = number.to_le_bytes();
            number >>= BITS;
            if number == 0 {
                return self.bytes.push(low);
            }
            self.bytes.push(low | MORE);
        }
    }
}

/// The value of a key in a block.
pub(super) fn find<'a>(block: &'a [u8], key: &[u8]) -> Result<Option<&'a [u8]>, Damaged> {
    let mut entries = Entries::of(block);
    while let Some(value) = entries.advance()? {
        if entries.key() >= key {
            return Ok((entries.key() == key).then_some(value));
        }
    }
    Ok(None)
}

/// A block with sorted writes merged in; of several to one key the last counts.
pub(super) fn merge(block: &[u8], writes: &[Pair]) -> Result<Vec<u8>, Damaged> {
    let mut merged = Block { bytes: Vec::with_capacity(block.len() + 64), last: Vec::new() };
    let mut entries = Entries::of(block);
    let mut known = entries.advance()?;
    for (at, (key, value)) in writes.iter().enumerate() {
        if writes.get(at + 1).is_some_and(|(next, _)| next == key) {
            continue;
        }
        while let Some(old) = known.filter(|_| entries.key() < &key[..]) {
            merged.push(entries.key(), old);
            known = entries.advance()?;
        }
        if known.is_some() && entries.key() == &key[..] {
            known = entries.advance()?;
        }
        if let Some(value) = value {
            merged.push(key, value);
        }
    }
    while let Some(old) = known {
        merged.push(entries.key(), old);
        known = entries.advance()?;
    }
    Ok(merged.bytes)
}

/// Cuts a block that is too large into pieces of at most `piece_bytes`, but for those of one entry; each with its first key.
pub(super) fn cut(block: &[u8], piece_bytes: usize) -> Result<Vec<Piece>, Damaged> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut piece = Block::default();
    let mut first = Vec::new();
    let mut entries = Entries::of(block);
    while let Some(value) = entries.advance()? {
        if !piece.bytes.is_empty() && piece.bytes.len() + entries.key().len() + value.len() > piece_bytes {
            pieces.push((std::mem::take(&mut first), std::mem::take(&mut piece).bytes));
        }
        if piece.bytes.is_empty() {
            first = entries.key().to_vec();
        }
        piece.push(entries.key(), value);
    }
    if !piece.bytes.is_empty() {
        pieces.push((first, piece.bytes));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const PIECE_BYTES: usize = 2048;

    fn read(block: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Damaged> {
        let (mut all, mut entries) = (BTreeMap::new(), Entries::of(block));
        while let Some(value) = entries.advance()? {
            all.insert(entries.key().to_vec(), value.to_vec());
        }
        Ok(all)
    }

    fn pairs(writes: &[(Vec<u8>, Option<Vec<u8>>)]) -> Vec<Pair> {
        let mut pairs: Vec<Pair> =
            writes.iter().cloned().map(|(key, value)| (key.into(), value.map(IVec::from))).collect();
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        pairs
    }

    /// Keys with long common beginnings, as ids have.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        (0_usize..20, prop::collection::vec(any::<u8>(), 1..4))
            .prop_map(|(same, end)| [vec![7; same], end].concat())
    }

    fn writes() -> impl Strategy<Value = Vec<(Vec<u8>, Option<Vec<u8>>)>> {
        let value = prop_oneof![Just(0_usize), 0_usize..40, 100_usize..900]
            .prop_flat_map(|bytes| prop::collection::vec(any::<u8>(), bytes));
        prop::collection::vec((key(), prop::option::weighted(0.7, value)), 0..60)
    }

    /// Layout 1: other bytes need another layout, or an index of an earlier version would be misread.
    #[test]
    fn a_block_is_these_bytes() {
        let long = vec![7; 300];
        let writes = [("oab", Some(b"one".to_vec())), ("oac", Some(long.clone())), ("ob", Some(Vec::new()))];
        let writes = writes.map(|(key, value)| (key.as_bytes().to_vec(), value));
        let made = merge(&[], &pairs(&writes)).unwrap();
        let expected =
            [&[0, 3, 3][..], b"oab", b"one", &[2, 1, 0b1010_1100, 0b10], b"c", &long, &[1, 1, 0], b"b"];
        assert_eq!(made, expected.concat());
    }

    proptest! {
        /// Merging is writing to a table; cutting keeps every entry, in pieces that begin with their first key.
        #[test]
        fn a_block_is_a_sorted_table(batches in prop::collection::vec(writes(), 1..5)) {
            let (mut block, mut table) = (Vec::new(), BTreeMap::new());
            for batch in &batches {
                block = merge(&block, &pairs(batch)).unwrap();
                for (key, value) in batch {
                    match value {
                        Some(value) => drop(table.insert(key.clone(), value.clone())),
                        None => drop(table.remove(key)),
                    }
                }
                prop_assert_eq!(&read(&block).unwrap(), &table);
                for (key, _) in batch {
                    prop_assert_eq!(find(&block, key).unwrap(), table.get(key).map(Vec::as_slice));
                }
            }
            let mut whole = BTreeMap::new();
            for (first, piece) in cut(&block, PIECE_BYTES).unwrap() {
                let part = read(&piece).unwrap();
                prop_assert_eq!(part.keys().next(), Some(&first));
                prop_assert!(part.len() == 1 || piece.len() <= PIECE_BYTES + 16, "{}", piece.len());
                prop_assert!(whole.keys().next_back() < Some(&first));
                whole.extend(part);
            }
            prop_assert_eq!(whole, table);
        }

        /// Bytes that rot are an error or other bytes, never a panic; and what is read ascends.
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut entries = Entries::of(&bytes);
            let mut last = Vec::new();
            while let Ok(Some(_)) = entries.advance() {
                prop_assert!(last.as_slice() < entries.key());
                last = entries.key().to_vec();
            }
            let _merged = merge(&bytes, &[]);
            let _cut = cut(&bytes, PIECE_BYTES);
        }
    }
}
