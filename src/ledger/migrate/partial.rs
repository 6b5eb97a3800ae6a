//! The journal that is being written: `journal.migrating/`, renamed to `journal/` once all of it is there and compared.
//!
//! Which line stands where depends on the source alone, so a run that goes on finds its predecessor's lines as it would
//! have written them, cuts off what was torn, and writes the rest. `migration.json` in it says of which source they are, and
//! stays in the journal's folder as evidence of the chains that they came from.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::MigrateError;
use crate::ledger::journal::line::{FRAME_BYTES_MAX, GENESIS, encode};
use crate::ledger::journal::medium::{Segment, sync_folder};
use crate::ledger::journal::{Chain, KeyFile, LINE_BYTES_MAX, Medium, Patch, scan};
use crate::ledger::open::MIGRATING;
use crate::ledger::seal::{Chance, Keyring};

const JOURNAL: &str = "journal";
const STATE: &str = "migration.json";
/// Written first, then renamed.
const ASIDE: &str = "migration.json.new";
/// The form of that file.
const FORMAT: u8 = 1;
/// What else may stand in the store's folder: it is ours.
const LOCK: &str = "lock";
/// It holds personal data: nobody else may look in.
const FOLDER_MODE: u32 = 0o700;
/// Bytes written at one time.
const WRITE_BYTES: u64 = 1024 * 1024;

/// Which ledger is being moved here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    format: u8,
    from: String,
    pub(super) orders: u64,
    pub(super) lines: u64,
    /// One hash of every order's chain, whatever its keys' numbers.
    pub(super) chains: String,
    /// One hash over the ends of the chains as they stood there.
    pub(super) heads: String,
    pub(super) receipts: BTreeMap<i16, u64>,
}

impl State {
    pub(super) fn new(
        orders: u64,
        lines: u64,
        chains: String,
        heads: String,
        receipts: BTreeMap<i16, u64>,
    ) -> State {
        State { format: FORMAT, from: "postgres".to_owned(), orders, lines, chains, heads, receipts }
    }
}

/// How far a target is.
pub(super) enum Found {
    /// All of it is there, from this very source.
    Finished(Medium),
    /// It is to be written, or to be gone on with.
    Open(Partial),
}

/// A journal under way.
pub(super) struct Partial {
    store: PathBuf,
    medium: Medium,
    /// Whether an earlier run had begun.
    pub(super) resumed: bool,
    chain: Chain,
    /// The segment that is written to, and where it began.
    tail: Option<(u64, Segment)>,
    /// What is written of it.
    written: u64,
    buffer: Vec<u8>,
    segment_bytes: u64,
}

impl Partial {
    /// Finds the target as it is, or begins it. The store is locked.
    pub(super) fn find(store: &Path, state: &State, segment_bytes: u64) -> Result<Found, MigrateError> {
        let done = store.join(JOURNAL);
        if done.exists() {
            return match read(&done)? {
                Some(known) if known == *state => Ok(Found::Finished(Medium::Disk(done))),
                Some(_) | None => Err(MigrateError::NotEmpty(store.display().to_string())),
            };
        }
        for entry in fs::read_dir(store).map_err(MigrateError::io(store))? {
            let name = entry.map_err(MigrateError::io(store))?.file_name();
            if name != LOCK && name != MIGRATING {
                return Err(MigrateError::NotEmpty(store.display().to_string()));
            }
        }
        let folder = store.join(MIGRATING);
        let begun = folder.exists();
        if !begun {
            let made = DirBuilder::new().mode(FOLDER_MODE).create(&folder).and_then(|()| sync_folder(store));
            made.map_err(MigrateError::io(&folder))?;
        }
        failpoint!("migrate.folder_made");
        let known = read(&folder)?;
        match &known {
            Some(known) if known != state => return Err(MigrateError::Other(store.display().to_string())),
            Some(_) => {}
            // Nothing is written before it.
            None => write(&folder, state).map_err(MigrateError::io(&folder))?,
        }
        failpoint!("migrate.noted");
        let mut partial = Partial {
            store: store.to_owned(),
            medium: Medium::Disk(folder),
            resumed: begun,
            chain: Chain::start(),
            tail: None,
            written: 0,
            buffer: Vec::new(),
            segment_bytes,
        };
        partial.go_on()?;
        Ok(Found::Open(partial))
    }

    pub(super) fn medium(&self) -> &Medium {
        &self.medium
    }

    /// Lines that are there.
    pub(super) fn lines(&self) -> u64 {
        self.chain.next_seq - 1
    }

    /// Reads what an earlier run wrote. What is not whole is cut off, with all that follows: nobody was told of any of it.
    fn go_on(&mut self) -> Result<(), MigrateError> {
        for first in self.medium.list().map_err(MigrateError::io(&self.medium.path(1)))? {
            let path = self.medium.path(first);
            if first != self.chain.next_seq {
                fs::remove_file(&path).map_err(MigrateError::io(&path))?;
                continue;
            }
            let segment = self.medium.open_append(first).map_err(MigrateError::io(&path))?;
            self.written = match scan(&self.medium, first, &mut self.chain, &mut |_, _| Ok(()))? {
                Ok(len) => len,
                Err(damage) => {
                    segment.truncate(damage.offset).map_err(MigrateError::io(&path))?;
                    damage.offset
                }
            };
            self.tail = Some((first, segment));
        }
        Ok(())
    }

    /// Makes the keys durable: before the first line that needs one.
    pub(super) fn keys(&self, keys: &[Patch]) -> Result<(), MigrateError> {
        let path = self.medium.path(crate::ledger::journal::medium::KEYS);
        Keyring::open(&self.medium, Chance::System)?;
        let mut file = KeyFile::default();
        file.write(&self.medium, keys.iter().collect())
            .and_then(|any| if any { file.sync(&self.medium) } else { Ok(()) })
            .map_err(MigrateError::io(&path))?;
        failpoint!("migrate.keys_written");
        Ok(())
    }

    /// The next line. Each counts as a write of its own: all of them are durable before any is told of.
    pub(super) fn append(&mut self, body: &[u8]) -> Result<(), MigrateError> {
        if body.len() + FRAME_BYTES_MAX > LINE_BYTES_MAX {
            return Err(MigrateError::Line("a line too long for a journal".to_owned()));
        }
        let seq = self.chain.next_seq;
        let len = self.written + self.buffer.len() as u64;
        let is_full = self.tail.as_ref().is_some_and(|(first, _)| len >= self.segment_bytes && *first != seq);
        if is_full {
            self.flush()?;
        }
        if is_full || self.tail.is_none() {
            let segment = self.medium.create(seq).map_err(MigrateError::io(&self.medium.path(seq)))?;
            (self.tail, self.written) = (Some((seq, segment)), 0);
        }
        let prev = self.chain.prev.unwrap_or(GENESIS);
        let hash = encode(&mut self.buffer, seq, &prev, seq, body);
        self.chain = Chain { next_seq: seq + 1, prev: Some(hash), batch: Some(seq) };
        if self.buffer.len() as u64 >= failpoint_bound!("MIGRATE_BYTES", WRITE_BYTES) {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), MigrateError> {
        let Some((first, segment)) = &self.tail else { return Ok(()) };
        let io = MigrateError::io(&self.medium.path(*first));
        // Half of it first, where a test wants to see it torn.
        #[cfg(feature = "failpoints")]
        {
            let half = &self.buffer[..self.buffer.len() / 2];
            segment.write_all_at(half, self.written).map_err(MigrateError::io(&self.medium.path(*first)))?;
            failpoint!("migrate.half_written");
        }
        segment.write_all_at(&self.buffer, self.written).map_err(io)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        failpoint!("migrate.lines_written");
        Ok(())
    }

    /// Makes all of it durable: also what an earlier run wrote and did not live to sync.
    pub(super) fn settle(&mut self) -> Result<(), MigrateError> {
        self.flush()?;
        for first in self.medium.list().map_err(MigrateError::io(&self.medium.path(1)))? {
            let synced = self.medium.open_append(first).and_then(|segment| segment.sync());
            synced.map_err(MigrateError::io(&self.medium.path(first)))?;
        }
        self.medium.sync_entries().map_err(MigrateError::io(&self.medium.path(1)))
    }

    /// From here on it is a store like any other. Its first start makes the index.
    pub(super) fn finish(self) -> Result<(), MigrateError> {
        failpoint!("migrate.compared");
        let (from, to) = (self.store.join(MIGRATING), self.store.join(JOURNAL));
        let placed = fs::rename(&from, &to).and_then(|()| {
            failpoint!("migrate.renamed");
            sync_folder(&self.store)
        });
        placed.map_err(MigrateError::io(&to))
    }
}

/// None where there is none.
fn read(folder: &Path) -> Result<Option<State>, MigrateError> {
    let path = folder.join(STATE);
    match fs::read(&path) {
        Ok(bytes) => {
            let state: Option<State> = serde_json::from_slice(&bytes).ok();
            let known = state.filter(|state| state.format == FORMAT);
            known.map(Some).ok_or_else(|| MigrateError::Other(path.display().to_string()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(MigrateError::io(&path)(error)),
    }
}

fn write(folder: &Path, state: &State) -> io::Result<()> {
    let aside = folder.join(ASIDE);
    let mut file = File::create(&aside)?;
    file.write_all(&serde_json::to_vec_pretty(state)?)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&aside, folder.join(STATE))?;
    sync_folder(folder)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;
    use crate::ledger::journal::walk;

    /// Small: several segments.
    const SEGMENT: u64 = 1000;
    const LINES: u64 = 40;

    fn state() -> State {
        State::new(1, LINES, "c".into(), "h".into(), BTreeMap::new())
    }

    fn found(store: &Path) -> Partial {
        match Partial::find(store, &state(), SEGMENT).unwrap() {
            Found::Open(partial) => partial,
            Found::Finished(_) => panic!("it is finished"),
        }
    }

    /// Writes the lines that are missing, up to `until`.
    fn go_on(partial: &mut Partial, until: u64) {
        for seq in partial.lines() + 1..=until {
            partial.append(format!(r#""at":{seq},"order":"x""#).as_bytes()).unwrap();
        }
    }

    fn files(store: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(store.join(JOURNAL)).unwrap().map(Result::unwrap);
        entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
    }

    fn finished(partial: Partial) -> Result<(), MigrateError> {
        let mut partial = partial;
        go_on(&mut partial, LINES);
        partial.settle()?;
        partial.finish()
    }

    /// Cut anywhere, and gone on with: the same bytes as in one go.
    #[test]
    fn a_run_that_goes_on_ends_the_same() {
        let whole = tempfile::tempdir().unwrap();
        finished(found(whole.path())).unwrap();
        let want = files(whole.path());
        assert!(want.len() > 4, "segments and migration.json");
        let walked = walk(&Medium::Disk(whole.path().join(JOURNAL)), &mut |_, _| Ok(())).unwrap();
        assert!(walked.lines == LINES && walked.damage.is_none(), "{walked:?}");
        for (lines, keep, hole) in
            [(0, 0, false), (1, 0, false), (1, 60, false), (20, 130, false), (20, 900, true), (39, 1, true)]
        {
            let store = tempfile::tempdir().unwrap();
            let mut partial = found(store.path());
            assert!(!partial.resumed);
            go_on(&mut partial, lines);
            partial.settle().unwrap();
            drop(partial);
            // The last segment ends anywhere, or, after a power cut, has a hole.
            if let Some(last) = Medium::Disk(store.path().join(MIGRATING)).list().unwrap().last() {
                let path = Medium::Disk(store.path().join(MIGRATING)).path(*last);
                let mut bytes = fs::read(&path).unwrap();
                if hole {
                    let len = bytes.len();
                    bytes[..len / 2].fill(0);
                } else {
                    bytes.truncate(keep);
                }
                fs::write(&path, bytes).unwrap();
            }
            let partial = found(store.path());
            assert!(partial.resumed && partial.lines() <= lines);
            finished(partial).unwrap();
            assert_eq!(files(store.path()), want, "{lines} lines, {keep} bytes, hole: {hole}");
            let again = Partial::find(store.path(), &state(), SEGMENT).unwrap();
            assert!(matches!(again, Found::Finished(_)));
        }
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let refused = |prepare: &dyn Fn(&Path), state: &State| {
            let store = tempfile::tempdir().unwrap();
            prepare(store.path());
            Partial::find(store.path(), state, SEGMENT).map(drop).unwrap_err().to_string()
        };
        let other = State { chains: "d".into(), ..state() };
        let said = refused(&|store| fs::write(store.join("mine.txt"), "mine").unwrap(), &state());
        assert!(said.contains("not empty"), "{said}");
        let said = refused(&|store| fs::create_dir(store.join(JOURNAL)).unwrap(), &state());
        assert!(said.contains("not empty"), "{said}");
        let said = refused(&|store| drop(found(store)), &other);
        assert!(said.contains("another source"), "{said}");
        let said = refused(&|store| finished(found(store)).unwrap(), &other);
        assert!(said.contains("not empty"), "{said}");
        let newer = |store: &Path| {
            drop(found(store));
            fs::write(store.join(MIGRATING).join(STATE), r#"{"format":2}"#).unwrap();
        };
        let said = refused(&newer, &state());
        assert!(said.contains("another source"), "{said}");
    }

    /// A store that is half of a migration does not open, whatever the build.
    #[test]
    fn a_half_finished_store_does_not_open() {
        let store = tempfile::tempdir().unwrap();
        drop(found(store.path()));
        let refused = crate::ledger::Ledger::open(crate::ledger::OpenOptions::new(store.path(), |_| ()));
        let said = refused.err().unwrap().to_string();
        assert!(said.contains("n'est pas terminée") && said.contains("goes on"), "{said}");
    }
}
