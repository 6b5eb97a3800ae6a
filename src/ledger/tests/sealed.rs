//! An erasure takes away what is personal and nothing else: whatever was folded before gives the same after it, but for
//! that; and no stored byte tells an address.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::golden::all;
use super::histories::History;
use super::shop::Shop;
use crate::domain::event::Event;
use crate::domain::payment::Payment;
use crate::domain::values::OrderId;
use crate::ledger::index::memory::Memory as Table;
use crate::ledger::index::{Change, Index, Store};
use crate::ledger::journal::Written;
use crate::ledger::journal::line;
use crate::ledger::record::{Keys, Read, Snapshot, decode_body, encode_snapshot};
use crate::ledger::seal::Keyring;

/// Folds the lines with these keys.
fn folded(shop: &Shop, keys: &str) -> HashMap<OrderId, Payment> {
    let ring = Shop::ring(keys);
    let mut orders: HashMap<OrderId, Snapshot> = HashMap::new();
    for (text, written) in String::from_utf8(shop.journal.clone()).unwrap().lines().zip(&shop.written) {
        let framed = line::decode(text.as_bytes()).unwrap();
        let read = decode_body(framed.seq, framed.body, Keys::Of(&ring)).unwrap();
        let next = Snapshot::after(orders.get(&read.order), &read, written.located.position, &ring).unwrap();
        orders.insert(read.order, next);
    }
    orders.into_iter().map(|(id, snapshot)| (id, Payment::clone(&snapshot.payment))).collect()
}

/// What is left of a state without its personal part.
fn bare(payment: &Payment) -> Payment {
    let mut bare = payment.clone();
    bare.take_personal();
    bare.blank();
    bare
}

/// The histories, some of them erased after this many of their commits, as far as that is allowed at all.
fn with_erasures(cuts: &[Option<usize>]) -> Vec<History> {
    let mut histories = all();
    for (history, cut) in histories.iter_mut().zip(cuts.iter().cycle()) {
        if let Some(cut) = cut {
            let place = 1 + cut % history.commits.len();
            let moment = history.commits[place - 1].0;
            history.commits.insert(place, (moment, vec![Event::Erased { by: "admin".into() }]));
        }
    }
    histories.retain(|history| {
        let mut state: Option<Payment> = None;
        history.commits.iter().all(|(at, events)| {
            let next = Payment::evolve(state.as_ref(), history.id, events, *at);
            state = next.as_ref().ok().cloned();
            next.is_ok()
        })
    });
    histories
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// fold(erase(x)) is fold(x) but for what is personal: with every key, and with those that the lines name destroyed.
    #[test]
    fn folding_after_an_erasure_gives_the_same_but_for_what_is_personal(
        cuts in prop::collection::vec(prop::option::of(0_usize..9), 1..30),
    ) {
        let shop = Shop::of(&with_erasures(&cuts));
        let (kept, erased) = (folded(&shop, &shop.key_file_before()), folded(&shop, &shop.key_file()));
        prop_assert_eq!(kept.len(), erased.len());
        for (id, payment) in &kept {
            prop_assert_eq!(bare(payment), bare(&erased[id]));
            if payment.erased_at.is_none() {
                prop_assert_eq!(payment, &erased[id]);
            } else {
                prop_assert_eq!(payment, &erased[id], "the live state is what a fold without the key gives");
                prop_assert!(payment.buyer.is_erased());
            }
        }
    }
}

/// Addresses, names, numbers and reasons, as they stand, in hex and in base64 at every alignment.
fn disguises(text: &str) -> Vec<Vec<u8>> {
    use base64::Engine;
    let mut found = vec![text.as_bytes().to_vec(), hex::encode(text).into_bytes()];
    for skip in 0..3 {
        let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
        // The characters that do not depend on what stands around.
        let coded = engine.encode([&b"xyz"[..skip], text.as_bytes()].concat());
        found.push(coded.as_bytes()[skip * 4 / 3 + usize::from(skip > 0)..coded.len() - 2].to_vec());
    }
    found
}

#[test]
fn neither_lines_nor_snapshots_tell_anything_personal() {
    let shop = Shop::of(&all());
    let snapshots: Vec<u8> =
        shop.written.iter().flat_map(|one| encode_snapshot(&one.snapshot).unwrap()).collect();
    for text in [
        "Adjoua.Kouame@example.ci",
        "adjoua.kouame@example.ci",
        "Adjoua Kouam",
        "0505123456",
        "adjoua@mail.example.ci",
        "paid the rest in cash",
        "changed her mind",
        "on the telephone",
    ] {
        for secret in disguises(text) {
            let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret);
            assert!(!holds(&shop.journal), "{text}: {} in the journal", String::from_utf8_lossy(&secret));
            assert!(!holds(&snapshots), "{text}: {} in a snapshot", String::from_utf8_lossy(&secret));
        }
    }
    // The search itself works: what is not personal is found.
    assert!(String::from_utf8_lossy(&shop.journal).contains("MP231114.2213.A1"));
}

/// An erased order is found by everything but its address, and its address's key is gone from the index.
#[test]
fn an_erased_order_has_no_address_in_the_index() {
    let shop = Shop::of(&all());
    let index = Index::new(Store::Memory(Table::default()), Arc::clone(&shop.ring));
    let mut before: HashMap<usize, Arc<Snapshot>> = HashMap::new();
    let of = |index: &Index, ring: &Keyring| -> Vec<OrderId> {
        let prefix = crate::ledger::index::keys::email("adjoua.kouame@example.ci", ring);
        index.ids(&prefix, [0; 16], [u8::MAX; 16]).map(Result::unwrap).collect()
    };
    for one in &shop.written {
        let snapshot = Arc::new(one.snapshot.clone());
        let written = Written { seq: one.located.seq, position: one.located.position, hash: [b'a'; 64] };
        let former = before.insert(one.order, Arc::clone(&snapshot));
        index.apply(&[Change { written, before: former, snapshot, receipt: None }]).unwrap();
        let id = shop.histories[one.order].id;
        let erased = one.snapshot.payment.buyer.is_erased();
        let corrected = one.snapshot.payment.buyer.email.expose().starts_with("adjoua@");
        assert_eq!(
            of(&index, &shop.ring).contains(&id),
            !erased && !corrected,
            "{}",
            shop.histories[one.order].name
        );
    }
    assert!(of(&index, &shop.ring).len() > 10);
    assert!(index.fits_keys().unwrap());
}

/// A sealed part that is moved to another line, or a body that names another record, does not open.
#[test]
fn sealed_parts_cannot_be_moved() {
    let shop = Shop::of(&all());
    let text = String::from_utf8(shop.journal.clone()).unwrap();
    let ring = Shop::ring(&shop.key_file_before());
    let bodies: Vec<String> = text
        .lines()
        .map(|line| String::from_utf8(line::decode(line.as_bytes()).unwrap().body.to_vec()).unwrap())
        .filter(|body| body.contains("\"sealed\":\""))
        .collect();
    let sealed =
        |body: &str| body.split_once("\"sealed\":\"").unwrap().1.split('"').next().unwrap().to_owned();
    let read = |body: &str| -> Result<Read, String> {
        decode_body(1, body.as_bytes(), Keys::Of(&ring)).map_err(|error| error.to_string())
    };
    let mut moved = 0;
    for body in &bodies {
        assert!(read(body).is_ok(), "{body}");
        for other in bodies.iter().filter(|other| *other != body) {
            let forged = body.replace(&sealed(body), &sealed(other));
            assert_eq!(read(&forged).unwrap_err(), "the sealed part does not open");
            moved += 1;
        }
        for (of, to) in [("\"version\":1,", "\"version\":2,"), ("\"key\":", "\"key\":9")] {
            let forged = body.replacen(of, to, 1);
            assert!(forged == *body || read(&forged).is_err(), "{forged}");
        }
    }
    assert!(moved > 500, "{moved}");
}
