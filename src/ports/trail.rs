//! Whose doing it is: the id of the HTTP request from which a log line or a call to somebody else follows.
//!
//! Why a task-local and no argument of the ports: it decides nothing. Whoever logs or calls out may look at it, and
//! everything works the same without one.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

/// The header that carries it, in and out.
pub const REQUEST_ID: &str = "x-request-id";
/// Longest id that is taken over, in characters. nginx's have 32, a UUID 36.
const CHARS_MAX: usize = 64;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// Letters, digits, `-`, `_` and `.`, at most 64 of them: harmless in a log line, in JSON and in a header.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// What somebody else calls it; none when it could be anything but an id.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        let fits = (1..=CHARS_MAX).contains(&text.len()) && text.bytes().all(plain);
        fits.then(|| Self(text.into()))
    }

    /// A new one, for what nobody named or what follows from no request: 32 hex digits.
    pub fn made() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()).into())
    }

    /// The one that the running work follows from.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Does `work` as what follows from this request.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_stand_in_a_log_is_taken_over() {
        let longest = "x".repeat(CHARS_MAX);
        let longer = "x".repeat(CHARS_MAX + 1);
        for (text, taken) in [
            ("0af7651916cd43dd8448eb211c80319c", true),
            ("9b2e4c1a-0000-4f6e-8b8b-1d2c3b4a5f60", true),
            ("a_b.c-1", true),
            (longest.as_str(), true),
            (longer.as_str(), false),
            ("", false),
            ("two words", false),
            ("one\ntwo", false),
            ("one\u{1b}[31mtwo", false),
            ("{\"level\":\"ERROR\"}", false),
            ("awa@example.ci", false),
            ("+2250707070707", false),
            ("é", false),
        ] {
            let parsed = RequestId::parse(text);
            assert_eq!(parsed.is_some(), taken, "{text:?}");
            assert!(parsed.is_none_or(|id| id.as_str() == text && id.to_string() == text));
        }
    }

    #[test]
    fn made_ones_differ_and_are_ids() {
        let (one, two) = (RequestId::made(), RequestId::made());
        assert_ne!(one, two);
        assert_eq!(RequestId::parse(one.as_str()), Some(one));
    }

    #[tokio::test]
    async fn it_holds_for_the_work_it_was_given_and_no_longer() {
        assert_eq!(RequestId::current(), None);
        let id = RequestId::parse("outer").unwrap();
        let inner = id.clone().scope(async {
            let inner = RequestId::parse("inner").unwrap().scope(async { RequestId::current() }).await;
            (RequestId::current(), inner)
        });
        assert_eq!(inner.await, (Some(id), RequestId::parse("inner")));
        assert_eq!(RequestId::current(), None);
    }
}
