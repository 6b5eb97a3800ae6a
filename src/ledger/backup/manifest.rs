//! What a backup says of itself: `backup.json`, replaced as a whole after every segment.
//!
//! Invariant: what the manifest names is in the backup, durably, and was verified there. A backup that was
//! interrupted holds at most more than its manifest says, never less.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::BackupError;
use crate::ledger::journal::medium::sync_folder;
use crate::ledger::journal::{Chain, HashText};

const NAME: &str = "backup.json";
/// Written first, then renamed.
const ASIDE: &str = "backup.json.new";
/// The form of this file. A newer one is refused.
const FORMAT: u8 = 1;

/// The whole backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u8,
    /// The hash of the journal's first line: its identity.
    pub(super) journal: Option<String>,
    /// The last line's seq; 0 for an empty journal.
    pub(super) seq: u64,
    /// The last line's hash.
    pub(super) hash: Option<String>,
    /// Every segment, in order.
    pub(super) segments: Vec<Segment>,
}

/// One segment, as far as it was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment {
    /// The seq of its first line.
    pub(super) first: u64,
    /// The seq of its last line.
    pub(super) last: u64,
    /// The batch of its last line.
    batch: u64,
    /// Its length.
    pub(super) bytes: u64,
    /// The hash of its last line.
    pub(super) hash: String,
}

impl Segment {
    /// The segment that begins with line `first`, is `bytes` long and ends where `chain` stands. None while it is
    /// empty.
    pub(super) fn ending(first: u64, bytes: u64, chain: &Chain) -> Option<Self> {
        let hash = String::from_utf8_lossy(&chain.prev?).into_owned();
        (bytes > 0).then_some(Segment { first, last: chain.next_seq - 1, batch: chain.batch?, bytes, hash })
    }

    /// What the segment after it must continue; None if its hash is none.
    pub(super) fn chain(&self) -> Option<Chain> {
        let prev: HashText = self.hash.as_bytes().try_into().ok()?;
        Some(Chain { next_seq: self.last + 1, prev: Some(prev), batch: Some(self.batch) })
    }
}

impl Manifest {
    /// The manifest of a backup that has nothing yet.
    pub(super) fn empty() -> Self {
        Manifest { format: FORMAT, journal: None, seq: 0, hash: None, segments: Vec::new() }
    }

    /// Reads the manifest of a backup; None if it has none.
    pub(super) fn read(backup: &Path) -> Result<Option<Self>, BackupError> {
        let path = backup.join(NAME);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(BackupError::io(&path))?,
        };
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|_| BackupError::Manifest(path.clone()))?;
        let in_order = manifest.segments.windows(2).all(|two| two[0].last + 1 == two[1].first);
        let head = manifest.segments.last();
        let sound = manifest.format == FORMAT
            && in_order
            && manifest.segments.first().is_none_or(|first| first.first == 1)
            && manifest.segments.iter().all(|segment| segment.chain().is_some())
            && (head.map_or(0, |head| head.last), head.map(|head| &head.hash))
                == (manifest.seq, manifest.hash.as_ref());
        if sound { Ok(Some(manifest)) } else { Err(BackupError::Manifest(path)) }
    }

    /// Replaces the manifest, durably.
    pub(super) fn write(&self, backup: &Path) -> Result<(), BackupError> {
        let aside = backup.join(ASIDE);
        let written = || -> io::Result<()> {
            let mut file = File::create(&aside)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            failpoint!("backup.manifest_before_rename");
            fs::rename(&aside, backup.join(NAME))?;
            sync_folder(backup)
        };
        written().map_err(BackupError::io(&aside))
    }

    /// Notes a segment: a new one, more of the last one, or an earlier one that had to be copied again.
    pub(super) fn note(&mut self, place: usize, segment: Segment) {
        match self.segments.get_mut(place) {
            Some(known) => *known = segment,
            None => self.segments.push(segment),
        }
        let head = self.segments.last();
        (self.seq, self.hash) = (head.map_or(0, |head| head.last), head.map(|head| head.hash.clone()));
    }

    /// Bytes of journal in the backup.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

/// Whether a folder may become a backup: it holds nothing, or what the very first step of a backup left.
pub(super) fn is_virgin(backup: &Path, lock: &str) -> io::Result<bool> {
    for entry in fs::read_dir(backup)? {
        let name = entry?.file_name();
        if name != ASIDE && name != *lock {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The manifest's path, for messages.
pub(super) fn path(backup: &Path) -> PathBuf {
    backup.join(NAME)
}
