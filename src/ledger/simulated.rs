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
}

impl Machine {
    /// A machine with the same disk, to try something on.
    pub fn fork(&self) -> Machine {
        Machine { journal: self.journal.fork(), index: self.index.fork() }
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
