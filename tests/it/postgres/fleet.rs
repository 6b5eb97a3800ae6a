//! Several daemons on one database, a balancer in front of them, and the outside world that they share.
//!
//! Polling is an hour away and CinetPay itself says nothing: only the notification that was answered can save an order.

use std::path::PathBuf;
use std::sync::Arc;

use auditshield::simulator::database::{Fault, Server};
use serde_json::json;

use super::balancer::Balancer;
use crate::process_support::World;

/// Nodes of a fleet.
pub(crate) const NODES: usize = 3;
/// What CinetPay takes for an answer, in milliseconds: long enough for a blow to fall while a check is out.
const CHECK_MILLIS: u64 = 300;

/// The daemons and what is around them.
pub(crate) struct Fleet {
    /// CinetPay and the mailbox.
    pub(crate) outside: Arc<World>,
    pub(crate) nodes: Vec<World>,
    pub(crate) balancer: Balancer,
}

impl Fleet {
    /// Starts three on the database at `url`, with these settings beside the usual ones.
    pub(crate) async fn start(url: &str, settings: &[(&str, &str)]) -> Fleet {
        let place = Balancer::place();
        let outside = Fleet::outside().await;
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(Fleet::node(&outside, url, place, settings).await);
        }
        Fleet::run(outside, nodes, place).await
    }

    /// Starts these.
    pub(crate) async fn run(outside: World, mut nodes: Vec<World>, place: u16) -> Fleet {
        for node in &mut nodes {
            node.spawn();
        }
        for node in &mut nodes {
            node.ready().await;
        }
        let balancer = Balancer::before(&nodes, place).await;
        Fleet { outside: Arc::new(outside), nodes, balancer }
    }

    /// A CinetPay that says nothing of its own accord.
    pub(crate) async fn outside() -> World {
        let outside = World::new(&[]).await;
        let quiet = json!({"notify": {"enabled": false}, "check_latency_ms": CHECK_MILLIS});
        outside.cinetpay.patch(&quiet).unwrap();
        outside
    }

    /// A daemon that does not run yet. Its lease: four checks of one second, and five.
    pub(crate) async fn node(outside: &World, url: &str, place: u16, more: &[(&str, &str)]) -> World {
        let public = format!("http://127.0.0.1:{place}");
        let settings = [
            ("AUDITSHIELD_STORE__URL", url),
            ("AUDITSHIELD_SERVER__PUBLIC_URL", &public),
            ("AUDITSHIELD_SERVER__TRUSTED_PROXIES", "127.0.0.1"),
            ("CINETPAY_API_URL", outside.cinetpay.base_url()),
            ("AUDITSHIELD_MAIL__URL", &outside.settings["AUDITSHIELD_MAIL__URL"]),
            ("AUDITSHIELD_CINETPAY__TIMEOUT", "1s"),
            ("AUDITSHIELD_CINETPAY__CONNECT_TIMEOUT", "1s"),
            ("AUDITSHIELD_MAIL__TIMEOUT", "2s"),
            ("AUDITSHIELD_VERIFY__FIRST_POLL", "1h"),
            ("AUDITSHIELD_CINETPAY__PER_SECOND", "1000"),
            ("AUDITSHIELD_LOG", "info"),
        ];
        World::new(&[&settings, more].concat()).await
    }

    /// Everybody ends as they should; nobody panicked.
    pub(crate) async fn end(&mut self) {
        for node in &mut self.nodes {
            assert!(!node.said().contains("panicked: "), "{}", node.said());
            node.term();
        }
        for node in &mut self.nodes {
            assert_eq!(node.end().await.code(), Some(0), "{}", node.said());
        }
    }

    /// The sum of a counter over the nodes, each since its last start.
    pub(crate) async fn total(&self, name: &str) -> u64 {
        let mut total = 0;
        for node in &self.nodes {
            let said = node.metrics().await;
            let lines = said.lines().filter(|line| line.split([' ', '{']).next() == Some(name));
            total += lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>();
        }
        total
    }
}

/// A folder for a server, where its owner may enter.
pub(crate) fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("auditshield-test-{:016x}", rand::random::<u64>()))
}

/// Waits for PostgreSQL's programs beside the other tasks.
pub(crate) fn wait<T>(work: impl FnOnce() -> Result<T, Fault>) -> T {
    tokio::task::block_in_place(work).unwrap_or_else(|fault| panic!("{fault}"))
}

/// A server of one's own, running.
pub(crate) fn server(settings: &[(&str, &str)]) -> Server {
    wait(|| {
        let server = Server::make(&folder(), crate::process_support::port())?;
        server.start(settings)?;
        Ok(server)
    })
}
