//! The daemons on this database, what each holds and should have seen to, and the database itself, for whoever looks.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::Duration;

use super::pool::{Pool, Value};
use super::row::{get, id};
use super::trouble::Trouble;
use super::{Inner, Postgres};
use crate::domain::values::Timestamp;
use crate::ledger::cluster::{
    Answers, Cluster, Database, Late, Leased, Leases, Node, Replication, Role, Standby, State,
};
use crate::ledger::{LedgerError, OpenError};

const NODES: &str = include_str!("sql/nodes.sql");
const LATE: &str = include_str!("sql/late.sql");
const LEASES: &str = include_str!("sql/leases.sql");
const LEAVE: &str = include_str!("sql/leave.sql");
const VERSION: &str = include_str!("sql/database_version.sql");
const ROLE: &str = include_str!("sql/database_role.sql");
const SETTINGS: &str = include_str!("sql/replication_settings.sql");
const STANDBYS: &str = include_str!("sql/standbys.sql");

/// Nodes that are read: a daemon that keeps crashing leaves a row each time.
const NODES_MAX: i64 = 1000;
/// Due orders that are looked at.
const DUE_ORDERS_MAX: i64 = 10_000;
/// Leases of a node that are named.
const LEASES_NAMED_MAX: i64 = 20;
/// Standbys that are named.
const STANDBYS_MAX: i64 = 20;
/// So long after its time an order that nobody is at is overdue, in milliseconds: whose home is gone waits for two seconds.
const OVERDUE_MILLIS: i64 = 10_000;
/// A lease is looked for at orders that are due within so many milliseconds.
const AHEAD_MILLIS: i64 = 60_000;
/// Between two looks at the cluster for the metrics, in seconds.
const LOOK_SECONDS: u64 = 5;
/// Looks between two questions how the database replicates.
const LOOKS_PER_QUESTION: u64 = 12;
/// How long a node that ends may take to say so, in seconds.
const LEAVE_SECONDS_MAX: u64 = 2;
/// Longest text of another node or of the database that is kept.
const TEXT_CHARS_MAX: usize = 200;

impl Postgres {
    /// See [`crate::ledger::Ledger::cluster`].
    pub(in crate::ledger) async fn cluster(&self) -> Result<Cluster, LedgerError> {
        let asked = self.run(|inner| async move { inner.cluster().await });
        Ok(asked.await.ok_or(LedgerError::Closed)??)
    }

    /// See [`crate::ledger::Ledger::survey`].
    pub(in crate::ledger) async fn survey(url: &str) -> Result<Database, OpenError> {
        let pool = Pool::new(url)?;
        // The one question that every engine answers: whether there is a database at all.
        pool.rows(VERSION, &[]).await?;
        let found = database(&pool).await;
        pool.close();
        Ok(found)
    }

    /// See [`crate::ledger::Ledger::introduce`].
    pub(in crate::ledger) fn introduce(&self, address: &str) {
        self.inner.pulse.introduce(short(address.to_owned()));
    }

    /// How long ago this node was last heard; none before the first time.
    pub(in crate::ledger) fn pulse_age(&self) -> Option<Duration> {
        self.inner.pulse.age()
    }

    /// This node ends in order, and says so where that is quickly said: nobody need look for it.
    pub(super) async fn leave(&self) {
        let told = self.run(|inner| async move {
            if inner.pulse.trouble().is_some() {
                return;
            }
            let told = async { inner.pool.count(LEAVE, &[&inner.node]).await };
            let wait = Duration::from_secs(LEAVE_SECONDS_MAX);
            if !matches!(tokio::time::timeout(wait, told).await, Ok(Ok(_))) {
                tracing::info!("the other nodes are not told that this one ends");
            }
        });
        if told.await.is_none() {
            tracing::debug!("closed already");
        }
    }
}

impl Inner {
    async fn cluster(&self) -> Result<Cluster, Trouble> {
        let mut cluster = self.seen().await?;
        cluster.database = self.database().await;
        Ok(cluster)
    }

    /// The nodes, without the database below.
    async fn seen(&self) -> Result<Cluster, Trouble> {
        let rows = self.pool.rows(NODES, &[&NODES_MAX]).await?;
        let (mut late, at_least) = self.late().await?;
        let mut leases = self.leases().await?;
        let mut nodes = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut node = node(row, &self.node)?;
            node.late = late.remove(&node.name).unwrap_or_default();
            node.leases = leases.remove(&node.name).unwrap_or_default();
            node.name = short(node.name);
            nodes.push(node);
        }
        let all: i64 = rows.first().map_or(Ok(0), |row| get(row, 10))?;
        let mut cluster = Cluster {
            at: rows.first().map_or(Ok(Timestamp::from_millis(0)), |row| moment(row, 9))?,
            unlisted: u64::try_from(all).unwrap_or(0).saturating_sub(rows.len() as u64),
            nodes,
            homeless: late.into_values().fold(Late::default(), Late::and),
            at_least,
            database: Database::default(),
        };
        cluster.settle();
        Ok(cluster)
    }

    /// What is overdue by home, and whether there is more than was looked at.
    async fn late(&self) -> Result<(HashMap<String, Late>, bool), Trouble> {
        let rows = self.pool.rows(LATE, &[&OVERDUE_MILLIS, &DUE_ORDERS_MAX]).await?;
        let (mut late, mut looked_at) = (HashMap::with_capacity(rows.len()), 0);
        for row in &rows {
            looked_at = get(row, 4)?;
            let oldest = Some((id(row, 2)?, moment(row, 1)?));
            late.insert(get(row, 0)?, Late { orders: count(row, 3)?, oldest });
        }
        Ok((late, looked_at >= DUE_ORDERS_MAX))
    }

    async fn leases(&self) -> Result<HashMap<String, Leases>, Trouble> {
        let limits = [&AHEAD_MILLIS as Value<'_>, &DUE_ORDERS_MAX, &LEASES_NAMED_MAX];
        let mut found: HashMap<String, Leases> = HashMap::new();
        for row in &self.pool.rows(LEASES, &limits).await? {
            let leases = found.entry(get(row, 0)?).or_default();
            (leases.held, leases.lapsed) = (count(row, 4)?, count(row, 5)?);
            leases.ends = Some((moment(row, 6)?, moment(row, 7)?));
            leases.first.push(Leased { order: id(row, 1)?, until: moment(row, 2)?, lapsed: get(row, 3)? });
        }
        Ok(found)
    }

    async fn database(&self) -> Database {
        database(&self.pool).await
    }

    /// One look for the metrics.
    async fn watch(&self) -> Result<(), Trouble> {
        let cluster = self.seen().await?;
        for state in [State::Alive, State::Silent] {
            let nodes = cluster.count(|found| found == state);
            metrics::gauge!("auditshield_nodes", "state" => state.name()).set(nodes as f64);
        }
        if let Some(own) = cluster.nodes.iter().find(|node| node.own) {
            metrics::gauge!("auditshield_leases_held").set(own.leases.held as f64);
        }
        let late = cluster.late();
        let age = late.oldest.map_or(Duration::ZERO, |(_, at)| cluster.at.since(at));
        metrics::gauge!("auditshield_overdue_orders").set(late.orders as f64);
        metrics::gauge!("auditshield_oldest_overdue_seconds").set(age.as_secs_f64());
        Ok(())
    }
}

/// The database's own answers. A question that it does not understand, or this role may not ask, is left open.
async fn database(pool: &Pool) -> Database {
    let version = pool.rows(VERSION, &[]).await.ok().and_then(|rows| text(rows.first()?, 0));
    let recovers = pool.rows(ROLE, &[]).await.ok().and_then(|rows| get::<bool>(rows.first()?, 0).ok());
    let settings = pool.rows(SETTINGS, &[]).await.unwrap_or_default();
    let setting = |at| settings.first().and_then(|row| text(row, at));
    let (names, commit) = (setting(0), setting(1));
    let standbys = pool.rows(STANDBYS, &[&STANDBYS_MAX]).await.ok().map(|rows| {
        let one = |row| Standby { name: text(row, 0), state: text(row, 1), mode: text(row, 2) };
        rows.iter().map(one).collect::<Vec<_>>()
    });
    let answers = Answers {
        version: version.as_deref(),
        names: names.as_deref(),
        commit: commit.as_deref(),
        standbys: standbys.as_deref(),
    };
    Database {
        replication: answers.replication(),
        role: match recovers {
            Some(true) => Role::Standby,
            Some(false) => Role::Primary,
            None => Role::Unknown,
        },
        standbys: standbys.unwrap_or_default(),
        version,
    }
}

/// Counters that alerts compare with their own past begin at 0: one that first appears at 1 has no past.
pub(super) fn count_from_zero() {
    metrics::counter!("auditshield_commit_conflicts_total").increment(0);
    metrics::counter!("auditshield_commits_fenced_total").increment(0);
    metrics::counter!("auditshield_commits_exhausted_total").increment(0);
    metrics::counter!("auditshield_leases_taken_over_total").increment(0);
    metrics::counter!("auditshield_acknowledged_lost_total").increment(0);
}

/// Looks until the store is gone. While the database is away the metrics stay as they were: the pulse's age tells how old
/// they are.
pub(super) async fn watches(inner: Weak<Inner>) {
    let mut before = Replication::Unknown;
    for look in 0_u64.. {
        {
            let Some(inner) = inner.upgrade() else { return };
            if let Err(trouble) = inner.watch().await {
                tracing::debug!(%trouble, "the cluster cannot be seen");
            }
            if look.is_multiple_of(LOOKS_PER_QUESTION) {
                let now = inner.database().await.replication;
                if now != before && now == Replication::Asynchronous {
                    tracing::warn!(
                        "a standby follows and commits do not wait for it: a fail-over may lose acknowledged payments; set \
                         synchronous_standby_names"
                    );
                }
                before = now;
            }
        }
        tokio::time::sleep(Duration::from_secs(LOOK_SECONDS)).await;
    }
}

fn node(row: &tokio_postgres::Row, own: &str) -> Result<Node, Trouble> {
    let name: String = get(row, 0)?;
    let left = get::<Option<i64>>(row, 8)?.map(Timestamp::from_millis);
    let trip: Option<i64> = get(row, 5)?;
    Ok(Node {
        own: name == own,
        name,
        program: short(get(row, 1)?),
        tables: get(row, 2)?,
        address: get::<Option<String>>(row, 3)?.map(short),
        skew_millis: get(row, 4)?,
        trip: trip.and_then(|micros| Some(Duration::from_micros(u64::try_from(micros).ok()?))),
        started: moment(row, 6)?,
        heard: moment(row, 7)?,
        state: left.map_or(State::Alive, State::Left),
        late: Late::default(),
        leases: Leases::default(),
    })
}

fn moment(row: &tokio_postgres::Row, at: usize) -> Result<Timestamp, Trouble> {
    get(row, at).map(Timestamp::from_millis)
}

fn count(row: &tokio_postgres::Row, at: usize) -> Result<u64, Trouble> {
    get::<i64>(row, at).map(|count| u64::try_from(count).unwrap_or(0))
}

/// A text of the database's, if it is one and may be seen.
fn text(row: &tokio_postgres::Row, at: usize) -> Option<String> {
    get::<Option<String>>(row, at).ok().flatten().map(short)
}

/// Others wrote it: it may be of any length.
fn short(text: String) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}
