//! A node in a network of its own, whose way to the database is cut and mended. The way to the shop and to the outside
//! world stays open: what the node says meanwhile can be heard.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;

use super::balancer::Balancer;
use super::fleet::{Fleet, NODES, server};
use super::gate::Gate;
use super::judge::judge;
use super::street::sale;
use super::{Database, is_asked_for};
use crate::process_support::{PATIENCE, World, port};

const IP: &str = "/usr/sbin/ip";
/// Sales while the node is cut off.
const SALES: usize = 10;
/// What a check takes: long enough for the way to be cut while one is out.
const CHECK_MILLIS: u64 = 700;
/// How long nothing at all may come to rest in the end.
const REST: Duration = Duration::from_secs(60);

/// A network of one's own, with one way to the world and another to the database.
struct Network {
    name: String,
    /// Addresses here, and in there, on the two ways.
    world: [Ipv4Addr; 2],
    database: [Ipv4Addr; 2],
}

impl Network {
    /// None: the system does not let us.
    fn new() -> Option<Network> {
        let [second, third] = [0, 1].map(|_| rand::random_range(0..120_u8));
        let way = |third| [1, 2].map(|last| Ipv4Addr::new(10, 100 + second, third, last));
        let name = format!("as{:08x}", rand::random::<u32>());
        let network = Network { name, world: way(2 * third), database: way(2 * third + 1) };
        if !ip(&["netns", "add", &network.name]) {
            println!("not run: a network of one's own takes root and iproute2");
            return None;
        }
        network.lay("w", network.world);
        network.lay("d", network.database);
        Some(network)
    }

    fn lay(&self, way: &str, [here, there]: [Ipv4Addr; 2]) {
        let (near, far) = (format!("{}{way}0", self.name), format!("{}{way}1", self.name));
        let name = self.name.as_str();
        let done = ip(&["link", "add", &near, "type", "veth", "peer", "name", &far, "netns", name])
            && ip(&["addr", "add", &format!("{here}/30"), "dev", &near])
            && ip(&["link", "set", &near, "up"])
            && ip(&["-n", name, "addr", "add", &format!("{there}/30"), "dev", &far])
            && ip(&["-n", name, "link", "set", &far, "up"]);
        assert!(done, "a way into the network {name}");
    }

    /// Nothing passes between the node and the database, and nobody is told.
    fn cut(&self) {
        assert!(ip(&["link", "set", &format!("{}d0", self.name), "down"]));
    }

    fn mend(&self) {
        assert!(ip(&["link", "set", &format!("{}d0", self.name), "up"]));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new(IP).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// The ways of a node inside to CinetPay and to the mailbox.
async fn gates(network: &Network, outside: &World) -> [Gate; 2] {
    let here = IpAddr::V4(network.world[0]);
    let cinetpay = outside.cinetpay.base_url().trim_start_matches("http://");
    [Gate::at(here, cinetpay).await, Gate::at(here, &outside.mailbox.addr().to_string()).await]
}

/// A node inside, on the database at `url`.
async fn inside(network: &Network, outside: &World, place: u16, url: &str, gates: &[Gate; 2]) -> World {
    let [here, there] = network.world;
    let (shop, admin) = (format!("{there}:{}", port()), format!("{there}:{}", port()));
    let cinetpay = format!("http://{here}:{}", gates[0].port);
    let mail = format!("smtp://{here}:{}?tls=none", gates[1].port);
    let own = [
        ("AUDITSHIELD_SERVER__LISTEN", shop.as_str()),
        ("AUDITSHIELD_ADMIN__LISTEN", &admin),
        ("CINETPAY_API_URL", &cinetpay),
        ("AUDITSHIELD_MAIL__URL", &mail),
    ];
    let mut node = Fleet::node(outside, url, place, &own).await;
    (node.shop, node.admin) = (format!("http://{shop}"), format!("http://{admin}"));
    node.wrapper = [IP, "netns", "exec", &network.name].map(str::to_owned).to_vec();
    node
}

async fn until_unready(node: &World) {
    let begun = Instant::now();
    loop {
        let (status, body) = node.get(&format!("{}/readyz", node.shop)).await;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            println!("partition: unready {:?} after the cut: {body}", begun.elapsed());
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{status}: {body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_its_database_says_503_and_recovers() {
    if !is_asked_for() {
        return;
    }
    let Some(network) = Network::new() else { return };
    let both = format!("127.0.0.1,{}", network.database[0]);
    let server = server(&[("listen_addresses", &both)]);
    let database = Database::at(&server).await;
    let outside = Fleet::outside().await;
    outside.cinetpay.patch(&json!({"check_latency_ms": CHECK_MILLIS})).unwrap();
    let gates = gates(&network, &outside).await;
    let place = Balancer::place();
    let url = database.url_at(&format!("{}:{}", network.database[0], server.port()));
    let mut nodes = vec![inside(&network, &outside, place, &url, &gates).await];
    while nodes.len() < NODES {
        nodes.push(Fleet::node(&outside, &database.url(), place, &[]).await);
    }
    let mut fleet = Fleet::run(outside, nodes, place).await;
    let mut promised = std::collections::BTreeSet::new();
    // Its check is out when the way is cut; what it brings back cannot be written down.
    let far = fleet.nodes[0].shop.clone();
    let caught = sale(&fleet, &far, "caught").await;
    network.cut();
    let cut = Instant::now();
    until_unready(&fleet.nodes[0]).await;
    assert_eq!(fleet.nodes[0].try_notify(&caught).await, Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(
        fleet.nodes[0].try_buy("cut.off@example.ci").await,
        Err(Some(StatusCode::SERVICE_UNAVAILABLE))
    );
    let (status, _) = fleet.nodes[0].get(&format!("{far}/healthz")).await;
    assert_eq!(status, StatusCode::OK, "a process that runs is not to be killed for it");
    for number in 0..SALES {
        let order = sale(&fleet, &fleet.balancer.shop, &format!("meanwhile{number}")).await;
        fleet.nodes[1].until(&order, "DELIVERED").await;
        promised.insert(order);
    }
    fleet.nodes[1].until(&caught, "DELIVERED").await;
    println!(
        "partition: {SALES} sales without the node, and its own errand done, {:?} after the cut",
        cut.elapsed()
    );
    network.mend();
    let mended = Instant::now();
    fleet.nodes[0].ready().await;
    println!("partition: ready again {:?} after the way was mended", mended.elapsed());
    assert_eq!(fleet.nodes[0].try_notify(&caught).await, Some(StatusCode::OK));
    let after = sale(&fleet, &far, "after").await;
    promised.extend([caught, after]);
    let found = judge(&fleet, &database, &promised, REST).await;
    println!("partition: {} orders promised; {}", promised.len(), found.counts());
    assert!(found.is_empty(), "{}", found.told());
    assert_eq!(fleet.total("auditshield_acknowledged_lost_total").await, 0);
    fleet.end().await;
}

/// As when a primary's machine is gone: nothing refuses the connection, and nothing answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_gives_way_to_the_next_of_the_address() {
    if !is_asked_for() {
        return;
    }
    let Some(network) = Network::new() else { return };
    let [first, second] = [network.database[0], network.world[0]];
    let server = server(&[("listen_addresses", &format!("127.0.0.1,{first},{second}"))]);
    let database = Database::at(&server).await;
    let outside = Fleet::outside().await;
    let gates = gates(&network, &outside).await;
    let port = server.port();
    let url = database.url_at(&format!("{first}:{port},{second}:{port}"));
    let mut node = inside(&network, &outside, Balancer::place(), &url, &gates).await;
    node.start().await;
    let before = node.buy().await;
    network.cut();
    until_unready(&node).await;
    let cut = Instant::now();
    node.ready().await;
    println!("partition: by way of the second server {:?} later", cut.elapsed());
    assert_eq!(node.order(&before).await["order_id"], json!(before));
    node.buy().await;
    // Also where it does not answer from the start.
    node.kill();
    node.start().await;
    node.term();
    assert_eq!(node.end().await.code(), Some(0), "{}", node.said());
}
