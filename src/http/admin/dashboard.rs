//! /admin/: the orders, one order, and the buttons.

use askama::Template;
use warp::http::header::{HeaderValue, REFERRER_POLICY, SET_COOKIE};
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::session::{SESSION_HOURS_MAX, Session};
use super::view::{Happening, Order};
use super::{Badge, COOKIE_NAME, Office, api, cookie, strange_form};
use crate::domain::payment::{Payment, Status};
use crate::domain::values::Lang;
use crate::domain::words;
use crate::http::Deps;
use crate::http::answer::{self, Problem};
use crate::http::call::{Call, Fields};
use crate::http::pages::{self, Frame};

/// Largest form, in bytes.
const FORM_BYTES_MAX: usize = 16 * 1024;

#[derive(Template)]
#[template(path = "admin_login.html")]
struct Login<'a> {
    frame: Frame,
    message: &'a str,
}

#[derive(Template)]
#[template(path = "admin_orders.html")]
struct Orders<'a> {
    frame: Frame,
    csrf: &'a str,
    counts: Vec<(&'static str, u64)>,
    status: String,
    q: String,
    rows: Vec<Row>,
    /// The query of the next page, or nothing.
    next: String,
}

struct Row {
    id: String,
    status: &'static str,
    product: String,
    amount: String,
    email: String,
    created: String,
    mail: &'static str,
}

#[derive(Template)]
#[template(path = "admin_order.html")]
struct Single<'a> {
    frame: Frame,
    csrf: &'a str,
    order: Order,
    amount: String,
    created: String,
    paid: String,
    acts: Vec<Act>,
    message: &'a str,
}

/// A button.
struct Act {
    name: &'static str,
    label: &'static str,
}

/// Every route under /admin/ but the login.
pub(super) async fn route(office: &Office, mut call: Call, badge: Badge) -> Response {
    let session = match badge {
        Badge::Cookie(session) => Some(session),
        Badge::Bearer => None,
    };
    let segments = std::mem::take(&mut call.segments);
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let post = call.method == Method::POST;
    let outcome = match path.as_slice() {
        ["admin"] if call.looks() => list(&office.deps, &call, session.as_ref()).await,
        ["admin", "orders", id] if call.looks() => {
            show(&office.deps, &call, session.as_ref(), id, None).await
        }
        ["admin", "orders", id, act] if post => change(office, &mut call, session.as_ref(), id, act).await,
        ["admin", "logout"] if post => log_out(office, &mut call, session.as_ref()).await,
        ["admin", "login"] if call.looks() => Ok(answer::see_other("/admin/")),
        ["admin", "login"] => Err(Problem::method("GET, HEAD, POST")),
        ["admin"] | ["admin", "orders", _] => Err(Problem::method("GET, HEAD")),
        ["admin", "orders", _, _] | ["admin", "logout"] => Err(Problem::method("POST")),
        _ => Err(Problem::not_found()),
    };
    own(outcome.unwrap_or_else(|problem| problem.answer_page(&call)))
}

/// Forms of the dashboard tell us, and only us, where they come from.
fn own(mut answer: Response) -> Response {
    answer::set(&mut answer, REFERRER_POLICY, "same-origin");
    answer
}

/// The login form.
pub(super) fn login_page(call: &Call, status: StatusCode, message: &str) -> Response {
    if call.accepts_json() {
        return super::unauthorized(call);
    }
    own(answer::page(status, &Login { frame: Frame::of(call), message }))
}

/// POST /admin/login/: the token for a session.
pub(super) async fn log_in(office: &Office, mut call: Call) -> Response {
    if let Err(problem) = office.deps.pass(&office.deps.gates.login, &call) {
        return own(problem.answer_page(&call));
    }
    let fields = match form(&mut call).await {
        Ok(fields) => fields,
        Err(problem) => return own(problem.answer_page(&call)),
    };
    if !office.deps.admin_token.is(fields.get("token").unwrap_or_default().trim()) {
        tracing::warn!("a login to the dashboard failed");
        let message = Frame::of(&call).say("Ce jeton n’est pas le bon.", "This is not the token.");
        return login_page(&call, StatusCode::UNAUTHORIZED, message);
    }
    let secret = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
    let csrf = format!("{:032x}", rand::random::<u128>());
    office.sessions.open(office.key(&secret), csrf, office.deps.now());
    let seconds = SESSION_HOURS_MAX * 3600;
    let mut answer = answer::see_other("/admin/");
    let cookie = format!("{COOKIE_NAME}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict");
    if let Ok(mut value) = HeaderValue::from_str(&cookie) {
        value.set_sensitive(true);
        answer.headers_mut().insert(SET_COOKIE, value);
    }
    own(answer)
}

async fn log_out(office: &Office, call: &mut Call, session: Option<&Session>) -> Result<Response, Problem> {
    genuine(&form(call).await?, session)?;
    if let Some(secret) = cookie(call) {
        office.sessions.close(&office.key(secret));
    }
    Ok(answer::see_other("/admin/"))
}

async fn form(call: &mut Call) -> Result<Fields, Problem> {
    let body = call.body(FORM_BYTES_MAX).await?;
    Fields::parse(&body)
        .ok_or_else(|| Problem::bad_request("Le formulaire est illisible.", "The form is unreadable."))
}

/// Whether a form comes from this session's own pages.
fn genuine(fields: &Fields, session: Option<&Session>) -> Result<(), Problem> {
    match session {
        Some(session) if fields.get("csrf") != Some(session.csrf.as_str()) => Err(strange_form()),
        Some(_) | None => Ok(()),
    }
}

async fn list(deps: &Deps, call: &Call, session: Option<&Session>) -> Result<Response, Problem> {
    let page = api::listed(deps, call).await?;
    let fields = call.query();
    let (status, q) = (fields.get("status").unwrap_or_default(), fields.get("q").unwrap_or_default());
    let next = page.next.map(|cursor| {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("status", status), ("q", q), ("cursor", cursor.to_string().as_str())])
            .finish()
    });
    let rows = page.orders.into_iter().map(|order| Row {
        id: order.order_id.to_string(),
        status: order.status,
        amount: price(&order),
        product: format!("{} · {}", order.product, order.tier),
        email: order.email,
        created: pages::moment(order.created_at),
        mail: order.delivery.status,
    });
    let page = Orders {
        frame: Frame::of(call),
        csrf: session.map(|session| session.csrf.as_str()).unwrap_or_default(),
        counts: deps.ledger.counts().iter().collect(),
        status: status.to_ascii_uppercase(),
        q: q.to_owned(),
        rows: rows.collect(),
        next: next.unwrap_or_default(),
    };
    Ok(answer::page(StatusCode::OK, &page))
}

fn price(order: &Order) -> String {
    match crate::domain::values::Money::price(order.amount, order.currency) {
        Ok(price) => words::amount(price, Lang::Fr),
        Err(_) => format!("{} {}", order.amount, order.currency),
    }
}

async fn show(
    deps: &Deps,
    call: &Call,
    session: Option<&Session>,
    id: &str,
    problem: Option<&Problem>,
) -> Result<Response, Problem> {
    let payment = deps.load(api::known(id)?)?.ok_or_else(api::unknown)?;
    let order = api::ordered(deps, &payment).await?;
    let frame = Frame::of(call);
    let page = Single {
        csrf: session.map(|session| session.csrf.as_str()).unwrap_or_default(),
        amount: words::amount(payment.price, Lang::Fr),
        created: pages::moment(payment.created_at),
        paid: order.paid_at.map(pages::moment).unwrap_or_default(),
        acts: acts(&frame, &payment),
        message: problem.map(|problem| problem.text(call.lang())).unwrap_or_default(),
        order,
        frame,
    };
    let answer = answer::page(StatusCode::OK, &page);
    Ok(problem.map_or_else(|| answer::page(StatusCode::OK, &page), |problem| problem.finish(answer)))
}

/// What a person may do to an order in this status.
fn acts(frame: &Frame, payment: &Payment) -> Vec<Act> {
    let act = |name, fr, en| Act { name, label: frame.say(fr, en) };
    let verify = || act("verify", "Vérifier auprès de CinetPay", "Ask CinetPay now");
    match &payment.status {
        Status::Created(_) | Status::Pending { .. } | Status::Failed { .. } | Status::Expired { .. } => {
            vec![verify()]
        }
        Status::Review { .. } => vec![
            act("approve", "Approuver le paiement", "Approve the payment"),
            act("reject", "Rejeter", "Reject"),
        ],
        Status::Paid(_) => vec![
            act("resend", "Renvoyer l’e-mail", "Send the mail again"),
            act("revoke", "Désactiver le lien", "Withdraw the link"),
            act("refund", "Noter un remboursement", "Record a refund"),
        ],
        Status::Refunded(_) => Vec::new(),
    }
}

/// A button was pressed: the order's page again, with the outcome.
async fn change(
    office: &Office,
    call: &mut Call,
    session: Option<&Session>,
    id: &str,
    act: &str,
) -> Result<Response, Problem> {
    let fields = form(call).await?;
    genuine(&fields, session)?;
    match api::enact(&office.deps, id, act, &fields).await {
        Ok(payment) => Ok(answer::see_other(&format!("/admin/orders/{}/", payment.id))),
        Err(problem) if problem.status == StatusCode::NOT_FOUND => Err(problem),
        Err(problem) => show(&office.deps, call, session, id, Some(&problem)).await,
    }
}

impl Happening {
    /// The detail as one line of JSON.
    fn line(&self) -> String {
        self.detail.to_string()
    }
    /// When, for people.
    fn moment(&self) -> String {
        pages::moment(self.at)
    }
}
