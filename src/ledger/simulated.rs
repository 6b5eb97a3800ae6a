//! A ledger without threads and files: the same commits, recovery and index on a machine in memory.
//!
//! Why: the simulation must be able to stop the world between any two steps and repeat it byte for byte. The journal's
//! writer and the indexer run as tasks of one runtime whose clock is paused; everything else is the daemon's own.

use std::sync::Arc;
use std::time::Duration;

use super::OpenOptions;
pub use super::index::memory::Memory as Index;
pub use super::journal::memory::{Fault, Memory as Journal, SECTOR_BYTES};

/// What survives the process: the disk of a simulated machine.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The journal's segments.
    pub journal: Journal,
    /// The index.
    pub index: Index,
    /// Where its keys come from.
    pub chance: Chance,
}

/// A simulated machine's randomness: the same in every run, and never the same twice.
#[derive(Debug, Clone)]
pub struct Chance(pub(super) super::seal::Chance);

impl Default for Chance {
    fn default() -> Self {
        Chance(super::seal::Chance::Counted(Arc::default()))
    }
}

impl Machine {
    /// A machine with the same disk, to try something on.
    pub fn fork(&self) -> Machine {
        Machine { journal: self.journal.fork(), index: self.index.fork(), chance: self.chance.clone() }
    }
}

/// A span of time, drawn anew each time it is asked for.
pub type Span = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How fast a simulated machine is.
#[derive(Clone)]
pub struct Pace {
    /// How long an fdatasync takes. What arrives meanwhile waits for the next one.
    pub sync: Span,
    /// How long a batch takes to reach the index.
    pub index: Span,
    /// One write and one sync carry at most about this many bytes.
    pub batch_bytes: usize,
}

/// How to open a ledger on a simulated machine. [`OpenOptions::folder`] is not used.
#[derive(Clone)]
pub struct Options {
    /// The machine.
    pub machine: Machine,
    /// Its speed.
    pub pace: Pace,
    /// As for a real one.
    pub usual: OpenOptions,
}

/// Whether the caller's part of a journal line can be read with the keys in such a file: what a start does with a line,
/// without the rest of it.
pub fn reads(body: &[u8], key_file: Vec<u8>) -> bool {
    let disk = Journal::default();
    disk.put(super::journal::medium::KEYS, key_file);
    let medium = super::journal::Medium::Memory(disk);
    let ring = super::seal::Keyring::read(&medium, super::seal::Chance::System);
    ring.is_ok_and(|ring| super::record::decode_body(1, body, super::record::Keys::Of(&ring)).is_ok())
}
