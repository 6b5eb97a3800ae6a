//! `/admin/orders/<id>/proof/`: a sale, proved with the merchant's signature, to be printed or handed on as a file.

use askama::Template;
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderValue};
use warp::reply::Response;

use super::super::desk::Desk;
use super::super::{Office, timeline};
use super::{attached, evidence};
use crate::adapters::proof as paper;
use crate::domain::evidence::Entry;
use crate::domain::payment::Payment;
use crate::domain::proof::{Material, sealed, signature};
use crate::domain::sheet::Row;
use crate::domain::values::Timestamp;
use crate::domain::words;
use crate::http::ProofKey;
use crate::http::answer::{self, Problem};

#[derive(Template)]
#[template(path = "admin_proof.html")]
struct Page {
    desk: Desk,
    shop: String,
    row: Row,
    amount: String,
    refunded: bool,
    created: String,
    paid: String,
    zone: String,
    issued: String,
    lines: Vec<(u64, String, String, String)>,
    signature: String,
    fingerprint: String,
}

/// The signed file and what it was made of.
struct Sealed {
    payment: Payment,
    entries: Vec<Entry>,
    text: String,
    issued: Timestamp,
}

/// As a page for the printer; the file is what counts.
pub(super) async fn show(office: &Office, desk: &Desk, id: &str) -> Result<Response, Problem> {
    let Sealed { payment, entries, text, issued } = seal(office, id).await?;
    let (zone, lang) = (office.deps.settings.zone, desk.lang());
    let row = Row::of(&payment, zone);
    let lines =
        entries.iter().map(|entry| (entry.seq, entry.at.to_string(), entry.kinds(), entry.hash.clone()));
    let merchant = &office.deps.settings.merchant;
    let shop = [&merchant.name, &merchant.address, &merchant.identifiers].map(String::as_str);
    let page = Page {
        shop: shop.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" · "),
        amount: words::amount(payment.price, lang),
        refunded: payment.status_name() == "REFUNDED",
        created: zone.clock(payment.created_at),
        paid: row.paid_local.clone().unwrap_or_default(),
        zone: zone.to_string(),
        issued: zone.clock(issued),
        lines: lines.collect(),
        signature: signature(&text).to_owned(),
        fingerprint: key(office)?.fingerprint.clone(),
        row,
        desk: desk.clone(),
    };
    Ok(answer::page(StatusCode::OK, &page))
}

/// The file.
pub(super) async fn download(office: &Office, id: &str) -> Result<Response, Problem> {
    let Sealed { payment, text, .. } = seal(office, id).await?;
    let mut answer = answer::text(StatusCode::OK, text);
    answer::set(&mut answer, CONTENT_TYPE, "application/json");
    Ok(attached(answer, &paper::file_name(payment.id, "json")))
}

/// Pages for a reader, the file attached.
pub(super) async fn pdf(office: &Office, desk: &Desk, id: &str) -> Result<Response, Problem> {
    let Sealed { payment, entries, text, issued } = seal(office, id).await?;
    let told: Vec<Vec<String>> = entries.iter().map(|entry| timeline::told(desk, &payment, entry)).collect();
    let material = material(office, &payment, &entries, issued)?;
    let printed = paper::Printed {
        material: &material,
        told: &told,
        signed: &text,
        fingerprint: &key(office)?.fingerprint,
        lang: desk.lang(),
    };
    Ok(attached(answer::pdf(paper::pdf(&printed)), &paper::file_name(payment.id, "pdf")))
}

/// The keys that verify, the one in use first.
pub(super) fn keys(office: &Office) -> Response {
    let pem: String = office.deps.seals.proof.public.iter().map(|key| key.pem.as_str()).collect();
    let mut answer = answer::text(StatusCode::OK, pem);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-pem-file"));
    attached(answer, "auditshield-preuves.pem")
}

async fn seal(office: &Office, id: &str) -> Result<Sealed, Problem> {
    let deps = &office.deps;
    let (payment, entries) = evidence(deps, id).await?;
    let issued = deps.now();
    let statement = material(office, &payment, &entries, issued)?;
    let statement = statement.statement().ok_or_else(|| unsold(&payment))?;
    let json = serde_json::to_string_pretty(&statement).map_err(|error| {
        tracing::error!(%error, "a proof could not be written");
        Problem::unavailable()
    })?;
    let text = sealed(&json, |bytes| (deps.seals.proof.sign)(bytes));
    Ok(Sealed { payment, entries, text, issued })
}

fn material<'a>(
    office: &'a Office,
    payment: &'a Payment,
    entries: &'a [Entry],
    now: Timestamp,
) -> Result<Material<'a>, Problem> {
    let deps = &office.deps;
    Ok(Material {
        payment,
        entries,
        site_id: &deps.site_id,
        merchant: &deps.settings.merchant,
        zone: deps.settings.zone,
        now,
        public_key: &key(office)?.der,
    })
}

/// The key in use.
fn key(office: &Office) -> Result<&ProofKey, Problem> {
    office.deps.seals.proof.public.first().ok_or_else(Problem::unavailable)
}

fn unsold(payment: &Payment) -> Problem {
    let status = payment.status_name();
    Problem::new(StatusCode::CONFLICT, "not-sold").explained(
        &format!("Cette commande n’est pas une vente (statut {status}) : il n’y a rien à prouver."),
        &format!("This order is no sale (status {status}): there is nothing to prove."),
    )
}
