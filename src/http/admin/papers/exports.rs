//! /admin/exports/: orders of a period for a spreadsheet (CSV) or a program (JSON Lines), streamed.

use std::io;

use askama::Template;
use bytes::Bytes;
use futures_util::stream;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use warp::http::{Method, StatusCode};
use warp::reply::{Reply, Response};

use super::super::Office;
use super::super::desk::Desk;
use super::walk::{By, Walk};
use super::{attached, of_query, period, strange_day, this_month};
use crate::domain::calendar::Zone;
use crate::domain::payment::Payment;
use crate::domain::sheet::{self, Row};
use crate::http::answer::{self, Problem};
use crate::http::call::Call;

#[derive(Template)]
#[template(path = "admin_export.html")]
struct Form {
    desk: Desk,
    from: String,
    to: String,
    zone: String,
}

/// How a row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Csv,
    JsonLines,
}

/// The form.
pub(super) fn form(office: &Office, desk: &Desk) -> Response {
    let (from, to) = this_month(&office.deps);
    let zone = office.deps.settings.zone.to_string();
    answer::page(StatusCode::OK, &Form { desk: desk.clone(), from, to, zone })
}

/// The CSV file.
pub(super) fn csv(office: &Office, call: &Call) -> Result<Response, Problem> {
    file(office, call, Shape::Csv)
}

/// The JSON Lines.
pub(super) fn json_lines(office: &Office, call: &Call) -> Result<Response, Problem> {
    file(office, call, Shape::JsonLines)
}

fn file(office: &Office, call: &Call, shape: Shape) -> Result<Response, Problem> {
    let fields = call.query();
    let zone = office.deps.settings.zone;
    let period = period(&of_query(&fields), zone)?.ok_or_else(|| strange_day("from"))?;
    let by = By::named(fields.get("by").unwrap_or("paid_at")).ok_or_else(|| {
        Problem::field("by", "Écrivez paid_at ou created_at.", "Write paid_at or created_at.")
    })?;
    let (ending, media) = match shape {
        Shape::Csv => ("csv", "text/csv; charset=utf-8; header=present"),
        Shape::JsonLines => ("jsonl", "application/jsonl"),
    };
    let mut answer = if call.method == Method::HEAD {
        Response::new("".into())
    } else {
        let mut head = String::new();
        if shape == Shape::Csv {
            sheet::write_headings(&mut head, call.lang(), zone);
        }
        streamed(Walk::begin(office, by, period)?, head, shape, zone)
    };
    answer::set(&mut answer, CONTENT_TYPE, media);
    answer::set(&mut answer, CACHE_CONTROL, "no-store");
    answer::set(&mut answer, X_CONTENT_TYPE_OPTIONS, "nosniff");
    tracing::info!(from = %period.first, to = %period.last, "orders are exported");
    Ok(attached(answer, &format!("auditshield-{}_{}.{ending}", period.first, period.last)))
}

/// The head, then page after page as the client takes them. A page that cannot be read breaks the answer off: a client
/// must not take a part for the whole.
fn streamed(walk: Walk, head: String, shape: Shape, zone: Zone) -> Response {
    let pages = stream::unfold((Some(walk), head), move |(walk, head)| async move {
        let mut walk = walk?;
        if !head.is_empty() {
            return Some((Ok(Bytes::from(head)), (Some(walk), String::new())));
        }
        match walk.page().await {
            Ok(Some(orders)) => Some((Ok(written(&orders, shape, zone)), (Some(walk), head))),
            Ok(None) => None,
            Err(_) => Some((Err(io::Error::other("the ledger could not be read")), (None, head))),
        }
    });
    warp::reply::stream(pages).into_response()
}

fn written(orders: &[Payment], shape: Shape, zone: Zone) -> Bytes {
    let mut text = String::new();
    for payment in orders {
        let row = Row::of(payment, zone);
        match shape {
            Shape::Csv => row.write_csv(&mut text),
            Shape::JsonLines => {
                // Texts and numbers only: nothing of it can fail.
                text.push_str(&serde_json::to_string(&row).unwrap_or_default());
                text.push('\n');
            }
        }
    }
    text.into()
}
