//! The id of a request in every line of the log that is written while it is worked on.
//!
//! Why not from spans: a span for every request and every message to an order costs more than their signatures do. Spans
//! are for the level `debug` and for a collector.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::ports::RequestId;

/// Lines of JSON, with a member `request_id`.
pub(super) struct InJson<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for InJson<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(id) = RequestId::current() else { return self.0.format_event(ctx, writer, event) };
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        // An id holds nothing that JSON would write otherwise.
        match line.strip_prefix('{') {
            Some(members) => write!(writer, "{{\"request_id\":\"{id}\",{members}"),
            None => writer.write_str(&line),
        }
    }
}

/// Lines of text, with the id behind the time.
pub(super) struct BehindTime<T>(pub(super) T);

impl<T: FormatTime> FormatTime for BehindTime<T> {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        self.0.format_time(writer)?;
        match RequestId::current() {
            Some(id) => write!(writer, " {id}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::time::SystemTime;
    use tracing_subscriber::fmt::{self, MakeWriter};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Said {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Said {
        type Writer = Said;
        fn make_writer(&self) -> Said {
            self.clone()
        }
    }

    impl Said {
        fn lines(&self) -> Vec<String> {
            String::from_utf8(self.0.lock().unwrap().clone())
                .unwrap()
                .lines()
                .map(ToOwned::to_owned)
                .collect()
        }
    }

    /// Logs one line outside any request and one within.
    fn speak() {
        tracing::info!("nobody's");
        let id = RequestId::parse("the-request").unwrap();
        let told = id.scope(async { tracing::info!(kind = "PAID", "its own") });
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(told);
    }

    #[test]
    fn a_line_names_the_request_it_follows_from() {
        let said = Said::default();
        let json = fmt::layer().json().flatten_event(true).with_writer(said.clone()).map_event_format(InJson);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(json), speak);
        let lines: Vec<serde_json::Value> =
            said.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["message"], lines[0].get("request_id")), (&"nobody's".into(), None));
        assert_eq!(lines[1]["request_id"], "the-request");
        assert_eq!((&lines[1]["message"], &lines[1]["kind"]), (&"its own".into(), &"PAID".into()));

        let said = Said::default();
        let text = fmt::layer().with_ansi(false).with_writer(said.clone()).with_timer(BehindTime(SystemTime));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(text), speak);
        let [nobodys, own] = said.lines().try_into().unwrap();
        assert!(!nobodys.contains("the-request"), "{nobodys}");
        assert_eq!(own.split_whitespace().nth(1), Some("the-request"), "{own}");
    }
}
