//! The journal after whatever happened to it: one line, arbitrary segments, and a good journal damaged in one place.
#![no_main]

use auditshield::ledger::journal::line::{GENESIS, HashText, decode, encode};
use auditshield::ledger::journal::memory::Memory;
use auditshield::ledger::simulated::reads;
use auditshield::ledger::journal::{Applied, JournalError, Medium, Position, recover, walk};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

// The first byte says what the rest is.
fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    match kind % 5 {
        0 => line(rest),
        1 => sealed(rest),
        2 => segments(rest),
        3 => damaged(rest),
        _ => keys(rest),
    }
});

/// What is taken as a line is, byte for byte, what the writer would have written.
fn line(bytes: &[u8]) {
    if let Ok(line) = decode(bytes) {
        let mut again = Vec::new();
        let hash = encode(&mut again, line.seq, &line.prev, line.batch, line.body);
        assert_eq!((again.strip_suffix(b"\n"), hash), (Some(bytes), line.hash));
    }
}

/// The same with a hash that fits, so that the rest of the reader is reached.
fn sealed(covered: &[u8]) {
    let hash = hex::encode(Sha256::digest(covered));
    let sealed = [covered, b",\"hash\":\"", hash.as_bytes(), b"\"}"].concat();
    line(&sealed);
    if !sealed.is_empty() && decode(&sealed).is_ok() {
        for at in [0, covered.len() / 2, covered.len() - 1, sealed.len() - 1, sealed.len() - 10] {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(decode(&flipped).is_err(), "byte {at}");
        }
    }
}

/// A body of any bytes with a key file of any bytes: read or refused, never a panic. The two are parted by `\0\0`.
fn keys(bytes: &[u8]) {
    let parted = bytes.windows(2).position(|two| two == [0, 0]).unwrap_or(bytes.len());
    let (body, file) = bytes.split_at(parted);
    let _read = reads(body, file.to_vec());
    let head = [b"\"at\":\"2026-01-01T00:00:00Z\",\"order\":\"01JADV3K9QZJ4T6W8X0Y2A4C6E\",\"version\":1,".as_slice(), body];
    let _read = reads(&head.concat(), file.to_vec());
}

/// Segments of any bytes, parted by `\0`: opened and sound, or refused and untouched.
fn segments(bytes: &[u8]) {
    let memory = Memory::default();
    let mut first = 1;
    for part in bytes.split(|byte| *byte == 0) {
        memory.put(first, part.to_vec());
        first += part.iter().filter(|byte| **byte == b'\n').count().max(1) as u64;
    }
    opened(&memory);
}

/// Recovers; whatever comes of it must hold together. Returns the lines that are left, or nothing for a refusal.
fn opened(memory: &Memory) -> Option<Vec<HashText>> {
    let medium = Medium::Memory(memory.clone());
    let firsts = medium.list().expect("memory");
    let before: Vec<Vec<u8>> = firsts.iter().map(|first| memory.bytes(*first)).collect();
    let mut hashes = Vec::new();
    let outcome = recover(&medium, None, &mut |line, _| {
        hashes.push(line.hash);
        Ok(())
    });
    let after: Vec<Vec<u8>> = firsts.iter().map(|first| memory.bytes(*first)).collect();
    let Ok(recovered) = outcome else {
        assert_eq!(before, after, "a refusal changes nothing");
        return None;
    };
    for (one, other) in before.iter().zip(&after) {
        assert!(one.starts_with(other), "recovery only cuts");
    }
    assert_eq!(recovered.chain.next_seq, hashes.len() as u64 + 1);
    let walked = walk(&medium, &mut |_, _| Ok(())).expect("a recovered journal can be walked");
    assert_eq!((walked.damage, walked.lines), (None, hashes.len() as u64));
    let again = recover(&medium, None, &mut |_, _| Ok(())).expect("recovery, repeated, is recovery");
    assert_eq!((again.cut, again.tail, again.chain.next_seq), (None, recovered.tail, recovered.chain.next_seq));
    Some(hashes)
}

/// A journal as the writer leaves it, and where its last batch begins.
struct Written {
    bytes: Vec<u8>,
    hashes: Vec<HashText>,
    positions: Vec<Position>,
    /// Offset and seq of the last batch.
    last: (usize, u64),
}

/// `plan`: how many lines each batch has.
fn written(plan: &[u8]) -> Written {
    let mut written = Written { bytes: Vec::new(), hashes: Vec::new(), positions: Vec::new(), last: (0, 1) };
    let mut seq = 1;
    for count in plan {
        let batch = seq;
        written.last = (written.bytes.len(), seq);
        for _ in 0..=count % 3 {
            let prev = written.hashes.last().copied().unwrap_or(GENESIS);
            let offset = written.bytes.len();
            let body = format!(r#""at":"2026-01-01T00:00:00.000Z","order":"{seq}","version":1,"events":[]"#);
            written.hashes.push(encode(&mut written.bytes, seq, &prev, batch, body.as_bytes()));
            let len = (written.bytes.len() - offset - 1) as u32;
            written.positions.push(Position { segment: 1, offset: offset as u64, len });
            seq += 1;
        }
    }
    written
}

/// Two bytes of place, one of kind, one of extent, then the plan.
fn damaged(script: &[u8]) {
    let [place_low, place_high, kind, extent, plan @ ..] = script else { return };
    if plan.is_empty() || plan.len() > 6 {
        return;
    }
    let whole = written(plan);
    let place = usize::from(u16::from_le_bytes([*place_low, *place_high]));
    let acknowledged = whole.last.1 - 1;
    // A crash leaves any subset of the last batch, which nobody was told about (cut short, or with holes of zeros): it
    // always opens, all else kept.
    let at = whole.last.0 + place % (whole.bytes.len() - whole.last.0);
    let torn = spoil(&whole.bytes, at, kind % 2, usize::from(*extent));
    if torn.starts_with(&whole.bytes[..whole.last.0]) {
        let memory = Memory::default();
        memory.put(1, torn);
        let kept = opened(&memory).expect("a torn last batch opens");
        assert!(kept.starts_with(&whole.hashes[..acknowledged as usize]), "an acknowledged line was lost");
    }
    // Damage anywhere: where the index knows a line, that line is there afterwards or the start is refused.
    let at = place % whole.bytes.len();
    let spoilt = spoil(&whole.bytes, at, *kind, usize::from(*extent));
    let memory = Memory::default();
    memory.put(1, spoilt.clone());
    let known = usize::from(*extent) % whole.hashes.len();
    let applied = Applied {
        seq: known as u64 + 1,
        position: whole.positions[known],
        hash: String::from_utf8(whole.hashes[known].to_vec()).expect("hex"),
    };
    match recover(&Medium::Memory(memory.clone()), Some(&applied), &mut |_, _| Ok(())) {
        Ok(recovered) => {
            assert!(recovered.chain.next_seq > applied.seq);
            let end = (whole.positions[known].offset + u64::from(whole.positions[known].len)) as usize;
            assert_eq!(memory.bytes(1).get(..=end), whole.bytes.get(..=end), "known lines are as they were");
        }
        Err(JournalError::Io { .. }) => unreachable!("memory does not fail by itself"),
        Err(_) => assert_eq!(memory.bytes(1), spoilt, "a refusal changes nothing"),
    }
}

fn spoil(bytes: &[u8], at: usize, kind: u8, extent: usize) -> Vec<u8> {
    let end = (at + extent + 1).min(bytes.len());
    let mut spoilt = bytes.to_vec();
    match kind % 5 {
        0 => spoilt.truncate(at),
        1 => spoilt[at..end].fill(0),
        2 => spoilt[at] ^= 1 << (extent % 8),
        3 => drop(spoilt.drain(at..end)),
        _ => {
            let copy = spoilt[at..end].to_vec();
            spoilt.splice(at..at, copy);
        }
    }
    spoilt
}
