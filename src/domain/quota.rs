//! How often something may be done by all daemons together: so many at once, then one after the other.
//!
//! The rule is the generic cell rate algorithm (ITU-T I.371), in time and not in numbers: each permit costs a while, and what
//! was drawn is paid for up to some moment, which may be ahead of now by no more than a burst. So one moment is all that
//! there is to remember, whatever span is looked at: it holds at most `burst` permits and one for each `cost`.

use std::time::Duration;

/// What a permit is for. Each is counted by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A question to CinetPay.
    Call,
    /// A mail to a buyer.
    Mail,
    /// A mail that is not urgent, beside its permit as a mail.
    Reminder,
}

impl Purpose {
    /// Its stored name.
    pub fn code(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Mail => "mail",
            Self::Reminder => "reminder",
        }
    }
}

/// How many permits there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// What they are for.
    pub purpose: Purpose,
    cost: Duration,
    burst: u32,
}

impl Quota {
    /// `steady` permits in every `span`, evenly, and `burst` more at once where none was drawn for a while: never more than
    /// both together in any such span. Zero counts as one.
    pub fn new(purpose: Purpose, (steady, span): (u32, Duration), burst: u32) -> Self {
        let micros = span.as_micros().div_ceil(u128::from(steady.max(1)));
        let cost = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX).max(1));
        Self { purpose, cost, burst: burst.max(1) }
    }

    /// The time that one permit costs, in whole microseconds.
    pub fn cost(&self) -> Duration {
        self.cost
    }

    /// How many there may be at once.
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// How far ahead of now may be paid for.
    pub fn ahead(&self) -> Duration {
        self.cost.saturating_mul(self.burst)
    }
}

/// What a drawing brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    /// Permits. What is not used is lost, and comes back with time.
    pub granted: u32,
    /// How long until there is another one.
    pub wait: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_never_costs_less_than_its_share() {
        for (steady, millis, burst) in
            [(1, 1, 1), (3, 1000, 2), (7, 3_665_000, 2), (10_000, 1000, 5000), (0, 10, 0)]
        {
            let span = Duration::from_millis(millis);
            let quota = Quota::new(Purpose::Call, (steady, span), burst);
            assert!(quota.cost() * steady.max(1) >= span, "{quota:?}");
            assert!(
                quota.cost() * steady.max(1) <= span + Duration::from_micros(u64::from(steady.max(1))),
                "{quota:?}"
            );
            assert_eq!(quota.ahead(), quota.cost() * burst.max(1));
            assert_eq!(quota.cost().subsec_nanos() % 1000, 0, "whole microseconds: {quota:?}");
        }
    }
}
