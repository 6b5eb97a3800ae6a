//! Opening sled 0.34.7 without trusting it: leftovers removed, panics caught, the whole of it set aside if need be.
//!
//! Why not an error to the operator: everything in it stands in the journal.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

use super::Store;
pub(crate) use super::place::Folder;
use crate::ledger::journal::medium::sync_folder;

const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// sled's own lock outlives its handle for a moment.
const REOPENS_MAX: u32 = 100;
const REOPEN_AFTER: Duration = Duration::from_millis(50);
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The files of an index: `<store>/index/`, and `<store>/index.state` beside it.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    store: PathBuf,
}

/// How opening sled went.
pub(crate) enum Sled {
    /// It is open.
    Open(Store),
    /// Somebody has it open.
    Locked,
    /// It cannot be opened.
    Broken,
}

impl Files {
    /// The index of a store.
    pub(crate) fn of(store: &Path) -> Self {
        Files { store: store.to_owned() }
    }

    /// The store's folder.
    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// sled's folder.
    pub(crate) fn path(&self) -> PathBuf {
        self.store.join("index")
    }

    fn marker(&self) -> PathBuf {
        self.store.join("index.state")
    }

    /// Whether the index was closed in order when it was last open.
    pub(crate) fn was_closed(&self) -> bool {
        fs::read_to_string(self.marker()).is_ok_and(|text| text.trim_end().ends_with("clean"))
    }

    /// Whether the power may have failed over an open index: sled would come back empty or half, without a word.
    pub(crate) fn lost_power(&self) -> bool {
        match fs::read_to_string(self.marker()) {
            Ok(text) => {
                !text.trim_end().ends_with("clean") && text.split_whitespace().next() != Some(&boot_id())
            }
            Err(_) => self.path().exists(),
        }
    }

    /// Notes durably that the index is open.
    pub(crate) fn mark_open(&self) -> io::Result<()> {
        self.mark("open")
    }

    /// Notes durably that the index is damaged: the next start makes it anew.
    pub(crate) fn mark_damaged(&self) -> io::Result<()> {
        self.write_marker("damaged open")
    }

    /// Notes durably that the index was closed in order.
    pub(crate) fn mark_clean(&self) -> io::Result<()> {
        self.mark("clean")
    }

    fn mark(&self, word: &str) -> io::Result<()> {
        self.write_marker(&format!("{} {word}", boot_id()))
    }

    fn write_marker(&self, text: &str) -> io::Result<()> {
        let mut file = File::create(self.marker())?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        sync_folder(&self.store)
    }

    /// Moves the index away, to `index.broken-<seconds>`, and drops an older one that was moved away before.
    pub(crate) fn set_aside(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.store)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("index.broken-") {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        match fs::rename(self.path(), self.store.join(format!("index.broken-{seconds}"))) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Opens sled, if need be without its snapshot file.
    pub(crate) fn open(&self) -> Sled {
        if let Err(error) = self.drop_snapshots(".generating") {
            warn!(%error, "cannot remove the index's unfinished snapshots");
        }
        match self.try_open() {
            Sled::Broken => {
                info!("the index does not open; trying without its snapshot file");
                if self.drop_snapshots("").is_ok() { self.try_open() } else { Sled::Broken }
            }
            opened => opened,
        }
    }

    fn try_open(&self) -> Sled {
        let config = sled::Config::new().path(self.path()).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        for _ in 0..REOPENS_MAX {
            match catch_unwind(AssertUnwindSafe(|| {
                failpoint!("index.opening");
                config.open()
            })) {
                Ok(Ok(db)) => return Sled::Open(Store::Sled(db)),
                #[expect(clippy::disallowed_methods, reason = "only while starting")]
                Ok(Err(sled::Error::Io(error))) if is_locked(&error) => std::thread::sleep(REOPEN_AFTER),
                Ok(Err(error)) => {
                    warn!(%error, "the index does not open");
                    return Sled::Broken;
                }
                Err(_) => {
                    warn!("the index panicked while opening");
                    return Sled::Broken;
                }
            }
        }
        Sled::Locked
    }

    /// Snapshots only shorten sled's start: without them it reads its log.
    fn drop_snapshots(&self, suffix: &str) -> io::Result<()> {
        let entries = match fs::read_dir(self.path()) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("snap.") && name.ends_with(suffix) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

fn is_locked(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.to_string().contains("WouldBlock")
}

/// fdatasync of sled's file, which sled itself never does on Linux.
pub(crate) fn sync_db(folder: &Path) -> io::Result<()> {
    File::open(folder.join("db"))?.sync_data()
}

fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}
