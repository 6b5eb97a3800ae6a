//! Verifying a store, and making its index anew.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::index::Index;
use super::index::compare::compare;
use super::index::guard::{Folder, Sled};
use super::index::receipts::Series;
use super::journal::{self, Applied, JournalError, Medium, Position, walk};
use super::lock::Lock;
use super::open::{discard, folder_error, lock, open_index, whole};
use super::record::{Kept, Keys, Located, Read, ReadError, decode_body};
use super::seal::{Chance, Held, Keyring, Lost};
use super::{LedgerError, OpenError};
use crate::domain::event::Event;
use crate::domain::invariants::violations;
use crate::domain::payment::Payment;
use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::OrderId;

/// Findings reported at most; the rest is only counted.
const FINDINGS_MAX: usize = 100;
/// Progress is told every so many lines.
const PROGRESS_LINES: u64 = 10_000;

/// What `verify` found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Good lines, which is also the last good seq.
    pub lines: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of good lines.
    pub bytes: u64,
    /// Orders.
    pub orders: u64,
    /// Orders whose personal data were erased.
    pub erased: u64,
    /// Orders whose personal data were lost with their key, which a person has accepted.
    pub given_up: u64,
    /// The hash of the last good line: note it elsewhere, and nobody can rewrite history unseen.
    pub head: Option<String>,
    /// Whether the index was compared, which needs a closed store.
    pub index_compared: bool,
    /// What is wrong, in words for the operator, without personal data.
    pub findings: Vec<String>,
    /// How much is wrong, what is not listed included.
    pub findings_total: u64,
}

impl Report {
    /// Whether all is well.
    pub fn is_sound(&self) -> bool {
        self.findings_total == 0
    }

    pub(super) fn find(&mut self, finding: String) {
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// An order as the journal tells it.
#[derive(Default)]
pub(super) struct Order {
    pub(super) payment: Option<Payment>,
    history: Vec<Event>,
    /// Where its lines stand.
    pub(super) lines: Vec<Located>,
    /// The number of its receipt.
    pub(super) receipt: Option<ReceiptNumber>,
    broken: bool,
    /// The keys that its lines were sealed with, and whether a line says that they are destroyed.
    pub(super) keys: Vec<(u64, bool)>,
    /// One of its keys was lost, and a person has accepted that.
    given_up: bool,
}

impl Order {
    /// The last record of the key file that its lines name.
    pub(super) fn last_key(&self) -> Option<u64> {
        self.keys.iter().map(|(slot, _)| *slot).max()
    }

    /// As the journal would tell it.
    #[cfg(test)]
    pub(super) fn of(payment: Payment, lines: Vec<Located>) -> Self {
        Self { payment: Some(payment), lines, ..Self::default() }
    }
}

/// Walks the whole journal, read-only: chain, hashes, order of events, invariants of each order. A daemon may have
/// the store open meanwhile; if none has, the index is compared too, every key of it. `progress` is told the bytes
/// looked at so far. Blocks.
///
/// # Errors
/// IO and missing segments; damage is a finding.
pub fn verify(store: &Path, progress: &mut dyn FnMut(u64)) -> Result<Report, OpenError> {
    if !store.is_dir() {
        return Err(folder_error(store)(std::io::ErrorKind::NotFound.into()));
    }
    whole(store)?;
    // Held until the end, so that the index stays as it is while it is compared.
    let closed = lock_existing(store)?;
    let medium = Medium::Disk(store.join("journal"));
    let mut told = examine(&medium, progress, &mut |_, _| Ok(()))?;
    if closed.is_some() {
        told.compare_index(store);
    }
    Ok(told.report)
}

/// What a journal's lines tell, and what is wrong with them.
pub(super) struct Told {
    pub(super) report: Report,
    pub(super) ring: Arc<Keyring>,
    pub(super) orders: HashMap<OrderId, Order>,
    series: Series,
    last: Option<Applied>,
    /// It is not damaged: nothing is known to be missing.
    whole: bool,
}

/// Looks at a line that is being read, and at what it says. What it refuses becomes a finding.
type Also<'a> = dyn FnMut(&journal::Line<'_>, &Read) -> Result<(), String> + 'a;

/// Walks a journal; see [`verify`].
pub(super) fn examine(
    medium: &Medium,
    progress: &mut dyn FnMut(u64),
    also: &mut Also<'_>,
) -> Result<Told, OpenError> {
    let ring = Arc::new(Keyring::read(medium, Chance::System)?);
    let mut report = Report::default();
    let mut orders: HashMap<OrderId, Order> = HashMap::new();
    let (mut bytes, mut last, mut series, mut lost) = (0, None, Series::default(), Vec::new());
    let walked = walk(medium, &mut |line, position| {
        bytes += u64::from(position.len) + 1;
        if line.seq % PROGRESS_LINES == 0 {
            progress(bytes);
        }
        last = Some((line.seq, position, line.hash));
        let outcome = read(&ring, line.seq, line.body, &mut lost).and_then(|read| {
            also(line, &read)?;
            fold((&mut orders, &mut series), read, position)
        });
        if let Err(reason) = outcome {
            report.find(format!("ligne {0}: {reason} / line {0}: {reason}", line.seq));
        }
        Ok(())
    });
    let mut whole = false;
    match walked {
        Ok(walked) => {
            whole = walked.damage.is_none();
            (report.lines, report.segments, report.bytes) = (walked.lines, walked.segments, walked.bytes);
            report.head = walked.head;
            if let Some(damage) = walked.damage {
                report.find(damage.refusal().to_string());
            }
        }
        Err(error @ JournalError::Missing { .. }) => report.find(error.to_string()),
        Err(error) => return Err(error.into()),
    }
    report.orders = orders.len() as u64;
    keys(&ring, &orders, lost, &mut report);
    for (id, order) in &orders {
        let Some(payment) = order.payment.as_ref().filter(|_| !order.broken) else { continue };
        for violation in violations(payment, &order.history) {
            report.find(format!("{id}: {violation}"));
        }
    }
    let last = last.map(|(seq, position, hash)| Applied {
        seq,
        position,
        hash: String::from_utf8_lossy(&hash).into_owned(),
    });
    Ok(Told { report, ring, orders, series, last, whole })
}

impl Told {
    /// Compares the index with what the lines tell. Nobody has the store open. What a damaged journal gives says nothing
    /// about the index.
    pub(super) fn compare_index(&mut self, store: &Path) {
        let Told { report, ring, orders, series, last, whole } = self;
        if *whole {
            index(store, ring, (orders, series), last.as_ref(), report);
        }
    }
}

/// Compares the index of a store that nobody has open with the journal's orders.
fn index(
    store: &Path,
    ring: &Arc<Keyring>,
    (orders, series): (&HashMap<OrderId, Order>, &Series),
    last: Option<&Applied>,
    report: &mut Report,
) {
    let folder = Folder::of(store);
    if !folder.path().exists() || folder.lost_power() {
        return;
    }
    report.index_compared = folder.was_closed();
    match folder.open() {
        Sled::Open(db) if report.index_compared => {
            compare(&Index::new(db, Arc::clone(ring)), orders, last, series, &mut |finding| {
                report.find(finding)
            });
        }
        // A daemon that was killed leaves an index that may be behind, but never one that is ahead.
        Sled::Open(db) => {
            let (seq, path) = (report.lines, store.join("journal"));
            if let Ok(Some(applied)) = Index::new(db, Arc::clone(ring)).applied()
                && applied.seq > seq
            {
                report.find(JournalError::Behind { path, last: seq, applied: applied.seq }.to_string());
            }
        }
        Sled::Locked | Sled::Broken => {
            report
                .find("l'index ne s'ouvre pas / the index does not open (auditshield ledger rebuild)".into());
        }
    }
}

/// The lock, if nobody has it and the store was ever open. Verification never makes files.
fn lock_existing(store: &Path) -> Result<Option<Lock>, OpenError> {
    if !store.join("lock").exists() {
        return Ok(None);
    }
    match lock(store) {
        Ok(file) => Ok(Some(file)),
        // In use, or not ours to write: the journal can be read all the same.
        Err(_) => Ok(None),
    }
}

/// A line with its personal part. One whose key is lost goes on as if it had been erased.
fn read(ring: &Keyring, seq: u64, body: &[u8], lost: &mut Vec<(u64, Lost)>) -> Result<Read, String> {
    match decode_body(seq, body, Keys::Of(ring)) {
        Ok(read) => Ok(read),
        Err(ReadError::Lost(key)) => {
            let read = decode_body(seq, body, Keys::None).map_err(|error| error.to_string())?;
            if let Some(slot) = read.kept.slot() {
                lost.push((slot, key));
            }
            Ok(read)
        }
        Err(error) => Err(error.to_string()),
    }
}

fn fold(
    (orders, series): (&mut HashMap<OrderId, Order>, &mut Series),
    read: Read,
    position: Position,
) -> Result<(), String> {
    let Read { order: id, line, kept, erases } = read;
    let seq = line.seq;
    let order = orders.entry(id).or_default();
    match kept {
        Kept::Sealed(slot, held) => {
            order.keys.push((slot, false));
            order.given_up |= held == Held::GivenUp;
        }
        Kept::None | Kept::Plain => {}
    }
    order.keys.iter_mut().for_each(|(slot, gone)| *gone |= erases.contains(slot));
    if order.broken {
        return Ok(());
    }
    match Payment::evolve(order.payment.as_ref(), id, &line.events, line.at) {
        Ok(payment) if payment.version == line.version => {
            order.receipt = order.receipt.or(series.number(order.payment.as_ref(), &payment));
            order.payment = Some(payment);
            order.history.extend(line.events);
            order.lines.push(Located { seq, position });
            Ok(())
        }
        outcome => {
            order.broken = true;
            Err(outcome.map_or_else(|error| error.to_string(), |_| "version out of order".into()))
        }
    }
}

/// Counts what was erased and given up, and finds keys that are lost, and erasures whose keys are still there. A lost key
/// that a line says is destroyed is an erasure that was torn: the next start completes it.
fn keys(ring: &Keyring, orders: &HashMap<OrderId, Order>, lost: Vec<(u64, Lost)>, report: &mut Report) {
    for (slot, key) in lost {
        if !orders.get(&key.order()).is_some_and(|order| order.keys.contains(&(slot, true))) {
            report.find(key.to_string());
        }
    }
    for (id, order) in orders {
        let erased = order.payment.as_ref().is_some_and(|payment| payment.erased_at.is_some());
        report.erased += u64::from(erased);
        report.given_up += u64::from(order.given_up && !erased);
        for (slot, _) in order.keys.iter().filter(|(_, gone)| *gone) {
            if matches!(ring.get(*slot, *id), Ok(Held::Live(_))) {
                report.find(format!(
                    "{id}: effacée, mais sa clé {slot} existe encore: interrompu, ou un fichier de clés plus ancien a \
                     été remis en place / erased, but its key {slot} is still there: interrupted, or an older key file \
                     was put back (auditshield ledger rebuild)"
                ));
            }
        }
    }
}

/// Sets the index aside and makes it anew from the journal. The store must be closed. Returns the last seq. Blocks.
///
/// # Errors
/// In use, or the journal is damaged, or a key is lost.
pub fn rebuild(store: &Path) -> Result<u64, OpenError> {
    rebuild_with(store, LostKeys::Refused)
}

/// The same where keys are lost for good, if need be: their orders go on without personal data, which is noted in the
/// key file.
///
/// # Errors
/// As [`rebuild`].
pub fn rebuild_with(store: &Path, lost_keys: LostKeys) -> Result<u64, OpenError> {
    if !store.is_dir() {
        return Err(folder_error(store)(std::io::ErrorKind::NotFound.into()));
    }
    whole(store)?;
    let _lock = lock(store)?;
    let folder = Folder::of(store);
    let medium = Medium::Disk(store.join("journal"));
    let ring = Arc::new(Keyring::open(&medium, Chance::System)?);
    if lost_keys == LostKeys::Accepted {
        give_up(&medium, &ring)?;
    }
    discard(&folder, store, "asked for")?;
    let opened = open_index(&folder, &medium, &ring, store)?;
    let settled = opened.index.flush().map_err(LedgerError::from).is_ok();
    if settled && super::index::guard::sync_db(&folder.path()).is_ok() {
        folder.mark_clean().map_err(folder_error(store))?;
    }
    Ok(opened.recovered.chain.next_seq - 1)
}

/// What a rebuild makes of keys that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostKeys {
    /// It refuses: the file may still be found.
    Refused,
    /// They are given up, for good.
    Accepted,
}

fn give_up(medium: &Medium, ring: &Keyring) -> Result<(), OpenError> {
    let mut lost = Vec::new();
    walk(medium, &mut |line, _| {
        let Ok(read) = decode_body(line.seq, line.body, Keys::None) else { return Ok(()) };
        if let Kept::Sealed(slot, _) = read.kept
            && ring.get(slot, read.order)? == Held::Lost
        {
            tracing::warn!(order = %read.order, slot, "a lost key is given up, as asked for");
            lost.push((slot, read.order));
        }
        Ok(())
    })?;
    Ok(ring.give_up(&lost)?)
}
