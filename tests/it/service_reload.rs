//! SIGHUP: what is taken over, what waits for a restart, and a bad file that changes nothing.

use std::time::{Duration, Instant};

use auditshield::simulator::mailbox::{self, Mailbox};
use reqwest::StatusCode;
use tokio::net::TcpListener;

use crate::process_support::{EMAIL, PATIENCE, World};

/// A world that takes what can be reloaded from a file, not from the environment.
async fn filed(file: &str) -> World {
    let mut world = World::new(&[]).await;
    for name in ["AUDITSHIELD_LIMITS__BUY_PER_MINUTE", "AUDITSHIELD_MAIL__URL"] {
        world.settings.remove(name);
    }
    std::fs::create_dir(world.path("config")).unwrap();
    write(&world, file);
    world.start().await;
    world
}

fn write(world: &World, file: &str) {
    std::fs::write(world.path("config/auditshield.toml"), file).unwrap();
}

fn write_catalog(world: &World, price: u32) {
    let catalog = std::fs::read_to_string(world.path("catalog.toml")).unwrap();
    let lines = catalog.lines().map(|line| match line.starts_with("price") {
        true => format!("price = {price}\n"),
        false => format!("{line}\n"),
    });
    std::fs::write(world.path("catalog.toml"), lines.collect::<String>()).unwrap();
}

fn mail(to: &Mailbox, rest: &str) -> String {
    format!("[mail]\nurl = \"smtp://{}?tls=none\"\n{rest}", to.addr())
}

/// SIGHUP, and the wait until the daemon has said how that ended.
async fn hang_up(world: &World, outcome: &str) {
    let count = |said: &str| said.matches(outcome).count();
    let before = count(&world.said());
    world.signal("-HUP");
    let begun = Instant::now();
    while count(&world.said()) == before {
        assert!(begun.elapsed() < PATIENCE, "no `{outcome}`: {}", world.said());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const APPLIED: &str = "settings reloaded";
const REFUSED: &str = "settings not reloaded";

async fn price(world: &World) -> i64 {
    let order = world.buy().await;
    world.order(&order).await["amount"].as_i64().unwrap()
}

/// Purchases until one is refused for coming too often; at most `most`.
async fn allowed(world: &World, most: usize) -> usize {
    for count in 0..most {
        match world.try_buy(EMAIL).await {
            Ok(_) => {}
            Err(why) => {
                assert_eq!(why, Some(StatusCode::TOO_MANY_REQUESTS));
                return count;
            }
        }
    }
    most
}

async fn sold_to(world: &World, order: &str, mailbox: &Mailbox) {
    let before = mailbox.messages().len();
    world.cinetpay.approve(order).unwrap();
    mailbox.wait_for(before + 1, PATIENCE).await;
    world.until(order, "DELIVERED").await;
}

#[tokio::test]
async fn catalogue_limits_log_level_and_mail_are_taken_over() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = Mailbox::start(other, mailbox::Settings::default()).unwrap();
    let mut world = filed("[limits]\nbuy_per_minute = 0\n").await;
    let open = world.buy().await;
    assert_eq!(price(&world).await, 15_000);
    assert!(!world.said().contains("\"level\":\"DEBUG\""));

    write_catalog(&world, 20_000);
    write(&world, &mail(&other, "[limits]\nbuy_per_minute = 3\n[log]\nlevel = \"debug\"\n"));
    hang_up(&world, APPLIED).await;

    assert_eq!(price(&world).await, 20_000);
    assert_eq!(allowed(&world, 9).await, 2, "three a minute, one of them spent");
    assert!(world.said().contains("\"level\":\"DEBUG\""), "{}", world.said());
    // The order of before keeps its price, and its mail goes the new way.
    sold_to(&world, &open, &other).await;
    assert_eq!(world.order(&open).await["amount"], 15_000);
    let metrics = world.metrics().await;
    assert!(metrics.contains("auditshield_reloads_total{outcome=\"applied\"} 1"), "{metrics}");
    world.term();
    assert_eq!(world.end().await.code(), Some(0));
}

#[tokio::test]
async fn one_modules_level_changes_while_the_daemon_runs() {
    let world = filed("[log]\nlevel = \"warn\"\n").await;
    let order = world.buy().await;
    assert_eq!(world.said(), "", "a sale is no warning");
    write(&world, "[log]\nlevel = \"warn,auditshield::actors=debug,auditshield::app=info\"\n");
    world.signal("-HUP");
    let begun = Instant::now();
    while !world.said().contains(APPLIED) {
        assert!(begun.elapsed() < PATIENCE, "{}", world.said());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.cinetpay.approve(&order).unwrap();
    world.notify(&order).await;
    world.until(&order, "DELIVERED").await;
    let said = world.said();
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |level: &str| lines.iter().filter(|line| line["level"] == level).collect::<Vec<_>>();
    assert!(of("DEBUG").iter().any(|line| line["kind"] == "NOTIFIED"), "{said}");
    for line in of("DEBUG") {
        assert!(line["target"].as_str().unwrap().starts_with("auditshield::actors"), "{line}");
    }
}

#[tokio::test]
async fn a_limit_that_did_not_change_forgets_nobody() {
    let world = filed("[limits]\nbuy_per_minute = 2\n").await;
    assert_eq!(allowed(&world, 9).await, 2);
    write_catalog(&world, 20_000);
    hang_up(&world, APPLIED).await;
    assert_eq!(allowed(&world, 9).await, 0, "a reload gave everybody a fresh start");
}

#[tokio::test]
async fn a_bad_file_is_refused_whole_and_the_old_settings_go_on() {
    let first = "[limits]\nbuy_per_minute = 0\n";
    let good = "[limits]\nbuy_per_minute = 1\n[log]\nlevel = \"trace\"\n";
    let mut world = filed(first).await;
    for (wrong, named) in [
        ("[limits\n", "--config"),
        ("[limits]\nbuy_per_minut = 1\n", "limits.buy_per_minut"),
        ("[limits]\nbuy_per_minute = -1\n", "AUDITSHIELD_LIMITS__BUY_PER_MINUTE"),
        ("[log]\nlevel = \"loud\"\n", "AUDITSHIELD_LOG"),
        ("[mail]\nurl = \"pigeon://\"\n", "AUDITSHIELD_MAIL__URL"),
        // Not one of the reloaded ones, and wrong all the same: the next start would fail on it.
        ("[verify]\nconcurrency = 0\n", "AUDITSHIELD_VERIFY__CONCURRENCY"),
    ] {
        let before = world.said().len();
        write_catalog(&world, 30_000);
        write(&world, wrong);
        hang_up(&world, REFUSED).await;
        assert!(world.said()[before..].contains(named), "{named}: {}", &world.said()[before..]);
        // The catalogue beside it was right, and is not taken over alone.
        assert_eq!(price(&world).await, 15_000, "{wrong}");
    }
    // A catalogue that is wrong holds everything else back, too.
    write(&world, good);
    std::fs::write(world.path("catalog.toml"), "[[product]]\nslug = \"x\"\n").unwrap();
    hang_up(&world, REFUSED).await;
    assert_eq!(allowed(&world, 3).await, 3);
    assert!(!world.said().contains("\"level\":\"TRACE\""));
    assert!(world.is_up());
}

#[tokio::test]
async fn what_waits_for_a_restart_is_named_and_goes_on_as_before() {
    let mut world = filed("[limits]\nbuy_per_minute = 0\n").await;
    write(&world, "[limits]\nbuy_per_minute = 0\n[verify]\nconcurrency = 3\n[download]\nttl = \"1h\"\n");
    for _ in 0..2 {
        let before = world.said().len();
        hang_up(&world, APPLIED).await;
        let said = world.said()[before..].to_owned();
        for name in ["AUDITSHIELD_VERIFY__CONCURRENCY", "AUDITSHIELD_DOWNLOAD__TTL"] {
            assert!(said.contains(name), "{name}: {said}");
        }
        assert!(!said.contains("AUDITSHIELD_LIMITS"), "{said}");
    }
    assert!(world.is_up());
}
