//! Stops asking a CinetPay that is down: pure, the time comes in as an argument.

use std::time::Duration;

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 5;
/// First pause.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Closed, open until a moment, or letting one probe through. Moments are durations since any fixed start.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    pause: Duration,
    until: Duration,
    /// Counts openings and closings, so that a late answer is not taken for news.
    era: u64,
}

/// Leave for one call, to be given back with its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    era: u64,
}

impl Breaker {
    /// Leave to call at `now`, or none. While open, one call per pause is let through as a probe.
    pub fn admit(&mut self, now: Duration) -> Option<Pass> {
        let pass = Pass { era: self.era };
        if !self.is_open() {
            return Some(pass);
        }
        if now < self.until {
            return None;
        }
        // A probe that never reports back must not keep the breaker open for ever, nor let a second in.
        self.until = now + self.pause;
        Some(pass)
    }

    /// CinetPay answered sense. Ignored from a call admitted before the breaker opened: that call's
    /// connection is older than the failures, so it says nothing about now.
    pub fn succeeded(&mut self, pass: Pass) {
        match (pass.era == self.era, self.is_open()) {
            (false, _) => {}
            (true, true) => *self = Self { era: self.era + 1, ..Self::default() },
            (true, false) => self.failures = 0,
        }
    }

    /// No connection, a cut, a time-out, a 5xx or nonsense. Ignored from a call of an earlier era: many
    /// calls failing at once are one fault, and must not double the pause once each.
    pub fn failed(&mut self, pass: Pass, now: Duration) {
        if pass.era != self.era {
            return;
        }
        let was_open = self.is_open();
        self.failures = self.failures.saturating_add(1);
        if self.is_open() {
            self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            self.until = now + self.pause;
            self.era += u64::from(!was_open);
        }
    }

    /// For the gauge.
    pub fn is_open(&self) -> bool {
        self.failures >= FAILURES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            let pass = breaker.admit(START).unwrap();
            breaker.failed(pass, START);
        }
        breaker
    }

    #[test]
    fn opens_probes_once_and_closes() {
        let at = Duration::from_secs;
        let mut breaker = opened();
        assert!(breaker.is_open() && breaker.admit(at(0)).is_none());
        let probe = breaker.admit(at(1)).unwrap();
        assert!(breaker.admit(at(1)).is_none(), "no second probe");
        breaker.failed(probe, at(1));
        assert!(breaker.admit(at(2)).is_none(), "the pause doubles");
        let probe = breaker.admit(at(3)).unwrap();
        breaker.succeeded(probe);
        assert!(!breaker.is_open() && breaker.admit(at(3)).is_some() && breaker.admit(at(3)).is_some());
    }

    #[test]
    fn late_news_of_calls_from_before_it_opened_changes_nothing() {
        let mut breaker = Breaker::default();
        let early = breaker.admit(START).unwrap();
        for _ in 0..FAILURES_MAX {
            breaker.failed(early, START);
        }
        breaker.succeeded(early);
        assert!(breaker.is_open(), "a success from before must not close it");
        for _ in 0..100 {
            breaker.failed(early, START);
        }
        let probe = breaker.admit(PAUSE_MIN).unwrap();
        breaker.succeeded(probe);
        breaker.failed(probe, PAUSE_MIN);
        for _ in 0..FAILURES_MAX {
            breaker.failed(early, PAUSE_MIN);
        }
        assert!(!breaker.is_open(), "nor a failure from before open it again");
    }

    #[test]
    fn pauses_are_bounded_and_a_lost_probe_is_followed_by_another() {
        let mut breaker = opened();
        let mut now = START;
        for _ in 0..100 {
            now += PAUSE_MAX;
            let probe = breaker.admit(now).unwrap();
            breaker.failed(probe, now);
        }
        assert!(breaker.admit(now + PAUSE_MAX).is_some(), "the pause is at most PAUSE_MAX");
        assert!(breaker.admit(now + PAUSE_MAX).is_none());
        assert!(breaker.admit(now + PAUSE_MAX * 2).is_some(), "the first probe never reported");
    }

    #[test]
    fn a_success_between_keeps_it_closed() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            let pass = breaker.admit(START).unwrap();
            breaker.failed(pass, START);
            breaker.succeeded(pass);
        }
        assert!(!breaker.is_open());
    }
}
