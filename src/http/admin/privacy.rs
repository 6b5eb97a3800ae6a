//! /api/privacy: what is stored about a person's address, and erasing it. The address comes in the body: it must not
//! stand in a URL, a log or a browser's history.

use serde::Serialize;
use serde_json::json;
use warp::http::StatusCode;
use warp::reply::Response;

use super::acts::{self, Act, signer};
use super::api::{self, named};
use super::desk::Desk;
use super::view::Order;
use super::{Badge, Office};
use crate::actors::AskError;
use crate::domain::decide::Refusal;
use crate::domain::input::Input;
use crate::domain::payment::Payment;
use crate::domain::personal::objection;
use crate::domain::values::{Email, OrderId};
use crate::http::answer::{self, Problem};
use crate::http::call::{Call, Fields};
use crate::ledger::{Ledger, LedgerError};

/// Most orders of one address that are told or erased at a time: a person has a handful.
const ORDERS_MAX: usize = 1000;

/// What becomes of one order.
#[derive(Debug, Serialize)]
struct Fate {
    order_id: OrderId,
    status: &'static str,
    product: String,
    /// `erasable`, `erased` or `kept`.
    outcome: &'static str,
    /// Why it is kept, or would be: the kind of the refusal; `force` overrides `delivery-owed` and `former-address`.
    reason: Option<&'static str>,
    /// What the buyer and the merchant lose by it.
    loses: Vec<&'static str>,
}

/// The act on one order's page.
pub(super) fn act(desk: &Desk) -> Act {
    Act {
        name: "erase",
        label: desk.say("Effacer les données personnelles", "Erase the personal data"),
        consequence: desk
            .say(
                "L’adresse, le nom, le téléphone et les motifs tapés sont effacés pour toujours, le lien est désactivé et plus aucun e-mail ne part. Le montant, le statut et les numéros restent. Gardez le reçu avant, s’il le faut. Cela ne s’annule pas.",
                "Address, name, telephone and typed reasons are erased for good, the link is withdrawn and no mail is sent any more. Amount, status and numbers stay. Keep the receipt before, if you must. This cannot be undone.",
            )
            .to_owned(),
        reasoned: false,
    }
}

/// `POST /api/privacy/export`: everything stored about an address, order by order.
pub(super) async fn export(office: &Office, call: &mut Call, badge: &Badge) -> Result<Response, Problem> {
    let fields = api::fields(call, badge).await?;
    let address = acts::address(&fields)?;
    let ledger = office.deps.ledger.clone();
    let told = api::read(move || told(&ledger, &address)).await?;
    tracing::info!(orders = told.len(), "what is stored about an address was exported");
    Ok(answer::json(StatusCode::OK, &json!({ "orders": told })))
}

fn told(ledger: &Ledger, address: &Email) -> Result<Vec<serde_json::Value>, LedgerError> {
    let mut told = Vec::new();
    for payment in orders(ledger, address)? {
        let order = Order::of(&payment, &ledger.history(payment.id)?);
        let receipt = ledger.receipt(payment.id)?.map(|number| number.to_string());
        told.push(json!({
            "order": order,
            "buyer": payment.buyer,
            "receipt": receipt,
            "payment_url": payment.payment_url,
            "is_former_address": is_former(&payment, address),
        }));
    }
    Ok(told)
}

fn orders(ledger: &Ledger, address: &Email) -> Result<Vec<Payment>, LedgerError> {
    let ids = ledger.mentions(address)?;
    let loaded = ids.into_iter().take(ORDERS_MAX).map(|id| ledger.load(id));
    loaded.filter_map(Result::transpose).collect()
}

/// Whether the address was corrected since: the order is somebody else's now.
fn is_former(payment: &Payment, address: &Email) -> bool {
    payment.buyer.email.expose().to_lowercase() != address.expose().to_lowercase()
}

/// `POST /api/privacy/erase`: what would be lost; and with `confirm`, the address once more, the erasure itself.
pub(super) async fn erase(office: &Office, call: &mut Call, badge: &Badge) -> Result<Response, Problem> {
    let fields = api::fields(call, badge).await?;
    let address = acts::address(&fields)?;
    let by = signer(fields.get("by").unwrap_or(named(badge)))?;
    let force = is_yes(&fields, "force");
    let confirmed = match fields.get("confirm") {
        None => false,
        Some(again) if again.trim() == address.expose() => true,
        Some(_) => {
            return Err(Problem::field(
                "confirm",
                "Pour confirmer, répétez l’adresse.",
                "To confirm, repeat the address.",
            ));
        }
    };
    let (ledger, looked) = (office.deps.ledger.clone(), address.clone());
    let found = api::read(move || orders(&ledger, &looked)).await?;
    let mut fates = Vec::with_capacity(found.len());
    for payment in &found {
        let reason = if is_former(payment, &address) && !force {
            Some("former-address")
        } else {
            objection(payment).filter(|refusal| !(force && *refusal == Refusal::Owed)).map(kind)
        };
        let outcome = match (reason, confirmed) {
            (Some(reason), _) => ("kept", Some(reason)),
            (None, false) => ("erasable", None),
            (None, true) => erased(office, payment.id, &by, force).await?,
        };
        fates.push(fate(payment, outcome));
    }
    let count = |outcome: &str| fates.iter().filter(|fate| fate.outcome == outcome).count();
    let counts = json!({
        "erased": count("erased"), "erasable": count("erasable"), "kept": count("kept"), "orders": fates,
    });
    Ok(answer::json(StatusCode::OK, &counts))
}

/// One order at a time: each is its own commit, and what was done stays done.
async fn erased(
    office: &Office,
    order: OrderId,
    by: &str,
    force: bool,
) -> Result<(&'static str, Option<&'static str>), Problem> {
    match office.deps.orders.submit(order, Input::Erase { by: by.to_owned(), force }).await {
        Ok(_) => {
            tracing::info!(%order, "an order's personal data were erased");
            Ok(("erased", None))
        }
        // It moved on between the look and the act.
        Err(AskError::Refused(refusal)) => Ok(("kept", Some(kind(refusal)))),
        Err(error) => {
            tracing::error!(%order, ?error, "an order could not be erased");
            Err(error.into())
        }
    }
}

fn is_yes(fields: &Fields, name: &str) -> bool {
    fields.get(name).is_some_and(|word| word == "yes")
}

/// The refusal as the API names it.
fn kind(refusal: Refusal) -> &'static str {
    Problem::from(refusal).kind
}

fn fate(payment: &Payment, (outcome, reason): (&'static str, Option<&'static str>)) -> Fate {
    let mut loses = vec!["email"];
    let buyer = &payment.buyer;
    loses.extend(buyer.name.as_ref().map(|_| "name"));
    loses.extend(buyer.phone.as_ref().map(|_| "phone"));
    if let Some(sale) = payment.sale() {
        loses.extend((!sale.link.revoked).then_some("link"));
        loses.push("name on the receipt");
    }
    let (order_id, status, product) = (payment.id, payment.status_name(), payment.product.clone());
    Fate { order_id, status, product, outcome, reason, loses }
}
