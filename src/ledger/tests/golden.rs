//! `tests/golden/`: journal lines, snapshots and keys as this version writes them, compared byte for byte.
//!
//! A new format version adds a folder and a line to [`FIXTURES`]; the old ones stay and must still be read.
//! `AUDITSHIELD_GOLDEN=write` makes a fixture that is missing; one that is there is never written.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::histories::{History, histories, reminded_histories};
use crate::domain::event::{Event, FORMAT};
use crate::domain::payment::{Payment, Status};
use crate::domain::receipt::ReceiptNumber;
use crate::ledger::index::keys::{self, KeyEntry};
use crate::ledger::index::receipts::{self, Series};
use crate::ledger::journal::line::{self, GENESIS};
use crate::ledger::journal::{Applied, Position};
use crate::ledger::record::{
    Located, SNAPSHOT_FORMAT, Snapshot, decode_body, decode_snapshot, encode_body, encode_snapshot,
};

/// Every fixture there ever was, and its lines. Taking one away, or a line of one, fails the tests.
const FIXTURES: &[(&str, usize)] = &[
    ("v1/journal.jsonl", 56),
    ("v1/snapshots.txt", 56),
    ("v1/keys.txt", 64),
    ("v1/tokens.txt", 6),
    ("v2/journal.jsonl", 21),
    ("v2/snapshots.txt", 77),
    ("v2/receipts.txt", 10),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The fixture's text; `made` becomes one that is missing, where that is asked for.
fn fixture(name: &str, made: &str) -> String {
    let path = folder().join(name);
    if !path.exists() && std::env::var("AUDITSHIELD_GOLDEN").is_ok_and(|word| word == "write") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, made).unwrap();
    }
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every history of every fixture.
fn all() -> Vec<History> {
    histories().into_iter().chain(reminded_histories()).collect()
}

/// The journal that the histories make, its lines' places in it, and the order that each belongs to.
fn journal(histories: &[History]) -> (Vec<u8>, Vec<(usize, usize, Located)>) {
    let (mut bytes, mut prev, mut seq) = (Vec::new(), GENESIS, 0);
    let mut places = Vec::new();
    for (order, history) in histories.iter().enumerate() {
        for (commit, (at, events)) in history.commits.iter().enumerate() {
            seq += 1;
            let offset = bytes.len() as u64;
            let body = encode_body(history.id, u32::try_from(commit).unwrap() + 1, events, *at).unwrap();
            // Every third line shares its batch with the line before it.
            let batch = if seq % 3 == 0 { seq - 1 } else { seq };
            prev = line::encode(&mut bytes, seq, &prev, batch, &body);
            let len = u32::try_from(bytes.len() as u64 - offset - 1).unwrap();
            places.push((order, commit, Located { seq, position: Position { segment: 1, offset, len } }));
        }
    }
    (bytes, places)
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
    }
}
const KINDS: usize = 18;

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

#[test]
fn journal_lines_read_as_they_were_meant_and_write_the_same_bytes() {
    for (name, histories) in [("v1/journal.jsonl", histories()), ("v2/journal.jsonl", reminded_histories())] {
        check_journal(name, &histories);
    }
}

fn check_journal(name: &str, histories: &[History]) {
    let (made, places) = journal(histories);
    let text = fixture(name, &String::from_utf8(made.clone()).unwrap());
    for (line, (order, commit, located)) in text.lines().zip(&places) {
        let history = &histories[*order];
        let (at, events) = &history.commits[*commit];
        let read = line::decode(line.as_bytes()).unwrap();
        let (id, body) = decode_body(read.seq, read.body).unwrap();
        assert_eq!((read.seq, id, body.at), (located.seq, history.id, *at), "{}", history.name);
        assert_eq!(&body.events, events, "{}", history.name);
        assert!(line.contains(r#""events":[{"v":1,"kind":"#), "{line}");
    }
    assert_eq!(text.as_bytes(), made);
}

/// What the index holds of an order after each commit.
fn snapshots(histories: &[History]) -> Vec<(String, Snapshot)> {
    let (_, places) = journal(histories);
    let states: Vec<Vec<Payment>> = histories.iter().map(History::states).collect();
    let snapshot = |(order, commit, _): &(usize, usize, Located)| {
        let lines = places.iter().filter(|(of, until, _)| of == order && until <= commit);
        let payment = states[*order][*commit].clone();
        let name = format!("{} · {}", histories[*order].name, payment.version);
        (
            name,
            Snapshot { payment: Arc::new(payment), lines: lines.map(|(_, _, located)| *located).collect() },
        )
    };
    places.iter().map(snapshot).collect()
}

#[test]
fn snapshots_read_as_they_were_meant_and_write_the_same_bytes() {
    let histories = all();
    let made: String = snapshots(&histories)
        .iter()
        .map(|(name, snapshot)| format!("{} {name}\n", hex::encode(encode_snapshot(snapshot).unwrap())))
        .collect();
    let text = fixture("v2/snapshots.txt", &made);
    for (line, (name, snapshot)) in text.lines().zip(snapshots(&histories)) {
        let bytes = hex::decode(line.split(' ').next().unwrap()).unwrap();
        assert_eq!(bytes[0], 2, "{name}");
        assert_eq!(
            decode_snapshot(&bytes).unwrap(),
            (snapshot.lines, Some(Payment::clone(&snapshot.payment))),
            "{name}"
        );
    }
    assert_eq!(text, made);
}

/// Their states know no reminder: they are folded again from their lines, which are still read.
#[test]
fn snapshots_of_the_first_format_still_say_where_their_lines_stand() {
    let text = fixture("v1/snapshots.txt", "");
    for (line, (name, snapshot)) in text.lines().zip(snapshots(&histories())) {
        let bytes = hex::decode(line.split(' ').next().unwrap()).unwrap();
        assert_eq!(bytes[0], 1, "{name}");
        assert_eq!(decode_snapshot(&bytes).unwrap(), (snapshot.lines, None), "{name}");
    }
}

#[test]
fn receipt_numbers_are_the_same_keys_and_bytes() {
    let (mut series, mut made) = (Series::default(), String::new());
    for history in all() {
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
    let mut made = String::new();
    let mut put = |name: &str, key: &[u8], value: &[u8]| {
        made.push_str(&format!("{} {} {name}\n", hex::encode(key), hex::encode(value)));
    };
    for history in histories() {
        let states = history.states();
        let last = states.last().unwrap();
        put(history.name, &keys::order(history.id), &[]);
        for key in keys::derived(last) {
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
    assert_eq!(fixture("v2/keys.txt", &made), made);
    // Only the marks of what is due are others than they were, and they are told apart.
    for line in fixture("v1/keys.txt", "").lines() {
        let key = hex::decode(line.split(' ').next().unwrap()).unwrap();
        let same = made.contains(&format!("{line}\n"));
        assert_eq!(same, key[0] != keys::DUE, "{line}");
        assert!(same || keys::due_of(&key).is_none(), "{line}");
    }
    assert_eq!(postcard::from_bytes::<Applied>(&stored).unwrap(), applied);
    assert_eq!(postcard::from_bytes::<KeyEntry>(&value).unwrap(), entry);
}
