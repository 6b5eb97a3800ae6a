//! `auditshield demo --nodes 3`: several daemons, each a process of its own, on one PostgreSQL database that is made for
//! the occasion, behind a balancer. One may be killed: the others go on.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::demo::{ADMIN_TOKEN, DemoOptions, Offline, Scratch, offline, settings};
use super::{Error, demo_once, shutdown_signal};
use crate::adapters::browser::Browser;
use crate::ledger::Ledger;
use crate::simulator::database::{Fault, Server};

/// How long a node may take to start, or to end, in seconds.
const NODE_SECONDS_MAX: u64 = 60;
/// Between two looks at a node.
const LOOK: Duration = Duration::from_millis(100);
/// A node that does not answer the balancer within this time is left out.
const ANSWER: Duration = Duration::from_secs(1);
/// The database's name, as PostgreSQL makes it.
const DATABASE: &str = "postgres";

/// One daemon.
struct Node {
    number: usize,
    child: Child,
    public: SocketAddr,
    admin: SocketAddr,
}

/// The nodes, and what each connection's turn is.
struct Balancer {
    nodes: Vec<(SocketAddr, AtomicBool)>,
    turn: AtomicUsize,
}

/// Everything that runs. In the order in which it ends.
struct Stage {
    stop: CancellationToken,
    tasks: TaskTracker,
    nodes: Vec<Node>,
    offline: Offline,
    server: Server,
    shop: SocketAddr,
}

/// Runs the demonstration on several nodes.
pub(super) async fn demo(options: &DemoOptions, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let folder = Scratch::new()?;
    let signal = shutdown_signal()?;
    let mut stage = Stage::raise(&folder.0, options).await?;
    let played = if options.once { stage.once(say).await } else { stage.open(signal, say).await };
    stage.end().await.and(played)
}

// === impl Stage ===

impl Stage {
    async fn raise(folder: &Path, options: &DemoOptions) -> Result<Stage, Error> {
        let place = folder.join("database");
        let port = free()?.port();
        let server = tokio::task::block_in_place(|| {
            let server = Server::make(&place, port)?;
            server.start(&[])?;
            Ok(server)
        });
        let server = server.map_err(|fault: Fault| match fault {
            Fault::NotInstalled | Fault::Root => Error::Lacking(fault.to_string()),
            Fault::Failed(..) | Fault::Io(_) => Error::Demo(fault.to_string()),
        })?;
        let listener = TcpListener::bind(("127.0.0.1", options.port.unwrap_or(0))).await?;
        let shop = listener.local_addr()?;
        let offline = offline(folder).await?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let mut stage = Stage { stop, tasks, nodes: Vec::new(), offline, server, shop };
        // The nodes agree on what signs links.
        let key = format!("{:032x}", rand::random::<u128>());
        for number in 1..=options.nodes {
            let mut own = settings(folder, &stage.offline, &format!("http://{shop}"), &key);
            own.push(("AUDITSHIELD_STORE__URL".to_owned(), stage.server.url(DATABASE)));
            own.extend(options.set.iter().cloned());
            stage.nodes.push(Node::start(number, own)?);
        }
        for node in &mut stage.nodes {
            node.ready().await?;
        }
        stage.balance(listener)?;
        Ok(stage)
    }

    /// Puts the balancer in front of the nodes.
    fn balance(&self, listener: TcpListener) -> Result<(), Error> {
        let nodes = self.nodes.iter().map(|node| (node.public, AtomicBool::new(true))).collect();
        let balancer = Arc::new(Balancer { nodes, turn: AtomicUsize::new(0) });
        let browser = Browser::new().map_err(Error::Demo)?;
        let (looking, stop) = (Arc::clone(&balancer), self.stop.clone());
        self.tasks.spawn(async move { stop.run_until_cancelled(looking.look(browser)).await });
        let (tasks, stop) = (self.tasks.clone(), self.stop.clone());
        self.tasks.spawn(async move { stop.run_until_cancelled(balancer.serve(listener, tasks)).await });
        Ok(())
    }

    /// Tells where everything is, and waits.
    async fn open(
        &mut self,
        signal: impl Future<Output = ()>,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), Error> {
        say("AuditShield, la démonstration / the demonstration");
        say(&format!("  boutique / shop        http://{}/   (répartiteur / balancer)", self.shop));
        say(&format!("  boîte aux lettres      {}/mailbox/", self.offline.simulator.base_url()));
        for node in &self.nodes {
            let Node { number, admin, child, .. } = node;
            say(&format!("  nœud / node {number}          http://{admin}/admin/   kill -9 {}", child.id()));
        }
        say(&format!("  administration         jeton / token: {ADMIN_TOKEN}"));
        say(&format!("  CinetPay simulé        {}", self.offline.simulator.base_url()));
        say("Arrêtez un nœud : les autres continuent. / Kill a node: the others go on.");
        say("Ctrl-C pour arrêter / to stop.");
        let mut signal = std::pin::pin!(signal);
        let mut gone = vec![false; self.nodes.len()];
        loop {
            tokio::select! {
                () = &mut signal => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
            }
            for (node, gone) in self.nodes.iter_mut().zip(&mut gone) {
                if !*gone && node.child.try_wait()?.is_some() {
                    *gone = true;
                    let number = node.number;
                    say(&format!(
                        "  nœud {number} arrêté, les autres continuent / node {number} has ended, the others go on"
                    ));
                }
            }
        }
    }

    /// The whole journey; the node that took the order is killed before it is paid.
    async fn once(&mut self, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let shop = format!("http://{}", self.shop);
        let (first, others) = self.nodes.split_first_mut().ok_or(Error::Ended)?;
        say(&format!("   {} nœuds / nodes, une base PostgreSQL / one PostgreSQL database", others.len() + 1));
        let scene = demo_once::Scene {
            shop: &shop,
            till: &format!("http://{}", first.public),
            simulator: &self.offline.simulator,
            mailbox: &self.offline.mailbox,
        };
        let order = demo_once::run(&scene, say, &mut |say| {
            first.child.kill()?;
            first.child.wait()?;
            say("   kill -9                            le nœud qui a pris la commande / the node that took the order");
            Ok(())
        })
        .await?;
        let url = self.server.url(DATABASE);
        let ledger = tokio::task::block_in_place(|| Ledger::connect(&url))?;
        let report = tokio::task::block_in_place(|| ledger.verify_shared(&mut |_| ()));
        let report = report.map_err(|why| Error::Demo(why.to_string()))?;
        let told = if report.is_some_and(|report| report.is_sound()) {
            demo_once::history(&ledger, &order, say)
        } else {
            Err(Error::Demo("not so: the ledger verifies".to_owned()))
        };
        ledger.close().await;
        told
    }

    async fn end(mut self) -> Result<(), Error> {
        self.stop.cancel();
        self.tasks.close();
        for node in &mut self.nodes {
            node.end().await?;
        }
        self.offline.stop().await;
        drop(self.server);
        Ok(())
    }
}

// === impl Node ===

impl Node {
    fn start(number: usize, mut settings: Vec<(String, String)>) -> Result<Node, Error> {
        let (public, admin) = (free()?, free()?);
        for (name, place) in [("SERVER", public), ("ADMIN", admin)] {
            settings.push((format!("AUDITSHIELD_{name}__LISTEN"), place.to_string()));
        }
        let level = std::env::var("AUDITSHIELD_LOG").unwrap_or_else(|_| "warn".to_owned());
        settings.push(("AUDITSHIELD_LOG".to_owned(), level));
        let child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .env_clear()
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Node { number, child, public, admin })
    }

    /// Waits until it takes orders.
    async fn ready(&mut self) -> Result<(), Error> {
        let browser = Browser::new().map_err(Error::Demo)?;
        let begun = Instant::now();
        let url = format!("http://{}/readyz", self.public);
        while browser.get(&url).await.map_or(0, |answer| answer.status) != 200 {
            if self.child.try_wait()?.is_some() || begun.elapsed().as_secs() > NODE_SECONDS_MAX {
                return Err(Error::Demo(format!("node {} does not start", self.number)));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Ends it in order, if it still runs.
    async fn end(&mut self) -> Result<(), Error> {
        let begun = Instant::now();
        let mut asked = false;
        while self.child.try_wait()?.is_none() {
            if begun.elapsed().as_secs() > NODE_SECONDS_MAX {
                break;
            }
            if !std::mem::replace(&mut asked, true) {
                // It may have ended meanwhile.
                let _ = Command::new("kill").arg(self.child.id().to_string()).status();
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Ended already, as a rule.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Balancer ===

impl Balancer {
    /// Asks every node, round after round, whether it takes orders.
    async fn look(&self, browser: Browser) {
        loop {
            for (node, is_ready) in &self.nodes {
                let url = format!("http://{node}/readyz");
                let answer = tokio::time::timeout(ANSWER, browser.get(&url)).await;
                let ready = matches!(answer, Ok(Ok(answer)) if answer.status == 200);
                is_ready.store(ready, Ordering::Release);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Gives each connection to the next node that takes it.
    async fn serve(&self, listener: TcpListener, tasks: TaskTracker) {
        loop {
            let Ok((mut client, _)) = listener.accept().await else {
                tokio::time::sleep(LOOK).await;
                continue;
            };
            let Some(mut node) = self.next().await else { continue };
            tasks.spawn(async move {
                // Either side may break it off at any time.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut node).await;
            });
        }
    }

    async fn next(&self) -> Option<TcpStream> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        for at in 0..self.nodes.len() {
            let (node, is_ready) = self.nodes.get((turn + at) % self.nodes.len())?;
            if is_ready.load(Ordering::Acquire)
                && let Ok(stream) = TcpStream::connect(node).await
            {
                return Some(stream);
            }
        }
        None
    }
}

/// A free address.
fn free() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}
