//! Notifications of settled orders, committed before: a repeat of one is answered from here, without an actor.
//!
//! Why it is never wrong: a notification gets in only after its order answered that it is committed and paid for, and
//! neither ever changes. A repeat about an order without a verdict is a reason to look at CinetPay sooner, so it goes to
//! the actor as ever; so does what is forgotten.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::domain::input::Notice;
use crate::domain::payment::{Payment, Status};
use crate::domain::values::OrderId;

/// So many places, so that requests seldom wait for one another.
const SHARDS: usize = 16;
/// Notifications of one generation in one shard; two generations are kept. All in all about 2 MB.
const GENERATION_MAX: usize = 1024;

/// An order and the notification's digest.
type Key = ([u8; 16], [u8; 32]);

/// The memory.
#[derive(Default)]
pub(super) struct Recent([Mutex<Shard>; SHARDS]);

#[derive(Default)]
struct Shard {
    young: HashSet<Key>,
    old: HashSet<Key>,
}

impl Recent {
    /// Whether the notification is known to be committed, and its order to be settled.
    pub(super) fn knows(&self, order: OrderId, notice: &Notice) -> bool {
        let key = (order.bytes(), notice.digest);
        self.with(&key, |shard| shard.young.contains(&key) || shard.old.contains(&key))
    }

    /// The notification is committed; `payment` is its order now.
    pub(super) fn remember(&self, payment: &Payment, notice: &Notice) {
        if !matches!(payment.status, Status::Paid(_) | Status::Refunded(_)) {
            return;
        }
        let key = (payment.id.bytes(), notice.digest);
        self.with(&key, |shard| {
            if shard.young.len() >= GENERATION_MAX {
                shard.old = std::mem::take(&mut shard.young);
            }
            shard.young.insert(key);
        });
    }

    fn with<T>(&self, key: &Key, act: impl FnOnce(&mut Shard) -> T) -> T {
        let shard = &self.0[usize::from(key.1[0]) % SHARDS];
        act(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::payment::{Link, Mail, Sale};
    use crate::domain::reminder::Reminder;
    use crate::domain::values::{Attempt, Buyer, Currency, Email, Lang, Money, Timestamp};

    fn order(n: u32, paid: bool) -> Payment {
        let at = Timestamp::from_millis(0);
        let link =
            Link { number: 1, issued_at: at, expires_at: at, max_downloads: 1, downloads: 0, revoked: false };
        let sale = Sale {
            attempt: Attempt::FIRST,
            provider_tx_id: None,
            payment_method: None,
            paid_at: at,
            approved: None,
            link,
            mail: Mail::Sent { at },
            delivered_at: None,
            reminder: Reminder::Off,
        };
        Payment {
            id: OrderId::new(at, u128::from(n)),
            version: 1,
            product: "kit".into(),
            tier: "one".into(),
            price: Money::price(500, Currency::Xof).unwrap(),
            buyer: Buyer {
                email: Email::parse("a@example.ci").unwrap(),
                name: None,
                phone: None,
                lang: Lang::Fr,
            },
            request: None,
            created_at: at,
            attempt: Attempt::FIRST,
            payment_url: None,
            notices: Vec::new(),
            checks: 0,
            checked_at: None,
            erased_at: None,
            status: if paid { Status::Paid(sale) } else { Status::Pending { check_at: at } },
        }
    }

    fn notice(n: u32) -> Notice {
        let mut digest = [0; 32];
        digest[1..5].copy_from_slice(&n.to_be_bytes());
        Notice { attempt: Attempt::FIRST, digest }
    }

    #[test]
    fn only_what_was_remembered_of_a_settled_order_is_known() {
        let recent = Recent::default();
        let (paid, waiting) = (order(1, true), order(2, false));
        assert!(!recent.knows(paid.id, &notice(1)), "never heard of");
        recent.remember(&paid, &notice(1));
        recent.remember(&waiting, &notice(2));
        assert!(recent.knows(paid.id, &notice(1)));
        assert!(!recent.knows(paid.id, &notice(2)), "another notification");
        assert!(!recent.knows(waiting.id, &notice(1)), "the same one of another order");
        assert!(!recent.knows(waiting.id, &notice(2)), "a repeat is a reason to look at this one");
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let recent = Recent::default();
        let all = 3 * u32::try_from(GENERATION_MAX).unwrap();
        (0..all).for_each(|n| recent.remember(&order(n, true), &notice(n)));
        let known = (0..all).filter(|n| recent.knows(order(*n, true).id, &notice(*n))).count();
        assert!((GENERATION_MAX..=2 * GENERATION_MAX).contains(&known), "{known}");
        assert!(recent.knows(order(all - 1, true).id, &notice(all - 1)), "the newest is there");
    }
}
