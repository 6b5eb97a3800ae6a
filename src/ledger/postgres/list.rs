//! Reads that search: what is due, lists of orders.

use std::time::Duration;

use super::row::{Stored, get, id};
use super::trouble::Trouble;
use super::{Inner, Postgres};
use crate::domain::payment::{Payment, Status};
use crate::domain::values::{OrderId, Timestamp};
use crate::ledger::LedgerError;
use crate::ledger::query::{Bounds, PAGE_ORDERS_MAX, Page, Query, Search, id_bounds};
use crate::ledger::record::folded_hash;

const DUE: &str = include_str!("sql/due.sql");
const LIST: &str = include_str!("sql/list.sql");

/// How long after its time an order of another node is seen as due: as a rule that node is at work on it.
const HOME_SECONDS: u64 = 2;

impl Postgres {
    pub(in crate::ledger) fn due(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Timestamp, OrderId)>, LedgerError> {
        self.block(move |inner| async move { inner.due(now, limit).await })
    }

    /// The same for whoever must not block.
    pub(in crate::ledger) async fn look(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Timestamp, OrderId)>, LedgerError> {
        let asked = self.run(move |inner| async move { inner.due(now, limit).await });
        Ok(asked.await.ok_or(LedgerError::Closed)??)
    }

    pub(in crate::ledger) fn list(&self, query: &Query) -> Result<Page, LedgerError> {
        let limit = query.limit.clamp(1, PAGE_ORDERS_MAX);
        if query.status.as_ref().is_some_and(|name| !Status::NAMES.contains(&name.as_str())) {
            return Ok(Page::default());
        }
        let bounds = id_bounds(query, |number| self.numbered(number))?;
        let Some(Bounds { search, low, high }) = bounds else { return Ok(Page::default()) };
        let (mut email, mut tx) = (None, None);
        match &search {
            Search::Id => {}
            Search::Email(address) => email = Some(self.inner.addresses.hash(address).to_vec()),
            Search::Transaction(number) => tx = Some(folded_hash(number).to_vec()),
        }
        let (low, high, status, stalled) = (low.to_vec(), high.to_vec(), query.status.clone(), query.stalled);
        let mut orders: Vec<Payment> = self.block(move |inner| async move {
            let more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
            let rows = inner.pool.rows(LIST, &[&low, &high, &status, &email, &tx, &stalled, &more]).await?;
            let (stored, ring) = Stored::with_keys(&rows, &inner.addresses)?;
            let mut orders = Vec::with_capacity(stored.len());
            for order in stored {
                let row = inner.whole(order, &ring).await?;
                orders.push(Payment::clone(row.payment()));
            }
            Ok(orders)
        })?;
        let more = orders.len() > limit;
        orders.truncate(limit);
        let next_cursor = orders.last().filter(|_| more).map(|payment| payment.id);
        // Addresses have short hashes: another one may have the same.
        if let Search::Email(address) = &search {
            orders.retain(|payment| payment.buyer.email.expose().to_lowercase() == *address);
        }
        Ok(Page { orders, next_cursor })
    }
}

impl Inner {
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<(Timestamp, OrderId)>, Trouble> {
        let (now, others) = (now.millis(), now.minus(Duration::from_secs(HOME_SECONDS)).millis());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.pool.rows(DUE, &[&now, &self.node, &others, &limit]).await?;
        rows.iter().map(|row| Ok((Timestamp::from_millis(get(row, 0)?), id(row, 1)?))).collect()
    }
}
