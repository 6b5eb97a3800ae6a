//! Reads of one order, or a few, and the sums.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};

use super::row::{Row, Stored, StoredLine, framed, genesis, get, id};
use super::trouble::Trouble;
use super::{Inner, Postgres};
use crate::domain::calendar::Period;
use crate::domain::evidence::Entry;
use crate::domain::payment::Status;
use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::{Email, OrderId, Timestamp};
use crate::ledger::index::indexer::REQUEST_AGE_MAX;
use crate::ledger::index::totals::Sold;
use crate::ledger::journal::Position;
use crate::ledger::record::{Keys, Line, Read, ReadError, Snapshot, decode_body};
use crate::ledger::seal::Keyring;
use crate::ledger::{Counts, LedgerError, Sales, erasure, query};

const ORDERS: &str = include_str!("sql/orders.sql");
const LINES: &str = include_str!("sql/lines.sql");
const LINES_PERSONAL: &str = include_str!("sql/lines_personal.sql");
const KEYS: &str = include_str!("sql/keys.sql");
const RECEIPT: &str = include_str!("sql/receipt.sql");
const NUMBERED: &str = include_str!("sql/numbered.sql");
const KEY: &str = include_str!("sql/key.sql");
const COUNTS: &str = include_str!("sql/counts.sql");
const SALES: &str = include_str!("sql/sales.sql");
const STALLED: &str = include_str!("sql/stalled.sql");
const OLDEST_PENDING: &str = include_str!("sql/oldest_pending.sql");

/// Lines read at one time.
const LINES_MAX: usize = 2000;
/// A line of an order's own chain stands in no segment.
pub(super) const NOWHERE: Position = Position { segment: 0, offset: 0, len: 0 };

impl Postgres {
    pub(in crate::ledger) fn stored(&self, id: OrderId) -> Result<Option<Arc<Row>>, LedgerError> {
        self.block(|inner| async move { inner.row(id).await })
    }

    /// The same for whoever waits anyway.
    pub(in crate::ledger) async fn newest(&self, id: OrderId) -> Result<Option<Arc<Row>>, LedgerError> {
        let asked = self.run(|inner| async move { inner.row(id).await });
        Ok(asked.await.ok_or(LedgerError::Closed)??)
    }

    /// Several at once, in one question. One that cannot be read is left out: it must not be in the way of the others.
    pub(in crate::ledger) async fn several(
        &self,
        ids: Vec<OrderId>,
    ) -> Result<HashMap<OrderId, Arc<Row>>, LedgerError> {
        let asked = self.run(|inner| async move { inner.rows(&ids).await });
        let rows = asked.await.ok_or(LedgerError::Closed)??;
        Ok(rows.into_iter().filter_map(|(id, row)| Some((id, row.ok()?))).collect())
    }

    pub(in crate::ledger) fn history(&self, id: OrderId) -> Result<Vec<Line>, LedgerError> {
        let (lines, ring) = self.block(move |inner| async move { inner.lines_of(&[id]).await })?;
        lines.iter().map(|line| Ok(read(line, &ring)?.line)).collect()
    }

    pub(in crate::ledger) fn evidence(&self, id: OrderId) -> Result<Vec<Entry>, LedgerError> {
        let (lines, ring) = self.block(move |inner| async move { inner.lines_of(&[id]).await })?;
        let mut prev = genesis();
        let mut entries = Vec::with_capacity(lines.len());
        for stored in lines {
            let Line { seq, at, version, events } = read(&stored, &ring)?.line;
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
            rows.first().map(|row| receipt(get(row, 0)?, get(row, 1)?)).transpose()
        })
    }

    /// The order whose receipt has this number.
    pub(super) fn numbered(&self, number: ReceiptNumber) -> Result<Option<OrderId>, LedgerError> {
        self.block(move |inner| async move {
            let (year, place) = (i64::from(number.year), number.place.cast_signed());
            let rows = inner.pool.rows(NUMBERED, &[&year, &place]).await?;
            rows.first().map(|row| id(row, 0)).transpose()
        })
    }

    /// See [`crate::ledger::Ledger::mentions`].
    pub(in crate::ledger) fn mentions(&self, address: &Email) -> Result<Vec<OrderId>, LedgerError> {
        let folded = address.expose().to_lowercase();
        let (mut found, mut last) = (BTreeSet::new(), (Vec::new(), 0));
        loop {
            let from = last.clone();
            let (lines, ring) = self.block(move |inner| async move { inner.personal_after(from).await })?;
            let Some(line) = lines.last() else { return Ok(found.into_iter().collect()) };
            last = (line.order.bytes().to_vec(), i64::from(line.version));
            for line in lines.iter().filter(|line| erasure::may_name(&line.body)) {
                // What does not open tells nobody's address; `ledger verify` tells why it does not.
                if read(line, &ring).is_ok_and(|read| erasure::names(&read.line, &folded)) {
                    found.insert(line.order);
                }
            }
        }
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

    pub(in crate::ledger) fn sales(&self, period: Period) -> Vec<Sales> {
        let (start, end) = (period.start(), period.end());
        let read = self.block(move |inner| async move {
            let mut hours = Vec::new();
            for row in inner.pool.rows(SALES, &[&start.hour(), &end.hour()]).await? {
                let unknown = |_| Trouble::Damaged("an unknown currency".to_owned());
                let (begun, currency) = (Timestamp::of_hour(get(&row, 0)?), get::<&str>(&row, 1)?);
                let (orders, amount) = (get::<i64>(&row, 2)?, get::<i64>(&row, 3)?);
                let sold = Sold { orders: orders.cast_unsigned(), amount: amount.cast_unsigned() };
                hours.push((begun, currency.parse().map_err(unknown)?, sold));
            }
            Ok(hours)
        });
        let hours = read.unwrap_or_else(|error| {
            tracing::warn!(%error, "the sales cannot be read");
            Vec::new()
        });
        query::by_day(period, hours.into_iter().filter(|(begun, ..)| start <= *begun && *begun < end))
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
        self.rows(&[id]).await?.remove(&id).transpose()
    }

    /// Those of these orders that there are, and why one cannot be read. Each with its keys, in one question: what is
    /// erased meanwhile is read as it was, or as it is.
    async fn rows(&self, ids: &[OrderId]) -> Result<HashMap<OrderId, Result<Arc<Row>, Trouble>>, Trouble> {
        let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.bytes().to_vec()).collect();
        let rows = self.pool.rows(ORDERS, &[&ids]).await?;
        let (stored, ring) = Stored::with_keys(&rows, &self.addresses)?;
        let mut found = HashMap::with_capacity(stored.len());
        for order in stored {
            let (id, row) = (order.id, self.whole(order, &ring).await);
            found.insert(id, row.map(Arc::new));
        }
        Ok(found)
    }

    /// The order, what is personal of it opened; one that a program with another format of snapshots wrote is folded again
    /// from its lines.
    pub(super) async fn whole(&self, stored: Stored, ring: &Keyring) -> Result<Row, Trouble> {
        let snapshot = match stored.state {
            Some(state) => {
                let (payment, vault) = state.thaw(ring)?;
                Snapshot { payment: Arc::new(payment), vault, lines: Vec::new() }
            }
            None => {
                let lines = self.lines(&[stored.id]).await?;
                let mut snapshot: Option<Snapshot> = None;
                for line in lines.iter().take_while(|line| line.version <= stored.version) {
                    let next = Snapshot::after(snapshot.as_ref(), &read(line, ring)?, NOWHERE, ring);
                    let next = next.map_err(Trouble::Damaged)?;
                    snapshot = Some(Snapshot { lines: Vec::new(), ..next });
                }
                snapshot.ok_or_else(|| Trouble::Damaged("an order without lines".to_owned()))?
            }
        };
        let payment = &snapshot.payment;
        let is_other = payment.id != stored.id || payment.version != stored.version;
        if failpoint_choice!("UNFENCED", false, is_other) {
            return Err(Trouble::Damaged("a snapshot of another order or version".to_owned()));
        }
        Ok(Row { snapshot, head: stored.head })
    }

    async fn lines(&self, ids: &[OrderId]) -> Result<Vec<StoredLine>, Trouble> {
        let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.bytes().to_vec()).collect();
        self.pool.rows(LINES, &[&ids]).await?.iter().map(StoredLine::of).collect()
    }

    /// Lines with their keys. The keys are read last: whatever a line needs is among them, unless it was erased meanwhile.
    pub(super) async fn lines_of(&self, ids: &[OrderId]) -> Result<(Vec<StoredLine>, Keyring), Trouble> {
        let lines = self.lines(ids).await?;
        Ok((lines, self.keys(ids).await?))
    }

    /// Some of the lines with something personal after that version of that order, by order, with the keys of them all.
    async fn personal_after(
        &self,
        (order, version): (Vec<u8>, i64),
    ) -> Result<(Vec<StoredLine>, Keyring), Trouble> {
        let limit = i64::try_from(LINES_MAX).unwrap_or(i64::MAX);
        let rows = self.pool.rows(LINES_PERSONAL, &[&order, &version, &limit]).await?;
        let lines: Vec<StoredLine> = rows.iter().map(StoredLine::of).collect::<Result<_, _>>()?;
        let mut ids: Vec<OrderId> = lines.iter().map(|line| line.order).collect();
        ids.dedup();
        Ok((lines, self.keys(&ids).await?))
    }

    /// The keys of these orders.
    pub(super) async fn keys(&self, ids: &[OrderId]) -> Result<Keyring, Trouble> {
        let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.bytes().to_vec()).collect();
        let rows = self.pool.rows(KEYS, &[&ids]).await?;
        let key = |row| Ok((id(row, 0)?, get::<i64>(row, 1)?.cast_unsigned(), get(row, 2)?));
        let keys: Vec<_> = rows.iter().map(key).collect::<Result<_, Trouble>>()?;
        Ok(Keyring::of_rows(&self.addresses, keys.into_iter()))
    }

    /// What an idempotency key stands for, and since when.
    pub(super) async fn key(&self, key: &str) -> Result<Option<(OrderId, String, Timestamp)>, Trouble> {
        let rows = self.pool.rows(KEY, &[&key]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some((id(row, 0)?, get(row, 1)?, Timestamp::from_millis(get(row, 2)?))))
    }
}

/// A receipt's number, as it is stored.
pub(super) fn receipt(year: i64, place: i64) -> Result<ReceiptNumber, Trouble> {
    let range = |_| Trouble::Damaged("a receipt's number out of range".to_owned());
    let (year, place) = (i16::try_from(year).map_err(range)?, u64::try_from(place).map_err(range)?);
    Ok(ReceiptNumber { year, place })
}

/// What a stored line says.
pub(super) fn read(stored: &StoredLine, ring: &Keyring) -> Result<Read, Trouble> {
    checked(stored, Keys::Of(ring))
}

/// The same with whatever keys there are.
pub(super) fn checked(stored: &StoredLine, keys: Keys<'_>) -> Result<Read, Trouble> {
    let read = decode_body(u64::from(stored.version), &stored.body, keys).map_err(|error| match error {
        ReadError::Lost(lost) => Trouble::Lost(lost),
        ReadError::Line(reason) | ReadError::Keys(reason) => Trouble::Damaged(reason),
    })?;
    if read.order != stored.order || read.line.version != stored.version {
        return Err(Trouble::Damaged("a line of another order or version".to_owned()));
    }
    Ok(read)
}
