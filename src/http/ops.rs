//! Health and readiness.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use warp::http::StatusCode;
use warp::http::header::CONTENT_TYPE;
use warp::reply::Response;

use super::{Deps, answer};

/// How long `/readyz` waits for the journal's writer, in seconds.
const PROBE_SECONDS_MAX: u64 = 2;

/// Whether the daemon is stopping: set once, by whoever runs the drain.
#[derive(Debug, Default)]
pub struct Readiness {
    draining: AtomicBool,
}

impl Readiness {
    /// From now on `/readyz` says no and live status streams end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }
    /// Whether the daemon is stopping.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// GET /healthz: the process and its loop turn.
pub(crate) fn healthy() -> Response {
    answer::json(StatusCode::OK, &json!({"status": "ok"}))
}

/// GET /readyz: the ledger can commit, and the daemon is not stopping. CinetPay or SMTP down is degraded, not unready.
pub(crate) async fn ready(deps: &Deps) -> Response {
    let reason = if deps.readiness.draining() {
        Some("draining".to_owned())
    } else {
        match tokio::time::timeout(Duration::from_secs(PROBE_SECONDS_MAX), deps.ledger.probe()).await {
            Ok(Ok(())) => {
                let health = deps.ledger.health();
                (!health.can_commit)
                    .then(|| health.reason.unwrap_or_else(|| "the ledger cannot commit".to_owned()))
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the journal's writer does not answer".to_owned()),
        }
    };
    match reason {
        None => answer::json(StatusCode::OK, &json!({"status": "ready"})),
        Some(reason) => {
            answer::json(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "unready", "reason": reason}))
        }
    }
}

/// GET /metrics.
pub(crate) fn metrics(deps: &Deps) -> Response {
    let mut answer = answer::text(StatusCode::OK, (deps.metrics)());
    answer::set(&mut answer, CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    answer
}
