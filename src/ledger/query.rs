//! Reads that scan: what is due, lists of orders. Overlay and index are merged by order id.

use std::collections::{BTreeMap, BTreeSet};

use super::LedgerError;
use super::embedded::Embedded;
use super::index::indexer::REQUEST_AGE_MAX;
use super::index::totals::Sold;
use super::index::{Index, IndexError, keys};
use crate::domain::calendar::{Day, Period};
use crate::domain::payment::{Payment, Status};
use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::{Currency, OrderId, Timestamp};

/// Orders on one page at most.
pub const PAGE_ORDERS_MAX: usize = 200;
const PENDING: &str = "PENDING";
/// Characters of an order id in text.
const ID_CHARS: usize = 26;
const ID_BYTES: usize = 16;

/// Which orders to list.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// A status name; an unknown one matches nothing.
    pub status: Option<String>,
    /// The beginning of an order id, a whole e-mail address, a receipt's number, or an operator's transaction number.
    pub q: Option<String>,
    /// Only orders taken at this moment or later.
    pub since: Option<Timestamp>,
    /// Only orders taken before this moment.
    pub until: Option<Timestamp>,
    /// Only paid orders whose mail was refused for good.
    pub stalled: bool,
    /// Only orders older than this one: the `next_cursor` of the page before.
    pub cursor: Option<OrderId>,
    /// How many, at most [`PAGE_ORDERS_MAX`].
    pub limit: usize,
}

/// A page of orders, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The orders.
    pub orders: Vec<Payment>,
    /// Where the next page goes on; None at the end.
    pub next_cursor: Option<OrderId>,
}

/// What was paid on one day in one currency. Refunds are not taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sales {
    /// The day, on the clock that was asked for.
    pub day: Day,
    /// The currency.
    pub currency: Currency,
    /// How many orders were paid.
    pub orders: u64,
    /// The sum of their prices, in the currency's smallest units.
    pub amount: u64,
}

pub(super) fn sales(store: &Embedded, period: Period) -> Vec<Sales> {
    by_day(period, store.overlay.lock().totals.sales(period))
}

/// Sums of hours, by when each began, as sums of the days of that clock.
pub(super) fn by_day(period: Period, hours: impl Iterator<Item = (Timestamp, Currency, Sold)>) -> Vec<Sales> {
    let mut days: BTreeMap<(Day, Currency), Sold> = BTreeMap::new();
    for (begun, currency, sold) in hours {
        days.entry((period.zone.day(begun), currency)).or_default().add(sold);
    }
    let sale = |((day, currency), sold): (_, Sold)| Sales {
        day,
        currency,
        orders: sold.orders,
        amount: sold.amount,
    };
    days.into_iter().map(sale).collect()
}

pub(super) fn due(
    store: &Embedded,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<(Timestamp, OrderId)>, LedgerError> {
    // As every other read, in vain once the store is closed.
    store.index()?;
    let until = (now, OrderId::from_bytes([u8::MAX; ID_BYTES]));
    Ok(store.overlay.lock().due.range(..=until).take(limit).copied().collect())
}

pub(super) fn oldest_pending(store: &Embedded) -> Result<Option<Timestamp>, LedgerError> {
    let recent = store.overlay.lock().latest.clone();
    let place = Status::NAMES.iter().position(|name| *name == PENDING).unwrap_or_default();
    let fresh = recent.values().map(|(_, snapshot)| &*snapshot.payment);
    let fresh =
        fresh.filter(|payment| payment.status.name() == PENDING).map(|payment| payment.created_at).min();
    let mut stored = None;
    for id in store.index()?.ids(&keys::status(place), [0; 16], [u8::MAX; 16]) {
        let id = id?;
        if !recent.contains_key(&id) {
            stored = store.stored(id)?.map(|snapshot| snapshot.payment.created_at);
            break;
        }
    }
    Ok([fresh, stored].into_iter().flatten().min())
}

pub(super) fn find_key(
    store: &Embedded,
    key: &str,
    now: Timestamp,
) -> Result<Option<(OrderId, String)>, LedgerError> {
    let fresh = store.overlay.lock().requests.get(key).cloned();
    let entry = match fresh {
        Some(entry) => Some(entry),
        None => store.index()?.request(key)?,
    };
    let young = entry.filter(|entry| now.since(entry.at) < REQUEST_AGE_MAX);
    Ok(young.map(|entry| (entry.order, entry.fingerprint)))
}

pub(super) fn list(store: &Embedded, query: &Query) -> Result<Page, LedgerError> {
    let limit = query.limit.clamp(1, PAGE_ORDERS_MAX);
    let Some(scan) = Scan::of(query, store)? else { return Ok(Page::default()) };
    let recent = store.overlay.lock().latest.clone();
    let mut fresh = recent.values().rev().map(|(_, snapshot)| &*snapshot.payment);
    let mut fresh_next = fresh.find(|payment| scan.matches(payment));
    let mut stored = scan.ids(&store.index()?);
    let mut stored_next = stored.next().transpose()?;
    let mut orders: Vec<Payment> = Vec::with_capacity(limit);
    while orders.len() <= limit {
        match (stored_next, fresh_next) {
            (None, None) => break,
            (Some(id), fresh_one) if fresh_one.is_none_or(|payment| payment.id < id) => {
                if !recent.contains_key(&id)
                    && let Some(snapshot) = store.stored(id)?
                    && scan.matches(&snapshot.payment)
                {
                    orders.push(Payment::clone(&snapshot.payment));
                }
                stored_next = stored.next().transpose()?;
            }
            (_, Some(payment)) => {
                orders.push(payment.clone());
                fresh_next = fresh.find(|payment| scan.matches(payment));
            }
            (Some(_), None) => stored_next = stored.next().transpose()?,
        }
    }
    let more = orders.len() > limit;
    orders.truncate(limit);
    let next_cursor = orders.last().filter(|_| more).map(|payment| payment.id);
    Ok(Page { orders, next_cursor })
}

/// What a query asks of the index, and of each order.
struct Scan {
    status: Option<usize>,
    by: Search,
    low: [u8; 16],
    high: [u8; 16],
    /// The only orders that may be listed, where a query names them by something that is kept in memory.
    among: Option<BTreeSet<OrderId>>,
}

/// What the text of a query names.
pub(super) enum Search {
    /// Order ids, which the bounds hold.
    Id,
    /// A whole address, in lower case.
    Email(String),
    /// An operator's transaction number, in lower case.
    Transaction(String),
}

/// What a query searches for, and the lowest and highest id that may be on its page.
pub(super) struct Bounds {
    pub(super) search: Search,
    pub(super) low: [u8; 16],
    pub(super) high: [u8; 16],
}

/// The bounds of a query; None where nothing can match. `numbered` finds the order that has a receipt's number.
pub(super) fn id_bounds(
    query: &Query,
    numbered: impl Fn(ReceiptNumber) -> Result<Option<OrderId>, LedgerError>,
) -> Result<Option<Bounds>, LedgerError> {
    let (mut low, mut high, mut search) = ([0; 16], [u8::MAX; 16], Search::Id);
    let receipt = |text: &str| text.parse().map_or(Ok(None), &numbered);
    match query.q.as_deref().map(str::trim) {
        None | Some("") => {}
        Some(q) if q.contains('@') => search = Search::Email(q.to_lowercase()),
        Some(q) => match (id_range(q), receipt(q)?) {
            (Some(range), _) => (low, high) = range,
            (None, Some(id)) => (low, high) = (id.bytes(), id.bytes()),
            (None, None) => search = Search::Transaction(q.to_lowercase()),
        },
    }
    if let Some(since) = query.since {
        low = low.max(OrderId::first_of(since).bytes());
    }
    for end in [query.cursor, query.until.map(OrderId::first_of)].into_iter().flatten() {
        let Some(below) = u128::from_be_bytes(end.bytes()).checked_sub(1) else { return Ok(None) };
        high = high.min(below.to_be_bytes());
    }
    Ok((low <= high).then_some(Bounds { search, low, high }))
}

impl Scan {
    /// None where nothing can match.
    fn of(query: &Query, store: &Embedded) -> Result<Option<Scan>, LedgerError> {
        let place = |name: &String| Status::NAMES.iter().position(|known| known == name);
        let status = query.status.as_ref().map(place);
        if status == Some(None) {
            return Ok(None);
        }
        let bounds = id_bounds(query, |number| store.numbered(number))?;
        let Some(Bounds { search, low, high }) = bounds else { return Ok(None) };
        let among = query.stalled.then(|| store.overlay.lock().totals.stalled().collect());
        Ok(Some(Scan { status: status.flatten(), by: search, low, high, among }))
    }

    fn ids(&self, index: &Index) -> Box<dyn Iterator<Item = Result<OrderId, IndexError>>> {
        if let Some(among) = &self.among {
            let within = |id: &OrderId| (self.low..=self.high).contains(&id.bytes());
            let ids: Vec<OrderId> = among.iter().copied().filter(within).collect();
            return Box::new(ids.into_iter().rev().map(Ok));
        }
        let prefix = match (&self.by, self.status) {
            (Search::Email(address), _) => keys::email(address, index.ring()),
            (Search::Transaction(id), _) => keys::transaction(id),
            (Search::Id, Some(place)) => keys::status(place).to_vec(),
            (Search::Id, None) => vec![keys::ORDER],
        };
        Box::new(index.ids(&prefix, self.low, self.high).rev())
    }

    fn matches(&self, payment: &Payment) -> bool {
        let id = payment.id.bytes();
        let by = match &self.by {
            Search::Id => true,
            Search::Email(address) => payment.buyer.email.expose().to_lowercase() == *address,
            Search::Transaction(tx) => {
                keys::provider_tx(payment).is_some_and(|own| own.to_lowercase() == *tx)
            }
        };
        let status = self.status.is_none_or(|place| Status::NAMES[place] == payment.status.name());
        let among = self.among.as_ref().is_none_or(|among| among.contains(&payment.id));
        by && status && among && (self.low..=self.high).contains(&id)
    }
}

/// The ids that begin with `text`; None if it cannot begin one.
fn id_range(text: &str) -> Option<([u8; 16], [u8; 16])> {
    let text = text.to_uppercase();
    if text.len() > ID_CHARS || !text.is_ascii() {
        return None;
    }
    let low = OrderId::parse(&format!("{text:0<ID_CHARS$}")).ok()?;
    let high = OrderId::parse(&format!("{text:Z<ID_CHARS$}")).ok()?;
    Some((low.bytes(), high.bytes()))
}
