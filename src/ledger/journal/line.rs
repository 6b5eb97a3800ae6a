//! One journal line: its bytes, its hash, and the strict reader of both.
//!
//! Why strict: the chain covers bytes, not meaning. A line that differs from what the writer would have written,
//! by so much as a leading zero, is damage.

use sha2::{Digest, Sha256};

use super::LINE_BYTES_MAX;

/// Lower-case hexadecimal SHA-256, as it stands in the journal.
pub type HashText = [u8; HASH_CHARS];

/// Length of a hash in characters.
pub const HASH_CHARS: usize = 64;

/// What the first line names as its predecessor.
pub const GENESIS: HashText = [b'0'; HASH_CHARS];

const SEQ_KEY: &[u8] = b"{\"seq\":";
const PREV_KEY: &[u8] = b",\"prev\":\"";
const BATCH_KEY: &[u8] = b"\",\"batch\":";
const HASH_KEY: &[u8] = b",\"hash\":\"";
const END: &[u8] = b"\"}";
const SUFFIX_BYTES: usize = HASH_KEY.len() + HASH_CHARS + END.len();

/// A line whose own hash was checked; whether it continues the chain is the caller's question.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Its number over the whole journal, from 1.
    pub seq: u64,
    /// The hash of the line before it.
    pub prev: HashText,
    /// The seq of the first line of the same write and sync.
    pub batch: u64,
    /// The caller's part: `"at":…,"order":…,"version":…,"events":[…]`.
    pub body: &'a [u8],
    /// Its own hash.
    pub hash: HashText,
}

/// Appends one line, newline included, to `out` and returns its hash.
pub fn encode(out: &mut Vec<u8>, seq: u64, prev: &HashText, batch: u64, body: &[u8]) -> HashText {
    let start = out.len();
    out.extend_from_slice(SEQ_KEY);
    out.extend_from_slice(seq.to_string().as_bytes());
    out.extend_from_slice(PREV_KEY);
    out.extend_from_slice(prev);
    out.extend_from_slice(BATCH_KEY);
    out.extend_from_slice(batch.to_string().as_bytes());
    out.push(b',');
    out.extend_from_slice(body);
    let hash = hash_of(&out[start..]);
    out.extend_from_slice(HASH_KEY);
    out.extend_from_slice(&hash);
    out.extend_from_slice(END);
    out.push(b'\n');
    hash
}

/// Bytes that a line adds to its body, at most (two 20-digit numbers).
pub const FRAME_BYTES_MAX: usize =
    SEQ_KEY.len() + 20 + PREV_KEY.len() + HASH_CHARS + BATCH_KEY.len() + 20 + 1 + SUFFIX_BYTES + 1;

/// Reads one line (without its newline) and checks its hash.
///
/// # Errors
/// Says what is wrong with it, in words for the operator.
pub fn decode(bytes: &[u8]) -> Result<Line<'_>, &'static str> {
    if bytes.len() > LINE_BYTES_MAX {
        return Err("line too long");
    }
    let Some(split) = bytes.len().checked_sub(SUFFIX_BYTES) else {
        return Err("line too short");
    };
    let (covered, suffix) = bytes.split_at(split);
    let hash = suffix
        .strip_prefix(HASH_KEY)
        .and_then(|rest| rest.strip_suffix(END))
        .and_then(hash_text)
        .ok_or("no hash at the end of the line")?;
    let (seq, prev, batch, body) = header(covered).ok_or("the line does not begin as a journal line")?;
    if hash_of(covered) != hash {
        return Err("the hash does not match the line");
    }
    Ok(Line { seq, prev, batch, body, hash })
}

/// The largest `batch` named by anything in `bytes` that begins like a journal line, wherever it stands.
///
/// Recovery asks this of what follows damage: hashes are not looked at, so that two damaged lines in a row still
/// betray that an acknowledged batch stood there.
pub fn latest_batch_in(bytes: &[u8]) -> Option<u64> {
    let mut latest = None;
    let mut at = 0;
    while let Some(found) = find(&bytes[at..], SEQ_KEY) {
        at += found;
        if let Some((_, _, batch, _)) = header(&bytes[at..]) {
            latest = latest.max(Some(batch));
        }
        at += SEQ_KEY.len();
    }
    latest
}

fn header(bytes: &[u8]) -> Option<(u64, HashText, u64, &[u8])> {
    let (seq, rest) = number(bytes.strip_prefix(SEQ_KEY)?)?;
    let rest = rest.strip_prefix(PREV_KEY)?;
    let prev = hash_text(rest.get(..HASH_CHARS)?)?;
    let (batch, rest) = number(rest[HASH_CHARS..].strip_prefix(BATCH_KEY)?)?;
    Some((seq, prev, batch, rest.strip_prefix(b",")?))
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > 20 || bytes[0] == b'0' {
        return None;
    }
    let text = std::str::from_utf8(&bytes[..digits]).ok()?;
    Some((text.parse().ok()?, &bytes[digits..]))
}

fn hash_text(bytes: &[u8]) -> Option<HashText> {
    let hash: HashText = bytes.try_into().ok()?;
    hash.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then_some(hash)
}

fn hash_of(bytes: &[u8]) -> HashText {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = GENESIS;
    for (pair, byte) in text.chunks_exact_mut(2).zip(Sha256::digest(bytes)) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    text
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_and_any_flipped_bit_shows() {
        let mut bytes = Vec::new();
        let hash = encode(&mut bytes, 7, &GENESIS, 5, br#""at":"x","events":[]"#);
        bytes.pop();
        let line = decode(&bytes).unwrap();
        assert_eq!((line.seq, line.batch, line.prev, line.hash), (7, 5, GENESIS, hash));
        assert_eq!(line.body, br#""at":"x","events":[]"#);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(decode(&damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn later_batches_are_found_behind_garbage() {
        let mut bytes = b"\0\0garbage".to_vec();
        assert_eq!(latest_batch_in(&bytes), None);
        encode(&mut bytes, 12, &GENESIS, 11, b"\"a\":1");
        encode(&mut bytes, 13, &GENESIS, 13, b"\"a\":1");
        assert_eq!(latest_batch_in(&bytes), Some(13));
    }
}
