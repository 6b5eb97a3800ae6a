//! The key file in a backup: whole each time and in place of the former one, so that a key destroyed in the store is
//! gone from the backup with the next run. And what a restoration makes of keys.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use super::copy::copied;
use super::{ASIDE, BackupError, JOURNAL};
use crate::domain::values::OrderId;
use crate::ledger::check::LostKeys;
use crate::ledger::journal::medium::{KEYS, sync_folder};
use crate::ledger::journal::{JournalError, Line, Medium, SLOT_BYTES};
use crate::ledger::record::{Keys, decode_body};
use crate::ledger::seal::{Chance, Held, Keyring, is_whole};

/// A record that is just being overwritten is read again so often.
const LOOKS_MAX: u32 = 5;

/// Copies the keys. A line that was copied before has its key among them. The backup keeps its former file where the
/// store's is damaged or has lost its end.
pub(super) fn copy(source: &Medium, target: &Path) -> Result<(), BackupError> {
    let journal = target.join(JOURNAL);
    let (aside, former) = (Medium::Disk(target.join(ASIDE)), Medium::Disk(journal.clone()));
    let (len, known) = (whole_len(source)?, whole_len(&former)?);
    if len < known {
        return Err(damaged(source, len, "the file ends before the backup's"));
    }
    if len == 0 {
        return Ok(());
    }
    for look in 1..=LOOKS_MAX {
        copied(source, &aside, KEYS, len)?;
        match first_damage(&aside, &former, len)? {
            None => break,
            Some(offset) if look == LOOKS_MAX => {
                return Err(damaged(source, offset, "a record does not match its check"));
            }
            Some(_) => {}
        }
    }
    let (from, to) = (aside.path(KEYS), former.path(KEYS));
    let placed = || {
        File::open(&from)?.sync_all()?;
        failpoint!("backup.keys_before_rename");
        fs::rename(&from, &to)?;
        sync_folder(&journal)
    };
    placed().map_err(BackupError::io(&from))
}

fn damaged(medium: &Medium, offset: u64, reason: &'static str) -> BackupError {
    BackupError::Keys { path: medium.path(KEYS), offset, reason }
}

/// Bytes of whole records; 0 where there is no file.
fn whole_len(medium: &Medium) -> Result<u64, BackupError> {
    match medium.open_read(KEYS).and_then(|file| file.size()) {
        Ok(len) => Ok(len - len % SLOT_BYTES as u64),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(BackupError::io(medium.path(KEYS))(error)),
    }
}

/// Where the first record stands that is damaged or gone and was sound in the former backup. One that never was is what a
/// write without room has left: no line needs it.
fn first_damage(copy: &Medium, former: &Medium, len: u64) -> Result<Option<u64>, BackupError> {
    let read = |medium: &Medium| match fs::read(medium.path(KEYS)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(BackupError::io(medium.path(KEYS))),
    };
    let (bytes, before) = (read(copy)?, read(former)?);
    if (bytes.len() as u64) < len {
        return Ok(Some(bytes.len() as u64));
    }
    let (records, before) = (bytes.as_chunks::<SLOT_BYTES>().0, before.as_chunks::<SLOT_BYTES>().0);
    let bad = records.iter().zip(0_u64..).zip(before).find(|((record, slot), before)| {
        let sound = |record| is_whole(record, *slot) && record.iter().any(|byte| *byte != 0);
        sound(before) && !sound(record)
    });
    Ok(bad.map(|((_, slot), _)| slot * SLOT_BYTES as u64))
}

/// What a restoration finds out about keys, line by line.
pub(super) struct Restored {
    ring: Keyring,
    lost_keys: LostKeys,
    lost: Vec<(u64, OrderId)>,
    erased: Vec<(u64, OrderId)>,
}

impl Restored {
    /// Copies the backup's keys, if it has any, beside the segments that are being restored.
    pub(super) fn begin(from: &Medium, to: &Medium, lost_keys: LostKeys) -> Result<Self, BackupError> {
        let len = whole_len(from)?;
        if len > 0 {
            copied(from, to, KEYS, len)?;
        }
        let ring = Keyring::read(from, Chance::System)?;
        Ok(Restored { ring, lost_keys, lost: Vec::new(), erased: Vec::new() })
    }

    /// A line: whether the backup has its key, and which keys it says are destroyed.
    pub(super) fn see(&mut self, line: &Line<'_>) -> Result<(), JournalError> {
        let receiver = |reason: String| JournalError::Receiver { seq: line.seq, reason };
        let read = decode_body(line.seq, line.body, Keys::None);
        let read = read.map_err(|error| receiver(error.to_string()))?;
        self.erased.extend(read.erases.iter().map(|slot| (*slot, read.order)));
        if let Some(slot) = read.kept.slot()
            && self.ring.get(slot, read.order)? == Held::Lost
        {
            match self.lost_keys {
                LostKeys::Refused => return Err(self.ring.lost(slot, read.order).into()),
                LostKeys::Accepted => self.lost.push((slot, read.order)),
            }
        }
        Ok(())
    }

    /// Destroys again what the lines say is destroyed (the backup's keys may be older than its lines), and makes the file
    /// durable.
    pub(super) fn end(self, to: &Medium) -> Result<(), BackupError> {
        let ring = Keyring::open(to, Chance::System)?;
        ring.give_up(&self.lost)?;
        ring.destroy(&self.erased)?;
        let synced = File::open(to.path(KEYS)).and_then(|file| file.sync_all());
        synced.map_err(BackupError::io(to.path(KEYS)))
    }
}
