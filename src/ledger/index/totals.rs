//! What the merchant's first page sums up without reading a million orders: the sales of each day in each currency, and
//! the orders whose mail was refused for good.
//!
//! Why in memory as well: a reader must see what the journal has and sled has not, and there are few keys a day.
//! Invariant: a sum is written by the change that makes an order PAID and by no other; a mark, by a mail that is refused
//! for good or sent again after that. What a notification costs stays what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{Change, Index, IndexError, STATUSES, Write, keys};
use crate::domain::payment::{Mail, Payment, Status};
use crate::domain::values::{Currency, OrderId};

/// First byte of a day's sales in one currency.
pub(crate) const SALES: u8 = b'p';
/// First byte of an order whose mail was refused for good.
pub(crate) const STALLED: u8 = b'u';

/// What was paid on one day in one currency, refunds not taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Sold {
    /// How many orders.
    pub(crate) orders: u64,
    /// The sum of their prices, in the currency's smallest units.
    pub(crate) amount: u64,
}

/// The sums and marks of all orders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    sales: BTreeMap<(i64, Currency), Sold>,
    stalled: BTreeSet<OrderId>,
}

impl Totals {
    /// Takes in what became of an order.
    pub(crate) fn see(&mut self, before: Option<&Payment>, now: &Payment) {
        if let (None, Some(sale)) = (before.and_then(Payment::sale), now.sale()) {
            let day = (sale.paid_at.day(), now.price.currency());
            self.sales.entry(day).or_default().add(Sold { orders: 1, amount: now.price.amount() });
        }
        match (before.is_some_and(is_stalled), is_stalled(now)) {
            (false, true) => drop(self.stalled.insert(now.id)),
            (true, false) => drop(self.stalled.remove(&now.id)),
            (true, true) | (false, false) => {}
        }
    }

    /// The sales of these days (counted since 1970, UTC), oldest first.
    pub(crate) fn sales(&self, days: &RangeInclusive<i64>) -> impl Iterator<Item = (i64, Currency, Sold)> {
        self.sales
            .iter()
            .filter(|((day, _), _)| days.contains(day))
            .map(|((day, currency), sold)| (*day, *currency, *sold))
    }

    /// The orders whose mail was refused for good, oldest first.
    pub(crate) fn stalled(&self) -> impl DoubleEndedIterator<Item = OrderId> + ExactSizeIterator {
        self.stalled.iter().copied()
    }

    /// Whether there is a sale for every order that has one. An index of before these sums were kept has none, and one
    /// that lost some must be made anew.
    pub(crate) fn agree(&self, counts: &[u64; STATUSES]) -> bool {
        let sold = |name: &str| matches!(name, "PAID" | "REFUNDED");
        let paid: u64 =
            Status::NAMES.iter().zip(counts).filter(|(name, _)| sold(name)).map(|(_, count)| count).sum();
        self.sales.values().map(|sold| sold.orders).sum::<u64>() == paid
    }
}

impl Sold {
    fn add(&mut self, more: Sold) {
        self.orders = self.orders.saturating_add(more.orders);
        self.amount = self.amount.saturating_add(more.amount);
    }
}

impl Index {
    /// The sums and marks, as the last batch noted them.
    pub(crate) fn totals(&self) -> Result<Totals, IndexError> {
        let mut totals = Totals::default();
        for key in self.db.keys_under(&[SALES]) {
            let key = key?;
            let value = self.db.get(&key)?.unwrap_or_default();
            let (day, currency, sold): (i64, Currency, Sold) = postcard::from_bytes(&value)?;
            if key != sales_key(day, currency) {
                return Err(postcard::Error::DeserializeBadEncoding.into());
            }
            totals.sales.insert((day, currency), sold);
        }
        for key in self.db.keys_under(&[STALLED]) {
            let id = keys::id_of(&key?).ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
            totals.stalled.insert(id);
        }
        Ok(totals)
    }

    /// What `changes` write to the sums and marks: nothing, most of the time.
    pub(crate) fn sums(&self, changes: &[Change]) -> Result<Vec<Write>, IndexError> {
        let (mut new, mut marks) = (Totals::default(), BTreeMap::new());
        for change in changes {
            let before = change.before.as_deref().map(|before| &*before.payment);
            let now = &*change.snapshot.payment;
            new.see(before, now);
            if before.is_some_and(is_stalled) != is_stalled(now) {
                marks.insert(now.id, is_stalled(now));
            }
        }
        let mut writes = Vec::new();
        for ((day, currency), mut sold) in new.sales {
            let key = sales_key(day, currency);
            if let Some(value) = self.db.get(&key)? {
                let (_, _, known): (i64, Currency, Sold) = postcard::from_bytes(&value)?;
                sold.add(known);
            }
            writes.push((key, Some(postcard::to_stdvec(&(day, currency, sold))?)));
        }
        writes.extend(
            marks.into_iter().map(|(id, is)| ([&[STALLED], &id.bytes()[..]].concat(), is.then(Vec::new))),
        );
        Ok(writes)
    }
}

fn is_stalled(payment: &Payment) -> bool {
    matches!(&payment.status, Status::Paid(sale) if matches!(sale.mail, Mail::Stalled { .. }))
}

fn sales_key(day: i64, currency: Currency) -> Vec<u8> {
    [&[SALES], &day.to_be_bytes()[..], currency.code().as_bytes()].concat()
}
