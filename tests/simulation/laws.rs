//! The actors' laws under stress: one owner per order, no message lost when seats change hands, and poison that harms
//! nobody else.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use auditshield::actors::Settings;
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::knobs::Knobs;
use crate::story::Story;

/// A world where nothing goes wrong by itself.
fn calm(seed: u64, seats: usize, buyers: u64, sync_ms: u64) -> Knobs {
    let usual = Knobs::of(seed);
    Knobs {
        settings: Settings {
            seats,
            asks_max: 4096,
            verify_max: (seats / 4).max(1),
            open_max: (seats / 4).max(1),
            deliver_max: (seats / 4).max(1),
            patience: Duration::from_secs(120),
            errand_time: Duration::from_secs(20),
            tick: Duration::from_millis(500),
            ..Settings::default()
        },
        sync_ms,
        buyers,
        network_ms: 50,
        segment_bytes: 20_000,
        batch_bytes: 1 << 20,
        chaos_ms: 60_000,
        crashes: false,
        disk: false,
        network: false,
        panics: false,
        clock: false,
        ..usual
    }
}

fn times(story: &Story, kind: &str) -> u64 {
    story.counts.get(kind).copied().unwrap_or(0)
}

fn sound(story: &Story) {
    if !story.violations.is_empty() {
        story.tell();
        panic!("a law of the actors is broken");
    }
}

/// Orders change seats while messages for them arrive and commits are slow: the widest window for a word that is
/// believed too early.
#[test]
fn no_order_has_two_owners_and_no_message_is_lost_when_seats_change_hands() {
    for (seats, buyers, sync_ms) in [(2, 40, 400), (3, 60, 150), (4, 80, 40), (8, 120, 400)] {
        let story = Story::with(u64::try_from(seats).unwrap(), calm(7, seats, buyers, sync_ms), false);
        sound(&story);
        assert!(times(&story, "order moved to another seat") > buyers, "{seats} seats were never short");
        assert_eq!(times(&story, "refused: the actor died"), 0, "{seats} seats: a message was lost");
        assert!(times(&story, "webhook 200") > buyers / 2, "{seats} seats");
    }
}

/// What the daemon logs, for a test to read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_poisonous_order_is_benched_and_reported_while_a_thousand_others_proceed() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::ERROR)
        .with_writer(move || writer.clone())
        .finish();
    let recorder = PrometheusBuilder::new().build_recorder();
    let buyers = 1_001;
    let story = metrics::with_local_recorder(&recorder, || {
        tracing::subscriber::with_default(subscriber, || Story::with(3, calm(7, 64, buyers, 3), true))
    });
    sound(&story);
    assert!(times(&story, "panic in an order's actor") >= 3, "it was never poisonous");
    assert!(times(&story, "order benched") >= 1, "it was never benched");
    assert!(times(&story, "INITIATED") >= 1_000, "others did not get their pages");
    let (paid, delivered) = (times(&story, "PAID"), times(&story, "DELIVERED"));
    assert!(paid > 500 && paid == delivered, "{paid} paid, {delivered} delivered");
    let text = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(text.contains("this order keeps failing: it is left alone for a while"), "{text}");
    let scraped = recorder.handle().render();
    assert!(scraped.contains("auditshield_orders_benched"), "{scraped}");
    let restarts = scraped.lines().find_map(|line| line.strip_prefix("auditshield_actor_restarts_total "));
    let restarts: u64 = restarts.expect("restarts are counted").parse().unwrap();
    assert_eq!(restarts, times(&story, "panic in an order's actor"), "every death is counted, and no other");
}
