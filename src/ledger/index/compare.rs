//! Invariant 6: folding the journal gives exactly what the index holds, the derived keys included.

use std::collections::{HashMap, HashSet};

use super::indexer::REQUEST_AGE_MAX;
use super::keys::{self, KeyEntry};
use super::receipts::{self, NUMBER, RECEIPT, SERIES, Series};
use super::totals::{self, Totals};
use super::{Index, IndexError};
use crate::domain::payment::Payment;
use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::{OrderId, Timestamp};
use crate::ledger::check::Order;
use crate::ledger::journal::Applied;
use crate::ledger::record::{ThawError, decode_snapshot};
use crate::ledger::seal::Keyring;

/// Tells `find` everything in which the index differs from the journal's orders. `last` is the journal's last line.
///
/// Why every key is looked at, and then counted: a key that should be there and is not shows only in the count.
pub(crate) fn compare(
    index: &Index,
    orders: &HashMap<OrderId, Order>,
    last: Option<&Applied>,
    series: &Series,
    find: &mut dyn FnMut(String),
) {
    let mut look = Look { orders, requests: Requests::of(orders), seen: HashMap::new(), find };
    match index.applied() {
        Ok(applied) if applied.as_ref() == last => {}
        Ok(_) | Err(_) => look.differs("-", "m:applied"),
    }
    if !matches!(index.is_ours(), Ok(true)) {
        look.differs("-", "layout");
    }
    if !matches!((index.counts(), index.recount()), (Ok(noted), Ok(counted)) if noted == counted) {
        look.differs("-", "m:counts");
    }
    if last.is_some() && !matches!(index.fits_keys(), Ok(true)) {
        look.differs("-", "m:keyring");
    }
    let named = orders.values().filter_map(Order::last_key).max().map_or(0, |slot| slot + 1);
    if last.is_some() && !matches!(index.named(), Ok(Some(noted)) if noted == named) {
        look.differs("-", "m:named");
    }
    if !matches!(index.series(), Ok(noted) if noted.as_ref().unwrap_or(&Series::default()) == series) {
        look.differs("-", "m:receipts");
    }
    let mut sums = Totals::default();
    orders.values().filter_map(|order| order.payment.as_ref()).for_each(|payment| sums.see(None, payment));
    if !matches!(index.totals(), Ok(noted) if noted == sums) {
        look.differs("-", "h, u");
    }
    if look.all(index).is_err() {
        (look.find)("l'index est illisible / the index is unreadable (auditshield ledger rebuild)".into());
        return;
    }
    let mut expected: HashMap<u8, usize> = HashMap::from([(keys::ORDER, orders.len())]);
    for payment in orders.values().filter_map(|order| order.payment.as_ref()) {
        for key in keys::derived(payment, index.ring()) {
            *expected.entry(key.first().copied().unwrap_or_default()).or_default() += 1;
        }
    }
    let receipts = orders.values().filter(|order| order.receipt.is_some()).count();
    expected.extend([(RECEIPT, receipts), (NUMBER, receipts)]);
    for kind in [keys::ORDER, keys::STATUS, keys::DUE, keys::EMAIL, keys::TRANSACTION, RECEIPT, NUMBER] {
        let (want, got) = (expected.get(&kind).unwrap_or(&0), look.seen.get(&kind).unwrap_or(&0));
        if want != got {
            (look.find)(format!(
                "l'index a {got} clés « {0} » au lieu de {want} / the index has {got} keys `{0}` instead of {want} \
                 (auditshield ledger rebuild)",
                char::from(kind),
            ));
        }
    }
    look.requests_are_there(index);
}

struct Look<'a> {
    orders: &'a HashMap<OrderId, Order>,
    requests: Requests,
    /// Good keys by their first byte.
    seen: HashMap<u8, usize>,
    find: &'a mut dyn FnMut(String),
}

/// The idempotency keys that the journal's orders were made with.
struct Requests {
    ages: HashSet<Vec<u8>>,
    newest: Option<Timestamp>,
}

impl Requests {
    fn of(orders: &HashMap<OrderId, Order>) -> Self {
        let payments = || orders.values().filter_map(|order| order.payment.as_ref());
        let age = |payment: &Payment| {
            payment.request.as_ref().map(|request| keys::request_age(payment.created_at, &request.key))
        };
        Requests {
            ages: payments().filter_map(age).collect(),
            newest: payments().map(|payment| payment.created_at).max(),
        }
    }
}

impl Look<'_> {
    fn all(&mut self, index: &Index) -> Result<(), IndexError> {
        for entry in index.entries() {
            let (key, value) = entry?;
            let kind = key.first().copied().unwrap_or_default();
            let good = match kind {
                keys::ORDER => self.order(index.ring(), &key, &value),
                keys::STATUS | keys::DUE | keys::EMAIL | keys::TRANSACTION => {
                    self.derived(index.ring(), &key, &value)
                }
                keys::REQUEST => self.request(index, &key, &value)?,
                RECEIPT => receipts::is_right(&value, self.receipt(&key)),
                NUMBER => {
                    let own = self.receipt(&key).zip(keys::id_of(&key));
                    value.is_empty()
                        && own.is_some_and(|(number, id)| key == receipts::number_key(number, id))
                }
                keys::REQUEST_AGE => value.is_empty() && self.requests.ages.contains(&key[..]),
                totals::SALES | totals::STALLED => true,
                _ => {
                    key == keys::APPLIED
                        || key == keys::COUNTS
                        || key == keys::KEYRING
                        || key == keys::NAMED
                        || key == keys::LAYOUT
                        || key == SERIES
                }
            };
            if good {
                *self.seen.entry(kind).or_default() += 1;
            } else {
                let id = keys::id_of(&key).filter(|id| self.orders.contains_key(id));
                let id = id.map_or_else(|| "-".to_owned(), |id| id.to_string());
                self.differs(&id, &char::from(kind).to_string());
            }
        }
        Ok(())
    }

    /// The receipt number of the order that a key ends in.
    fn receipt(&self, key: &[u8]) -> Option<ReceiptNumber> {
        keys::id_of(key).and_then(|id| self.orders.get(&id)).and_then(|order| order.receipt)
    }

    fn order(&self, ring: &Keyring, key: &[u8], value: &[u8]) -> bool {
        let Some(order) = keys::id_of(key).and_then(|id| self.orders.get(&id)) else { return false };
        match decode_snapshot(value) {
            // Of another format: folded again when it is needed.
            Ok((lines, None)) => lines == order.lines,
            Ok((lines, Some(frozen))) => {
                let same = match frozen.thaw(ring) {
                    Ok((payment, _)) => Some(payment) == order.payment,
                    // The journal's walk has said so already.
                    Err(ThawError::Lost(_)) => true,
                    Err(ThawError::Keys(_) | ThawError::Damaged) => false,
                };
                same && lines == order.lines
            }
            Err(_) => false,
        }
    }

    fn derived(&self, ring: &Keyring, key: &[u8], value: &[u8]) -> bool {
        let order = keys::id_of(key).and_then(|id| self.orders.get(&id));
        let payment = order.and_then(|order| order.payment.as_ref());
        value.is_empty()
            && payment.is_some_and(|payment| keys::derived(payment, ring).iter().any(|own| own == key))
    }

    /// A key stands for an order that was made with it; which one, where it was used again after a day or after an
    /// order that got no payment page, the value says.
    fn request(&self, index: &Index, key: &[u8], value: &[u8]) -> Result<bool, IndexError> {
        let Ok(entry) = postcard::from_bytes::<KeyEntry>(value) else { return Ok(false) };
        let order = self.orders.get(&entry.order).and_then(|order| order.payment.as_ref());
        let Some((payment, request)) = order.and_then(|order| Some((order, order.request.as_ref()?))) else {
            return Ok(false);
        };
        let own = keys::request(&request.key) == key && KeyEntry::of(payment, request) == entry;
        Ok(own && index.holds(&keys::request_age(entry.at, &request.key))?)
    }

    /// Keys younger than a day must be known: a repeated purchase would make a second order.
    fn requests_are_there(&mut self, index: &Index) {
        let orders = self.orders;
        for (id, payment) in orders.iter().filter_map(|(id, order)| Some((id, order.payment.as_ref()?))) {
            let Some(request) = &payment.request else { continue };
            let young =
                self.requests.newest.is_some_and(|newest| newest.since(payment.created_at) < REQUEST_AGE_MAX);
            if young && !matches!(index.request(&request.key), Ok(Some(_))) {
                self.differs(&id.to_string(), "k");
            }
        }
    }

    fn differs(&mut self, order: &str, key: &str) {
        (self.find)(format!(
            "{order}: l'index diffère du journal (clé {key}) / the index differs from the journal (key {key}): \
             auditshield ledger rebuild"
        ));
    }
}
