//! A request, as the routes see it: parsed lazily, its body read within limits.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use percent_encoding::percent_decode_str;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use warp::Filter;
use warp::http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName,
};
use warp::http::{Method, StatusCode};

use super::answer::Problem;
use super::serve::Peer;
use crate::domain::merchant::Merchant;
use crate::domain::values::Lang;

/// How long a client may take to send a body, in seconds.
pub(crate) const BODY_SECONDS_MAX: u64 = 10;
/// A body that is too large is read and thrown away up to this many bytes, so that the client reads our answer
/// instead of a broken connection.
const DISCARD_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Most fields in a form or a query.
const FIELDS_MAX: usize = 64;

type Body = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send + Sync>>;

/// One request.
pub(crate) struct Call {
    /// GET, POST …
    pub(crate) method: Method,
    /// The path's segments, still percent-encoded, without the empty one of a trailing slash.
    pub(crate) segments: Vec<String>,
    /// What follows the `?`.
    pub(crate) query: String,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// Who sells, for the head and the foot of pages.
    pub(crate) merchant: Arc<Merchant>,
    /// The other end of the connection; none in tests without one.
    pub(crate) peer: Option<Peer>,
    body: Body,
}

/// Form and query fields, each name once.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

/// Takes every request apart; it never rejects.
///
/// Why one filter and a `match` instead of a filter per route: a rejection in warp means "another filter may match",
/// which makes 405 and 404 guesses, and the contract wants every route with and without its trailing slash.
pub(crate) fn calls() -> impl Filter<Extract = (Call,), Error = warp::Rejection> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<Peer>())
        .and(warp::body::stream())
        .map(|method, path: warp::path::FullPath, query, headers, peer, body| Call {
            method,
            segments: segments(path.as_str()),
            query,
            headers,
            merchant: Arc::default(),
            peer,
            body: boxed(body),
        })
}

fn boxed<B: Buf>(body: impl Stream<Item = Result<B, warp::Error>> + Send + Sync + 'static) -> Body {
    Box::pin(body.map(|part| part.map(|mut buf| buf.copy_to_bytes(buf.remaining()))))
}

fn segments(path: &str) -> Vec<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

impl Call {
    /// A request without a path or a body, for the tests of those who read headers.
    #[cfg(test)]
    pub(crate) fn of(method: Method, headers: HeaderMap) -> Self {
        let (segments, query, body) = (Vec::new(), String::new(), Box::pin(futures_util::stream::empty()));
        Self { method, segments, query, headers, merchant: Arc::default(), peer: None, body }
    }
    /// A header's text, if it is there once and is text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
    /// The path's segments, to match on.
    pub(crate) fn route(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }
    /// Whether the method only looks: GET or HEAD.
    pub(crate) fn looks(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }
    /// Every cookie of this name, as sent.
    pub(crate) fn cookies<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        lines
            .flat_map(|line| line.split(';'))
            .filter_map(move |pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
    }
    /// The language that the reader chose: `?lang=`, or the cookie of an earlier choice.
    pub(crate) fn lang_chosen(&self) -> Option<Lang> {
        let asked = self.query().get("lang").and_then(lang_named);
        asked.or_else(|| self.cookies(super::language::COOKIE_NAME).find_map(lang_named))
    }
    /// The language of the answer: as chosen, else the first of French and English in Accept-Language, else French.
    pub(crate) fn lang(&self) -> Lang {
        if let Some(lang) = self.lang_chosen() {
            return lang;
        }
        let wanted = self.header(&ACCEPT_LANGUAGE).unwrap_or_default();
        wanted
            .split(',')
            .filter_map(|tag| lang_named(tag.trim().split([';', '-']).next()?))
            .next()
            .unwrap_or_default()
    }
    /// Whether the client named HTML among what it accepts, as browsers do.
    pub(crate) fn accepts_html(&self) -> bool {
        self.accepts("text/html")
    }
    /// Whether the client named JSON, and no HTML.
    pub(crate) fn accepts_json(&self) -> bool {
        !self.accepts_html() && (self.accepts("application/json") || self.accepts("application/problem+json"))
    }
    /// Whether the client named this media type.
    pub(crate) fn accepts(&self, media: &str) -> bool {
        let lines = self.headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media));
            named
                && !parts.any(|part| {
                    matches!(part.replace(' ', "").as_str(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
                })
        })
    }
    /// The body's media type in lower case, without parameters.
    pub(crate) fn content_type(&self) -> Option<String> {
        let text = self.header(&CONTENT_TYPE)?;
        Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }
    /// The query's fields; unreadable ones count as none.
    pub(crate) fn query(&self) -> Fields {
        Fields::parse(self.query.as_bytes()).unwrap_or_default()
    }

    /// The body, at most `limit` bytes of it, read within [`BODY_SECONDS_MAX`]. Chunked bodies are welcome.
    pub(crate) async fn body(&mut self, limit: usize) -> Result<Bytes, Problem> {
        self.body_within(limit, BODY_SECONDS_MAX).await
    }

    /// The same for a body that may take so many seconds.
    pub(crate) async fn body_within(&mut self, limit: usize, seconds: u64) -> Result<Bytes, Problem> {
        let length: u64 = self.header(&CONTENT_LENGTH).and_then(|text| text.parse().ok()).unwrap_or(0);
        if length > DISCARD_BYTES_MAX {
            return Err(Problem::too_large());
        }
        match tokio::time::timeout(Duration::from_secs(seconds), read(&mut self.body, limit)).await {
            Ok(read) => read,
            Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow-body").explained(
                "La requête n’est pas arrivée entière à temps.",
                "The request did not arrive in time.",
            )),
        }
    }
}

async fn read(body: &mut Body, limit: usize) -> Result<Bytes, Problem> {
    let mut bytes = BytesMut::new();
    let mut discarded: u64 = 0;
    while let Some(part) = body.next().await {
        let part = part
            .map_err(|_| Problem::bad_request("La requête est incomplète.", "The request is incomplete."))?;
        if discarded == 0 && bytes.len().saturating_add(part.len()) <= limit {
            bytes.extend_from_slice(&part);
            continue;
        }
        bytes = BytesMut::new();
        discarded = discarded.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX)).max(1);
        if discarded > DISCARD_BYTES_MAX {
            break;
        }
    }
    if discarded > 0 { Err(Problem::too_large()) } else { Ok(bytes.freeze()) }
}

/// `fr` and `en`, in any case.
pub(crate) fn lang_named(text: &str) -> Option<Lang> {
    match text.trim().to_ascii_lowercase().as_str() {
        "fr" => Some(Lang::Fr),
        "en" => Some(Lang::En),
        _ => None,
    }
}

/// A path segment, decoded; none when it is not UTF-8.
pub(crate) fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(segment).decode_utf8().ok()
}

impl Fields {
    /// Reads `a=1&b=2`. None when a name comes twice, when there are too many, or when a text is not UTF-8.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(bytes) {
            let unreadable = name.contains('\u{fffd}') || value.contains('\u{fffd}');
            if unreadable || fields.len() >= FIELDS_MAX || fields.iter().any(|(known, _)| *known == name) {
                return None;
            }
            fields.push((name.into_owned(), value.into_owned()));
        }
        Some(Self(fields))
    }
    /// Reads a JSON object; texts only, `null` counts as absent. None when a name comes twice or there are too many.
    pub(crate) fn parse_json(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
    /// What the button of a suggestion stands for, or what was typed in `name`. Whoever typed something else after the
    /// suggestion means that: the enter key presses a form's first button, whichever it is.
    pub(crate) fn taken_or_typed(&self, name: &str) -> Option<&str> {
        let typed = self.get(name);
        let untouched = typed.is_some() && self.get("checked") == typed;
        self.get("use").filter(|_| untouched).or(typed)
    }
    /// A field's text, if it is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, value)| known == name && !value.trim().is_empty())
            .map(|(_, value)| value.as_str())
    }
}

/// Why not through a map: a map keeps one of two values under the same name, and which one was meant is a guess.
impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with few names, each once")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Fields, A::Error> {
                let mut fields: Vec<(String, String)> = Vec::new();
                while let Some((name, value)) = members.next_entry::<String, serde_json::Value>()? {
                    if fields.len() >= FIELDS_MAX || fields.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom("too many names, or one of them twice"));
                    }
                    let text = match value {
                        serde_json::Value::String(text) => text,
                        serde_json::Value::Null => String::new(),
                        // Not a text: kept as one that no parser of ours takes, so that the answer names the field.
                        _ => "\u{0}".to_owned(),
                    };
                    fields.push((name, text));
                }
                Ok(Fields(fields))
            }
        }
        input.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests;
