//! The language switch: a plain link with `?lang=`, remembered in a cookie, so that it works without scripts.

use warp::http::HeaderValue;
use warp::http::header::{CONTENT_TYPE, SET_COOKIE};
use warp::reply::Response;

use super::Deps;
use super::call::{Call, lang_named};
use crate::domain::values::Lang;

/// The cookie's name.
pub(crate) const COOKIE_NAME: &str = "lang";
/// How long a choice is remembered, in days.
const CHOICE_DAYS_MAX: u64 = 365;

/// The language that this request chose, if it did.
pub(crate) fn chosen(call: &Call) -> Option<Lang> {
    if call.looks() { call.query().get("lang").and_then(lang_named) } else { None }
}

/// Has the browser remember the choice. Only with pages: programs keep no cookies.
pub(crate) fn remember(deps: &Deps, chosen: Option<Lang>, answer: &mut Response) {
    let kind = answer.headers().get(CONTENT_TYPE);
    let page = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let Some(lang) = chosen.filter(|_| page) else { return };
    let code = match lang {
        Lang::Fr => "fr",
        Lang::En => "en",
    };
    if let Some(value) = cookie(deps, COOKIE_NAME, code, "/", CHOICE_DAYS_MAX) {
        answer.headers_mut().append(SET_COOKIE, value);
    }
}

/// A cookie that no script reads and no other site's form sends; zero days remove it. `value` and `path` are ours: no separators in them.
pub(crate) fn cookie(deps: &Deps, name: &str, value: &str, path: &str, days: u64) -> Option<HeaderValue> {
    let seconds = days * 24 * 3600;
    let secure = if deps.settings.secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&text).ok()
}
