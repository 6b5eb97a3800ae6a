//! The daemon below a service manager: sockets that outlive it, what it says of itself, restarts that nobody notices.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Client;

use crate::process_support::{PATIENCE, World, times};

/// Restarts under load.
const RESTARTS: usize = 10;
/// Buyers who come one after the other.
const BUYERS: usize = 4;
/// Sales between two restarts, at least.
const SALES_BETWEEN: usize = 4;

/// A world whose daemon gets its sockets from a holder. `more` stands between the holder and the program.
async fn held(overrides: &[(&str, &str)], more: &[&str]) -> World {
    let mut world = World::new(overrides).await;
    let holder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/hold_sockets.py");
    let address = |url: &str| url.trim_start_matches("http://").to_owned();
    let mut wrapper = vec!["python3".to_owned(), holder.display().to_string()];
    wrapper.extend([address(&world.shop), address(&world.admin)]);
    wrapper.extend([world.path("notified").display().to_string(), "--".to_owned()]);
    wrapper.extend(more.iter().map(|&word| word.to_owned()));
    world.wrapper = wrapper;
    // One request on each connection: a kept one that the daemon closes is the client's to try again.
    let client = Client::builder().pool_max_idle_per_host(0).timeout(PATIENCE).no_proxy();
    world.client = client.redirect(reqwest::redirect::Policy::none()).build().unwrap();
    world
}

/// How often the daemon told its service manager this.
fn told(world: &World, word: &str) -> usize {
    let all = std::fs::read_to_string(world.path("notified")).unwrap_or_default();
    all.lines().filter(|line| *line == word).count()
}

/// Waits until the daemon has told its service manager this so often.
async fn until_told(world: &mut World, word: &str, count: usize) {
    let begun = Instant::now();
    while told(world, word) < count {
        assert!(begun.elapsed() < PATIENCE && world.is_up(), "no {word} × {count}: {}", world.said());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn says_when_it_stands_lives_and_stops() {
    let mut world = held(&[("WATCHDOG_USEC", "300000")], &[]).await;
    world.spawn();
    until_told(&mut world, "READY=1", 1).await;
    // At that word, not some time after it.
    assert!(world.is_ready().await, "{}", world.said());
    until_told(&mut world, "WATCHDOG=1", 3).await;
    assert_eq!(told(&world, "STOPPING=1"), 0);
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());
    assert_eq!((told(&world, "READY=1"), told(&world, "STOPPING=1")), (1, 1));
}

#[tokio::test]
async fn a_writer_that_hangs_gives_no_sign_of_life() {
    // Every sync takes two seconds: ten pulses of the watchdog. -D: the daemon keeps the number it was promised.
    let slow = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fdatasync:delay_enter=2000000"];
    let mut world = held(&[("WATCHDOG_USEC", "600000")], &slow).await;
    world.spawn();
    until_told(&mut world, "WATCHDOG=1", 2).await;
    let missed = "no sign of life is given";
    assert!(!world.said().contains(missed), "{}", world.said());
    world.buy().await;
    assert!(world.said().contains(missed), "a stuck writer went unnoticed: {}", world.said());
    let before = told(&world, "WATCHDOG=1");
    until_told(&mut world, "WATCHDOG=1", before + 1).await;
}

#[tokio::test]
async fn a_socket_that_is_neither_listener_is_a_wrong_setting() {
    let mut world = held(&[], &["env", "LISTEN_FDNAMES=public:public"]).await;
    world.settings.insert("AUDITSHIELD_ADMIN__LISTEN".to_owned(), "127.0.0.1:1".to_owned());
    let (code, said) = world.run(&["serve"]).await;
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("FileDescriptorName="), "{said}");
    // Without names they are told apart by their addresses.
    let mut world = held(&[], &["env", "-u", "LISTEN_FDNAMES"]).await;
    world.start().await;
    world.buy().await;
}

/// What the buyers of a load have seen.
#[derive(Default)]
struct Seen {
    over: AtomicBool,
    sales: AtomicUsize,
}

/// Buys and notifies until the load is over: every request must be answered, and well.
async fn buyer(world: &World, seen: &Seen) -> Vec<String> {
    let mut orders = Vec::new();
    while !seen.over.load(Ordering::Acquire) {
        let order = world.try_buy("awa@example.ci").await;
        let order = order.unwrap_or_else(|why| panic!("a purchase got {why:?}: {}", world.said()));
        world.cinetpay.approve(&order).unwrap();
        let heard = world.try_notify(&order).await;
        assert!(heard.is_some_and(|status| status == 200), "a notification got {heard:?}: {}", world.said());
        orders.push(order);
        seen.sales.fetch_add(1, Ordering::AcqRel);
    }
    orders
}

/// Restarts the daemon again and again; each time there is something under way.
async fn restarts(world: &World, seen: &Seen) {
    for number in 1..=RESTARTS {
        let enough = seen.sales.load(Ordering::Acquire) + SALES_BETWEEN;
        let begun = Instant::now();
        while seen.sales.load(Ordering::Acquire) < enough || told(world, "READY=1") < number {
            assert!(begun.elapsed() < PATIENCE, "restart {number}: {}", world.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.signal("-USR1");
    }
    let begun = Instant::now();
    while told(world, "READY=1") <= RESTARTS {
        assert!(begun.elapsed() < PATIENCE, "{}", world.said());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    seen.over.store(true, Ordering::Release);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_restarts_under_load_lose_nothing_and_refuse_nobody() {
    let mut world = held(&[], &[]).await;
    world.start().await;
    let seen = Seen::default();
    let buyers = (0..BUYERS).map(|_| buyer(&world, &seen));
    let ((), orders) = tokio::join!(restarts(&world, &seen), futures_util::future::join_all(buyers));
    let orders: BTreeSet<String> = orders.into_iter().flatten().collect();
    println!("{RESTARTS} restarts, {} sales", orders.len());
    assert_eq!(orders.len(), seen.sales.load(Ordering::Acquire), "two purchases were one order");
    assert_eq!(told(&world, "READY=1"), RESTARTS + 1);
    for order in &orders {
        let now = world.until(order, "DELIVERED").await;
        let counts = ["CREATED", "PAID", "DELIVERED"].map(|kind| times(&now, kind));
        assert_eq!(counts, [1, 1, 1], "{now:#}");
    }
    let metrics = world.metrics().await;
    let counts =
        metrics.lines().filter_map(|line| line.strip_prefix("auditshield_orders{")?.split(' ').nth(1));
    let all: usize = counts.map(|count| count.parse::<usize>().unwrap()).sum();
    assert_eq!(all, orders.len(), "an order that nobody was told of: {metrics}");
    // Each mail once, too: a drain waits for the mail server's word, so no restart may repeat one.
    assert_eq!(world.mailbox.messages().len(), orders.len());
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());
    world.wrapper.clear();
    world.verify_journal(&world.path("store")).await;
}

#[tokio::test]
async fn a_request_that_comes_after_the_signal_on_an_open_connection_is_answered() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut world = held(&[], &[]).await;
    world.start().await;
    let address = world.shop.trim_start_matches("http://").to_owned();
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    // All of them accepted: this later one was answered.
    assert!(world.is_ready().await);
    world.signal("-USR1");
    until_told(&mut world, "STOPPING=1", 1).await;
    for mut connection in open {
        let head = "GET /healthz HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n";
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = connection.read_to_string(&mut answer).await;
        assert!(read.is_ok() && answer.starts_with("HTTP/1.1 200"), "{read:?} {answer}");
    }
}
