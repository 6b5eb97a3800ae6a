//! Over all orders of a period, a page at a time: however many there are, few are in memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::super::Office;
use super::busy;
use crate::domain::calendar::Period;
use crate::domain::payment::Payment;
use crate::domain::values::{OrderId, Timestamp};
use crate::http::answer::Problem;
use crate::ledger::{Ledger, PAGE_ORDERS_MAX, Query};

/// An order's number holds the moment at which it was drawn. The commit that takes it comes a little later, and a machine's
/// clock may have been set back in between.
const SLACK: Duration = Duration::from_secs(3600);
/// What the 48 bits of an order's number can hold.
const MILLIS_MAX: i64 = (1 << 48) - 1;

/// Which moment of an order must lie in the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// When it was taken.
    Created,
    /// When its payment was verified.
    Paid,
}

impl By {
    /// `created_at` and `paid_at`.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "created_at" => Some(Self::Created),
            "paid_at" => Some(Self::Paid),
            _ => None,
        }
    }
    fn moment(self, payment: &Payment) -> Option<Timestamp> {
        match self {
            Self::Created => Some(payment.created_at),
            Self::Paid => payment.sale().map(|sale| sale.paid_at),
        }
    }
}

/// A walk, newest orders first.
pub(super) struct Walk {
    ledger: Ledger,
    by: By,
    period: Period,
    /// Where the next page begins; none behind the last one.
    next: Option<OrderId>,
    /// The first number that may belong to the period.
    oldest: OrderId,
    _permit: OwnedSemaphorePermit,
}

impl Walk {
    /// Begins one, if not too many are under way.
    ///
    /// An order may be paid long after it was taken, never before: where the payment counts, the walk goes on to the oldest
    /// order.
    pub(super) fn begin(office: &Office, by: By, period: Period) -> Result<Self, Problem> {
        let permit = Arc::clone(&office.walks.0).try_acquire_owned().map_err(|_| busy())?;
        let at = |millis: i64| OrderId::new(Timestamp::from_millis(millis.clamp(0, MILLIS_MAX)), 0);
        let slack = i64::try_from(SLACK.as_millis()).unwrap_or(0);
        let oldest = match by {
            By::Created => at(period.start().millis().saturating_sub(slack)),
            By::Paid => at(0),
        };
        let next = Some(at(period.end().millis().saturating_add(slack)));
        Ok(Self { ledger: office.deps.ledger.clone(), by, period, next, oldest, _permit: permit })
    }

    /// The next orders of the period, at least one; none at the end.
    pub(super) async fn page(&mut self) -> Result<Option<Vec<Payment>>, Problem> {
        while let Some(cursor) = self.next {
            let query = Query { cursor: Some(cursor), limit: PAGE_ORDERS_MAX, ..Query::default() };
            let ledger = self.ledger.clone();
            let page = super::super::api::read(move || ledger.list(&query)).await?;
            self.next = page.next_cursor.filter(|cursor| *cursor > self.oldest);
            let belongs = |payment: &Payment| self.by.moment(payment).is_some_and(|at| self.period.holds(at));
            let found: Vec<Payment> = page.orders.into_iter().filter(belongs).collect();
            if !found.is_empty() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}
