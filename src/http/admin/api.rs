//! /api/orders: lists, single orders, and what a person can do to one; and the rest of /api/.

use serde_json::json;
use warp::http::header::HeaderName;
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::acts::{self, reason, signer};
use super::desk::NOBODY_NAMED;
use super::filter::{self, Filter};
use super::list::PAGE_ORDERS;
use super::view::Order;
use super::{Badge, Office, nodes, privacy, strange_form};
use crate::actors::AskError;
use crate::domain::event::Decision;
use crate::domain::input::Input;
use crate::domain::payment::Payment;
use crate::domain::values::OrderId;
use crate::http::Deps;
use crate::http::answer::{self, Problem};
use crate::http::call::{Call, Fields};
use crate::ledger::Line;

/// Largest body of an act, in bytes.
const ACT_BYTES_MAX: usize = 16 * 1024;
const X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

/// Every route under /api/.
pub(super) async fn route(office: &Office, mut call: Call, badge: Badge) -> Response {
    let segments = std::mem::take(&mut call.segments);
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let outcome = match path.as_slice() {
        ["api", "nodes"] if call.looks() => nodes::list(&office.deps).await,
        ["api", "orders"] if call.looks() => list(&office.deps, &call).await,
        ["api", "orders", id] if call.looks() => show(&office.deps, id).await,
        ["api", "orders", id, act] if call.method == Method::POST => {
            change(office, &mut call, badge, id, act).await
        }
        ["api", "privacy", "export"] if call.method == Method::POST => {
            privacy::export(office, &mut call, &badge).await
        }
        ["api", "privacy", "erase"] if call.method == Method::POST => {
            privacy::erase(office, &mut call, &badge).await
        }
        ["api", "nodes"] | ["api", "orders"] | ["api", "orders", _] => Err(Problem::method("GET, HEAD")),
        ["api", "orders", _, _] | ["api", "privacy", "export" | "erase"] => Err(Problem::method("POST")),
        _ => Err(Problem::not_found()),
    };
    outcome.unwrap_or_else(|problem| problem.json(call.lang()))
}

/// A page of orders and where the next one goes on.
struct Listed {
    /// The orders, newest first.
    orders: Vec<Order>,
    /// The next page's cursor.
    next: Option<OrderId>,
}

/// The query's fields. A filter that is given twice must not be read as none: the list would show what was not asked for.
pub(super) fn query_fields(call: &Call) -> Result<Fields, Problem> {
    Fields::parse(call.query.as_bytes()).ok_or_else(|| {
        Problem::bad_request("Les paramètres de l’adresse sont illisibles.", "The query is unreadable.")
    })
}

/// The orders that the query names.
async fn listed(deps: &Deps, call: &Call) -> Result<Listed, Problem> {
    let fields = query_fields(call)?;
    let q = fields.get("q").map(str::to_owned);
    let cursor = filter::cursor(&fields)?;
    let query = Filter::of(&fields)?.query(q, cursor, PAGE_ORDERS, deps.settings.zone)?;
    let ledger = deps.ledger.clone();
    read(move || {
        let page = ledger.list(&query)?;
        let mut orders = Vec::with_capacity(page.orders.len());
        for payment in &page.orders {
            orders.push(Order::of(payment, &ledger.history(payment.id)?));
        }
        Ok(Listed { orders, next: page.next_cursor })
    })
    .await
}

async fn list(deps: &Deps, call: &Call) -> Result<Response, Problem> {
    let page = listed(deps, call).await?;
    Ok(answer::json(StatusCode::OK, &json!({"orders": page.orders, "next_cursor": page.next})))
}

async fn show(deps: &Deps, id: &str) -> Result<Response, Problem> {
    let id = known(id)?;
    let payment = deps.load(id)?.ok_or_else(unknown)?;
    Ok(answer::json(StatusCode::OK, &ordered(deps, &payment).await?))
}

/// An order with its history.
async fn ordered(deps: &Deps, payment: &Payment) -> Result<Order, Problem> {
    Ok(Order::of(payment, &history(deps, payment).await?))
}

/// An order's lines. A commit may have come in between: they end where the state does.
pub(super) async fn history(deps: &Deps, payment: &Payment) -> Result<Vec<Line>, Problem> {
    let (ledger, id, version) = (deps.ledger.clone(), payment.id, payment.version);
    let mut lines = read(move || ledger.history(id)).await?;
    lines.retain(|line| line.version <= version);
    Ok(lines)
}

/// Reads that scan the disk leave the loop's threads alone.
pub(super) async fn read<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, crate::ledger::LedgerError> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(unread(&error)),
        Err(error) => {
            tracing::error!(%error, "a read of the ledger broke off");
            Err(Problem::unavailable())
        }
    }
}

/// 503 for what the ledger did not tell.
pub(super) fn unread(error: &crate::ledger::LedgerError) -> Problem {
    tracing::error!(%error, "the ledger could not be read");
    Problem::unavailable()
}

/// The order id of a path.
pub(super) fn known(text: &str) -> Result<OrderId, Problem> {
    OrderId::parse(text).map_err(|_| unknown())
}

/// 404 for an order.
pub(super) fn unknown() -> Problem {
    crate::domain::decide::Refusal::UnknownOrder.into()
}

async fn change(
    office: &Office,
    call: &mut Call,
    badge: Badge,
    id: &str,
    act: &str,
) -> Result<Response, Problem> {
    let fields = fields(call, &badge).await?;
    let decision =
        Decision { by: signer(fields.get("by").unwrap_or(named(&badge)))?, note: reason(&fields)? };
    let input = acts::input(act, decision, &fields)?;
    let payment = enact(&office.deps, known(id)?, act, input).await?;
    Ok(answer::json(StatusCode::OK, &ordered(&office.deps, &payment).await?))
}

/// The fields of a body, form or JSON; by cookie only with the session's CSRF token.
pub(super) async fn fields(call: &mut Call, badge: &Badge) -> Result<Fields, Problem> {
    let media = call.content_type();
    let body = call.body(ACT_BYTES_MAX).await?;
    let fields = match media.as_deref() {
        _ if body.is_empty() => Some(Fields::default()),
        Some("application/x-www-form-urlencoded") => Fields::parse(&body),
        _ => Fields::parse_json(&body),
    };
    let fields = fields.ok_or_else(|| {
        Problem::bad_request("Le corps n’est pas un objet JSON.", "The body is not a JSON object.")
    })?;
    if let Badge::Cookie(session) = badge {
        let given = call.header(&X_CSRF_TOKEN).or_else(|| fields.get("csrf"));
        if given != Some(session.csrf.as_str()) {
            return Err(strange_form());
        }
    }
    Ok(fields)
}

/// Who acts, where the body names nobody.
pub(super) fn named(badge: &Badge) -> &str {
    match badge {
        Badge::Cookie(session) => session.name.as_str(),
        Badge::Bearer => NOBODY_NAMED,
    }
}

/// Does what a person asked for; the order as it stands then.
pub(super) async fn enact(deps: &Deps, order: OrderId, act: &str, input: Input) -> Result<Payment, Problem> {
    match deps.orders.submit(order, input).await {
        Ok(receipt) => {
            tracing::info!(%order, act, "a person acted on the order");
            Ok(Payment::clone(&receipt.payment))
        }
        Err(error) => {
            if !matches!(error, AskError::Refused(_)) {
                tracing::error!(%order, act, ?error, "a person's act did not succeed");
            }
            Err(error.into())
        }
    }
}
