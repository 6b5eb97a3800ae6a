//! What is asked of a ledger before and after it was moved, and the ledgers that are moved.

use std::path::{Path, PathBuf};

use auditshield::domain::calendar::{Period, Zone};
use auditshield::domain::event::Event;
use auditshield::domain::payment::Payment;
use auditshield::domain::receipt::ReceiptNumber;
use auditshield::domain::values::{OrderId, Timestamp};
use auditshield::ledger::migrate::{MigrateError, Migrated, Place, migrate};
use auditshield::ledger::{Counts, Ledger, OpenError, PAGE_ORDERS_MAX, Query, Sales};

use super::Database;
use crate::ledger::{NOON, at, checked, commit, created, fill, id, initiated, paid, unlocked};
use crate::process_support::{EMAIL, NAME, World};

/// In an address, and in nothing that the program says.
pub(crate) const PASSWORD: &str = "Tr0ub4dor";

/// Later than everything.
const EVER: i64 = 1_000_000_000;
/// Days before and after [`NOON`] whose sales are compared: the next year's too.
const DAYS: i32 = 100;

/// Everything that a ledger tells.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    orders: Vec<Order>,
    due: Vec<(Timestamp, OrderId)>,
    counts: Counts,
    stalled: usize,
    oldest: Option<Timestamp>,
    sales: Vec<Sales>,
    /// What each idempotency key stands for, an hour after the newest order.
    keys: Vec<Option<(OrderId, String)>>,
}

#[derive(Debug, PartialEq)]
struct Order {
    state: Payment,
    receipt: Option<ReceiptNumber>,
    lines: Vec<(u32, Timestamp, Vec<Event>)>,
    /// The lines as they stand there, without what chains them and without the numbers of their keys.
    bodies: Vec<String>,
    /// Whether it is found by its address, as it is and in capitals.
    found: bool,
}

impl Told {
    /// Asks.
    pub(crate) fn by(ledger: &Ledger) -> Told {
        let mut states = Vec::new();
        let mut query = Query { limit: PAGE_ORDERS_MAX, ..Query::default() };
        loop {
            let page = ledger.list(&query).unwrap();
            states.extend(page.orders);
            query.cursor = page.next_cursor;
            if query.cursor.is_none() {
                break;
            }
        }
        let newest = states.iter().map(|state| state.created_at).max().unwrap_or(NOON);
        let now = Timestamp::from_millis(newest.millis() + 3_600_000);
        let requests = states.iter().filter_map(|state| state.request.as_ref());
        let keys = requests.map(|request| ledger.find_key(&request.key, now).unwrap()).collect();
        let zone: Zone = "+00:00".parse().unwrap();
        let day = |days| zone.day(NOON).plus(days);
        Told {
            orders: states.into_iter().map(|state| Order::of(ledger, state)).collect(),
            due: ledger.due(at(EVER), usize::MAX).unwrap(),
            counts: ledger.counts(),
            stalled: ledger.stalled(),
            oldest: ledger.oldest_pending().unwrap(),
            sales: ledger.sales(Period { first: day(-DAYS), last: day(DAYS), zone }),
            keys,
        }
    }

    pub(crate) fn orders(&self) -> usize {
        self.orders.len()
    }

    pub(crate) fn lines(&self) -> usize {
        self.orders.iter().map(|order| order.lines.len()).sum()
    }

    pub(crate) fn erased(&self) -> usize {
        self.orders.iter().filter(|order| order.state.buyer.is_erased()).count()
    }

    /// Fails by the first order that is not the same: a whole ledger is no message.
    pub(crate) fn check(&self, other: &Told, what: &str) {
        assert_eq!(self.orders(), other.orders(), "{what}");
        for (own, theirs) in self.orders.iter().zip(&other.orders) {
            assert_eq!(own, theirs, "{what}");
        }
        assert!(self == other, "{what}: {:?} {:?}", (&self.due, &self.keys), (&other.due, &other.keys));
    }
}

impl Order {
    fn of(ledger: &Ledger, state: Payment) -> Order {
        let order = state.id;
        let lines = ledger.history(order).unwrap();
        let bodies = ledger.evidence(order).unwrap().iter().map(|entry| bare(&entry.text)).collect();
        let q = state.buyer.email.expose().to_uppercase();
        let query = Query { q: Some(q), limit: PAGE_ORDERS_MAX, ..Query::default() };
        let found = ledger.list(&query).unwrap().orders.iter().any(|found| found.id == order);
        assert_eq!(ledger.load(order).unwrap().as_ref(), Some(&state));
        Order {
            receipt: ledger.receipt(order).unwrap(),
            lines: lines.into_iter().map(|line| (line.version, line.at, line.events)).collect(),
            bodies,
            found,
            state,
        }
    }
}

/// A line without its chain and without the numbers of keys.
fn bare(text: &str) -> String {
    let body = &text[text.find("\"at\":").unwrap()..text.rfind(",\"hash\":").unwrap()];
    let mut bare = String::new();
    let mut rest = body;
    for mark in [",\"key\":", ",\"erases\":["] {
        // An idempotency key is a text.
        let Some(place) = rest
            .match_indices(mark)
            .map(|(at, _)| at + mark.len())
            .find(|at| rest[*at..].starts_with(|c: char| c.is_ascii_digit()))
        else {
            continue;
        };
        bare.push_str(&rest[..place]);
        rest =
            rest[place..].trim_start_matches(|c: char| c.is_ascii_digit() || c == ',' && mark.ends_with('['));
    }
    bare + rest
}

/// Moves a ledger, as soon as nobody holds its folder any more.
pub(crate) fn moved(from: &Place, to: &Place) -> Result<Migrated, MigrateError> {
    let is_free =
        |outcome: &Result<_, MigrateError>| !matches!(outcome, Err(MigrateError::Open(OpenError::InUse(_))));
    unlocked(|| migrate(from, to, &mut |_, _, _| ()), is_free)
}

pub(crate) fn folder(path: &Path) -> Place {
    Place::Folder(path.to_owned())
}

pub(crate) fn at_url(database: &Database) -> Place {
    Place::Database(database.url())
}

/// A folder with the journal of a fixture: between them they have every kind of event, and every status.
pub(crate) fn golden(version: &str) -> tempfile::TempDir {
    let store = tempfile::tempdir().unwrap();
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version);
    let journal = store.path().join("journal");
    std::fs::create_dir(&journal).unwrap();
    std::fs::copy(fixtures.join("journal.jsonl"), journal.join("00000000000000000001.jsonl")).unwrap();
    if let Ok(keys) = std::fs::read_to_string(fixtures.join("keyfile.txt")) {
        let records: Vec<u8> = keys.lines().flat_map(|line| hex::decode(line).unwrap()).collect();
        std::fs::write(journal.join("orders.keys"), records).unwrap();
    }
    store
}

/// Orders of two years, paid in another order than their clocks tell; one erased, one said more of afterwards.
pub(crate) async fn tangle(ledger: &Ledger) {
    /// The first moment of the year after [`NOON`]'s.
    const NEXT_YEAR: i64 = 4_067_200;
    fill(ledger).await;
    let numbers = [20, 21, 22, 23, NEXT_YEAR, NEXT_YEAR + 1, NEXT_YEAR + 2];
    for number in numbers {
        commit(ledger, number, &[created(number)]).await;
    }
    for number in [22, NEXT_YEAR + 2, 20, 23, NEXT_YEAR, 21] {
        commit(ledger, number, &[initiated(number)]).await;
        commit(ledger, number, &[checked(), paid(number)]).await;
    }
    commit(ledger, 23, &[Event::Delivered { remind_at: Some(at(200_000)) }]).await;
    commit(ledger, 20, &[Event::Erased { by: "admin".into() }]).await;
    let by = auditshield::domain::event::Decision { by: "Awa".into(), note: "rang about it".into() };
    commit(ledger, 20, &[Event::Note { by, resend: None, buyer: None }]).await;
    assert_eq!(ledger.receipt(id(21)).unwrap().unwrap().to_string(), "2023-000005");
}

/// Its address with a password.
pub(crate) fn url(database: &Database) -> String {
    database.url().replacen('@', &format!(":{PASSWORD}@"), 1)
}

/// Nothing personal, and no password.
pub(crate) fn discreet(said: &str) {
    for word in [PASSWORD, EMAIL, "example.ci", NAME, "rang about it"] {
        assert!(!said.contains(word), "{word} in {said}");
    }
}

/// Runs the command: its exit code, and what it said.
pub(crate) async fn run(world: &World, from: &str, to: &str) -> (i32, String) {
    let (code, said) = world.run(&["ledger", "migrate", "--json", "--from", from, "--to", to]).await;
    discreet(&said);
    (code, said)
}
