//! When the next call to CinetPay may begin: at this daemon's own pace, or with a permit of those that all nodes share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota as Pace, RateLimiter};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::domain::quota::{Purpose, Quota};
use crate::ports::Permits;

/// Permits of this part of a second may be drawn at once, and kept for as long.
const KEPT_MILLIS: u64 = 500;
/// Of a second's permits one node draws one in so many at once, at the most: the others want some too.
const BATCH_PART: u32 = 4;
/// Shortest sleep after a drawing that brought nothing: where all is drawn anyway, what comes back gathers meanwhile.
const LOOK_MILLIS_MIN: u64 = 100;
/// Longest sleep after one, in seconds.
const LOOK_SECONDS_MAX: u64 = 1;

/// The turns.
pub(super) enum Turns {
    /// This daemon has CinetPay alone.
    Own(DefaultDirectRateLimiter),
    /// Other nodes call too.
    Shared(Purse),
}

/// Permits that were drawn and not used yet.
pub(super) struct Purse {
    permits: Arc<dyn Permits>,
    quota: Quota,
    batch_max: u32,
    /// Calls that wait for a permit, those that draw some included.
    waiting: AtomicU32,
    /// Locked while some are drawn: one drawing at a time, and whoever came first has the first permit.
    batch: Mutex<Batch>,
}

/// What is left of a drawing.
struct Batch {
    left: u32,
    /// From then on they are worth nothing: counted from before they were asked for.
    until: Instant,
    /// How many to ask for next, by how the last ones went.
    next: u32,
}

// === impl Turns ===

impl Turns {
    pub(super) fn own(per_second: u32) -> Self {
        Self::Own(RateLimiter::direct(Pace::per_second(at_least_one(per_second))))
    }

    /// Over any time, all nodes together begin no more calls than one daemon alone would: `per_second` for each second, and
    /// once as many beside. Half of those may be drawn at once; the others are what was drawn before and is still good.
    /// Where the database takes longer than that to answer, a node may begin one call beyond it.
    pub(super) fn shared(per_second: u32, permits: Arc<dyn Permits>) -> Self {
        let per_second = per_second.max(1);
        let burst = per_second / u32::try_from(1000 / KEPT_MILLIS).unwrap_or(1);
        let quota = Quota::new(Purpose::Call, (per_second, Duration::from_secs(1)), burst);
        let batch_max = (per_second / BATCH_PART).max(1);
        let batch = Mutex::new(Batch { left: 0, until: Instant::now(), next: 1 });
        Self::Shared(Purse { permits, quota, batch_max, waiting: AtomicU32::new(0), batch })
    }

    /// Waits for a turn. Whoever gives up waiting takes none.
    pub(super) async fn next(&self) {
        match self {
            Self::Own(rate) => {
                while let Err(early) = rate.check() {
                    tokio::time::sleep(early.wait_time_from(DefaultClock::default().now())).await;
                }
            }
            Self::Shared(purse) => purse.next().await,
        }
    }
}

fn at_least_one(number: u32) -> std::num::NonZeroU32 {
    std::num::NonZeroU32::new(number).unwrap_or(std::num::NonZeroU32::MIN)
}

// === impl Purse ===

impl Purse {
    async fn next(&self) {
        let _waiting = Waiting::one(&self.waiting);
        let mut batch = self.batch.lock().await;
        if batch.take() {
            return;
        }
        batch.learn();
        let (shortest, longest) =
            (Duration::from_millis(LOOK_MILLIS_MIN), Duration::from_secs(LOOK_SECONDS_MAX));
        loop {
            let wanted = batch.next.max(self.waiting.load(Ordering::Relaxed)).clamp(1, self.batch_max);
            let until = Instant::now() + Duration::from_millis(KEPT_MILLIS);
            match self.permits.draw(self.quota, wanted).await {
                // The first one is this call's, however long the answer took: or a slow database would be a silent one.
                Some(drawn) if drawn.granted > 0 => {
                    *batch = Batch { left: drawn.granted - 1, until, next: drawn.granted };
                    return;
                }
                Some(drawn) => tokio::time::sleep(drawn.wait.clamp(shortest, longest)).await,
                None => tokio::time::sleep(shortest).await,
            }
        }
    }
}

impl Batch {
    fn is_good(&self) -> bool {
        Instant::now() < self.until
    }

    /// Takes one that is still good.
    fn take(&mut self) -> bool {
        let taken = self.left > 0 && self.is_good();
        self.left -= u32::from(taken);
        taken
    }

    /// The next drawing goes by what became of this one: twice as many if all were used in time, else as many as were.
    fn learn(&mut self) {
        let used = self.next.saturating_sub(self.left);
        self.next = if self.is_good() { used.saturating_mul(2) } else { used };
        self.left = 0;
    }
}

/// Counts as long as it is.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn one(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
