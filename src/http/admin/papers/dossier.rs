//! `/admin/orders/<id>/dossier/`: the letter to CinetPay's merchant support, ready to be copied.

use askama::Template;
use serde_json::json;
use warp::http::StatusCode;
use warp::reply::Response;

use super::super::Office;
use super::super::desk::Desk;
use super::evidence;
use crate::domain::dossier::{Case, Dossier, SUPPORT};
use crate::http::answer::{self, Problem};
use crate::http::call::Call;

/// Characters that fit on a line of the letter's field on a large screen.
const FIELD_CHARS: usize = 100;

#[derive(Template)]
#[template(path = "admin_dossier.html")]
struct Page {
    desk: Desk,
    order: String,
    support: &'static str,
    letter: Dossier,
    /// So high is its field.
    lines: usize,
}

/// As a page, or as JSON for a program.
pub(super) async fn show(office: &Office, call: &Call, desk: &Desk, id: &str) -> Result<Response, Problem> {
    let letter = letter(office, id).await?;
    if call.accepts_json() {
        let body = json!({"to": SUPPORT, "subject": letter.subject, "body": letter.body});
        return Ok(answer::json(StatusCode::OK, &body));
    }
    let lines = letter.body.lines().map(|line| 1 + line.chars().count() / FIELD_CHARS).sum::<usize>() + 1;
    let (desk, order) = (desk.clone(), id.to_owned());
    Ok(answer::page(StatusCode::OK, &Page { desk, order, support: SUPPORT, letter, lines }))
}

/// As plain text.
pub(super) async fn text(office: &Office, id: &str) -> Result<Response, Problem> {
    Ok(answer::text(StatusCode::OK, letter(office, id).await?.text()))
}

async fn letter(office: &Office, id: &str) -> Result<Dossier, Problem> {
    let deps = &office.deps;
    let (payment, entries) = evidence(deps, id).await?;
    let case = Case {
        payment: &payment,
        entries: &entries,
        site_id: &deps.site_id,
        merchant: &deps.settings.merchant,
        zone: deps.settings.zone,
        now: deps.now(),
    };
    Ok(case.write())
}
