//! What a listener answers, counted.

use metrics::{Counter, Histogram, counter, histogram};
use tokio::time::Instant;
use warp::reply::Response;

/// One listener's counters, looked up once: every request passes here.
pub(crate) struct Meter {
    /// By the status' first digit.
    classes: [Counter; 5],
    duration: Histogram,
}

impl Meter {
    pub(crate) fn of(listener: &'static str) -> Self {
        let class =
            |class| counter!("auditshield_http_requests_total", "listener" => listener, "class" => class);
        Self {
            classes: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(class),
            duration: histogram!("auditshield_http_request_duration_seconds", "listener" => listener),
        }
    }

    /// Counts an answer and how long it took until its head was ready.
    pub(crate) fn answered(&self, since: Instant, answer: &Response) {
        let status = answer.status().as_u16();
        // Where spans go somewhere. A line of the log is written before there is a status.
        if tracing::enabled!(tracing::Level::DEBUG) {
            tracing::Span::current().record("status", status);
        }
        let class = usize::from(status / 100).clamp(1, self.classes.len()) - 1;
        self.classes[class].increment(1);
        self.duration.record(since.elapsed().as_secs_f64());
        let reason = match status {
            401 => Some("unauthorized"),
            408 => Some("slow"),
            413 => Some("too_large"),
            429 => Some("rate"),
            503 => Some("unavailable"),
            _ => None,
        };
        if let Some(reason) = reason {
            counter!("auditshield_refused_requests_total", "reason" => reason).increment(1);
        }
    }
}
