//! Verifying the shared ledger: every order's chain, its fold, its receipt. A daemon may be at work meanwhile.

use std::collections::BTreeMap;

use super::read::folded;
use super::row::{Stored, StoredLine, framed, genesis, get};
use super::trouble::Trouble;
use super::{Inner, Postgres};
use crate::domain::invariants::violations;
use crate::domain::payment::Payment;
use crate::domain::values::OrderId;
use crate::ledger::{LedgerError, Report};

const ORDERS: &str = include_str!("sql/verify_orders.sql");
const RECEIPTS: &str = include_str!("sql/verify_receipts.sql");
const ORPHANS: &str = include_str!("sql/verify_orphans.sql");
const PAID: &str = include_str!("sql/verify_paid.sql");

/// Orders read at one time.
const ORDERS_MAX: usize = 500;

impl Postgres {
    /// Walks every order: versions without gaps, hashes, the order of events, the invariants, that the snapshot is the
    /// fold and the head the last hash; receipts without gaps.
    pub(in crate::ledger) fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<Report, LedgerError> {
        let mut report = Report::default();
        let mut last = Vec::new();
        loop {
            let from = last.clone();
            let (orders, lines) = self.block(move |inner| async move { inner.page(&from).await })?;
            let Some(newest) = orders.last() else { break };
            last = newest.id.bytes().to_vec();
            for stored in orders {
                let lines = lines.get(&stored.id).map_or(&[][..], Vec::as_slice);
                examine(&stored, lines, &mut report);
            }
            progress(report.bytes);
        }
        for finding in self.block(|inner| async move { inner.sums().await })? {
            report.find(finding);
        }
        report.index_compared = true;
        Ok(report)
    }
}

impl Inner {
    /// Some orders after `from`, and the lines of each. The lines are read after the orders: there may be more of them.
    async fn page(&self, from: &[u8]) -> Result<(Vec<Stored>, BTreeMap<OrderId, Vec<StoredLine>>), Trouble> {
        let limit = i64::try_from(ORDERS_MAX).unwrap_or(i64::MAX);
        let rows = self.pool.rows(ORDERS, &[&from, &limit]).await?;
        let orders: Vec<Stored> = rows.iter().map(Stored::of).collect::<Result<_, _>>()?;
        let ids: Vec<OrderId> = orders.iter().map(|order| order.id).collect();
        let mut lines: BTreeMap<OrderId, Vec<StoredLine>> = BTreeMap::new();
        for line in self.lines(&ids).await? {
            lines.entry(line.order).or_default().push(line);
        }
        Ok((orders, lines))
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
        for (sql, what) in [(ORPHANS, "lines without an order"), (PAID, "paid orders without a receipt")] {
            let rows = self.pool.rows(sql, &[]).await?;
            let count: i64 = rows.first().map_or(Ok(0), |row| get(row, 0))?;
            if count > 0 {
                findings.push(format!("{count} {what}"));
            }
        }
        Ok(findings)
    }
}

fn examine(stored: &Stored, lines: &[StoredLine], report: &mut Report) {
    report.orders += 1;
    let id = stored.id;
    let mut prev = genesis();
    let mut payment: Option<Payment> = None;
    let mut history = Vec::new();
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
        match folded(payment.as_ref(), line) {
            Ok(next) => payment = Some(next),
            Err(trouble) => return report.find(format!("{id}: version {expected}: {trouble}")),
        }
        history.extend(super::read::read(line).into_iter().flat_map(|line| line.events));
        report.lines += 1;
    }
    if payment.as_ref().is_none_or(|payment| payment.version != stored.version) {
        return report.find(format!("{id}: it has fewer lines than versions ({})", stored.version));
    }
    if prev != stored.head {
        report.find(format!("{id}: its head is not the hash of its last line"));
    }
    if stored.payment.is_some() && stored.payment != payment {
        report.find(format!("{id}: its snapshot is not what its events give"));
    }
    if report.findings_total == before
        && let Some(payment) = &payment
    {
        for violation in violations(payment, &history) {
            report.find(violation);
        }
    }
}
