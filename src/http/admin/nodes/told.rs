//! The cluster as the API shows it: `{shared, at, nodes, nodes_unlisted, overdue, database}`.

use serde::Serialize;

use crate::domain::values::{OrderId, Timestamp};
use crate::ledger::cluster::{Cluster, Database, Late, Leased, Node, Standby, State};

/// The whole answer. Where one daemon has the ledger alone, `shared` is false and the rest is empty.
#[derive(Debug, Serialize)]
pub(in crate::http::admin) struct Told<'a> {
    shared: bool,
    at: Option<Timestamp>,
    nodes: Vec<Member<'a>>,
    nodes_unlisted: u64,
    overdue: Option<Overdue>,
    database: Option<Below<'a>>,
}

#[derive(Debug, Serialize)]
struct Member<'a> {
    node: &'a str,
    this: bool,
    state: &'static str,
    address: Option<&'a str>,
    program: &'a str,
    tables: i64,
    started_at: Timestamp,
    heard_at: Timestamp,
    heard_seconds_ago: f64,
    left_at: Option<Timestamp>,
    clock_skew_seconds: Option<f64>,
    round_trip_seconds: Option<f64>,
    overdue: Overdue,
    leases: Held,
}

#[derive(Debug, Serialize)]
struct Overdue {
    orders: u64,
    /// There may be more.
    at_least: bool,
    oldest_order_id: Option<OrderId>,
    oldest_due_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Held {
    held: u64,
    lapsed: u64,
    first_ends_at: Option<Timestamp>,
    last_ends_at: Option<Timestamp>,
    /// The first few.
    orders: Vec<Lease>,
}

#[derive(Debug, Serialize)]
struct Lease {
    order_id: OrderId,
    ends_at: Timestamp,
    lapsed: bool,
}

#[derive(Debug, Serialize)]
struct Below<'a> {
    version: Option<&'a str>,
    role: &'static str,
    replication: &'static str,
    standbys: Vec<Follower<'a>>,
}

#[derive(Debug, Serialize)]
struct Follower<'a> {
    name: Option<&'a str>,
    state: Option<&'a str>,
    mode: Option<&'a str>,
}

impl<'a> Told<'a> {
    /// What the API says of it.
    pub(super) fn of(cluster: Option<&'a Cluster>) -> Self {
        let Some(cluster) = cluster else {
            return Self {
                shared: false,
                at: None,
                nodes: Vec::new(),
                nodes_unlisted: 0,
                overdue: None,
                database: None,
            };
        };
        Self {
            shared: true,
            at: Some(cluster.at),
            nodes: cluster.nodes.iter().map(|node| member(node, cluster)).collect(),
            nodes_unlisted: cluster.unlisted,
            overdue: Some(overdue(&cluster.late(), cluster.at_least)),
            database: Some(below(&cluster.database)),
        }
    }
}

fn member<'a>(node: &'a Node, cluster: &Cluster) -> Member<'a> {
    let lease =
        |leased: &Leased| Lease { order_id: leased.order, ends_at: leased.until, lapsed: leased.lapsed };
    Member {
        node: &node.name,
        this: node.own,
        state: node.state.name(),
        address: node.address.as_deref(),
        program: &node.program,
        tables: node.tables,
        started_at: node.started,
        heard_at: node.heard,
        heard_seconds_ago: cluster.at.since(node.heard).as_secs_f64(),
        left_at: match node.state {
            State::Left(at) => Some(at),
            State::Alive | State::Silent | State::Replaced => None,
        },
        clock_skew_seconds: node.skew_millis.map(|millis| millis as f64 / 1000.0),
        round_trip_seconds: node.trip.map(|trip| trip.as_secs_f64()),
        overdue: overdue(&node.late, cluster.at_least),
        leases: Held {
            held: node.leases.held,
            lapsed: node.leases.lapsed,
            first_ends_at: node.leases.ends.map(|(first, _)| first),
            last_ends_at: node.leases.ends.map(|(_, last)| last),
            orders: node.leases.first.iter().map(lease).collect(),
        },
    }
}

fn overdue(late: &Late, at_least: bool) -> Overdue {
    Overdue {
        orders: late.orders,
        at_least,
        oldest_order_id: late.oldest.map(|(order, _)| order),
        oldest_due_at: late.oldest.map(|(_, at)| at),
    }
}

fn below<'a>(database: &'a Database) -> Below<'a> {
    let follower = |standby: &'a Standby| Follower {
        name: standby.name.as_deref(),
        state: standby.state.as_deref(),
        mode: standby.mode.as_deref(),
    };
    Below {
        version: database.version.as_deref(),
        role: database.role.name(),
        replication: database.replication.name(),
        standbys: database.standbys.iter().map(follower).collect(),
    }
}
