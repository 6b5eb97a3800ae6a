//! Verifying the shared ledger: every order's chain, its fold, its receipt. A daemon may be at work meanwhile.

use std::collections::BTreeMap;

use super::read::checked;
use super::row::{Stored, StoredLine, framed, genesis, get};
use super::trouble::Trouble;
use super::{Inner, Postgres};
use crate::domain::event::Event;
use crate::domain::invariants::violations;
use crate::domain::payment::Payment;
use crate::domain::values::OrderId;
use crate::ledger::record::{Kept, Keys, Read};
use crate::ledger::seal::{Held, Keyring};
use crate::ledger::{LedgerError, Report};

const ORDERS: &str = include_str!("sql/verify_orders.sql");
const RECEIPTS: &str = include_str!("sql/verify_receipts.sql");
const ORPHANS: &str = include_str!("sql/verify_orphans.sql");
const ORPHAN_KEYS: &str = include_str!("sql/verify_orphan_keys.sql");
const PAID: &str = include_str!("sql/verify_paid.sql");

/// Orders read at one time.
const ORDERS_MAX: usize = 500;

impl Postgres {
    /// Walks every order: versions without gaps, hashes, the order of events, the invariants, that the snapshot is the
    /// fold and the head the last hash; keys that are lost, or left after an erasure; receipts without gaps.
    pub(in crate::ledger) fn verify(&self, progress: &mut dyn FnMut(&Report)) -> Result<Report, LedgerError> {
        let mut report = Report::default();
        let mut last = Vec::new();
        loop {
            let from = last.clone();
            let (orders, lines, ring) = self.block(move |inner| async move { inner.page(&from).await })?;
            let Some(newest) = orders.last() else { break };
            last = newest.id.bytes().to_vec();
            for stored in orders {
                let lines = lines.get(&stored.id).map_or(&[][..], Vec::as_slice);
                examine(stored, lines, &ring, &mut report);
            }
            progress(&report);
        }
        for finding in self.block(|inner| async move { inner.sums().await })? {
            report.find(finding);
        }
        report.index_compared = true;
        Ok(report)
    }
}

impl Inner {
    /// Some orders after `from`, the lines of each, their keys. The lines are read after the orders: there may be more of
    /// them. The keys are read last: what is erased meanwhile is erased in what was read before, too.
    async fn page(
        &self,
        from: &[u8],
    ) -> Result<(Vec<Stored>, BTreeMap<OrderId, Vec<StoredLine>>, Keyring), Trouble> {
        let limit = i64::try_from(ORDERS_MAX).unwrap_or(i64::MAX);
        let rows = self.pool.rows(ORDERS, &[&from, &limit]).await?;
        let orders: Vec<Stored> = rows.iter().map(Stored::of).collect::<Result<_, _>>()?;
        let ids: Vec<OrderId> = orders.iter().map(|order| order.id).collect();
        let mut lines: BTreeMap<OrderId, Vec<StoredLine>> = BTreeMap::new();
        let (read, ring) = self.lines_of(&ids).await?;
        for line in read {
            lines.entry(line.order).or_default().push(line);
        }
        Ok((orders, lines, ring))
    }

    /// What is wrong with what belongs to no single order.
    async fn sums(&self) -> Result<Vec<String>, Trouble> {
        let mut findings = Vec::new();
        for row in self.pool.rows(RECEIPTS, &[]).await? {
            let (year, count): (i64, i64) = (get(&row, 0)?, get(&row, 1)?);
            let (first, last, series): (i64, i64, i64) = (get(&row, 2)?, get(&row, 3)?, get(&row, 4)?);
            if first != 1 || last != count || series != count {
                findings.push(format!(
                    "receipts of {year}: {count} of them, from {first} to {last}, and the series stands at {series}"
                ));
            }
        }
        let counts = [
            (ORPHANS, "lines without an order"),
            (ORPHAN_KEYS, "keys without an order"),
            (PAID, "paid orders without a receipt"),
        ];
        for (sql, what) in counts {
            let rows = self.pool.rows(sql, &[]).await?;
            let count: i64 = rows.first().map_or(Ok(0), |row| get(row, 0))?;
            if count > 0 {
                findings.push(format!("{count} {what}"));
            }
        }
        Ok(findings)
    }
}

/// What the lines of one order tell.
#[derive(Default)]
struct Told {
    payment: Option<Payment>,
    history: Vec<Event>,
    /// The keys that its lines were sealed with, and whether a line says that they are destroyed.
    keys: Vec<(u64, bool)>,
    given_up: bool,
}

fn examine(stored: Stored, lines: &[StoredLine], ring: &Keyring, report: &mut Report) {
    report.orders += 1;
    let id = stored.id;
    let mut prev = genesis();
    let mut told = Told::default();
    let before = report.findings_total;
    for (line, expected) in lines.iter().zip(1_u32..=stored.version) {
        if line.version != expected {
            return report.find(format!("{id}: version {expected} is missing"));
        }
        match framed(line.version, &prev, &line.body) {
            Some((bytes, hash)) if hash == line.hash => report.bytes += bytes.len() as u64,
            _ => return report.find(format!("{id}: the chain is broken at version {expected}")),
        }
        prev.clone_from(&line.hash);
        let seen = opened(line, ring, report).and_then(|read| {
            if !line.personal && read.kept != Kept::None {
                report.find(format!(
                    "{id}: version {expected} is not found where somebody's data are looked for"
                ));
            }
            told.see(id, read).map_err(Trouble::Damaged)
        });
        if let Err(trouble) = seen {
            return report.find(format!("{id}: version {expected}: {trouble}"));
        }
        report.lines += 1;
    }
    let Some(payment) = told.payment.as_ref().filter(|payment| payment.version == stored.version) else {
        return report.find(format!("{id}: it has fewer lines than versions ({})", stored.version));
    };
    if prev != stored.head {
        report.find(format!("{id}: its head is not the hash of its last line"));
    }
    told.judge_keys(id, ring, report);
    let whole = report.findings_total == before;
    match stored.state.map(|state| state.thaw(ring)) {
        // A key that is lost was found in the lines.
        None => {}
        Some(Err(_)) if !whole => {}
        Some(Ok((state, _))) if state == *payment => {}
        Some(Ok(_)) => report.find(format!("{id}: its snapshot is not what its events give")),
        Some(Err(error)) => report.find(format!("{id}: {error}")),
    }
    if report.findings_total == before {
        for violation in violations(payment, &told.history) {
            report.find(violation);
        }
    }
}

/// A line with its personal part. One whose key is lost is found, and goes on as if it had been erased.
fn opened(line: &StoredLine, ring: &Keyring, report: &mut Report) -> Result<Read, Trouble> {
    match checked(line, Keys::Of(ring)) {
        Err(Trouble::Lost(lost)) => {
            report.find(lost.to_string());
            checked(line, Keys::None)
        }
        outcome => outcome,
    }
}

impl Told {
    /// Takes a line in.
    fn see(&mut self, id: OrderId, read: Read) -> Result<(), String> {
        let Read { line, kept, erases, .. } = read;
        if let Kept::Sealed(slot, held) = kept {
            self.keys.push((slot, false));
            self.given_up |= held == Held::GivenUp;
        }
        self.keys.iter_mut().for_each(|(slot, gone)| *gone |= erases.contains(slot));
        let next = Payment::evolve(self.payment.as_ref(), id, &line.events, line.at);
        self.payment = Some(next.map_err(|error| error.to_string())?);
        self.history.extend(line.events);
        Ok(())
    }

    /// Counts what was erased and given up, and finds erasures whose keys are still there.
    fn judge_keys(&self, id: OrderId, ring: &Keyring, report: &mut Report) {
        let erased = self.payment.as_ref().is_some_and(|payment| payment.erased_at.is_some());
        report.erased += u64::from(erased);
        report.given_up += u64::from(self.given_up && !erased);
        for (slot, _) in self.keys.iter().filter(|(_, gone)| *gone) {
            if matches!(ring.get(*slot, id), Ok(Held::Live(_))) {
                report.find(format!(
                    "{id}: effacée, mais sa clé {slot} existe encore: une copie plus ancienne de auditshield_order_keys a \
                     été remise en place; effacez encore / erased, but its key {slot} is still there: an older copy of \
                     auditshield_order_keys was put back; erase once more"
                ));
            }
        }
    }
}
