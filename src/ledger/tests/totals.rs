//! The sums of the merchant's first page: which changes write them, and that they are what folding the journal gives.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::histories::{History, at, histories};
use crate::domain::calendar::{Period, Zone};
use crate::domain::event::Event;
use crate::domain::payment::Payment;
use crate::domain::values::{Currency, OrderId, Timestamp};
use crate::ledger::check::Order;
use crate::ledger::index::compare::compare;
use crate::ledger::index::memory::Memory;
use crate::ledger::index::packed::Packed;
use crate::ledger::index::receipts::Series;
use crate::ledger::index::totals::{SALES, STALLED, Sold, Totals};
use crate::ledger::index::{Batch, Change, Index, Store};
use crate::ledger::journal::{Applied, Medium, Position, Written};
use crate::ledger::record::{Located, Snapshot};
use crate::ledger::seal::{Chance, Keyring};
use crate::ledger::vault::Vault;

pub(super) fn index(store: Store) -> Index {
    let medium = Medium::Memory(crate::ledger::journal::memory::Memory::default());
    Index::new(store, Arc::new(Keyring::open(&medium, Chance::Counted(Arc::default())).unwrap()))
}

fn position(seq: u64) -> Position {
    Position { segment: 1, offset: seq * 1000, len: 500 }
}

/// A history's commits as they reach the index, the first of them with this number.
fn changes(history: &History, first: u64) -> Vec<Change> {
    let (mut before, mut found): (Option<Arc<Snapshot>>, Vec<Change>) = (None, Vec::new());
    for (payment, seq) in history.states().into_iter().zip(first..) {
        let mut lines = before.as_ref().map(|before| before.lines.clone()).unwrap_or_default();
        lines.push(Located { seq, position: position(seq) });
        let vault = Vault::Plain;
        let snapshot = Arc::new(Snapshot { payment: Arc::new(payment), vault, lines });
        let written = Written { seq, position: position(seq), hash: [b'a'; 64] };
        found.push(Change {
            written,
            before: before.replace(Arc::clone(&snapshot)),
            snapshot,
            receipt: None,
        });
    }
    found
}

pub(super) fn all() -> Vec<(&'static str, Vec<Event>, Change)> {
    let mut found = Vec::new();
    for history in histories() {
        let changes = changes(&history, found.len() as u64 + 1);
        let commits = history.commits.iter().map(|(_, events)| events.clone());
        found.extend(commits.zip(changes).map(|(events, change)| (history.name, events, change)));
    }
    found
}

fn folded(changes: &[(&str, Vec<Event>, Change)]) -> Totals {
    let mut totals = Totals::default();
    let last: BTreeMap<OrderId, &Payment> =
        changes.iter().map(|(.., change)| (change.snapshot.payment.id, &*change.snapshot.payment)).collect();
    last.values().for_each(|payment| totals.see(None, payment));
    totals
}

#[test]
fn few_changes_write_sums_and_the_sums_are_what_folding_gives() {
    let index = self::index(Store::Memory(Memory::default()));
    let (mut writers, mut overlay) = (BTreeSet::new(), Totals::default());
    let all = all();
    for (place, (name, events, change)) in all.iter().enumerate() {
        let writes = index.sums(std::slice::from_ref(change)).unwrap();
        if !writes.is_empty() {
            writers.insert(events.last().unwrap().kind());
        }
        index.apply(std::slice::from_ref(change)).unwrap();
        overlay.see(change.before.as_deref().map(|before| &*before.payment), &change.snapshot.payment);
        let totals = index.totals().unwrap();
        assert_eq!(totals, folded(&all[..=place]), "{name}");
        assert_eq!(totals, overlay, "{name}: what is in memory");
        assert!(totals.agree(&index.counts().unwrap()), "{name}");
    }
    assert_eq!(writers, BTreeSet::from(["MAIL_FAILED", "PAID"]), "a notification must not cost more");
    let totals = index.totals().unwrap();
    let day = |days| Zone::UTC.day(at(0)).plus(days);
    let period = |first, last| Period { first: day(first), last: day(last), zone: Zone::UTC };
    let sales: Vec<_> = totals.sales(period(0, 30)).collect();
    let paid =
        u64::try_from(histories().iter().filter(|one| one.states().last().unwrap().sale().is_some()).count());
    let orders = paid.unwrap();
    let hour = Timestamp::of_hour(at(0).hour());
    assert_eq!(sales, [(hour, Currency::Xof, Sold { orders, amount: orders * 15_000 })]);
    assert_eq!(totals.sales(period(-30, -1)).count(), 0);
    assert_eq!(totals.stalled().len(), 1);
}

/// In one batch, as a filling, or change by change: the same keys with the same values.
#[test]
fn sums_do_not_depend_on_how_changes_are_taken_in() {
    let all: Vec<Change> = all().into_iter().map(|(.., change)| change).collect();
    let one = index(Store::Memory(Memory::default()));
    all.iter().for_each(|change| one.apply(std::slice::from_ref(change)).unwrap());
    let batch = index(Store::Memory(Memory::default()));
    batch.apply(&all).unwrap();
    let filled = index(Store::Memory(Memory::default()));
    let mut counts = [0; crate::ledger::index::STATUSES];
    all.chunks(7).for_each(|part| filled.fill(part, &mut counts).unwrap());
    filled.filled(&Applied::from(&all.last().unwrap().written), &counts, &Series::default()).unwrap();
    let entries = |index: &Index| index.entries().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(entries(&batch), entries(&one));
    assert_eq!(entries(&filled), entries(&one));
}

#[test]
fn verification_and_a_start_notice_sums_that_are_wrong() {
    let all = all();
    let changes: Vec<Change> = all.iter().map(|(.., change)| change.clone()).collect();
    let orders: HashMap<OrderId, Order> = changes
        .iter()
        .map(|change| {
            let (payment, lines) = (Payment::clone(&change.snapshot.payment), change.snapshot.lines.clone());
            (payment.id, Order::of(payment, lines))
        })
        .collect();
    let last = Applied::from(&changes.last().unwrap().written);
    // Name, what is done to which first byte, and whether a start has to see it.
    type Tamper = fn(&Packed, Vec<u8>, Vec<u8>);
    let lose: Tamper = |store, key, _| {
        let mut batch = Batch::default();
        batch.remove(key);
        store.apply(batch).unwrap();
    };
    let bend: Tamper = |store, key, mut value| {
        let mut batch = Batch::default();
        let end = value.len() - 1;
        value[end] ^= 1;
        batch.insert(key, value);
        store.apply(batch).unwrap();
    };
    let cases: [(&str, u8, Option<Tamper>, bool); 4] = [
        ("untouched", SALES, None, false),
        ("an hour is lost", SALES, Some(lose), true),
        ("an amount is another", SALES, Some(bend), false),
        ("a mark is lost", STALLED, Some(lose), false),
    ];
    for (name, kind, tamper, seen_at_start) in cases {
        let store = Store::Memory(Memory::default());
        let index = index(store.clone());
        index.apply(&changes).unwrap();
        if let Some(tamper) = tamper {
            let entry = index.entries().map(Result::unwrap).find(|(key, _)| key.first() == Some(&kind));
            let (key, value) = entry.unwrap();
            tamper(&Packed::new(store), key.to_vec(), value.to_vec());
        }
        let mut found = Vec::new();
        compare(&index, &orders, Some(&last), &Series::default(), &mut |finding| found.push(finding));
        assert_eq!(found.len(), usize::from(tamper.is_some()), "{name}: {found:?}");
        let agrees = index.totals().is_ok_and(|totals| totals.agree(&index.counts().unwrap()));
        assert_eq!(!agrees, seen_at_start, "{name}");
    }
}
