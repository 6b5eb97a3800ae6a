//! From a database into a folder: line by line, in an order in which the journal counts the receipts as they are numbered.

use std::path::Path;

use super::books::Books;
use super::error::sound;
use super::partial::{Found, Partial, State};
use super::plan::{Outline, sequence};
use super::{MigrateError, Migrated, SOURCE, Stage, TARGET, Tell, at_rest, books_of, heads, moved};
use crate::domain::event::Event;
use crate::domain::values::OrderId;
use crate::ledger::check::examine;
use crate::ledger::journal::{Medium, Patch};
use crate::ledger::open::{folder_error, lock};
use crate::ledger::postgres::{Postgres, Stand};
use crate::ledger::record::{Keys, decode_body};
use crate::ledger::seal::Keyring;
use crate::ledger::{OpenError, OpenOptions, Report};

/// Lines asked for at one time.
const LINES_MAX: usize = 1000;

/// The database's ledger, verified, and how it becomes a journal.
struct Source {
    database: Postgres,
    books: Books,
    /// One hash over the ends of its chains.
    heads: String,
    /// By the orders' numbers.
    outlines: Vec<Outline>,
    /// The numbers of each order's keys, and the number that the first of them gets; the others follow.
    slots: Vec<(Vec<u64>, u64)>,
    /// Every key, with the number that it gets.
    keys: Vec<Patch>,
    erased: u64,
}

pub(super) fn run(url: &str, store: &Path, tell: &mut Tell<'_>) -> Result<Migrated, MigrateError> {
    std::fs::create_dir_all(store).map_err(folder_error(store))?;
    // Nobody else opens it until all is done.
    let _lock = lock(store)?;
    let source = Source::read(url, tell)?;
    let receipts = source.books.receipts();
    let (orders, lines) = (source.books.orders.len() as u64, source.books.lines());
    let state = State::new(orders, lines, source.books.chains(), source.heads.clone(), receipts);
    let segment_bytes = OpenOptions::new(store, |_| ()).segment_bytes;
    let (medium, open) = match Partial::find(store, &state, segment_bytes)? {
        Found::Finished(medium) => (medium, None),
        Found::Open(mut partial) => {
            source.copy(&mut partial, tell)?;
            (partial.medium().clone(), Some(partial))
        }
    };
    let (report, books) = read_back(&medium, lines, tell)?;
    match source.books.differs(&books) {
        // What was finished goes on by itself.
        Some(_) if open.is_none() => return Err(MigrateError::NotEmpty(store.display().to_string())),
        Some(what) => return Err(MigrateError::Differs(what)),
        None => {}
    }
    at_rest(&source.database)?;
    if heads(&source.database)? != source.heads {
        return Err(MigrateError::Changed);
    }
    let resumed = open.as_ref().is_none_or(|partial| partial.resumed);
    if let Some(partial) = open {
        partial.finish()?;
    }
    Ok(Migrated {
        from: "postgres",
        to: "sled",
        resumed,
        source_head: Some(source.heads),
        target_head: report.head.filter(|_| lines > 0),
        ..moved(&source.books, source.erased)
    })
}

/// Verifies what was written, and makes its books.
fn read_back(medium: &Medium, total: u64, tell: &mut Tell<'_>) -> Result<(Report, Books), MigrateError> {
    let (mut books, mut seen) = (Books::default(), 0);
    let told = examine(medium, &mut |_| (), &mut |line, read| {
        seen += 1;
        if seen % LINES_MAX as u64 == 0 {
            tell(Stage::Compare, seen, total);
        }
        books.line(read.order, read.line.version, line.body)
    })?;
    sound(TARGET, &told.report)?;
    books.folded(told.orders.iter(), &told.ring).map_err(MigrateError::Line)?;
    Ok((told.report, books))
}

impl Source {
    fn read(url: &str, tell: &mut Tell<'_>) -> Result<Source, MigrateError> {
        let database = Postgres::attach(url)?;
        if database.mark()?.is_some_and(|mark| !mark.finished) {
            return Err(OpenError::Migrating("PostgreSQL".to_owned()).into());
        }
        at_rest(&database)?;
        let total = database.lines_count()?;
        let report = database.verify(&mut |report| tell(Stage::Verify, report.lines, total))?;
        sound(SOURCE, &report)?;
        let (mut outlines, mut numbers, mut keys) = (Vec::new(), Vec::new(), Vec::<Patch>::new());
        let (books, heads) = books_of(&database, &mut |stand, ring| {
            let (outline, slots) = outline(stand)?;
            outlines.push(outline);
            // The key file's own record is number 0.
            let first = keys.len() as u64 + 1;
            for (slot, to) in slots.iter().zip(first..) {
                keys.push(key(ring, stand.id, *slot, to)?);
            }
            numbers.push((slots, first));
            Ok(())
        })?;
        Ok(Source { database, books, heads, outlines, slots: numbers, keys, erased: report.erased })
    }

    fn copy(&self, partial: &mut Partial, tell: &mut Tell<'_>) -> Result<(), MigrateError> {
        let gap = || {
            MigrateError::Line(
                "les numéros des reçus ont un trou / the receipts' numbers have a gap".to_owned(),
            )
        };
        let sequence = sequence(&self.outlines).ok_or_else(gap)?;
        partial.keys(&self.keys)?;
        let total = sequence.len() as u64;
        let written = usize::try_from(partial.lines()).unwrap_or(usize::MAX).min(sequence.len());
        for lines in sequence[written..].chunks(LINES_MAX) {
            let place = |(place, line): &(usize, usize)| {
                let version = u32::try_from(line + 1).unwrap_or(u32::MAX);
                (self.outlines[*place].id, version)
            };
            let bodies = self.database.bodies(lines.iter().map(place).collect())?;
            for ((place, _), body) in lines.iter().zip(bodies) {
                let (slots, first) = &self.slots[*place];
                let number = &mut |slot| Some(first + slots.iter().position(|known| *known == slot)? as u64);
                partial.append(&super::body::renumbered(&body, number).map_err(MigrateError::Line)?)?;
            }
            tell(Stage::Copy, partial.lines(), total);
        }
        partial.settle()
    }
}

/// What is to be known of an order, and the numbers of its keys, in the order in which its lines name them. Nothing sealed
/// is opened for it.
fn outline(stand: &Stand) -> Result<(Outline, Vec<u64>), MigrateError> {
    let (mut moments, mut pays, mut slots) = (Vec::with_capacity(stand.lines.len()), None, Vec::new());
    for (line, stored) in stand.lines.iter().enumerate() {
        let read = decode_body(u64::from(stored.version), &stored.body, Keys::None);
        let read = read.map_err(|error| MigrateError::Line(format!("{}: {error}", stand.id)))?;
        moments.push(read.line.at.millis());
        if read.line.events.iter().any(|event| matches!(event, Event::Paid { .. })) {
            pays = stand.receipt.map(|number| (line, number));
        }
        if let Some(slot) = read.kept.slot()
            && !slots.contains(&slot)
        {
            slots.push(slot);
        }
    }
    Ok((Outline { id: stand.id, moments, pays }, slots))
}

/// A key as the record with another number.
fn key(ring: &Keyring, order: OrderId, slot: u64, to: u64) -> Result<Patch, MigrateError> {
    let lost = || MigrateError::Line(ring.lost(slot, order).to_string());
    ring.moved(slot, order, to)?.ok_or_else(lost)
}
