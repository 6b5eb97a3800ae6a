//! A request's way through the program: its id, its span where somebody looks at spans, and the id again in the answer.

use std::future::Future;

use tracing::Instrument;
use warp::http::header::{HeaderName, HeaderValue};
use warp::reply::Response;

use super::call::Call;
use crate::ports::{REQUEST_ID, RequestId};

const X_REQUEST_ID: HeaderName = HeaderName::from_static(REQUEST_ID);

/// Answers `call` by `route`. What is logged meanwhile, and whatever follows from it in the actors and at CinetPay,
/// carries the id that the client or a proxy gave it, or one made here.
pub(super) async fn follow<F: Future<Output = Response>>(
    listener: &'static str,
    call: Call,
    route: impl FnOnce(Call) -> F,
) -> Response {
    let id = named(&call).unwrap_or_else(RequestId::made);
    let method = call.method.as_str();
    let status = tracing::field::Empty;
    let span =
        tracing::debug_span!("request", request_id = %id, listener, method, area = area(&call), status);
    let mut answer = id.clone().scope(route(call)).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        answer.headers_mut().insert(X_REQUEST_ID, value);
    }
    answer
}

/// What the request is called already: one line of the header, and nothing that could be anything but an id.
fn named(call: &Call) -> Option<RequestId> {
    let mut lines = call.headers.get_all(X_REQUEST_ID).iter();
    let (only, more) = (lines.next()?, lines.next());
    only.to_str().ok().filter(|_| more.is_none()).and_then(RequestId::parse)
}

/// The first of the path's names, of those that are known. Not the whole path: that may open a file.
fn area(call: &Call) -> &'static str {
    const AREAS: [&str; 8] = ["buy", "payment", "download", "commande", "achats", "admin", "api", "metrics"];
    let first = call.segments.first().map(String::as_str);
    AREAS.into_iter().find(|area| first == Some(area)).unwrap_or("other")
}
