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
}

impl Breaker {
    /// Whether a call may go out at `now`. While open, one call per pause is let through as a probe.
    pub fn admit(&mut self, now: Duration) -> bool {
        if !self.is_open() {
            return true;
        }
        let probe = now >= self.until;
        if probe {
            // A probe that never reports back must not keep the breaker open for ever, nor let a second in.
            self.until = now + self.pause;
        }
        probe
    }

    /// CinetPay answered sense.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// No connection, a cut, a time-out or a 5xx.
    pub fn failed(&mut self, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        if self.is_open() {
            self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            self.until = now + self.pause;
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

    #[test]
    fn opens_probes_once_and_closes() {
        let at = Duration::from_secs;
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            assert!(breaker.admit(at(0)));
            breaker.failed(at(0));
        }
        assert!(breaker.is_open() && !breaker.admit(at(0)));
        assert!(breaker.admit(at(1)), "one probe");
        assert!(!breaker.admit(at(1)), "no second probe");
        breaker.failed(at(1));
        assert!(!breaker.admit(at(2)) && breaker.admit(at(3)), "the pause doubles");
        breaker.succeeded();
        assert!(breaker.admit(at(3)) && breaker.admit(at(3)));
    }

    #[test]
    fn pauses_are_bounded_and_a_success_between_keeps_it_closed() {
        let mut breaker = Breaker::default();
        (0..100).for_each(|_| breaker.failed(Duration::ZERO));
        assert!(breaker.admit(PAUSE_MAX));
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            breaker.failed(Duration::ZERO);
            breaker.succeeded();
        }
        assert!(!breaker.is_open());
    }
}
