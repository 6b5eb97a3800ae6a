//! More than the daemon has room for: ten thousand connections, requests that dribble in, more addresses than
//! fit the table.
//! Its memory stays bounded and honest users are served meanwhile.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process_support::World;

/// Connections of the flood, unless `AUDITSHIELD_CONNECTIONS` says otherwise: tests/protocol/run opens ten thousand.
const CONNECTIONS: usize = 3_000;
/// More than the limiter remembers, unless `AUDITSHIELD_ADDRESSES` says otherwise.
const ADDRESSES: u32 = 60_000;
/// Addresses the daemon may remember, the buckets that newcomers share and a few for honest users included.
const REMEMBERED_MAX: f64 = 51_100.0;
/// Set: the test also waits until the crowd is forgotten, which takes minutes.
const PATIENT: &str = "AUDITSHIELD_PATIENT";
/// How long a crowd may be remembered whose buckets fill in a minute, looked at once a minute.
const FORGOTTEN_WAIT: Duration = Duration::from_secs(150);
/// Descriptors the test needs besides one for each connection.
const SPARE: usize = 1_000;
/// How long an honest request may take beside a flood on a busy machine. Without help it would be minutes.
const HONEST_WAIT: Duration = Duration::from_secs(5);
/// What a flood of connections may cost, in KiB: about 64 for each of the 1024 that are open at once.
const CONNECTIONS_KIB_MAX: u64 = 64 * 1024;
/// What a flood of addresses may cost, in KiB.
const ADDRESSES_KIB_MAX: u64 = 32 * 1024;

/// Room for this many open files in this process and its children; less is a machine that cannot run the test.
fn open_files(wanted: usize) {
    let id = std::process::id().to_string();
    let limit = format!("--nofile={wanted}:");
    let raised = std::process::Command::new("prlimit").args(["--pid", &id, &limit]).status();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: usize = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX);
    assert!(soft >= wanted, "{wanted} open files are needed, {soft} are allowed (prlimit: {raised:?})");
}

/// A daemon whose honest users come on a new connection each time: a kept one would be served whatever happens.
async fn world(settings: &[(&str, &str)]) -> World {
    let mut world = World::new(settings).await;
    world.client = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy().build().unwrap();
    world.start().await;
    world
}

/// One of each kind of honest request, each within its time.
async fn honest(world: &World) -> Duration {
    let begun = Instant::now();
    let order = tokio::time::timeout(HONEST_WAIT, world.buy()).await.expect("a purchase in time");
    world.cinetpay.approve(&order).unwrap();
    let heard =
        tokio::time::timeout(HONEST_WAIT, world.notify(&order)).await.expect("a webhook's answer in time");
    assert_eq!(heard, StatusCode::OK);
    let url = format!("{}/payment/callback/", world.shop);
    let ping = world.get(&url);
    assert_eq!(
        tokio::time::timeout(HONEST_WAIT, ping).await.expect("a ping's answer in time").0,
        StatusCode::OK
    );
    let took = begun.elapsed();
    world.until(&order, "DELIVERED").await;
    took
}

/// A metric's value, over all its labels.
fn sum(metrics: &str, name: &str) -> f64 {
    let of = |line: &&str| line.split([' ', '{']).next() == Some(name);
    metrics.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Says so much and then nothing. It may have been cut already: that is the point.
async fn connect(address: &str, head: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(head).await;
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_keep_no_honest_user_out() {
    let wanted: usize = std::env::var("AUDITSHIELD_CONNECTIONS").map_or(CONNECTIONS, |n| n.parse().unwrap());
    open_files(wanted + SPARE);
    let world = world(&[]).await;
    honest(&world).await;
    let before = world.memory();
    let address = world.shop.trim_start_matches("http://").to_owned();
    let begun: [&[u8]; 4] = [
        b"",
        b"GET /payment/callback/ HTTP/1.1\r\nhost: x\r\nx-slow: ",
        b"POST /payment/callback/ HTTP/1.1\r\nhost: x\r\nx-token: 00\r\ncontent-length: 1000\r\n\r\ncpm_",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
    ];
    let flooded = tokio_util::sync::CancellationToken::new();
    let flood = async {
        let mut open = Vec::with_capacity(wanted);
        while open.len() < wanted {
            let some = (0..100).map(|n| connect(&address, begun[n % begun.len()]));
            open.extend(join_all(some).await);
        }
        flooded.cancel();
        open
    };
    let others = async {
        let (mut rounds, mut slowest, mut peak) = (0, Duration::ZERO, 0);
        while !flooded.is_cancelled() || rounds < 10 {
            slowest = slowest.max(honest(&world).await);
            peak = peak.max(world.memory());
            rounds += 1;
        }
        (rounds, slowest, peak)
    };
    let (open, (rounds, slowest, peak)) = tokio::join!(flood, others);
    let metrics = world.metrics().await;
    let connections = sum(&metrics, "auditshield_http_connections");
    let cut = sum(&metrics, "auditshield_http_connections_cut_total");
    println!(
        "{wanted} connections: {connections} open, {cut} cut, memory {before} → at most {peak} KiB, \
         slowest of {rounds} honest purchases with webhook and ping {slowest:?}"
    );
    assert!(connections <= 1_100.0, "{connections} connections are open");
    assert!(cut >= (wanted - 1_100) as f64 / 2.0, "{cut} were cut");
    assert!(peak < before + CONNECTIONS_KIB_MAX, "{before} → {peak} KiB");
    drop(open);
    honest(&world).await;
}

/// One byte every half second until the other end has had enough: how long that took.
async fn dribble(address: &str, head: &str, more: &str) -> Duration {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let begun = Instant::now();
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    let dribbling = async {
        for byte in more.bytes().cycle() {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if write.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        _ = read.read_to_end(&mut answer) => {}
        () = dribbling => {}
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn dribbled_heads_and_bodies_are_cut_by_their_deadlines() {
    let world = world(&[]).await;
    let address = world.shop.trim_start_matches("http://").to_owned();
    let body = "POST /payment/callback/ HTTP/1.1\r\nhost: x\r\nx-token: 00\r\ncontent-length: 1000\r\n\r\n";
    let chunks = "POST /buy/audit-kit/standard/ HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let kinds = [
        ("GET / HTTP/1.1\r\nhost: x\r\nx: ", "a"),
        (body, "a"),
        (chunks, "1\r\na\r\n"),
        ("", "GET / HTTP/1.1\r\n"),
    ];
    let slow = (0..400).map(|n| {
        let (head, more) = kinds[n % kinds.len()];
        dribble(&address, head, more)
    });
    let others = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..5 {
            slowest = slowest.max(honest(&world).await);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        slowest
    };
    let (times, slowest) = tokio::join!(join_all(slow), others);
    let longest = times.iter().max().unwrap();
    println!(
        "400 dribbling connections: the last was cut after {longest:?}; slowest honest round {slowest:?}"
    );
    assert!(*longest < Duration::from_secs(25), "{longest:?}");
}

/// Pipelined notifications without a signature, each from another address of the trusted proxy's.
async fn wave(address: &str, from: u32, count: u32) {
    const BATCH: u32 = 50;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for first in (from..from + count).step_by(usize::try_from(BATCH).unwrap()) {
        let asked: String = (first..first + BATCH)
            .map(|n| {
                let ip = std::net::Ipv4Addr::from(0x2000_0000 + n);
                format!("POST /payment/callback/ HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {ip}\r\ncontent-length: 0\r\n\r\n")
            })
            .collect();
        stream.write_all(asked.as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        let heads = |bytes: &[u8]| bytes.windows(9).filter(|nine| nine == b"HTTP/1.1 ").count();
        while heads(&answers) < usize::try_from(BATCH).unwrap() || !answers.ends_with(b"}") {
            assert!(stream.read_buf(&mut answers).await.unwrap() > 0, "the connection must last");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_addresses_is_bounded_and_forgotten() {
    let settings = [
        ("AUDITSHIELD_SERVER__TRUSTED_PROXIES", "127.0.0.0/8"),
        // A bucket that takes a minute to fill is remembered for a minute: the hardest case for the table.
        ("AUDITSHIELD_LIMITS__BAD_SIGNATURE_PER_MINUTE", "1"),
        ("AUDITSHIELD_LIMITS__BUY_PER_MINUTE", "60"),
        ("AUDITSHIELD_LOG", "error"),
    ];
    let world = world(&settings).await;
    let address = world.shop.trim_start_matches("http://").to_owned();
    honest(&world).await;
    let before = world.memory();
    const LINES: u32 = 8;
    let addresses = std::env::var("AUDITSHIELD_ADDRESSES").map_or(ADDRESSES, |n| n.parse().unwrap());
    let share = addresses / LINES;
    let flood = join_all((0..LINES).map(|n| wave(&address, n * share, share)));
    let others = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..3 {
            slowest = slowest.max(honest(&world).await);
        }
        slowest
    };
    let begun = Instant::now();
    let (_, slowest) = tokio::join!(flood, others);
    let after = world.memory();
    let remembered = sum(&world.metrics().await, "auditshield_clients_remembered");
    println!(
        "{addresses} addresses in {:?}: {remembered} remembered, memory {before} → {after} KiB, \
         slowest honest round {slowest:?}",
        begun.elapsed()
    );
    assert!(remembered <= REMEMBERED_MAX, "{remembered}");
    assert!(remembered > REMEMBERED_MAX / 2.0, "{remembered}: the flood must have counted");
    assert!(after < before + ADDRESSES_KIB_MAX, "{before} → {after} KiB");
    honest(&world).await;
    if std::env::var_os(PATIENT).is_some() {
        let begun = Instant::now();
        while sum(&world.metrics().await, "auditshield_clients_remembered") > 10.0 {
            assert!(begun.elapsed() < FORGOTTEN_WAIT, "the crowd is still remembered");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        println!("forgotten after {:?}", begun.elapsed());
    }
}
