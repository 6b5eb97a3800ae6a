//! Copying segments, and knowing them again.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::BackupError;
use super::manifest::Segment;
use crate::ledger::journal::line::{self, latest_batch_in};
use crate::ledger::journal::medium::sync_folder;
use crate::ledger::journal::{Chain, Damage, LINE_BYTES_MAX, Medium};

/// Bytes copied at a time.
const CHUNK_BYTES: u64 = 1024 * 1024;
/// A segment that shrinks under our eyes (a write without room was just cut off) is measured again so often.
const LOOKS_MAX: u32 = 10;

/// Copies the first `len` bytes of a segment to another medium, whatever stood there.
pub(super) fn copied(from: &Medium, to: &Medium, first: u64, len: u64) -> Result<(), BackupError> {
    let source = from.open_read(first).map_err(BackupError::io(from.path(first)))?;
    let write = || -> io::Result<()> {
        let target = to.create(first)?;
        target.truncate(0)?;
        let chunk = failpoint_bound!("COPY_BYTES", CHUNK_BYTES);
        let mut buffer = vec![0; usize::try_from(chunk).unwrap_or(usize::MAX)];
        let mut at = 0;
        while at < len {
            let want = usize::try_from(len - at).unwrap_or(usize::MAX).min(buffer.len());
            match source.read_at(&mut buffer[..want], at)? {
                0 => break,
                count => {
                    target.write_all_at(&buffer[..count], at)?;
                    at += count as u64;
                    failpoint!("backup.half_copied" if at < len);
                }
            }
        }
        Ok(())
    };
    write().map_err(BackupError::io(to.path(first)))
}

/// Puts a segment that was written aside into its place, durably.
pub(super) fn placed(aside: &Medium, journal: &Path, first: u64) -> Result<(), BackupError> {
    failpoint!("backup.copied_before_sync");
    let (from, to) = (aside.path(first), Medium::Disk(journal.to_owned()).path(first));
    let placed = || {
        File::open(&from)?.sync_all()?;
        fs::rename(&from, to)?;
        failpoint!("backup.placed_before_sync");
        sync_folder(journal)
    };
    placed().map_err(BackupError::io(&from))
}

/// How much of a segment may be copied. Of the open one only what is durable: lines that a power cut could still
/// take away must not be in a backup, or the two would tell different stories ever after.
pub(super) fn durable_len(medium: &Medium, first: u64, open: bool) -> Result<u64, BackupError> {
    let look = || -> io::Result<u64> {
        let segment = medium.open_read(first)?;
        let mut len = segment.size()?;
        if !open {
            return Ok(len);
        }
        for _ in 0..LOOKS_MAX {
            segment.sync()?;
            let now = segment.size()?;
            if now >= len {
                return Ok(len);
            }
            len = now;
        }
        Err(io::Error::other("the segment keeps shrinking"))
    };
    look().map_err(BackupError::io(medium.path(first)))
}

/// Whether acknowledged lines are among the damage: a later batch follows it.
pub(super) fn is_acknowledged(damage: &Damage, remains: &[u8]) -> bool {
    latest_batch_in(remains).is_some_and(|batch| batch > damage.seq)
}

/// Whether a chain stands where a segment of the backup ends.
pub(super) fn same_head(chain: &Chain, known: &Segment) -> bool {
    chain.next_seq == known.last + 1 && chain.prev.is_some_and(|hash| hash[..] == *known.hash.as_bytes())
}

/// The hash of the journal's first line; None while it has none.
pub(super) fn first_hash(medium: &Medium) -> Result<Option<String>, BackupError> {
    let look = || -> io::Result<Vec<u8>> {
        let segment = medium.open_read(1)?;
        let mut bytes = vec![0; LINE_BYTES_MAX + 1];
        let mut filled = 0;
        while filled < bytes.len() {
            match segment.read_at(&mut bytes[filled..], filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    };
    let bytes = look().map_err(BackupError::io(medium.path(1)))?;
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
    match line::decode(&bytes[..end]) {
        Ok(line) => Ok(Some(String::from_utf8_lossy(&line.hash).into_owned())),
        Err(reason) => {
            let damage = Damage { path: medium.path(1), segment: 1, offset: 0, seq: 1, reason };
            Err(damage.refusal().into())
        }
    }
}
