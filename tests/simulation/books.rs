//! The journal as an outsider reads it: bytes that a power cut would leave, their hash chain, and what they amount to.

use std::collections::{BTreeMap, BTreeSet};

use auditshield::domain::event::{Event, Stored};
use auditshield::domain::payment::{Link, Payment};
use auditshield::domain::personal::Personal;
use auditshield::domain::values::{OrderId, Timestamp};
use auditshield::ledger::journal::medium::KEYS;
use auditshield::ledger::simulated::Journal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Bytes of a record in the key file.
const RECORD_BYTES: usize = 64;

#[derive(Deserialize)]
struct Written {
    seq: u64,
    prev: String,
    at: Timestamp,
    order: OrderId,
    version: u32,
    events: Vec<Stored>,
    key: Option<usize>,
    sealed: Option<String>,
    #[serde(default)]
    erases: Vec<usize>,
    hash: String,
}

/// An order as its lines tell it.
#[derive(Debug, Clone)]
pub struct Told {
    pub payment: Payment,
    pub history: Vec<Event>,
    /// Every link that was ever valid, without its count of downloads.
    pub links: Vec<Link>,
    /// The place of its payment among those of its year.
    pub receipt: Option<String>,
    /// When its last line was committed, by the machine's clock.
    pub last_at: Timestamp,
    /// The records of the keys that its lines were sealed with.
    keys: BTreeSet<usize>,
    /// Those that a line says are destroyed.
    destroyed: BTreeSet<usize>,
}

impl Told {
    /// Whether what the lines say of its keys is what a power cut would leave of the key file.
    pub fn keys_fit(&self, journal: &Journal) -> bool {
        self.keys.iter().all(|slot| {
            let record = journal.durable(KEYS, slot * RECORD_BYTES);
            let state = record.get(48).copied();
            let gone = state == Some(b'E') && record[16..48] == [0; 32];
            gone == self.destroyed.contains(slot) && (gone || state == Some(b'K'))
        })
    }
}

/// One line, taken in.
#[derive(Debug, Clone)]
pub struct Entry {
    pub seq: u64,
    pub order: OrderId,
    pub at: Timestamp,
    pub before: Option<Told>,
    pub events: Vec<Event>,
    hash: String,
}

/// All durable lines so far.
#[derive(Debug, Clone, Default)]
pub struct Books {
    pub orders: BTreeMap<OrderId, Told>,
    hashes: Vec<String>,
    /// Payments of each year so far, by the first four characters of their lines' dates.
    payments: BTreeMap<String, u64>,
    /// What was read of each segment.
    read: BTreeMap<u64, Vec<u8>>,
}

impl Books {
    /// Takes in what has become durable since the last time.
    pub fn catch_up(&mut self, journal: &Journal) -> Result<Vec<Entry>, String> {
        let mut entries = Vec::new();
        for first in journal.segments() {
            let from = self.read.get(&first).map_or(0, Vec::len);
            let bytes = journal.durable(first, from);
            let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { continue };
            for line in bytes[..end].split(|byte| *byte == b'\n') {
                let entry = self.take(line, journal).map_err(|why| format!("segment {first}: {why}"))?;
                entries.push(entry);
            }
            self.read.entry(first).or_default().extend_from_slice(&bytes[..=end]);
        }
        Ok(entries)
    }

    /// After a restart: what was durable before must still be there, byte for byte; then what is new.
    pub fn reread(&mut self, journal: &Journal) -> Result<Vec<Entry>, String> {
        for (first, bytes) in &self.read {
            if !journal.bytes(*first).starts_with(bytes) {
                return Err(format!("segment {first}: lines that were durable are gone or changed"));
            }
        }
        self.catch_up(journal)
    }

    /// How many bytes of a segment were read: whole lines that were durable.
    pub fn known_bytes(&self, first: u64) -> usize {
        self.read.get(&first).map_or(0, Vec::len)
    }

    pub fn lines(&self) -> u64 {
        self.hashes.len() as u64
    }

    fn take(&mut self, line: &[u8], journal: &Journal) -> Result<Entry, String> {
        let text = String::from_utf8_lossy(line);
        let written: Written = serde_json::from_slice(line).map_err(|why| format!("{why}: {text:?}"))?;
        let covered = text.rsplit_once(",\"hash\":").map(|(covered, _)| covered).unwrap_or_default();
        let hash = hex::encode(Sha256::digest(covered.as_bytes()));
        if hash != written.hash {
            return Err(format!("line {}: its hash is wrong", written.seq));
        }
        let genesis = "0".repeat(64);
        let prev = self.hashes.last().unwrap_or(&genesis);
        if written.seq != self.lines() + 1 || *prev != written.prev {
            return Err(format!("line {} does not continue line {}", written.seq, self.lines()));
        }
        let mut events: Vec<Event> = written.events.iter().map(|stored| stored.event.clone()).collect();
        unseal(&written, journal, &mut events)?;
        let before = self.orders.get(&written.order).cloned();
        let old = before.as_ref().map(|told| &told.payment);
        let payment = Payment::evolve(old, written.order, &events, written.at)
            .map_err(|why| format!("line {} does not fold: {why}", written.seq))?;
        if payment.version != written.version {
            return Err(format!("line {}: version {}", written.seq, written.version));
        }
        let mut told = before.clone().unwrap_or(Told {
            payment: payment.clone(),
            history: Vec::new(),
            links: Vec::new(),
            receipt: None,
            last_at: written.at,
            keys: BTreeSet::new(),
            destroyed: BTreeSet::new(),
        });
        told.last_at = written.at;
        if events.iter().any(|event| event.kind() == "PAID") {
            let year = written.at.to_string()[..4].to_owned();
            let place = self.payments.entry(year.clone()).or_default();
            *place += 1;
            told.receipt = Some(format!("{year}-{place:06}"));
        }
        if payment.erased_at.is_some() && events.iter().any(|event| event.kind() == "ERASED") {
            for event in &mut told.history {
                event.take_personal();
                event.blank();
            }
        }
        told.history.extend(events.iter().cloned());
        if let (Some(slot), Some(_)) = (written.key, &written.sealed) {
            told.keys.insert(slot);
        }
        if !written.erases.is_empty() {
            let named: BTreeSet<usize> = written.erases.iter().copied().collect();
            if !named.is_subset(&told.keys) {
                return Err(format!("line {} destroys keys that are not the order's", written.seq));
            }
            told.destroyed.extend(named);
        }
        if let Some(sale) = payment.sale() {
            let link = plain(&sale.link);
            if !told.links.contains(&link) {
                told.links.push(link);
            }
        }
        told.payment = payment;
        self.orders.insert(written.order, told);
        self.hashes.push(hash.clone());
        let Written { seq, order, at, .. } = written;
        Ok(Entry { seq, order, at, before, events, hash })
    }
}

/// Puts back what stands sealed beside the events, as docs/journal.md describes it. A key that would not survive a power
/// cut is none.
fn unseal(written: &Written, journal: &Journal, events: &mut [Event]) -> Result<(), String> {
    let (Some(slot), Some(sealed)) = (written.key, &written.sealed) else { return Ok(()) };
    let bytes = STANDARD_NO_PAD.decode(sealed).map_err(|why| format!("line {}: {why}", written.seq))?;
    let record = journal.durable(KEYS, slot * RECORD_BYTES);
    let wrong = |why: &str| format!("line {}: key {slot} {why}", written.seq);
    let record = record.get(..RECORD_BYTES).ok_or_else(|| wrong("is not durable"))?;
    if record[48] == b'E' && record[16..48] == [0; 32] {
        events.iter_mut().for_each(Event::blank);
        return Ok(());
    }
    if record[..16] != written.order.bytes() || record[48] != b'K' {
        return Err(wrong("is not the order's"));
    }
    let key = UnboundKey::new(&CHACHA20_POLY1305, &record[16..48]).map_err(|_| wrong("is none"))?;
    let nonce = Nonce::try_assume_unique_for_key(&bytes[..NONCE_LEN]).map_err(|_| wrong("has no nonce"))?;
    let place = [b"line", &written.order.bytes()[..], &written.version.to_be_bytes()].concat();
    let mut text = bytes[NONCE_LEN..].to_vec();
    let opened = LessSafeKey::new(key).open_in_place(nonce, Aad::from(place), &mut text);
    let opened = opened.map_err(|_| wrong("does not open the line"))?;
    let parts: Vec<Option<Personal>> =
        serde_json::from_slice(opened).map_err(|why| wrong(&why.to_string()))?;
    for (event, part) in events.iter_mut().zip(parts) {
        part.into_iter().for_each(|part| event.put_personal(part));
    }
    Ok(())
}

impl Entry {
    pub fn text(&self) -> String {
        let kinds: Vec<&str> = self.events.iter().map(Event::kind).collect();
        format!("line {} {} {} {}", self.seq, crate::short(self.order), kinds.join("+"), &self.hash[..8])
    }
}

/// A link without what changes while it lives.
pub fn plain(link: &Link) -> Link {
    Link { downloads: 0, revoked: false, ..link.clone() }
}
