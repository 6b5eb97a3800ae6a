//! Somebody who is told who acts for whom: the tests and the simulation, to count owners and to let an actor die.

use std::fmt;
use std::sync::Arc;

use crate::domain::values::OrderId;

/// What a witness is told, on the task where it happens. A witness that panics is a fault of that actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A seat takes up an order.
    Sits {
        /// The order.
        order: OrderId,
        /// The seat.
        seat: usize,
    },
    /// A seat is about to decide for its order.
    Decides {
        /// The order.
        order: OrderId,
        /// The seat.
        seat: usize,
    },
    /// What it decided is committed, refused, or nothing.
    Decided {
        /// The order.
        order: OrderId,
        /// The seat.
        seat: usize,
    },
    /// A seat's actor died and was replaced.
    Replaced {
        /// The seat.
        seat: usize,
        /// The order that it acted for.
        order: Option<OrderId>,
    },
    /// An order kept failing and is left alone for a while.
    Benched {
        /// The order.
        order: OrderId,
    },
}

/// Who is told; nobody in the daemon.
#[derive(Clone, Default)]
pub struct Witness(Option<Arc<dyn Fn(Moment) + Send + Sync>>);

impl Witness {
    /// Tells `eye`, which must not wait.
    pub fn new(eye: impl Fn(Moment) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(eye)))
    }

    /// Tells what happens.
    pub(super) fn tell(&self, moment: Moment) {
        if let Some(eye) = &self.0 {
            eye(moment);
        }
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Witness" } else { "nobody" })
    }
}
