//! What is stored of an order: its line in the journal, its snapshot in the index.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::journal::Position;
use crate::domain::event::{Event, FORMAT, Stored};
use crate::domain::payment::Payment;
use crate::domain::values::{OrderId, Timestamp};

/// First byte of a stored snapshot. An unknown one is folded again from the journal.
pub(crate) const SNAPSHOT_FORMAT: u8 = 2;

/// The latest state of an order and where its history stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The state. Shared with whoever acts for the order.
    pub(crate) payment: Arc<Payment>,
    /// Its lines, oldest first.
    pub(crate) lines: Vec<Located>,
}

/// A line of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Located {
    /// Its number in the journal.
    pub(crate) seq: u64,
    /// Where it stands.
    pub(crate) position: Position,
}

/// One commit of an order, as read back from the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number in the journal.
    pub seq: u64,
    /// When it was committed.
    pub at: Timestamp,
    /// The order's version after it.
    pub version: u32,
    /// What happened.
    pub events: Vec<Event>,
}

#[derive(Serialize)]
struct BodyOut<'a> {
    at: Timestamp,
    order: OrderId,
    version: u32,
    events: Vec<StoredOut<'a>>,
}

#[derive(Serialize)]
struct StoredOut<'a> {
    v: u8,
    #[serde(flatten)]
    event: &'a Event,
}

#[derive(Deserialize)]
struct BodyIn {
    at: Timestamp,
    order: OrderId,
    version: u32,
    events: Vec<Stored>,
}

/// The caller's part of a journal line.
pub(crate) fn encode_body(
    order: OrderId,
    version: u32,
    events: &[Event],
    at: Timestamp,
) -> serde_json::Result<Vec<u8>> {
    let events = events.iter().map(|event| StoredOut { v: FORMAT, event }).collect();
    let mut bytes = serde_json::to_vec(&BodyOut { at, order, version, events })?;
    // The line brings its own braces.
    bytes.pop();
    bytes.remove(0);
    Ok(bytes)
}

/// Reads the caller's part of a journal line back.
pub(crate) fn decode_body(seq: u64, body: &[u8]) -> Result<(OrderId, Line), String> {
    let mut json = Vec::with_capacity(body.len() + 2);
    json.push(b'{');
    json.extend_from_slice(body);
    json.push(b'}');
    // serde_json's message may quote a value, which may be personal: only the place is passed on.
    let body: BodyIn = serde_json::from_slice(&json)
        .map_err(|error| format!("not an event line (column {})", error.column()))?;
    if let Some(unknown) = body.events.iter().find(|stored| stored.v > FORMAT) {
        return Err(format!("event format {} is newer than this program", unknown.v));
    }
    let events = body.events.into_iter().map(|stored| stored.event).collect();
    Ok((body.order, Line { seq, at: body.at, version: body.version, events }))
}

/// A stored snapshot: format, lines, state. The lines come first and never change their form, so that a state of
/// another format can be folded again.
pub(crate) fn encode_snapshot(snapshot: &Snapshot) -> postcard::Result<Vec<u8>> {
    let mut bytes = vec![SNAPSHOT_FORMAT];
    bytes.extend(postcard::to_stdvec(&snapshot.lines)?);
    bytes.extend(postcard::to_stdvec(&*snapshot.payment)?);
    Ok(bytes)
}

/// The lines, and the state unless its format is not ours.
pub(crate) fn decode_snapshot(bytes: &[u8]) -> postcard::Result<(Vec<Located>, Option<Payment>)> {
    let (format, rest) = bytes.split_first().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
    let (lines, rest) = postcard::take_from_bytes(rest)?;
    let payment = if *format == SNAPSHOT_FORMAT { postcard::from_bytes(rest).ok() } else { None };
    Ok((lines, payment))
}

/// How many lines a stored order has, which is its version: read without the rest, for the guard of every commit.
pub(crate) fn stored_version(bytes: &[u8]) -> postcard::Result<u32> {
    let lines = bytes.get(1..).ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
    // A sequence begins with its length.
    postcard::take_from_bytes::<u32>(lines).map(|(count, _)| count)
}

/// SHA-256 of a text without regard to case, for keys that must not hold personal data.
pub(crate) fn folded_hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.to_lowercase()).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Stored bytes that rot are an error or a refold, never a panic and never a large allocation.
        #[test]
        fn no_stored_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), format in 0_u8..3) {
            let _read = decode_body(1, &bytes);
            let _snapshot = decode_snapshot(&[&[format], bytes.as_slice()].concat());
        }

        #[test]
        fn lines_of_a_snapshot_survive_any_state(seqs in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>()), 0..5), state in prop::collection::vec(any::<u8>(), 0..40)) {
            let located = |(seq, segment, offset, len)| Located { seq, position: Position { segment, offset, len } };
            let lines: Vec<Located> = seqs.into_iter().map(located).collect();
            let mut bytes = vec![SNAPSHOT_FORMAT + 1];
            bytes.extend(postcard::to_stdvec(&lines).unwrap());
            bytes.extend(state);
            prop_assert_eq!(decode_snapshot(&bytes).unwrap(), (lines, None));
        }

        /// A body that names members twice, or a newer format, is refused; what the error says holds no value.
        #[test]
        fn errors_keep_what_they_read(name in "[a-z]{8}@example\\.ci") {
            let body = format!("\"at\":\"2026-01-01T00:00:00Z\",\"order\":\"{name}\",\"version\":1,\"events\":[]");
            let error = decode_body(1, body.as_bytes()).unwrap_err();
            prop_assert!(!error.contains(&name), "{}", error);
        }
    }
}
