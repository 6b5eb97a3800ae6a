//! One round: every variant once, in turn, each in a fresh process on a fresh copy of its store.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::child::{Daemon, Running, World, address, part};
use crate::machine::{self, Watch};
use crate::sheet::Sheet;
use crate::wire::{Load, Pace, Requests, Seen};
use crate::{Outcome, cinetpay, peers};

/// The orders that are hammered in the duplicates' turn.
const HOT_ORDERS: usize = 16;
/// The open loop's rate, against bare's in the closed loop of the same round: all of them can keep up with it.
const OPEN_SHARE: f64 = 0.25;
/// Of the orders, every so manieth is notified to a peer: they are slow, and a turn is to end.
const DJANGO_SHARE: usize = 60;
const PHP_SHARE: usize = 20;
/// After a start, before memory at rest is read.
pub(crate) const REST: Duration = Duration::from_millis(500);
/// Between two looks how many sales are through.
const SALES_LOOK: Duration = Duration::from_millis(25);

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    Bare,
    Raw,
    /// As shipped: it logs every event.
    Daemon,
    /// The same with `AUDITSHIELD_LOG=warn`.
    Quiet,
    /// As shipped; the same few notifications over and over.
    Duplicates,
    /// As shipped, beside a million complete orders.
    Million,
    Django,
    Php,
}

impl Variant {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Raw => "raw",
            Self::Daemon => "daemon",
            Self::Quiet => "quiet",
            Self::Duplicates => "duplicates",
            Self::Million => "million",
            Self::Django => "django",
            Self::Php => "php",
        }
    }
}

/// Everything that the rounds share.
pub(crate) struct Bench {
    /// The daemon's program.
    pub(crate) binary: PathBuf,
    /// The shop; stores are made and thrown away here, on a real disk.
    pub(crate) folder: PathBuf,
    pub(crate) world: World,
    /// A notification for each order of the store below.
    pub(crate) requests: Rc<Requests>,
    /// A store of open orders.
    pub(crate) open: PathBuf,
    /// A smaller one, for sales and duplicates.
    pub(crate) few: PathBuf,
    /// Whole sales in one turn.
    pub(crate) sales: usize,
    /// When the open orders were taken, in milliseconds.
    pub(crate) born: i64,
    /// A store with very many orders.
    pub(crate) million: Option<Million>,
}

/// A store with a million complete orders, and open ones for every round: it is too large to be copied for each.
pub(crate) struct Million {
    pub(crate) store: PathBuf,
    /// A notification for each open order.
    pub(crate) requests: Rc<Requests>,
    /// How many of them a round has.
    pub(crate) slice: usize,
}

/// Who is asked, and which processes it costs.
pub(crate) struct Target {
    listen: SocketAddr,
    pids: Vec<u32>,
}

impl Target {
    fn of(running: &Running) -> Self {
        Self { listen: running.listen, pids: vec![running.pid()] }
    }
}

/// The requests of one turn.
struct Batch<'a> {
    requests: &'a Rc<Requests>,
    first: usize,
    count: usize,
}

/// What one turn's requests are for: nothing of the warm-up is counted.
struct Plan {
    warm: usize,
    closed: usize,
    open: usize,
}

impl Plan {
    /// The warm-up uses every connection.
    fn of(count: usize, connections: usize, open_too: bool) -> Self {
        let warm = (count / 10).max(connections).min(count / 2);
        let open = if open_too { count * 3 / 10 } else { 0 };
        Self { warm, closed: count - warm - open, open }
    }
}

impl Bench {
    /// One turn of one variant, into the sheet.
    pub(crate) async fn turn(&self, sheet: &mut Sheet, variant: Variant, connections: usize) -> Outcome<()> {
        let name = format!("{}/{connections}", variant.name());
        let store = self.folder.join("store");
        remove(&store)?;
        let all = Batch { requests: &self.requests, first: 0, count: self.requests.len() };
        match variant {
            Variant::Bare | Variant::Raw => {
                let running = self.baseline(variant).await?;
                self.notify(sheet, &name, &Target::of(&running), connections, &all).await
            }
            Variant::Daemon | Variant::Quiet => {
                machine::copy(&self.open, &store)?;
                let level = if variant == Variant::Quiet { "warn" } else { "info" };
                let daemon = self.daemon(&store, &[("AUDITSHIELD_LOG", level)]).await?;
                self.notify(sheet, &name, &Target::of(&daemon.running), connections, &all).await
            }
            Variant::Million => {
                let million = self.million.as_ref().ok_or("there is no such store")?;
                let daemon = self.daemon(&million.store, &[]).await?;
                tokio::time::sleep(REST).await;
                let idle = machine::status(daemon.running.pid(), "VmRSS") / 1024.0;
                sheet.put("million/idle/rss", idle);
                let first = sheet.round() * million.slice;
                let slice = Batch { requests: &million.requests, first, count: million.slice };
                self.notify(sheet, &name, &Target::of(&daemon.running), connections, &slice).await?;
                // The next round starts on it: it must not have a crash behind it.
                daemon.running.end().await
            }
            Variant::Duplicates => {
                machine::copy(&self.few, &store)?;
                let daemon = self.daemon(&store, &[]).await?;
                self.hammer(sheet, &name, &daemon, connections).await
            }
            Variant::Django | Variant::Php => {
                let (peer, share) = if variant == Variant::Django {
                    (peers::django(&self.folder).await?, DJANGO_SHARE)
                } else {
                    (peers::php(&self.folder).await?, PHP_SHARE)
                };
                let target = Target { listen: peer.front.listen, pids: peer.pids() };
                let few = Batch { count: self.requests.len() / share, ..all };
                self.notify(sheet, &name, &target, connections, &few).await
            }
        }
    }

    async fn baseline(&self, variant: Variant) -> Outcome<Running> {
        let listen = address()?;
        let mut command = part(&[variant.name(), &listen.to_string()])?;
        command.arg(self.folder.join("raw.log"));
        Running::start(command, listen, peers::PATH, &self.folder.join("said")).await
    }

    /// The daemon on this store, with what `overrides` say and otherwise as shipped.
    pub(crate) async fn daemon(&self, store: &Path, overrides: &[(&str, &str)]) -> Outcome<Daemon> {
        Daemon::start(&self.binary, &self.folder, store, &self.world, overrides).await
    }

    /// All orders different, each notified once: warm-up, closed loop, and a fixed rate where bare's is known.
    async fn notify(
        &self,
        sheet: &mut Sheet,
        name: &str,
        target: &Target,
        connections: usize,
        batch: &Batch<'_>,
    ) -> Outcome<()> {
        let open_too = ["bare/256", "raw/256", "daemon/256", "quiet/256"].contains(&name);
        let plan = Plan::of(batch.count, connections, open_too);
        let mut load = Load::open(target.listen, connections).await?;
        load.send(batch.requests, batch.first, plan.warm, Pace::Closed).await?;
        let mut first = batch.first + plan.warm;
        let closed = Batch { requests: batch.requests, first, count: plan.closed };
        self.measure(sheet, name, target, &mut load, &closed, Pace::Closed).await?;
        let bare = sheet.last(&format!("bare/{connections}/rate")).filter(|_| open_too);
        if let Some(bare) = bare {
            first += plan.closed;
            let open = Batch { requests: batch.requests, first, count: plan.open };
            let (name, pace) = (format!("{name}/open"), Pace::PerSecond(bare * OPEN_SHARE));
            self.measure(sheet, &name, target, &mut load, &open, pace).await?;
        }
        Ok(())
    }

    /// A few orders that were notified, paid and delivered before; then the same notifications again and again.
    async fn hammer(
        &self,
        sheet: &mut Sheet,
        name: &str,
        daemon: &Daemon,
        connections: usize,
    ) -> Outcome<()> {
        let mut load = Load::open(daemon.running.listen, connections).await?;
        load.send(&self.requests, 0, HOT_ORDERS, Pace::Closed).await?;
        daemon.until("auditshield_events_total", "\"DELIVERED\"", HOT_ORDERS as f64).await?;
        let hot = Rc::new(self.requests.first(HOT_ORDERS));
        let plan = Plan::of(self.requests.len(), connections, false);
        load.send(&hot, 0, plan.warm, Pace::Closed).await?;
        let batch = Batch { requests: &hot, first: 0, count: plan.closed };
        self.measure(sheet, name, &Target::of(&daemon.running), &mut load, &batch, Pace::Closed).await
    }

    async fn measure(
        &self,
        sheet: &mut Sheet,
        name: &str,
        target: &Target,
        load: &mut Load,
        batch: &Batch<'_>,
        pace: Pace,
    ) -> Outcome<()> {
        let watch = Watch::start(&[target.pids.as_slice(), &[self.world.pid()]].concat());
        let seen = load.send(batch.requests, batch.first, batch.count, pace).await?;
        let elapsed = watch.stop();
        let cpu: f64 = elapsed.cpu.iter().take(target.pids.len()).sum();
        note(sheet, name, &seen, cpu);
        let sum = |what| target.pids.iter().map(|pid| machine::status(*pid, what)).sum::<f64>();
        sheet.put(format!("{name}/rss"), sum("VmHWM") / 1024.0);
        sheet.put(format!("{name}/threads"), sum("Threads"));
        sheet.disturbed(name, elapsed.foreign);
        tell(sheet, name, &seen, elapsed.foreign);
        Ok(())
    }

    /// Whole sales: from the first notification to the last DELIVERED, with every limit of ours wide open.
    pub(crate) async fn sell(&self, sheet: &mut Sheet, connections: usize) -> Outcome<()> {
        let store = self.folder.join("store");
        remove(&store)?;
        machine::copy(&self.few, &store)?;
        let wide = [
            ("AUDITSHIELD_CINETPAY__PER_SECOND", "10000"),
            ("AUDITSHIELD_CINETPAY__CONCURRENCY", "256"),
            ("AUDITSHIELD_VERIFY__CONCURRENCY", "96"),
            ("AUDITSHIELD_DELIVER__CONCURRENCY", "32"),
            ("AUDITSHIELD_MAIL__CONNECTIONS_MAX", "32"),
        ];
        let daemon = self.daemon(&store, &wide).await?;
        let mut load = Load::open(daemon.running.listen, connections).await?;
        let watch = Watch::start(&[daemon.running.pid(), self.world.pid()]);
        let begun = Instant::now();
        load.send(&self.requests, 0, self.sales, Pace::Closed).await?;
        let delivered = loop {
            let delivered = daemon.metric("auditshield_events_total", "\"DELIVERED\"").await?;
            if delivered >= self.sales as f64 {
                break delivered;
            }
            if begun.elapsed() > cinetpay::SALES_WAIT {
                return Err(format!("{delivered} of {} sales: {}", self.sales, daemon.running.words()).into());
            }
            tokio::time::sleep(SALES_LOOK).await;
        };
        let elapsed = watch.stop();
        let rate = delivered / elapsed.seconds;
        sheet.put("sales/rate", rate);
        sheet.put("sales/cpu", elapsed.cpu[0] * 1e6 / delivered);
        sheet.put("sales/world_cpu", elapsed.cpu[1] * 1e6 / delivered);
        sheet.put("sales/rss", machine::status(daemon.running.pid(), "VmHWM") / 1024.0);
        sheet.put("sales/threads", machine::status(daemon.running.pid(), "Threads"));
        sheet.disturbed("sales", elapsed.foreign);
        println!(
            "  {:22} {rate:8.0} sales/s  {:.1} µs CPU  others {:4.1} %",
            "sales",
            elapsed.cpu[0] * 1e6 / delivered,
            elapsed.foreign * 100.0
        );
        Ok(())
    }
}

fn note(sheet: &mut Sheet, name: &str, seen: &Seen, cpu: f64) {
    sheet.put(format!("{name}/rate"), seen.rate());
    sheet.put(format!("{name}/cpu"), cpu * 1e6 / seen.answered as f64);
    for (key, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
        sheet.put(format!("{name}/{key}"), seen.latency.value_at_quantile(quantile) as f64 / 1000.0);
    }
}

fn tell(sheet: &Sheet, name: &str, seen: &Seen, foreign: f64) {
    let of = |key: &str| sheet.last(&format!("{name}/{key}")).unwrap_or_default();
    println!(
        "  {name:22} {:8.0} req/s  p50 {:6.2} ms  p99 {:6.2} ms  {:6.1} µs CPU  {:5.1} MiB  others {:4.1} %{}",
        of("rate"),
        of("p50"),
        of("p99"),
        of("cpu"),
        of("rss"),
        foreign * 100.0,
        if seen.reopened > 0 { format!("  {} connections reopened", seen.reopened) } else { String::new() },
    );
}

/// Away with a folder that may not be there.
pub(crate) fn remove(folder: &Path) -> Outcome<()> {
    match std::fs::remove_dir_all(folder) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{} cannot be removed: {why}", folder.display()).into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
