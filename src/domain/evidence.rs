//! An order's journal lines as evidence: what each says, its bytes, and their hash.

use super::event::Event;
use super::values::Timestamp;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the journal.
    pub seq: u64,
    /// When it was committed.
    pub at: Timestamp,
    /// The order's version after it.
    pub version: u32,
    /// What happened.
    pub events: Vec<Event>,
    /// The line itself, without its end. It holds the buyer's personal data.
    pub text: String,
    /// SHA-256 of the text before `,"hash":`, in hex, as the line's own last member says.
    pub hash: String,
}

impl Entry {
    /// The kinds of its events: `CHECKED PAID`.
    pub fn kinds(&self) -> String {
        self.events.iter().map(Event::kind).collect::<Vec<_>>().join(" ")
    }
}
