//! Logs to standard error, and the names of the metrics.

mod named;
#[cfg(feature = "otlp")]
mod otlp;
pub mod process;

use std::io::IsTerminal;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::LogFormat;

/// Buckets of waits, in seconds: from a local disk's sync to a payment provider that hangs.
const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Buckets of batch sizes.
const SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A wait, in seconds.
    Seconds,
    /// A size.
    Size,
}

/// Every metric: kind, name, help. A name that is counted but not listed here fails `tests/tidy.rs`.
pub const METRICS: &[(Kind, &str, &str)] = &[
    (Kind::Gauge, "auditshield_build_info", "1, labelled with version."),
    (Kind::Counter, "auditshield_reloads_total", "Times the settings were read again, by outcome."),
    (
        Kind::Counter,
        "auditshield_watchdog_missed_total",
        "Times the journal's writer or the roster did not answer.",
    ),
    (Kind::Counter, "auditshield_events_total", "Committed events by kind."),
    (
        Kind::Counter,
        "auditshield_invariant_violations_total",
        "Laws broken by commits; each is a line of the log.",
    ),
    (Kind::Counter, "auditshield_asks_refused_total", "Requests refused because too much was under way."),
    (Kind::Gauge, "auditshield_actors_seated", "Orders that have something to do, each in its actor."),
    (Kind::Counter, "auditshield_actor_restarts_total", "Actors replaced after a panic."),
    (
        Kind::Counter,
        "auditshield_commit_conflicts_total",
        "Commits decided again because another node was first.",
    ),
    (
        Kind::Counter,
        "auditshield_commits_fenced_total",
        "Reports dropped because another node had the errand.",
    ),
    (
        Kind::Counter,
        "auditshield_acknowledged_lost_total",
        "Commits that were answered as done and that the database no longer holds.",
    ),
    (
        Kind::Counter,
        "auditshield_commits_exhausted_total",
        "Messages refused because other nodes were first in every round.",
    ),
    (
        Kind::Size,
        "auditshield_commit_rounds",
        "Rounds until a decision was committed, other nodes being first.",
    ),
    (Kind::Gauge, "auditshield_nodes", "Nodes as this one sees them, by state: alive or silent."),
    (Kind::Gauge, "auditshield_leases_held", "Errands that this node has the right to run."),
    (
        Kind::Counter,
        "auditshield_leases_taken_over_total",
        "Errands taken over from a node whose lease was over.",
    ),
    (Kind::Seconds, "auditshield_database_round_trip_seconds", "How long the database took to answer."),
    (Kind::Gauge, "auditshield_pulse_age_seconds", "How long ago the database last heard of this node."),
    (
        Kind::Gauge,
        "auditshield_clock_skew_seconds",
        "How far the database's clock is ahead of this machine's.",
    ),
    (
        Kind::Gauge,
        "auditshield_overdue_orders",
        "Orders of the cluster that are overdue and that nobody is at.",
    ),
    (
        Kind::Gauge,
        "auditshield_oldest_overdue_seconds",
        "How long the oldest overdue order of the cluster has been due.",
    ),
    (Kind::Gauge, "auditshield_orders_waiting", "Orders that wait for an actor."),
    (Kind::Gauge, "auditshield_orders_benched", "Orders set aside after repeated panics."),
    (Kind::Gauge, "auditshield_ledger_can_commit", "1 while the ledger can commit."),
    (Kind::Counter, "auditshield_paid_total", "Orders paid, by what told of it: notification or polling."),
    (Kind::Gauge, "auditshield_paid_unheard", "Orders paid in a row of which no notification told."),
    (Kind::Counter, "auditshield_webhooks_total", "Notifications by outcome."),
    (Kind::Counter, "auditshield_spool_total", "Notifications read from the spool, by outcome."),
    (Kind::Gauge, "auditshield_spool_waiting", "Notifications in the spool."),
    (Kind::Gauge, "auditshield_orders", "Orders by status."),
    (Kind::Gauge, "auditshield_oldest_pending_seconds", "Age of the oldest order without a verdict."),
    (
        Kind::Gauge,
        "auditshield_oldest_undelivered_seconds",
        "How long the oldest paid order has waited for its mail to be taken.",
    ),
    (
        Kind::Gauge,
        "auditshield_oldest_unverified_seconds",
        "Age of the oldest order with a notification and without a verdict.",
    ),
    (Kind::Counter, "auditshield_checks_total", "Checks at CinetPay by verdict."),
    (Kind::Seconds, "auditshield_check_seconds", "How long a check took."),
    (Kind::Counter, "auditshield_inits_total", "Payment pages asked for, by outcome."),
    (Kind::Gauge, "auditshield_breaker_open", "1 while CinetPay is taken to be down."),
    (Kind::Counter, "auditshield_mails_total", "Mails by outcome."),
    (
        Kind::Counter,
        "auditshield_mails_held_total",
        "Times a mail had to wait because of the hourly limit, by mail: delivery or reminder.",
    ),
    (Kind::Counter, "auditshield_mails_fallback_total", "Mails handed to the second server."),
    (Kind::Counter, "auditshield_downloads_total", "Downloads started or refused, by outcome."),
    (Kind::Gauge, "auditshield_http_connections", "Connections open, by listener."),
    (
        Kind::Counter,
        "auditshield_http_connections_cut_total",
        "Connections cut because the listener was full, by listener.",
    ),
    (Kind::Gauge, "auditshield_clients_remembered", "Client addresses remembered, by rate limit."),
    (Kind::Counter, "auditshield_http_requests_total", "Requests by listener and status class."),
    (
        Kind::Seconds,
        "auditshield_http_request_duration_seconds",
        "How long a request took, to the answer's head.",
    ),
    (Kind::Counter, "auditshield_refused_requests_total", "Requests refused, by reason."),
    (Kind::Counter, "auditshield_journal_commits_total", "Commits, by outcome."),
    (Kind::Size, "auditshield_journal_batch_size", "Commits per write and sync."),
    (Kind::Seconds, "auditshield_journal_sync_seconds", "How long a sync took."),
    (Kind::Gauge, "auditshield_journal_queue_depth", "Commits that wait for the writer."),
    (Kind::Gauge, "auditshield_journal_healthy", "1 while the journal can commit."),
    (Kind::Gauge, "auditshield_index_lag", "Journal lines not yet in the index."),
    (Kind::Gauge, "auditshield_store_free_bytes", "Free room on the store's disk."),
    (Kind::Gauge, "auditshield_store_size_bytes", "Size of the store's disk."),
    (Kind::Counter, "auditshield_index_rebuilds_total", "Times the index was made anew."),
];

/// Changes the running log's filter.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Series that alerts compare with their own past. One that first appears at 1 has no past, and its alert would not see
/// that first time: so they begin at 0.
const FROM_ZERO: &[(&str, &str, &[&str])] = &[
    ("auditshield_reloads_total", "outcome", &["applied", "refused"]),
    ("auditshield_paid_total", "heard", &["notification", "polling"]),
    ("auditshield_journal_commits_total", "outcome", &["ok", "no_room", "io", "fatal"]),
    ("auditshield_mails_total", "outcome", &["accepted", "refused", "unavailable"]),
    ("auditshield_mails_held_total", "mail", &["delivery", "reminder"]),
    (
        "auditshield_webhooks_total",
        "outcome",
        &["accepted", "duplicate", "forged", "unsigned", "unavailable"],
    ),
];

/// Starts the log: text on a terminal, JSON otherwise, filtered by `level`. A second call changes nothing.
pub fn logs(level: &str, format: LogFormat) {
    let (filter, handle) = reload::Layer::new(filter(level));
    let terminal = std::io::stderr().is_terminal();
    let text = match format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let layer = if text {
        let time = named::BehindTime(SystemTime);
        fmt::layer().with_timer(time).with_writer(std::io::stderr).with_ansi(terminal).boxed()
    } else {
        let json = fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
        json.map_event_format(named::InJson).boxed()
    };
    let registry = tracing_subscriber::registry().with(layer.with_filter(filter));
    #[cfg(feature = "otlp")]
    let (registry, fault) = match otlp::layer() {
        Ok(spans) => (registry.with(spans), None),
        Err(fault) => (registry.with(None), Some(fault)),
    };
    // Fails only where a log runs already: tests, and a demo that starts a daemon inside itself.
    if registry.try_init().is_ok() {
        // Set once, by the log that runs.
        let _ = FILTER.set(handle);
    }
    #[cfg(feature = "otlp")]
    if let Some(fault) = fault {
        tracing::warn!(%fault, "no spans are exported: OTEL_EXPORTER_OTLP_ENDPOINT or its headers cannot be used");
    }
}

/// Sends what still waits for a collector; nothing without the feature `otlp`. Call it once nothing more will come.
pub fn flush() {
    #[cfg(feature = "otlp")]
    otlp::flush();
}

/// From now on a panic is a line of the log, with its thread and place, and with a backtrace where `RUST_BACKTRACE` asks
/// for one. Why not the standard library's text: it would stand between the lines of JSON. In the threads named
/// `expected` one is a warning: whoever started them says what follows from it.
pub fn panics(expected: &'static str) {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        let said = panic.payload_as_str().unwrap_or("no text");
        if thread == expected {
            tracing::warn!(thread, said, "a library gave up");
            return;
        }
        let at = panic.location().map(ToString::to_string);
        let trace = std::backtrace::Backtrace::capture();
        let trace = (trace.status() == std::backtrace::BacktraceStatus::Captured).then(|| trace.to_string());
        tracing::error!(thread, at, trace, "panicked: {said}");
    }));
}

/// From now on the log is filtered by `level`. False where no log of ours runs.
pub fn refilter(level: &str) -> bool {
    FILTER.get().is_some_and(|handle| handle.reload(filter(level)).is_ok())
}

fn filter(level: &str) -> Targets {
    level.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO))
}

/// Starts the metrics of this process, once; `handle.render()` is the text of `/metrics`.
///
/// # Errors
/// When another recorder was installed first.
pub fn metrics() -> Result<PrometheusHandle, BuildError> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    process::begin();
    let mut builder = PrometheusBuilder::new();
    for (kind, name, _) in METRICS {
        let buckets: &[f64] = match kind {
            Kind::Seconds => &SECONDS,
            Kind::Size => &SIZES,
            Kind::Counter | Kind::Gauge => continue,
        };
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)?;
    }
    let handle = builder.install_recorder()?;
    describe();
    Ok(HANDLE.get_or_init(|| handle).clone())
}

fn describe() {
    for (kind, name, help) in METRICS {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *help),
            Kind::Gauge => metrics::describe_gauge!(*name, *help),
            Kind::Seconds => metrics::describe_histogram!(*name, metrics::Unit::Seconds, *help),
            Kind::Size => metrics::describe_histogram!(*name, *help),
        }
    }
    // Counted seldom: without a first value a scrape would not show them, and an alert on them would know nothing.
    metrics::counter!("auditshield_asks_refused_total").increment(0);
    metrics::counter!("auditshield_invariant_violations_total").increment(0);
    metrics::counter!("auditshield_watchdog_missed_total").increment(0);
    metrics::counter!("auditshield_mails_fallback_total").increment(0);
    metrics::gauge!("auditshield_paid_unheard").set(0.0);
    metrics::gauge!("auditshield_orders_benched").set(0.0);
    for (name, label, values) in FROM_ZERO {
        for value in *values {
            metrics::counter!(*name, *label => *value).increment(0);
        }
    }
    metrics::counter!("auditshield_actor_restarts_total").increment(0);
    metrics::counter!("auditshield_index_rebuilds_total").increment(0);
    metrics::gauge!("auditshield_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// The value of a gauge without labels, in Prometheus' text format.
pub fn gauge(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_prometheus() {
        let mut seen = BTreeSet::new();
        for (kind, name, help) in METRICS {
            assert!(seen.insert(name), "{name} twice");
            assert!(name.starts_with("auditshield_") && help.ends_with('.'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(*kind != Kind::Seconds || name.ends_with("_seconds"), "{name}");
        }
    }

    #[test]
    fn a_gauge_is_found_by_its_whole_name() {
        let text =
            "auditshield_paid_unheard_not 9\n# auditshield_paid_unheard 8\nauditshield_paid_unheard 4\n";
        assert_eq!(gauge(text, "auditshield_paid_unheard"), Some(4.0));
        assert_eq!(gauge("", "auditshield_paid_unheard"), None);
    }

    #[test]
    fn rendered_with_help_and_buckets() {
        let handle = metrics().unwrap_or_else(|fault| panic!("{fault}"));
        metrics::histogram!("auditshield_check_seconds").record(0.2);
        let text = handle.render();
        assert!(text.contains("# TYPE auditshield_check_seconds histogram"), "{text}");
        assert!(text.contains("auditshield_check_seconds_bucket{le=\"0.25\"} 1"), "{text}");
        assert!(
            text.contains(concat!("auditshield_build_info{version=\"", env!("CARGO_PKG_VERSION"))),
            "{text}"
        );
        assert!(metrics().is_ok(), "a second call gives the same recorder");
    }
}
