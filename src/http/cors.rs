//! Which scripts of other sites may call us. Plain forms need no permission and get none.

use warp::http::StatusCode;
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderValue, ORIGIN, VARY,
};
use warp::reply::Response;

use super::Deps;
use super::answer::{Problem, set, text};
use super::call::Call;

/// The `Origin` header, if the operator allows it.
fn allowed<'a>(deps: &Deps, call: &'a Call) -> Option<&'a HeaderValue> {
    let origin = call.headers.get(ORIGIN)?;
    let text = origin.to_str().ok()?;
    deps.settings.allowed_origins.iter().any(|known| known.trim_end_matches('/') == text).then_some(origin)
}

/// Lets an allowed origin's script read `answer`.
pub(crate) fn open(deps: &Deps, call: &Call, mut answer: Response) -> Response {
    if !deps.settings.allowed_origins.is_empty() {
        answer.headers_mut().append(VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = allowed(deps, call) {
        answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        set(&mut answer, ACCESS_CONTROL_EXPOSE_HEADERS, "Retry-After");
    }
    answer
}

/// Answers a browser that asks before it sends.
pub(crate) fn preflight(deps: &Deps, call: &Call) -> Response {
    if allowed(deps, call).is_none() {
        return Problem::new(StatusCode::FORBIDDEN, "origin-not-allowed")
            .explained("Cette origine n’est pas autorisée.", "This origin is not allowed.")
            .json(call.lang());
    }
    let mut answer = open(deps, call, text(StatusCode::NO_CONTENT, ""));
    set(&mut answer, ACCESS_CONTROL_ALLOW_METHODS, "GET, POST");
    set(&mut answer, ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, Accept, Idempotency-Key");
    set(&mut answer, ACCESS_CONTROL_MAX_AGE, "600");
    answer
}
