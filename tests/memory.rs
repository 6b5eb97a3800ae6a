//! What the ledger keeps in memory. Alone in its process, so that nobody else's memory counts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../benches/daemon/stock.rs"]
#[allow(dead_code, reason = "the benchmark makes open orders too")]
mod stock;

/// Two thousand orders fill every bounded queue and cache; what comes after them must leave nothing behind.
const FIRST: u64 = 2000;
const MORE: u64 = 8000;
/// Per order of six commits: it is 7. With sled's garbage left to itself it was 29.
const KIB_PER_ORDER_MAX: u64 = 14;

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_writes_much_does_not_grow() {
    let folder = tempfile::tempdir().unwrap();
    stock::add(&folder.path().join("first"), stock::Kind::Complete, FIRST).await.unwrap();
    let before = peak_kib();
    stock::add(&folder.path().join("second"), stock::Kind::Complete, FIRST + MORE).await.unwrap();
    let grown = peak_kib().saturating_sub(before);
    assert!(grown < MORE * KIB_PER_ORDER_MAX, "{grown} KiB more for {MORE} orders more, after {before}");
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
