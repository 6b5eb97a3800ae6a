//! From a folder into a database: order by order, each as a whole or not at all, so that whatever is there need not be
//! looked at again by the run that goes on.

use std::collections::HashMap;
use std::path::Path;

use super::books::Books;
use super::error::sound;
use super::{MigrateError, Migrated, SOURCE, Stage, TARGET, Tell, at_rest, books_of, moved};
use crate::domain::values::OrderId;
use crate::ledger::OpenError;
use crate::ledger::check::{Order, Told, examine};
use crate::ledger::journal::{Medium, line, read_line};
use crate::ledger::open::{folder_error, lock, whole};
use crate::ledger::postgres::{Mark, Moved, Postgres, Taken};

/// Orders in one statement at most …
const ORDERS_MAX: u64 = 100;
/// … and about so many bytes of lines.
const BYTES_MAX: usize = 1024 * 1024;
/// What is noted of a journal without lines.
const NOTHING: &str = "-";

/// The folder's ledger, verified.
struct Source {
    medium: Medium,
    told: Told,
    books: Books,
    /// The hash of its first line.
    first: Option<String>,
}

pub(super) fn run(folder: &Path, url: &str, tell: &mut Tell<'_>) -> Result<Migrated, MigrateError> {
    whole(folder)?;
    let journal = folder.join("journal");
    if !journal.is_dir() {
        return Err(folder_error(&journal)(std::io::ErrorKind::NotFound.into()).into());
    }
    // Nobody else opens it until all is done.
    let _lock = lock(folder)?;
    let database = Postgres::attach(url)?;
    at_rest(&database)?;
    let source = Source::read(folder, tell)?;
    let ours = source.mark();
    let known = database.mark()?;
    let is_done = match &known {
        Some(known) if Mark { finished: false, ..known.clone() } == ours => known.finished,
        Some(_) => return Err(MigrateError::Other("PostgreSQL".to_owned())),
        None if database.is_used()? => return Err(MigrateError::NotEmpty("PostgreSQL".to_owned())),
        None => {
            database.open_transfer(&ours)?;
            false
        }
    };
    failpoint!("migrate.noted");
    if !is_done {
        // A daemon that started before that note was written is heard of by now.
        at_rest(&database)?;
        source.copy(&database, tell)?;
        database.put_series(&source.books.receipts())?;
        failpoint!("migrate.copied");
    }
    let total = source.books.lines();
    let report = database.verify(&mut |report| tell(Stage::Compare, report.lines, total))?;
    sound(TARGET, &report)?;
    let (books, target_head) = books_of(&database, &mut |_, _| Ok(()))?;
    match source.books.differs(&books) {
        // What was finished goes on by itself.
        Some(_) if is_done => return Err(MigrateError::NotEmpty("PostgreSQL".to_owned())),
        Some(what) => return Err(MigrateError::Differs(what)),
        None => {}
    }
    failpoint!("migrate.compared");
    database.end_transfer(&source.books.chains())?;
    Ok(Migrated {
        from: "sled",
        to: "postgres",
        resumed: known.is_some(),
        source_head: source.told.report.head.clone().filter(|_| total > 0),
        target_head: Some(target_head),
        ..moved(&source.books, report.erased)
    })
}

impl Source {
    /// Walks and verifies the journal, and the index.
    fn read(folder: &Path, tell: &mut Tell<'_>) -> Result<Source, MigrateError> {
        let medium = Medium::Disk(folder.join("journal"));
        let io = |error| OpenError::from(crate::ledger::JournalError::io(medium.path(1))(error));
        let mut size = 0;
        for first in medium.list().map_err(io)? {
            size += medium.open_read(first).and_then(|segment| segment.size()).map_err(io)?;
        }
        let (mut books, mut first) = (Books::default(), None);
        let mut told = examine(&medium, &mut |bytes| tell(Stage::Verify, bytes, size), &mut |line, read| {
            if line.seq == 1 {
                first = Some(String::from_utf8_lossy(&line.hash).into_owned());
            }
            books.line(read.order, read.line.version, line.body)
        })?;
        told.compare_index(folder);
        sound(SOURCE, &told.report)?;
        books.folded(told.orders.iter(), &told.ring).map_err(MigrateError::Line)?;
        Ok(Source { medium, told, books, first })
    }

    fn mark(&self) -> Mark {
        let nothing = || NOTHING.to_owned();
        let lines = self.told.report.lines.cast_signed();
        let head = self.told.report.head.clone().filter(|_| lines > 0);
        let source = self.first.clone().unwrap_or_else(nothing);
        Mark { source, head: head.unwrap_or_else(nothing), lines, finished: false }
    }

    fn copy(&self, database: &Postgres, tell: &mut Tell<'_>) -> Result<(), MigrateError> {
        let ids: Vec<OrderId> = self.books.orders.keys().copied().collect();
        let (total, mut done) = (self.books.lines(), 0);
        let orders_max = failpoint_bound!("MIGRATE_ORDERS", ORDERS_MAX);
        for chunk in ids.chunks(usize::try_from(orders_max).unwrap_or(usize::MAX)) {
            let there = database.there(chunk)?;
            let (mut batch, mut bytes) = (Vec::new(), 0);
            for id in chunk {
                done += u64::from(self.books.orders[id].lines);
                if there.binary_search(id).is_ok() {
                    continue;
                }
                let order = self.order(*id, database)?;
                bytes += order.bytes();
                batch.push(order);
                if bytes >= BYTES_MAX {
                    bytes = 0;
                    database.put(std::mem::take(&mut batch))?;
                    failpoint!("migrate.put");
                }
            }
            if !batch.is_empty() {
                database.put(batch)?;
                failpoint!("migrate.put");
            }
            tell(Stage::Copy, done, total);
        }
        Ok(())
    }

    /// All that belongs to an order.
    fn order(&self, id: OrderId, database: &Postgres) -> Result<Moved, MigrateError> {
        let orders: &HashMap<OrderId, Order> = &self.told.orders;
        let order = orders.get(&id).ok_or_else(|| MigrateError::Line(format!("{id}: no such order")))?;
        let mut taken = Vec::with_capacity(order.lines.len());
        for located in &order.lines {
            let bytes = read_line(&self.medium, located.seq, located.position)?;
            let line = line::decode(&bytes).map_err(|reason| MigrateError::Line(reason.to_owned()))?;
            taken.push(Taken { seq: line.seq, body: line.body.to_vec(), hash: line.hash.to_vec() });
        }
        let ring = &self.told.ring;
        let mut keys = Vec::new();
        for slot in &self.books.orders[&id].slots {
            let lost = || MigrateError::Line(ring.lost(*slot, id).to_string());
            keys.push(ring.moved(*slot, id, *slot)?.ok_or_else(lost)?);
        }
        let request = order.payment.as_ref().and_then(|payment| payment.request.clone());
        let stands = |key: &String| self.books.requests.get(key).is_some_and(|(owner, ..)| *owner == id);
        let request = request.filter(|request| stands(&request.key));
        let order_of = Moved::of(id, taken, ring, database.addresses()).map_err(MigrateError::Line)?;
        Ok(order_of.with(keys, request, order.receipt))
    }
}
