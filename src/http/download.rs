//! `/download/<token>/`: the mailed link. Looking spends nothing; its button starts one of the downloads.

use std::sync::Arc;

use warp::http::StatusCode;
use warp::http::header::{HeaderName, REFERRER_POLICY};
use warp::reply::Response;

use super::answer::{self, Problem};
use super::call::Call;
use super::pages::{Frame, Landing};
use super::{BadToken, Deps, Site, order};
use crate::actors::AskError;
use crate::domain::decide::Refusal;
use crate::domain::input::Input;
use crate::domain::payment::{Link, LinkState, Payment, Sale, Status};
use crate::domain::values::OrderId;
use crate::domain::words;

/// Keeps links and files out of search engines.
pub(crate) const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// GET and HEAD: mail scanners come here, so nothing is spent.
pub(crate) fn landing(site: &Site, call: &Call) -> Response {
    let answer = match read(&site.deps, call).and_then(|(order, link)| ready(&site.deps, order, link)) {
        Ok((payment, link)) => {
            count("landing");
            answer::page(StatusCode::OK, &landing_page(&site.deps, call, &payment, &link))
        }
        Err(problem) => refuse(call, &problem),
    };
    private(answer)
}

/// POST: one download is spent and the file's short-lived address is given.
pub(crate) async fn start(site: &Arc<Site>, call: &Call) -> Response {
    let started = match read(&site.deps, call) {
        Ok((order, link)) => start_link(site, order, link).await,
        Err(problem) => Err(problem),
    };
    private(started.unwrap_or_else(|problem| refuse(call, &problem)))
}

/// Spends one download of the order's link and leads to its file.
pub(crate) async fn start_link(site: &Arc<Site>, order: OrderId, link: u32) -> Result<Response, Problem> {
    let deps = &site.deps;
    let receipt = deps.orders.submit(order, Input::Download { link }).await;
    let receipt = receipt.map_err(|error| unpaid(order, error))?;
    let number = receipt.payment.sale().map_or(0, |sale| sale.link.downloads);
    let grant = (deps.seals.grant)(order, link, number);
    count("started");
    Ok(answer::see_other(&format!("/download/file/{grant}/")))
}

/// The order and the link's number out of the token.
fn read(deps: &Deps, call: &Call) -> Result<(OrderId, u32), Problem> {
    deps.pass(&deps.gates.download, call)?;
    let token = call.segments.last().map(String::as_str).unwrap_or_default();
    (deps.seals.token)(token).map_err(|bad| match bad {
        BadToken::Forged => forged(),
        BadToken::Expired => Refusal::Link(LinkState::Expired).into(),
    })
}

/// 403: not from us, or not whole.
pub(crate) fn forged() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "link-forged").explained(
        "Ce lien n’est pas valable. Copiez-le en entier depuis votre e-mail, sans espace ni coupure.",
        "This link is not valid. Copy all of it from your e-mail, without spaces or breaks.",
    )
}

/// The table of answers, where an order that is not paid gets its own: nothing of it may be downloaded.
fn unpaid(order: OrderId, error: AskError) -> Problem {
    match error {
        AskError::Refused(
            Refusal::Status(_)
            | Refusal::UnknownOrder
            | Refusal::Exists
            | Refusal::Spent
            | Refusal::Soon
            | Refusal::Settled
            | Refusal::Owed
            | Refusal::Erased
            | Refusal::Unsealed,
        ) => not_paid(),
        AskError::Refused(refusal @ Refusal::Link(_)) => numbered(order, refusal.into()),
        AskError::Busy | AskError::Gone | AskError::Late | AskError::NoRoom | AskError::NotOpened(_) => {
            tracing::error!(%order, ?error, "a download could not be started");
            Problem::unavailable()
        }
    }
}

/// With the order's number, for which the seller will ask: who has a genuine link may know it.
fn numbered(order: OrderId, problem: Problem) -> Problem {
    let (fr, en) = (format!("{} Commande {order}.", problem.fr), format!("{} Order {order}.", problem.en));
    problem.explained(&fr, &en)
}

fn not_paid() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "order-not-paid").explained(
        "Cette commande n’est pas payée : il n’y a rien à télécharger.",
        "This order is not paid: there is nothing to download.",
    )
}

/// The sale behind a link, if the order is paid and the link is its newest.
pub(crate) fn sale(deps: &Deps, order: OrderId, link: u32) -> Result<(Payment, Sale), Problem> {
    let payment = deps.load(order)?.ok_or_else(not_paid)?;
    let sale = match &payment.status {
        Status::Paid(sale) if sale.link.number == link && !sale.link.revoked => sale.clone(),
        Status::Paid(_) | Status::Refunded(_) => {
            return Err(numbered(order, Refusal::Link(LinkState::Revoked).into()));
        }
        Status::Created(_)
        | Status::Pending { .. }
        | Status::Failed { .. }
        | Status::Review { .. }
        | Status::Expired { .. } => return Err(not_paid()),
    };
    Ok((payment, sale))
}

fn ready(deps: &Deps, order: OrderId, link: u32) -> Result<(Payment, Link), Problem> {
    let (payment, sale) = sale(deps, order, link)?;
    match sale.link.state(deps.now()) {
        LinkState::Live => Ok((payment, sale.link)),
        dead @ (LinkState::Expired | LinkState::UsedUp | LinkState::Revoked) => {
            Err(numbered(order, Refusal::Link(dead).into()))
        }
    }
}

fn landing_page(deps: &Deps, call: &Call, payment: &Payment, link: &Link) -> Landing {
    let (product, tier) = order::names(deps, payment);
    let frame = Frame::in_lang(call, call.lang_chosen().unwrap_or(payment.buyer.lang));
    Landing {
        product,
        tier,
        order: payment.id.to_string(),
        left: link.max_downloads.saturating_sub(link.downloads),
        until: words::moment(link.expires_at, frame.lang()),
        frame,
    }
}

/// What a started download's address grants: the order and its link's number.
pub(crate) fn granted(deps: &Deps, text: &str) -> Result<(OrderId, u32), Problem> {
    (deps.seals.granted)(text).map_err(|bad| match bad {
        BadToken::Forged => forged(),
        BadToken::Expired => Problem::new(StatusCode::GONE, "download-over").explained(
            "Ce téléchargement est terminé. Rouvrez le lien reçu par e-mail pour recommencer.",
            "This download is over. Open the link from your e-mail again to start anew.",
        ),
    })
}

/// Counts a refusal and answers it with a page.
pub(crate) fn refuse(call: &Call, problem: &Problem) -> Response {
    count(match problem.kind {
        "link-forged" => "forged",
        "link-expired" | "download-over" => "expired",
        "link-used-up" => "used_up",
        "link-revoked" => "revoked",
        "order-not-paid" => "unpaid",
        _ => "unavailable",
    });
    problem.answer_page(call)
}

/// The headers of everything under /download/.
pub(crate) fn private(mut answer: Response) -> Response {
    answer::set(&mut answer, X_ROBOTS_TAG, "noindex, nofollow");
    answer::set(&mut answer, REFERRER_POLICY, "no-referrer");
    answer
}

/// One more of `outcome`.
pub(crate) fn count(outcome: &'static str) {
    metrics::counter!("auditshield_downloads_total", "outcome" => outcome).increment(1);
}
