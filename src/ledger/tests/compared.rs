//! Verification finds one key too many and one too few, of every kind.

use std::collections::{BTreeSet, HashMap};

use super::totals::{all, index};
use crate::domain::payment::Payment;
use crate::domain::values::OrderId;
use crate::ledger::check::Order;
use crate::ledger::index::compare::compare;
use crate::ledger::index::memory::Memory;
use crate::ledger::index::packed::Packed;
use crate::ledger::index::receipts::Series;
use crate::ledger::index::{Batch, Change, Store, keys};
use crate::ledger::journal::Applied;

/// Kinds that the sums' own tests are about.
const ELSEWHERE: [u8; 2] = [b'h', b'u'];

#[test]
fn a_key_too_many_or_too_few_is_found() {
    let mut series = Series::default();
    let mut orders: HashMap<OrderId, Order> = HashMap::new();
    let changes = all().into_iter().map(|(.., mut change)| {
        let (before, now) =
            (change.before.as_deref().map(|before| &*before.payment), &change.snapshot.payment);
        change.receipt = series.number(before, now);
        let order = orders.entry(now.id).or_insert_with(|| Order::of(Payment::clone(now), Vec::new()));
        order.payment = Some(Payment::clone(now));
        order.lines.clone_from(&change.snapshot.lines);
        order.receipt = order.receipt.or(change.receipt);
        change
    });
    let changes: Vec<Change> = changes.collect();
    let last = Applied::from(&changes.last().unwrap().written);
    let findings = |tamper: &dyn Fn(&Packed)| {
        let store = Store::Memory(Memory::default());
        let index = index(store.clone());
        index.apply(&changes).unwrap();
        tamper(&Packed::new(store));
        let mut found = Vec::new();
        compare(&index, &orders, Some(&last), &series, &mut |finding| found.push(finding));
        found
    };
    assert_eq!(findings(&|_| ()), Vec::<String>::new());
    let sound = Store::Memory(Memory::default());
    index(sound.clone()).apply(&changes).unwrap();
    let entries: Vec<_> = Packed::new(sound).iter().map(Result::unwrap).collect();
    let ages = entries.iter().map(|(key, _)| key.clone()).filter(|key| key[0] == keys::REQUEST_AGE);
    let newest_age = ages.max().unwrap();
    let mut kinds = BTreeSet::new();
    for (key, value) in entries {
        if ELSEWHERE.contains(&key[0]) {
            continue;
        }
        kinds.insert(key[0]);
        let lost = findings(&|packed| {
            let mut batch = Batch::default();
            batch.remove(key.clone());
            packed.apply(batch).unwrap();
        });
        // Without the noted counts they are counted; and several histories use one idempotency key, which stands for the
        // last of them: nobody asks for the ages of the others.
        let unasked = key[0] == keys::REQUEST_AGE && key != newest_age;
        let found =
            key == keys::COUNTS || unasked || lost.iter().any(|finding| finding.contains("ledger rebuild"));
        assert!(found, "{key:?} is lost: {lost:?}");
        if *key == *keys::LAYOUT {
            continue;
        }
        let added = findings(&|packed| {
            let mut other = key.to_vec();
            *other.last_mut().unwrap() ^= 1;
            let mut batch = Batch::default();
            batch.insert(other, value.clone());
            packed.apply(batch).unwrap();
        });
        assert!(
            added.iter().any(|finding| finding.contains("ledger rebuild")),
            "{key:?} is doubled: {added:?}"
        );
    }
    assert_eq!(kinds, BTreeSet::from(*b"osdetkxrnml"));
}
