//! A daemon's sign of life in the database, and what it tells back: that it can write, and what time it is.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::pool::Values;
use super::row::get;
use super::trouble::Trouble;
use super::{Inner, migrate};

const BEAT: &str = include_str!("sql/pulse.sql");
const FORGET: &str = include_str!("sql/forget_nodes.sql");

/// Between two beats, in seconds.
const BEAT_SECONDS: u64 = 1;
/// Without a beat for so long, in seconds, the ledger is taken to be unable to commit.
const SILENCE_SECONDS_MAX: u64 = 5;
/// A clock that is off by no more than this is left alone: the way to the database and back takes time too.
const SKEW_MILLIS_MIN: i64 = 50;
/// Beats between two rounds in which long silent nodes are forgotten.
const FORGET_BEATS: u64 = 3600;
/// Beats between two looks whether the database still holds what it said it held, where nothing gives cause for one.
const AUDIT_BEATS: u64 = 60;
/// Longest host name kept.
const HOST_CHARS_MAX: usize = 64;

/// What the beats said.
#[derive(Default)]
pub(super) struct Pulse {
    last: Mutex<Option<Instant>>,
    /// Why the last one failed, or a commit since.
    trouble: Mutex<Option<String>>,
    skew: AtomicI64,
    /// The skew as it was measured, however small, and what the last beat took.
    measured: Mutex<Option<(i64, Duration)>>,
    /// Where this node listens, once it does.
    address: OnceLock<String>,
}

impl Pulse {
    /// Why nothing can be committed now, as far as is known.
    pub(super) fn trouble(&self) -> Option<String> {
        let fresh = Duration::from_secs(SILENCE_SECONDS_MAX);
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match last {
            Some(last) if last.elapsed() < fresh => trouble,
            _ => Some(trouble.unwrap_or_else(|| "the database does not answer".to_owned())),
        }
    }

    /// From now on every beat says that this node listens there.
    pub(super) fn introduce(&self, address: String) {
        if self.address.set(address).is_err() {
            tracing::debug!("a node listens where it first said");
        }
    }

    /// How long ago the last beat was.
    pub(super) fn age(&self) -> Option<Duration> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).map(|last| last.elapsed())
    }

    pub(super) fn skew_millis(&self) -> i64 {
        self.skew.load(Ordering::Acquire)
    }

    /// A statement failed because the database is away: the next beat will tell when it is back.
    pub(super) fn note(&self, trouble: &Trouble) {
        if matches!(trouble, Trouble::Away(_) | Trouble::Unsure(_)) {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble.to_string());
        }
    }

    fn beaten(&self, skew: i64, trip: Duration) {
        metrics::gauge!("auditshield_clock_skew_seconds").set(skew as f64 / 1000.0);
        *self.measured.lock().unwrap_or_else(PoisonError::into_inner) = Some((skew, trip));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.skew.store(if skew.abs() < SKEW_MILLIS_MIN { 0 } else { skew }, Ordering::Release);
    }
}

impl Inner {
    /// One beat: this node's row is written.
    pub(super) async fn beat(&self) -> Result<(), Trouble> {
        let sent = machine_millis();
        let begun = Instant::now();
        let program = env!("CARGO_PKG_VERSION");
        let measured = *self.pulse.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let skew = measured.map(|(skew, _)| skew);
        let trip = measured.and_then(|(_, trip)| i64::try_from(trip.as_micros()).ok());
        let address = self.pulse.address.get();
        let values: Values<'_> = &[&self.node, &program, &migrate::newest(), &address, &skew, &trip];
        let rows = self.pool.rows(BEAT, values).await;
        match rows.and_then(|rows| rows.first().map(|row| get::<i64>(row, 0)).transpose()) {
            Ok(Some(theirs)) => {
                let trip = begun.elapsed();
                let half = i64::try_from(trip.as_millis() / 2).unwrap_or(0);
                self.pulse.beaten(theirs - sent - half, trip);
                Ok(())
            }
            Ok(None) => Err(Trouble::Damaged("no row came back".to_owned())),
            Err(trouble) => {
                *self.pulse.trouble.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(trouble.to_string());
                Err(trouble)
            }
        }
    }
}

fn machine_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Beats until the store is gone.
pub(super) async fn beats(inner: Weak<Inner>) {
    for count in 1_u64.. {
        tokio::time::sleep(Duration::from_secs(BEAT_SECONDS)).await;
        let Some(inner) = inner.upgrade() else { return };
        let was_well = inner.pulse.trouble().is_none();
        match inner.beat().await {
            Err(trouble) if was_well => tracing::error!(%trouble, "the database cannot be written to"),
            Ok(()) if !was_well => tracing::info!("the database can be written to again"),
            Ok(()) | Err(_) => {}
        }
        if inner.pulse.trouble().is_none() {
            inner.keep_faith(count.is_multiple_of(AUDIT_BEATS)).await;
        }
        if count.is_multiple_of(FORGET_BEATS) {
            // The next round forgets what this one could not.
            let _ = inner.pool.count(FORGET, &[]).await;
        }
    }
}

/// A name that no other process has, or had.
pub(super) fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().take(HOST_CHARS_MAX).collect();
    format!("{host}-{}-{:016x}", std::process::id(), rand::random::<u64>())
}
