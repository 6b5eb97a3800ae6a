//! The n-th write, sync, cut, new segment and new directory entry fails, for every n until a run has none left to fail.
//!
//! The run: opens the journal, commits alone and in batches over several segments, closes. Then the fault is gone,
//! the power is cut (what was never synced is lost) or only the process (it is all still there), and the journal is
//! opened again. What must hold: every line
//! that was acknowledged is there; every line that was answered "did not happen" is not; only lines whose fate was
//! called unknown may be either; and nothing panics. Every line brings a key, which must be there when the line is; the
//! last one destroys the first one's, which must be gone when that was acknowledged and there when it was denied.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::medium::KEYS;
use super::memory::{Memory, Operation, Plan};
use super::tests::{append_all, append_with, settings};
use super::*;

/// Small enough that the run makes several segments.
const SEGMENT_BYTES: u64 = 600;
/// No run makes so many operations of one kind.
const OPERATIONS_MAX: u64 = 100;

/// The run's first and last line.
const FIRST: &str = "a0";
const LAST: &str = "h4";

/// What the run was told.
#[derive(Default)]
struct Told {
    acknowledged: BTreeSet<String>,
    denied: BTreeSet<String>,
    unknown: BTreeSet<String>,
}

impl Told {
    fn note(&mut self, text: &str, outcome: Result<Written, AppendError>) {
        let texts = match outcome {
            Ok(_) => &mut self.acknowledged,
            Err(AppendError::Fatal) => &mut self.unknown,
            Err(_) => &mut self.denied,
        };
        assert!(texts.insert(text.to_owned()), "{text} was answered twice");
    }
}

/// A line's key: its record, and its bytes.
fn key(text: &str) -> Patch {
    let letter = text.as_bytes()[0];
    Patch { slot: u64::from(letter - b'a' + 1), bytes: [letter; SLOT_BYTES] }
}

/// What is left of the first line's key.
fn gone() -> Patch {
    Patch { bytes: [b'-'; SLOT_BYTES], ..key(FIRST) }
}

fn work(text: &str) -> KeyWork {
    let after = if text == LAST { vec![gone()] } else { Vec::new() };
    KeyWork { before: vec![key(text)], after }
}

fn held(memory: &Memory, slot: u64) -> Vec<u8> {
    let at = usize::try_from(slot).unwrap() * SLOT_BYTES;
    memory.bytes(KEYS).get(at..at + SLOT_BYTES).unwrap_or_default().to_vec()
}

/// The key file, as the daemon makes it before it recovers.
fn make_keys(medium: &Medium) {
    let file = medium.create(KEYS).unwrap();
    file.write_all_at(&[b'.'; SLOT_BYTES], 0).unwrap();
    file.sync().unwrap();
    medium.sync_entries().unwrap();
}

fn run(memory: &Memory, fatal: &Arc<AtomicUsize>) -> Told {
    let mut told = Told::default();
    let medium = Medium::Memory(memory.clone());
    // A start that fails refuses with the file's name; nothing was told to anybody.
    let started = recover(&medium, None, &mut |_, _| Ok(()))
        .and_then(|recovered| Writer::start(medium, &recovered, settings(fatal, SEGMENT_BYTES)));
    let writer = match started {
        Ok(writer) => writer,
        Err(error) => {
            assert!(error.to_string().contains(".jsonl"), "{error}");
            return told;
        }
    };
    for (number, batch) in [&["a"][..], &["b", "c", "d"], &["e"], &["f", "g"], &["h"]].iter().enumerate() {
        let texts: Vec<String> = batch.iter().map(|text| format!("{text}{number}")).collect();
        let outcomes = match &texts[..] {
            [one] => vec![append_with(&writer, one, work(one))],
            several => append_all(&writer, several.iter().map(|text| (text.as_str(), work(text))).collect()),
        };
        // A batch that finds the thread gone is answered on the spot.
        texts.iter().zip(outcomes).for_each(|(text, outcome)| told.note(text, outcome));
    }
    writer.close();
    told
}

fn stored(memory: &Memory) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    let medium = Medium::Memory(memory.clone());
    let recovered = recover(&medium, None, &mut |line, _| {
        let body = String::from_utf8(line.body.to_vec()).unwrap();
        let text = body.split("\"order\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        texts.insert(text);
        Ok(())
    });
    recovered.unwrap();
    texts
}

#[test]
fn the_nth_failure_of_every_operation_has_its_outcome() {
    let mut runs = 0;
    for operation in
        [Operation::Write, Operation::Sync, Operation::Truncate, Operation::Create, Operation::SyncEntries]
    {
        for (kind, name) in [(ErrorKind::Other, "EIO"), (ErrorKind::StorageFull, "ENOSPC")] {
            for (forever, kept) in [(false, false), (false, true), (true, false), (true, true)] {
                let done = every_n(operation, kind, forever, kept);
                let times = if forever { "from the n-th on" } else { "once" };
                let end = if kept { "killed" } else { "power cut" };
                println!("{operation:?} {name} {times}, then {end}: {done} runs");
                runs += done;
            }
        }
    }
    println!("{runs} runs");
}

/// No line is without its key, whatever was answered; a key is destroyed if and only if that happened.
fn keys_fit(memory: &Memory, told: &Told, stored: &BTreeSet<String>, context: &str) {
    for text in stored {
        let own = held(memory, key(text).slot);
        // Torn, too: the next start completes what a line says.
        let erased = text == FIRST && stored.contains(LAST);
        assert!(own == key(text).bytes || erased, "{context}: {text} is there and its key is not");
    }
    if told.acknowledged.contains(LAST) {
        assert_eq!(held(memory, 1), gone().bytes, "{context}: said to be destroyed");
    }
    if told.denied.contains(LAST) && stored.contains(FIRST) {
        assert_eq!(held(memory, 1), key(FIRST).bytes, "{context}: denied, and destroyed all the same");
    }
}

/// `kept`: the process is killed, and what was written but not synced is still there.
fn every_n(operation: Operation, kind: ErrorKind, forever: bool, kept: bool) -> u64 {
    for after in 0..OPERATIONS_MAX {
        let memory = Memory::default();
        make_keys(&Medium::Memory(memory.clone()));
        // Truncations happen only after a write that failed: one is made to.
        if operation == Operation::Truncate {
            memory.inject(super::memory::Fault::Write { stored: 9, kind: ErrorKind::Other });
        }
        memory.plan(Some(Plan { operation, after, forever, kind }));
        let fatal: Arc<AtomicUsize> = Arc::default();
        let told = run(&memory, &fatal);
        let hit = memory.planned_seen() > after;
        memory.plan(None);
        memory.power_cut(&mut || kept);
        let stored = stored(&memory);
        let context = format!("{operation:?} {kind:?} after {after}, forever {forever}, kept {kept}");
        assert!(told.acknowledged.is_subset(&stored), "{context}: lost {:?}", told.acknowledged);
        assert!(
            told.denied.is_disjoint(&stored),
            "{context}: {:?} were said not to have happened",
            told.denied
        );
        keys_fit(&memory, &told, &stored, &context);
        let fatals = fatal.load(Ordering::SeqCst);
        assert!(told.unknown.is_empty() == (fatals == 0) && fatals <= 1, "{context}: {fatals} calls to exit");
        let deadly = matches!(operation, Operation::Sync | Operation::Truncate | Operation::SyncEntries);
        if hit && deadly && !told.acknowledged.is_empty() {
            assert!(fatals == 1 || told.denied.is_empty(), "{context}: went on after a failed sync");
        }
        if !hit {
            assert_eq!(
                (told.denied.len(), told.unknown.len()),
                (usize::from(operation == Operation::Truncate), 0)
            );
            return after;
        }
    }
    panic!("{operation:?} never ran out of operations");
}
