//! From a backup into an empty place.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::copy::{copied, same_head};
use super::keys::Restored;
use super::manifest::{self, Manifest};
use super::{BackupError, Copied, JOURNAL, apart, make_folder};
use crate::ledger::check::LostKeys;
use crate::ledger::journal::medium::sync_folder;
use crate::ledger::journal::{Chain, Medium, scan};

/// The journal's name until all of it is there. A store that has it does not open.
const PARTIAL: &str = "journal.restoring";

/// Whether a restoration into this store never came to its end.
pub(crate) fn was_interrupted(store: &Path) -> bool {
    store.join(PARTIAL).exists()
}

/// Makes a store in `place` from a backup: every line is checked on its way, and the journal appears only as a
/// whole. The index is made at the first start. An interrupted restoration is begun anew. Blocks.
///
/// # Errors
/// See [`BackupError`]; there is no journal in `place` then.
pub fn restore(backup: &Path, place: &Path, progress: &mut dyn FnMut(u64)) -> Result<Copied, BackupError> {
    restore_with(backup, place, LostKeys::Refused, progress)
}

/// The same from a backup that has lost keys, if need be: orders without theirs go on without their personal data.
///
/// # Errors
/// As [`restore`].
pub fn restore_with(
    backup: &Path,
    place: &Path,
    lost_keys: LostKeys,
    progress: &mut dyn FnMut(u64),
) -> Result<Copied, BackupError> {
    let manifest = Manifest::read(backup)?.ok_or_else(|| BackupError::NotABackup(backup.to_owned()))?;
    apart(place, backup)?;
    make_folder(place)?;
    if !is_empty(place).map_err(BackupError::io(place))? {
        return Err(BackupError::NotEmpty(place.to_owned()));
    }
    let partial = place.join(PARTIAL);
    match fs::remove_dir_all(&partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(BackupError::io(&partial)(error)),
        Ok(()) | Err(_) => {}
    }
    make_folder(&partial)?;
    let (from, to) = (Medium::Disk(backup.join(JOURNAL)), Medium::Disk(partial.clone()));
    let mut keys = Restored::begin(&from, &to, lost_keys)?;
    let mut chain = Chain::start();
    let mut done = 0;
    for known in &manifest.segments {
        let damaged = |offset, seq, reason| {
            let path = from.path(known.first);
            BackupError::Damaged { path, offset, seq, reason }
        };
        copied(&from, &to, known.first, known.bytes)?;
        let found = scan(&to, known.first, &mut chain, &mut |line, _| keys.see(line))?;
        let len = found.map_err(|damage| damaged(damage.offset, damage.seq, damage.reason))?;
        if len != known.bytes || !same_head(&chain, known) {
            return Err(damaged(len, chain.next_seq, "the segment does not end as backup.json says"));
        }
        let synced = fs::File::open(to.path(known.first)).and_then(|file| file.sync_all());
        synced.map_err(BackupError::io(to.path(known.first)))?;
        done += len;
        progress(done);
    }
    keys.end(&to)?;
    let placed = || {
        sync_folder(&partial)?;
        fs::rename(&partial, place.join("journal"))?;
        sync_folder(place)
    };
    placed().map_err(BackupError::io(&partial))?;
    let (bytes, segments) = (manifest.bytes(), manifest.segments.len());
    if manifest.seq == 0 {
        tracing::warn!(manifest = %manifest::path(backup).display(), "the backup is that of an empty journal");
    }
    let (new_segments, new_bytes) = (segments, bytes);
    Ok(Copied { seq: manifest.seq, hash: manifest.hash, segments, bytes, new_segments, new_bytes })
}

/// Whether the place holds nothing but what an interrupted restoration left.
fn is_empty(place: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(place)? {
        if entry?.file_name() != PARTIAL {
            return Ok(false);
        }
    }
    Ok(true)
}
