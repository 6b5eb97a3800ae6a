//! Reads of one order, or a few, and the sums.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError};

use super::row::{Row, Stored, StoredLine, framed, genesis, get, id};
use super::trouble::Trouble;
use super::{Inner, Postgres};
use crate::domain::evidence::Entry;
use crate::domain::payment::{Payment, Status};
use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::{OrderId, Timestamp};
use crate::ledger::index::indexer::REQUEST_AGE_MAX;
use crate::ledger::record::{Line, decode_body};
use crate::ledger::{Counts, LedgerError, Sales};

const ORDERS: &str = include_str!("sql/orders.sql");
const LINES: &str = include_str!("sql/lines.sql");
const RECEIPT: &str = include_str!("sql/receipt.sql");
const KEY: &str = include_str!("sql/key.sql");
const COUNTS: &str = include_str!("sql/counts.sql");
const SALES: &str = include_str!("sql/sales.sql");
const STALLED: &str = include_str!("sql/stalled.sql");
const OLDEST_PENDING: &str = include_str!("sql/oldest_pending.sql");

impl Postgres {
    pub(in crate::ledger) fn stored(&self, id: OrderId) -> Result<Option<Arc<Row>>, LedgerError> {
        self.block(|inner| async move { inner.row(id).await })
    }

    /// The same for whoever waits anyway.
    pub(in crate::ledger) async fn newest(&self, id: OrderId) -> Result<Option<Arc<Row>>, LedgerError> {
        let asked = self.run(|inner| async move { inner.row(id).await });
        Ok(asked.await.ok_or(LedgerError::Closed)??)
    }

    /// Several at once, in one question.
    pub(in crate::ledger) async fn several(
        &self,
        ids: Vec<OrderId>,
    ) -> Result<HashMap<OrderId, Arc<Row>>, LedgerError> {
        let asked = self.run(|inner| async move { inner.rows(&ids).await });
        Ok(asked.await.ok_or(LedgerError::Closed)??)
    }

    pub(in crate::ledger) fn history(&self, id: OrderId) -> Result<Vec<Line>, LedgerError> {
        let lines = self.block(move |inner| async move { inner.lines(&[id]).await })?;
        lines.iter().map(|line| read(line).map_err(LedgerError::from)).collect()
    }

    pub(in crate::ledger) fn evidence(&self, id: OrderId) -> Result<Vec<Entry>, LedgerError> {
        let lines = self.block(move |inner| async move { inner.lines(&[id]).await })?;
        let mut prev = genesis();
        let mut entries = Vec::with_capacity(lines.len());
        for stored in lines {
            let Line { seq, at, version, events } = read(&stored)?;
            let damaged = || LedgerError::Line("the chain is broken".to_owned());
            let (bytes, hash) = framed(version, &prev, &stored.body).ok_or_else(damaged)?;
            if hash != stored.hash {
                return Err(damaged());
            }
            let text = String::from_utf8(bytes).map_err(|_| LedgerError::Line("not UTF-8".into()))?;
            prev.clone_from(&hash);
            entries.push(Entry { seq, at, version, events, text, hash });
        }
        Ok(entries)
    }

    pub(in crate::ledger) fn receipt(&self, id: OrderId) -> Result<Option<ReceiptNumber>, LedgerError> {
        self.block(move |inner| async move {
            let rows = inner.pool.rows(RECEIPT, &[&id.bytes().to_vec()]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            let range = |_| Trouble::Damaged("a receipt's number out of range".to_owned());
            let year = i16::try_from(get::<i64>(row, 0)?).map_err(range)?;
            let place = u64::try_from(get::<i64>(row, 1)?).map_err(range)?;
            Ok(Some(ReceiptNumber { year, place }))
        })
    }

    pub(in crate::ledger) fn find_key(
        &self,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<(OrderId, String)>, LedgerError> {
        let key = key.to_owned();
        let found = self.block(|inner| async move { inner.key(&key).await })?;
        let young = found.filter(|(_, _, at)| now.since(*at) < REQUEST_AGE_MAX);
        Ok(young.map(|(order, fingerprint, _)| (order, fingerprint)))
    }

    /// Orders per status. While the database is away: as they were when it was last asked.
    pub(in crate::ledger) fn counts(&self) -> Counts {
        let read = self.block(|inner| async move {
            let mut counts = Counts::default();
            for row in inner.pool.rows(COUNTS, &[]).await? {
                let name: &str = get(&row, 0)?;
                if let Some(place) = Status::NAMES.iter().position(|known| *known == name) {
                    counts.0[place] = get::<i64>(&row, 1)?.cast_unsigned();
                }
            }
            Ok(counts)
        });
        let mut known = self.inner.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(read) = read {
            *known = read;
        }
        *known
    }

    pub(in crate::ledger) fn sales(&self, days: &RangeInclusive<i64>) -> Vec<Sales> {
        let (first, last) = (*days.start(), *days.end());
        let read = self.block(move |inner| async move {
            let mut sales = Vec::new();
            for row in inner.pool.rows(SALES, &[&first, &last]).await? {
                let unknown = |_| Trouble::Damaged("an unknown currency".to_owned());
                let currency = get::<&str>(&row, 1)?.parse().map_err(unknown)?;
                let (orders, amount) = (get::<i64>(&row, 2)?, get::<i64>(&row, 3)?);
                let (orders, amount) = (orders.cast_unsigned(), amount.cast_unsigned());
                sales.push(Sales { day: get(&row, 0)?, currency, orders, amount });
            }
            Ok(sales)
        });
        read.unwrap_or_else(|error| {
            tracing::warn!(%error, "the sales cannot be read");
            Vec::new()
        })
    }

    pub(in crate::ledger) fn stalled(&self) -> usize {
        let read = self.block(|inner| async move {
            let rows = inner.pool.rows(STALLED, &[]).await?;
            rows.first().map_or(Ok(0), |row| get::<i64>(row, 0))
        });
        let count = read.unwrap_or_else(|error| {
            tracing::warn!(%error, "the stalled mails cannot be counted");
            0
        });
        usize::try_from(count).unwrap_or(0)
    }

    pub(in crate::ledger) fn oldest_pending(&self) -> Result<Option<Timestamp>, LedgerError> {
        let oldest = self.block(|inner| async move {
            let rows = inner.pool.rows(OLDEST_PENDING, &[]).await?;
            rows.first().map(|row| get::<i64>(row, 0)).transpose()
        })?;
        Ok(oldest.map(Timestamp::from_millis))
    }
}

impl Inner {
    pub(super) async fn row(&self, id: OrderId) -> Result<Option<Arc<Row>>, Trouble> {
        Ok(self.rows(&[id]).await?.remove(&id))
    }

    pub(super) async fn rows(&self, ids: &[OrderId]) -> Result<HashMap<OrderId, Arc<Row>>, Trouble> {
        let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.bytes().to_vec()).collect();
        let mut found = HashMap::with_capacity(ids.len());
        for row in self.pool.rows(ORDERS, &[&ids]).await? {
            let row = self.whole(Stored::of(&row)?).await?;
            found.insert(row.payment.id, Arc::new(row));
        }
        Ok(found)
    }

    /// The order; one that a program with another format of snapshots wrote is folded again from its events.
    pub(super) async fn whole(&self, stored: Stored) -> Result<Row, Trouble> {
        let payment = match stored.payment {
            Some(payment) => payment,
            None => {
                let lines = self.lines(&[stored.id]).await?;
                let mut payment = None;
                for line in lines.iter().take_while(|line| line.version <= stored.version) {
                    payment = Some(folded(payment.as_ref(), line)?);
                }
                payment.ok_or_else(|| Trouble::Damaged("an order without lines".to_owned()))?
            }
        };
        if payment.id != stored.id || payment.version != stored.version {
            return Err(Trouble::Damaged("a snapshot of another order or version".to_owned()));
        }
        Ok(Row { payment: Arc::new(payment), head: stored.head })
    }

    pub(super) async fn lines(&self, ids: &[OrderId]) -> Result<Vec<StoredLine>, Trouble> {
        let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.bytes().to_vec()).collect();
        self.pool.rows(LINES, &[&ids]).await?.iter().map(StoredLine::of).collect()
    }

    /// What an idempotency key stands for, and since when.
    pub(super) async fn key(&self, key: &str) -> Result<Option<(OrderId, String, Timestamp)>, Trouble> {
        let rows = self.pool.rows(KEY, &[&key]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some((id(row, 0)?, get(row, 1)?, Timestamp::from_millis(get(row, 2)?))))
    }
}

/// What a stored line says.
pub(super) fn read(stored: &StoredLine) -> Result<Line, Trouble> {
    let (order, line) = decode_body(u64::from(stored.version), &stored.body).map_err(Trouble::Damaged)?;
    if order != stored.order || line.version != stored.version {
        return Err(Trouble::Damaged("a line of another order or version".to_owned()));
    }
    Ok(line)
}

/// The order after one more of its lines.
pub(super) fn folded(before: Option<&Payment>, stored: &StoredLine) -> Result<Payment, Trouble> {
    let line = read(stored)?;
    Payment::evolve(before, stored.order, &line.events, line.at)
        .map_err(|error| Trouble::Damaged(error.to_string()))
}
