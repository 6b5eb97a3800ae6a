//! How many mails may leave in an hour.
//!
//! Why: shared hosts accept mails beyond their own hourly limit and throw them away, so that an order would be DELIVERED
//! without a mail. Below that limit nothing is thrown away: what waits here stays owed.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota as Pace, RateLimiter};
use tokio::time::Instant;

use crate::domain::quota::{Purpose, Quota};
use crate::ports::Permits;

/// A part of the hour's mails, one in so many, may leave at once; the others follow evenly.
const BURST_PART: u32 = 4;

/// Of the hour's mails one in so many may be one that is not urgent.
const REST_PART: u32 = 4;

/// The hour, in seconds.
const HOUR_SECONDS: u64 = 3600;

/// Longest time for which what the other nodes' database said is believed without asking again, in seconds.
const BELIEVED_SECONDS_MAX: u64 = 30;

/// The hour's mails.
#[derive(Debug)]
pub(super) enum Cap {
    /// This daemon's.
    Own(Own),
    /// Of all nodes together.
    Shared(Shared),
}

/// Counted here.
#[derive(Debug)]
pub(super) struct Own {
    all: DefaultDirectRateLimiter,
    /// Those that are not urgent.
    rest: DefaultDirectRateLimiter,
}

/// Drawn one by one from where the other nodes draw theirs.
pub(super) struct Shared {
    permits: Arc<dyn Permits>,
    all: Source,
    /// Those that are not urgent.
    rest: Source,
}

#[derive(Debug)]
struct Source {
    quota: Quota,
    /// There is none before.
    spent_until: Mutex<Option<Instant>>,
}

// === impl Cap ===

impl Cap {
    /// None where there is no limit.
    pub(super) fn per_hour(mails: u32) -> Option<Self> {
        let (mails, rest) = both(mails)?;
        Some(Self::Own(Own { all: RateLimiter::direct(pace(mails)), rest: RateLimiter::direct(pace(rest)) }))
    }

    /// The same for all nodes together: a mail leaves at most `reach` after it was taken.
    pub(super) fn shared(mails: u32, reach: Duration, permits: Arc<dyn Permits>) -> Option<Self> {
        let (mails, rest) = both(mails)?;
        let hour = Duration::from_secs(failpoint_bound!("MAIL_HOUR_SECONDS", HOUR_SECONDS));
        let source = |purpose, mails| {
            let (steady, burst) = shares(mails);
            let quota = Quota::new(purpose, (steady.get(), hour + reach), burst.get());
            Source { quota, spent_until: Mutex::default() }
        };
        let (all, rest) = (source(Purpose::Mail, mails), source(Purpose::Reminder, rest));
        Some(Self::Shared(Shared { permits, all, rest }))
    }

    /// Takes one mail of the hour's, if there is one left.
    pub(super) async fn take(&self, urgent: bool) -> bool {
        match self {
            Self::Own(own) => (urgent || own.rest.check().is_ok()) && own.all.check().is_ok(),
            Self::Shared(shared) => {
                !shared.is_spent(urgent)
                    && (urgent || shared.draw(&shared.rest).await)
                    && shared.draw(&shared.all).await
            }
        }
    }

    /// Whether it is known without asking that there is none left.
    pub(super) fn is_spent(&self, urgent: bool) -> bool {
        match self {
            Self::Own(_) => false,
            Self::Shared(shared) => shared.is_spent(urgent),
        }
    }
}

// === impl Shared ===

impl Shared {
    fn is_spent(&self, urgent: bool) -> bool {
        self.all.is_spent() || (!urgent && self.rest.is_spent())
    }

    async fn draw(&self, source: &Source) -> bool {
        match self.permits.draw(source.quota, 1).await {
            Some(drawn) if drawn.granted > 0 => true,
            Some(drawn) => {
                source.spent_for(drawn.wait);
                false
            }
            // What cannot be counted does not leave.
            None => false,
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("all", &self.all).field("rest", &self.rest).finish_non_exhaustive()
    }
}

// === impl Source ===

impl Source {
    fn is_spent(&self) -> bool {
        let until = *self.spent_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn spent_for(&self, wait: Duration) {
        let until = Instant::now() + wait.min(Duration::from_secs(BELIEVED_SECONDS_MAX));
        *self.spent_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}

/// All of the hour's mails, and those of them that need not be urgent.
fn both(mails: u32) -> Option<(NonZeroU32, NonZeroU32)> {
    let mails = NonZeroU32::new(mails)?;
    Some((mails, NonZeroU32::new(mails.get() / REST_PART).unwrap_or(NonZeroU32::MIN)))
}

/// How many follow evenly in an hour, and how many may leave at once.
///
/// Whatever hour is looked at: what had gathered before it and what came back in it are together no more than `mails`
/// (from two on). A restart, which knows nothing of the hour before it, lets a burst more through; where the nodes share the
/// count, nothing is forgotten.
fn shares(mails: NonZeroU32) -> (NonZeroU32, NonZeroU32) {
    let burst = (mails.get() / BURST_PART).max(1);
    let number = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    (number(mails.get().saturating_sub(burst)), number(burst))
}

fn pace(mails: NonZeroU32) -> Pace {
    let (steady, burst) = shares(mails);
    Pace::per_hour(steady).allow_burst(burst)
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;
    use crate::adapters::tests::{Nobody, Table};

    /// Not whole minutes, as in life.
    const REACH: Duration = Duration::from_secs(65);

    #[test]
    fn no_hour_has_more_than_the_cap_and_none_is_wasted() {
        for mails in [2, 3, 4, 10, 100, 500] {
            let clock = FakeRelativeClock::default();
            let limiter =
                RateLimiter::direct_with_clock(pace(NonZeroU32::new(mails).unwrap()), clock.clone());
            let mut left = Vec::new();
            for second in 0..4 * 3600_u32 {
                while limiter.check().is_ok() {
                    left.push(second);
                }
                clock.advance(Duration::from_secs(1));
            }
            let most = left
                .iter()
                .map(|end| left.iter().filter(|one| (end.saturating_sub(3599)..=*end).contains(one)).count())
                .max();
            assert!(most.unwrap() <= mails as usize, "{mails}: {most:?} in one hour");
            assert!(left.len() as u32 >= mails * 2, "{mails}: only {} in four hours", left.len());
        }
    }

    async fn sent(cap: &Cap, urgent: bool) -> usize {
        let mut sent = 0;
        for _ in 0..100 {
            sent += usize::from(cap.take(urgent).await);
        }
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn reminders_leave_room_for_deliveries() {
        let one = Arc::new(Table::default());
        let shared = |_| Cap::shared(64, REACH, Arc::clone(&one) as Arc<dyn Permits>);
        for cap in [&Cap::per_hour, &shared as &dyn Fn(u32) -> Option<Cap>] {
            let cap = cap(64).unwrap();
            let order = (sent(&cap, false).await, sent(&cap, true).await, sent(&cap, false).await);
            assert_eq!(order, (4, 12, 0), "{cap:?}");
        }
    }

    #[tokio::test]
    async fn none_means_none() {
        assert!(Cap::per_hour(0).is_none());
        let cap = Cap::per_hour(1).unwrap();
        assert!(cap.take(true).await && !cap.take(true).await);
        let nobody: Arc<dyn Permits> = Arc::new(Nobody);
        assert!(Cap::shared(0, REACH, Arc::clone(&nobody)).is_none());
        let cap = Cap::shared(100, REACH, nobody).unwrap();
        assert!(!cap.take(true).await && !cap.is_spent(true), "nobody to ask: no mail, and asked again");
    }

    /// Three nodes that start one after the other, die and come back: of all mails that left together, up to `REACH` after
    /// they were taken, no hour sees more than the cap.
    #[tokio::test(start_paused = true)]
    async fn no_hour_of_all_nodes_has_more_than_the_cap() {
        for mails in [1, 2, 3, 7, 100] {
            let table: Arc<dyn Permits> = Arc::new(Table::default());
            let node = || Cap::shared(mails, REACH, Arc::clone(&table)).unwrap();
            let (begun, mut nodes, mut left) = (Instant::now(), vec![node()], Vec::new());
            for second in 0..4 * 3600_u64 {
                if second.is_multiple_of(700) {
                    nodes.push(node());
                    nodes.truncate(3);
                    nodes.rotate_left(1);
                }
                for (place, cap) in nodes.iter().enumerate() {
                    // Some leave at once and some as late as they may, so that they meet.
                    let late =
                        if (second / 40).is_multiple_of(2) && place != 1 { REACH.as_secs() - 1 } else { 0 };
                    while cap.take(true).await {
                        left.push(begun.elapsed().as_secs() + late);
                    }
                }
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            let within =
                |end: &u64| left.iter().filter(|one| (end.saturating_sub(3599)..=*end).contains(one)).count();
            let most = left.iter().map(within).max().unwrap();
            assert!(most <= mails as usize, "{mails}: {most} in one hour");
            assert!(left.len() as u32 >= mails * 2, "{mails}: only {} in four hours", left.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_knows_that_none_is_left_does_not_ask() {
        let table = Arc::new(Table::default());
        let cap = Cap::shared(100, REACH, Arc::clone(&table) as Arc<dyn Permits>).unwrap();
        assert!(!cap.is_spent(true));
        assert_eq!(
            (sent(&cap, true).await, table.asked()),
            (25, 26),
            "one more, that was told how long to wait"
        );
        assert!(cap.is_spent(true) && cap.is_spent(false));
        tokio::time::advance(Duration::from_secs(BELIEVED_SECONDS_MAX)).await;
        assert!(!cap.is_spent(true), "asked again long before the hour is over");
        assert_eq!(sent(&cap, true).await, 0, "a mail every forty-nine seconds");
        tokio::time::advance(Duration::from_secs(BELIEVED_SECONDS_MAX)).await;
        assert_eq!(sent(&cap, true).await, 1);
    }
}
