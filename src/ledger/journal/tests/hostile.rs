//! Any bytes in a segment: opened and sound, or refused and untouched.

use proptest::prelude::*;

use super::line::{GENESIS, HashText, decode, encode, latest_batch_in};
use super::*;

/// Bodies as the ledger writes them, and bodies that try to look like the frame around them.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "\"at\":\"[a-z0-9]{0,8}\",\"events\":\\[\\]".prop_map(String::into_bytes),
        "\\{\"seq\":[0-9]{1,3},\"prev\":\"0{64}\",\"batch\":[0-9]{1,3},".prop_map(String::into_bytes),
        ",\"hash\":\"[0-9a-f]{64}\"\\}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>().prop_filter("a line is one line", |byte| *byte != b'\n'), 0..60),
    ]
}

/// A journal of batches, each of so many lines; where its last batch begins, and what seq it has.
fn journal(plan: &[u8], body: &[u8]) -> (Vec<u8>, Vec<HashText>, usize, u64) {
    let (mut bytes, mut hashes, mut last, mut batch) = (Vec::new(), Vec::new(), 0, 1);
    for count in plan {
        batch = hashes.len() as u64 + 1;
        last = bytes.len();
        for _ in 0..*count {
            let prev = hashes.last().copied().unwrap_or(GENESIS);
            hashes.push(encode(&mut bytes, hashes.len() as u64 + 1, &prev, batch, body));
        }
    }
    (bytes, hashes, last, batch)
}

/// Recovers, and checks what must hold whatever the bytes were. The hashes that are left, or nothing for a refusal.
fn opened(memory: &Memory) -> Option<Vec<HashText>> {
    let medium = Medium::Memory(memory.clone());
    let contents = || medium.list().unwrap().iter().map(|first| memory.bytes(*first)).collect::<Vec<_>>();
    let before = contents();
    let mut hashes = Vec::new();
    let outcome = recover(&medium, None, &mut |line, _| {
        hashes.push(line.hash);
        Ok(())
    });
    let after = contents();
    let Ok(recovered) = outcome else {
        assert_eq!(before, after, "a refusal changes nothing");
        return None;
    };
    assert!(before.iter().zip(&after).all(|(one, other)| one.starts_with(other)), "recovery only cuts");
    assert_eq!(recovered.chain.next_seq, hashes.len() as u64 + 1);
    let walked = walk(&medium, &mut |_, _| Ok(())).unwrap();
    assert_eq!((walked.damage, walked.lines), (None, hashes.len() as u64));
    let again = recover(&medium, None, &mut |_, _| Ok(())).unwrap();
    assert_eq!((again.cut, again.tail), (None, recovered.tail), "recovery, repeated, is recovery");
    Some(hashes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_line_survives_and_nothing_else_has_its_bytes(seq in 1..=u64::MAX, batch in 1..=u64::MAX, prev in "[0-9a-f]{64}", body in bodies()) {
        let prev: HashText = prev.into_bytes().try_into().unwrap();
        let mut bytes = Vec::new();
        let hash = encode(&mut bytes, seq, &prev, batch, &body);
        prop_assert!(bytes.len() <= body.len() + line::FRAME_BYTES_MAX);
        let line = decode(&bytes[..bytes.len() - 1]).unwrap();
        prop_assert_eq!((line.seq, line.prev, line.batch, line.body, line.hash), (seq, prev, batch, body.as_slice(), hash));
        prop_assert!(latest_batch_in(&bytes) >= Some(batch));
    }

    #[test]
    fn what_is_read_is_what_the_writer_writes(text in prop_oneof![
        "\\{\"seq\":(0|01|1|12|99999999999999999999|18446744073709551615|\\+1),\"prev\":\"([0-9a-f]{64}|[0-9a-fA-F]{63,65})\",\"batch\":(0|1|02|),?\"a\":1",
        "[ -~]{0,200}",
    ]) {
        // With a hash that fits, so that only the frame can be wrong.
        let hash: String = sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), &text))
            .iter().map(|byte| format!("{byte:02x}")).collect();
        let sealed = format!("{text},\"hash\":\"{hash}\"}}");
        if let Ok(line) = decode(sealed.as_bytes()) {
            let mut again = Vec::new();
            encode(&mut again, line.seq, &line.prev, line.batch, line.body);
            prop_assert_eq!(again, format!("{sealed}\n").into_bytes());
        }
    }

    #[test]
    fn any_bytes_open_soundly_or_are_refused(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4),
        plan in prop::collection::vec(1_u8..4, 0..3), body in bodies(),
    ) {
        let memory = Memory::default();
        let (good, hashes, ..) = journal(&plan, &body);
        let mut first = 1;
        for (place, part) in parts.iter().enumerate() {
            let bytes = if place == 0 { [good.as_slice(), part].concat() } else { part.clone() };
            memory.put(first, bytes);
            first = hashes.len() as u64 + 1 + place as u64;
        }
        opened(&memory);
    }

    /// What a crash leaves is any subset of the last batch's bytes: it opens, and all before it is kept.
    #[test]
    fn a_spoilt_last_batch_costs_nothing_acknowledged(
        plan in prop::collection::vec(1_u8..5, 1..5), body in bodies(),
        holes in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..600), 0..5), cut in any::<prop::sample::Index>(),
    ) {
        // A body that imitates a line of a later batch would be taken for one: the daemon's bodies begin with `"at"`.
        prop_assume!(latest_batch_in(&body).is_none());
        let (mut bytes, hashes, last, batch) = journal(&plan, &body);
        for (at, length) in holes {
            let at = last + at.index(bytes.len() - last);
            let end = (at + length).min(bytes.len());
            bytes[at..end].fill(0);
        }
        bytes.truncate(last + cut.index(bytes.len() - last + 1));
        let memory = Memory::default();
        memory.put(1, bytes);
        let kept = opened(&memory);
        prop_assert!(kept.is_some_and(|kept| kept.starts_with(&hashes[..usize::try_from(batch - 1).unwrap()])));
    }
}
