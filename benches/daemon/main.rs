//! The end-to-end benchmark: the daemon beside what it could be at best, in one interleaved run.
//!
//! `cargo bench --bench daemon` for the full form, `-- --quick` for the short one, `-- --smoke` to see that it works.
//! What is measured and how is told in `docs/performance.md`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark tells what it measured")]

mod baseline;
mod child;
mod cinetpay;
mod extras;
mod goals;
mod machine;
mod notices;
mod peers;
mod rounds;
mod selfcheck;
mod sheet;
mod stock;
mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use clap::{Parser, Subcommand};

use child::World;
use rounds::{Bench, Variant, remove};
use sheet::Sheet;
use stock::Kind;
use wire::Requests;

type Fault = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T> = Result<T, Fault>;

/// Compares the daemon with what it could be at best.
#[derive(Parser)]
struct Arguments {
    /// A few requests of everything: whether the benchmark works. Its figures mean nothing.
    #[arg(long)]
    smoke: bool,
    /// The short form: fewer orders. Three rounds are too few for verdicts.
    #[arg(long)]
    quick: bool,
    /// Django and PHP too, once benches/peers/install has run.
    #[arg(long)]
    peers: bool,
    /// Only these: raw, daemon, quiet, duplicates, million, django, php, sales, starts, download. bare is always measured.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Orders notified in one turn.
    #[arg(long)]
    orders: Option<usize>,
    /// The daemon's program, if not the one built with this.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Also write the report, in Markdown, to this file; into docs/performance.md, between its two marks.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// One process of the benchmark.
#[derive(Subcommand)]
enum Part {
    /// warp, form, HMAC, 200.
    #[command(hide = true)]
    Bare { listen: SocketAddr, log: PathBuf },
    /// The same with a log.
    #[command(hide = true)]
    Raw { listen: SocketAddr, log: PathBuf },
    /// The simulated CinetPay and a mailbox.
    #[command(hide = true)]
    Cinetpay { listen: SocketAddr, smtp: SocketAddr, born: i64, orders: usize },
}

/// How much is measured.
struct Scale {
    rounds: usize,
    orders: usize,
    sales: usize,
    /// Complete orders in the stores whose starts are timed: name, how many.
    stored: &'static [(&'static str, u64)],
    /// Whether the largest of them is notified too, beside its complete orders.
    million: bool,
    /// MiB of the file that is downloaded.
    file_mib: usize,
}

const SMOKE: Scale =
    Scale { rounds: 1, orders: 400, sales: 40, stored: &[("some", 300)], million: true, file_mib: 1 };
const QUICK: Scale = Scale {
    rounds: 3,
    orders: 30_000,
    sales: 2_000,
    stored: &[("100k", 100_000)],
    million: false,
    file_mib: 256,
};
const FULL: Scale = Scale {
    rounds: 7,
    orders: 200_000,
    sales: 9_000,
    stored: &[("100k", 100_000), ("1m", 1_000_000)],
    million: true,
    file_mib: 1024,
};

impl Arguments {
    /// Without cargo's own flag this is `cargo test`: only whether it works.
    fn is_smoke(&self) -> bool {
        self.smoke || !self.bench
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    fn scale(&self) -> Scale {
        let mut scale = match (self.is_smoke(), self.quick) {
            (true, _) => SMOKE,
            (false, true) => QUICK,
            (false, false) => FULL,
        };
        scale.rounds = self.rounds.unwrap_or(scale.rounds);
        scale.orders = self.orders.unwrap_or(scale.orders);
        scale.sales = scale.sales.min(scale.orders).min(cinetpay::PAYMENTS_MAX);
        scale
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match &arguments.part {
        // The load comes from one thread; servers have as many as the daemon would.
        None => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        Some(_) => tokio::runtime::Builder::new_multi_thread().enable_all().build(),
    };
    let done = runtime.map_err(Fault::from).and_then(|runtime| {
        runtime.block_on(async {
            match arguments.part {
                None => Box::pin(run(&arguments)).await,
                Some(Part::Bare { listen, .. }) => baseline::serve(listen, None).await,
                Some(Part::Raw { listen, log }) => {
                    baseline::serve(listen, Some(baseline::Log::create(&log)?)).await
                }
                Some(Part::Cinetpay { listen, smtp, born, orders }) => {
                    let local = tokio::task::LocalSet::new();
                    local.run_until(Box::pin(cinetpay::serve(listen, smtp, born, orders))).await
                }
            }
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("bench: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// Where stores are kept: on the disk that holds the build, never in memory.
fn shelf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-store")
}

/// Makes what the rounds need.
async fn prepare(arguments: &Arguments, scale: &Scale) -> Outcome<Bench> {
    let folder = shelf().join("run");
    remove(&folder)?;
    child::make_shop(&folder)?;
    extras::make_file(&folder, scale.file_mib)?;
    let born = auditshield::ports::Clock::system().now().millis();
    let (open, few) = (folder.join("open"), folder.join("few"));
    stock::add(&open, Kind::Open(born), scale.orders as u64).await?;
    stock::add(&few, Kind::Open(born), scale.sales as u64).await?;
    let ids = (0..scale.orders as u64).map(|number| Kind::Open(born).order_id(number));
    let requests = Rc::new(Requests::notices(peers::PATH, ids));
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_auditshield"));
    let binary = std::path::absolute(arguments.binary.clone().unwrap_or_else(built))?;
    let world = World::start(born, scale.orders.min(cinetpay::PAYMENTS_MAX))?;
    Ok(Bench { binary, folder, world, requests, open, few, sales: scale.sales, born, million: None })
}

async fn run(arguments: &Arguments) -> Outcome<()> {
    let scale = arguments.scale();
    std::fs::create_dir_all(shelf())?;
    // Until the end of this run. Two of them would share the folder, and measure each other.
    let lock = std::fs::File::create(shelf().join("lock"))?;
    lock.try_lock().map_err(|why| format!("another run of this benchmark is under way: {why}"))?;
    let form = if arguments.is_smoke() { "smoke test, its figures mean nothing: " } else { "" };
    let how = format!("{form}{} rounds of {} orders and {} sales", scale.rounds, scale.orders, scale.sales);
    println!("bench: {how}");
    if arguments.is_smoke() {
        selfcheck::arithmetic()?;
    }
    let before = machine::described();
    let how =
        format!("{how}, {}, begun {}", built(arguments), jiff::Timestamp::now().strftime("%F %H:%M UTC"));
    let mut bench = prepare(arguments, &scale).await?;
    let mut sheet = Sheet::default();
    let mut stores = Vec::new();
    let million = scale.million && arguments.wants("million");
    for (name, orders) in scale.stored {
        if arguments.wants("starts") || million {
            stores.push((*name, extras::full_store(&bench, &shelf(), *orders).await?, *orders));
        }
    }
    if let Some((_, store, _)) = stores.last().filter(|_| million) {
        extras::million(&mut bench, store, scale.rounds, scale.orders / 2).await?;
    }
    for round in 0..scale.rounds {
        println!("round {} of {}", round + 1, scale.rounds);
        sheet.begin(round);
        one_round(arguments, &bench, &mut sheet, &stores).await?;
    }
    let report = goals::report(&sheet, &how, &before);
    println!("\n{report}");
    if arguments.is_smoke() && arguments.only.is_empty() {
        selfcheck::whole(&sheet)?;
    }
    if let Some(path) = &arguments.markdown {
        goals::publish(path, &report)?;
    }
    remove(&bench.folder)
}

/// Which program was measured.
fn built(arguments: &Arguments) -> String {
    if let Some(path) = &arguments.binary {
        return format!("program {}", path.display());
    }
    let asked = std::process::Command::new("git").args(["describe", "--always", "--dirty"]).output();
    asked.map_or("program of no known commit".to_owned(), |output| {
        format!("commit {}", String::from_utf8_lossy(&output.stdout).trim())
    })
}

/// Everything once.
async fn one_round(
    arguments: &Arguments,
    bench: &Bench,
    sheet: &mut Sheet,
    stores: &[(&str, PathBuf, u64)],
) -> Outcome<()> {
    for connections in [64, 256] {
        let mut turns = vec![Variant::Raw, Variant::Daemon, Variant::Quiet, Variant::Duplicates];
        if connections == 256 && bench.million.is_some() {
            turns.push(Variant::Million);
        }
        if connections == 64 && arguments.peers {
            turns.extend([Variant::Django, Variant::Php]);
        }
        turns.retain(|variant| arguments.wants(variant.name()));
        // bare comes first, for the fixed rate is taken from it; the others change places from round to round.
        if !turns.is_empty() {
            let first = sheet.round() % turns.len();
            turns.rotate_left(first);
        }
        for variant in [Variant::Bare].into_iter().chain(turns) {
            let turn = bench.turn(sheet, variant, connections).await;
            turn.map_err(|fault| format!("{}/{connections}: {fault}", variant.name()))?;
        }
    }
    if arguments.wants("sales") {
        bench.sell(sheet, 256).await?;
    }
    if arguments.wants("starts") {
        starts(bench, sheet, stores).await?;
    }
    if arguments.wants("download") {
        extras::download(bench, sheet).await?;
    }
    Ok(())
}

/// Starts on every store; and what does not change while the program runs.
async fn starts(bench: &Bench, sheet: &mut Sheet, stores: &[(&str, PathBuf, u64)]) -> Outcome<()> {
    let fresh = bench.folder.join("store");
    remove(&fresh)?;
    extras::start(bench, sheet, "empty", &fresh).await?;
    // The smallest comes last: what an order takes of the disk is told of that one.
    for (name, store, orders) in stores.iter().rev() {
        extras::start(bench, sheet, name, store).await?;
        extras::disk(sheet, store, *orders)?;
    }
    extras::binary(bench, sheet)
}
