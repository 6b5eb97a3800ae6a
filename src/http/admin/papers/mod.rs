//! What the merchant carries away: exports, the comparison with CinetPay's export, the letter to its support, proofs of sale.

mod dossier;
mod exports;
mod proof;
mod settlement;
mod walk;

use std::sync::Arc;

use tokio::sync::Semaphore;
use warp::http::Method;
use warp::http::header::{CONTENT_DISPOSITION, HeaderValue};
use warp::reply::Response;

use super::desk::{self, Desk};
use super::{Badge, Office};
use crate::domain::calendar::{Day, Period, Zone};
use crate::domain::evidence::Entry;
use crate::domain::payment::Payment;
use crate::http::Deps;
use crate::http::answer::Problem;
use crate::http::call::{Call, Fields};

/// Walks over all orders at one time: each keeps a core and the disk busy.
const WALKS_MAX: usize = 2;
/// What a client is asked to wait for its turn, in seconds.
const WALK_SECONDS: u32 = 15;

/// Who may walk over all orders now.
pub(crate) struct Walks(Arc<Semaphore>);

impl Default for Walks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(WALKS_MAX)))
    }
}

/// Whether an address is one of these pages'.
pub(super) fn owns(path: &[&str]) -> bool {
    matches!(
        path,
        ["admin", "exports" | "settlement" | "proof-key.pem", ..]
            | ["admin", "orders", _, "dossier" | "dossier.txt" | "proof" | "proof.json" | "proof.pdf"]
    )
}

/// Every route here.
pub(super) async fn route(office: &Office, mut call: Call, badge: Badge) -> Response {
    let segments = call.segments.clone();
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let looks = call.looks();
    let desk = Desk::of(office, &call, badge);
    let desk = match path.as_slice() {
        ["admin", "exports", ..] => desk.at("exports"),
        ["admin", "settlement", ..] => desk.at("settlement"),
        _ => desk,
    };
    let outcome = match path.as_slice() {
        ["admin", "exports"] if looks => Ok(exports::form(office, &desk)),
        ["admin", "exports", "orders.csv"] if looks => exports::csv(office, &call),
        ["admin", "exports", "orders.jsonl"] if looks => exports::json_lines(office, &call),
        ["admin", "settlement"] if looks => Ok(settlement::form(office, &desk)),
        ["admin", "settlement"] if call.method == Method::POST => {
            settlement::compare(office, &mut call, &desk).await
        }
        ["admin", "orders", id, "dossier"] if looks => dossier::show(office, &call, &desk, id).await,
        ["admin", "orders", id, "dossier.txt"] if looks => dossier::text(office, id).await,
        ["admin", "orders", id, "proof"] if looks => proof::show(office, &desk, id).await,
        ["admin", "orders", id, "proof.json"] if looks => proof::download(office, id).await,
        ["admin", "orders", id, "proof.pdf"] if looks => proof::pdf(office, &desk, id).await,
        ["admin", "proof-key.pem"] if looks => Ok(proof::keys(office)),
        ["admin", "settlement"] => Err(Problem::method("GET, HEAD, POST")),
        ["admin", "exports" | "proof-key.pem"]
        | ["admin", "exports", "orders.csv" | "orders.jsonl"]
        | ["admin", "orders", _, _] => Err(Problem::method("GET, HEAD")),
        _ => Err(Problem::not_found()),
    };
    desk::own(outcome.unwrap_or_else(|problem| desk.refuse(&call, &problem)))
}

/// An order with its journal lines, as they belong together.
async fn evidence(deps: &Deps, id: &str) -> Result<(Payment, Vec<Entry>), Problem> {
    let id = super::api::known(id)?;
    let payment = deps.load(id)?.ok_or_else(super::api::unknown)?;
    let ledger = deps.ledger.clone();
    let mut entries = super::api::read(move || ledger.evidence(id)).await?;
    // A commit may have come in between: the lines end where the state does.
    entries.retain(|entry| entry.version <= payment.version);
    Ok((payment, entries))
}

/// The days that a form names; none where it names neither.
fn period(get: &dyn Fn(&str) -> Option<String>, zone: Zone) -> Result<Option<Period>, Problem> {
    let day = |name: &'static str| -> Result<Option<Day>, Problem> {
        get(name).map(|text| text.trim().parse().map_err(|_| strange_day(name))).transpose()
    };
    match (day("from")?, day("to")?) {
        (None, None) => Ok(None),
        (Some(first), Some(last)) => Period::new(first, last, zone).map(Some).ok_or_else(|| {
            Problem::field(
                "to",
                "La période doit finir après son début et durer dix ans au plus.",
                "The period must end after it begins, and last ten years at most.",
            )
        }),
        (Some(_), None) => Err(strange_day("to")),
        (None, Some(_)) => Err(strange_day("from")),
    }
}

fn strange_day(field: &'static str) -> Problem {
    Problem::field(
        field,
        "Écrivez une date comme 2026-11-25 : premier jour (from) et dernier jour (to), compris.",
        "Write a date like 2026-11-25: the first day (from) and the last one (to), both included.",
    )
}

fn of_query(fields: &Fields) -> impl Fn(&str) -> Option<String> + '_ {
    |name| fields.get(name).map(str::to_owned)
}

/// This month until today, on the merchant's clock: what a form begins with.
fn this_month(deps: &Deps) -> (String, String) {
    let today = deps.settings.zone.day(deps.now());
    (today.month_start().to_string(), today.to_string())
}

fn busy() -> Problem {
    Problem::too_many(WALK_SECONDS).explained(
        "D’autres exports sont en cours. Réessayez dans quelques secondes.",
        "Other exports are under way. Try again in a few seconds.",
    )
}

/// Saved under this name, which we wrote ourselves, instead of shown.
fn attached(mut answer: Response, name: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        answer.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    answer
}
