//! `/admin/orders/<id>/proof/`: a sale, proved with the merchant's signature, to be printed or handed on as a file.

use askama::Template;
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderValue};
use warp::reply::Response;

use super::super::Office;
use super::super::desk::Desk;
use super::{attached, evidence};
use crate::domain::evidence::Entry;
use crate::domain::payment::Payment;
use crate::domain::proof::{Material, sealed};
use crate::domain::sheet::Row;
use crate::domain::words;
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
    issued: crate::domain::values::Timestamp,
}

/// As a page for the printer; the file is what counts.
pub(super) async fn show(office: &Office, desk: &Desk, id: &str) -> Result<Response, Problem> {
    let Sealed { payment, entries, text, issued } = seal(office, id).await?;
    let (zone, lang) = (office.deps.settings.zone, desk.lang());
    let row = Row::of(&payment, zone);
    let signature = text.rsplit('"').nth(1).unwrap_or_default().to_owned();
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
        signature,
        fingerprint: office
            .deps
            .seals
            .proof
            .public
            .first()
            .map(|key| key.fingerprint.clone())
            .unwrap_or_default(),
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
    Ok(attached(answer, &format!("preuve-{}.json", payment.id)))
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
    let key = deps.seals.proof.public.first().ok_or_else(Problem::unavailable)?;
    let material = Material {
        payment: &payment,
        entries: &entries,
        site_id: &deps.site_id,
        merchant: &deps.settings.merchant,
        zone: deps.settings.zone,
        now: issued,
        public_key: &key.der,
    };
    let statement = material.statement().ok_or_else(|| unsold(&payment))?;
    let json = serde_json::to_string_pretty(&statement).map_err(|error| {
        tracing::error!(%error, "a proof could not be written");
        Problem::unavailable()
    })?;
    let text = sealed(&json, |bytes| (deps.seals.proof.sign)(bytes));
    Ok(Sealed { payment, entries, text, issued })
}

fn unsold(payment: &Payment) -> Problem {
    let status = payment.status_name();
    Problem::new(StatusCode::CONFLICT, "not-sold").explained(
        &format!("Cette commande n’est pas une vente (statut {status}) : il n’y a rien à prouver."),
        &format!("This order is no sale (status {status}): there is nothing to prove."),
    )
}
