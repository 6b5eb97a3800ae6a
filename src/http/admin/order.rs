//! /admin/orders/…/: one order with its whole story.

use askama::Template;
use warp::http::StatusCode;
use warp::reply::Response;

use super::acts::{self, Act};
use super::desk::Desk;
use super::timeline::{self, Moment};
use super::view::status_words;
use super::{Office, api};
use crate::domain::payment::{LinkState, Mail, Payment, Sale, Status};
use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::Timestamp;
use crate::domain::words;
use crate::http::answer::{self, Problem};
use crate::http::call::Call;

#[derive(Template)]
#[template(path = "admin_order.html")]
struct Single {
    desk: Desk,
    id: String,
    status: &'static str,
    words: &'static str,
    amount: String,
    /// What was just done, or nothing.
    done: &'static str,
    /// What a person has to know first, or nothing.
    notice: String,
    /// What there is to know, by name.
    facts: Vec<(&'static str, String)>,
    acts: Vec<Act>,
    timeline: Vec<Moment>,
}

/// GET /admin/orders/…/.
pub(super) async fn show(office: &Office, call: &Call, desk: &Desk, id: &str) -> Result<Response, Problem> {
    let payment = office.deps.load(api::known(id)?)?.ok_or_else(api::unknown)?;
    let lines = api::history(&office.deps, &payment).await?;
    let (ledger, order) = (office.deps.ledger.clone(), payment.id);
    let receipt = api::read(move || ledger.receipt(order)).await?;
    let (desk, now) = (desk.at("orders"), office.deps.now());
    let page = Single {
        id: payment.id.to_string(),
        status: payment.status_name(),
        words: status_words(&desk, payment.status_name()),
        amount: words::amount(payment.price, desk.lang()),
        done: acts::done(&desk, call.query().get("done").unwrap_or_default()),
        notice: notice(&desk, &payment),
        facts: facts(&desk, &payment, receipt, now),
        acts: acts::offered(&desk, &payment, now),
        timeline: timeline::of(&desk, &payment, &lines),
        desk,
    };
    Ok(answer::page(StatusCode::OK, &page))
}

/// What is unusual about this order.
fn notice(desk: &Desk, payment: &Payment) -> String {
    match &payment.status {
        Status::Review { claimed, .. } => {
            let (paid, price) =
                (acts::claimed_words(desk, *claimed), words::amount(payment.price, desk.lang()));
            let fr = format!(
                "Payé : {paid}, au lieu de {price}. Rien n’est livré tant que vous n’avez pas décidé."
            );
            let en = format!("Paid: {paid}, instead of {price}. Nothing is delivered until you decide.");
            desk.say(&fr, &en).to_owned()
        }
        Status::Paid(Sale { mail: Mail::Stalled { reason }, .. }) => {
            let fr = format!(
                "Payée, mais le serveur de messagerie a refusé l’e-mail pour de bon ({reason}). Vérifiez l’adresse, puis corrigez-la ou renvoyez."
            );
            let en = format!(
                "Paid, but the mail server refused the mail for good ({reason}). Check the address, then correct it or send again."
            );
            desk.say(&fr, &en).to_owned()
        }
        Status::Created(_)
        | Status::Pending { .. }
        | Status::Paid(_)
        | Status::Failed { .. }
        | Status::Expired { .. }
        | Status::Refunded(_) => String::new(),
    }
}

fn facts(
    desk: &Desk,
    payment: &Payment,
    receipt: Option<ReceiptNumber>,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let buyer = &payment.buyer;
    let mut facts = vec![
        (desk.say("Produit", "Product"), format!("{} · {}", payment.product, payment.tier)),
        ("E-mail", buyer.email.expose().to_owned()),
    ];
    let mut put = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    put(desk.say("Nom", "Name"), buyer.name.as_ref().map(|name| name.expose().to_owned()));
    put(desk.say("Téléphone", "Telephone"), buyer.phone.as_ref().map(|phone| phone.expose().to_owned()));
    put(desk.say("Effacée", "Erased"), payment.erased_at.map(|at| desk.moment(at)));
    put(desk.say("Créée", "Taken"), Some(desk.moment(payment.created_at)));
    let proof = match &payment.status {
        Status::Paid(sale) | Status::Refunded(sale) => Some((&sale.provider_tx_id, &sale.payment_method)),
        Status::Review { provider_tx_id, payment_method, .. } => Some((provider_tx_id, payment_method)),
        Status::Created(_) | Status::Pending { .. } | Status::Failed { .. } | Status::Expired { .. } => None,
    };
    put(desk.say("Payée", "Paid"), payment.sale().map(|sale| desk.moment(sale.paid_at)));
    put(desk.say("Reçu n°", "Receipt no."), receipt.map(|number| number.to_string()));
    if let Some((transaction, method)) = proof {
        put(
            desk.say("Opérateur", "Operator"),
            method.as_deref().map(|code| words::operator(code).to_owned()),
        );
        put("Transaction", transaction.clone());
    }
    if let Some(sale) = payment.sale() {
        put(desk.say("Livraison", "Delivery"), Some(delivery(desk, sale)));
        put(desk.say("Lien", "Link"), Some(link(desk, sale, now)));
    }
    facts
}

fn delivery(desk: &Desk, sale: &Sale) -> String {
    let (words, detail) = match &sale.mail {
        Mail::Owed { tries: 0, .. } => (desk.say("e-mail à envoyer", "mail to be sent"), String::new()),
        Mail::Owed { tries, at } => {
            let again = desk.say("essais manqués, prochain :", "tries failed, the next one:");
            (
                desk.say("e-mail pas encore parti", "mail not sent yet"),
                format!("{tries} {again} {}", desk.moment(*at)),
            )
        }
        Mail::Sent { at } => (desk.say("e-mail remis", "mail taken by the server"), desk.moment(*at)),
        Mail::Stalled { reason } => (desk.say("e-mail refusé", "mail refused"), reason.clone()),
    };
    if detail.is_empty() { words.to_owned() } else { format!("{words} · {detail}") }
}

fn link(desk: &Desk, sale: &Sale, now: Timestamp) -> String {
    let link = &sale.link;
    let (fr, en) = match link.state(now) {
        LinkState::Live => ("valable jusqu’au", "works until"),
        LinkState::Expired => ("expiré le", "ended on"),
        LinkState::UsedUp => ("épuisé ; valable jusqu’au", "used up; until"),
        LinkState::Revoked => ("désactivé ; valable jusqu’au", "withdrawn; until"),
    };
    let used = words::downloads(link.downloads, desk.lang());
    let of = desk.say("sur", "of");
    format!("{} {} · {used} {of} {}", desk.say(fr, en), desk.moment(link.expires_at), link.max_downloads)
}
