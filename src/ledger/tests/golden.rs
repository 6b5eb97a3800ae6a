//! `tests/golden/`: journal lines, snapshots and keys as this version writes them, compared byte for byte.
//!
//! A new format version adds a folder and a line to [`FIXTURES`]; the old ones stay and must still be read.
//! `AUDITSHIELD_GOLDEN=write` makes a fixture that is missing; one that is there is never written.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::histories::{History, erased_histories, histories, reminded_histories};
use super::shop::Shop;
use crate::domain::event::{Event, FORMAT};
use crate::domain::payment::Status;
use crate::domain::receipt::ReceiptNumber;
use crate::ledger::index::keys::{self, KeyEntry};
use crate::ledger::index::receipts::{self, Series};
use crate::ledger::journal::line;
use crate::ledger::journal::{Applied, Position};
use crate::ledger::record::{Kept, Keys, SNAPSHOT_FORMAT, decode_body, decode_snapshot, encode_snapshot};

/// Every fixture there ever was, and its lines. Taking one away, or a line of one, fails the tests.
const FIXTURES: &[(&str, usize)] = &[
    ("v1/journal.jsonl", 56),
    ("v1/snapshots.txt", 56),
    ("v1/keys.txt", 64),
    ("v1/tokens.txt", 6),
    ("v2/journal.jsonl", 21),
    ("v2/snapshots.txt", 77),
    ("v2/receipts.txt", 10),
    ("v3/journal.jsonl", 102),
    ("v3/snapshots.txt", 102),
    ("v3/keyfile.txt", 27),
    ("v3/keys.txt", 93),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The fixture's text; `made` becomes one that is missing, where that is asked for.
pub(super) fn fixture(name: &str, made: &str) -> String {
    let path = folder().join(name);
    if !path.exists() && std::env::var("AUDITSHIELD_GOLDEN").is_ok_and(|word| word == "write") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, made).unwrap();
    }
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every history of every fixture.
pub(super) fn all() -> Vec<History> {
    histories().into_iter().chain(reminded_histories()).chain(erased_histories()).collect()
}

/// Every kind, by a match without a default: a new kind does not compile until it stands here.
fn number(event: &Event) -> usize {
    match event {
        Event::Created { .. } => 0,
        Event::Initiated { .. } => 1,
        Event::InitFailed { .. } => 2,
        Event::Notified { .. } => 3,
        Event::Checked { .. } => 4,
        Event::Paid { .. } => 5,
        Event::Failed { .. } => 6,
        Event::Review { .. } => 7,
        Event::Expired {} => 8,
        Event::MailFailed { .. } => 9,
        Event::Delivered { .. } => 10,
        Event::Downloaded { .. } => 11,
        Event::Resent { .. } => 12,
        Event::Revoked { .. } => 13,
        Event::Refunded { .. } => 14,
        Event::Note { .. } => 15,
        Event::Reminded { .. } => 16,
        Event::ReminderFailed { .. } => 17,
        Event::Erased { .. } => 18,
    }
}
const KINDS: usize = 19;

#[test]
fn the_fixtures_have_every_kind_and_every_status() {
    let histories = all();
    let events = || histories.iter().flat_map(|history| &history.commits).flat_map(|(_, events)| events);
    assert_eq!(events().map(number).collect::<BTreeSet<_>>().len(), KINDS);
    let statuses: BTreeSet<_> =
        histories.iter().flat_map(History::states).map(|state| state.status_name()).collect();
    assert_eq!(statuses, Status::NAMES.into_iter().collect());
}

#[test]
fn no_fixture_and_no_line_of_one_is_gone() {
    for (name, lines) in FIXTURES {
        let text = fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(text.lines().count(), *lines, "{name}");
    }
    let versions =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let versions = versions.filter(|name| name.starts_with('v')).count();
    assert_eq!(
        versions,
        usize::from(FORMAT.max(SNAPSHOT_FORMAT)),
        "a folder for every format there ever was"
    );
}

/// Lines of the first format, personal data and all: they are read for ever.
#[test]
fn plain_lines_read_as_they_were_meant() {
    for (name, histories) in [("v1/journal.jsonl", histories()), ("v2/journal.jsonl", reminded_histories())] {
        let text = fixture(name, "");
        let commits = histories.iter().flat_map(|one| one.commits.iter().map(move |commit| (one, commit)));
        for ((line, seq), (history, (at, events))) in text.lines().zip(1..).zip(commits) {
            let read = line::decode(line.as_bytes()).unwrap();
            assert_eq!(read.seq, seq, "{}", history.name);
            let read = decode_body(read.seq, read.body, Keys::None).unwrap();
            assert_eq!((read.order, read.line.at), (history.id, *at), "{}", history.name);
            assert_eq!(&read.line.events, events, "{}", history.name);
            let personal = events.iter().any(Event::is_personal);
            assert_eq!(read.kept, if personal { Kept::Plain } else { Kept::None }, "{}", history.name);
            assert!(line.contains(r#""events":[{"v":1,"kind":"#), "{line}");
        }
    }
}

#[test]
fn sealed_lines_read_as_they_were_meant_and_write_the_same_bytes() {
    let shop = Shop::of(&all());
    let text = fixture("v3/journal.jsonl", &String::from_utf8(shop.journal.clone()).unwrap());
    let records = fixture("v3/keyfile.txt", &shop.key_file());
    let ring = Shop::ring(&records);
    for (line, written) in text.lines().zip(&shop.written) {
        let read = line::decode(line.as_bytes()).unwrap();
        let read = decode_body(read.seq, read.body, Keys::Of(&ring)).unwrap();
        let name = shop.histories[written.order].name;
        assert_eq!(
            (read.line.seq, read.order),
            (written.located.seq, shop.histories[written.order].id),
            "{name}"
        );
        assert_eq!(read.line.events, shop.left(written), "{name}");
        assert!(line.contains(r#""events":[{"v":2,"kind":"#), "{line}");
    }
    assert_eq!(text.as_bytes(), shop.journal);
    assert_eq!(records, shop.key_file());
}

#[test]
fn snapshots_read_as_they_were_meant_and_write_the_same_bytes() {
    let shop = Shop::of(&all());
    let named = shop.written.iter().map(|one| (shop.histories[one.order].name, &one.snapshot));
    let made: String = named
        .clone()
        .map(|(name, one)| {
            format!("{} {name} · {}\n", hex::encode(encode_snapshot(one).unwrap()), one.payment.version)
        })
        .collect();
    let text = fixture("v3/snapshots.txt", &made);
    // Before any key was destroyed.
    let ring = Shop::ring(&shop.key_file_before());
    for (line, (name, snapshot)) in text.lines().zip(named) {
        let bytes = hex::decode(line.split(' ').next().unwrap()).unwrap();
        assert_eq!(bytes[0], 3, "{name}");
        let (lines, frozen) = decode_snapshot(&bytes).unwrap();
        let (payment, vault) = frozen.unwrap().thaw(&ring).unwrap();
        assert_eq!(lines, snapshot.lines, "{name}");
        assert_eq!((&payment, &vault), (&*snapshot.payment, &snapshot.vault), "{name}");
    }
    assert_eq!(text, made);
}

/// Of other formats, with other states: they are folded again from their lines, which are still read.
#[test]
fn older_snapshots_still_say_where_their_lines_stand() {
    let of =
        |histories: Vec<History>| histories.iter().flat_map(|one| 1..=one.commits.len()).collect::<Vec<_>>();
    for (name, format, counts) in [
        ("v1/snapshots.txt", 1, of(histories())),
        ("v2/snapshots.txt", 2, of(histories().into_iter().chain(reminded_histories()).collect())),
    ] {
        let text = fixture(name, "");
        for (line, count) in text.lines().zip(counts) {
            let bytes = hex::decode(line.split(' ').next().unwrap()).unwrap();
            assert_eq!(bytes[0], format, "{line}");
            let (lines, state) = decode_snapshot(&bytes).unwrap();
            assert_eq!((lines.len(), state), (count, None), "{line}");
            assert!(lines.windows(2).all(|two| two[0].seq < two[1].seq), "{line}");
        }
    }
}

#[test]
fn receipt_numbers_are_the_same_keys_and_bytes() {
    let (mut series, mut made) = (Series::default(), String::new());
    for history in histories().into_iter().chain(reminded_histories()) {
        let states = history.states();
        let before = std::iter::once(None).chain(states.iter().map(Some));
        for (before, now) in before.zip(&states) {
            if let Some(number) = series.number(before, now) {
                let (key, value) = (receipts::key(history.id), postcard::to_stdvec(&number).unwrap());
                made.push_str(&format!(
                    "{} {} {number} {}\n",
                    hex::encode(key),
                    hex::encode(&value),
                    history.name
                ));
                assert_eq!(postcard::from_bytes::<ReceiptNumber>(&value).unwrap(), number);
            }
        }
    }
    let stored = postcard::to_stdvec(&series).unwrap();
    made.push_str(&format!("{} {} series\n", hex::encode(receipts::SERIES), hex::encode(&stored)));
    assert_eq!(fixture("v2/receipts.txt", &made), made);
    assert_eq!(postcard::from_bytes::<Series>(&stored).unwrap(), series);
}

#[test]
fn index_keys_are_the_same_bytes() {
    let (shop, mut made) = (Shop::of(&all()), String::new());
    let mut put = |name: &str, key: &[u8], value: &[u8]| {
        made.push_str(&format!("{} {} {name}\n", hex::encode(key), hex::encode(value)));
    };
    for history in all() {
        let states = history.states();
        let last = states.last().unwrap();
        put(history.name, &keys::order(history.id), &[]);
        for key in keys::derived(last, &shop.ring) {
            put(history.name, &key, &[]);
        }
    }
    let history = &histories()[1];
    let first = &history.states()[0];
    let request = first.request.as_ref().unwrap();
    let entry = KeyEntry::of(first, request);
    let value = postcard::to_stdvec(&entry).unwrap();
    put("request", &keys::request(&request.key), &value);
    put("request's age", &keys::request_age(entry.at, &request.key), &[]);
    let position = Position { segment: 1, offset: 70_000, len: 512 };
    let applied = Applied { seq: 300, position, hash: "ef".repeat(32) };
    let stored = postcard::to_stdvec(&applied).unwrap();
    put("applied", keys::APPLIED, &stored);
    assert_eq!(fixture("v3/keys.txt", &made), made);
    // Only the marks of what is due, told apart, and the keyed hashes of addresses are others than they were.
    for line in fixture("v1/keys.txt", "").lines() {
        let key = hex::decode(line.split(' ').next().unwrap()).unwrap();
        let same = made.contains(&format!("{line}\n"));
        assert_eq!(same, ![keys::DUE, keys::EMAIL].contains(&key[0]), "{line}");
        assert!(key[0] != keys::DUE || keys::due_of(&key).is_none(), "{line}");
    }
    assert_eq!(postcard::from_bytes::<Applied>(&stored).unwrap(), applied);
    assert_eq!(postcard::from_bytes::<KeyEntry>(&value).unwrap(), entry);
}
