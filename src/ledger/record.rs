//! What is stored of an order: its line in the journal, its snapshot in the index. Both sealed as far as they are
//! personal.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::journal::Position;
use super::seal::{Held, Keyring, Lost, Place, Seal};
use super::vault::{Stored as StoredVault, Vault};
use crate::domain::event::{Event, FORMAT, Stored};
use crate::domain::payment::Payment;
use crate::domain::personal::Personal;
use crate::domain::values::{OrderId, Timestamp};

/// First byte of a stored snapshot. An unknown one is folded again from the journal.
pub(crate) const SNAPSHOT_FORMAT: u8 = 3;

/// The latest state of an order and where its history stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The state. Shared with whoever acts for the order.
    pub(crate) payment: Arc<Payment>,
    /// What is personal of it, as the index keeps it.
    pub(crate) vault: Vault,
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

/// A line with what it says of keys.
#[derive(Debug)]
pub(crate) struct Read {
    /// Whose it is.
    pub(crate) order: OrderId,
    /// The commit.
    pub(crate) line: Line,
    /// How its personal part was kept.
    pub(crate) kept: Kept,
    /// The keys that it destroys, by their records.
    pub(crate) erases: Vec<u64>,
}

/// How the personal part of a line was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It has none.
    None,
    /// In plain text, as before there were keys.
    Plain,
    /// Sealed with the key in this record; of a lost key there is none here but an error.
    Sealed(u64, Held),
}

/// Why a line cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It is not what it should be.
    #[error("{0}")]
    Line(String),
    /// Its key is missing.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The keys cannot be read.
    #[error("{0}")]
    Keys(String),
}

/// Where the keys of sealed parts come from.
#[derive(Clone, Copy)]
pub(crate) enum Keys<'a> {
    /// From the key file.
    Of(&'a Keyring),
    /// From nowhere: what is sealed is taken for erased.
    None,
}

#[derive(Serialize)]
struct BodyOut<'a> {
    at: Timestamp,
    order: OrderId,
    version: u32,
    events: Vec<StoredOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    erases: &'a [u64],
}

#[derive(Serialize)]
struct StoredOut<'a> {
    v: u8,
    #[serde(flatten)]
    event: Cow<'a, Event>,
}

#[derive(Deserialize)]
struct BodyIn {
    at: Timestamp,
    order: OrderId,
    version: u32,
    events: Vec<Stored>,
    #[serde(default)]
    key: Option<u64>,
    #[serde(default)]
    sealed: Option<String>,
    #[serde(default)]
    erases: Vec<u64>,
}

/// One commit before it becomes a line.
pub(crate) struct Commit<'a> {
    /// Whose it is.
    pub(crate) order: OrderId,
    /// The order's version after it.
    pub(crate) version: u32,
    /// What happened.
    pub(crate) events: &'a [Event],
    /// When.
    pub(crate) at: Timestamp,
    /// The keys that it destroys, by their records.
    pub(crate) erases: &'a [u64],
}

impl Commit<'_> {
    /// Whether it needs a key.
    pub(crate) fn is_personal(events: &[Event]) -> bool {
        events.iter().any(Event::is_personal)
    }

    /// The caller's part of a journal line. Everything personal is sealed in one piece, as JSON: one member per event,
    /// null for those without.
    ///
    /// # Errors
    /// Something is personal and there is no seal.
    pub(crate) fn encode(&self, seal: Option<&Seal<'_>>) -> Result<Vec<u8>, String> {
        let mut parts: Vec<Option<Personal>> = Vec::with_capacity(self.events.len());
        let mut events = Vec::with_capacity(self.events.len());
        for event in self.events {
            let (event, part) = if event.is_personal() {
                let mut bare = event.clone();
                let part = bare.take_personal();
                (Cow::Owned(bare), part)
            } else {
                (Cow::Borrowed(event), None)
            };
            parts.push(part);
            events.push(StoredOut { v: FORMAT, event });
        }
        let (mut key, mut sealed) = (None, None);
        if parts.iter().any(Option::is_some) {
            let seal = seal.ok_or("nothing to seal with")?;
            let plain = serde_json::to_vec(&parts).map_err(|error| error.to_string())?;
            let place = Place::Line(self.order, self.version);
            let bytes = seal.seal(place, &plain).map_err(|error| error.to_string())?;
            (key, sealed) = (Some(seal.slot), Some(STANDARD_NO_PAD.encode(bytes)));
        }
        let Commit { at, order, version, erases, .. } = *self;
        let body = BodyOut { at, order, version, events, key, sealed, erases };
        let mut bytes = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
        // The line brings its own braces.
        bytes.pop();
        bytes.remove(0);
        Ok(bytes)
    }
}

/// Reads the caller's part of a journal line back.
pub(crate) fn decode_body(seq: u64, body: &[u8], keys: Keys<'_>) -> Result<Read, ReadError> {
    let mut json = Vec::with_capacity(body.len() + 2);
    json.push(b'{');
    json.extend_from_slice(body);
    json.push(b'}');
    // serde_json's message may quote a value, which may be personal: only the place is passed on.
    let unreadable = |error: serde_json::Error| format!("not an event line (column {})", error.column());
    let body: BodyIn = serde_json::from_slice(&json).map_err(|error| ReadError::Line(unreadable(error)))?;
    if let Some(unknown) = body.events.iter().find(|stored| stored.v > FORMAT) {
        return Err(ReadError::Line(format!("event format {} is newer than this program", unknown.v)));
    }
    let mut events: Vec<Event> = body.events.into_iter().map(|stored| stored.event).collect();
    let kept = match (body.key, &body.sealed) {
        (None, None) if Commit::is_personal(&events) => Kept::Plain,
        (None, None) => Kept::None,
        (Some(slot), Some(sealed)) => {
            let held = held(keys, slot, body.order)?;
            match &held {
                Held::Live(_) => {
                    let place = Place::Line(body.order, body.version);
                    put_back(&mut events, keys, slot, &held, place, sealed)
                        .ok_or_else(|| ReadError::Line("the sealed part does not open".into()))?;
                }
                Held::Destroyed | Held::GivenUp => events.iter_mut().for_each(Event::blank),
                Held::Lost => {
                    return Err(match keys {
                        Keys::Of(ring) => ring.lost(slot, body.order).into(),
                        Keys::None => ReadError::Line("a lost key without keys".into()),
                    });
                }
            }
            Kept::Sealed(slot, held)
        }
        (Some(_), None) | (None, Some(_)) => {
            return Err(ReadError::Line("a sealed part without its key's record, or the reverse".into()));
        }
    };
    let line = Line { seq, at: body.at, version: body.version, events };
    Ok(Read { order: body.order, line, kept, erases: body.erases })
}

fn held(keys: Keys<'_>, slot: u64, order: OrderId) -> Result<Held, ReadError> {
    match keys {
        Keys::None => Ok(Held::Destroyed),
        Keys::Of(ring) => ring.get(slot, order).map_err(|error| ReadError::Keys(error.to_string())),
    }
}

/// None if the part does not open, or is not one per event.
fn put_back(
    events: &mut [Event],
    keys: Keys<'_>,
    slot: u64,
    held: &Held,
    place: Place,
    sealed: &str,
) -> Option<()> {
    let (Keys::Of(ring), Held::Live(key)) = (keys, held) else { return None };
    let bytes = STANDARD_NO_PAD.decode(sealed).ok()?;
    let plain = ring.with(slot, key.clone()).open(place, &bytes)?;
    let parts: Vec<Option<Personal>> = serde_json::from_slice(&plain).ok()?;
    if parts.len() != events.len() {
        return None;
    }
    for (event, part) in events.iter_mut().zip(parts) {
        if let Some(part) = part {
            event.put_personal(part);
        }
    }
    Some(())
}

impl Snapshot {
    /// The order after one more line, wherever it was read.
    ///
    /// # Errors
    /// The line does not continue the order, in words.
    pub(crate) fn after(
        before: Option<&Snapshot>,
        read: &Read,
        position: Position,
        ring: &Keyring,
    ) -> Result<Snapshot, String> {
        let Read { order, line, kept, .. } = read;
        let base = before.map(|before| &*before.payment);
        let payment =
            Payment::evolve(base, *order, &line.events, line.at).map_err(|error| error.to_string())?;
        if payment.version != line.version {
            return Err("the line's version does not continue the order's".into());
        }
        let seal = match kept {
            Kept::Sealed(slot, Held::Live(key)) => Some(ring.with(*slot, key.clone())),
            Kept::Sealed(..) | Kept::None | Kept::Plain => None,
        };
        let vault = Vault::after(before, &payment, seal.as_ref(), ring)?;
        let mut lines = before.map(|before| before.lines.clone()).unwrap_or_default();
        lines.push(Located { seq: line.seq, position });
        Ok(Snapshot { payment: Arc::new(payment), vault, lines })
    }
}

/// A stored snapshot: format, lines, what is personal, the state without it. The lines come first and never change their
/// form, so that a state of another format can be folded again.
pub(crate) fn encode_snapshot(snapshot: &Snapshot) -> postcard::Result<Vec<u8>> {
    let mut bytes = vec![SNAPSHOT_FORMAT];
    bytes.extend(postcard::to_stdvec(&snapshot.lines)?);
    let mut payment = Payment::clone(&snapshot.payment);
    let part = payment.take_personal();
    bytes.extend(postcard::to_stdvec(&snapshot.vault.stored(part))?);
    bytes.extend(postcard::to_stdvec(&payment)?);
    Ok(bytes)
}

/// A state as the index keeps it: what is personal still sealed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frozen {
    /// The rest.
    payment: Payment,
    vault: StoredVault,
}

impl Frozen {
    /// The state, its personal part opened; blank where its key was destroyed.
    ///
    /// # Errors
    /// The key is lost; or what it sealed does not open, which is the index's fault.
    pub(crate) fn thaw(self, ring: &Keyring) -> Result<(Payment, Vault), ThawError> {
        let Frozen { mut payment, vault } = self;
        let vault = vault.open(&mut payment, ring)?;
        Ok((payment, vault))
    }
}

/// Why a state's personal part does not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ThawError {
    /// Its key is missing.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The keys cannot be read.
    #[error("{0}")]
    Keys(String),
    /// It is not what was sealed.
    #[error("a sealed state does not open")]
    Damaged,
}

/// The lines, and the state unless its format is not ours.
pub(crate) fn decode_snapshot(bytes: &[u8]) -> postcard::Result<(Vec<Located>, Option<Frozen>)> {
    let (format, rest) = bytes.split_first().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
    let (lines, rest) = postcard::take_from_bytes(rest)?;
    let frozen = || {
        let (vault, rest) = postcard::take_from_bytes(rest).ok()?;
        Some(Frozen { payment: postcard::from_bytes(rest).ok()?, vault })
    };
    Ok((lines, if *format == SNAPSHOT_FORMAT { frozen() } else { None }))
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
        fn no_stored_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), format in 0_u8..5) {
            let _read = decode_body(1, &bytes, Keys::None);
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
            let error = decode_body(1, body.as_bytes(), Keys::None).unwrap_err().to_string();
            prop_assert!(!error.contains(&name), "{}", error);
        }
    }
}
