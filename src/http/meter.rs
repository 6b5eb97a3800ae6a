//! What the listeners answer, counted.

use tokio::time::Instant;
use warp::reply::Response;

/// Counts an answer and how long it took until its head was ready.
pub(crate) fn answered(listener: &'static str, since: Instant, answer: &Response) {
    let status = answer.status().as_u16();
    let class = match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    metrics::counter!("auditshield_http_requests_total", "listener" => listener, "class" => class)
        .increment(1);
    metrics::histogram!("auditshield_http_request_duration_seconds", "listener" => listener)
        .record(since.elapsed().as_secs_f64());
    let reason = match status {
        401 => Some("unauthorized"),
        408 => Some("slow"),
        413 => Some("too_large"),
        429 => Some("rate"),
        503 => Some("unavailable"),
        _ => None,
    };
    if let Some(reason) = reason {
        metrics::counter!("auditshield_refused_requests_total", "reason" => reason).increment(1);
    }
}
