//! One turn: fresh daemons on a fresh copy of the same open orders.

use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use auditshield::ledger::Ledger;
use auditshield::simulator::database::Server;
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;

use crate::child::{self, Daemon, World};
use crate::machine::{self, Watch};
use crate::stock::{self, Kind};
use crate::table::{EMBEDDED, Table};
use crate::wire::{Load, Pace, Requests, Seen};
use crate::{Arguments, Outcome, cinetpay, pgbench};

/// Connections of the load, over all nodes.
const CONNECTIONS: usize = 66;
/// Where notifications go.
const PATH: &str = "/payment/callback/";
/// The database that every turn's is a copy of.
const STOCK: &str = "stock";
/// The database of a turn.
const TURN: &str = "turn";
/// Between two looks how many sales are through.
const LOOK: Duration = Duration::from_millis(25);

/// What the daemons stand on.
#[derive(Clone, Copy)]
pub(crate) enum Ground {
    /// One daemon, its own ledger.
    Embedded,
    /// So many on the database.
    Nodes(usize),
}

impl Ground {
    fn name(self) -> String {
        match self {
            Ground::Embedded => EMBEDDED.to_owned(),
            Ground::Nodes(nodes) => nodes.to_string(),
        }
    }
}

/// Everything that the turns share.
pub(crate) struct Bench {
    binary: PathBuf,
    folder: tempfile::TempDir,
    world: World,
    server: Server,
    requests: Rc<Requests>,
    born: i64,
    orders: usize,
    sales: usize,
}

impl Bench {
    pub(crate) async fn prepare(arguments: &Arguments) -> Outcome<Bench> {
        // On the disk that holds the build, never in memory; and where the server's owner may enter.
        let shelf = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench-store");
        std::fs::create_dir_all(&shelf)?;
        let folder = tempfile::tempdir_in(&shelf)?;
        let server = std::env::temp_dir().join(format!("auditshield-bench-{:016x}", rand::random::<u64>()));
        let server = Server::make(&server, child::address()?.port())?;
        server.start(&[])?;
        let born = auditshield::ports::Clock::system().now().millis();
        let orders = arguments.orders;
        stock::add(&folder.path().join("open"), Kind::Open(born), orders as u64).await?;
        sql(&server, &format!("create database {STOCK}"))?;
        let ledger = Ledger::connect(&server.url(STOCK))?;
        stock::fill(&ledger, Kind::Open(born), orders as u64).await?;
        ledger.close().await;
        let ids = (0..orders as u64).map(|number| Kind::Open(born).order_id(number));
        let requests = Rc::new(Requests::notices(PATH, ids));
        let built = || PathBuf::from(env!("CARGO_BIN_EXE_auditshield"));
        let binary = std::path::absolute(arguments.binary.clone().unwrap_or_else(built))?;
        let sales = arguments.sales.min(orders).min(cinetpay::PAYMENTS_MAX);
        let world = World::start(born, orders.min(cinetpay::PAYMENTS_MAX))?;
        Ok(Bench { binary, folder, world, server, requests, born, orders, sales })
    }

    /// Starts the daemons of a turn.
    async fn daemons(&self, ground: Ground, more: &[(&str, &str)]) -> Outcome<Vec<Daemon>> {
        let store = self.folder.path().join("store");
        let mut daemons = Vec::new();
        let (url, nodes) = match ground {
            Ground::Embedded => {
                if store.exists() {
                    std::fs::remove_dir_all(&store)?;
                }
                machine::copy(&self.folder.path().join("open"), &store)?;
                (format!("sled:{}", store.display()), 1)
            }
            Ground::Nodes(nodes) => {
                self.fresh()?;
                (self.server.url(TURN), nodes)
            }
        };
        let settings =
            [&[("AUDITSHIELD_STORE__URL", url.as_str()), ("AUDITSHIELD_LOG", "warn")], more].concat();
        for number in 0..nodes {
            let shop = self.folder.path().join(format!("shop{number}"));
            child::make_shop(&shop)?;
            daemons.push(Daemon::start(&self.binary, &shop, &store, &self.world, &settings).await?);
        }
        Ok(daemons)
    }

    /// A copy of the stock. Written out before anything is measured.
    fn fresh(&self) -> Outcome<()> {
        sql(&self.server, &format!("drop database if exists {TURN} with (force)"))?;
        sql(&self.server, &format!("create database {TURN} template {STOCK}"))?;
        sql(&self.server, "checkpoint")
    }

    /// Every order is notified once, evenly over the nodes: what is answered 200 is durable.
    pub(crate) async fn notify(&self, table: &mut Table, ground: Ground) -> Outcome<()> {
        let daemons = self.daemons(ground, &[]).await?;
        let warm = (self.orders / 10).max(CONNECTIONS);
        self.send(&daemons, 0, warm).await?;
        let pids: Vec<u32> = daemons.iter().map(|daemon| daemon.running.pid()).collect();
        let watch = Watch::start(&[pids.as_slice(), &[self.world.pid()]].concat());
        let (rate, latency) = self.send(&daemons, warm, self.orders - warm).await?;
        let elapsed = watch.stop();
        let all = elapsed.seconds * machine::cores();
        let name = ground.name();
        let p99 = latency.value_at_quantile(0.99) as f64;
        let (daemons, load) = elapsed.cpu.split_at(pids.len());
        table.put(format!("{name}/rate"), rate);
        table.put(format!("{name}/p99"), p99);
        table.put(format!("{name}/daemons"), daemons.iter().sum::<f64>() / all);
        table.put(format!("{name}/load"), load.iter().sum::<f64>() / all);
        table.put(format!("{name}/others"), elapsed.foreign);
        println!("  {name:9} {rate:8.0} notifications/s  p99 {:7.2} ms", p99 / 1000.0);
        Ok(())
    }

    async fn send(&self, daemons: &[Daemon], first: usize, count: usize) -> Outcome<(f64, Histogram<u64>)> {
        let begun = Instant::now();
        let share = count / daemons.len();
        let loads = daemons.iter().enumerate().map(async |(at, daemon)| {
            let mut load = Load::open(daemon.running.listen, CONNECTIONS / daemons.len()).await?;
            load.send(&self.requests, first + at * share, share, Pace::Closed).await
        });
        let seen: Vec<Seen> = try_join_all(loads).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let mut latency = seen[0].latency.clone();
        for other in &seen[1..] {
            latency.add(&other.latency)?;
        }
        Ok((latency.len() as f64 / seconds, latency))
    }

    /// Whole sales: from the first notification to the last DELIVERED, with every limit of ours wide open.
    pub(crate) async fn sell(&self, table: &mut Table, ground: Ground) -> Outcome<()> {
        let wide = [
            ("AUDITSHIELD_CINETPAY__PER_SECOND", "10000"),
            ("AUDITSHIELD_CINETPAY__CONCURRENCY", "256"),
            ("AUDITSHIELD_VERIFY__CONCURRENCY", "96"),
            ("AUDITSHIELD_DELIVER__CONCURRENCY", "32"),
            ("AUDITSHIELD_MAIL__CONNECTIONS_MAX", "32"),
        ];
        let daemons = self.daemons(ground, &wide).await?;
        let sales = self.sales / daemons.len() * daemons.len();
        let begun = Instant::now();
        self.send(&daemons, 0, sales).await?;
        loop {
            let mut delivered = 0.0;
            for daemon in &daemons {
                delivered += daemon.metric("auditshield_events_total", "\"DELIVERED\"").await?;
            }
            if delivered >= sales as f64 {
                break;
            }
            if begun.elapsed() > cinetpay::SALES_WAIT {
                return Err(format!("{delivered} of {sales} sales: {}", daemons[0].running.words()).into());
            }
            tokio::time::sleep(LOOK).await;
        }
        let (name, rate) = (ground.name(), sales as f64 / begun.elapsed().as_secs_f64());
        table.put(format!("{name}/sales"), rate);
        println!("  {name:9} {rate:8.0} sales/s");
        Ok(())
    }

    /// The database alone.
    pub(crate) fn database(&self, table: &mut Table) -> Outcome<()> {
        self.fresh()?;
        let stock = (self.born, self.orders);
        let rate = pgbench::rate(&self.server, TURN, self.folder.path(), stock, self.orders)?;
        table.put("database", rate);
        println!("  database  {rate:8.0} commits/s");
        Ok(())
    }
}

/// A statement about databases.
fn sql(server: &Server, statement: &str) -> Outcome<()> {
    let mut psql = Command::new(server.program("psql"));
    let output = psql.args(["-X", "-q", "-c", statement]).arg(server.url("postgres")).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{statement}: {said}").into()) }
}
