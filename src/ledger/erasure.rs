//! Keys in the course of a commit, and finding everything that a person's address stands in.

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::warn;

use super::embedded::Embedded;
use super::journal::{JournalError, Medium, Patch, line, read_line, walk};
use super::record::{Commit, Kept, Keys, Line, Snapshot, decode_body};
use super::seal::{Held, Keyring, Seal};
use super::vault::Vault;
use super::{CommitError, LedgerError};
use crate::domain::event::Event;
use crate::domain::values::{Email, OrderId};

/// Only lines that hold one of these can hold an address.
const PERSONAL: [&[u8]; 2] = [b"\"sealed\":\"", b"\"buyer\":{\""];

impl Kept {
    /// The record of its key.
    pub(crate) fn slot(&self) -> Option<u64> {
        match self {
            Kept::Sealed(slot, _) => Some(*slot),
            Kept::None | Kept::Plain => None,
        }
    }
}

/// What seals a commit that has something personal: the order's key, which `vault` names, or a new one, with the record
/// that must be durable no later than its line.
pub(super) fn seal<'a>(
    ring: &'a Keyring,
    id: OrderId,
    vault: Option<&Vault>,
    events: &[Event],
) -> Result<(Option<Seal<'a>>, Vec<Patch>), CommitError> {
    if !Commit::is_personal(events) {
        return Ok((None, Vec::new()));
    }
    if let Some(Vault::Sealed { slot, .. }) = vault {
        match ring.get(*slot, id).map_err(LedgerError::from)? {
            Held::Live(key) => return Ok((Some(ring.with(*slot, key)), Vec::new())),
            Held::Lost => return Err(LedgerError::Lost(ring.lost(*slot, id)).into()),
            Held::Destroyed | Held::GivenUp => {}
        }
    }
    let (seal, record) = ring.fresh(id).map_err(|error| CommitError::Io(error.to_string()))?;
    Ok((Some(seal), vec![record]))
}

/// Whether these events are an erasure.
pub(super) fn erases(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Erased { .. }))
}

/// The keys that an erasure destroys: all that the order's lines were ever sealed with, as `kept` tells of each.
pub(super) fn keys_of(
    kept: impl Iterator<Item = Result<Kept, LedgerError>>,
) -> Result<Vec<u64>, CommitError> {
    let mut slots = Vec::new();
    for kept in kept {
        match kept? {
            Kept::Sealed(slot, Held::Live(_)) if !slots.contains(&slot) => slots.push(slot),
            Kept::Sealed(..) | Kept::None => {}
            Kept::Plain => return Err(CommitError::Unsealed),
        }
    }
    Ok(slots)
}

/// Whether a line may hold an address: seen without decoding it.
pub(super) fn may_name(body: &[u8]) -> bool {
    PERSONAL.iter().any(|mark| body.windows(mark.len()).any(|part| part == *mark))
}

/// Whether an address, in lower case, stands in a line.
pub(super) fn names(line: &Line, folded: &str) -> bool {
    let buyers = line.events.iter().filter_map(|event| match event {
        Event::Created { buyer, .. } | Event::Note { buyer: Some(buyer), .. } => Some(buyer),
        _ => None,
    });
    buyers.into_iter().any(|buyer| buyer.email.expose().to_lowercase() == folded)
}

/// What the journal and the key file do not agree on.
#[derive(Default)]
struct Unlike {
    /// Keys that a line says are destroyed, and that are not.
    undone: Vec<(u64, OrderId)>,
    /// Keys that no line says are destroyed, and that are not there.
    lost: Vec<(u64, OrderId)>,
}

/// Reads the whole journal. What else is wrong with it is said elsewhere.
fn unlike(medium: &Medium, ring: &Keyring) -> Result<Unlike, JournalError> {
    let mut found = Unlike::default();
    walk(medium, &mut |line, _| {
        let Ok(read) = decode_body(line.seq, line.body, Keys::None) else { return Ok(()) };
        if let Some(slot) = read.kept.slot()
            && ring.get(slot, read.order)? == Held::Lost
        {
            found.lost.push((slot, read.order));
        }
        for slot in read.erases {
            if ring.get(slot, read.order)? != Held::Destroyed {
                found.undone.push((slot, read.order));
            }
        }
        Ok(())
    })?;
    let undone = &found.undone;
    found.lost.retain(|key| !undone.contains(key));
    Ok(found)
}

/// Completes every erasure that the journal tells of. A key whose overwriting was torn looks lost, and the line that says
/// that it was to be destroyed may stand far behind the one that needs it. False: there is nothing to complete.
pub(super) fn completed(medium: &Medium, ring: &Keyring) -> Result<bool, JournalError> {
    let Ok(Unlike { undone, .. }) = unlike(medium, ring) else { return Ok(false) };
    if undone.is_empty() {
        return Ok(false);
    }
    warn!(keys = undone.len(), "completing erasures that were interrupted");
    ring.destroy(&undone)?;
    Ok(true)
}

/// Mends a key file that has lost its end: marks of erasures are written again, behind which new keys go. A key that is
/// lost is refused.
pub(super) fn mend(medium: &Medium, ring: &Keyring) -> Result<(), JournalError> {
    let Unlike { undone, lost } = unlike(medium, ring)?;
    if let Some((slot, order)) = lost.first() {
        return Err(ring.lost(*slot, *order).into());
    }
    warn!(marks = undone.len(), "the key file had lost its end: erasures are noted in it again");
    ring.destroy(&undone)
}

impl Embedded {
    /// Whether a line of the order says that the key in this record is destroyed. Then it reads as erased, whatever the
    /// record holds.
    pub(super) fn says_destroyed(&self, id: OrderId, slot: u64) -> Result<bool, LedgerError> {
        let Some(snapshot) = self.stored(id)? else { return Ok(false) };
        for located in &snapshot.lines {
            let bytes = read_line(&self.medium, located.seq, located.position)?;
            let line = line::decode(&bytes).map_err(|reason| LedgerError::Line(reason.into()))?;
            let read = decode_body(line.seq, line.body, Keys::None);
            if read.is_ok_and(|read| read.order == id && read.erases.contains(&slot)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// See [`seal`].
    pub(super) fn seal(
        &self,
        id: OrderId,
        base: Option<&Arc<Snapshot>>,
        events: &[Event],
    ) -> Result<(Option<Seal<'_>>, Vec<Patch>), CommitError> {
        seal(&self.ring, id, base.map(|base| &base.vault), events)
    }

    /// The keys that an erasure destroys. Reads the order's lines from the disk, once in an order's life.
    pub(super) fn keys_to_destroy(
        &self,
        id: OrderId,
        base: Option<&Arc<Snapshot>>,
        events: &[Event],
    ) -> Result<Vec<u64>, CommitError> {
        if !erases(events) {
            return Ok(Vec::new());
        }
        let lines = base.into_iter().flat_map(|base| &base.lines);
        keys_of(lines.map(|located| Ok(self.line(id, located)?.0.kept)))
    }

    /// Every order in whose lines this address stands, now or before it was corrected, oldest first. Reads the whole
    /// journal.
    pub(super) fn mentions(&self, address: &Email) -> Result<Vec<OrderId>, LedgerError> {
        let folded = address.expose().to_lowercase();
        let mut found = BTreeSet::new();
        let walked = walk(&self.medium, &mut |line, _| {
            // What does not open tells nobody's address; `ledger verify` tells why it does not.
            if may_name(line.body)
                && let Ok(read) = decode_body(line.seq, line.body, Keys::Of(&self.ring))
                && names(&read.line, &folded)
            {
                found.insert(read.order);
            }
            Ok(())
        })?;
        match walked.damage {
            None => Ok(found.into_iter().collect()),
            // Part of the answer would be taken for all of it.
            Some(damage) => Err(damage.refusal().into()),
        }
    }
}
