//! haproxy in front of the nodes: asks `/readyz` of each, and sends what never left to another. What was sent is its
//! sender's to repeat: nobody else knows whether it happened.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process_support::{PATIENCE, World, port};

/// Where Debian puts it; tests/postgres/run installs it.
const PROGRAM: &str = "/usr/sbin/haproxy";

/// The configuration but for the nodes. A server that stops answering loses the requests that wait for it: their
/// senders come again, and get one that answers.
const CONFIGURATION: &str = "\
global
    maxconn 2000
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout check 1s
    retries 3
    option redispatch 1
    retry-on conn-failure
    option forwardfor
frontend shop
    bind 127.0.0.1:{port}
    default_backend nodes
backend nodes
    balance roundrobin
    option httpchk GET /readyz
    http-check expect status 200
    default-server check inter 300ms fall 2 rise 1 on-marked-down shutdown-sessions
";

/// The balancer, while it runs.
pub(crate) struct Balancer {
    /// Its address, as a browser writes it.
    pub(crate) shop: String,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Balancer {
    /// A place for one, before there are nodes: they must know the shop's address.
    pub(crate) fn place() -> u16 {
        port()
    }

    /// Starts at `place`, in front of these nodes.
    pub(crate) async fn before(nodes: &[World], place: u16) -> Balancer {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("haproxy.cfg");
        let mut text = CONFIGURATION.replace("{port}", &place.to_string());
        for (number, node) in nodes.iter().enumerate() {
            let address = node.shop.trim_start_matches("http://");
            text.push_str(&format!("    server node{number} {address}\n"));
        }
        std::fs::write(&path, text).unwrap();
        let said = std::fs::File::create(folder.path().join("said")).unwrap();
        let child = Command::new(PROGRAM)
            .arg("-db")
            .arg("-f")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .expect("haproxy; tests/postgres/run installs it");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", place)).is_err() {
            let said = std::fs::read_to_string(folder.path().join("said")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "haproxy does not listen: {said}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Balancer { shop: format!("http://127.0.0.1:{place}"), child, _folder: folder }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
