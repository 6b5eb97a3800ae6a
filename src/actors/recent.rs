//! Notifications that were committed lately: a repeat of one is answered from here, without its order's actor.
//!
//! Why it is never wrong: a notification gets in only after its commit was answered, and what is committed stays
//! committed. What is forgotten, or was committed before a restart, takes the way through the actor as ever.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::input::Notice;
use crate::domain::values::OrderId;

/// So many places, so that requests seldom wait for one another.
const SHARDS: usize = 16;
/// Notifications of one generation in one shard; two generations are kept. All in all about 2 MB.
const GENERATION_MAX: usize = 1024;
/// A repeat goes on to the order's actor if none has for so long: it is a reason to look at CinetPay sooner.
const PASS_EVERY: Duration = Duration::from_secs(1);

/// An order and the notification's digest.
type Key = ([u8; 16], [u8; 32]);

/// The memory.
#[derive(Default)]
pub(super) struct Recent([Mutex<Shard>; SHARDS]);

/// When a repeat of each last went on to the actor.
#[derive(Default)]
struct Shard {
    young: HashMap<Key, Instant>,
    old: HashMap<Key, Instant>,
}

impl Recent {
    /// Whether the notification is known to be committed and its actor has heard of a repeat not long ago.
    pub(super) fn answers(&self, order: OrderId, notice: &Notice) -> bool {
        let key = (order.bytes(), notice.digest);
        let now = Instant::now();
        self.with(&key, |shard| {
            let Some(passed) = shard.young.get(&key).or_else(|| shard.old.get(&key)).copied() else {
                return false;
            };
            if now.duration_since(passed) < PASS_EVERY {
                return true;
            }
            shard.put(key, now);
            false
        })
    }

    /// The notification is committed, and its actor has just been asked.
    pub(super) fn remember(&self, order: OrderId, notice: &Notice) {
        let key = (order.bytes(), notice.digest);
        self.with(&key, |shard| shard.put(key, Instant::now()));
    }

    fn with<T>(&self, key: &Key, act: impl FnOnce(&mut Shard) -> T) -> T {
        let shard = &self.0[usize::from(key.1[0]) % SHARDS];
        act(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shard {
    fn put(&mut self, key: Key, now: Instant) {
        if self.young.len() >= GENERATION_MAX && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::values::{Attempt, Timestamp};

    fn known(n: u32) -> (OrderId, Notice) {
        let mut digest = [0; 32];
        digest[1..5].copy_from_slice(&n.to_be_bytes());
        (OrderId::new(Timestamp::from_millis(0), u128::from(n)), Notice { attempt: Attempt::FIRST, digest })
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_was_remembered_is_answered_and_one_repeat_a_second_goes_on() {
        let recent = Recent::default();
        let (order, notice) = known(1);
        assert!(!recent.answers(order, &notice), "never heard of");
        recent.remember(order, &notice);
        assert!(recent.answers(order, &notice));
        assert!(!recent.answers(known(2).0, &notice), "the same digest of another order");
        for _ in 0..3 {
            tokio::time::advance(PASS_EVERY).await;
            assert!(!recent.answers(order, &notice), "this one goes on");
            assert!(recent.answers(order, &notice), "the next ones do not");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_are_forgotten() {
        let recent = Recent::default();
        let all = 3 * u32::try_from(GENERATION_MAX).unwrap();
        for n in 0..all {
            let (order, notice) = known(n);
            recent.remember(order, &notice);
        }
        let answered = (0..all).filter(|n| recent.answers(known(*n).0, &known(*n).1)).count();
        assert!((GENERATION_MAX..=2 * GENERATION_MAX).contains(&answered), "{answered}");
        assert!(recent.answers(known(all - 1).0, &known(all - 1).1), "the newest is there");
    }
}
