//! Receipt numbers: a payment's place among those of its year, counted in the journal's order.
//!
//! Why counted and not written into the line: a commit's bytes are made before the journal's thread decides its place,
//! and a number that was handed out would be lost with a write that fails. Counting what is durable can neither skip
//! nor repeat, gives the same numbers for ever since lines are never changed or removed, needs no new format, and lets
//! anyone who can read the journal check them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::store::{Batch, Write};
use super::{Change, Index, IndexError};
use crate::domain::payment::Payment;
use crate::domain::receipt::{ReceiptNumber, year};
use crate::domain::values::OrderId;

/// First byte of an order's receipt number.
pub(crate) const RECEIPT: u8 = b'r';
/// First byte of a receipt number and the order that has it.
pub(crate) const NUMBER: u8 = b'n';
/// The last number of each year.
pub(crate) const SERIES: &[u8] = b"m:receipts";

/// The last number of each year, over the lines so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Series(BTreeMap<i16, u64>);

impl Series {
    /// The number of the payment that this line made, if it made one. Called for every line, in the journal's order.
    pub(crate) fn number(&mut self, before: Option<&Payment>, now: &Payment) -> Option<ReceiptNumber> {
        let sale = now.sale().filter(|_| before.and_then(Payment::sale).is_none())?;
        let year = year(sale.paid_at);
        let place = self.0.entry(year).or_default();
        *place += 1;
        Some(ReceiptNumber { year, place: *place })
    }

    /// Takes in a number that was given out.
    fn note(&mut self, number: ReceiptNumber) {
        let last = self.0.entry(number.year).or_default();
        *last = number.place.max(*last);
    }
}

impl Index {
    /// An order's receipt number.
    pub(crate) fn receipt(&self, id: OrderId) -> Result<Option<ReceiptNumber>, IndexError> {
        let stored = self.db.get(key(id))?;
        Ok(stored.map(|bytes| postcard::from_bytes(&bytes)).transpose()?)
    }

    /// The order whose receipt has this number.
    pub(crate) fn numbered(&self, number: ReceiptNumber) -> Result<Option<OrderId>, IndexError> {
        self.ids(&prefix(number), [0; 16], [u8::MAX; 16]).next().transpose()
    }

    /// The last number of each year; none in an index that was made before there were numbers.
    pub(crate) fn series(&self) -> Result<Option<Series>, IndexError> {
        let stored = self.db.get(SERIES)?;
        Ok(stored.map(|bytes| postcard::from_bytes(&bytes)).transpose()?)
    }

    /// Notes in a batch of `changes` where the series stands after them.
    pub(super) fn note_series(&self, batch: &mut Batch, changes: &[Change]) -> Result<(), IndexError> {
        let mut series = self.series()?.unwrap_or_default();
        changes.iter().filter_map(|change| change.receipt).for_each(|number| series.note(number));
        put(batch, &series)
    }
}

/// Notes where the series stands.
pub(super) fn put(batch: &mut Batch, series: &Series) -> Result<(), IndexError> {
    batch.insert(SERIES, postcard::to_stdvec(series)?);
    Ok(())
}

/// The numbers that `changes` brought.
pub(super) fn writes(changes: &[Change]) -> Result<Vec<Write>, IndexError> {
    let numbered = changes.iter().filter_map(|change| Some((change.snapshot.payment.id, change.receipt?)));
    let mut writes = Vec::new();
    for (id, number) in numbered {
        writes.push((key(id), Some(postcard::to_stdvec(&number)?)));
        writes.push((number_key(number, id), Some(Vec::new())));
    }
    Ok(writes)
}

/// Key of an order's receipt number.
pub(crate) fn key(id: OrderId) -> Vec<u8> {
    [&[RECEIPT][..], &id.bytes()].concat()
}

/// Key of a receipt number.
pub(super) fn number_key(number: ReceiptNumber, id: OrderId) -> Vec<u8> {
    [&prefix(number)[..], &id.bytes()].concat()
}

fn prefix(number: ReceiptNumber) -> Vec<u8> {
    [&[NUMBER][..], &number.year.to_be_bytes(), &number.place.to_be_bytes()].concat()
}

/// Whether a key and its value are what the journal says of this order.
pub(super) fn is_right(value: &[u8], expected: Option<ReceiptNumber>) -> bool {
    expected.is_some() && postcard::from_bytes(value).ok() == expected
}
