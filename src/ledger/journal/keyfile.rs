//! Writing the key file. What its bytes mean is `seal`'s; here is when they become durable.
//!
//! Invariant: what a line needs is synced before the line is written, and what it takes away is written and synced only
//! after the line is durable. A crash in between leaves a key that nobody needs, or an erasure that the next start
//! completes; never a line without its key.

use std::io;

use super::medium::{KEYS, Medium, Segment};
use super::scribe::{Failure, outcome_of};
use super::writer::Entry;

/// Bytes of a record.
pub const SLOT_BYTES: usize = 64;

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Its number: it stands at so many times [`SLOT_BYTES`].
    pub slot: u64,
    /// Its bytes.
    pub bytes: [u8; SLOT_BYTES],
}

/// What a line does to the key file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyWork {
    /// Durable before the line.
    pub before: Vec<Patch>,
    /// Durable after the line, and before anybody is told of it.
    pub after: Vec<Patch>,
}

/// The file, opened when it is first written to.
#[derive(Debug, Default)]
pub(in crate::ledger) struct KeyFile(Option<Segment>);

impl KeyFile {
    /// Writes records; neighbours go in one write. False: there were none.
    pub(in crate::ledger) fn write(&mut self, medium: &Medium, mut patches: Vec<&Patch>) -> io::Result<bool> {
        if patches.is_empty() {
            return Ok(false);
        }
        patches.sort_by_key(|patch| patch.slot);
        let file = self.open(medium)?;
        for run in patches.chunk_by(|one, next| one.slot + 1 == next.slot) {
            let bytes: Vec<u8> = run.iter().flat_map(|patch| patch.bytes).collect();
            file.write_all_at(&bytes, run[0].slot * SLOT_BYTES as u64)?;
        }
        Ok(true)
    }

    /// Makes what was written durable.
    pub(in crate::ledger) fn sync(&mut self, medium: &Medium) -> io::Result<()> {
        self.open(medium)?.sync()
    }

    /// Makes the keys that these lines need durable. What fails here leaves at most keys that no line names.
    pub(super) fn store(&mut self, medium: &Medium, entries: &[Entry]) -> Result<(), Failure> {
        let new = entries.iter().flat_map(|entry| &entry.keys.before).collect();
        if self.write(medium, new).map_err(|error| Failure::Undone(outcome_of(&error)))? {
            failpoint!("keys.written_before_sync");
            self.sync(medium).map_err(|error| Failure::Fatal(format!("fdatasync of the keys: {error}")))?;
            failpoint!("keys.synced_before_append");
        }
        Ok(())
    }

    /// Destroys the keys of orders whose erasure is durable now. The next start completes what fails here.
    pub(super) fn destroy(&mut self, medium: &Medium, entries: &[Entry]) -> Result<(), Failure> {
        let gone: Vec<&Patch> = entries.iter().flat_map(|entry| &entry.keys.after).collect();
        let fatal = |error| Failure::Fatal(format!("destroying keys: {error}"));
        failpoint!("keys.erased_before_destroyed" if !gone.is_empty());
        if self.write(medium, gone).map_err(fatal)? {
            failpoint!("keys.destroyed_before_sync");
            self.sync(medium).map_err(fatal)?;
        }
        Ok(())
    }

    fn open(&mut self, medium: &Medium) -> io::Result<&Segment> {
        let file = match self.0.take() {
            Some(file) => file,
            None => medium.open_append(KEYS)?,
        };
        Ok(self.0.insert(file))
    }
}
