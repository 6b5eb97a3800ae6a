//! Signs of life for the service manager: only while the journal's writer and the roster answer. Either of them stuck
//! stops every sale and every notification, and a restart is what helps.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::actors::Orders;
use crate::adapters::systemd::Supervisor;
use crate::ledger::{CommitError, Ledger};

/// Feeds `supervisor` every `pulse` until `stop`, while `answers` within it.
pub(super) async fn feed<F: Future<Output = bool>>(
    supervisor: Arc<Supervisor>,
    pulse: Duration,
    answers: impl Fn() -> F,
    stop: CancellationToken,
) {
    loop {
        if tokio::time::timeout(pulse, answers()).await == Ok(true) {
            supervisor.alive();
        } else {
            metrics::counter!("auditshield_watchdog_missed_total").increment(1);
            tracing::error!("the journal's writer or the roster does not answer: no sign of life is given");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pulse) => {}
        }
    }
}

/// Whether both answer. A full disk is an answer: a restart would not make room.
pub(super) async fn answers(orders: Orders, ledger: Ledger) -> bool {
    let writer = match ledger.probe().await {
        Ok(()) | Err(CommitError::NoRoom | CommitError::Io(_)) => true,
        Err(
            CommitError::Conflict
            | CommitError::Fenced
            | CommitError::Fold(_)
            | CommitError::TooLarge
            | CommitError::Closed
            | CommitError::Unknown
            | CommitError::Read(_)
            | CommitError::Unsealed,
        ) => false,
    };
    writer && orders.probe().await
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Signs of life in ten pulses.
    async fn signs<F: Future<Output = bool>>(answers: impl Fn() -> F) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let heard = UnixDatagram::bind(&path).unwrap();
        heard.set_nonblocking(true).unwrap();
        let get = |name: &str| (name == "NOTIFY_SOCKET").then(|| path.display().to_string());
        let supervisor = Arc::new(Supervisor::from_env(get).unwrap());
        let pulse = Duration::from_secs(10);
        let stop = CancellationToken::new();
        let fed = feed(supervisor, pulse, answers, stop.clone());
        assert!(tokio::time::timeout(pulse * 10 - pulse / 2, fed).await.is_err(), "it ended");
        let mut buffer = [0; 64];
        std::iter::from_fn(|| heard.recv(&mut buffer).ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn no_sign_of_life_without_an_answer() {
        assert_eq!(signs(|| std::future::ready(true)).await, 10);
        assert_eq!(signs(|| std::future::ready(false)).await, 0);
        assert_eq!(signs(std::future::pending::<bool>).await, 0);
        // Stuck once, then well again: the pulse that was waited for and nothing more.
        let asked = AtomicUsize::new(0);
        let once = || async {
            if asked.fetch_add(1, Ordering::Relaxed) == 0 {
                std::future::pending::<()>().await;
            }
            true
        };
        assert_eq!(signs(once).await, 8);
    }
}
