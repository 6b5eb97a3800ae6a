//! Spans for an OpenTelemetry collector, over OTLP/HTTP with protobuf (feature `otlp`).
//!
//! Where to is OpenTelemetry's own variables' to say: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`,
//! `OTEL_EXPORTER_OTLP_HEADERS`. Without an endpoint nothing starts. It takes two threads beside `server.threads_max`.

use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
/// Ours and nobody else's: a client's spans would tell of addresses and headers.
const TARGET: &str = "auditshield";

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// The layer that exports spans; none where no endpoint is given.
///
/// # Errors
/// The endpoint or a header cannot be used.
pub(super) fn layer<S>() -> Result<Option<impl Layer<S>>, ExporterBuildError>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let given = |name: &str| std::env::var_os(name).is_some_and(|text| !text.is_empty());
    if !ENDPOINTS.iter().any(|name| given(name)) {
        return Ok(None);
    }
    // An already installed provider serves just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let exporter = SpanExporter::builder().with_http().build()?;
    let resource = Resource::builder()
        .with_service_name("auditshield")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let tracer = PROVIDER.get_or_init(|| provider).tracer(TARGET);
    let ours = Targets::new().with_target(TARGET, LevelFilter::DEBUG);
    Ok(Some(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours)))
}

/// Sends what waits. Call it once nothing more will come.
pub(super) fn flush() {
    if let Some(provider) = PROVIDER.get()
        && let Err(fault) = provider.shutdown()
    {
        tracing::warn!(%fault, "the last spans did not reach their collector");
    }
}
