//! The journal in memory, with every fault the disk knows.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod hostile;

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::memory::{Fault, Memory};
use super::*;

pub(super) fn settings(fatal: &Arc<AtomicUsize>, segment_bytes: u64) -> Settings {
    let fatal = Arc::clone(fatal);
    let on_fatal = move |_: &str| {
        fatal.fetch_add(1, Ordering::SeqCst);
    };
    Settings { segment_bytes, on_fatal: Arc::new(on_fatal) }
}

fn open_with(memory: &Memory, fatal: &Arc<AtomicUsize>, segment_bytes: u64) -> (Writer, Recovered) {
    let medium = Medium::Memory(memory.clone());
    let recovered = recover(&medium, None, &mut |_, _| Ok(())).unwrap();
    (Writer::start(medium, &recovered, settings(fatal, segment_bytes)).unwrap(), recovered)
}

fn open(memory: &Memory) -> Writer {
    open_with(memory, &Arc::default(), SEGMENT_BYTES_MAX).0
}

fn body(text: &str) -> Vec<u8> {
    format!(r#""at":"2026-01-01T00:00:00Z","order":"{text}","version":1,"events":[]"#).into_bytes()
}

/// Appends while the writer is held back, so that all go into one batch.
pub(super) fn append_batch(writer: &Writer, bodies: &[&str]) -> Vec<Result<Written, AppendError>> {
    append_all(writer, bodies.iter().map(|text| (*text, KeyWork::default())).collect())
}

/// The same with what each line does to the key file.
pub(super) fn append_all(writer: &Writer, lines: Vec<(&str, KeyWork)>) -> Vec<Result<Written, AppendError>> {
    let (held, release) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
    let guard = release.lock().unwrap();
    let (gate, (entered, wait)) = (Arc::clone(&release), channel());
    drop(held);
    writer.ping(Box::new(move || {
        entered.send(()).unwrap();
        drop(gate.lock().unwrap());
    }));
    // A writer that has ended drops the ping.
    let _ = wait.recv();
    let (sender, receiver) = channel();
    let count = lines.len();
    for (text, keys) in lines {
        let sender = sender.clone();
        let done = Box::new(move |outcome| sender.send(outcome).unwrap());
        writer.append(Entry { body: body(text), keys, done });
    }
    drop((sender, guard));
    let mut outcomes: Vec<_> = receiver.iter().collect();
    // What a writer that ends still holds is dropped: its fate is unknown.
    outcomes.resize_with(count, || Err(AppendError::Fatal));
    outcomes
}

pub(super) fn append(writer: &Writer, text: &str) -> Result<Written, AppendError> {
    append_with(writer, text, KeyWork::default())
}

/// The same with what the line does to the key file.
pub(super) fn append_with(writer: &Writer, text: &str, keys: KeyWork) -> Result<Written, AppendError> {
    let (sender, receiver) = channel();
    let done = Box::new(move |outcome| sender.send(outcome).unwrap());
    writer.append(Entry { body: body(text), keys, done });
    receiver.recv().unwrap_or(Err(AppendError::Fatal))
}

fn seqs(memory: &Memory) -> Vec<(u64, u64)> {
    let mut seen = Vec::new();
    let walk = walk(&Medium::Memory(memory.clone()), &mut |line, _| {
        seen.push((line.seq, line.batch));
        Ok(())
    });
    assert_eq!(walk.unwrap().damage, None);
    seen
}

#[test]
fn one_batch_is_one_sync() {
    let memory = Memory::default();
    let writer = open(&memory);
    append(&writer, "A").unwrap();
    let before = memory.syncs_done();
    assert!(append_batch(&writer, &["B", "C", "D"]).iter().all(Result::is_ok));
    assert_eq!(memory.syncs_done(), before + 1);
    writer.close();
    assert_eq!(seqs(&memory), [(1, 1), (2, 2), (3, 2), (4, 2)]);
    assert_eq!(append(&writer, "E").unwrap_err(), AppendError::Closed);
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_the_journal_goes_on() {
    let memory = Memory::default();
    let writer = open(&memory);
    append(&writer, "A").unwrap();
    let kept = memory.bytes(1).len();
    append_batch(&writer, &["B", "C"]);
    writer.close();
    let whole = memory.bytes(1);
    let second = kept + whole[kept..].iter().position(|&byte| byte == b'\n').unwrap() + 1;
    for at in kept..whole.len() {
        let torn = Memory::default();
        torn.put(1, whole[..at].to_vec());
        let (writer, recovered) = open_with(&torn, &Arc::default(), SEGMENT_BYTES_MAX);
        let expected = if at >= second { second } else { kept };
        assert_eq!(recovered.tail, Some((1, expected as u64)), "torn at {at}");
        assert_eq!(recovered.cut.is_some(), at != expected, "torn at {at}");
        append(&writer, "X").unwrap();
        writer.close();
        assert_eq!(seqs(&torn).len(), if at >= second { 3 } else { 2 }, "torn at {at}");
    }
}

#[test]
fn a_bit_flipped_before_the_last_batch_is_refused_and_nothing_is_changed() {
    let memory = Memory::default();
    let writer = open(&memory);
    append(&writer, "A").unwrap();
    append_batch(&writer, &["B", "C"]);
    let middle = memory.bytes(1).len();
    append(&writer, "D").unwrap();
    writer.close();
    let whole = memory.bytes(1);
    for at in 0..middle {
        let rotten = Memory::default();
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        rotten.put(1, bytes.clone());
        let outcome = recover(&Medium::Memory(rotten.clone()), None, &mut |_, _| Ok(()));
        assert!(matches!(outcome, Err(JournalError::Damaged { .. })), "byte {at}: {outcome:?}");
        assert_eq!(rotten.bytes(1), bytes, "byte {at}");
    }
}

#[test]
fn damage_the_index_has_seen_and_lines_it_misses_are_refused() {
    let memory = Memory::default();
    let writer = open(&memory);
    append(&writer, "A").unwrap();
    let last = append(&writer, "B").unwrap();
    writer.close();
    let medium = Medium::Memory(memory.clone());
    let hash = String::from_utf8(last.hash.to_vec()).unwrap();
    let applied = Applied { seq: 2, position: last.position, hash };
    let open = |applied: &Applied| recover(&medium, Some(applied), &mut |_, _| panic!("nothing to replay"));
    assert!(open(&applied).is_ok());
    let other = Applied { hash: "0".repeat(64), ..applied.clone() };
    assert!(matches!(open(&other), Err(JournalError::Foreign { seq: 2, .. })));
    let whole = memory.bytes(1);
    memory.put(1, whole[..whole.len() - 5].to_vec());
    assert!(matches!(open(&applied), Err(JournalError::Damaged { seq: 2, .. })));
    memory.put(1, whole[..usize::try_from(last.position.offset).unwrap()].to_vec());
    assert!(matches!(open(&applied), Err(JournalError::Behind { last: 1, applied: 2, .. })));
}

#[test]
fn segments_rotate_and_a_missing_one_is_refused() {
    let memory = Memory::default();
    let (writer, _) = open_with(&memory, &Arc::default(), 300);
    for text in ["A", "B", "C", "D", "E"] {
        append(&writer, text).unwrap();
    }
    writer.close();
    assert_eq!(seqs(&memory).len(), 5);
    let firsts = memory.list();
    assert!(firsts.len() > 2, "{firsts:?}");
    let partial = Memory::default();
    for first in firsts.iter().filter(|&&first| first != firsts[1]) {
        partial.put(*first, memory.bytes(*first));
    }
    let outcome = recover(&Medium::Memory(partial), None, &mut |_, _| Ok(()));
    assert!(matches!(outcome, Err(JournalError::Missing { .. })), "{outcome:?}");
}

#[test]
fn a_full_disk_fails_the_commit_and_heals_without_traffic() {
    let memory = Memory::default();
    let fatal = Arc::default();
    let (writer, _) = open_with(&memory, &fatal, SEGMENT_BYTES_MAX);
    append(&writer, "A").unwrap();
    let before = memory.bytes(1);
    memory.inject(Fault::Write { stored: 40, kind: ErrorKind::StorageFull });
    assert_eq!(append(&writer, "B").unwrap_err(), AppendError::NoRoom);
    assert_eq!(memory.bytes(1), before);
    assert_eq!(writer.trouble(), Some(Trouble::Unhealthy(AppendError::NoRoom)));
    append(&writer, "C").unwrap();
    assert_eq!(writer.trouble(), None);
    memory.set_full(true);
    assert_eq!(append(&writer, "D").unwrap_err(), AppendError::NoRoom);
    memory.set_full(false);
    for _ in 0..100 {
        if writer.trouble().is_none() {
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "a plain test thread")]
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(writer.trouble(), None);
    writer.close();
    assert_eq!(seqs(&memory), [(1, 1), (2, 2)]);
    assert_eq!(fatal.load(Ordering::SeqCst), 0);
}

#[test]
fn a_failed_sync_or_cut_is_fatal_and_nothing_is_acknowledged_after_it() {
    for faults in [
        &[Fault::Sync(ErrorKind::Other)][..],
        &[Fault::Write { stored: 9, kind: ErrorKind::Other }, Fault::Truncate(ErrorKind::Other)],
        &[Fault::Write { stored: 9, kind: ErrorKind::Other }, Fault::Sync(ErrorKind::Other)],
    ] {
        let memory = Memory::default();
        let fatal = Arc::default();
        let (writer, _) = open_with(&memory, &fatal, SEGMENT_BYTES_MAX);
        append(&writer, "A").unwrap();
        faults.iter().for_each(|&fault| memory.inject(fault));
        assert_eq!(append(&writer, "B").unwrap_err(), AppendError::Fatal, "{faults:?}");
        writer.close();
        assert_eq!(append(&writer, "C").unwrap_err(), AppendError::Fatal, "{faults:?}");
        assert_eq!(fatal.load(Ordering::SeqCst), 1, "{faults:?}");
        assert_eq!(writer.trouble(), Some(Trouble::Fatal));
    }
}

/// Somebody who asks all the time whether the disk is well again does not keep the writer from finding out.
#[test]
fn questions_do_not_put_off_the_next_try() {
    let memory = Memory::default();
    let writer = open(&memory);
    append(&writer, "A").unwrap();
    memory.set_full(true);
    assert_eq!(append(&writer, "B").unwrap_err(), AppendError::NoRoom);
    memory.set_full(false);
    let begun = std::time::Instant::now();
    while writer.trouble().is_some() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "it never tried again");
        let (asked, answered) = std::sync::mpsc::channel();
        writer.ping(Box::new(move || asked.send(()).unwrap()));
        answered.recv().unwrap();
    }
    append(&writer, "C").unwrap();
    writer.close();
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    for seed in 0_u64..200 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut coin = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state & 64 == 0
        };
        let memory = Memory::default();
        let (writer, _) = open_with(&memory, &Arc::default(), 2_000);
        for _ in 0..seed % 7 {
            append(&writer, "A").unwrap();
        }
        memory.inject(Fault::Sync(ErrorKind::Other));
        let lost = append_batch(&writer, &["B"; 9]);
        assert!(lost.iter().all(Result::is_err));
        writer.close();
        memory.power_cut(&mut coin);
        let (writer, recovered) = open_with(&memory, &Arc::default(), 2_000);
        let seq = append(&writer, "C").unwrap().seq;
        writer.close();
        assert!(recovered.chain.next_seq > seed % 7, "seed {seed}");
        assert_eq!(seqs(&memory).len() as u64, seq, "seed {seed}");
    }
}

#[test]
fn a_line_reads_back_by_position() {
    let memory = Memory::default();
    let writer = open(&memory);
    append(&writer, "A").unwrap();
    let written = append(&writer, "B").unwrap();
    writer.close();
    let medium = Medium::Memory(memory);
    let bytes = read_line(&medium, written.seq, written.position).unwrap();
    assert_eq!(line::decode(&bytes).unwrap().body, body("B"));
}
