//! How many mails may leave in an hour.
//!
//! Why: shared hosts accept mails beyond their own hourly limit and throw them away, so that an order would be DELIVERED
//! without a mail. Below that limit nothing is thrown away: what waits here stays owed.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// A part of the hour's mails, one in so many, may leave at once; the others follow evenly.
const BURST_PART: u32 = 4;

/// Of the hour's mails one in so many may be one that is not urgent.
const REST_PART: u32 = 4;

/// The hour's mails.
#[derive(Debug)]
pub(super) struct Cap {
    all: DefaultDirectRateLimiter,
    /// Those that are not urgent.
    rest: DefaultDirectRateLimiter,
}

impl Cap {
    /// None where there is no limit.
    pub(super) fn per_hour(mails: u32) -> Option<Self> {
        let mails = NonZeroU32::new(mails)?;
        let rest = NonZeroU32::new(mails.get() / REST_PART).unwrap_or(NonZeroU32::MIN);
        Some(Self { all: RateLimiter::direct(quota(mails)), rest: RateLimiter::direct(quota(rest)) })
    }

    /// Takes one mail of the hour's, if there is one left.
    pub(super) fn take(&self, urgent: bool) -> bool {
        (urgent || self.rest.check().is_ok()) && self.all.check().is_ok()
    }
}

/// Whatever hour is looked at: what had gathered before it and what came back in it are together no more than `mails`
/// (from two on). A restart, which knows nothing of the hour before it, lets a burst more through.
fn quota(mails: NonZeroU32) -> Quota {
    let burst = (mails.get() / BURST_PART).max(1);
    let steady = mails.get().saturating_sub(burst).max(1);
    let number = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    Quota::per_hour(number(steady)).allow_burst(number(burst))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn no_hour_has_more_than_the_cap_and_none_is_wasted() {
        for mails in [2, 3, 4, 10, 100, 500] {
            let clock = FakeRelativeClock::default();
            let limiter =
                RateLimiter::direct_with_clock(quota(NonZeroU32::new(mails).unwrap()), clock.clone());
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

    #[test]
    fn reminders_leave_room_for_deliveries() {
        let cap = Cap::per_hour(64).unwrap();
        let sent = |urgent| (0..100).filter(|_| cap.take(urgent)).count();
        assert_eq!((sent(false), sent(true), sent(false)), (4, 12, 0));
    }

    #[test]
    fn none_means_none() {
        assert!(Cap::per_hour(0).is_none());
        assert!(Cap::per_hour(1).is_some_and(|cap| cap.take(true) && !cap.take(true)));
    }
}
