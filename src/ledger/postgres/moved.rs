//! Orders of a journal on their way into the database: each with all that belongs to it, in one statement with others.

use std::sync::Arc;

use tokio_postgres::types::ToSql;

use super::pool::Value;
use super::read::NOWHERE;
use super::row::{Columns, framed, genesis};
use super::trouble::Trouble;
use super::{Inner, Postgres};
use crate::domain::event::Request;
use crate::domain::payment::Payment;
use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::{OrderId, Timestamp};
use crate::ledger::LedgerError;
use crate::ledger::journal::Patch;
use crate::ledger::record::{Kept, Keys, Snapshot, decode_body};
use crate::ledger::seal::{Addresses, Keyring};

const PUT: &str = include_str!("sql/transfer_put.sql");

/// A column of values, for `unnest`.
type Column<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// A line of a journal that is moved here.
pub(in crate::ledger) struct Taken {
    /// Its number there.
    pub(in crate::ledger) seq: u64,
    pub(in crate::ledger) body: Vec<u8>,
    /// Its hash there: unique, so it is the operation's number here, and what is left of the chain that it stood in.
    pub(in crate::ledger) hash: Vec<u8>,
}

/// An order on its way into the database, all of it.
pub(in crate::ledger) struct Moved {
    id: OrderId,
    payment: Arc<Payment>,
    head: String,
    columns: Columns,
    keys: Vec<Patch>,
    request: Option<Request>,
    receipt: Option<ReceiptNumber>,
    lines: Vec<MovedLine>,
}

struct MovedLine {
    version: i64,
    operation: Vec<u8>,
    body: Vec<u8>,
    /// In the order's own chain.
    hash: String,
    /// Whether something personal stands in it.
    personal: bool,
}

// === impl Moved ===

impl Moved {
    /// Folds the lines of an order, as a node would have; what is personal is sealed anew for the snapshot, with the
    /// order's own key. The lines' bytes are not touched.
    pub(in crate::ledger) fn of(
        id: OrderId,
        taken: Vec<Taken>,
        ring: &Keyring,
        addresses: &Addresses,
    ) -> Result<Moved, String> {
        let mut snapshot: Option<Snapshot> = None;
        let (mut head, mut lines) = (genesis(), Vec::with_capacity(taken.len()));
        for Taken { seq, body, hash } in taken {
            let read = decode_body(seq, &body, Keys::Of(ring)).map_err(|error| error.to_string())?;
            let next = Snapshot::after(snapshot.as_ref(), &read, NOWHERE, ring)?;
            let version = next.payment.version;
            head = framed(version, &head, &body).ok_or("a head that is no hash")?.1;
            let operation = hex::decode(&hash).map_err(|error| error.to_string())?;
            let (version, personal) = (i64::from(version), read.kept != Kept::None);
            lines.push(MovedLine { version, operation, body, hash: head.clone(), personal });
            snapshot = Some(Snapshot { lines: Vec::new(), ..next });
        }
        let snapshot = snapshot.ok_or("an order without lines")?;
        let columns = Columns::of(&snapshot, addresses).map_err(|error| error.to_string())?;
        let payment = snapshot.payment;
        Ok(Moved { id, payment, head, columns, keys: Vec::new(), request: None, receipt: None, lines })
    }

    /// The same with its keys, the idempotency key that stands for it, and its receipt's number.
    pub(in crate::ledger) fn with(
        self,
        keys: Vec<Patch>,
        request: Option<Request>,
        receipt: Option<ReceiptNumber>,
    ) -> Moved {
        Moved { keys, request, receipt, ..self }
    }

    /// Bytes of its lines.
    pub(in crate::ledger) fn bytes(&self) -> usize {
        self.lines.iter().map(|line| line.body.len()).sum()
    }

    fn key(&self) -> Vec<u8> {
        self.id.bytes().to_vec()
    }
}

// === impl Postgres ===

impl Postgres {
    /// Puts orders in, each as a whole or, where it is there already, not at all.
    pub(in crate::ledger) fn put(&self, orders: Vec<Moved>) -> Result<(), LedgerError> {
        self.block(move |inner| async move { inner.put(&orders).await })
    }
}

// === impl Inner ===

impl Inner {
    async fn put(&self, orders: &[Moved]) -> Result<(), Trouble> {
        let mut columns: Vec<Column<'_>> = vec![Box::new(&self.node)];
        for of in [of_orders, of_keys, of_requests, of_receipts, of_lines] {
            columns.extend(of(orders));
        }
        let values: Vec<Value<'_>> = columns.iter().map(|column| &**column as Value<'_>).collect();
        self.pool.count(PUT, &values).await.map(drop)
    }
}

/// As the statement numbers them.
fn of_orders(orders: &[Moved]) -> Vec<Column<'_>> {
    fn each<'a, T>(orders: &'a [Moved], value: impl Fn(&'a Moved) -> T) -> Vec<T> {
        orders.iter().map(value).collect()
    }
    vec![
        Box::new(each(orders, Moved::key)),
        Box::new(each(orders, |order| i64::from(order.payment.version))),
        Box::new(each(orders, |order| order.head.as_str())),
        Box::new(each(orders, |order| order.columns.snapshot.as_slice())),
        Box::new(each(orders, |order| order.columns.status)),
        Box::new(each(orders, |order| order.columns.due_ms)),
        Box::new(each(orders, |order| order.payment.created_at.millis())),
        Box::new(each(orders, |order| order.columns.email_hash.as_deref())),
        Box::new(each(orders, |order| order.columns.tx_hash.as_deref())),
        Box::new(each(orders, |order| order.columns.stalled)),
    ]
}

fn of_keys(orders: &[Moved]) -> Vec<Column<'_>> {
    let keys: Vec<(Vec<u8>, &Patch)> =
        orders.iter().flat_map(|order| order.keys.iter().map(|key| (order.key(), key))).collect();
    let slots: Vec<i64> = keys.iter().map(|(_, key)| key.slot.cast_signed()).collect();
    let records: Vec<&[u8]> = keys.iter().map(|(_, key)| &key.bytes[..]).collect();
    let whose: Vec<Vec<u8>> = keys.into_iter().map(|(order, _)| order).collect();
    vec![Box::new(whose), Box::new(slots), Box::new(records)]
}

fn of_requests(orders: &[Moved]) -> Vec<Column<'_>> {
    let asked = || orders.iter().filter_map(|order| Some((order, order.request.as_ref()?)));
    let keys: Vec<&str> = asked().map(|(_, request)| request.key.as_str()).collect();
    let whose: Vec<Vec<u8>> = asked().map(|(order, _)| order.key()).collect();
    let fingerprints: Vec<&str> = asked().map(|(_, request)| request.fingerprint.as_str()).collect();
    let moments: Vec<i64> = asked().map(|(order, _)| order.payment.created_at.millis()).collect();
    vec![Box::new(keys), Box::new(whose), Box::new(fingerprints), Box::new(moments)]
}

fn of_receipts(orders: &[Moved]) -> Vec<Column<'_>> {
    let sales: Vec<(&Moved, ReceiptNumber, Timestamp)> = orders
        .iter()
        .filter_map(|order| Some((order, order.receipt?, order.payment.sale()?.paid_at)))
        .collect();
    let years: Vec<i64> = sales.iter().map(|(_, number, _)| i64::from(number.year)).collect();
    let places: Vec<i64> = sales.iter().map(|(_, number, _)| number.place.cast_signed()).collect();
    let whose: Vec<Vec<u8>> = sales.iter().map(|(order, ..)| order.key()).collect();
    let hours: Vec<i64> = sales.iter().map(|(.., paid_at)| paid_at.hour()).collect();
    let prices = || sales.iter().map(|(order, ..)| order.payment.price);
    let currencies: Vec<&str> = prices().map(|price| price.currency().code()).collect();
    let amounts: Vec<i64> = prices().map(|price| price.amount().cast_signed()).collect();
    vec![
        Box::new(years),
        Box::new(places),
        Box::new(whose),
        Box::new(hours),
        Box::new(currencies),
        Box::new(amounts),
    ]
}

fn of_lines(orders: &[Moved]) -> Vec<Column<'_>> {
    let lines = || orders.iter().flat_map(|order| order.lines.iter().map(move |line| (order, line)));
    let whose: Vec<Vec<u8>> = lines().map(|(order, _)| order.key()).collect();
    let versions: Vec<i64> = lines().map(|(_, line)| line.version).collect();
    let operations: Vec<&[u8]> = lines().map(|(_, line)| line.operation.as_slice()).collect();
    let bodies: Vec<&[u8]> = lines().map(|(_, line)| line.body.as_slice()).collect();
    let hashes: Vec<&str> = lines().map(|(_, line)| line.hash.as_str()).collect();
    let personal: Vec<bool> = lines().map(|(_, line)| line.personal).collect();
    vec![
        Box::new(whose),
        Box::new(versions),
        Box::new(operations),
        Box::new(bodies),
        Box::new(hashes),
        Box::new(personal),
    ]
}
