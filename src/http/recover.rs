//! `/achats/`: « Retrouver mes achats ». An address goes in; the links go to that address and nowhere else.
//!
//! Why the answer takes a fixed time: whether somebody bought here is nobody else's affair, and a clock could tell.

use std::sync::Arc;
use std::time::Duration;

use warp::http::StatusCode;
use warp::reply::Response;

use super::answer::{self, Problem};
use super::call::{Call, Fields};
use super::pages::{Frame, Recover};
use super::{Deps, Site};
use crate::domain::input::Input;
use crate::domain::values::{Email, OrderId};
use crate::ledger::Query;

/// How long every answer takes, in milliseconds.
pub(crate) const ANSWER_MILLIS: u64 = 500;
/// How long the search and the commits may take within that, in milliseconds.
const WORK_MILLIS_MAX: u64 = 450;
/// Purchases found again at one time, the newest.
const ORDERS_MAX: usize = 5;
/// Largest form, in bytes.
const FORM_BYTES_MAX: usize = 4 * 1024;

/// The form.
pub(crate) fn form(call: &Call) -> Response {
    shown(call, StatusCode::OK, false, "", "")
}

/// POST: always the same answer to an address, after the same time.
pub(crate) async fn ask(site: &Arc<Site>, mut call: Call) -> Response {
    if let Err(problem) = site.deps.pass(&site.deps.gates.recover, &call) {
        return problem.answer_page(&call);
    }
    let fields = match call.body(FORM_BYTES_MAX).await {
        Ok(body) => Fields::parse(&body).unwrap_or_default(),
        Err(problem) => return problem.answer_page(&call),
    };
    let typed = fields.get("email").unwrap_or_default();
    let Ok(email) = Email::parse(typed) else {
        let problem = Problem::field(
            "email",
            "Cette adresse e-mail n’est pas valable.",
            "This e-mail address is not valid.",
        );
        if call.accepts_json() {
            return problem.json(call.lang());
        }
        let text = problem.text(call.lang()).to_owned();
        return shown(&call, StatusCode::BAD_REQUEST, false, &text, typed);
    };
    let work = tokio::time::timeout(Duration::from_millis(WORK_MILLIS_MAX), send(&site.deps, &email));
    let (done, ()) = tokio::join!(work, tokio::time::sleep(Duration::from_millis(ANSWER_MILLIS)));
    if done.is_err() {
        tracing::warn!("looking for purchases took too long and was cut short");
    }
    shown(&call, StatusCode::OK, true, "", "")
}

fn shown(call: &Call, status: StatusCode, sent: bool, message: &str, email: &str) -> Response {
    let frame = Frame::of(call).switching("/achats/?".to_owned());
    answer::page(status, &Recover { frame, sent, message, email })
}

/// Has the mail of each paid order of this address sent again, to the address that the order has.
async fn send(deps: &Deps, email: &Email) {
    let (mut sent, found) = (0_u32, paid(deps, email).await);
    for order in &found {
        match deps.orders.submit(*order, Input::SendAgain).await {
            Ok(_) => sent += 1,
            // Sent a moment ago, used up or withdrawn: nothing is sent, and nobody is told.
            Err(error) => tracing::debug!(%order, ?error, "a purchase was not sent again"),
        }
    }
    tracing::info!(found = found.len(), sent, "purchases were looked for");
}

async fn paid(deps: &Deps, email: &Email) -> Vec<OrderId> {
    let query = Query {
        status: Some("PAID".to_owned()),
        q: Some(email.expose().to_owned()),
        limit: ORDERS_MAX,
        ..Query::default()
    };
    let ledger = deps.ledger.clone();
    match tokio::task::spawn_blocking(move || ledger.list(&query)).await {
        Ok(Ok(page)) => page.orders.iter().map(|payment| payment.id).collect(),
        Ok(Err(error)) => {
            tracing::error!(%error, "purchases could not be looked for");
            Vec::new()
        }
        Err(error) => {
            tracing::error!(%error, "looking for purchases died");
            Vec::new()
        }
    }
}
