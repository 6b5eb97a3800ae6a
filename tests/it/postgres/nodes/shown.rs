//! What each node sees of the others: who is there, what they hold, what they should have seen to.

use std::time::{Duration, Instant};

use auditshield::ledger::Ledger;
use auditshield::ledger::cluster::{Cluster, Node, Replication, Role};

use super::{LONG, SHORT};
use crate::ledger::{commit, created, id};
use crate::postgres::Database;
use crate::process_support::PATIENCE;

/// Leases that are named of a node.
const NAMED: usize = 20;

/// A node that says where it listens.
fn open(database: &Database, address: &str) -> Ledger {
    let ledger = database.open();
    ledger.introduce(address);
    ledger
}

async fn seen_by(ledger: &Ledger) -> Cluster {
    ledger.cluster().await.unwrap().expect("a shared ledger")
}

/// Waits until what is seen is as it should be.
async fn until(ledger: &Ledger, what: &str, is: impl Fn(&Cluster) -> bool) -> Cluster {
    let begun = Instant::now();
    loop {
        let cluster = seen_by(ledger).await;
        if is(&cluster) {
            return cluster;
        }
        assert!(begun.elapsed() < PATIENCE, "never {what}: {cluster:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn at<'a>(cluster: &'a Cluster, address: &str) -> Vec<&'a Node> {
    cluster.nodes.iter().filter(|node| node.address.as_deref() == Some(address)).collect()
}

fn states(cluster: &Cluster) -> String {
    let mut states: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| format!("{} {}", node.address.as_deref().unwrap_or("-"), node.state.name()))
        .collect();
    states.sort();
    states.join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_is_silent_until_it_comes_again_and_one_that_ends_is_gone() {
    let Some(database) = Database::new().await else { return };
    let (one, two, three) = (open(&database, ":1"), open(&database, ":2"), open(&database, ":3"));
    let all = ":1 alive, :2 alive, :3 alive";
    let cluster = until(&one, "three nodes", |cluster| states(cluster) == all).await;
    assert!(cluster.nodes[0].own && at(&cluster, ":1")[0].own, "{cluster:?}");
    assert_eq!(cluster.nodes.iter().filter(|node| node.own).count(), 1);
    let told = |node: &Node| node.skew_millis.is_some_and(|skew| skew.abs() < 1000) && node.trip.is_some();
    until(&one, "each with its clock", |cluster| cluster.nodes.iter().all(told)).await;
    let database_seen = &cluster.database;
    assert_eq!((database_seen.role, database_seen.replication), (Role::Primary, Replication::Alone));
    assert!(database_seen.version.as_deref().unwrap().starts_with("PostgreSQL "));

    // Without a word, as by kill -9.
    drop(two);
    three.close().await;
    let silent = ":1 alive, :2 silent, :3 left";
    until(&one, "one silent, one gone", |cluster| states(cluster) == silent).await;
    let again = open(&database, ":2");
    let back = ":1 alive, :2 alive, :2 replaced, :3 left";
    until(&one, "back", |cluster| states(cluster) == back).await;
    again.close().await;
    one.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_holds_and_owes_is_seen_by_the_others() {
    let Some(database) = Database::new().await else { return };
    let (one, other) = (open(&database, ":1"), open(&database, ":2"));
    let orders = i64::try_from(NAMED).unwrap() + 5;
    for number in 0..orders {
        commit(&one, number, &[created(number)]).await;
    }
    // Long ago, whatever the tests' own clock says.
    database.run("update auditshield_orders set due_ms = 1000 + 1000 * (row_number - 1) from (select id as one, row_number() over (order by id) from auditshield_orders) numbered where id = one").await;
    let both = |cluster: &Cluster| [":1", ":2"].iter().all(|place| at(cluster, place).len() == 1);
    let cluster = until(&other, "where they listen", both).await;
    let node = at(&cluster, ":1")[0];
    assert_eq!((node.late.orders, node.late.oldest.unwrap().0), (25, id(0)), "{node:?}");
    assert_eq!((cluster.late(), cluster.homeless.orders), (node.late.clone(), 0));
    assert_eq!((node.leases.held, node.leases.lapsed, node.leases.first.len()), (0, 0, 0));
    assert_eq!(at(&cluster, ":2")[0].late.orders, 0, "the other one is home of nothing");

    let mut leases = Vec::new();
    for number in 0..orders {
        let standing = one.standing(id(number)).unwrap().unwrap();
        let length = if number == 0 { SHORT } else { LONG + Duration::from_secs(number.unsigned_abs()) };
        leases.push(one.lease(&standing, length).await.unwrap().expect("a lease"));
    }
    let lapsed = |cluster: &Cluster| at(cluster, ":1")[0].leases.lapsed == 1;
    let cluster = until(&other, "one lease over", lapsed).await;
    let held = &at(&cluster, ":1")[0].leases;
    assert_eq!((held.held, held.first.len()), (24, NAMED), "{held:?}");
    let numbers: Vec<_> = held.first.iter().map(|one| one.order).collect();
    assert_eq!(numbers, (0..20).map(id).collect::<Vec<_>>(), "the oldest first");
    assert_eq!(held.first.iter().filter(|one| one.lapsed).count(), 1);
    let (first, last) = held.ends.unwrap();
    assert!(first <= cluster.at && last.since(cluster.at) > LONG, "{held:?}");
    // What somebody is at is not overdue; the one whose lease is over is.
    assert_eq!(at(&cluster, ":1")[0].late.orders, 1);

    // Taken over: the first node holds it no more.
    let standing = other.standing(id(0)).unwrap().unwrap();
    let _lease = super::take(&other, &standing, LONG).await;
    let cluster = seen_by(&one).await;
    assert_eq!((at(&cluster, ":1")[0].leases.lapsed, at(&cluster, ":2")[0].leases.held), (0, 1));
    assert_eq!(cluster.late().orders, 0);

    // Whose node is forgotten altogether is nobody's, and still counted.
    database.run("update auditshield_orders set home = 'gone', lease_until = null").await;
    let cluster = seen_by(&other).await;
    assert_eq!((cluster.homeless.orders, cluster.late().orders), (25, 25));
    one.close().await;
    other.close().await;
}

/// An earlier program's node says only that it is there, and is shown with what it says.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_older_tables_is_seen_all_the_same() {
    let Some(database) = Database::new().await else { return };
    let one = open(&database, ":1");
    let old = include_str!("../../../golden/postgres/2/pulse.sql");
    let old = old.replace("$1", "'old-7-abc'").replace("$2", "'0.0.9'").replace("$3", "2");
    database.rows(&old).await;
    let cluster = seen_by(&one).await;
    let node = cluster.nodes.iter().find(|node| node.name == "old-7-abc").expect("it is seen");
    assert_eq!((node.program.as_str(), node.tables, node.state.name()), ("0.0.9", 2, "alive"));
    assert_eq!((&node.address, node.skew_millis, node.trip), (&None, None, None));
    one.close().await;
}
