//! When to try again: data and pure functions. The jitter comes from a seed, so a replay waits as the first run did.

use std::time::Duration;

/// Between two looks at a waiting payment, at the most.
pub const POLL_SECONDS_MAX: u64 = 6 * 3600;
/// Between two tries against a CinetPay that does not answer, at the most.
pub const RETRY_SECONDS_MAX: u64 = 15 * 60;
/// Between two tries to send a mail, at the most.
pub const MAIL_SECONDS_MAX: u64 = 30 * 60;
/// Tries to send one mail before a person has to look.
pub const MAIL_TRIES_MAX: u32 = 200;
/// Looks without a verdict at a payment that had failed or expired, before it rests again.
pub const LATE_CHECKS_MAX: u32 = 40;
/// Looks at a refused payment, in case the buyer pays on the same page after all: from the refusal to the first, and
/// from each to the next. In seconds.
pub const LATE_LOOK_SECONDS: [u64; 4] = [600, 3_600, 6 * 3_600, 24 * 3_600];

/// What the merchant decides about time and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// From the opened page to the first look.
    pub first_poll: Duration,
    /// From the order to giving up.
    pub horizon: Duration,
    /// How long a link lives.
    pub link_ttl: Duration,
    /// How many downloads a link allows.
    pub max_downloads: u32,
    /// How long before its end an unused link is reminded of; none = never.
    pub remind_before: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first_poll: Duration::from_secs(30),
            horizon: Duration::from_secs(72 * 3600),
            link_ttl: Duration::from_secs(72 * 3600),
            max_downloads: 5,
            remind_before: Some(Duration::from_secs(24 * 3600)),
        }
    }
}

/// The wait before look `n` (0, 1, 2 …) at a payment that waits: ever longer.
pub fn poll(policy: &Policy, n: u32, seed: u64) -> Duration {
    jittered(doubled(policy.first_poll, n, POLL_SECONDS_MAX), n, seed)
}

/// The wait before try `n` (0, 1, 2 …) against a CinetPay without a verdict.
pub fn retry(n: u32, seed: u64) -> Duration {
    jittered(doubled(Duration::from_secs(1), n, RETRY_SECONDS_MAX), n, seed)
}

/// The wait before try `n` (1, 2 …) to send a mail.
pub fn mail(n: u32, seed: u64) -> Duration {
    jittered(doubled(Duration::from_secs(1), n, MAIL_SECONDS_MAX), n, seed)
}

/// The least gap between two looks that duplicates of a notification bring about: it doubles, so replays cost a
/// logarithm of lines and questions.
pub fn duplicate_gap(checks: u32) -> Duration {
    doubled(Duration::from_secs(1), checks.saturating_sub(1), POLL_SECONDS_MAX)
}

/// The wait before late look `n` (0, 1 …) at a refused payment, if there is one. A look that a notification asked for
/// stands for look 0.
pub fn late_look(n: u32) -> Option<Duration> {
    let n = usize::try_from(n).ok()?;
    LATE_LOOK_SECONDS.get(n).copied().map(Duration::from_secs)
}

fn doubled(first: Duration, n: u32, seconds_max: u64) -> Duration {
    let factor = 1_u32.checked_shl(n.min(31)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(Duration::from_secs(seconds_max))
}

/// Up to a tenth longer, so that orders of one minute do not all come back in one second.
fn jittered(base: Duration, n: u32, seed: u64) -> Duration {
    let mixed = (seed ^ u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    base + base.mul_f64(f64::from((mixed >> 40) as u32 & 0xFFFF) / f64::from(0xFFFF_u32) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        let policy = Policy::default();
        let mut before = Duration::ZERO;
        for n in 0..9 {
            let wait = poll(&policy, n, 77);
            assert!(wait > before, "poll {n}: {wait:?}");
            before = wait;
        }
        for n in [20, 31, 32, 1000, u32::MAX] {
            assert!(poll(&policy, n, 1) <= Duration::from_secs(POLL_SECONDS_MAX * 11 / 10));
            assert!(retry(n, 1) <= Duration::from_secs(RETRY_SECONDS_MAX * 11 / 10));
        }
        assert_eq!(poll(&policy, 3, 5), poll(&policy, 3, 5));
        assert_eq!(late_look(4), None);
    }
}
