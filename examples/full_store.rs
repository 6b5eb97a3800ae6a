//! Makes a store with many complete orders, through the ledger itself: for `tests/disk/measure`.
//!
//! `cargo run --release --example full_store -- <folder> <orders>`
#![allow(clippy::print_stdout, reason = "an example tells what it did")]

use std::path::Path;
use std::time::Instant;

#[path = "../benches/daemon/stock.rs"]
#[allow(dead_code, reason = "the benchmark makes open orders too")]
mod stock;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(orders)) = (arguments.next(), arguments.next()) else {
        return Err("full_store <folder> <orders>".into());
    };
    let orders: u64 = orders.parse()?;
    let begun = Instant::now();
    let lines = stock::add(Path::new(&folder), stock::Kind::Complete, orders).await?;
    println!("{orders} orders, {lines} lines in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}
