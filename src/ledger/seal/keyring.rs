//! The keys of a journal: reading them, and the records that its writer puts into their file.

#[cfg(feature = "postgres")]
mod rows;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ring::hmac as keyed;
use sha2::{Digest, Sha256};

use super::record::{self, Held};
use super::{Chance, Key, NoChance, Place};
use crate::domain::values::OrderId;
use crate::ledger::journal::medium::{KEYS, Medium, Segment};
use crate::ledger::journal::{JournalError, KeyFile, Patch, SLOT_BYTES};

/// Bytes of an address's hash in the index. Whoever finds an order by it still compares the address itself.
pub(crate) const ADDRESS_BYTES: usize = 8;
/// No journal has so many orders; a line that names a later record is not ours.
const SLOTS_MAX: u64 = 1 << 40;
/// A record that is just being overwritten is read again so often.
const LOOKS_MAX: u32 = 3;

/// The key of an order is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// From the file of a journal.
    #[error(
        "La clé de la commande {order} manque ou est abîmée: {path}, octet {offset}. Ses données personnelles sont \
         illisibles, et aucun effacement n'en est la cause. Rien n'est modifié. Remettez le fichier de la dernière \
         sauvegarde (<sauvegarde>/journal/orders.keys), puis « auditshield ledger rebuild »; si la clé est perdue pour de \
         bon: « auditshield ledger rebuild --accept-lost-keys ». / The key of order {order} is missing or damaged: {path}, \
         byte {offset}. Its personal data cannot be read, and no erasure is the cause. Nothing was changed. Put the file of \
         the latest backup in its place (<backup>/journal/orders.keys), then run `auditshield ledger rebuild`; if the key \
         is gone for good: `auditshield ledger rebuild --accept-lost-keys`."
    )]
    Record {
        /// The key file.
        path: PathBuf,
        /// Where the key should stand.
        offset: u64,
        /// Whose it is.
        order: OrderId,
    },
    /// From the table of a database.
    #[cfg(feature = "postgres")]
    #[error(
        "La clé {slot} de la commande {order} manque ou est abîmée dans auditshield_order_keys. Ses données personnelles \
         sont illisibles, et aucun effacement n'en est la cause. Rien n'est modifié. Remettez cette ligne depuis une copie \
         de la base. / Key {slot} of order {order} is missing or damaged in auditshield_order_keys. Its personal data \
         cannot be read, and no erasure is the cause. Nothing was changed. Put that row back from a copy of the database."
    )]
    Row {
        /// Its number.
        slot: u64,
        /// Whose it is.
        order: OrderId,
    },
}

impl Lost {
    /// Whose key it is.
    pub fn order(&self) -> OrderId {
        match self {
            Lost::Record { order, .. } => *order,
            #[cfg(feature = "postgres")]
            Lost::Row { order, .. } => *order,
        }
    }
}

/// What hashes addresses, so that an order is found by its own.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    key: keyed::Key,
    /// What tells this key from every other.
    mark: [u8; ADDRESS_BYTES],
}

impl Addresses {
    fn of(key: &Key) -> Self {
        let mut mark = [0; ADDRESS_BYTES];
        let digest = Sha256::new().chain_update(b"auditshield.keyring").chain_update(key.0).finalize();
        mark.iter_mut().zip(digest).for_each(|(byte, own)| *byte = own);
        Addresses { key: keyed::Key::new(keyed::HMAC_SHA256, &key.0), mark }
    }

    /// The hash of an address, without regard to case.
    ///
    /// Why keyed: whoever has the index alone cannot try addresses out.
    pub(crate) fn hash(&self, address: &str) -> [u8; ADDRESS_BYTES] {
        let tag = keyed::sign(&self.key, address.to_lowercase().as_bytes());
        let mut hash = [0; ADDRESS_BYTES];
        hash.iter_mut().zip(tag.as_ref()).for_each(|(byte, own)| *byte = *own);
        hash
    }
}

/// The keys of one journal, or of some of a database's orders.
#[derive(Debug)]
pub(crate) struct Keyring {
    records: Records,
    addresses: Addresses,
    /// The record that the next new key takes.
    next: AtomicU64,
    /// One more than the last record that a durable line names.
    named: AtomicU64,
    /// Destroyed keys whose records another order's keys have taken: what an earlier version made of a file without its end.
    gone: Mutex<BTreeSet<(u64, OrderId)>>,
    chance: Chance,
}

/// Where the records are.
enum Records {
    /// In the file beside a journal. None where there is no file: every key is lost then.
    File(Medium, Option<Segment>),
    /// Read from a database, together with what they seal.
    #[cfg(feature = "postgres")]
    Rows(std::collections::HashMap<(OrderId, u64), record::Record>),
}

/// Records hold keys: they are not shown.
impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Records::File(medium, _) => write!(f, "{}", medium.path(KEYS).display()),
            #[cfg(feature = "postgres")]
            Records::Rows(rows) => write!(f, "{} rows", rows.len()),
        }
    }
}

/// What seals one commit: a key of its order, and where that stands.
pub(crate) struct Seal<'a> {
    ring: &'a Keyring,
    /// The record.
    pub(crate) slot: u64,
    key: Key,
}

impl Seal<'_> {
    /// Nonce, sealed bytes, tag.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(crate) fn seal(&self, place: Place, plain: &[u8]) -> Result<Vec<u8>, NoChance> {
        self.key.seal(&self.ring.chance, place, plain)
    }

    /// What was sealed here with this key; None for anything else.
    pub(crate) fn open(&self, place: Place, sealed: &[u8]) -> Option<Vec<u8>> {
        self.key.open(place, sealed)
    }
}

impl Keyring {
    /// Opens the keys, for a process that will write the journal. Makes the file where there is none: durable before it
    /// is used.
    ///
    /// # Errors
    /// IO, or the file's own record is damaged.
    pub(crate) fn open(medium: &Medium, chance: Chance) -> Result<Keyring, JournalError> {
        let io = || JournalError::io(medium.path(KEYS));
        medium.prepare().map_err(io())?;
        let len = match medium.open_read(KEYS).and_then(|file| file.size()) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(io()(error)),
        };
        // Shorter than its own record: its making was interrupted, before any key.
        if len < SLOT_BYTES as u64 {
            Self::make(medium, &chance).map_err(io())?;
        }
        Self::read(medium, chance)
    }

    /// Opens the keys to read with, beside a daemon or without one. Makes and changes nothing.
    ///
    /// # Errors
    /// IO, or the file's own record is damaged.
    pub(crate) fn read(medium: &Medium, chance: Chance) -> Result<Keyring, JournalError> {
        let path = medium.path(KEYS);
        let file = match medium.open_read(KEYS) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::of(medium, None, &Key([0; super::KEY_BYTES]), 1, chance));
            }
            Err(error) => return Err(JournalError::io(path)(error)),
        };
        let len = file.size().map_err(JournalError::io(&path))?;
        let head = record_at(&file, 0).map_err(JournalError::io(&path))?;
        let addresses = record::read_head(&head).ok_or(JournalError::KeyFile { path })?;
        // A record that was torn off at the end was never synced, so no line needs it: it is written over.
        let next = (len / SLOT_BYTES as u64).max(1);
        Ok(Self::of(medium, Some(file), &addresses, next, chance))
    }

    fn of(medium: &Medium, file: Option<Segment>, addresses: &Key, next: u64, chance: Chance) -> Self {
        let records = Records::File(medium.clone(), file);
        Self::new(records, Addresses::of(addresses), next, chance)
    }

    fn new(records: Records, addresses: Addresses, next: u64, chance: Chance) -> Self {
        let (next, named) = (AtomicU64::new(next), AtomicU64::new(0));
        Keyring { records, addresses, next, named, gone: Mutex::default(), chance }
    }

    fn make(medium: &Medium, chance: &Chance) -> io::Result<()> {
        let file = medium.create(KEYS)?;
        file.write_all_at(&record::head(&Key::new(chance).map_err(io::Error::other)?), 0)?;
        file.sync()?;
        medium.sync_entries()
    }

    /// A new key for an order, and the record that must be durable before it is used.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(crate) fn fresh(&self, order: OrderId) -> Result<(Seal<'_>, Patch), NoChance> {
        let key = Key::new(&self.chance)?;
        let slot = self.next.fetch_add(1, Ordering::AcqRel);
        let bytes = record::live(slot, order, &key);
        Ok((Seal { ring: self, slot, key }, Patch { slot, bytes }))
    }

    /// The key of an order that is known to be there.
    pub(crate) fn with(&self, slot: u64, key: Key) -> Seal<'_> {
        Seal { ring: self, slot, key }
    }

    /// Notes that a durable line names this record.
    pub(crate) fn name(&self, slot: u64) {
        self.name_until(slot.saturating_add(1));
    }

    /// Notes that durable lines name records before this one.
    pub(crate) fn name_until(&self, named: u64) {
        self.named.fetch_max(named, Ordering::AcqRel);
    }

    /// One more than the last record that a durable line names, as far as it was told.
    pub(crate) fn named(&self) -> u64 {
        self.named.load(Ordering::Acquire)
    }

    /// Whether the file ends before records that lines name. Keys are durable before their lines: it has lost its end.
    pub(crate) fn ends_before(&self, named: u64) -> bool {
        self.next.load(Ordering::Acquire) < named
    }

    /// What the file says of an order's key.
    ///
    /// # Errors
    /// IO.
    pub(crate) fn get(&self, slot: u64, order: OrderId) -> Result<Held, JournalError> {
        let held = self.stored(slot, order)?;
        let gone = || self.gone.lock().unwrap_or_else(PoisonError::into_inner).contains(&(slot, order));
        Ok(if held == Held::Lost && gone() { Held::Destroyed } else { held })
    }

    fn stored(&self, slot: u64, order: OrderId) -> Result<Held, JournalError> {
        let (medium, file) = match &self.records {
            Records::File(_, None) => return Ok(Held::Lost),
            Records::File(medium, Some(file)) => (medium, file),
            #[cfg(feature = "postgres")]
            Records::Rows(rows) => {
                let record = rows.get(&(order, slot));
                return Ok(record.map_or(Held::Lost, |record| Held::read(record, slot, order)));
            }
        };
        let mut held = Held::Lost;
        for _ in 0..LOOKS_MAX {
            let record = record_at(file, slot).map_err(JournalError::io(medium.path(KEYS)))?;
            held = Held::read(&record, slot, order);
            if held != Held::Lost {
                break;
            }
        }
        Ok(held)
    }

    /// The error for a key that is lost.
    pub(crate) fn lost(&self, slot: u64, order: OrderId) -> Lost {
        match &self.records {
            Records::File(medium, _) => Lost::Record {
                path: medium.path(KEYS),
                offset: slot.saturating_mul(SLOT_BYTES as u64),
                order,
            },
            #[cfg(feature = "postgres")]
            Records::Rows(_) => Lost::Row { slot, order },
        }
    }

    /// What is left of a key that is destroyed.
    pub(crate) fn destroyed(slot: u64, order: OrderId) -> Patch {
        Patch { slot, bytes: record::destroyed(slot, order) }
    }

    /// Completes erasures that a crash, or a key file from an older copy, left undone; durably, also where only the
    /// process was killed before it had synced.
    ///
    /// # Errors
    /// IO.
    pub(crate) fn destroy(&self, keys: &[(u64, OrderId)]) -> Result<(), JournalError> {
        let mut patches = Vec::with_capacity(keys.len());
        for (slot, order) in keys {
            if self.is_of_another(*slot, *order)? {
                self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert((*slot, *order));
            } else {
                patches.push(Self::destroyed(*slot, *order));
            }
        }
        self.overwrite(&patches)
    }

    /// Whether a record is in good order and another order's: it is never overwritten for this one.
    fn is_of_another(&self, slot: u64, order: OrderId) -> Result<bool, JournalError> {
        match &self.records {
            Records::File(medium, Some(file)) => {
                let record = record_at(file, slot).map_err(JournalError::io(medium.path(KEYS)))?;
                Ok(record::is_of_another(&record, slot, order))
            }
            Records::File(_, None) => Ok(false),
            #[cfg(feature = "postgres")]
            Records::Rows(_) => Ok(false),
        }
    }

    /// Notes of lost keys that a person has accepted their loss.
    ///
    /// # Errors
    /// IO.
    pub(crate) fn give_up(&self, keys: &[(u64, OrderId)]) -> Result<(), JournalError> {
        let patch =
            |(slot, order): &(u64, OrderId)| Patch { slot: *slot, bytes: record::given_up(*slot, *order) };
        self.overwrite(&keys.iter().map(patch).collect::<Vec<_>>())
    }

    fn overwrite(&self, patches: &[Patch]) -> Result<(), JournalError> {
        let medium = match &self.records {
            Records::File(medium, _) => medium,
            #[cfg(feature = "postgres")]
            // Rows change with the order that they belong to, in the statement that changes it.
            Records::Rows(_) => {
                let error = io::ErrorKind::Unsupported.into();
                return Err(JournalError::io("table auditshield_order_keys")(error));
            }
        };
        let mut file = KeyFile::default();
        let written = file.write(medium, patches.iter().collect());
        let done = written.and_then(|any| if any { file.sync(medium) } else { Ok(()) });
        let last = patches.iter().map(|patch| patch.slot + 1).max().unwrap_or_default();
        self.next.fetch_max(last, Ordering::AcqRel);
        done.map_err(JournalError::io(medium.path(KEYS)))
    }

    /// The hash under which the index finds an address.
    pub(crate) fn address(&self, address: &str) -> [u8; ADDRESS_BYTES] {
        self.addresses.hash(address)
    }

    /// What tells this key file from every other, without giving its key away: the index keeps it.
    pub(crate) fn mark(&self) -> [u8; ADDRESS_BYTES] {
        self.addresses.mark
    }
}

/// One record; what lies beyond the file's end is zeros.
fn record_at(file: &Segment, slot: u64) -> io::Result<record::Record> {
    let mut bytes = [0; SLOT_BYTES];
    let mut filled = 0;
    if slot > SLOTS_MAX {
        return Ok(bytes);
    }
    let offset = slot.saturating_mul(SLOT_BYTES as u64);
    while filled < SLOT_BYTES {
        match file.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64))? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(bytes)
}
