//! One, two and three daemons on one PostgreSQL, beside the embedded ledger and beside what the database itself commits,
//! in one interleaved run: a table for docs/scaling.md.
//!
//! `tests/postgres/measure` runs it; `cargo bench --features postgres --bench cluster -- --smoke` shows that it works.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark tells what it measured")]

#[path = "../daemon/child.rs"]
#[allow(dead_code, reason = "shared with the benchmark of one daemon")]
mod child;
#[path = "../daemon/cinetpay.rs"]
mod cinetpay;
#[path = "../daemon/machine.rs"]
#[allow(dead_code, reason = "shared with the benchmark of one daemon")]
mod machine;
#[path = "../daemon/notices.rs"]
mod notices;
mod pgbench;
#[path = "../daemon/stock.rs"]
#[allow(dead_code, reason = "shared with the benchmark of one daemon")]
mod stock;
mod table;
mod turn;
#[path = "../daemon/wire.rs"]
#[allow(dead_code, reason = "shared with the benchmark of one daemon")]
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use table::Table;
use turn::{Bench, Ground};

type Fault = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T> = Result<T, Fault>;

/// Compares several daemons on one database with one that has its ledger to itself.
#[derive(Parser)]
struct Arguments {
    /// A few requests of everything: whether the benchmark works. Its figures mean nothing.
    #[arg(long)]
    smoke: bool,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Orders notified in one turn.
    #[arg(long, default_value_t = 10_000)]
    orders: usize,
    /// Whole sales in one turn.
    #[arg(long, default_value_t = 1_500)]
    sales: usize,
    /// The daemon's program, if not the one built with this.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// One process of the benchmark.
#[derive(Subcommand)]
enum Part {
    /// The simulated CinetPay and a mailbox.
    #[command(hide = true)]
    Cinetpay { listen: SocketAddr, smtp: SocketAddr, born: i64, orders: usize },
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    // Without cargo's own flag this is `cargo test`: only whether it works.
    if arguments.smoke || !(arguments.bench || arguments.part.is_some()) {
        (arguments.smoke, arguments.rounds, arguments.orders, arguments.sales) = (true, 1, 300, 40);
    }
    let runtime = match &arguments.part {
        // The load comes from one thread; servers have as many as the daemon would.
        None => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        Some(_) => tokio::runtime::Builder::new_multi_thread().enable_all().build(),
    };
    let done = runtime.map_err(Fault::from).and_then(|runtime| {
        runtime.block_on(async {
            match arguments.part {
                None => Box::pin(run(&arguments)).await,
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

async fn run(arguments: &Arguments) -> Outcome<()> {
    let form = if arguments.smoke { "smoke test, its figures mean nothing: " } else { "" };
    let described = machine::described();
    let how = format!(
        "{form}{} rounds of {} notifications and {} sales; {described}",
        arguments.rounds, arguments.orders, arguments.sales
    );
    println!("bench: {how}");
    let bench = Bench::prepare(arguments).await?;
    let mut table = Table::default();
    for round in 0..arguments.rounds {
        println!("round {} of {}", round + 1, arguments.rounds);
        let mut grounds = vec![Ground::Embedded, Ground::Nodes(1), Ground::Nodes(2), Ground::Nodes(3)];
        let first = round % grounds.len();
        grounds.rotate_left(first);
        for ground in grounds {
            bench.notify(&mut table, ground).await?;
            bench.sell(&mut table, ground).await?;
        }
        bench.database(&mut table)?;
    }
    println!("\n{}", table.markdown(&how));
    table.check()
}
