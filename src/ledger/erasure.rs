//! Keys in the course of a commit, and finding everything that a person's address stands in.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::embedded::Embedded;
use super::journal::{Patch, walk};
use super::record::{Commit, Kept, Keys, Line, Snapshot, decode_body};
use super::seal::{Held, Keyring, Seal};
use super::vault::Vault;
use super::{CommitError, LedgerError};
use crate::domain::event::Event;
use crate::domain::values::{Email, OrderId};

/// Only lines that hold one of these can hold an address.
const PERSONAL: [&[u8]; 2] = [b"\"sealed\":\"", b"\"buyer\":{\""];

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

impl Embedded {
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
