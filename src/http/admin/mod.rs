//! The admin listener: metrics and health for machines, the API and the dashboard for people with the token.

mod acts;
mod api;
mod attention;
mod dashboard;
mod desk;
mod filter;
mod home;
mod list;
mod login;
mod nodes;
mod order;
mod papers;
mod privacy;
mod session;
mod timeline;
mod view;

use std::sync::Arc;

use warp::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::answer::{self, Problem};
use super::call::Call;
use super::{Deps, assets, ops};
use desk::Desk;
use session::{Session, Sessions};

/// The session cookie's name.
const COOKIE_NAME: &str = "auditshield_session";

/// The admin listener's state.
pub(crate) struct Office {
    deps: Arc<Deps>,
    sessions: Sessions,
    walks: papers::Walks,
}

/// How a request proved that it may come in.
enum Badge {
    /// The token itself, which no other site's page can send.
    Bearer,
    /// A cookie, which a browser sends by itself: changes need the session's CSRF token too.
    Cookie(Session),
}

impl Office {
    /// A new office, nobody logged in.
    pub(crate) fn new(deps: Arc<Deps>) -> Self {
        Self { deps, sessions: Sessions::default(), walks: papers::Walks::default() }
    }

    /// What the routes need.
    pub(crate) fn deps(&self) -> &Deps {
        &self.deps
    }

    fn badge(&self, call: &Call) -> Option<Badge> {
        if let Some(given) = call.header(&AUTHORIZATION) {
            let (scheme, token) = given.split_once(' ')?;
            let right = scheme.eq_ignore_ascii_case("bearer") && self.deps.admin_token.is(token.trim());
            return right.then_some(Badge::Bearer);
        }
        let given = cookie(call)?;
        self.sessions.find(&self.key(given), self.deps.now()).map(Badge::Cookie)
    }

    /// Sessions are kept by the hash of their secret: looking one up then tells nothing by its time.
    fn key(&self, secret: &str) -> String {
        (self.deps.seals.hash)(format!("admin-session\n{secret}").as_bytes())
    }
}

fn cookie(call: &Call) -> Option<&str> {
    call.cookies(COOKIE_NAME).next()
}

/// Every route of the listener.
pub(crate) async fn route(office: &Office, call: Call) -> Response {
    match call.route().as_slice() {
        ["metrics"] if call.looks() => ops::metrics(&office.deps),
        ["healthz"] if call.looks() => ops::healthy(),
        ["readyz"] if call.looks() => ops::ready(&office.deps).await,
        ["assets", name] if call.looks() => assets::get(&call, name),
        [] if call.looks() => answer::see_other("/admin/"),
        [] | ["metrics" | "healthz" | "readyz"] | ["assets", _] => {
            refuse(&call, &Problem::method("GET, HEAD"))
        }
        ["admin", "login"] if call.method == Method::POST => login::enter(office, call).await,
        path if papers::owns(path) => match office.badge(&call) {
            Some(badge) => papers::route(office, call, badge).await,
            None => login::page(&call),
        },
        ["admin", ..] => match office.badge(&call) {
            Some(badge) => dashboard::route(office, call, badge).await,
            None => login::page(&call),
        },
        ["api", ..] => match office.badge(&call) {
            Some(badge) => api::route(office, call, badge).await,
            None => unauthorized(&call),
        },
        _ => refuse(&call, &Problem::not_found()),
    }
}

/// A problem outside the dashboard: JSON where nothing was asked for.
fn refuse(call: &Call, problem: &Problem) -> Response {
    if call.accepts_html() { Desk::outside(call).refuse(call, problem) } else { problem.json(call.lang()) }
}

fn unauthorized(call: &Call) -> Response {
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized").explained(
        "Le jeton d’administration manque ou est faux (Authorization: Bearer …).",
        "The admin token is missing or wrong (Authorization: Bearer …).",
    );
    let mut answer = problem.json(call.lang());
    answer::set(&mut answer, WWW_AUTHENTICATE, "Bearer");
    answer
}

/// 403 for a change by cookie without the session's CSRF token.
fn strange_form() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "csrf").explained(
        "Ce formulaire ne vient pas de cette session. Rechargez la page et recommencez.",
        "This form does not come from this session. Reload the page and try again.",
    )
}

#[cfg(test)]
mod tests;
