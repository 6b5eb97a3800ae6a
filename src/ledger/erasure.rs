//! Keys in the course of a commit, and finding everything that a person's address stands in.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::embedded::Embedded;
use super::journal::{Patch, walk};
use super::record::{Commit, Kept, Keys, Snapshot, decode_body};
use super::seal::{Held, Seal};
use super::vault::Vault;
use super::{CommitError, LedgerError};
use crate::domain::event::Event;
use crate::domain::values::{Email, OrderId};

/// Only lines that hold one of these can hold an address.
const PERSONAL: [&[u8]; 2] = [b"\"sealed\":\"", b"\"buyer\":{\""];

impl Embedded {
    /// What seals a commit that has something personal: the order's key, or a new one, with the record that must be
    /// durable before its line.
    pub(super) fn seal(
        &self,
        id: OrderId,
        base: Option<&Arc<Snapshot>>,
        events: &[Event],
    ) -> Result<(Option<Seal<'_>>, Vec<Patch>), CommitError> {
        if !Commit::is_personal(events) {
            return Ok((None, Vec::new()));
        }
        if let Some(Vault::Sealed { slot, .. }) = base.map(|base| &base.vault) {
            match self.ring.get(*slot, id).map_err(LedgerError::from)? {
                Held::Live(key) => return Ok((Some(self.ring.with(*slot, key)), Vec::new())),
                Held::Lost => return Err(LedgerError::Lost(self.ring.lost(*slot, id)).into()),
                Held::Destroyed | Held::GivenUp => {}
            }
        }
        let (seal, record) = self.ring.fresh(id);
        Ok((Some(seal), vec![record]))
    }

    /// The keys that an erasure destroys: all that the order's lines were ever sealed with. Reads them all from the
    /// disk, once in an order's life.
    pub(super) fn keys_to_destroy(
        &self,
        id: OrderId,
        base: Option<&Arc<Snapshot>>,
        events: &[Event],
    ) -> Result<Vec<u64>, CommitError> {
        let mut slots = Vec::new();
        if !events.iter().any(|event| matches!(event, Event::Erased { .. })) {
            return Ok(slots);
        }
        for located in base.iter().flat_map(|base| &base.lines) {
            match self.line(id, located)?.0.kept {
                Kept::Sealed(slot, Held::Live(_)) if !slots.contains(&slot) => slots.push(slot),
                Kept::Sealed(..) | Kept::None => {}
                Kept::Plain => return Err(CommitError::Unsealed),
            }
        }
        Ok(slots)
    }

    /// Every order in whose lines this address stands, now or before it was corrected, oldest first. Reads the whole
    /// journal.
    pub(super) fn mentions(&self, address: &Email) -> Result<Vec<OrderId>, LedgerError> {
        let folded = address.expose().to_lowercase();
        let mut found = BTreeSet::new();
        let walked = walk(&self.medium, &mut |line, _| {
            let may = PERSONAL.iter().any(|mark| line.body.windows(mark.len()).any(|part| part == *mark));
            // What does not open tells nobody's address; `ledger verify` tells why it does not.
            if may && let Ok(read) = decode_body(line.seq, line.body, Keys::Of(&self.ring)) {
                let buyers = read.line.events.iter().filter_map(|event| match event {
                    Event::Created { buyer, .. } | Event::Note { buyer: Some(buyer), .. } => Some(buyer),
                    _ => None,
                });
                if buyers.into_iter().any(|buyer| buyer.email.expose().to_lowercase() == folded) {
                    found.insert(read.order);
                }
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
