//! A commit: one statement, repeated where it certainly did not happen, and looked up where nobody knows.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::lease::Held;
use super::pool::Value;
use super::read::read;
use super::row::{Columns, Row, framed, genesis};
use super::trouble::Trouble;
use super::{Inner, Postgres, sent};
use crate::domain::event::Event;
use crate::domain::payment::Payment;
use crate::domain::receipt::year;
use crate::domain::values::{OrderId, Timestamp};
use crate::ledger::index::indexer::REQUEST_AGE_MAX;
use crate::ledger::journal::LINE_BYTES_MAX;
use crate::ledger::journal::line::FRAME_BYTES_MAX;
use crate::ledger::record::{Commit, Snapshot};
use crate::ledger::seal::{Addresses, Keyring};
use crate::ledger::vault::Vault;
use crate::ledger::{CommitError, erasure};

const MOVE: &str = include_str!("sql/commit.sql");
const MOVE_PAID: &str = include_str!("sql/commit_paid.sql");
const MOVE_KEYS: &str = include_str!("sql/commit_keys.sql");
const CREATE: &str = include_str!("sql/create.sql");
const CREATE_KEYED: &str = include_str!("sql/create_keyed.sql");
const READ_BACK: &str = include_str!("sql/read_back.sql");
const FENCE: &str = include_str!("sql/fence.sql");

/// A commit is given up after this long.
const COMMIT_SECONDS_MAX: u64 = 12;
/// First wait before a statement is sent again; it doubles, with chance in it.
const AGAIN_MILLIS: u64 = 5;
/// Longest wait before a statement is sent again.
const AGAIN_MILLIS_MAX: u64 = 500;

/// What somebody wants to commit.
#[derive(Clone, Copy)]
struct Wish<'a> {
    id: OrderId,
    base: Option<&'a Arc<Row>>,
    events: &'a [Event],
    now: Timestamp,
    lease: Option<&'a Held>,
}

/// What is to be committed.
struct Write {
    id: OrderId,
    before: Option<Arc<Row>>,
    next: Row,
    columns: Columns,
    body: Vec<u8>,
    /// Whether something personal stands in it.
    personal: bool,
    /// Numbers of the keys that are made or destroyed with it; none, most of the time.
    slots: Vec<i64>,
    /// Their records.
    records: Vec<Vec<u8>>,
    /// Unique: what tells whether this commit, and no other, happened.
    operation: Vec<u8>,
    epoch: Option<i64>,
    now: Timestamp,
}

impl Postgres {
    pub(in crate::ledger) async fn commit(
        &self,
        id: OrderId,
        base: Option<&Arc<Row>>,
        events: &[Event],
        now: Timestamp,
        lease: Option<&Held>,
    ) -> Result<Arc<Row>, CommitError> {
        if events.is_empty() || base.is_some_and(|base| base.payment().id != id) {
            return Err(CommitError::Conflict);
        }
        let next = Payment::evolve(base.map(|base| &**base.payment()), id, events, now)?;
        let wish = Wish { id, base, events, now, lease };
        let (ring, erases) = self.keys(&wish, &next).await?;
        let write = Write::of(&wish, next, (&ring, &erases), &self.inner.addresses)?;
        // The key itself is in the statement from here on, and nowhere after it.
        drop(ring);
        let done = self.run(|inner| async move {
            inner.commit(&write).await?;
            inner.promises.remember(write.id, &write.operation);
            Ok(write.next)
        });
        let outcome = done.await.unwrap_or(Err(CommitError::Closed));
        let label = match &outcome {
            Ok(_) => "ok",
            Err(CommitError::NoRoom) => "no_room",
            Err(CommitError::Unknown) => "fatal",
            Err(_) => "io",
        };
        metrics::counter!("auditshield_journal_commits_total", "outcome" => label).increment(1);
        outcome.map(Arc::new)
    }

    /// The order's keys as far as the commit needs them, and the numbers of those that it destroys. Asked for only where
    /// something personal changes. Keys change with the order's version and never without it: if they are newer than
    /// `wish.base`, so is the order, and the commit moves no row.
    async fn keys(&self, wish: &Wish<'_>, next: &Payment) -> Result<(Keyring, Vec<u64>), CommitError> {
        let (id, erases) = (wish.id, erasure::erases(wish.events));
        let changes =
            |base: &&Arc<Row>| Commit::is_personal(wish.events) || !base.payment().is_personally(next);
        if wish.base.filter(changes).is_none() && !erases {
            return Ok((Keyring::of_rows(&self.inner.addresses, std::iter::empty()), Vec::new()));
        }
        let asked = self.run(move |inner| async move {
            if erases { inner.lines_of(&[id]).await } else { Ok((Vec::new(), inner.keys(&[id]).await?)) }
        });
        let asked = asked.await.ok_or(CommitError::Closed)?;
        let (lines, ring) = asked.map_err(|trouble| CommitError::Read(trouble.into()))?;
        let kept = lines.iter().map(|line| Ok(read(line, &ring)?.kept));
        let erases = erasure::keys_of(kept)?;
        Ok((ring, erases))
    }
}

impl Write {
    fn of(
        wish: &Wish<'_>,
        payment: Payment,
        (ring, erases): (&Keyring, &[u64]),
        addresses: &Addresses,
    ) -> Result<Write, CommitError> {
        let Wish { id, base, events, now, lease } = *wish;
        let before = base.map(|base| &base.snapshot);
        let (seal, made) = erasure::seal(ring, id, before.map(|before| &before.vault), events)?;
        let commit = Commit { order: id, version: payment.version, events, at: now, erases };
        let body = commit.encode(seal.as_ref()).map_err(CommitError::Io)?;
        if body.len() + FRAME_BYTES_MAX > LINE_BYTES_MAX {
            return Err(CommitError::TooLarge);
        }
        let vault = Vault::after(before, &payment, seal.as_ref(), ring).map_err(CommitError::Io)?;
        let prev = base.map_or_else(genesis, |base| base.head.clone());
        let framed = framed(payment.version, &prev, &body);
        let (_, head) = framed.ok_or_else(|| CommitError::Io("a head that is no hash".to_owned()))?;
        let snapshot = Snapshot { payment: Arc::new(payment), vault, lines: Vec::new() };
        let gone = erases.iter().map(|slot| Keyring::destroyed(*slot, id));
        let keys = made.into_iter().chain(gone);
        let (slots, records) = keys.map(|key| (key.slot.cast_signed(), key.bytes.to_vec())).unzip();
        Ok(Write {
            id,
            before: base.cloned(),
            columns: Columns::of(&snapshot, addresses).map_err(|error| CommitError::Io(error.to_string()))?,
            next: Row { snapshot, head },
            body,
            personal: Commit::is_personal(events),
            slots,
            records,
            operation: rand::random::<[u8; 16]>().to_vec(),
            epoch: lease.map(|held| held.epoch),
            now,
        })
    }
}

impl Inner {
    async fn commit(&self, write: &Write) -> Result<(), CommitError> {
        let end = Instant::now() + Duration::from_secs(COMMIT_SECONDS_MAX);
        let mut unsure = false;
        let mut wait = AGAIN_MILLIS;
        loop {
            let trouble = match self.attempt(write).await {
                Ok(true) => return Ok(()),
                Ok(false) => match self.judge(write).await {
                    Ok(judgement) => return judgement,
                    Err(trouble) => trouble,
                },
                Err(trouble) => trouble,
            };
            match &trouble {
                // A refusal is certain of this attempt; an earlier one may have happened all the same.
                Trouble::Refused(text) if !unsure => return Err(CommitError::Io(text.clone())),
                Trouble::Refused(text) => match self.happened(write).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => return Err(CommitError::Io(text.clone())),
                    Err(_) => {}
                },
                Trouble::Unsure(_) => unsure = true,
                Trouble::NoRoom(_) if !unsure => return Err(CommitError::NoRoom),
                Trouble::Damaged(text) => return Err(CommitError::Io(text.clone())),
                Trouble::Lost(lost) => return Err(CommitError::Read(lost.clone().into())),
                Trouble::Away(_) | Trouble::Again(_) | Trouble::NoRoom(_) => {}
            }
            self.pulse.note(&trouble);
            if Instant::now() >= end {
                tracing::error!(order = %write.id, %trouble, unsure, "a commit is given up");
                return Err(if unsure { CommitError::Unknown } else { CommitError::NoRoom });
            }
            let chance = rand::random_range(0..=wait);
            tokio::time::sleep(Duration::from_millis(wait / 2 + chance)).await;
            wait = (wait * 2).min(AGAIN_MILLIS_MAX);
        }
    }

    /// Sends it. False: no row was moved.
    async fn attempt(&self, write: &Write) -> Result<bool, Trouble> {
        let Some(before) = &write.before else { return self.create(write).await };
        let Columns { snapshot, status, due_ms, email_hash, tx_hash, stalled } = &write.columns;
        let id = write.id.bytes().to_vec();
        let version = i64::from(before.payment().version);
        let head = &write.next.head;
        let common: [Value<'_>; 15] = [
            &id,
            &version,
            &before.head,
            head,
            snapshot,
            status,
            due_ms,
            email_hash,
            tx_hash,
            stalled,
            &self.node,
            &write.epoch,
            &write.operation,
            &write.body,
            &write.personal,
        ];
        let newly_paid = write.next.payment().sale().filter(|_| before.payment().sale().is_none());
        let price = write.next.payment().price;
        let (currency, amount) = (price.currency().code(), price.amount().cast_signed());
        let sold = newly_paid.map(|sale| (i64::from(year(sale.paid_at)), sale.paid_at.hour()));
        let mut values = common.to_vec();
        let sql = match &sold {
            _ if !write.slots.is_empty() => {
                let (year, hour) = (sold.map(|(year, _)| year), sold.map(|(_, hour)| hour));
                values.extend([&write.slots as Value<'_>, &write.records]);
                values.extend([&year as Value<'_>, &hour, &currency, &amount]);
                return Ok(self.pool.count(&sent(MOVE_KEYS), &values).await? == 1);
            }
            None => MOVE,
            Some((year, hour)) => {
                values.extend([year as Value<'_>, hour, &currency, &amount]);
                MOVE_PAID
            }
        };
        Ok(self.pool.count(&sent(sql), &values).await? == 1)
    }

    async fn create(&self, write: &Write) -> Result<bool, Trouble> {
        let Columns { snapshot, status, due_ms, email_hash, .. } = &write.columns;
        let id = write.id.bytes().to_vec();
        let created = write.next.payment().created_at.millis();
        let head = &write.next.head;
        let common: [Value<'_>; 12] = [
            &id,
            head,
            snapshot,
            status,
            due_ms,
            &created,
            email_hash,
            &self.node,
            &write.operation,
            &write.body,
            &write.slots,
            &write.records,
        ];
        let Some(request) = &write.next.payment().request else {
            return Ok(self.pool.count(CREATE, &common).await? == 1);
        };
        // Whose order a key stands for is decided by the row: only the one that was seen here may be replaced.
        let replaced = match self.key(&request.key).await? {
            Some((order, _, at)) if !self.may_replace(order, at, write.now).await? => return Ok(false),
            Some((order, _, _)) => Some(order.bytes().to_vec()),
            None => None,
        };
        let mut values = common.to_vec();
        values.extend([&request.key as Value<'_>, &request.fingerprint, &replaced]);
        Ok(self.pool.count(CREATE_KEYED, &values).await? == 1)
    }

    /// Whether a key may stand for another order than this one: it is old, or nobody can pay it any more.
    async fn may_replace(&self, order: OrderId, at: Timestamp, now: Timestamp) -> Result<bool, Trouble> {
        if now.since(at) >= REQUEST_AGE_MAX {
            return Ok(true);
        }
        let holder = self.row(order).await?;
        Ok(holder.is_none_or(|row| row.payment().is_spent()))
    }

    /// What it means that no row was moved: it had been moved by this very commit, or by another.
    async fn judge(&self, write: &Write) -> Result<Result<(), CommitError>, Trouble> {
        if self.happened(write).await? {
            return Ok(Ok(()));
        }
        let id = write.id.bytes().to_vec();
        let rows = self.pool.rows(FENCE, &[&id]).await?;
        let epoch: Option<i64> = rows.first().map(|row| super::row::get(row, 1)).transpose()?;
        let fenced = write.epoch.is_some() && write.epoch != epoch;
        Ok(Err(if fenced { CommitError::Fenced } else { CommitError::Conflict }))
    }

    /// Whether this commit is in the database, for good.
    async fn happened(&self, write: &Write) -> Result<bool, Trouble> {
        if self.pool.rows(READ_BACK, &[&write.operation]).await?.is_empty() {
            return Ok(false);
        }
        // Why a write: what was found may have waited in vain for a synchronous standby, and stand on the primary alone.
        // A later write is answered once the standby has both.
        self.beat().await?;
        Ok(true)
    }
}
