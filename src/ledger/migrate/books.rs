//! What a ledger holds, told so that ledgers of different kinds can be compared: made from each side's own lines.
//!
//! Every order's lines make a chain of their own, as PostgreSQL keeps it, with the order's keys numbered 1, 2, 3 … as they
//! come. So equal chains are equal lines, whatever chain they stand in and wherever their keys are.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::body::renumbered;
use crate::domain::payment::{Payment, Status, due_at};
use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::OrderId;
use crate::ledger::check::Order;
use crate::ledger::index::indexer::REQUEST_AGE_MAX;
use crate::ledger::journal::line::{self, GENESIS, HashText};
use crate::ledger::postgres::{Stand, Stood};
use crate::ledger::seal::{Held, Keyring};

/// Everything that must be the same on both sides.
#[derive(Debug, Default, Clone)]
pub(super) struct Books {
    pub(super) orders: BTreeMap<OrderId, Entry>,
    /// The idempotency keys younger than a day.
    pub(super) requests: Stood,
}

/// An order in the books.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its last line's hash.
    chain: HashText,
    pub(super) lines: u32,
    /// The numbers of its keys, in the order in which its lines name them.
    pub(super) slots: Vec<u64>,
    facts: Facts,
}

/// What is found of an order beside its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    status: &'static str,
    due: Option<i64>,
    receipt: Option<ReceiptNumber>,
    /// Whether each of its keys is there, was destroyed, or was given up.
    keys: String,
}

// === impl Books ===

impl Books {
    /// Takes a line in; each order's in the order of their versions.
    pub(super) fn line(&mut self, order: OrderId, version: u32, body: &[u8]) -> Result<(), String> {
        let blank = || Entry { chain: GENESIS, lines: 0, slots: Vec::new(), facts: Facts::default() };
        let entry = self.orders.entry(order).or_insert_with(blank);
        let slots = &mut entry.slots;
        let body = renumbered(body, &mut |slot| {
            let place = slots.iter().position(|known| *known == slot).unwrap_or_else(|| {
                slots.push(slot);
                slots.len() - 1
            });
            Some(place as u64 + 1)
        })?;
        if version != entry.lines + 1 {
            return Err(format!("{order}: version {version} comes after version {}", entry.lines));
        }
        let mut bytes = Vec::with_capacity(body.len() + line::FRAME_BYTES_MAX);
        let seq = u64::from(version);
        entry.chain = line::encode(&mut bytes, seq, &entry.chain, seq, &body);
        entry.lines = version;
        Ok(())
    }

    /// What a journal's lines, folded, say of its orders.
    pub(super) fn folded<'a>(
        &mut self,
        orders: impl Iterator<Item = (&'a OrderId, &'a Order)>,
        ring: &Keyring,
    ) -> Result<(), String> {
        // Of several orders with one key it stands for the one that was taken last.
        let mut newest: BTreeMap<&str, (u64, &Payment)> = BTreeMap::new();
        let mut last = None;
        for (id, order) in orders {
            let (Some(payment), Some(entry)) = (&order.payment, self.orders.get_mut(id)) else {
                return Err(format!("{id}: it has no state"));
            };
            let keys = states(ring, *id, &entry.slots)?;
            let due = due_at(payment).map(|at| at.millis());
            entry.facts = Facts { status: payment.status_name(), due, receipt: order.receipt, keys };
            last = last.max(Some(payment.created_at));
            let seq = order.lines.first().map_or(0, |line| line.seq);
            if let Some(request) = &payment.request {
                let known = newest.entry(&request.key).or_insert((seq, payment));
                if known.0 < seq {
                    *known = (seq, payment);
                }
            }
        }
        for (key, (_, payment)) in newest {
            let (Some(request), Some(last)) = (&payment.request, last) else { continue };
            if last.since(payment.created_at) < REQUEST_AGE_MAX {
                let stood = (payment.id, request.fingerprint.clone(), payment.created_at.millis());
                self.requests.insert(key.to_owned(), stood);
            }
        }
        Ok(())
    }

    /// What a database's row says of its order.
    pub(super) fn stands(&mut self, stand: &Stand, ring: &Keyring) -> Result<(), String> {
        for line in &stand.lines {
            self.line(stand.id, line.version, &line.body)?;
        }
        let entry = self.orders.get_mut(&stand.id).filter(|entry| entry.lines == stand.version);
        let entry = entry.ok_or_else(|| format!("{}: it has fewer lines than versions", stand.id))?;
        let known = Status::NAMES.into_iter().find(|name| *name == stand.status);
        let status = known.ok_or_else(|| format!("{}: an unknown status", stand.id))?;
        let keys = states(ring, stand.id, &entry.slots)?;
        entry.facts = Facts { status, due: stand.due_ms, receipt: stand.receipt, keys };
        Ok(())
    }

    /// How many lines.
    pub(super) fn lines(&self) -> u64 {
        self.orders.values().map(|entry| u64::from(entry.lines)).sum()
    }

    /// The last receipt's number of each year.
    pub(super) fn receipts(&self) -> BTreeMap<i16, u64> {
        let mut last = BTreeMap::new();
        for number in self.orders.values().filter_map(|entry| entry.facts.receipt) {
            let known = last.entry(number.year).or_insert(0);
            *known = number.place.max(*known);
        }
        last
    }

    /// How many orders of each status.
    pub(super) fn statuses(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        self.orders.values().for_each(|entry| *counts.entry(entry.facts.status).or_insert(0) += 1);
        counts
    }

    /// One hash of every order's chain: SHA-256 over `<order> <hash>` and a newline for each, by their numbers.
    pub(super) fn chains(&self) -> String {
        let ends = self.orders.iter();
        digest(ends.map(|(id, entry)| (*id, String::from_utf8_lossy(&entry.chain).into_owned())))
    }

    /// The first thing that is not the same, in words without personal data.
    pub(super) fn differs(&self, other: &Books) -> Option<String> {
        let missing = |id: &&OrderId| !other.orders.contains_key(id);
        if let Some(id) = self.orders.keys().find(missing) {
            return Some(format!("{id}: il manque à la cible / the target lacks it"));
        }
        if let Some(id) = other.orders.keys().find(|id| !self.orders.contains_key(id)) {
            return Some(format!("{id}: seule la cible l'a / only the target has it"));
        }
        let pairs = self.orders.iter().zip(other.orders.values());
        for ((id, own), theirs) in pairs {
            let same = [
                ("lignes/lines", own.lines == theirs.lines),
                ("chaîne/chain", own.chain == theirs.chain),
                ("état/status", own.facts.status == theirs.facts.status),
                ("échéance/due", own.facts.due == theirs.facts.due),
                ("reçu/receipt", own.facts.receipt == theirs.facts.receipt),
                ("clés/keys", own.facts.keys == theirs.facts.keys),
            ];
            if let Some((what, _)) = same.iter().find(|(_, same)| !same) {
                return Some(format!("{id}: {what}"));
            }
        }
        let other_key = || "une clé d'idempotence désigne une autre commande / an idempotency key stands for another order";
        (self.requests != other.requests).then(|| other_key().to_owned())
    }
}

/// One hash over the ends of chains, by the orders' numbers.
pub(super) fn digest(ends: impl Iterator<Item = (OrderId, String)>) -> String {
    let mut sum = Sha256::new();
    ends.for_each(|(id, hash)| sum.update(format!("{id} {hash}\n")));
    hex::encode(sum.finalize())
}

fn states(ring: &Keyring, order: OrderId, slots: &[u64]) -> Result<String, String> {
    let state = |slot: &u64| match ring.get(*slot, order) {
        Ok(Held::Live(_)) => Ok('K'),
        Ok(Held::Destroyed) => Ok('E'),
        Ok(Held::GivenUp) => Ok('L'),
        Ok(Held::Lost) => Err(ring.lost(*slot, order).to_string()),
        Err(error) => Err(error.to_string()),
    };
    slots.iter().map(state).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn books(bodies: &[(u8, u32, &str)]) -> Books {
        let mut books = Books::default();
        for (order, version, rest) in bodies {
            let body = format!(r#""at":"x","order":"y","version":{version},"events":[]{rest}"#);
            books.line(OrderId::from_bytes([*order; 16]), *version, body.as_bytes()).unwrap();
        }
        books
    }

    #[test]
    fn books_differ_by_whatever_was_changed_and_not_by_where_keys_stand() {
        let here = books(&[(1, 1, r#","key":7,"sealed":"AA""#), (2, 1, ""), (1, 2, r#","erases":[7]"#)]);
        let moved = books(&[(2, 1, ""), (1, 1, r#","key":1,"sealed":"AA""#), (1, 2, r#","erases":[1]"#)]);
        assert_eq!((here.differs(&moved), here.chains()), (None, moved.chains()));
        assert_eq!(
            (here.lines(), moved.orders[&OrderId::from_bytes([1; 16])].slots.as_slice()),
            (3, &[1][..])
        );
        for (other, word) in [
            (books(&[(1, 1, r#","key":7,"sealed":"AA""#), (2, 1, ""), (1, 2, "")]), "chain"),
            (books(&[(1, 1, r#","key":7,"sealed":"AB""#), (2, 1, ""), (1, 2, r#","erases":[7]"#)]), "chain"),
            (books(&[(1, 1, r#","key":7,"sealed":"AA""#), (2, 1, "")]), "lines"),
            (books(&[(1, 1, r#","key":7,"sealed":"AA""#), (1, 2, r#","erases":[7]"#)]), "lacks"),
        ] {
            let said = here.differs(&other).unwrap();
            assert!(said.contains(word), "{said}");
            assert!(other.differs(&here).is_some() && other.chains() != here.chains());
        }
        let facts = |change: fn(&mut Facts)| {
            let mut other = here.clone();
            other.orders.values_mut().take(1).for_each(|entry| change(&mut entry.facts));
            here.differs(&other).unwrap()
        };
        assert!(facts(|facts| facts.status = "PAID").contains("status"));
        assert!(facts(|facts| facts.due = Some(1)).contains("due"));
        assert!(
            facts(|facts| facts.receipt = Some(ReceiptNumber { year: 2026, place: 1 })).contains("receipt")
        );
        assert!(facts(|facts| facts.keys = "E".to_owned()).contains("keys"));
        let mut other = here.clone();
        other.requests.insert("ab".to_owned(), (OrderId::from_bytes([1; 16]), "cd".to_owned(), 1));
        assert!(here.differs(&other).unwrap().contains("idempotency"));
        let mut late = Books::default();
        assert!(
            late.line(OrderId::from_bytes([1; 16]), 2, br#""at":1,"order":1,"version":2,"events":[]"#)
                .is_err()
        );
    }
}
