//! POST /payment/callback/: CinetPay says that something happened. It only ever means "go and look at this order".

use std::sync::Arc;

use serde_json::json;
use tracing::Instrument;
use warp::http::StatusCode;
use warp::http::header::HeaderName;
use warp::reply::Response;

use super::answer::{self, Problem};
use super::call::Call;
use super::{Deps, Heard, Site, Unheard};
use crate::actors::{AskError, Notified};
use crate::domain::decide::Refusal;
use crate::domain::input::Notice;
use crate::ports::RequestId;

/// Largest notification, in bytes. CinetPay's have less than 2 KiB.
pub(crate) const NOTICE_BYTES_MAX: usize = 64 * 1024;
const X_TOKEN: HeaderName = HeaderName::from_static("x-token");

/// Verifies, commits, answers: in this order. Nothing of the form is trusted but the order's number.
pub(crate) async fn hear(site: &Arc<Site>, mut call: Call) -> Response {
    let body = match call.body(NOTICE_BYTES_MAX).await {
        Ok(body) => body,
        Err(problem) => {
            count("unreadable");
            return problem.answer(&call);
        }
    };
    let token = match call.headers.get_all(X_TOKEN).iter().count() {
        1 => call.headers.get(X_TOKEN).map(|value| value.as_bytes()),
        _ => None,
    };
    match (site.deps.seals.notice)(&body, token) {
        Ok(heard) if heard.trial.is_some() => tried(site, &call, &body, heard),
        Ok(heard) => notify(site, &call, heard).await,
        Err(why) => refuse(site, &call, why),
    }
}

/// 400, or 429 for a client that keeps trying: genuine notifications have no part in that limit.
fn refuse(site: &Site, call: &Call, why: Unheard) -> Response {
    count(match why {
        Unheard::Missing => "unsigned",
        Unheard::Signature => "forged",
        Unheard::Form => "unreadable",
    });
    if let Err(problem) = site.deps.pass(&site.deps.gates.unsigned, call) {
        return problem.answer(call);
    }
    tracing::warn!(?why, "a notification was refused");
    let problem = match why {
        Unheard::Missing => {
            Problem::bad_request("La signature x-token manque.", "The x-token signature is missing.")
        }
        Unheard::Signature => {
            Problem::bad_request("La signature x-token est fausse.", "The x-token signature is wrong.")
        }
        Unheard::Form => Problem::bad_request("Le formulaire est illisible.", "The form is unreadable."),
    };
    problem.answer(call)
}

/// A notification of `auditshield doctor`: it carries our secret's signature, belongs to no order, and is answered with
/// what arrived here, so that whoever stands in between and rewrites or hides something is found out. The hash shows
/// that this daemon answered, and no page on the way.
fn tried(site: &Site, call: &Call, body: &[u8], heard: Heard) -> Response {
    count("trial");
    let client = call.peer.map(|peer| (site.deps.gates.client)(&call.headers, peer));
    let seen = json!({
        "trial": heard.trial,
        "site": heard.site_id == site.deps.site_id,
        "body_hash": (site.deps.seals.hash)(body),
        "client": client,
    });
    answer::json(StatusCode::OK, &seen)
}

async fn notify(site: &Site, call: &Call, heard: Heard) -> Response {
    match commit(&site.deps, heard).await {
        Some(outcome) => {
            count(outcome);
            answer::text(StatusCode::OK, "OK")
        }
        None => {
            count("unavailable");
            Problem::unavailable().answer(call)
        }
    }
}

/// Hands a verified notification to its order. The outcome, once it is durable or needs not be; none when it cannot be
/// committed now.
async fn commit(deps: &Deps, heard: Heard) -> Option<&'static str> {
    if heard.site_id != deps.site_id {
        tracing::warn!("a notification for another site id was ignored");
        return Some("foreign_site");
    }
    let Some(transaction) = heard.transaction else {
        tracing::warn!("a notification for a transaction that is not ours was ignored");
        return Some("unknown_order");
    };
    let order = transaction.order;
    let notice = Notice { attempt: transaction.attempt, digest: heard.digest };
    failpoint!("callback.before_append");
    let outcome = deps.orders.notify(order, notice).await;
    failpoint!("callback.before_answer" if outcome.is_ok());
    match outcome {
        Ok(Notified::Known) => Some("duplicate"),
        Ok(Notified::New) => Some("accepted"),
        Err(AskError::Refused(Refusal::UnknownOrder)) => {
            tracing::warn!(%order, "a notification for an unknown order was ignored");
            Some("unknown_order")
        }
        Err(AskError::Refused(refusal)) => {
            tracing::info!(%order, %refusal, "a notification changed nothing");
            Some("ignored")
        }
        Err(
            error @ (AskError::Busy
            | AskError::Gone
            | AskError::Late
            | AskError::NoRoom
            | AskError::NotOpened(_)),
        ) => {
            tracing::error!(%order, ?error, "a notification could not be committed");
            None
        }
    }
}

/// What became of a notification that did not come over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ingested {
    /// Durable, or of no consequence: it may be forgotten.
    Done,
    /// Not believed: no signature of ours.
    Refused,
    /// The ledger cannot commit it now.
    Later,
}

/// Hears a notification that somebody kept while this daemon was down, as if it had come by itself. Its request was
/// another program's: here it has an id of its own.
pub async fn ingest(deps: &Deps, body: &[u8], token: &[u8]) -> Ingested {
    let id = RequestId::made();
    let span = tracing::error_span!("spool", request_id = %id);
    id.scope(hear_kept(deps, body, token)).instrument(span).await
}

async fn hear_kept(deps: &Deps, body: &[u8], token: &[u8]) -> Ingested {
    if body.len() > NOTICE_BYTES_MAX {
        return Ingested::Refused;
    }
    match (deps.seals.notice)(body, Some(token)) {
        Ok(heard) if heard.trial.is_some() => Ingested::Done,
        Ok(heard) => match commit(deps, heard).await {
            Some(outcome) => {
                count(outcome);
                Ingested::Done
            }
            None => Ingested::Later,
        },
        Err(why) => {
            tracing::warn!(?why, "a notification from the spool was refused");
            Ingested::Refused
        }
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("auditshield_webhooks_total", "outcome" => outcome).increment(1);
}
