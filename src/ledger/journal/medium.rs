//! What the journal stands on: a folder of files, or memory that fails on request.
//!
//! Why an enum: two media, both ours. The tests and the simulation inject faults through [`Memory`] and run the
//! same writer and the same recovery as the daemon.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::memory::Memory;

/// Digits of a segment's file name.
const NAME_DIGITS: usize = 20;
const NAME_SUFFIX: &str = ".jsonl";

/// The number under which a medium keeps the keys of personal data: no segment begins with line 0.
pub const KEYS: u64 = 0;
/// Their file's name.
const KEYS_NAME: &str = "orders.keys";
/// Whoever can read the keys can read the buyers' data.
const KEYS_MODE: u32 = 0o600;

/// Where segments live. A segment is named by the seq of its first line.
#[derive(Debug, Clone)]
pub enum Medium {
    /// `<store>/journal/`.
    Disk(PathBuf),
    /// Bytes in memory, with faults and power cuts.
    Memory(Memory),
}

/// One segment, open for reading or writing at a position.
#[derive(Debug)]
pub enum Segment {
    /// A file of [`Medium::Disk`].
    File(File),
    /// A segment of [`Medium::Memory`].
    Memory(Memory, u64),
}

/// The file name of the segment whose first line is `first`.
pub fn file_name(first: u64) -> String {
    if first == KEYS {
        return KEYS_NAME.to_owned();
    }
    format!("{first:0width$}{NAME_SUFFIX}", width = NAME_DIGITS)
}

fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(NAME_SUFFIX)?;
    (digits.len() == NAME_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
        .filter(|first| *first != KEYS)
}

impl Medium {
    /// How a message names a segment.
    pub fn path(&self, first: u64) -> PathBuf {
        match self {
            Medium::Disk(folder) => folder.join(file_name(first)),
            Medium::Memory(_) => Path::new("(memory)").join(file_name(first)),
        }
    }

    /// Makes the folder if it is missing, its directory entry durable.
    pub fn prepare(&self) -> io::Result<()> {
        match self {
            Medium::Disk(folder) => {
                std::fs::create_dir_all(folder)?;
                sync_folder(folder.parent().unwrap_or(folder))
            }
            Medium::Memory(_) => Ok(()),
        }
    }

    /// The first seq of every segment, ascending. A missing folder has none.
    pub fn list(&self) -> io::Result<Vec<u64>> {
        let mut firsts: Vec<u64> = match self {
            Medium::Disk(folder) => match std::fs::read_dir(folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(error),
                Ok(entries) => {
                    let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
                    let names = names.collect::<io::Result<Vec<_>>>()?;
                    names.iter().filter_map(|name| name.to_str().and_then(parse_name)).collect()
                }
            },
            Medium::Memory(memory) => memory.list(),
        };
        firsts.sort_unstable();
        Ok(firsts)
    }

    /// Opens a segment for reading only.
    pub fn open_read(&self, first: u64) -> io::Result<Segment> {
        match self {
            Medium::Disk(folder) => File::open(folder.join(file_name(first))).map(Segment::File),
            Medium::Memory(memory) => memory.open(first).map(|()| Segment::Memory(memory.clone(), first)),
        }
    }

    /// Opens a segment for appending.
    pub fn open_append(&self, first: u64) -> io::Result<Segment> {
        match self {
            Medium::Disk(folder) => {
                let path = folder.join(file_name(first));
                OpenOptions::new().read(true).write(true).open(path).map(Segment::File)
            }
            Medium::Memory(memory) => memory.open(first).map(|()| Segment::Memory(memory.clone(), first)),
        }
    }

    /// Makes an empty segment. Its directory entry is durable only after [`Medium::sync_entries`].
    pub fn create(&self, first: u64) -> io::Result<Segment> {
        match self {
            Medium::Disk(folder) => {
                let path = folder.join(file_name(first));
                let mut options = OpenOptions::new();
                // An empty file may be left over from a creation that was interrupted or whose write had no room.
                options.read(true).write(true).create(true).truncate(false);
                if first == KEYS {
                    options.mode(KEYS_MODE);
                }
                options.open(path).map(Segment::File)
            }
            Medium::Memory(memory) => memory.create(first).map(|()| Segment::Memory(memory.clone(), first)),
        }
    }

    /// Makes directory entries durable.
    pub fn sync_entries(&self) -> io::Result<()> {
        match self {
            Medium::Disk(folder) => sync_folder(folder),
            Medium::Memory(memory) => memory.sync_entries(),
        }
    }
}

/// fsync of a folder: a new file's name is durable only then.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

impl Segment {
    /// Its length in bytes.
    pub fn size(&self) -> io::Result<u64> {
        match self {
            Segment::File(file) => Ok(file.metadata()?.len()),
            Segment::Memory(memory, first) => memory.len(*first),
        }
    }

    /// Reads at most `buffer.len()` bytes at `offset`; 0 at the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            let read = match self {
                Segment::File(file) => file.read_at(buffer, offset),
                Segment::Memory(memory, first) => memory.read_at(*first, buffer, offset),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self {
            Segment::File(file) => file.write_all_at(bytes, offset),
            Segment::Memory(memory, first) => memory.write_at(*first, bytes, offset),
        }
    }

    /// fdatasync: data and length are durable when it returns Ok.
    pub fn sync(&self) -> io::Result<()> {
        match self {
            Segment::File(file) => file.sync_data(),
            Segment::Memory(memory, first) => memory.sync(*first),
        }
    }

    /// Cuts the segment off at `len` bytes.
    pub fn truncate(&self, len: u64) -> io::Result<()> {
        match self {
            Segment::File(file) => file.set_len(len),
            Segment::Memory(memory, first) => memory.truncate(*first, len),
        }
    }
}
