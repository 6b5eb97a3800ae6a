//! One attempt at something outside: an actor that lives for one errand. Its exit state is its report, so that
//! success, crash and kill come back on one channel, exactly once.

use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;
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
pub(super) struct Runner(std::sync::Mutex<Option<Task>>);

/// What it runs.
struct Task {
    work: PortFuture<'static, Report>,
    time: Duration,
    /// When somebody else may run it.
    end: Option<Instant>,
}

impl Runner {
    /// An actor for this errand, and the report that it starts from. From `end` on the errand is not begun, and one that
    /// is under way goes no step further.
    pub(super) fn new(errand: Errand, end: Option<Instant>) -> (Self, Report) {
        let task = Task { work: errand.work, time: errand.time, end };
        (Self(std::sync::Mutex::new(Some(task))), errand.lost)
    }
}

impl Task {
    /// Its report; none where time ran out.
    async fn run(self) -> Option<Report> {
        let work = tokio::time::timeout(self.time, self.work);
        let Some(end) = self.end else { return work.await.ok() };
        if Instant::now() >= end {
            return None;
        }
        // The end is looked at first: a process that was stopped goes on where it was.
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(end) => None,
            done = work => done.ok(),
        }
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
        let task = self.0.lock().ok().and_then(|mut task| task.take());
        if let Some(task) = task
            && let Some(done) = task.run().await
        {
            *report = done;
        }
        myself.stop(None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Runs an errand of two steps of two seconds each: how many were begun, and whether it came to its end.
    async fn run(time: u64, end: Option<u64>) -> (u32, bool) {
        let steps = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&steps);
        let work = async move {
            for _ in 0..2 {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            Report::MailAccepted { link: 1 }
        };
        let end = end.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let task = Task { work: Box::pin(work), time: Duration::from_secs(time), end };
        let done = task.run().await;
        (steps.load(Ordering::SeqCst), done.is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn an_errand_ends_with_its_time_or_its_lease() {
        assert_eq!(run(10, None).await, (2, true));
        assert_eq!(run(1, None).await, (1, false));
        assert_eq!(run(10, Some(10)).await, (2, true));
        assert_eq!(run(10, Some(1)).await, (1, false));
        assert_eq!(run(10, Some(2)).await, (1, false), "another node's turn comes before its next step");
        assert_eq!(run(10, Some(0)).await, (0, false), "it is not begun");
    }
}
