//! What is to be seen of the daemons that share a ledger, and of the database below them.

use std::time::Duration;

use crate::domain::values::{OrderId, Timestamp};

/// Without a sign of life for so long, in seconds, a node is taken to be silent: ten beats.
const SILENT_SECONDS: u64 = 10;
/// Since these tables a node says where it listens.
const TABLES_WITH_ADDRESS: i64 = 3;

/// The daemons on one database, by the database's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// When this was read.
    pub at: Timestamp,
    /// This node first, then the others that are heard, those that are silent, those that are gone.
    pub nodes: Vec<Node>,
    /// Nodes that are not among them, because there are too many.
    pub unlisted: u64,
    /// Overdue orders whose home is none of these nodes.
    pub homeless: Late,
    /// More orders were due than were looked at: there are at least so many that are overdue.
    pub at_least: bool,
    /// What they share.
    pub database: Database,
}

/// A daemon that runs, or ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name: machine, process, and a number that no other process has.
    pub name: String,
    /// Where it listens, if it says so.
    pub address: Option<String>,
    /// Its program's version.
    pub program: String,
    /// The version of the tables that its program knows.
    pub tables: i64,
    /// When it came.
    pub started: Timestamp,
    /// When it was last heard.
    pub heard: Timestamp,
    /// Whether it is there.
    pub state: State,
    /// Whether it is the one that says all this.
    pub own: bool,
    /// How far the database's clock is ahead of its machine's, in milliseconds, if it says so.
    pub skew_millis: Option<i64>,
    /// What the database took to answer its sign of life, if it says so.
    pub trip: Option<Duration>,
    /// What it should have seen to.
    pub late: Late,
    /// What it is at.
    pub leases: Leases,
}

/// Whether a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is heard.
    Alive,
    /// It is not, and nobody took its place: it died, stands still, or does not reach the database.
    Silent,
    /// It is not heard, and came again under another name.
    Replaced,
    /// It ended in order.
    Left(Timestamp),
}

impl State {
    /// Its name in the API and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Silent => "silent",
            Self::Replaced => "replaced",
            Self::Left(_) => "left",
        }
    }
}

/// Orders that have been due for a while and that nobody is at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Late {
    /// How many.
    pub orders: u64,
    /// The one that has waited longest, and since when.
    pub oldest: Option<(OrderId, Timestamp)>,
}

/// The errands that a node has the right to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leases {
    /// How many it holds.
    pub held: u64,
    /// How many are over, given back by nobody, and taken over by nobody.
    pub lapsed: u64,
    /// When the first and the last of all these end, or ended. The first is the oldest: a node's leases have one length.
    pub ends: Option<(Timestamp, Timestamp)>,
    /// The first few, the one that ends first in front.
    pub first: Vec<Leased>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leased {
    /// Whose errand.
    pub order: OrderId,
    /// When it ends, or ended.
    pub until: Timestamp,
    /// Whether it is over.
    pub lapsed: bool,
}

/// The database, as far as it may be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Database {
    /// Its own words for its version.
    pub version: Option<String>,
    /// Whether it takes writes.
    pub role: Role,
    /// What becomes of its commits when it is lost.
    pub replication: Replication,
    /// The servers that follow it, the first few.
    pub standbys: Vec<Standby>,
}

/// Primary or standby.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It follows another one.
    Standby,
    /// It does not say.
    #[default]
    Unknown,
}

impl Role {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether an acknowledged commit outlives the server that acknowledged it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Replication {
    /// Nobody follows.
    Alone,
    /// A commit is answered once a standby has it.
    Synchronous,
    /// Standbys follow, and a commit does not wait for them: the newest may be lost with the server.
    Asynchronous,
    /// A commit waits for standbys that are not there.
    Awaited,
    /// Standbys follow; this role may not see whether commits wait for them.
    Hidden,
    /// The engine replicates by itself, by consensus: CockroachDB, YugabyteDB.
    Consensus,
    /// It does not say.
    #[default]
    Unknown,
}

impl Replication {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alone => "none",
            Self::Synchronous => "synchronous",
            Self::Asynchronous => "asynchronous",
            Self::Awaited => "awaited",
            Self::Hidden => "hidden",
            Self::Consensus => "consensus",
            Self::Unknown => "unknown",
        }
    }
}

/// A server that follows, as far as this role may see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standby {
    /// What it calls itself.
    pub name: Option<String>,
    /// What it is doing: `streaming`, `catchup` …
    pub state: Option<String>,
    /// Whether commits wait for it: `sync`, `quorum`, `potential`, `async`.
    pub mode: Option<String>,
}

/// What the database says of how it replicates.
pub(super) struct Answers<'a> {
    pub(super) version: Option<&'a str>,
    /// `synchronous_standby_names`.
    pub(super) names: Option<&'a str>,
    /// `synchronous_commit`.
    pub(super) commit: Option<&'a str>,
    /// None: the question failed.
    pub(super) standbys: Option<&'a [Standby]>,
}

#[cfg_attr(not(any(feature = "postgres", test)), expect(dead_code, reason = "only a database is asked"))]
impl Answers<'_> {
    /// What that comes to.
    pub(super) fn replication(&self) -> Replication {
        let engine = |mark| self.version.is_some_and(|version| version.contains(mark));
        if engine("CockroachDB") || engine("-YB-") {
            return Replication::Consensus;
        }
        let Some(standbys) = self.standbys else { return Replication::Unknown };
        if standbys.is_empty() {
            return Replication::Alone;
        }
        let mode = |names: &[&str]| {
            standbys.iter().any(|one| one.mode.as_deref().is_some_and(|mode| names.contains(&mode)))
        };
        // `local`: a commit waits for its own disk alone, whatever follows.
        if self.commit == Some("local") || self.names.is_some_and(|names| names.trim().is_empty()) {
            Replication::Asynchronous
        } else if mode(&["sync", "quorum"]) {
            Replication::Synchronous
        } else if !mode(&["async", "potential"]) {
            Replication::Hidden
        } else if self.names.is_some() {
            Replication::Awaited
        } else {
            Replication::Asynchronous
        }
    }
}

impl Late {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let oldest = self.oldest.into_iter().chain(other.oldest).min_by_key(|(order, at)| (*at, *order));
        Self { orders: self.orders + other.orders, oldest }
    }
}

impl Cluster {
    /// How many nodes are in this state.
    pub fn count(&self, is: impl Fn(State) -> bool) -> u64 {
        self.nodes.iter().map(|node| u64::from(is(node.state))).sum()
    }

    /// Everything that is overdue, whoever should have seen to it.
    pub fn late(&self) -> Late {
        self.nodes.iter().fold(self.homeless.clone(), |all, node| all.and(node.late.clone()))
    }

    /// Says of each node whether it is there, leaves out tools that are done, and puts the nodes in order.
    #[cfg_attr(
        not(any(feature = "postgres", test)),
        expect(dead_code, reason = "only a database has several")
    )]
    pub(super) fn settle(&mut self) {
        let states: Vec<State> = self.nodes.iter().map(|node| self.state_of(node)).collect();
        for (node, state) in self.nodes.iter_mut().zip(states) {
            node.state = state;
        }
        // A command that looked at the ledger listens nowhere, and does not say when it ends.
        let stays = |node: &Node| {
            let tool = node.address.is_none() && node.tables >= TABLES_WITH_ADDRESS;
            !tool || node.own || node.state == State::Alive
        };
        for gone in self.nodes.extract_if(.., |node| !stays(node)) {
            self.homeless = std::mem::take(&mut self.homeless).and(gone.late);
        }
        self.nodes.sort_by_key(|node| {
            let place = match node.state {
                State::Alive => 0,
                State::Silent => 1,
                State::Replaced => 2,
                State::Left(_) => 3,
            };
            (!node.own, place, std::cmp::Reverse(node.heard), node.name.clone())
        });
    }

    fn state_of(&self, node: &Node) -> State {
        if let State::Left(_) = node.state {
            return node.state;
        }
        if self.at.since(node.heard) < Duration::from_secs(SILENT_SECONDS) {
            return State::Alive;
        }
        let stands_in = |other: &Node| {
            let same = node.address.is_none() || other.address == node.address;
            other.name != node.name && same && host(other) == host(node) && other.started >= node.heard
        };
        if self.nodes.iter().any(stands_in) { State::Replaced } else { State::Silent }
    }
}

/// The machine of a node: its name without the process and the number behind.
fn host(node: &Node) -> &str {
    node.name.rsplitn(3, '-').nth(2).unwrap_or(&node.name)
}

#[cfg(test)]
mod tests;
