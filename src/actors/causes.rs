//! Requests whose errands wait for a permit. The order that waits may lose its seat to another one meanwhile, and its
//! errand is to be told apart all the same. In memory only: after a restart an errand has an id of its own.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::values::OrderId;
use crate::ports::RequestId;

/// Most that are kept. One more is not: its errand has an id of its own, and the order's number in every line.
const KEPT_MAX: usize = 4096;

/// Order → the request that its next errand follows from.
#[derive(Default)]
pub(super) struct Causes(Mutex<HashMap<OrderId, RequestId>>);

impl Causes {
    /// Until somebody takes it.
    pub(super) fn keep(&self, order: OrderId, cause: &RequestId) {
        let mut kept = self.lock();
        if kept.len() < KEPT_MAX || kept.contains_key(&order) {
            kept.insert(order, cause.clone());
        }
    }

    /// What was kept for this order.
    pub(super) fn take(&self, order: OrderId) -> Option<RequestId> {
        self.lock().remove(&order)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OrderId, RequestId>> {
        // A map of texts: no panic leaves it half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_once_and_no_more_than_there_is_room_for() {
        let causes = Causes::default();
        let id = |text: &str| RequestId::parse(text).unwrap();
        let order = |n: usize| OrderId::parse(&format!("01ARZ3NDEKTSV4RRFFQ69{n:05}")).unwrap();
        causes.keep(order(0), &id("first"));
        causes.keep(order(0), &id("newer"));
        assert_eq!(causes.take(order(0)), Some(id("newer")));
        assert_eq!(causes.take(order(0)), None);
        for n in 0..KEPT_MAX {
            causes.keep(order(n), &id("one"));
        }
        causes.keep(order(KEPT_MAX), &id("late"));
        causes.keep(order(1), &id("again"));
        assert_eq!(causes.take(order(KEPT_MAX)), None, "there was no room");
        assert_eq!(causes.take(order(1)), Some(id("again")));
    }
}
