//! Three daemons: one is killed and comes again, one stands still with a lease beyond its end and wakes. Page, API and
//! metrics of another one say so.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::postgres::fleet::Fleet;
use crate::postgres::{Database, is_asked_for};
use crate::process_support::{PATIENCE, World, has_tools};
use crate::prometheus::{each_shows, expressions, prometheus, promtool};

/// What CinetPay takes for an answer, in milliseconds: long enough to stop a node that has asked.
const SLOW_MILLIS: u64 = 900;
/// Beyond the lease of a fleet's node.
const LEASE: Duration = Duration::from_secs(9);

async fn nodes(node: &World) -> Value {
    let (status, body) = node.get(&format!("{}/api/nodes", node.admin)).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

async fn page(node: &World) -> String {
    let (status, body) = node.get(&format!("{}/admin/nodes/?lang=en", node.admin)).await;
    assert_eq!(status, 200, "{body}");
    body
}

/// The member of the list whose name is this.
fn named<'a>(told: &'a Value, name: &str) -> &'a Value {
    told["nodes"].as_array().unwrap().iter().find(|node| node["node"] == name).expect("the node")
}

/// What a node calls itself.
async fn name(node: &World) -> String {
    let told = nodes(node).await;
    let own = told["nodes"].as_array().unwrap().iter().find(|node| node["this"] == true);
    own.expect("this node")["node"].as_str().unwrap().to_owned()
}

async fn until(node: &World, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let told = nodes(node).await;
        if is(&told) {
            return told;
        }
        assert!(begun.elapsed() < PATIENCE, "never {what}: {told:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until a gauge, labels and all, has this value.
async fn until_metric(node: &World, series: &str, value: &str) {
    let (begun, want) = (Instant::now(), format!("{series} {value}"));
    while !node.metrics().await.lines().any(|line| line == want) {
        assert!(begun.elapsed() < PATIENCE, "never {want}: {}", node.metrics().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Stops the node while it has the errand of an order: the order's number.
async fn stop_with_a_lease(fleet: &Fleet, database: &Database, node: &World, name: &str) -> String {
    let slow = serde_json::json!({"check_latency_ms": SLOW_MILLIS});
    fleet.outside.cinetpay.patch(&slow).unwrap();
    let held = format!(
        "select 1 from auditshield_orders where lease_owner = '{name}' and lease_until > now() + interval '5 seconds'"
    );
    for _ in 0..20 {
        let order = node.buy().await;
        assert_eq!(node.notify(&order).await, 200);
        let begun = Instant::now();
        while database.rows(&held).await.is_empty() && begun.elapsed() < Duration::from_millis(SLOW_MILLIS) {}
        node.signal("-STOP");
        if !database.rows(&held).await.is_empty() {
            return order;
        }
        node.signal("-CONT");
    }
    panic!("the node was never stopped in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_and_one_that_stands_still_are_shown_and_come_back() {
    if !is_asked_for() {
        return;
    }
    let database = Database::new().await.unwrap();
    let mut fleet = Fleet::start(&database.url(), &[]).await;
    let names = [name(&fleet.nodes[0]).await, name(&fleet.nodes[1]).await, name(&fleet.nodes[2]).await];
    let alive = |told: &Value| {
        told["nodes"].as_array().unwrap().iter().filter(|node| node["state"] == "alive").count()
    };
    until(&fleet.nodes[0], "three nodes", |told| alive(told) == 3).await;
    until_metric(&fleet.nodes[0], "auditshield_nodes{state=\"alive\"}", "3").await;

    // Killed: silent, on the first page too; back at its place: the one before was replaced.
    fleet.nodes[2].kill();
    let is = |name: &str, state: &'static str| {
        let name = name.to_owned();
        move |told: &Value| named(told, &name)["state"] == state
    };
    until(&fleet.nodes[0], "silent", is(&names[2], "silent")).await;
    until_metric(&fleet.nodes[0], "auditshield_nodes{state=\"silent\"}", "1").await;
    assert!(page(&fleet.nodes[0]).await.contains("Nodes that are not heard any more: 1"));
    let (_, home) = fleet.nodes[0].get(&format!("{}/admin/?lang=en", fleet.nodes[0].admin)).await;
    assert!(home.contains("Nodes that are not heard any more: 1"), "{home}");
    assert!(home.contains("href=\"/admin/nodes/\""), "the menu leads there: {home}");
    fleet.nodes[2].start().await;
    until(&fleet.nodes[0], "replaced", is(&names[2], "replaced")).await;

    // Stopped with a lease: it holds it, then beyond its end. Nobody takes it over here, since it is not due meanwhile.
    let order = stop_with_a_lease(&fleet, &database, &fleet.nodes[1], &names[1]).await;
    let later = "update auditshield_orders set due_ms = (extract(epoch from now()) * 1000)::int8 + 45000 \
                 where lease_until is not null";
    database.run(later).await;
    let stopped = Instant::now();
    let told = until(&fleet.nodes[0], "holding", |told| named(told, &names[1])["leases"]["held"] == 1).await;
    assert_eq!(named(&told, &names[1])["leases"]["orders"][0]["order_id"], order);
    let lapsed = |told: &Value| named(told, &names[1])["leases"]["lapsed"] == 1;
    let told = until(&fleet.nodes[0], "holding beyond its end", lapsed).await;
    assert!(stopped.elapsed() < LEASE * 2, "the lease is longer than it should be");
    let node = named(&told, &names[1]);
    assert_eq!((&node["leases"]["held"], &node["leases"]["orders"][0]["lapsed"]), (&0.into(), &true.into()));
    let told = until(&fleet.nodes[0], "silent", is(&names[1], "silent")).await;
    assert!(named(&told, &names[1])["heard_seconds_ago"].as_f64().unwrap() >= 10.0);
    let shown = page(&fleet.nodes[0]).await;
    assert!(shown.contains(&names[1]) && shown.contains(&format!("/admin/orders/{order}/")), "{shown}");
    assert!(shown.contains("over and not taken over: 1"), "{shown}");

    fleet.nodes[1].signal("-CONT");
    until(&fleet.nodes[0], "awake", is(&names[1], "alive")).await;
    until(&fleet.nodes[0], "its lease at an end", |told| named(told, &names[1])["leases"]["lapsed"] == 0)
        .await;
    until_metric(&fleet.nodes[0], "auditshield_nodes{state=\"silent\"}", "0").await;
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_of_the_cluster_shows_something() {
    if !is_asked_for() || !has_tools("tests/postgres/run") {
        return;
    }
    let database = Database::new().await.unwrap();
    let mut world = World::new(&[("AUDITSHIELD_STORE__URL", &database.url())]).await;
    world.start().await;
    let (_running, place) = prometheus(&world);
    let [_, of_cluster] = expressions();
    each_shows(&world, &place, of_cluster.into_iter()).await;
    let metrics = world.metrics().await;
    assert_eq!(promtool(&metrics), (true, String::new()), "{metrics}");
}
