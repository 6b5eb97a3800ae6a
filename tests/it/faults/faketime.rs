//! The program itself under a clock that jumps: libfaketime between it and the system's time of day.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use serde_json::json;

use crate::process_support::{World, times};

/// The library. `tests/protocol/run` installs it and names it here.
const LIBRARY: &str = "AUDITSHIELD_FAKETIME";

/// The daemon's clock is off by this from now on.
fn shift(world: &World, text: &str) {
    // Written aside and moved: the daemon never reads half of it.
    let (path, aside) = (world.path("shift"), world.path("shift.new"));
    std::fs::write(&aside, format!("{text}\n")).unwrap();
    std::fs::rename(aside, path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_under_a_jumping_clock_loses_and_repeats_nothing() {
    let Ok(library) = std::env::var(LIBRARY) else {
        println!("nothing shifted: {LIBRARY} names no libfaketime; tests/protocol/run does");
        return;
    };
    let mut world = World::new(&[("LD_PRELOAD", &library), ("FAKETIME_NO_CACHE", "1")]).await;
    let file = world.path("shift").display().to_string();
    // The time of day only: time-outs go on by the monotonic clock, as on a machine whose clock is set.
    for (name, value) in [
        ("FAKETIME_TIMESTAMP_FILE", file.as_str()),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ] {
        world.settings.insert(name.to_owned(), value.to_owned());
    }
    shift(&world, "+0");
    world.start().await;
    world.cinetpay.patch(&json!({"check_latency_ms": 300, "notify": {"enabled": false}})).unwrap();
    let mut sold = 0;
    let hours = SignedDuration::from_hours;
    for (text, by) in [
        ("+1d", hours(24)),
        ("-1d", hours(-24)),
        ("+0", hours(0)),
        ("-10m", SignedDuration::from_mins(-10)),
        ("+0", hours(0)),
    ] {
        // The jump falls between the webhook's 200 and the verdict.
        let order = world.buy().await;
        world.cinetpay.approve(&order).unwrap();
        assert_eq!(world.notify(&order).await, StatusCode::OK, "{text}");
        shift(&world, text);
        delivered_once(&world, &order, text).await;
        let order = world.buy().await;
        let created: Timestamp = world.order(&order).await["created_at"].as_str().unwrap().parse().unwrap();
        let off = created.duration_since(Timestamp::now()) - by;
        assert!(
            off.abs() < SignedDuration::from_secs(60),
            "{text}: the daemon's clock is off by {off:?} more"
        );
        world.cinetpay.approve(&order).unwrap();
        assert_eq!(world.notify(&order).await, StatusCode::OK, "{text}");
        delivered_once(&world, &order, text).await;
        sold += 2;
        let mails = world.mailbox.wait_for(sold, Duration::from_secs(5)).await;
        assert_eq!(mails.len(), sold, "{text}: one mail each");
    }
    shift(&world, "-1d");
    world.term();
    assert!(world.end().await.success());
    world.start().await;
    assert_eq!(world.mailbox.messages().len(), sold, "a restart in the past repeats nothing");
    let store = world.path("store");
    world.term();
    assert!(world.end().await.success());
    world.verify_journal(&store).await;
}

async fn delivered_once(world: &World, order: &str, what: &str) {
    let now = world.until(order, "DELIVERED").await;
    assert_eq!(
        (&now["status"], times(&now, "PAID"), times(&now, "DELIVERED")),
        (&json!("PAID"), 1, 1),
        "{what}"
    );
}
