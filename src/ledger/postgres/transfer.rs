//! Moving a whole ledger in or out: what `ledger migrate` asks of the database. No node is at work meanwhile.

use std::collections::{BTreeMap, HashMap};

use super::read::receipt;
use super::row::{StoredLine, get, id, number};
use super::trouble::Trouble;
use super::{Inner, Postgres};
use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::OrderId;
use crate::ledger::LedgerError;
use crate::ledger::index::indexer::REQUEST_AGE_MAX;
use crate::ledger::seal::{Addresses, Keyring};

const MARK: &str = include_str!("sql/transfer_mark.sql");
const OPEN: &str = include_str!("sql/transfer_open.sql");
const END: &str = include_str!("sql/transfer_end.sql");
const USED: &str = include_str!("sql/transfer_used.sql");
const NODES: &str = include_str!("sql/transfer_nodes.sql");
const LINES_COUNT: &str = include_str!("sql/transfer_lines_count.sql");
const ORDERS: &str = include_str!("sql/transfer_orders.sql");
const LINES: &str = include_str!("sql/transfer_lines.sql");
const THERE: &str = include_str!("sql/transfer_there.sql");
const REQUESTS: &str = include_str!("sql/transfer_requests.sql");
const SERIES: &str = include_str!("sql/transfer_series.sql");

/// Orders read at one time.
const ORDERS_MAX: i64 = 500;

/// What the database says of a ledger that was moved into it, or is being moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ledger) struct Mark {
    /// Which ledger: the hash of its first line.
    pub(in crate::ledger) source: String,
    /// The hash of its last line.
    pub(in crate::ledger) head: String,
    /// How many lines it has.
    pub(in crate::ledger) lines: i64,
    /// All of it is there, and was compared.
    pub(in crate::ledger) finished: bool,
}

/// An order as the database has it, with its lines.
pub(in crate::ledger) struct Stand {
    pub(in crate::ledger) id: OrderId,
    pub(in crate::ledger) version: u32,
    /// The hash of its last line.
    pub(in crate::ledger) head: String,
    pub(in crate::ledger) status: String,
    pub(in crate::ledger) due_ms: Option<i64>,
    pub(in crate::ledger) receipt: Option<ReceiptNumber>,
    /// Empty where only the orders were asked for.
    pub(in crate::ledger) lines: Vec<StoredLine>,
}

/// An idempotency key, and what it stands for: the order, the fingerprint, since when.
pub(in crate::ledger) type Stood = BTreeMap<String, (OrderId, String, i64)>;

// === impl Postgres ===

impl Postgres {
    /// What hashes addresses here.
    pub(in crate::ledger) fn addresses(&self) -> &Addresses {
        &self.inner.addresses
    }

    pub(in crate::ledger) fn mark(&self) -> Result<Option<Mark>, LedgerError> {
        self.block(|inner| async move { inner.mark().await })
    }

    /// Notes that a ledger is being moved here, unless one is noted already. From then on no node starts.
    pub(in crate::ledger) fn open_transfer(&self, mark: &Mark) -> Result<(), LedgerError> {
        let Mark { source, head, lines, .. } = mark.clone();
        self.block(
            move |inner| async move { inner.pool.count(OPEN, &[&source, &head, &lines]).await.map(drop) },
        )
    }

    /// Notes that it is finished. From then on nodes start.
    pub(in crate::ledger) fn end_transfer(&self, chains: &str) -> Result<(), LedgerError> {
        let chains = chains.to_owned();
        self.block(move |inner| async move { inner.pool.count(END, &[&chains]).await.map(drop) })
    }

    /// Whether anything stands in it.
    pub(in crate::ledger) fn is_used(&self) -> Result<bool, LedgerError> {
        self.block(|inner| async move {
            let rows = inner.pool.rows(USED, &[]).await?;
            rows.first().map_or(Ok(false), |row| get(row, 0))
        })
    }

    /// Nodes that were heard of within the last minute, and have not said that they end.
    pub(in crate::ledger) fn nodes(&self) -> Result<i64, LedgerError> {
        self.block(|inner| async move { inner.first_number(NODES).await })
    }

    pub(in crate::ledger) fn lines_count(&self) -> Result<u64, LedgerError> {
        let count = self.block(|inner| async move { inner.first_number(LINES_COUNT).await })?;
        Ok(count.cast_unsigned())
    }

    /// Some of the orders after that one, without their lines.
    pub(in crate::ledger) fn stands_after(&self, last: Option<OrderId>) -> Result<Vec<Stand>, LedgerError> {
        self.block(move |inner| async move { inner.stands_after(last).await })
    }

    /// The same with lines and keys.
    pub(in crate::ledger) fn whole_after(
        &self,
        last: Option<OrderId>,
    ) -> Result<(Vec<Stand>, Keyring), LedgerError> {
        self.block(move |inner| async move {
            let mut stands = inner.stands_after(last).await?;
            let ids: Vec<OrderId> = stands.iter().map(|stand| stand.id).collect();
            let (lines, ring) = inner.lines_of(&ids).await?;
            let mut of: HashMap<OrderId, Vec<StoredLine>> = HashMap::new();
            lines.into_iter().for_each(|line| of.entry(line.order).or_default().push(line));
            for stand in &mut stands {
                stand.lines = of.remove(&stand.id).unwrap_or_default();
            }
            Ok((stands, ring))
        })
    }

    /// The bodies of these versions of these orders, in that order.
    pub(in crate::ledger) fn bodies(&self, wanted: Vec<(OrderId, u32)>) -> Result<Vec<Vec<u8>>, LedgerError> {
        self.block(move |inner| async move {
            let ids: Vec<Vec<u8>> = wanted.iter().map(|(id, _)| id.bytes().to_vec()).collect();
            let versions: Vec<i64> = wanted.iter().map(|(_, version)| i64::from(*version)).collect();
            let rows = inner.pool.rows(LINES, &[&ids, &versions]).await?;
            let lines = rows.iter().map(StoredLine::of).map(|line| {
                let StoredLine { order, version, body, .. } = line?;
                Ok(((order, version), body))
            });
            let mut lines: HashMap<(OrderId, u32), Vec<u8>> = lines.collect::<Result<_, Trouble>>()?;
            let missing = || Trouble::Damaged("a line is not there any more".to_owned());
            wanted.iter().map(|place| lines.remove(place).ok_or_else(missing)).collect()
        })
    }

    /// Idempotency keys younger than a day, counted from the newest order.
    pub(in crate::ledger) fn requests(&self) -> Result<Stood, LedgerError> {
        self.block(|inner| async move {
            let age = i64::try_from(REQUEST_AGE_MAX.as_millis()).unwrap_or(i64::MAX);
            let rows = inner.pool.rows(REQUESTS, &[&age]).await?;
            let one = |row| Ok((get(row, 0)?, (id(row, 1)?, get(row, 2)?, get(row, 3)?)));
            rows.iter().map(one).collect()
        })
    }

    /// Those of these orders that are there already.
    pub(in crate::ledger) fn there(&self, ids: &[OrderId]) -> Result<Vec<OrderId>, LedgerError> {
        let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.bytes().to_vec()).collect();
        self.block(move |inner| async move {
            let rows = inner.pool.rows(THERE, &[&ids]).await?;
            rows.iter().map(|row| id(row, 0)).collect()
        })
    }

    /// Where the receipts' numbers of each year go on.
    pub(in crate::ledger) fn put_series(&self, last: &BTreeMap<i16, u64>) -> Result<(), LedgerError> {
        let years: Vec<i64> = last.keys().map(|year| i64::from(*year)).collect();
        let last: Vec<i64> = last.values().map(|last| last.cast_signed()).collect();
        self.block(move |inner| async move { inner.pool.count(SERIES, &[&years, &last]).await.map(drop) })
    }
}

// === impl Inner ===

impl Inner {
    pub(super) async fn mark(&self) -> Result<Option<Mark>, Trouble> {
        let rows = self.pool.rows(MARK, &[]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (source, head, lines, finished) = (get(row, 0)?, get(row, 1)?, get(row, 2)?, get(row, 3)?);
        Ok(Some(Mark { source, head, lines, finished }))
    }

    async fn first_number(&self, sql: &str) -> Result<i64, Trouble> {
        let rows = self.pool.rows(sql, &[]).await?;
        rows.first().map_or(Ok(0), |row| get(row, 0))
    }

    async fn stands_after(&self, last: Option<OrderId>) -> Result<Vec<Stand>, Trouble> {
        let from = last.map_or_else(Vec::new, |id| id.bytes().to_vec());
        let rows = self.pool.rows(ORDERS, &[&from, &ORDERS_MAX]).await?;
        let stand = |row| {
            let year_and_place: (Option<i64>, Option<i64>) = (get(row, 5)?, get(row, 6)?);
            let receipt = match year_and_place {
                (Some(year), Some(place)) => Some(receipt(year, place)?),
                _ => None,
            };
            Ok(Stand {
                id: id(row, 0)?,
                version: number(get(row, 1)?)?,
                head: get(row, 2)?,
                status: get(row, 3)?,
                due_ms: get(row, 4)?,
                receipt,
                lines: Vec::new(),
            })
        };
        rows.iter().map(stand).collect()
    }
}
