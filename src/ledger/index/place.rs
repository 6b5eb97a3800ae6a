//! Where an index lives: in a folder, or in a simulated machine.

use std::io;
use std::path::{Path, PathBuf};

use super::Store;
use super::guard::{self, Files, Sled};
use super::memory::Memory;

/// The place of an index, and the note beside it that says whether it was closed in order.
#[derive(Debug, Clone)]
pub(crate) enum Folder {
    /// `<store>/index/` and `<store>/index.state`.
    Disk(Files),
    /// A simulated machine.
    Memory(Memory),
}

impl Folder {
    /// The index of a store.
    pub(crate) fn of(store: &Path) -> Self {
        Folder::Disk(Files::of(store))
    }

    /// sled's folder.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Folder::Disk(files) => files.path(),
            Folder::Memory(_) => PathBuf::from("(memory)"),
        }
    }

    /// Free bytes on its disk, as far as this user may fill it.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        match self {
            Folder::Disk(files) => {
                let disk = rustix::fs::statvfs(files.store())?;
                Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
            }
            Folder::Memory(_) => Ok(u64::MAX),
        }
    }

    /// Whether there is an index.
    pub(crate) fn exists(&self) -> bool {
        match self {
            Folder::Disk(files) => files.path().exists(),
            Folder::Memory(memory) => memory.exists(),
        }
    }

    /// Whether the index was closed in order when it was last open.
    pub(crate) fn was_closed(&self) -> bool {
        match self {
            Folder::Disk(files) => files.was_closed(),
            Folder::Memory(memory) => memory.was_closed(),
        }
    }

    /// Whether the power may have failed over an open index: sled would come back empty or half, without a word.
    pub(crate) fn lost_power(&self) -> bool {
        match self {
            Folder::Disk(files) => files.lost_power(),
            Folder::Memory(memory) => memory.lost_power(),
        }
    }

    /// Notes durably that the index is open.
    pub(crate) fn mark_open(&self) -> io::Result<()> {
        match self {
            Folder::Disk(files) => files.mark_open(),
            Folder::Memory(memory) => {
                memory.mark(false);
                Ok(())
            }
        }
    }

    /// Notes durably that the index is damaged: the next start makes it anew.
    pub(crate) fn mark_damaged(&self) -> io::Result<()> {
        match self {
            Folder::Disk(files) => files.mark_damaged(),
            Folder::Memory(memory) => {
                memory.break_file();
                Ok(())
            }
        }
    }

    /// Notes durably that the index was closed in order.
    pub(crate) fn mark_clean(&self) -> io::Result<()> {
        match self {
            Folder::Disk(files) => files.mark_clean(),
            Folder::Memory(memory) => {
                memory.mark(true);
                Ok(())
            }
        }
    }

    /// Moves the index away, so that a new one is made.
    pub(crate) fn set_aside(&self) -> io::Result<()> {
        match self {
            Folder::Disk(files) => files.set_aside(),
            Folder::Memory(memory) => {
                memory.discard();
                Ok(())
            }
        }
    }

    /// Opens the index, or an empty one.
    pub(crate) fn open(&self) -> Sled {
        match self {
            Folder::Disk(files) => files.open(),
            Folder::Memory(memory) if memory.open() => Sled::Open(Store::Memory(memory.clone())),
            Folder::Memory(_) => Sled::Broken,
        }
    }

    /// Makes what was flushed durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match self {
            Folder::Disk(files) => guard::sync_db(&files.path()),
            Folder::Memory(_) => Ok(()),
        }
    }
}
