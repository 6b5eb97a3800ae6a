//! An order and its payment: what folding its events gives, and what it owes.

use serde::{Deserialize, Serialize};

use super::event::{Decision, Event, Request};
use super::reminder::Reminder;
use super::schedule::Policy;
use super::values::{Attempt, Buyer, Claimed, Money, OrderId, Timestamp};

/// Most distinct notifications remembered per order; a further one counts as a duplicate.
pub const NOTICES_MAX: usize = 32;

/// The code of an order whose review a person rejected; CinetPay has no such code.
pub const REJECTED: &str = "REJECTED";

/// The whole state of one order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// The order.
    pub id: OrderId,
    /// How many commits made it: 1 after the first.
    pub version: u32,
    /// The product's slug.
    pub product: String,
    /// The tier's id.
    pub tier: String,
    /// The price.
    pub price: Money,
    /// Everything personal.
    pub buyer: Buyer,
    /// What its `Idempotency-Key` stood for.
    pub request: Option<Request>,
    /// When it was taken.
    pub created_at: Timestamp,
    /// The newest attempt.
    pub attempt: Attempt,
    /// The newest attempt's payment page, once open.
    pub payment_url: Option<String>,
    /// Digests of the notifications seen.
    pub notices: Vec<String>,
    /// Checks since the last turn of events.
    pub checks: u32,
    /// When CinetPay was last asked.
    pub checked_at: Option<Timestamp>,
    /// When everything personal was erased.
    pub erased_at: Option<Timestamp>,
    /// Where it stands.
    pub status: Status,
}

/// Where an order stands. Each state carries its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Durable; CinetPay not yet asked or not yet answering.
    Created(Opening),
    /// A payment page exists.
    Pending {
        /// When to ask CinetPay.
        check_at: Timestamp,
    },
    /// The order's own amount was paid.
    Paid(Sale),
    /// Refused for good, as far as we know.
    Failed {
        /// CinetPay's code.
        code: String,
        /// A late look.
        check_at: Option<Timestamp>,
    },
    /// Something else was paid: a person decides.
    Review {
        /// The attempt that was paid.
        attempt: Attempt,
        /// What CinetPay says was paid.
        claimed: Claimed,
        /// The operator's transaction number.
        provider_tx_id: Option<String>,
        /// OM, MOMO, FLOOZ, CARD …
        payment_method: Option<String>,
    },
    /// The horizon passed without a verdict.
    Expired {
        /// A look that a late notification asked for.
        check_at: Option<Timestamp>,
    },
    /// A refund was recorded.
    Refunded(Sale),
}

/// How far the opening of a payment page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opening {
    /// To be asked for at this time. After a crash or an unread answer CinetPay is asked first what it knows.
    Due {
        /// When.
        at: Timestamp,
    },
    /// Nobody waits: the buyer's repeat goes on with it, the horizon ends it.
    Idle {
        /// The last look.
        check_at: Timestamp,
    },
}

/// A paid order's delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sale {
    /// The attempt that was paid.
    pub attempt: Attempt,
    /// The operator's transaction number.
    pub provider_tx_id: Option<String>,
    /// OM, MOMO, FLOOZ, CARD …
    pub payment_method: Option<String>,
    /// When it was verified.
    pub paid_at: Timestamp,
    /// The person who approved a review.
    pub approved: Option<Decision>,
    /// The link.
    pub link: Link,
    /// The mail with the link.
    pub mail: Mail,
    /// When the mail server first took it.
    pub delivered_at: Option<Timestamp>,
    /// The reminder of a link that nears its end unused.
    pub reminder: Reminder,
}

/// The one live link of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// 1, and one more each time a withdrawn link is replaced.
    pub number: u32,
    /// The token's time.
    pub issued_at: Timestamp,
    /// The first moment at which it does not work.
    pub expires_at: Timestamp,
    /// How many downloads it allows.
    pub max_downloads: u32,
    /// How many were started.
    pub downloads: u32,
    /// Withdrawn.
    pub revoked: bool,
}

/// The mail with the link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mail {
    /// To be sent.
    Owed {
        /// Tries that failed.
        tries: u32,
        /// When.
        at: Timestamp,
    },
    /// Taken by the mail server.
    Sent {
        /// When.
        at: Timestamp,
    },
    /// Refused for good: a person has to look.
    Stalled {
        /// The server's words or code.
        reason: String,
    },
}

/// What an order owes now. Retry, restart, polling and "may its actor rest?" are all this one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Open a payment page; after anything unclear CinetPay is asked first.
    Open(Attempt),
    /// Ask CinetPay about every attempt up to this one.
    Check(Attempt),
    /// Send the mail.
    Deliver,
    /// Send the reminder, or note that it is too late for one.
    Remind,
    /// Nothing before this moment.
    Wait(Timestamp),
    /// Nothing, until somebody says something.
    Rest,
}

/// What `payment` owes at `now`.
pub fn next_step(payment: &Payment, now: Timestamp) -> Step {
    let when = |at: Timestamp, step: Step| if at <= now { step } else { Step::Wait(at) };
    match &payment.status {
        Status::Created(Opening::Due { at }) => when(*at, Step::Open(payment.attempt)),
        Status::Created(Opening::Idle { check_at })
        | Status::Pending { check_at }
        | Status::Failed { check_at: Some(check_at), .. }
        | Status::Expired { check_at: Some(check_at) } => when(*check_at, Step::Check(payment.attempt)),
        Status::Paid(Sale { mail: Mail::Owed { at, .. }, .. }) => when(*at, Step::Deliver),
        Status::Paid(Sale { reminder: Reminder::Due { at, .. }, .. }) => when(*at, Step::Remind),
        Status::Failed { check_at: None, .. }
        | Status::Paid(_)
        | Status::Review { .. }
        | Status::Expired { check_at: None }
        | Status::Refunded(_) => Step::Rest,
    }
}

/// When `payment` next owes something: the due index.
pub fn due_at(payment: &Payment) -> Option<Timestamp> {
    match next_step(payment, Timestamp::from_millis(i64::MIN)) {
        Step::Wait(at) => Some(at),
        Step::Open(_) | Step::Check(_) | Step::Deliver | Step::Remind | Step::Rest => None,
    }
}

/// When a duplicate of a notification may bring the next look forward, if it may at all.
pub fn duplicate_look(payment: &Payment, now: Timestamp) -> Option<Timestamp> {
    match payment.status {
        Status::Created(_) | Status::Pending { .. } | Status::Failed { .. } | Status::Expired { .. } => {
            let gap = super::schedule::duplicate_gap(payment.checks);
            Some(payment.checked_at.map_or(now, |at| at.plus(gap).max(now)))
        }
        Status::Paid(_) | Status::Review { .. } | Status::Refunded(_) => None,
    }
}

/// Why an order cannot be folded: its events are not ours, or not in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The first event is not CREATED, or CREATED comes again.
    #[error("CREATED must come first and once")]
    Birth,
    /// An event that this status cannot have.
    #[error("{kind} cannot follow {status}")]
    Order {
        /// The status.
        status: &'static str,
        /// The event.
        kind: &'static str,
    },
}

impl Payment {
    /// The status as the outside sees it.
    pub fn status_name(&self) -> &'static str {
        self.status.name()
    }
    /// The sale, once paid (also after a refund).
    pub fn sale(&self) -> Option<&Sale> {
        match &self.status {
            Status::Paid(sale) | Status::Refunded(sale) => Some(sale),
            Status::Created(_)
            | Status::Pending { .. }
            | Status::Failed { .. }
            | Status::Review { .. }
            | Status::Expired { .. } => None,
        }
    }
    /// Whether a buyer may still be sent to a payment page that is not open yet.
    pub fn wants_page(&self) -> bool {
        self.payment_url.is_none() && matches!(self.status, Status::Created(_) | Status::Pending { .. })
    }
    /// Whether nobody was ever sent to a payment page of this order, and nobody can be any more: its numbers are used
    /// up, or it ended without a page. Whoever asks again needs another order, and cannot have paid this one. (PENDING
    /// without a page is none of these: a notification came, and its look comes first.)
    pub fn is_spent(&self) -> bool {
        self.payment_url.is_none()
            && match self.status {
                Status::Created(_) => self.attempt.next().is_none(),
                Status::Failed { .. } | Status::Expired { .. } => true,
                Status::Pending { .. } | Status::Paid(_) | Status::Review { .. } | Status::Refunded(_) => {
                    false
                }
            }
    }
    /// Whether another payment page may be opened for an order that was refused: not after a person's "no", and as
    /// long as somebody still looks for its payment.
    pub fn may_retry(&self, policy: &Policy, now: Timestamp) -> bool {
        let by_cinetpay = matches!(&self.status, Status::Failed { code, .. } if code != REJECTED);
        by_cinetpay && self.attempt.next().is_some() && now < self.horizon(policy)
    }
    /// Whether the page of `attempt` is news: the first one, or another one for an order that was refused.
    pub fn takes_page(&self, attempt: Attempt) -> bool {
        let another = matches!(self.status, Status::Failed { .. }) && attempt > self.attempt;
        another || (self.wants_page() && attempt >= self.attempt)
    }
    /// The moment after which a waiting order is given up.
    pub fn horizon(&self, policy: &Policy) -> Timestamp {
        self.created_at.plus(policy.horizon)
    }
    /// The order after one commit of `events`.
    pub fn evolve(
        before: Option<&Self>,
        id: OrderId,
        events: &[Event],
        at: Timestamp,
    ) -> Result<Self, FoldError> {
        let mut payment = before.cloned();
        for event in events {
            payment = Some(match payment {
                None => Self::born(id, event, at)?,
                Some(mut one) => {
                    super::evolve::apply(&mut one, event, at)?;
                    one
                }
            });
        }
        let mut payment = payment.ok_or(FoldError::Birth)?;
        payment.version = before.map_or(1, |one| one.version.saturating_add(1));
        Ok(payment)
    }

    fn born(id: OrderId, event: &Event, at: Timestamp) -> Result<Self, FoldError> {
        let Event::Created { product, tier, price, buyer, request } = event else {
            return Err(FoldError::Birth);
        };
        Ok(Self {
            id,
            version: 0,
            product: product.clone(),
            tier: tier.clone(),
            price: *price,
            buyer: buyer.clone(),
            request: request.clone(),
            created_at: at,
            attempt: Attempt::FIRST,
            payment_url: None,
            notices: Vec::new(),
            checks: 0,
            checked_at: None,
            erased_at: None,
            status: Status::Created(Opening::Due { at }),
        })
    }
}

impl Status {
    /// The status as the outside sees it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created(_) => "CREATED",
            Self::Pending { .. } => "PENDING",
            Self::Paid(_) => "PAID",
            Self::Failed { .. } => "FAILED",
            Self::Review { .. } => "REVIEW",
            Self::Expired { .. } => "EXPIRED",
            Self::Refunded(_) => "REFUNDED",
        }
    }
    /// Every status name, for counts and filters.
    pub const NAMES: [&'static str; 7] =
        ["CREATED", "PENDING", "PAID", "FAILED", "REVIEW", "EXPIRED", "REFUNDED"];
}

impl Link {
    /// Whether a download may be started.
    pub fn state(&self, now: Timestamp) -> LinkState {
        match () {
            () if self.revoked => LinkState::Revoked,
            () if self.expires_at <= now => LinkState::Expired,
            () if self.downloads >= self.max_downloads => LinkState::UsedUp,
            () => LinkState::Live,
        }
    }
}

/// Whether a link works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// It works.
    Live,
    /// Its time has passed.
    Expired,
    /// All its downloads were started.
    UsedUp,
    /// It was withdrawn.
    Revoked,
}
