//! A damaged journal, row by row: what a start, `ledger verify` and `ledger rebuild` make of it. Each either goes on
//! with a known number of lines or refuses with a sentence that names file, position and remedy.

use std::fs;
use std::path::{Path, PathBuf};

use auditshield::ledger::journal::line::{GENESIS, HashText, encode};
use auditshield::ledger::journal::{self, Applied, JournalError, Medium, Position, recover, walk};
use auditshield::ledger::{self, Ledger, OpenOptions};

use crate::ledger::fill;

/// Small segments, so that the ten orders of `fill` take several.
const SEGMENT_BYTES: u64 = 2_170;
/// Lines that `fill` commits.
const LINES: u64 = 17;
/// The first line of the last segment.
const LAST_SEGMENT: u64 = 14;

fn options(store: &Path) -> OpenOptions {
    let options = OpenOptions::new(store, |reason: &str| panic!("fatal: {reason}"));
    OpenOptions { segment_bytes: SEGMENT_BYTES, ..options }
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The segments of a store, in order.
fn segments(store: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(store.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "jsonl"));
    files.sort();
    files
}

fn named(store: &Path, first: u64) -> PathBuf {
    store.join("journal").join(journal::medium::file_name(first))
}

fn cut(file: &Path, len: usize) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..len]).unwrap();
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// The first segment under another number too.
fn copy(store: &Path, number: u64) {
    fs::copy(named(store, 1), named(store, number)).unwrap();
}

/// Just behind the first line.
fn first_line_end(file: &Path) -> usize {
    fs::read(file).unwrap().iter().position(|&byte| byte == b'\n').unwrap() + 1
}

/// What a step makes of a damaged store.
enum Outcome {
    /// It goes on with so many lines.
    Lines(u64),
    /// It refuses, or verification finds something; the text has this file's name, and these words.
    Tells(fn(&Path) -> PathBuf, &'static [&'static str]),
}
use Outcome::{Lines, Tells};

struct Row {
    name: &'static str,
    damage: fn(&Path),
    open: Outcome,
    verify: Outcome,
    rebuild: Outcome,
}

const DAMAGED: &[&str] = &["octet ", "byte ", "line ", "ledger verify"];
const MISSING: &[&str] = &["byte 0", "ligne ", "line ", "ledger restore"];

fn rows() -> Vec<Row> {
    let first: fn(&Path) -> PathBuf = |store| named(store, 1);
    let second: fn(&Path) -> PathBuf = |store| segments(store)[1].clone();
    let last: fn(&Path) -> PathBuf = |store| segments(store).last().unwrap().clone();
    let second_was: fn(&Path) -> PathBuf = |store| {
        let lines: usize = fs::read_to_string(named(store, 1)).unwrap().lines().count();
        named(store, lines as u64 + 1)
    };
    let index: fn(&Path) -> PathBuf = |_| PathBuf::from("index");
    let row = |name, damage, open, verify, rebuild| Row { name, damage, open, verify, rebuild };
    vec![
        row("nothing", |_| (), Lines(LINES), Lines(LINES), Lines(LINES)),
        row(
            "stray files and a stray folder",
            |store| {
                for name in ["notes.txt", "1.jsonl", "00000000000000000001.jsonl.bak", "x.jsonl"] {
                    fs::write(store.join("journal").join(name), "stray\n").unwrap();
                }
                fs::create_dir(store.join("journal/old")).unwrap();
            },
            Lines(LINES),
            Lines(LINES),
            Lines(LINES),
        ),
        row(
            "an empty segment at the end",
            |store| fs::write(named(store, LINES + 1), "").unwrap(),
            Lines(LINES),
            Lines(LINES),
            Lines(LINES),
        ),
        row(
            "the first segment missing",
            |store| fs::remove_file(named(store, 1)).unwrap(),
            Tells(first, MISSING),
            Tells(first, MISSING),
            Tells(first, MISSING),
        ),
        row(
            "a middle segment missing",
            |store| fs::remove_file(&segments(store)[1]).unwrap(),
            Tells(second_was, MISSING),
            Tells(second_was, MISSING),
            Tells(second_was, MISSING),
        ),
        row(
            "the last segment missing",
            |store| fs::remove_file(segments(store).last().unwrap()).unwrap(),
            Tells(|store| named(store, LAST_SEGMENT), MISSING),
            // The journal itself is sound: that the index knows more is what shows it.
            Tells(index, &["ledger rebuild"]),
            // Asked for, and told: the loss is accepted.
            Lines(LAST_SEGMENT - 1),
        ),
        row(
            "a middle segment cut within a line",
            |store| cut(&segments(store)[1], 700),
            Tells(second, DAMAGED),
            Tells(second, DAMAGED),
            Tells(second, DAMAGED),
        ),
        row(
            "the first segment cut between two lines",
            |store| cut(&named(store, 1), first_line_end(&named(store, 1))),
            Tells(|store| named(store, 2), MISSING),
            Tells(|store| named(store, 2), MISSING),
            Tells(|store| named(store, 2), MISSING),
        ),
        row(
            "a middle segment emptied",
            |store| cut(&segments(store)[1], 0),
            Tells(second, &["octet 0", "byte 0", "ledger verify"]),
            Tells(second, MISSING),
            Tells(second, MISSING),
        ),
        row(
            "a segment copied under a number within another",
            |store| copy(store, 2),
            Tells(|store| named(store, 2), DAMAGED),
            Tells(|store| named(store, 2), DAMAGED),
            Tells(|store| named(store, 2), DAMAGED),
        ),
        row(
            "a segment copied under the next number",
            |store| copy(store, LINES + 1),
            Tells(last, DAMAGED),
            Tells(last, DAMAGED),
            Tells(last, DAMAGED),
        ),
        row(
            "a segment copied under a number far away",
            |store| copy(store, 99),
            Tells(|store| named(store, LINES + 1), MISSING),
            Tells(|store| named(store, LINES + 1), MISSING),
            Tells(|store| named(store, LINES + 1), MISSING),
        ),
        row(
            "a folder in a segment's place",
            |store| fs::create_dir(named(store, LINES + 1)).unwrap(),
            Tells(last, &["cannot read or write"]),
            Tells(last, &["cannot read or write"]),
            Tells(last, &["cannot read or write"]),
        ),
        row(
            "a flipped bit in an old segment: a start reads only its last line",
            |store| flip(&named(store, 1), 300),
            Lines(LINES),
            Tells(first, DAMAGED),
            Tells(first, DAMAGED),
        ),
        row(
            "a flipped bit in the last line of an old segment",
            |store| flip(&named(store, 1), fs::read(named(store, 1)).unwrap().len() - 300),
            Tells(first, DAMAGED),
            Tells(first, DAMAGED),
            Tells(first, DAMAGED),
        ),
        row(
            "a flipped bit in the segment in use",
            |store| flip(&named(store, LAST_SEGMENT), 200),
            Tells(last, DAMAGED),
            Tells(last, DAMAGED),
            Tells(last, DAMAGED),
        ),
        row(
            "a flipped bit in the last line",
            |store| {
                flip(&named(store, LAST_SEGMENT), fs::read(named(store, LAST_SEGMENT)).unwrap().len() - 100)
            },
            Tells(last, DAMAGED),
            Tells(last, DAMAGED),
            // Without the index nobody knows that the last batch was acknowledged: it is cut off, and told.
            Lines(LINES - 1),
        ),
    ]
}

fn check(row: &Row, step: &str, store: &Path, expected: &Outcome, got: Result<u64, String>) {
    let context = format!("{} · {step}: {got:?}", row.name);
    match (expected, &got) {
        (Lines(want), Ok(lines)) => assert_eq!(lines, want, "{context}"),
        (Tells(file, words), Err(said)) => {
            let file = file(store);
            assert!(said.contains(file.file_name().unwrap().to_str().unwrap()), "{context}");
            assert!(words.iter().all(|word| said.contains(word)), "{context}");
        }
        (Lines(_), Err(_)) | (Tells(..), Ok(_)) => panic!("{context}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_damage_to_the_journal_has_its_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound");
    let ledger = Ledger::open(options(&sound)).unwrap();
    fill(&ledger).await;
    ledger.close().await;
    assert_eq!(segments(&sound).last(), Some(&named(&sound, LAST_SEGMENT)));
    assert!(
        segments(&sound).len() > 3
            && segments(&sound)[1..].iter().all(|file| fs::read(file).unwrap().len() > 700)
    );
    for (number, row) in rows().iter().enumerate() {
        let fresh = |step: &str| {
            let store = folder.path().join(format!("{number}-{step}"));
            copy_folder(&sound, &store);
            (row.damage)(&store);
            store
        };
        let store = fresh("open");
        let before: Vec<_> = segments(&store).iter().map(|file| fs::read(file).ok()).collect();
        match Ledger::open(options(&store)) {
            Ok(ledger) => {
                check(row, "open", &store, &row.open, Ok(ledger.health().last_seq));
                ledger.close().await;
            }
            Err(error) => {
                check(row, "open", &store, &row.open, Err(error.to_string()));
                let after: Vec<_> = segments(&store).iter().map(|file| fs::read(file).ok()).collect();
                assert!(before == after, "{}: a refused start changed the journal", row.name);
            }
        }
        let store = fresh("verify");
        let found = match ledger::verify(&store, &mut |_| ()) {
            Ok(report) if report.is_sound() => Ok(report.lines),
            Ok(report) => Err(report.findings.join("\n")),
            Err(error) => Err(error.to_string()),
        };
        check(row, "verify", &store, &row.verify, found);
        let store = fresh("rebuild");
        check(
            row,
            "rebuild",
            &store,
            &row.rebuild,
            ledger::rebuild(&store).map_err(|error| error.to_string()),
        );
    }
    println!("{} kinds of damage, each at a start, a verification and a rebuild", rows().len());
}

/// A journal in a folder: batches of one line each but the last one's.
fn batches(folder: &Path, singles: u64, last: u64) -> (PathBuf, usize, Applied) {
    let (mut bytes, mut prev): (Vec<u8>, HashText) = (Vec::new(), GENESIS);
    let mut begin = 0;
    let mut applied = None;
    for seq in 1..=singles + last {
        let batch = seq.min(singles + 1);
        let offset = bytes.len();
        if seq == singles + 1 {
            begin = offset;
        }
        let body = format!(r#""at":"2026-01-01T00:00:00Z","order":"X{seq}","version":1,"events":[]"#);
        prev = encode(&mut bytes, seq, &prev, batch, body.as_bytes());
        let len = u32::try_from(bytes.len() - offset - 1).unwrap();
        let position = Position { segment: 1, offset: offset as u64, len };
        applied = Some(Applied { seq, position, hash: String::from_utf8(prev.to_vec()).unwrap() });
    }
    fs::create_dir_all(folder).unwrap();
    let file = folder.join(journal::medium::file_name(1));
    fs::write(&file, bytes).unwrap();
    (file, begin, applied.unwrap())
}

#[test]
fn a_tail_torn_at_every_byte_of_the_last_batch() {
    let folder = tempfile::tempdir().unwrap();
    let mut cases = 0;
    for last in [1, 2, 5] {
        let place = folder.path().join(last.to_string());
        let (file, begin, applied) = batches(&place, 3, last);
        let whole = fs::read(&file).unwrap();
        for at in begin..whole.len() {
            for zeros in [0, 700] {
                let torn = [&whole[..at], &vec![0; zeros][..]].concat();
                fs::write(&file, &torn).unwrap();
                let medium = Medium::Disk(place.clone());
                // Seen by the index, so it was acknowledged: refused, and nothing is changed.
                let refused = recover(&medium, Some(&applied), &mut |_, _| Ok(())).unwrap_err();
                assert!(
                    matches!(refused, JournalError::Damaged { .. } | JournalError::Behind { .. }),
                    "{refused}"
                );
                assert_eq!(fs::read(&file).unwrap(), torn);
                // Not seen: what is whole of it is kept, the rest is cut off.
                let recovered = recover(&medium, None, &mut |_, _| Ok(())).unwrap();
                let kept = whole[..at].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
                assert_eq!(fs::read(&file).unwrap(), whole[..kept], "torn at {at}");
                let lines = whole[..kept].iter().filter(|&&byte| byte == b'\n').count() as u64;
                assert_eq!(recovered.chain.next_seq, lines + 1, "torn at {at}");
                cases += 1;
            }
        }
    }
    println!("{cases} torn tails");
}

#[test]
fn a_bit_flipped_anywhere_is_found_by_the_walk() {
    let folder = tempfile::tempdir().unwrap();
    let (file, begin, _) = batches(folder.path(), 6, 2);
    let whole = fs::read(&file).unwrap();
    let medium = Medium::Disk(folder.path().to_owned());
    // In the last batch each look is repeated for a while, in case a daemon is writing there: not every byte.
    let steps = (0..begin).chain((begin..whole.len()).step_by(101));
    for at in steps {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&file, &bytes).unwrap();
        let damage = walk(&medium, &mut |_, _| Ok(())).unwrap().damage.expect("found");
        let start = whole[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end as u64 + 1);
        let line_end = whole[at] == b'\n';
        assert!(damage.offset == start || line_end, "byte {at}: {damage:?}");
    }
}
