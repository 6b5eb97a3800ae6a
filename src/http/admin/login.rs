//! The door: the admin token for a session, and the way out.

use askama::Template;
use warp::http::StatusCode;
use warp::http::header::{HeaderValue, SET_COOKIE};
use warp::reply::Response;

use super::desk::{Desk, NOBODY_NAMED, form, own};
use super::session::SESSION_HOURS_MAX;
use super::{COOKIE_NAME, Office, acts, cookie, unauthorized};
use crate::http::answer::{self, Problem};
use crate::http::call::{Call, Fields};

/// The first page.
const HOME: &str = "/admin/";
/// Longest address that a login leads to, in bytes.
const NEXT_BYTES_MAX: usize = 120;

#[derive(Template)]
#[template(path = "admin_login.html")]
struct Login<'a> {
    desk: Desk,
    message: &'a str,
    name: &'a str,
    /// Where to go once inside.
    next: &'a str,
}

/// The login form, for a page that nobody sees without it.
pub(super) fn page(call: &Call) -> Response {
    if call.accepts_json() {
        return unauthorized(call);
    }
    let wanted = format!("/{}/", call.segments.join("/"));
    let next = if call.looks() { inner(&wanted) } else { HOME };
    let login = Login { desk: Desk::outside(call), message: "", name: "", next };
    own(answer::page(StatusCode::UNAUTHORIZED, &login))
}

/// POST /admin/login/: the token for a session.
pub(super) async fn enter(office: &Office, mut call: Call) -> Response {
    let desk = Desk::outside(&call);
    if let Err(problem) = office.deps.pass(&office.deps.gates.login, &call) {
        return desk.refuse(&call, &problem);
    }
    let fields = match form(&mut call).await {
        Ok(fields) => fields,
        Err(problem) => return desk.refuse(&call, &problem),
    };
    if !office.deps.admin_token.is(fields.get("token").unwrap_or_default().trim()) {
        tracing::warn!("a login to the dashboard failed");
        if call.accepts_json() {
            return unauthorized(&call);
        }
        let message = desk.say("Ce jeton n’est pas le bon.", "This is not the token.");
        return again(&desk, StatusCode::UNAUTHORIZED, message, &fields);
    }
    let name = match acts::signer(fields.get("name").unwrap_or(NOBODY_NAMED)) {
        Ok(name) => name,
        Err(problem) => return again(&desk, problem.status, problem.text(desk.lang()), &fields),
    };
    let secret = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
    let csrf = format!("{:032x}", rand::random::<u128>());
    office.sessions.open(office.key(&secret), csrf, name, office.deps.now());
    let seconds = SESSION_HOURS_MAX * 3600;
    let mut answer = answer::see_other(inner(fields.get("next").unwrap_or(HOME)));
    let cookie = format!("{COOKIE_NAME}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict");
    if let Ok(mut value) = HeaderValue::from_str(&cookie) {
        value.set_sensitive(true);
        answer.headers_mut().insert(SET_COOKIE, value);
    }
    own(answer)
}

/// The form once more, with what is wrong.
fn again(desk: &Desk, status: StatusCode, message: &str, fields: &Fields) -> Response {
    let name = fields.get("name").unwrap_or_default();
    let next = inner(fields.get("next").unwrap_or(HOME));
    own(answer::page(status, &Login { desk: desk.clone(), message, name, next }))
}

/// POST /admin/logout/.
pub(super) async fn leave(office: &Office, call: &mut Call, desk: &Desk) -> Result<Response, Problem> {
    desk.genuine(&form(call).await?)?;
    if let Some(secret) = cookie(call) {
        office.sessions.close(&office.key(secret));
    }
    Ok(answer::see_other(HOME))
}

/// The address if it is one of the dashboard's own pages, spelled as we spell them; the first page otherwise. Nothing
/// else may follow a login: neither another host, however it is written, nor a line break.
fn inner(text: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_');
    let ours = text.strip_prefix(HOME).is_some_and(|rest| {
        let door = rest.starts_with("login") || rest.starts_with("logout");
        text.len() <= NEXT_BYTES_MAX && text.bytes().all(plain) && !text.contains("//") && !door
    });
    if ours { text } else { HOME }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_the_dashboard_and_nowhere_else() {
        let check = |text: &str, want: &str| assert_eq!(inner(text), want, "{text:?}");
        let order = "/admin/orders/01JD0QZ6Y3V9K2M4N6P8R0S2T4/";
        check(order, order);
        check("/admin/", HOME);
        check("/admin/orders/", "/admin/orders/");
        for bad in [
            "",
            "/",
            "https://evil.example/",
            "//evil.example/",
            "/admin//evil.example/",
            "/admin/../../evil",
            "/\\evil.example",
            "/admin/\\evil",
            "/admin/%0d%0aSet-Cookie:x",
            "/admin/\r\nSet-Cookie: x=1",
            "/admin/?next=//evil",
            "/admin.evil.example/",
            "/adminevil/",
            "javascript:alert(1)",
            "/admin/logout/",
            "/admin/login/",
            "http:/admin/",
        ] {
            check(bad, HOME);
        }
        check(&format!("/admin/{}", "a".repeat(NEXT_BYTES_MAX)), HOME);
    }
}
