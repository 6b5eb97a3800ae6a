//! The n-th write, sync, cut, new segment and new directory entry fails, for every n until a run has none left to fail.
//!
//! The run: opens the journal, commits alone and in batches over several segments, closes. Then the fault is gone,
//! the power is cut (what was never synced is lost) or only the process (it is all still there), and the journal is
//! opened again. What must hold: every line
//! that was acknowledged is there; every line that was answered "did not happen" is not; only lines whose fate was
//! called unknown may be either; and nothing panics.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::memory::{Memory, Operation, Plan};
use super::tests::{append, append_batch, settings};
use super::*;

/// Small enough that the run makes several segments.
const SEGMENT_BYTES: u64 = 600;
/// No run makes so many operations of one kind.
const OPERATIONS_MAX: u64 = 100;

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
            [one] => vec![append(&writer, one)],
            several => append_batch(&writer, &several.iter().map(String::as_str).collect::<Vec<_>>()),
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

/// `kept`: the process is killed, and what was written but not synced is still there.
fn every_n(operation: Operation, kind: ErrorKind, forever: bool, kept: bool) -> u64 {
    for after in 0..OPERATIONS_MAX {
        let memory = Memory::default();
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
