//! `ledger migrate`: a whole ledger from a folder into a PostgreSQL database, or back.
//!
//! What moves are the lines, byte for byte but for the numbers of their keys (`body`), and the keys' records: nothing
//! personal is opened for it but to fold the orders, as every node does. Each side builds its own chain over them. What
//! proves that nothing was lost are books, made from each side's own lines and compared (`books`).
//!
//! Invariant: a target that is not finished is refused by every daemon, and a migration that was killed goes on.
//! Invariant: it is finished only once the target was verified and its books equal the source's.

mod body;
mod books;
mod error;
mod partial;
mod plan;
mod to_database;
mod to_folder;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::LedgerError;
use super::postgres::Postgres;
use super::seal::Keyring;
use books::Books;
pub use error::MigrateError;

/// How the source is called in messages.
const SOURCE: &str = "la source / the source";
/// How the target is called in messages.
const TARGET: &str = "la cible / the target";

/// Where a ledger is.
#[derive(Clone)]
pub enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A database, by its address, which may hold a password.
    Database(String),
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The source is verified.
    Verify,
    /// It is copied.
    Copy,
    /// The target is verified and compared.
    Compare,
}

/// Told how much of a stage is done, and of how much.
pub type Tell<'a> = dyn FnMut(Stage, u64, u64) + 'a;

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Migrated {
    /// `sled` or `postgres`.
    pub from: &'static str,
    /// The other.
    pub to: &'static str,
    /// Whether it goes on from a run that did not come to its end.
    pub resumed: bool,
    /// Orders on either side.
    pub orders: u64,
    /// Lines on either side.
    pub lines: u64,
    /// Orders by their status.
    pub statuses: BTreeMap<&'static str, u64>,
    /// Orders whose personal data were erased.
    pub erased: u64,
    /// The last receipt's number of each year.
    pub receipts: BTreeMap<i16, u64>,
    /// Idempotency keys younger than a day.
    pub requests: u64,
    /// One hash of every order's chain, the same on either side.
    pub chains: String,
    /// What the source's chain ends with: its last line's hash, or one hash over the ends of all its chains.
    pub source_head: Option<String>,
    /// The same of the target.
    pub target_head: Option<String>,
}

/// Moves a ledger. Both are left as they are by a refusal; a run that breaks off is gone on with by the next. Blocks.
///
/// # Errors
/// See [`MigrateError`].
pub fn migrate(from: &Place, to: &Place, tell: &mut Tell<'_>) -> Result<Migrated, MigrateError> {
    match (from, to) {
        (Place::Folder(folder), Place::Database(url)) => to_database::run(folder, url, tell),
        (Place::Database(url), Place::Folder(folder)) => to_folder::run(url, folder, tell),
        (Place::Folder(_), Place::Folder(_)) | (Place::Database(_), Place::Database(_)) => {
            Err(MigrateError::SameKind)
        }
    }
}

/// What was moved, by the books of it; both heads are added by who knows them.
fn moved(books: &Books, erased: u64) -> Migrated {
    Migrated {
        from: "",
        to: "",
        resumed: false,
        orders: books.orders.len() as u64,
        lines: books.lines(),
        statuses: books.statuses(),
        erased,
        receipts: books.receipts(),
        requests: books.requests.len() as u64,
        chains: books.chains(),
        source_head: None,
        target_head: None,
    }
}

/// Refuses a database that daemons are at work in.
fn at_rest(database: &Postgres) -> Result<(), MigrateError> {
    match database.nodes()? {
        0 => Ok(()),
        nodes => Err(MigrateError::InUse { nodes }),
    }
}

/// Looks at an order of a database, with its keys.
type Also<'a> = dyn FnMut(&super::postgres::Stand, &Keyring) -> Result<(), MigrateError> + 'a;

/// A database's books, and one hash over the ends of its chains.
fn books_of(database: &Postgres, also: &mut Also<'_>) -> Result<(Books, String), MigrateError> {
    let (mut books, mut ends, mut last) = (Books::default(), Vec::new(), None);
    loop {
        let (stands, ring) = database.whole_after(last)?;
        let Some(newest) = stands.last() else { break };
        last = Some(newest.id);
        for stand in &stands {
            books.stands(stand, &ring).map_err(MigrateError::Line)?;
            ends.push((stand.id, stand.head.clone()));
            also(stand, &ring)?;
        }
    }
    books.requests = database.requests()?;
    Ok((books, books::digest(ends.into_iter())))
}

/// One hash over the ends of a database's chains, as they are now.
fn heads(database: &Postgres) -> Result<String, LedgerError> {
    let (mut ends, mut last) = (Vec::new(), None);
    loop {
        let stands = database.stands_after(last)?;
        let Some(newest) = stands.last() else { return Ok(books::digest(ends.into_iter())) };
        last = Some(newest.id);
        ends.extend(stands.into_iter().map(|stand| (stand.id, stand.head)));
    }
}
