//! A journal in memory as the daemon would have written it, with its keys, and the snapshots on the way.

use std::collections::HashMap;
use std::sync::Arc;

use super::histories::History;
use crate::domain::event::Event;
use crate::domain::payment::Payment;
use crate::domain::values::OrderId;
use crate::ledger::journal::line::{self, GENESIS};
use crate::ledger::journal::medium::KEYS;
use crate::ledger::journal::memory::Memory;
use crate::ledger::journal::{KeyFile, Medium, Position, SLOT_BYTES};
use crate::ledger::record::{Commit, Located, Snapshot};
use crate::ledger::seal::{Chance, Held, Keyring, Seal};
use crate::ledger::vault::Vault;

/// One line.
pub(super) struct Written {
    /// Whose it is, by its place among the histories.
    pub(super) order: usize,
    /// Which of its commits.
    pub(super) commit: usize,
    pub(super) located: Located,
    pub(super) snapshot: Snapshot,
}

pub(super) struct Shop {
    pub(super) histories: Vec<History>,
    pub(super) journal: Vec<u8>,
    pub(super) written: Vec<Written>,
    pub(super) ring: Arc<Keyring>,
    memory: Memory,
    /// The key file before any key was destroyed.
    before: Vec<u8>,
}

impl Shop {
    /// What the histories make. The same bytes every time.
    pub(super) fn of(histories: &[History]) -> Shop {
        let memory = Memory::default();
        let medium = Medium::Memory(memory.clone());
        let ring = Arc::new(Keyring::open(&medium, Chance::Counted(Arc::default())).unwrap());
        let (mut journal, mut prev, mut written, mut file) =
            (Vec::new(), GENESIS, Vec::new(), KeyFile::default());
        let (mut slots, mut erased) = (HashMap::<OrderId, u64>::new(), Vec::new());
        for (order, history) in histories.iter().enumerate() {
            let mut before: Option<Snapshot> = None;
            for (commit, (at, events)) in history.commits.iter().enumerate() {
                let seq = written.len() as u64 + 1;
                let seal: Option<Seal<'_>> = if !Commit::is_personal(events) {
                    None
                } else if let Some(slot) = slots.get(&history.id) {
                    let Held::Live(key) = ring.get(*slot, history.id).unwrap() else {
                        panic!("{}", history.name)
                    };
                    Some(ring.with(*slot, key))
                } else {
                    let (seal, record) = ring.fresh(history.id).unwrap();
                    file.write(&medium, vec![&record]).unwrap();
                    slots.insert(history.id, seal.slot);
                    Some(seal)
                };
                let erases: Vec<u64> = match events[..] {
                    [Event::Erased { .. }] => slots.remove(&history.id).into_iter().collect(),
                    _ => Vec::new(),
                };
                erased.extend(erases.iter().map(|slot| (*slot, history.id)));
                let base = before.as_ref().map(|before| &*before.payment);
                let payment = Payment::evolve(base, history.id, events, *at).unwrap();
                let made =
                    Commit { order: history.id, version: payment.version, events, at: *at, erases: &erases };
                let body = made.encode(seal.as_ref()).unwrap();
                let vault = Vault::after(before.as_ref(), &payment, seal.as_ref(), &ring).unwrap();
                let offset = journal.len() as u64;
                // Every third line shares its batch with the line before it.
                let batch = if seq.is_multiple_of(3) { seq - 1 } else { seq };
                prev = line::encode(&mut journal, seq, &prev, batch, &body);
                let len = u32::try_from(journal.len() as u64 - offset - 1).unwrap();
                let located = Located { seq, position: Position { segment: 1, offset, len } };
                let mut lines = before.map(|before| before.lines).unwrap_or_default();
                lines.push(located);
                let snapshot = Snapshot { payment: Arc::new(payment), vault, lines };
                written.push(Written { order, commit, located, snapshot: snapshot.clone() });
                before = Some(snapshot);
            }
        }
        let before = memory.bytes(KEYS);
        ring.destroy(&erased).unwrap();
        let histories = histories.iter().map(History::again).collect();
        Shop { histories, journal, written, ring, memory, before }
    }

    /// Its records in hex, one a line.
    pub(super) fn key_file(&self) -> String {
        lines(&self.memory.bytes(KEYS))
    }

    /// The same before any key was destroyed.
    pub(super) fn key_file_before(&self) -> String {
        lines(&self.before)
    }

    /// The keys in such records.
    pub(super) fn ring(records: &str) -> Keyring {
        let memory = Memory::default();
        memory.put(KEYS, records.lines().flat_map(|record| hex::decode(record).unwrap()).collect());
        Keyring::read(&Medium::Memory(memory), Chance::System).unwrap()
    }

    /// The events of a line as they are read once all erasures have happened: blank up to the order's last ERASED.
    pub(super) fn left(&self, written: &Written) -> Vec<Event> {
        let commits = &self.histories[written.order].commits;
        let gone = commits.iter().rposition(|(_, events)| matches!(events[..], [Event::Erased { .. }]));
        let mut events = commits[written.commit].1.clone();
        if gone.is_some_and(|gone| written.commit < gone) {
            for event in &mut events {
                event.take_personal();
                event.blank();
            }
        }
        events
    }
}

fn lines(bytes: &[u8]) -> String {
    bytes.chunks(SLOT_BYTES).map(|record| format!("{}\n", hex::encode(record))).collect()
}
