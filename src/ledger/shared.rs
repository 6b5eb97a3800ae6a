//! What a ledger needs that several daemons share, and what it comes to where one daemon has it alone.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::Cluster;
use super::standing::Kept;
use super::{CommitError, Ledger, LedgerError, Standing, by, query};
use crate::domain::event::Event;
use crate::domain::quota::{Drawn, Quota};
use crate::domain::values::{OrderId, Timestamp};

/// The right to run one errand of an order. Of all nodes one has it, until it is given back, committed under, or over.
#[derive(Debug)]
pub struct Lease(Right);

#[derive(Debug)]
enum Right {
    /// Nobody else could have it.
    Sole,
    /// Granted by the database.
    #[cfg(feature = "postgres")]
    Held(super::postgres::Held),
}

impl Lease {
    /// When it is over; never, where one daemon has the ledger alone.
    pub fn end(&self) -> Option<Instant> {
        match &self.0 {
            Right::Sole => None,
            #[cfg(feature = "postgres")]
            Right::Held(held) => Some(held.until),
        }
    }
}

/// Orders read ahead, in one question where the ledger is shared. One that this daemon has alone is read order by order,
/// and only those that are asked for.
pub struct Ahead<'a> {
    ledger: &'a Ledger,
    read: HashMap<OrderId, Standing>,
}

impl Ahead<'_> {
    /// The order's committed state. None: unknown, or it cannot be read.
    pub fn standing(&self, id: OrderId) -> Option<Standing> {
        if self.ledger.is_shared() {
            self.read.get(&id).cloned()
        } else {
            self.ledger.standing(id).ok().flatten()
        }
    }
}

impl Ledger {
    /// Connects to a shared ledger and brings its tables up to date. Blocks.
    ///
    /// # Errors
    /// The address, the database, or tables of a newer program.
    #[cfg(feature = "postgres")]
    pub fn connect(url: &str) -> Result<Ledger, super::OpenError> {
        super::postgres::Postgres::open(url).map(|store| Ledger::Postgres(std::sync::Arc::new(store)))
    }

    /// What the database at `url` says of itself. Makes no tables and leaves nothing behind.
    ///
    /// # Errors
    /// The address, or the database.
    #[cfg(feature = "postgres")]
    pub async fn survey(url: &str) -> Result<super::cluster::Database, super::OpenError> {
        super::postgres::Postgres::survey(url).await
    }

    /// Whether other daemons may commit to it: then what was read may have moved on.
    pub fn is_shared(&self) -> bool {
        by!(self, _store => false, _rows => true)
    }

    /// How far this machine's clock is behind the one that all nodes go by, in milliseconds.
    pub fn skew_millis(&self) -> i64 {
        by!(self, _store => 0, rows => rows.skew_millis())
    }

    /// The daemons that share this ledger, and the database below. None where one daemon has it alone.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn cluster(&self) -> Result<Option<Cluster>, LedgerError> {
        by!(self, _store => Ok(None), rows => rows.cluster().await.map(Some))
    }

    /// Tells the other nodes where this one listens.
    pub fn introduce(&self, address: &str) {
        by!(self, _store => {
            let _ = address;
        }, rows => rows.introduce(address));
    }

    /// How long ago the other nodes last heard of this one; none where there are no others.
    pub fn pulse_age(&self) -> Option<Duration> {
        by!(self, _store => None, rows => rows.pulse_age())
    }

    /// [`Ledger::standing`] for a caller that must not block.
    ///
    /// # Errors
    /// The order cannot be read.
    pub async fn newest(&self, id: OrderId) -> Result<Option<Standing>, LedgerError> {
        by!(self, _store => self.standing(id), rows => Ok(rows.newest(id).await?.map(Standing::row)))
    }

    /// [`Ledger::due`] for a caller that must not block.
    ///
    /// # Errors
    /// What is due cannot be read.
    pub async fn look(&self, now: Timestamp, limit: usize) -> Result<Vec<(Timestamp, OrderId)>, LedgerError> {
        by!(self, store => query::due(store, now, limit), rows => rows.look(now, limit).await)
    }

    /// Reads these orders ahead, where that is one question instead of many.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn ahead(&self, ids: impl Iterator<Item = OrderId>) -> Result<Ahead<'_>, LedgerError> {
        let read = by!(self, _store => {
            drop(ids);
            HashMap::new()
        }, rows => {
            let read = rows.several(ids.collect()).await?;
            read.into_iter().map(|(id, row)| (id, Standing::row(row))).collect()
        });
        Ok(Ahead { ledger: self, read })
    }

    /// The right to run what this order owes, for `length`. None: another node has it, or the order has moved on since
    /// `standing` was read.
    ///
    /// # Errors
    /// The database does not answer; then there is no lease.
    pub async fn lease(&self, standing: &Standing, length: Duration) -> Result<Option<Lease>, LedgerError> {
        let right = match (self, &standing.0) {
            (Ledger::Embedded(_), _) => {
                let _ = length;
                Some(Right::Sole)
            }
            #[cfg(feature = "postgres")]
            (Ledger::Postgres(rows), Kept::Rows(row)) => rows.lease(row, length).await?.map(Right::Held),
            #[cfg(feature = "postgres")]
            (Ledger::Postgres(_), Kept::Journal(_)) => None,
        };
        Ok(right.map(Lease))
    }

    /// Gives a lease back that nothing was committed under. Best effort: it ends by itself.
    pub async fn release(&self, lease: Lease) {
        match (self, lease.0) {
            (_, Right::Sole) => {}
            #[cfg(feature = "postgres")]
            (Ledger::Postgres(rows), Right::Held(held)) => rows.release(held).await,
            #[cfg(feature = "postgres")]
            (Ledger::Embedded(_), Right::Held(_)) => {}
        }
    }

    /// [`Ledger::commit`] of what an errand brought back. Its lease ends with it.
    ///
    /// # Errors
    /// As [`Ledger::commit`]; [`CommitError::Fenced`] where the lease was over and another one was given out.
    pub async fn commit_under(
        &self,
        lease: Option<&Lease>,
        id: OrderId,
        base: Option<&Standing>,
        events: &[Event],
        now: Timestamp,
    ) -> Result<Standing, CommitError> {
        match self {
            Ledger::Embedded(store) => {
                let base = match base.map(|standing| &standing.0) {
                    Some(Kept::Journal(snapshot)) => Some(snapshot),
                    None => None,
                    #[cfg(feature = "postgres")]
                    Some(Kept::Rows(_)) => return Err(CommitError::Conflict),
                };
                let _ = lease;
                store.commit(id, base, events, now).await.map(Standing::of)
            }
            #[cfg(feature = "postgres")]
            Ledger::Postgres(rows) => {
                let base = match base.map(|standing| &standing.0) {
                    Some(Kept::Rows(row)) => Some(row),
                    None => None,
                    Some(Kept::Journal(_)) => return Err(CommitError::Conflict),
                };
                let held = lease.and_then(|lease| match &lease.0 {
                    Right::Held(held) => Some(held),
                    Right::Sole => None,
                });
                rows.commit(id, base, events, now, held).await.map(Standing::row)
            }
        }
    }

    /// Draws permits that all nodes share: as many as are free, at most `most` and a burst. A ledger that this daemon has
    /// alone keeps none: whoever needs a limit there counts for itself.
    ///
    /// # Errors
    /// The database does not answer; then there is none, though it may have been counted.
    pub async fn draw(&self, quota: Quota, most: u32) -> Result<Drawn, LedgerError> {
        by!(self, _store => Ok(Drawn { granted: most.clamp(1, quota.burst()), wait: Duration::ZERO }), rows => {
            rows.draw(quota, most).await
        })
    }

    /// Verifies a shared ledger; daemons may be at work meanwhile. `progress` is told the bytes looked at so far. None:
    /// this ledger is not shared, see [`super::verify`]. Blocks.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn verify_shared(&self, progress: &mut dyn FnMut(u64)) -> Result<Option<super::Report>, LedgerError> {
        by!(self, _store => {
            let _ = progress;
            Ok(None)
        }, rows => rows.verify(&mut |report| progress(report.bytes)).map(Some))
    }
}
