//! `/commande/<order id>/`: an order's page for its buyer, so that a lost mail is not a lost sale.
//!
//! Who may see it: the browser that bought (a signed cookie, set with the purchase), or one that came by the link in the
//! mail (the link's token, kept as a cookie). The address itself opens nothing and names nobody.

pub(crate) mod acts;
pub(crate) mod receipt;

use subtle::ConstantTimeEq;
use warp::http::StatusCode;
use warp::http::header::{HeaderValue, SET_COOKIE};
use warp::reply::Response;

use super::answer::{self, Problem};
use super::call::Call;
use super::pages::{self, Frame, States};
use super::status::Standing;
use super::{Deps, KeyedHash, Site, download, language, refusals};
use crate::domain::payment::{LinkState, Mail, Payment, Status};
use crate::domain::values::{Email, OrderId};
use crate::domain::{wishes, words};

/// The cookie of the browser that bought.
const PURCHASE_COOKIE: &str = "achat";
/// The cookie of a browser that came by the mailed link.
const MAIL_COOKIE: &str = "lien";
/// How long a browser keeps either, in days.
const COOKIE_DAYS_MAX: u64 = 180;
/// Seconds after which a page without script looks again: while something is about to happen, and after a refusal, which
/// a late confirmation may still overturn.
const AGAIN_SECONDS: (u32, u32) = (5, 60);

/// What opened an order's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// This browser bought.
    Purchase,
    /// It came by the link in the mail, which a mistyped address may have carried to a stranger.
    Mail,
}

/// An order that this browser may see.
pub(crate) struct Opened {
    payment: Payment,
    key: Key,
}

/// GET `/commande/<order id>/`.
pub(crate) fn show(site: &Site, call: &Call) -> Response {
    match open(&site.deps, call) {
        Ok(opened) => page(&site.deps, call, &opened, None),
        Err(problem) => download::private(problem.answer_page(call)),
    }
}

/// GET `/commande/lien/<token>/`: the link in the mail leaves its token in a cookie and not in the address.
pub(crate) fn enter(site: &Site, call: &Call) -> Response {
    let deps = &site.deps;
    let token = call.segments.last().map(String::as_str).unwrap_or_default();
    let read =
        deps.pass(&deps.gates.download, call).and_then(|()| (deps.seals.order)(token).map_err(|_| closed()));
    let answer = match read {
        Ok((order, _)) => {
            let mut answer = answer::see_other(&format!("/commande/{order}/"));
            keep(deps, &mut answer, MAIL_COOKIE, token, order);
            answer
        }
        Err(problem) => problem.answer_page(call),
    };
    download::private(answer)
}

/// Leaves the cookie of the browser that bought.
pub(crate) fn remember(deps: &Deps, answer: &mut Response, order: OrderId) {
    let token = (deps.seals.sign_browser)(order);
    keep(deps, answer, PURCHASE_COOKIE, &token, order);
}

/// Each order has a cookie of its own, which travels to that order's addresses only.
fn keep(deps: &Deps, answer: &mut Response, name: &str, token: &str, order: OrderId) {
    let path = format!("/commande/{order}");
    let value: Option<HeaderValue> = language::cookie(deps, name, token, &path, COOKIE_DAYS_MAX);
    if let Some(value) = value {
        answer.headers_mut().append(SET_COOKIE, value);
    }
}

/// The order of the path, if this browser may see it. An order that does not exist is refused in the same words.
fn open(deps: &Deps, call: &Call) -> Result<Opened, Problem> {
    deps.pass(&deps.gates.download, call)?;
    let id = call.segments.get(1).and_then(|text| OrderId::parse(text).ok()).ok_or_else(closed)?;
    let bought = call
        .cookies(PURCHASE_COOKIE)
        .any(|token| (deps.seals.browser)(token).is_ok_and(|(order, _)| order == id));
    let mailed: Vec<u32> = call
        .cookies(MAIL_COOKIE)
        .filter_map(|token| (deps.seals.order)(token).ok())
        .filter_map(|(order, link)| (order == id).then_some(link))
        .collect();
    if !bought && mailed.is_empty() {
        return Err(closed());
    }
    let payment = deps.load(id)?.ok_or_else(closed)?;
    let current = payment.sale().map(|sale| sale.link.number);
    match (bought, current) {
        (true, _) => Ok(Opened { payment, key: Key::Purchase }),
        (false, Some(link)) if mailed.contains(&link) => Ok(Opened { payment, key: Key::Mail }),
        (false, _) => Err(closed()),
    }
}

/// 403: not this browser's order, or none at all.
fn closed() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "order-closed").explained(
        "Cette page s’ouvre dans le navigateur de votre achat, ou par le lien de votre dernier e-mail. Pour recevoir \
         de nouveau cet e-mail, indiquez votre adresse.",
        "This page opens in the browser you bought with, or by the link in your latest e-mail. To be sent that e-mail \
         again, give your address.",
    )
}

/// What the forms of an order's page bring along.
fn proof(deps: &Deps, order: OrderId) -> String {
    proven_by(&deps.seals.hash, order)
}

/// Whether a form brings it, also from a page of before the signing key was changed.
fn is_proof(deps: &Deps, order: OrderId, given: &str) -> bool {
    let mut hashes = std::iter::once(&deps.seals.hash).chain(&deps.seals.former_hashes);
    hashes.any(|hash| proven_by(hash, order).as_bytes().ct_eq(given.as_bytes()).into())
}

fn proven_by(hash: &KeyedHash, order: OrderId) -> String {
    hash(format!("order-form\n{order}").as_bytes())
}

/// What a page says of an order's state.
pub(crate) fn states(payment: Option<&Payment>) -> States {
    let Some(payment) = payment else {
        let order = String::new();
        return States { order, shown: "UNKNOWN", refused: refusals::OTHER, again: 0 };
    };
    let standing = Standing::of(payment);
    let (soon, later) = AGAIN_SECONDS;
    let again = match standing.status {
        _ if !standing.r#final => soon,
        "FAILED" | "EXPIRED" | "REVIEW" => later,
        _ => 0,
    };
    let shown = match standing.status {
        "PAID" if standing.delivered => "DELIVERED",
        "CREATED" | "PENDING" => "WAITING",
        status => status,
    };
    let refused = refusals::line_of(standing.code.as_deref().unwrap_or_default());
    States { order: payment.id.to_string(), shown, refused, again }
}

/// The names that the buyer knows, also of what left the catalogue.
pub(crate) fn names(deps: &Deps, payment: &Payment) -> (String, String) {
    match deps.catalog.now().find(&payment.product, &payment.tier) {
        Some((product, tier)) => (product.name.clone(), tier.name.clone()),
        None => (payment.product.clone(), payment.tier.clone()),
    }
}

/// The order's page; `slip` is an address just typed, and the one that was probably meant.
fn page(deps: &Deps, call: &Call, opened: &Opened, slip: Option<(&Email, &Email)>) -> Response {
    let Opened { payment, key } = opened;
    let frame = Frame::of(call).switching(format!("/commande/{}/?", payment.id));
    let lang = frame.lang();
    let (product, tier) = names(deps, payment);
    let now = deps.now();
    let paid = match &payment.status {
        Status::Paid(sale) => Some(sale),
        Status::Created(_)
        | Status::Pending { .. }
        | Status::Failed { .. }
        | Status::Review { .. }
        | Status::Expired { .. }
        | Status::Refunded(_) => None,
    };
    let unmailed = paid.is_some_and(|sale| matches!(sale.mail, Mail::Stalled { .. }));
    let ended = paid.is_some_and(|sale| sale.link.state(now) == LinkState::Expired);
    let live = paid.filter(|sale| sale.link.state(now) == LinkState::Live);
    let open = !matches!(payment.status, Status::Refunded(_));
    let done = match call.query().get("fait") {
        Some("renvoi") => frame.say("L’e-mail part dans un instant.", "The e-mail is about to leave."),
        Some("adresse") => frame.say("L’adresse est corrigée.", "The address is corrected."),
        _ => "",
    };
    let page = pages::Order {
        states: states(Some(payment)),
        product,
        tier,
        price: words::amount(payment.price, lang),
        created: words::moment(payment.created_at, lang),
        email: payment.buyer.email.expose().to_owned(),
        proof: proof(deps, payment.id),
        left: live.map(|sale| sale.link.max_downloads.saturating_sub(sale.link.downloads)),
        until: live.map(|sale| words::moment(sale.link.expires_at, lang)).unwrap_or_default(),
        ended,
        unmailed,
        readdress: *key == Key::Purchase && open && paid.is_none_or(wishes::readdressable),
        retry: payment.may_retry(&deps.settings.policy, now),
        done: done.to_owned(),
        typed: slip.map_or(&payment.buyer.email, |(typed, _)| typed).expose().to_owned(),
        meant: slip.map(|(_, meant)| meant.expose().to_owned()).unwrap_or_default(),
        frame,
    };
    download::private(answer::purchase_page(StatusCode::OK, &page))
}
