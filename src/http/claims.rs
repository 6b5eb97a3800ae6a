//! Idempotency keys whose order may not be in the ledger yet.
//!
//! Why: two simultaneous requests with one key both find nothing in the ledger. The first one here decides the order's
//! number, both submit to that number, and its actor makes one order of them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::values::{OrderId, Timestamp};

/// Keys remembered at one time. Older ones are in the ledger by then.
const CLAIMS_MAX: usize = 10_000;
/// How long a key stands for its order, in hours.
const CLAIM_HOURS_MAX: u64 = 24;

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The order.
    pub(crate) order: OrderId,
    /// The hash of what was asked.
    pub(crate) fingerprint: String,
    at: Timestamp,
}

/// Hashed keys and what they stand for.
#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_key: HashMap<String, Claim>,
    oldest_first: VecDeque<(String, OrderId)>,
}

impl Claims {
    /// What `key` stands for: what it did already, or `order` and `fingerprint` from now on.
    pub(crate) fn claim(&self, key: &str, fingerprint: &str, order: OrderId, now: Timestamp) -> Claim {
        self.claim_unless(key, None, fingerprint, order, now)
    }

    /// The same where `key` stood for `spent`, whose buyer needs another order: of simultaneous repeats the first one
    /// here decides which.
    pub(crate) fn replace(
        &self,
        key: &str,
        spent: OrderId,
        fingerprint: &str,
        order: OrderId,
        now: Timestamp,
    ) -> Claim {
        self.claim_unless(key, Some(spent), fingerprint, order, now)
    }

    fn claim_unless(
        &self,
        key: &str,
        spent: Option<OrderId>,
        fingerprint: &str,
        order: OrderId,
        now: Timestamp,
    ) -> Claim {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = inner.by_key.get(key)
            && now.since(known.at) < Duration::from_secs(CLAIM_HOURS_MAX * 3600)
            && spent != Some(known.order)
        {
            return known.clone();
        }
        if inner.oldest_first.len() >= CLAIMS_MAX
            && let Some((old, of)) = inner.oldest_first.pop_front()
            && inner.by_key.get(&old).is_some_and(|claim| claim.order == of)
        {
            inner.by_key.remove(&old);
        }
        let claim = Claim { order, fingerprint: fingerprint.to_owned(), at: now };
        inner.by_key.insert(key.to_owned(), claim.clone());
        inner.oldest_first.push_back((key.to_owned(), order));
        claim
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(chance: u128) -> OrderId {
        OrderId::new(Timestamp::from_millis(1_700_000_000_000), chance)
    }

    #[test]
    fn the_first_claim_wins_for_a_day() {
        let claims = Claims::default();
        let start = Timestamp::from_millis(1_700_000_000_000);
        assert_eq!(claims.claim("key", "a", order(1), start).order, order(1));
        let second = claims.claim("key", "b", order(2), start);
        assert_eq!((second.order, second.fingerprint.as_str()), (order(1), "a"));
        let later = start.plus(Duration::from_secs(CLAIM_HOURS_MAX * 3600));
        assert_eq!(claims.claim("key", "b", order(3), later).order, order(3));
    }

    #[test]
    fn a_spent_order_is_replaced_once() {
        let claims = Claims::default();
        let now = Timestamp::from_millis(1_700_000_000_000);
        claims.claim("key", "a", order(1), now);
        assert_eq!(claims.replace("key", order(1), "a", order(2), now).order, order(2));
        assert_eq!(claims.replace("key", order(1), "a", order(3), now).order, order(2), "another was faster");
        assert_eq!(claims.claim("key", "a", order(4), now).order, order(2));
        assert_eq!(claims.replace("key", order(2), "a", order(5), now).order, order(5));
        // After a restart only the ledger knows the key.
        assert_eq!(claims.replace("other", order(1), "a", order(6), now).order, order(6));
    }

    #[test]
    fn memory_is_bounded() {
        let claims = Claims::default();
        let now = Timestamp::from_millis(1_700_000_000_000);
        for number in 0..CLAIMS_MAX + 10 {
            claims.claim(&number.to_string(), "a", order(u128::try_from(number).unwrap()), now);
        }
        let inner = claims.0.lock().unwrap();
        assert_eq!(inner.by_key.len(), CLAIMS_MAX);
        assert_eq!(inner.oldest_first.len(), CLAIMS_MAX);
    }
}
