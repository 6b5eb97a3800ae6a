//! One round: every variant once, in turn, each in a fresh process on a fresh copy of its store.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::child::{Daemon, Running, World, address, part};
use crate::machine::{self, Watch};
use crate::sheet::Sheet;
use crate::wire::{Load, Pace, Requests, Seen};
use crate::{Outcome, cinetpay};

/// The orders that are hammered in the duplicates' turn.
const HOT_ORDERS: usize = 16;
/// The open loop's rate, against bare's in the closed loop of the same round: all of them can keep up with it.
const OPEN_SHARE: f64 = 0.25;
/// Connections of the open loop.
pub(crate) const OPEN_CONNECTIONS: usize = 256;
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
    /// A store with a million complete orders and enough open ones for every round, if it was asked for.
    pub(crate) million: Option<PathBuf>,
}

/// How many requests the parts of one turn have.
struct Plan {
    warm: usize,
    closed: usize,
    open: usize,
}

impl Plan {
    fn of(orders: usize, open_too: bool) -> Self {
        let warm = orders / 10;
        let open = if open_too { orders * 3 / 10 } else { 0 };
        Self { warm, closed: orders - warm - open, open }
    }
}

impl Bench {
    /// One turn of one variant, into the sheet.
    pub(crate) async fn turn(&self, sheet: &mut Sheet, variant: Variant, connections: usize) -> Outcome<()> {
        let name = format!("{}/{connections}", variant.name());
        let said = self.folder.join("said");
        let store = self.folder.join("store");
        remove(&store)?;
        match variant {
            Variant::Bare | Variant::Raw => {
                let listen = address()?;
                let mut command = part(&[variant.name(), &listen.to_string()])?;
                command.arg(self.folder.join("raw.log"));
                let running = Running::start(command, listen, "/payment/callback", &said).await?;
                let open_too = connections == OPEN_CONNECTIONS;
                self.notify(sheet, &name, &running, connections, (0, open_too)).await
            }
            Variant::Daemon | Variant::Quiet => {
                machine::copy(&self.open, &store)?;
                let level = if variant == Variant::Quiet { "warn" } else { "info" };
                let daemon = self.daemon(&store, &[("AUDITSHIELD_LOG", level)]).await?;
                let open_too = connections == OPEN_CONNECTIONS;
                self.notify(sheet, &name, &daemon.running, connections, (0, open_too)).await
            }
            Variant::Million => {
                let store = self.million.as_deref().ok_or("no such store")?;
                let daemon = self.daemon(store, &[]).await?;
                sheet.put("million/idle/rss", machine::status(daemon.running.pid(), "VmRSS") / 1024.0);
                self.notify(sheet, &name, &daemon.running, connections, (0, false)).await
            }
            Variant::Duplicates => {
                machine::copy(&self.few, &store)?;
                let daemon = self.daemon(&store, &[]).await?;
                self.hammer(sheet, &name, &daemon, connections).await
            }
        }
    }

    async fn daemon(&self, store: &Path, overrides: &[(&str, &str)]) -> Outcome<Daemon> {
        Daemon::start(&self.binary, &self.folder, store, &self.world, overrides).await
    }

    /// All orders different, each notified once: warm-up, closed loop, open loop.
    async fn notify(
        &self,
        sheet: &mut Sheet,
        name: &str,
        running: &Running,
        connections: usize,
        (first, open_too): (usize, bool),
    ) -> Outcome<()> {
        let plan = Plan::of(self.requests.len(), open_too);
        let mut load = Load::open(running.listen, connections).await?;
        load.send(&self.requests, first, plan.warm, Pace::Closed).await?;
        let first = first + plan.warm;
        self.measure(sheet, name, running, &mut load, (&self.requests, first, plan.closed, Pace::Closed))
            .await?;
        let Some(bare) = sheet.last(&format!("bare/{connections}/rate")).filter(|_| open_too) else {
            return Ok(());
        };
        let (name, first) = (format!("{name}/open"), first + plan.closed);
        let pace = Pace::PerSecond(bare * OPEN_SHARE);
        self.measure(sheet, &name, running, &mut load, (&self.requests, first, plan.open, pace)).await
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
        daemon.until("auditshield_events_total", "DELIVERED", HOT_ORDERS as f64).await?;
        let hot = Rc::new(self.requests.first(HOT_ORDERS));
        let plan = Plan::of(self.requests.len(), false);
        load.send(&hot, 0, plan.warm, Pace::Closed).await?;
        self.measure(sheet, name, &daemon.running, &mut load, (&hot, 0, plan.closed, Pace::Closed)).await
    }

    async fn measure(
        &self,
        sheet: &mut Sheet,
        name: &str,
        running: &Running,
        load: &mut Load,
        (requests, first, count, pace): (&Rc<Requests>, usize, usize, Pace),
    ) -> Outcome<()> {
        let pids = machine::family(running.pid());
        let servers = pids.len();
        let pids = [pids, vec![self.world.pid()]].concat();
        let watch = Watch::start(&pids);
        let seen = load.send(requests, first, count, pace).await?;
        let elapsed = watch.stop();
        let cpu: f64 = elapsed.cpu.iter().take(servers).sum();
        self.note(sheet, name, &seen, cpu);
        let sum = |what| pids.iter().take(servers).map(|pid| machine::status(*pid, what)).sum::<f64>();
        sheet.put(format!("{name}/rss"), sum("VmHWM") / 1024.0);
        sheet.put(format!("{name}/threads"), sum("Threads"));
        sheet.disturbed(name, elapsed.foreign);
        println!(
            "  {name:22} {:8.0} req/s  p50 {:6.2} ms  p99 {:6.2} ms  {:6.1} µs CPU  {:5.1} MiB  others {:4.1} %{}",
            seen.rate(),
            sheet.last(&format!("{name}/p50")).unwrap_or_default(),
            sheet.last(&format!("{name}/p99")).unwrap_or_default(),
            sheet.last(&format!("{name}/cpu")).unwrap_or_default(),
            sheet.last(&format!("{name}/rss")).unwrap_or_default(),
            elapsed.foreign * 100.0,
            if seen.reopened > 0 {
                format!("  {} connections reopened", seen.reopened)
            } else {
                String::new()
            },
        );
        Ok(())
    }

    fn note(&self, sheet: &mut Sheet, name: &str, seen: &Seen, cpu: f64) {
        sheet.put(format!("{name}/rate"), seen.rate());
        sheet.put(format!("{name}/cpu"), cpu * 1e6 / seen.answered as f64);
        for (key, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
            sheet.put(format!("{name}/{key}"), seen.latency.value_at_quantile(quantile) as f64 / 1000.0);
        }
        sheet.put(format!("{name}/max"), seen.latency.max() as f64 / 1000.0);
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

/// Away with a folder that may not be there.
pub(crate) fn remove(folder: &Path) -> Outcome<()> {
    match std::fs::remove_dir_all(folder) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(why.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}
