//! An order's row: how it is written and read.

use std::sync::Arc;

use super::trouble::Trouble;
use crate::domain::payment::{Mail, Payment, Status, due_at};
use crate::domain::values::OrderId;
use crate::ledger::index::keys::provider_tx;
use crate::ledger::journal::line::{self, GENESIS, HashText};
use crate::ledger::record::{Frozen, Snapshot, decode_snapshot, encode_snapshot, folded_hash};
use crate::ledger::seal::{Addresses, Keyring};

/// An order as one node last read or wrote it. It holds no key: what seals is read when something is to be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ledger) struct Row {
    /// The state, whose version is the number of the order's lines. They are found by their key: their list stays empty.
    pub(super) snapshot: Snapshot,
    /// The hash of its last line.
    pub(super) head: String,
}

impl Row {
    /// The state.
    pub(in crate::ledger) fn payment(&self) -> &Arc<Payment> {
        &self.snapshot.payment
    }
}

/// What the database keeps of an order beside its lines, to find it by.
pub(super) struct Columns {
    pub(super) snapshot: Vec<u8>,
    pub(super) status: &'static str,
    pub(super) due_ms: Option<i64>,
    /// None once it was erased.
    pub(super) email_hash: Option<Vec<u8>>,
    pub(super) tx_hash: Option<Vec<u8>>,
    pub(super) stalled: bool,
}

impl Columns {
    /// Of this state.
    pub(super) fn of(snapshot: &Snapshot, addresses: &Addresses) -> postcard::Result<Columns> {
        let payment = &*snapshot.payment;
        let mail = payment.sale().map(|sale| &sale.mail);
        let buyer = Some(&payment.buyer).filter(|buyer| !buyer.is_erased());
        Ok(Columns {
            snapshot: encode_snapshot(snapshot)?,
            status: payment.status.name(),
            due_ms: due_at(payment).map(|at| at.millis()),
            email_hash: buyer.map(|buyer| addresses.hash(buyer.email.expose()).to_vec()),
            tx_hash: provider_tx(payment).map(|tx| folded_hash(tx).to_vec()),
            stalled: matches!((&payment.status, mail), (Status::Paid(_), Some(Mail::Stalled { .. }))),
        })
    }
}

/// A stored order, what is personal of it still sealed. The state is missing where another program wrote it in a format of
/// its own.
pub(super) struct Stored {
    pub(super) id: OrderId,
    pub(super) version: u32,
    pub(super) head: String,
    pub(super) state: Option<Frozen>,
}

impl Stored {
    /// From the columns id, version, head, snapshot.
    pub(super) fn of(row: &tokio_postgres::Row) -> Result<Stored, Trouble> {
        let version: i64 = get(row, 1)?;
        let snapshot: &[u8] = get(row, 3)?;
        let (_, state) =
            decode_snapshot(snapshot).map_err(|_| Trouble::Damaged("an unreadable snapshot".to_owned()))?;
        Ok(Stored { id: id(row, 0)?, version: number(version)?, head: get(row, 2)?, state })
    }

    /// Orders in the order of their rows, with the keys that were read beside them, in the columns slot and record. An
    /// order with several keys has several rows, one after the other.
    pub(super) fn with_keys(
        rows: &[tokio_postgres::Row],
        addresses: &Addresses,
    ) -> Result<(Vec<Stored>, Keyring), Trouble> {
        let (mut orders, mut keys): (Vec<Stored>, Vec<_>) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in rows {
            let order = id(row, 0)?;
            if orders.last().is_none_or(|last| last.id != order) {
                orders.push(Stored::of(row)?);
            }
            if let Some(slot) = get::<Option<i64>>(row, 4)? {
                keys.push((order, slot.cast_unsigned(), get(row, 5)?));
            }
        }
        Ok((orders, Keyring::of_rows(addresses, keys.into_iter())))
    }
}

/// One line of an order as it is stored.
pub(in crate::ledger) struct StoredLine {
    pub(in crate::ledger) order: OrderId,
    pub(in crate::ledger) version: u32,
    pub(in crate::ledger) body: Vec<u8>,
    pub(in crate::ledger) hash: String,
    /// Whether something personal may stand in it.
    pub(super) personal: bool,
}

impl StoredLine {
    /// From the columns order, version, body, hash, personal.
    pub(super) fn of(row: &tokio_postgres::Row) -> Result<StoredLine, Trouble> {
        let version: i64 = get(row, 1)?;
        Ok(StoredLine {
            order: id(row, 0)?,
            version: number(version)?,
            body: get(row, 2)?,
            hash: get(row, 3)?,
            personal: get(row, 4)?,
        })
    }
}

/// The line's bytes, as they would stand in a journal of this order alone, and their hash.
pub(super) fn framed(version: u32, prev: &str, body: &[u8]) -> Option<(Vec<u8>, String)> {
    let prev: HashText = prev.as_bytes().try_into().ok()?;
    let mut bytes = Vec::with_capacity(body.len() + line::FRAME_BYTES_MAX);
    let hash = line::encode(&mut bytes, u64::from(version), &prev, u64::from(version), body);
    // Without its newline.
    bytes.pop();
    Some((bytes, String::from_utf8_lossy(&hash).into_owned()))
}

/// What an order's first line names as its predecessor.
pub(super) fn genesis() -> String {
    String::from_utf8_lossy(&GENESIS).into_owned()
}

/// A column; a wrong type is damage, or somebody else's table.
pub(super) fn get<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a tokio_postgres::Row,
    at: usize,
) -> Result<T, Trouble> {
    row.try_get(at).map_err(|_| Trouble::Damaged(format!("column {at} is of another type")))
}

pub(super) fn id(row: &tokio_postgres::Row, at: usize) -> Result<OrderId, Trouble> {
    let bytes: &[u8] = get(row, at)?;
    let bytes =
        bytes.try_into().map_err(|_| Trouble::Damaged("an order's number of another length".to_owned()))?;
    Ok(OrderId::from_bytes(bytes))
}

pub(super) fn number(version: i64) -> Result<u32, Trouble> {
    u32::try_from(version).map_err(|_| Trouble::Damaged("a version out of range".to_owned()))
}
