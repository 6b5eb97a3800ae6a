//! Verifying a store, and making its index anew.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::index::Index;
use super::index::compare::compare;
use super::index::guard::{Folder, Sled};
use super::index::receipts::Series;
use super::journal::{Applied, JournalError, Medium, Position, walk};
use super::open::{discard, folder_error, lock, open_index, whole};
use super::record::{Located, decode_body};
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
}

#[cfg(test)]
impl Order {
    /// As the journal would tell it.
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
    let mut report = Report::default();
    let mut orders: HashMap<OrderId, Order> = HashMap::new();
    let (mut bytes, mut last, mut series) = (0, None, Series::default());
    let walked = walk(&medium, &mut |line, position| {
        bytes += u64::from(position.len) + 1;
        if line.seq % PROGRESS_LINES == 0 {
            progress(bytes);
        }
        last = Some((line.seq, position, line.hash));
        if let Err(reason) = fold((&mut orders, &mut series), line.seq, line.body, position) {
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
    for (id, order) in &orders {
        let Some(payment) = order.payment.as_ref().filter(|_| !order.broken) else { continue };
        for violation in violations(payment, &order.history) {
            report.find(format!("{id}: {violation}"));
        }
    }
    // What a damaged journal gives says nothing about the index.
    if whole && closed.is_some() {
        let last = last.map(|(seq, position, hash)| Applied {
            seq,
            position,
            hash: String::from_utf8_lossy(&hash).into_owned(),
        });
        index(store, (&orders, &series), last.as_ref(), &mut report);
    }
    Ok(report)
}

/// Compares the index of a store that nobody has open with the journal's orders.
fn index(
    store: &Path,
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
            compare(&Index::new(db), orders, last, series, &mut |finding| report.find(finding));
        }
        // A daemon that was killed leaves an index that may be behind, but never one that is ahead.
        Sled::Open(db) => {
            let (seq, path) = (report.lines, store.join("journal"));
            if let Ok(Some(applied)) = Index::new(db).applied()
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
fn lock_existing(store: &Path) -> Result<Option<std::fs::File>, OpenError> {
    if !store.join("lock").exists() {
        return Ok(None);
    }
    match lock(store) {
        Ok(file) => Ok(Some(file)),
        // In use, or not ours to write: the journal can be read all the same.
        Err(_) => Ok(None),
    }
}

fn fold(
    (orders, series): (&mut HashMap<OrderId, Order>, &mut Series),
    seq: u64,
    body: &[u8],
    position: Position,
) -> Result<(), String> {
    let (id, line) = decode_body(seq, body)?;
    let order = orders.entry(id).or_default();
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

/// Sets the index aside and makes it anew from the journal. The store must be closed. Returns the last seq. Blocks.
///
/// # Errors
/// In use, or the journal is damaged.
pub fn rebuild(store: &Path) -> Result<u64, OpenError> {
    if !store.is_dir() {
        return Err(folder_error(store)(std::io::ErrorKind::NotFound.into()));
    }
    whole(store)?;
    let _lock = lock(store)?;
    let folder = Folder::of(store);
    discard(&folder, store, "asked for")?;
    let opened = open_index(&folder, &Medium::Disk(store.join("journal")), store)?;
    let settled = opened.index.flush().map_err(LedgerError::from).is_ok();
    if settled && super::index::guard::sync_db(&folder.path()).is_ok() {
        folder.mark_clean().map_err(folder_error(store))?;
    }
    Ok(opened.recovered.chain.next_seq - 1)
}
