//! What an order actor is told, and what it keeps of it.

use ractor::{ActorId, ActorRef};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Span;

use crate::actors::{AskError, Reply, alarm};
use crate::domain::input::{Input, Report};
use crate::domain::values::OrderId;
use crate::ledger::Lease;
use crate::ports::RequestId;

/// What an order actor is told. Only the roster speaks to it.
pub(in crate::actors) enum Msg {
    /// Act for this order from now on.
    Sit {
        /// The order.
        order: OrderId,
        /// The number of this sitting.
        sitting: u64,
        /// Where looks go.
        alarm: Option<ActorRef<alarm::Msg>>,
        /// The first message for it.
        first: Work,
    },
    /// One more message for it.
    Work(Work),
}

/// A message for an order.
pub(in crate::actors) enum Work {
    /// From outside.
    Ask {
        /// What is asked.
        input: Input,
        /// The request that asks it.
        cause: RequestId,
        /// Its span. The message may wait, and be handed on by what another request has brought about.
        span: Span,
        /// Where the answer goes.
        reply: Reply,
    },
    /// It is due, or a duplicate asks for a look.
    Wake {
        /// Look at CinetPay even if nothing is owed yet: the duplicate's request.
        look: Option<RequestId>,
    },
}

impl Work {
    /// What its log lines stand under; a root for what no request asks.
    pub(in crate::actors) fn span(&self, cause: &RequestId) -> Span {
        match self {
            Self::Ask { span, .. } => tracing::debug_span!(parent: span, "order", request_id = %cause),
            Self::Wake { .. } => tracing::debug_span!(parent: None, "order", request_id = %cause),
        }
    }
    /// Answers without doing it.
    pub(in crate::actors) fn refuse(self, why: AskError) {
        match self {
            Self::Ask { reply, .. } => reply.send(Err(why)),
            Self::Wake { .. } => {}
        }
    }
}

/// The errand under way.
pub(super) struct Running {
    /// Its actor.
    pub(super) actor: ActorId,
    /// What it reports if it dies.
    pub(super) lost: Report,
    /// The request that it follows from.
    pub(super) cause: RequestId,
    /// Given back when it ends.
    pub(super) _permit: OwnedSemaphorePermit,
    /// That no other node runs it.
    pub(super) lease: Lease,
}

/// What a waiting caller waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The address of a payment page.
    Page,
    /// That the errand is back, however it went.
    Word,
}
