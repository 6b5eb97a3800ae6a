//! The tables, version by version. A step is applied by one node at a time, which holds the row of `auditshield_schema`
//! for a while; every statement of a step may be repeated, so that a node that dies in the middle is simply followed.

use std::time::Duration;

use super::pool::Pool;
use super::row::get;
use super::trouble::Trouble;
use crate::ledger::OpenError;
use crate::ledger::seal::Addresses;

/// The steps, in order. Released ones are never changed; add another.
///
/// Invariant: a step only adds, and takes little time. The nodes of the version before go on with their statements while one
/// node of this version changes the tables, and until the last of them is replaced.
const STEPS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
];
/// How long a node has the row for one step, in seconds.
const HOLD_SECONDS: f64 = 60.0;
/// Between two looks at a row that another node holds.
const LOOK_MILLIS: u64 = 200;
/// Between two tries to change a table that somebody holds: what the other nodes commit waits during a try.
const IN_THE_WAY_MILLIS: u64 = 2000;
/// Looks before it is given up: longer than a node may hold it.
const LOOKS_MAX: usize = 400;

/// Where the key of the addresses' hashes stands: no order has this number.
const NO_ORDER: [u8; 16] = [0; 16];

const ADDRESSES: &str = include_str!("sql/addresses_make.sql");
const KEYS: &str = include_str!("sql/keys.sql");
const DURABLE: &str = include_str!("sql/durable.sql");
const MAKE: &str = include_str!("sql/schema_make.sql");
const FIRST: &str = include_str!("sql/schema_first.sql");
const READ: &str = include_str!("sql/schema_read.sql");
const LOCK: &str = include_str!("sql/schema_lock.sql");
const DONE: &str = include_str!("sql/schema_done.sql");

/// The version of the tables that this program makes and reads.
pub(super) fn newest() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Applies what is missing. A database that a newer program has changed is left alone.
pub(super) async fn bring_up_to_date(pool: &Pool, node: &str) -> Result<(), OpenError> {
    made(pool).await?;
    for _ in 0..LOOKS_MAX {
        let found = version(pool).await?;
        if found > newest() {
            return Err(OpenError::Schema { found, known: newest() });
        }
        let Some(step) = usize::try_from(found).ok().and_then(|at| STEPS.get(at)) else { return Ok(()) };
        match pool.count(LOCK, &[&node, &HOLD_SECONDS, &found]).await {
            Ok(1) => {}
            // Another node has the row, or is taking it.
            Ok(_) | Err(Trouble::Again(_)) => {
                tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
                continue;
            }
            Err(trouble) => return Err(trouble.into()),
        }
        if !applied(pool, step).await? {
            tokio::time::sleep(Duration::from_millis(IN_THE_WAY_MILLIS)).await;
            continue;
        }
        let next = found + 1;
        if pool.count(DONE, &[&node, &next]).await? == 1 {
            tracing::info!(version = next, "the database's tables were brought up to date");
        }
    }
    Err(OpenError::Database("another node does not finish its change of the tables".to_owned()))
}

/// Makes one step. False: somebody holds a table for long, and what is done so far may be done again.
async fn applied(pool: &Pool, step: &str) -> Result<bool, OpenError> {
    for statement in statements(step) {
        match pool.make(statement).await {
            Ok(()) => {}
            Err(Trouble::Again(why)) => {
                tracing::warn!(%why, "the database's tables cannot be changed yet: somebody holds one of them");
                return Ok(false);
            }
            Err(trouble) => return Err(trouble.into()),
        }
    }
    Ok(true)
}

/// Refuses a database that says "committed" of what a power cut may take back. An engine that does not know these settings
/// has no such mode.
pub(super) async fn insist_on_durability(pool: &Pool) -> Result<(), OpenError> {
    let rows = pool.rows(DURABLE, &[]).await?;
    for (at, name) in ["synchronous_commit", "fsync"].into_iter().enumerate() {
        let value: Option<String> = rows.first().map_or(Ok(None), |row| get(row, at))?;
        if value.as_deref() == Some("off") {
            return Err(OpenError::Durability(name));
        }
    }
    Ok(())
}

/// The key that addresses are hashed with: one for all nodes, made by whoever finds a database without orders. A missing one
/// is not made anew where there are orders: none of them would be found any more.
pub(super) async fn addresses(pool: &Pool) -> Result<Addresses, OpenError> {
    let (order, record) = (
        NO_ORDER.to_vec(),
        Addresses::new_record().map_err(|error| OpenError::Database(error.to_string()))?.to_vec(),
    );
    pool.count(ADDRESSES, &[&order, &record]).await?;
    let rows = pool.rows(KEYS, &[&vec![order]]).await?;
    let record: Option<&[u8]> = rows.first().map(|row| get(row, 2)).transpose()?;
    let lost = "auditshield_order_keys: la clé des adresses manque, remettez-la depuis une copie / the addresses' key is \
                missing, put it back from a copy";
    record.and_then(Addresses::read).ok_or_else(|| OpenError::Database(lost.to_owned()))
}

/// The table of the version itself. Two nodes may make it at the same moment, and one of them is told that it exists.
async fn made(pool: &Pool) -> Result<(), OpenError> {
    for last in [false, true] {
        match pool.make(MAKE).await {
            Ok(()) => break,
            Err(Trouble::Refused(_) | Trouble::Again(_)) if !last => {}
            Err(trouble) => return Err(trouble.into()),
        }
    }
    pool.count(FIRST, &[]).await?;
    Ok(())
}

async fn version(pool: &Pool) -> Result<i64, OpenError> {
    let rows = pool.rows(READ, &[]).await?;
    rows.first().map(|row| row.get(0)).ok_or_else(|| OpenError::Database("no schema version".to_owned()))
}

/// The statements of a step: no literal of ours holds a semicolon.
fn statements(step: &str) -> impl Iterator<Item = &str> {
    step.split(';').map(str::trim).filter(|statement| !statement.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Repeated, since a node may die in the middle; only adding, since the nodes of the version before are still at work.
    #[test]
    fn every_statement_of_a_step_may_be_repeated_and_only_adds() {
        for statement in STEPS.iter().flat_map(|step| statements(step)) {
            let code: String = statement.lines().filter(|line| !line.starts_with("--")).collect();
            let (code, created) = (code.trim_start(), code.trim_start().starts_with("create"));
            let added = code.starts_with("alter table") && code.contains(" add column ");
            assert!((created || added) && code.contains("if not exists"), "{statement}");
            // What the version before inserts does not name the column.
            assert!(created || !code.contains("not null") || code.contains(" default "), "{statement}");
        }
        assert!(statements(STEPS[0]).count() > 10);
    }
}
