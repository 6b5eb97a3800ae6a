//! The packed store is a sorted table: over sled and over memory, from both ends, and while it is written.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use proptest::prelude::*;
use sled::IVec;

use crate::ledger::index::memory::Memory;
use crate::ledger::index::packed::Packed;
use crate::ledger::index::{Batch, Store, keys, receipts};

type Table = BTreeMap<Vec<u8>, Vec<u8>>;
type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Kinds with large and with small blocks, neighbours among them.
const KINDS: [u8; 5] = [keys::ORDER, receipts::RECEIPT, keys::STATUS, keys::TRANSACTION, keys::EMAIL];

fn key() -> impl Strategy<Value = Vec<u8>> {
    let id = prop::collection::vec(0_u8..4, 1..4);
    (prop::sample::select(&KINDS[..]), id).prop_map(|(kind, id)| [vec![kind, 9, 9, 9], id].concat())
}

/// Values so large that blocks are cut, and so small that they hold many.
fn writes() -> impl Strategy<Value = Writes> {
    let value = prop_oneof![Just(0_usize), 0_usize..30, 1_000_usize..9_000]
        .prop_flat_map(|bytes| (any::<u8>(), Just(bytes)).prop_map(|(byte, bytes)| vec![byte; bytes]));
    prop::collection::vec((key(), prop::option::weighted(0.65, value)), 1..40)
}

fn apply(packed: &Packed, table: &mut Table, writes: &Writes) {
    let mut batch = Batch::default();
    batch.extend(writes.clone());
    packed.apply(batch).unwrap();
    note(table, writes);
}

fn note(table: &mut Table, writes: &Writes) {
    for (key, value) in writes {
        match value {
            Some(value) => drop(table.insert(key.clone(), value.clone())),
            None => drop(table.remove(key)),
        }
    }
}

fn bytes(keys: impl Iterator<Item = sled::Result<IVec>>) -> Vec<Vec<u8>> {
    keys.map(|key| key.unwrap().to_vec()).collect()
}

fn within(table: &Table, range: &RangeInclusive<Vec<u8>>) -> Vec<Vec<u8>> {
    table.range(range.clone()).map(|(key, _)| key.clone()).collect()
}

fn agrees(packed: &Packed, table: &Table, looked_up: &[Vec<u8>]) {
    for key in looked_up.iter().chain(table.keys()) {
        assert_eq!(packed.get(key).unwrap().as_deref(), table.get(key).map(Vec::as_slice), "{key:?}");
    }
    let all: Vec<_> = packed.iter().map(Result::unwrap).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
    assert_eq!(all, table.clone().into_iter().collect::<Vec<_>>());
    assert_eq!(packed.is_empty(), table.is_empty());
    for kind in KINDS {
        let under: Vec<_> = table.keys().filter(|key| key[0] == kind).cloned().collect();
        assert_eq!(bytes(packed.keys_under(&[kind])), under);
        assert_eq!(bytes(packed.keys_under(&[kind]).rev()), under.into_iter().rev().collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_is_a_sorted_table(
        filled in writes(),
        batches in prop::collection::vec(writes(), 1..6),
        ranges in prop::collection::vec((key(), key()), 6),
        on_disk in prop::bool::weighted(0.2),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let store = if on_disk {
            Store::Sled(sled::Config::new().path(folder.path()).flush_every_ms(None).open().unwrap())
        } else {
            Store::Memory(Memory::default())
        };
        let (packed, mut table) = (Packed::new(store), Table::new());
        packed.fill(filled.clone()).unwrap();
        note(&mut table, &filled);
        for batch in &batches {
            apply(&packed, &mut table, batch);
            let looked_up: Vec<_> = batch.iter().map(|(key, _)| key.clone()).collect();
            agrees(&packed, &table, &looked_up);
        }
        for (a, b) in ranges {
            let mut b = b;
            b[0] = a[0];
            let range = a.clone().min(b.clone())..=a.max(b);
            let expected = within(&table, &range);
            prop_assert_eq!(bytes(packed.keys(range.clone())), expected.clone());
            // One key from the front, one from the back, until they meet.
            let (mut keys, mut front, mut back) = (packed.keys(range), Vec::new(), Vec::new());
            while let Some(key) = keys.next() {
                front.push(key.unwrap().to_vec());
                back.extend(keys.next_back().map(|key| key.unwrap().to_vec()));
            }
            back.reverse();
            prop_assert_eq!([front, back].concat(), expected);
        }
        let removed: Writes = table.keys().map(|key| (key.clone(), None)).collect();
        apply(&packed, &mut table, &removed);
        agrees(&packed, &table, &[]);
    }

    /// Whoever walks while blocks are cut and dropped sees every key that stays, once and in order, and no key that never was.
    #[test]
    fn a_walk_survives_the_writer(first in writes(), meanwhile in prop::collection::vec(writes(), 1..12), back in any::<bool>()) {
        let (packed, mut table) = (Packed::new(Store::Memory(Memory::default())), Table::new());
        apply(&packed, &mut table, &first);
        let kind = keys::ORDER;
        let of_kind = |table: &Table| table.keys().filter(|key| key[0] == kind).cloned().collect::<Vec<_>>();
        let (mut always, mut ever) = (of_kind(&table), of_kind(&table));
        let mut walk = packed.keys_under(&[kind]);
        let mut seen = Vec::new();
        let mut writes = meanwhile.iter();
        loop {
            let next = if back { walk.next_back() } else { walk.next() };
            let Some(key) = next else { break };
            seen.push(key.unwrap().to_vec());
            if let Some(batch) = writes.next() {
                // A key that is removed and written again in one batch is not there from beginning to end for a reader.
                apply(&packed, &mut table, batch);
                always.retain(|key| table.contains_key(key));
                ever.extend(of_kind(&table));
            }
        }
        if back {
            seen.reverse();
        }
        prop_assert!(seen.is_sorted_by(|a, b| a < b), "{:?}", seen);
        prop_assert!(seen.iter().all(|key| ever.contains(key)));
        prop_assert!(always.iter().all(|key| seen.contains(key)), "{:?} lacks some of {:?}", seen, always);
    }
}

/// A block where no reader would look for its keys is damage, not an entry.
#[test]
fn misplaced_blocks_are_damage() {
    let key = |id: u8| vec![keys::ORDER, id];
    for (name, from, to) in [("too far", 5, 200), ("too early, before others", 200, 3)] {
        let store = Store::Memory(Memory::default());
        let packed = Packed::new(store.clone());
        let large = || Some(vec![1; 3_000]);
        let mut batch = Batch::default();
        batch.extend([1, 2, 5, 6, 200, 201].map(|id| (key(id), large())).to_vec());
        packed.apply(batch).unwrap();
        assert!(packed.iter().all(|entry| entry.is_ok()), "{name}");
        let blocks: Vec<_> = store.iter().map(Result::unwrap).collect();
        assert!(blocks.len() > 2, "{name}: the blocks were not cut");
        let (fence, value) = blocks.into_iter().rev().find(|(fence, _)| fence[..] <= key(from)[..]).unwrap();
        let mut moved = Batch::default();
        moved.remove(fence);
        moved.insert(key(to), value);
        store.apply(moved).unwrap();
        assert!(packed.iter().any(|entry| entry.is_err()), "{name}");
    }
}
