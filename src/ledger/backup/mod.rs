//! Copying the journal to another folder while the daemon writes it, and back into an empty place.
//!
//! A backup is a folder: `journal/` with the segments and the keys as the store has them, and `backup.json`. The index is not
//! copied: it is derived. The backup's journal can be verified where it lies (`ledger verify --store <backup>`,
//! `docs/verify_journal.py`).
//!
//! Invariant: a segment that is in the backup is only ever replaced by one that was written aside, read back line by
//! line, fsynced, and begins with the same lines.

mod copy;
mod error;
mod keys;
mod manifest;
mod restore;

use std::fs::{self, DirBuilder, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::journal::medium::sync_folder;
use super::journal::{Chain, Damage, JournalError, Medium, rest, scan};
use super::lock::Lock;
use copy::{copied, same_head};
pub use error::BackupError;
use manifest::{Manifest, Segment};
pub(super) use restore::was_interrupted;
pub use restore::{restore, restore_with};

/// The backup's journal.
const JOURNAL: &str = "journal";
/// Where a segment is written before it takes its place.
const ASIDE: &str = "new";
const LOCK: &str = "backup.lock";
/// Backups hold personal data: nobody else may look in.
const FOLDER_MODE: u32 = 0o700;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// The last line's seq; 0 for an empty journal.
    pub seq: u64,
    /// The last line's hash.
    pub hash: Option<String>,
    /// Segments in the backup.
    pub segments: usize,
    /// Bytes of journal in the backup.
    pub bytes: u64,
    /// Segments written this time.
    pub new_segments: usize,
    /// Bytes written this time.
    pub new_bytes: u64,
}

/// Brings the backup in `target` level with the store's journal. The daemon may be writing meanwhile. `progress` is
/// told the bytes looked at so far. Blocks.
///
/// # Errors
/// See [`BackupError`]. What the backup held before is still there.
pub fn backup(store: &Path, target: &Path, progress: &mut dyn FnMut(u64)) -> Result<Copied, BackupError> {
    let source = Medium::Disk(store.join("journal"));
    let firsts = source.list().map_err(BackupError::io(source.path(1)))?;
    apart(store, target)?;
    make_folder(target)?;
    let _lock = lock(target)?;
    let manifest = match Manifest::read(target)? {
        Some(manifest) => manifest,
        None if manifest::is_virgin(target, LOCK).map_err(BackupError::io(target))? => {
            let manifest = Manifest::empty();
            manifest.write(target)?;
            manifest
        }
        None => return Err(BackupError::NotABackup(target.to_owned())),
    };
    let mut run = Run { source, target, manifest, done: 0, new_segments: 0, new_bytes: 0, progress };
    run.level(&firsts)?;
    keys::copy(&run.source, target)?;
    let Run { manifest, new_segments, new_bytes, .. } = run;
    let (bytes, segments) = (manifest.bytes(), manifest.segments.len());
    Ok(Copied { seq: manifest.seq, hash: manifest.hash, segments, bytes, new_segments, new_bytes })
}

/// One backup under way.
struct Run<'a> {
    source: Medium,
    target: &'a Path,
    manifest: Manifest,
    done: u64,
    new_segments: usize,
    new_bytes: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Run<'_> {
    fn level(&mut self, firsts: &[u64]) -> Result<(), BackupError> {
        for folder in [JOURNAL, ASIDE] {
            make_folder(&self.target.join(folder))?;
        }
        if let Some(&first) = firsts.first() {
            if first != 1 {
                return Err(JournalError::Missing { path: self.source.path(1), seq: 1 }.into());
            }
            self.identify()?;
        }
        let mut chain = Chain::start();
        for (place, &first) in firsts.iter().enumerate() {
            if first != chain.next_seq {
                return Err(JournalError::Missing {
                    path: self.source.path(chain.next_seq),
                    seq: chain.next_seq,
                }
                .into());
            }
            chain = self.segment(place, first, chain, place + 1 == firsts.len())?;
            (self.progress)(self.done);
        }
        let last = chain.next_seq - 1;
        if last < self.manifest.seq {
            return Err(self.behind(last));
        }
        Ok(())
    }

    /// Compares the first line: backups of two journals may otherwise agree in nothing but file names.
    fn identify(&mut self) -> Result<(), BackupError> {
        let Some(hash) = copy::first_hash(&self.source)? else { return Ok(()) };
        match &self.manifest.journal {
            Some(known) if *known != hash => Err(self.other(1, 1, 0)),
            Some(_) => Ok(()),
            None => {
                self.manifest.journal = Some(hash);
                Ok(())
            }
        }
    }

    /// Makes sure that one segment is in the backup, and returns where the chain stands behind it.
    fn segment(&mut self, place: usize, first: u64, chain: Chain, open: bool) -> Result<Chain, BackupError> {
        let known = self.manifest.segments.get(place).cloned();
        let kept = known.as_ref().filter(|known| self.keeps(known));
        let mut len = copy::durable_len(&self.source, first, open)?;
        self.done += len;
        if let Some(known) = kept
            && known.bytes == len
        {
            // Closed long ago, or nothing new: only the head is read, to know that it is the same journal.
            let closed = place + 1 < self.manifest.segments.len();
            if let (true, Some(chain)) = (closed, known.chain()) {
                return Ok(chain);
            }
            let known = known.clone();
            return self.unchanged(&known, chain);
        }
        let aside = Medium::Disk(self.target.join(ASIDE));
        copied(&self.source, &aside, first, len)?;
        if open {
            // A write without room that was cut off meanwhile must not be in the copy.
            len = copy::durable_len(&self.source, first, open)?.min(len);
        }
        let (chain, len) = self.check(&aside, first, len, chain, known.as_ref(), open)?;
        let Some(entry) = Segment::ending(first, len, &chain) else { return Ok(chain) };
        match &known {
            Some(known) if known.last > entry.last => return Err(self.behind(entry.last)),
            // A segment that the backup knows as closed has grown.
            Some(known) if place + 1 < self.manifest.segments.len() && *known != entry => {
                return Err(self.other(known.last, first, known.bytes));
            }
            Some(_) | None => {}
        }
        // Before the lines and again at the end: no interruption leaves lines without keys, or keys that are destroyed.
        keys::copy(&self.source, self.target)?;
        copy::placed(&aside, &self.target.join(JOURNAL), first)?;
        failpoint!("backup.placed_before_manifest");
        self.manifest.note(place, entry);
        self.manifest.write(self.target)?;
        self.new_segments += 1;
        self.new_bytes += len;
        Ok(chain)
    }

    /// Whether the backup still has what its manifest says.
    fn keeps(&self, known: &Segment) -> bool {
        let path = Medium::Disk(self.target.join(JOURNAL)).path(known.first);
        fs::metadata(path).is_ok_and(|file| file.len() >= known.bytes)
    }

    /// Reads the store's segment: it ends with the line that the backup ends with.
    fn unchanged(&self, known: &Segment, mut chain: Chain) -> Result<Chain, BackupError> {
        match scan(&self.source, known.first, &mut chain, &mut |_, _| Ok(()))? {
            Ok(_) if same_head(&chain, known) => Ok(chain),
            Ok(_) => Err(self.other(known.last, known.first, known.bytes)),
            Err(damage) => Err(damage.refusal().into()),
        }
    }

    /// Reads a copy back: the chain, and that it contains what the backup had. What a running daemon was just
    /// writing is cut off the copy.
    fn check(
        &self,
        aside: &Medium,
        first: u64,
        len: u64,
        mut chain: Chain,
        known: Option<&Segment>,
        open: bool,
    ) -> Result<(Chain, u64), BackupError> {
        let cut = |len| aside.open_append(first).and_then(|copy| copy.truncate(len));
        cut(len).map_err(BackupError::io(aside.path(first)))?;
        let mut differs = None;
        let found = scan(aside, first, &mut chain, &mut |line, position| {
            if let Some(known) = known.filter(|known| known.last == line.seq)
                && known.hash.as_bytes() != line.hash
            {
                differs = Some(position.offset);
            }
            Ok(())
        })?;
        if let (Some(offset), Some(known)) = (differs, known) {
            return Err(self.other(known.last, first, offset));
        }
        match found {
            Ok(len) => Ok((chain, len)),
            Err(damage) => {
                let damage = Damage { path: self.source.path(first), ..damage };
                let io = BackupError::io(aside.path(first));
                let remains = rest(aside, first, damage.offset).map_err(io)?;
                if !open || copy::is_acknowledged(&damage, &remains) {
                    return Err(damage.refusal().into());
                }
                cut(damage.offset).map_err(BackupError::io(aside.path(first)))?;
                Ok((chain, damage.offset))
            }
        }
    }

    fn other(&self, seq: u64, segment: u64, offset: u64) -> BackupError {
        let (path, segment) = (self.target.to_owned(), self.source.path(segment));
        BackupError::Other { path, segment, offset, seq }
    }

    fn behind(&self, last: u64) -> BackupError {
        BackupError::Behind {
            journal: self.source.path(last.max(1)).parent().unwrap_or(self.target).to_owned(),
            last,
            path: self.target.to_owned(),
            backup: self.manifest.seq,
        }
    }
}

/// Makes a folder that only its owner may enter, its name durable.
fn make_folder(folder: &Path) -> Result<(), BackupError> {
    if folder.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
    made.and_then(|()| sync_folder(folder.parent().unwrap_or(folder))).map_err(BackupError::io(folder))
}

/// One backup at a time.
fn lock(target: &Path) -> Result<Lock, BackupError> {
    let path = target.join(LOCK);
    Lock::take(&path).map_err(|error| match error {
        TryLockError::WouldBlock => BackupError::InUse(target.to_owned()),
        TryLockError::Error(source) => BackupError::Io { path, source },
    })
}

/// A backup inside the store would be lost with it, and the store inside a backup makes no sense.
fn apart(store: &Path, target: &Path) -> Result<(), BackupError> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(BackupError::io(path));
    // A target that does not exist yet has no canonical name; its nearest existing ancestor has.
    let real = |path: &Path| -> Result<PathBuf, BackupError> {
        let path = absolute(path)?;
        let there = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&path);
        let rest = path.strip_prefix(there).unwrap_or(Path::new(""));
        there.canonicalize().map(|there| there.join(rest)).map_err(BackupError::io(there))
    };
    let (store, target_path) = (real(store)?, real(target)?);
    if target_path.starts_with(&store) || store.starts_with(&target_path) {
        return Err(BackupError::Within(target.to_owned()));
    }
    Ok(())
}
