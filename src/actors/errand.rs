//! One attempt at something outside: an actor that lives for one errand. Its exit state is its report, so that
//! success, crash and kill come back on one channel, exactly once.

use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::{Instrument, Span};

use crate::domain::input::Report;
use crate::ports::{PortFuture, RequestId};

/// What an errand does, and what to report if it never ends well.
pub(super) struct Errand {
    /// The attempt itself.
    pub(super) work: PortFuture<'static, Report>,
    /// The report of an errand that panicked, was killed, or took too long.
    pub(super) lost: Report,
    /// How long it may take.
    pub(super) time: Duration,
}

impl Errand {
    /// `work` under `span`, as what follows from the request that `span` names.
    pub(super) fn new(
        (cause, span): (&RequestId, Span),
        work: impl Future<Output = Report> + Send + 'static,
        lost: Report,
        time: Duration,
    ) -> Self {
        Self { work: Box::pin(cause.clone().scope(work).instrument(span)), lost, time }
    }
}

/// The actor that runs an [`Errand`].
pub(super) struct Runner(std::sync::Mutex<Option<(PortFuture<'static, Report>, Duration)>>);

impl Runner {
    /// An actor for this errand, and the report that it starts from.
    pub(super) fn new(errand: Errand) -> (Self, Report) {
        (Self(std::sync::Mutex::new(Some((errand.work, errand.time)))), errand.lost)
    }
}

impl Actor for Runner {
    type Msg = ();
    type State = Report;
    type Arguments = Report;

    /// Nothing happens here: linking may still fail afterwards.
    async fn pre_start(&self, _: ActorRef<()>, lost: Report) -> Result<Report, ActorProcessingErr> {
        Ok(lost)
    }

    /// The work, in the errand's own supervised task.
    async fn post_start(&self, myself: ActorRef<()>, report: &mut Report) -> Result<(), ActorProcessingErr> {
        let work = self.0.lock().ok().and_then(|mut work| work.take());
        if let Some((work, time)) = work
            && let Ok(done) = tokio::time::timeout(time, work).await
        {
            *report = done;
        }
        myself.stop(None);
        Ok(())
    }
}
