//! /admin/orders/: the orders, filtered and page by page.
//!
//! What is looked for may be somebody's address, so it never stands in ours: the session keeps it, and the address has a
//! handle for it.

use askama::Template;
use warp::http::StatusCode;
use warp::reply::Response;

use super::desk::{Desk, form};
use super::filter::{self, Filter};
use super::view::status_words;
use super::{Office, api};
use crate::domain::payment::{Mail, Payment};
use crate::domain::values::OrderId;
use crate::domain::words;
use crate::http::answer::{self, Problem};
use crate::http::call::Call;

/// Orders on one page.
pub(super) const PAGE_ORDERS: usize = 50;
/// Longest text that is looked for, in characters: an address is not longer.
const SOUGHT_CHARS_MAX: usize = 254;
/// Hexadecimal digits of a handle.
const HANDLE_DIGITS: usize = 16;

#[derive(Template)]
#[template(path = "admin_orders.html")]
struct Orders {
    desk: Desk,
    filter: Filter,
    /// Each status: its name, its words, how many orders.
    counts: Vec<(&'static str, &'static str, String)>,
    q: String,
    rows: Vec<Row>,
    /// What to say above the list, or nothing.
    message: &'static str,
    /// The next page's address, or nothing.
    next: String,
    /// Whether this page is not the first one.
    later: bool,
}

/// One order of a list.
pub(super) struct Row {
    pub(super) id: String,
    /// The status, and its words.
    pub(super) status: &'static str,
    pub(super) words: &'static str,
    pub(super) product: String,
    pub(super) amount: String,
    pub(super) email: String,
    pub(super) created: String,
    /// What is wrong with its mail, or nothing.
    pub(super) mail: &'static str,
}

impl Row {
    /// Of this order.
    pub(super) fn of(desk: &Desk, payment: &Payment) -> Self {
        let mail = match payment.sale().map(|sale| &sale.mail) {
            Some(Mail::Stalled { .. }) => desk.say("e-mail refusé", "mail refused"),
            Some(Mail::Owed { .. }) => desk.say("e-mail à envoyer", "mail not sent yet"),
            Some(Mail::Sent { .. }) | None => "",
        };
        Self {
            id: payment.id.to_string(),
            status: payment.status_name(),
            words: status_words(desk, payment.status_name()),
            product: format!("{} · {}", payment.product, payment.tier),
            amount: words::amount(payment.price, desk.lang()),
            email: payment.buyer.email.expose().to_owned(),
            created: desk.short_moment(payment.created_at),
            mail,
        }
    }
}

/// GET /admin/orders/.
pub(super) async fn show(office: &Office, call: &Call, desk: &Desk) -> Result<Response, Problem> {
    let fields = api::query_fields(call)?;
    let (filter, cursor) = (Filter::of(&fields)?, filter::cursor(&fields)?);
    let handle = fields.get("s").unwrap_or_default();
    let sought = desk.session().and_then(|session| office.sessions.sought(&session.key, handle));
    match (handle, sought) {
        ("", _) => page(office, desk, filter, Sought::Nothing, cursor).await,
        (handle, Some(q)) => {
            let sought = Sought::Kept { handle: handle.to_owned(), q };
            page(office, desk, filter, sought, cursor).await
        }
        // Showing everything instead would look like an answer.
        (_, None) => page(office, desk, filter, Sought::Forgotten, cursor).await,
    }
}

/// POST /admin/orders/: what is looked for goes into the session, and the browser to the list.
pub(super) async fn search(office: &Office, call: &mut Call, desk: &Desk) -> Result<Response, Problem> {
    let fields = form(call).await?;
    desk.genuine(&fields)?;
    let filter = Filter::of(&fields)?;
    let q = fields.get("q").unwrap_or_default().trim();
    if q.chars().count() > SOUGHT_CHARS_MAX {
        return Err(Problem::field("q", "Ce texte est trop long.", "This text is too long."));
    }
    if let Ok(id) = OrderId::parse(&q.to_ascii_uppercase())
        && office.deps.load(id)?.is_some()
    {
        return Ok(answer::see_other(&format!("/admin/orders/{id}/")));
    }
    let handle = match desk.session() {
        _ if q.is_empty() => String::new(),
        Some(session) => {
            let handle = format!("{:0HANDLE_DIGITS$x}", rand::random::<u64>());
            office.sessions.remember(&session.key, handle.clone(), q.to_owned());
            handle
        }
        // A program: it gets its answer at once.
        None => {
            let sought = Sought::Once { q: q.to_owned() };
            return page(office, desk, filter, sought, filter::cursor(&fields)?).await;
        }
    };
    Ok(answer::see_other(&address(&filter, &handle, None)))
}

/// The address of a page of the list.
fn address(filter: &Filter, handle: &str, cursor: Option<OrderId>) -> String {
    let cursor = cursor.map(|id| id.to_string()).unwrap_or_default();
    let own = [("s", handle), ("cursor", cursor.as_str())];
    let pairs = filter.pairs().into_iter().chain(own).filter(|(_, value)| !value.is_empty());
    let pairs = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("/admin/orders/?{pairs}")
}

/// What is looked for.
enum Sought {
    Nothing,
    Kept {
        handle: String,
        q: String,
    },
    Once {
        q: String,
    },
    /// The session does not remember it.
    Forgotten,
}

async fn page(
    office: &Office,
    desk: &Desk,
    filter: Filter,
    sought: Sought,
    cursor: Option<OrderId>,
) -> Result<Response, Problem> {
    let (handle, q) = match &sought {
        Sought::Kept { handle, q } => (handle.as_str(), q.as_str()),
        Sought::Once { q } => ("", q.as_str()),
        Sought::Nothing | Sought::Forgotten => ("", ""),
    };
    let forgotten = matches!(sought, Sought::Forgotten);
    let zone = office.deps.settings.zone;
    let query = filter.query((!q.is_empty()).then(|| q.to_owned()), cursor, PAGE_ORDERS, zone)?;
    let ledger = office.deps.ledger.clone();
    let found = if forgotten {
        crate::ledger::Page::default()
    } else {
        api::read(move || ledger.list(&query)).await?
    };
    let next = found.next_cursor.filter(|_| !matches!(sought, Sought::Once { .. }));
    let next = next.map(|id| address(&filter, handle, Some(id))).unwrap_or_default();
    let here = address(&filter, handle, cursor);
    let desk = desk.at("orders").switching(if here.ends_with('?') { here } else { format!("{here}&") });
    let counts = office.deps.ledger.counts();
    let page = Orders {
        counts: counts
            .iter()
            .map(|(name, count)| {
                (name, status_words(&desk, name), words::figure(&count.to_string(), desk.lang()))
            })
            .collect(),
        rows: found.orders.iter().map(|payment| Row::of(&desk, payment)).collect(),
        message: if forgotten {
            desk.say(
                "Cette recherche n’est plus en mémoire : lancez-la de nouveau.",
                "This search is no longer remembered: run it again.",
            )
        } else {
            ""
        },
        q: q.to_owned(),
        later: cursor.is_some(),
        next,
        filter,
        desk,
    };
    Ok(answer::page(StatusCode::OK, &page))
}
