//! The daemon's threads while it sells, hears notifications and serves files: never more than it was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use crate::process_support::{PATIENCE, World};

/// Sales of one storm, and how many go on at one time.
const SALES: usize = 120;
const AT_ONCE: usize = 40;
/// Files fetched at the same time.
const FILES: usize = 60;
/// Between two counts.
const COUNT_MILLIS: u64 = 2;

/// Threads of a process, as the kernel counts them.
fn threads(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:")).expect("Threads");
    line.trim().parse().unwrap()
}

/// Counts again and again until `over`; the most there were.
async fn most(pid: u32, over: Arc<AtomicBool>) -> usize {
    let mut most = threads(pid);
    let mut clock = tokio::time::interval(Duration::from_millis(COUNT_MILLIS));
    while !over.load(Ordering::Relaxed) {
        clock.tick().await;
        most = most.max(threads(pid));
    }
    most
}

/// Buys, pays, tells of it twice.
async fn sell(world: &World) -> String {
    let order = world.buy_and_pay().await;
    for _ in 0..2 {
        assert_eq!(world.notify(&order).await, 200);
    }
    order
}

async fn storm(world: &World) {
    let heard = AtomicUsize::new(0);
    let sales = stream::iter(0..SALES).for_each_concurrent(AT_ONCE, async |_| {
        sell(world).await;
        heard.fetch_add(1, Ordering::Relaxed);
    });
    sales.await;
    assert_eq!(heard.load(Ordering::Relaxed), SALES);
    let order = sell(world).await;
    world.until(&order, "DELIVERED").await;
    let mails = world.mailbox.wait_for(1, PATIENCE).await;
    let text = mails[0].read().text.unwrap();
    let link = text.split_whitespace().find(|word| word.contains("/download/")).expect("a link").to_owned();
    let pressed = world.client.post(&link).send().await.unwrap();
    let place = pressed.headers()["location"].to_str().unwrap().to_owned();
    let place = reqwest::Url::parse(&link).unwrap().join(&place).unwrap();
    // Each reads the disk in threads of its own, and the orders' list and the metrics do, too.
    stream::iter(0..FILES)
        .for_each_concurrent(FILES, async |_| {
            let file = world.client.get(place.clone()).send().await.unwrap();
            assert_eq!(file.bytes().await.unwrap().len(), FILE_BYTES);
            world.get(&format!("{}/api/orders", world.admin)).await;
            world.metrics().await;
        })
        .await;
}

/// Large enough that many are on their way at one time.
const FILE_BYTES: usize = 2 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_takes_no_more_threads_than_allowed() {
    for threads_max in [14, 16] {
        let text = threads_max.to_string();
        let mut world = World::new(&[
            ("AUDITSHIELD_SERVER__THREADS_MAX", text.as_str()),
            ("AUDITSHIELD_LIMITS__DOWNLOAD_PER_MINUTE", "0"),
        ])
        .await;
        std::fs::write(world.path("kit.bin"), vec![7; FILE_BYTES]).unwrap();
        world.start().await;
        let over = Arc::new(AtomicBool::new(false));
        let counting = tokio::spawn(most(world.pid(), Arc::clone(&over)));
        storm(&world).await;
        over.store(true, Ordering::Relaxed);
        let most = counting.await.unwrap();
        println!("at most {most} threads of {threads_max}\n{}", world.threads());
        // The fixed ten and some that work: or the count would show nothing.
        assert!((12..=threads_max).contains(&most), "{most} threads\n{}", world.threads());
    }
}
