//! Every commit as JSON Lines, for accounts, audits and other programs.

use std::path::Path;

use serde::Serialize;

use super::journal::{self, Medium, Position};
use super::record::{Kept, Keys, ReadError, decode_body};
use super::seal::{Chance, Held, Keyring};
use super::{JournalError, OpenError};
use crate::domain::event::Event;
use crate::domain::values::{OrderId, Timestamp};

/// One commit, its personal data opened.
#[derive(Debug, Serialize)]
pub struct Exported {
    /// Its number in the journal.
    pub seq: u64,
    /// When it was committed.
    pub at: Timestamp,
    /// The order.
    pub order: OrderId,
    /// The order's version after it.
    pub version: u32,
    /// What happened.
    pub events: Vec<Event>,
    /// The hash of its line in the journal.
    pub hash: String,
    /// Set where personal data stood and were erased.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
}

/// Hands every commit, or those of one order, to `take`, oldest first. A daemon may have the store open. Blocks.
///
/// # Errors
/// A journal that is damaged: what stands before the damage was handed over. The error of `take`.
pub fn export(
    store: &Path,
    only: Option<OrderId>,
    take: &mut dyn FnMut(&Exported) -> std::io::Result<()>,
) -> Result<u64, OpenError> {
    let medium = Medium::Disk(store.join("journal"));
    let ring = Keyring::read(&medium, Chance::System)?;
    let mut count = 0;
    let mut on_line = |line: &journal::Line<'_>, position: Position| {
        let seq = line.seq;
        let read = decode_body(seq, line.body, Keys::Of(&ring)).map_err(|error| match error {
            ReadError::Lost(lost) => JournalError::Lost(lost),
            ReadError::Line(reason) | ReadError::Keys(reason) => JournalError::Receiver { seq, reason },
        })?;
        let (order, commit) = (read.order, read.line);
        if only.is_some_and(|only| only != order) {
            return Ok(());
        }
        count += 1;
        let hash = String::from_utf8_lossy(&line.hash).into_owned();
        let (at, version, events) = (commit.at, commit.version, commit.events);
        let erased = matches!(read.kept, Kept::Sealed(_, Held::Destroyed | Held::GivenUp));
        let exported = Exported { seq, at, order, version, events, hash, erased };
        take(&exported).map_err(JournalError::io(medium.path(position.segment)))
    };
    let walked = journal::walk(&medium, &mut on_line)?;
    match walked.damage {
        None => Ok(count),
        Some(damage) => Err(damage.refusal().into()),
    }
}
