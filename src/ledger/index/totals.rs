//! What the merchant's first page sums up without reading a million orders: the sales of each hour in each currency, and
//! the orders whose mail was refused for good.
//!
//! Why hours: days are the merchant's, whose clock is the configuration's and may be corrected, and what is kept must not
//! depend on it. Why not quarters: every country that CinetPay serves is whole hours from UTC.
//! Why in memory as well: a reader must see what the journal has and sled has not, and there are few keys an hour.
//! Invariant: a sum is written by the change that makes an order PAID and by no other; a mark, by a mail that is refused
//! for good or sent again after that. What a notification costs stays what it was.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Index, IndexError, STATUSES, Write, keys};
use crate::domain::calendar::Period;
use crate::domain::payment::{Mail, Payment, Status};
use crate::domain::values::{Currency, OrderId, Timestamp};

/// First byte of an hour's sales in one currency. `p` was a day's: an index with those has none of these, and is made anew.
pub(crate) const SALES: u8 = b'h';
/// First byte of an order whose mail was refused for good.
pub(crate) const STALLED: u8 = b'u';

/// What was paid in one hour, or over several, in one currency, refunds not taken off.
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
            let hour = (sale.paid_at.hour(), now.price.currency());
            self.sales.entry(hour).or_default().add(Sold { orders: 1, amount: now.price.amount() });
        }
        match (before.is_some_and(is_stalled), is_stalled(now)) {
            (false, true) => drop(self.stalled.insert(now.id)),
            (true, false) => drop(self.stalled.remove(&now.id)),
            (true, true) | (false, false) => {}
        }
    }

    /// The sales of the hours that begin in this period, oldest first.
    pub(crate) fn sales(&self, period: Period) -> impl Iterator<Item = (Timestamp, Currency, Sold)> {
        let (start, end) = (period.start(), period.end());
        self.sales
            .iter()
            .map(|((hour, currency), sold)| (Timestamp::of_hour(*hour), *currency, *sold))
            .filter(move |(begun, ..)| start <= *begun && *begun < end)
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
    /// Takes more sales in.
    pub(crate) fn add(&mut self, more: Sold) {
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
            let (hour, currency, sold): (i64, Currency, Sold) = postcard::from_bytes(&value)?;
            if key != sales_key(hour, currency) {
                return Err(postcard::Error::DeserializeBadEncoding.into());
            }
            totals.sales.insert((hour, currency), sold);
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
        for ((hour, currency), mut sold) in new.sales {
            let key = sales_key(hour, currency);
            if let Some(value) = self.db.get(&key)? {
                let (_, _, known): (i64, Currency, Sold) = postcard::from_bytes(&value)?;
                sold.add(known);
            }
            writes.push((key, Some(postcard::to_stdvec(&(hour, currency, sold))?)));
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

fn sales_key(hour: i64, currency: Currency) -> Vec<u8> {
    [&[SALES], &hour.to_be_bytes()[..], currency.code().as_bytes()].concat()
}
