//! An order as the API shows it: `{order_id, status, product, …, delivery, events}`.

use serde::Serialize;
use serde_json::{Map, Value};

use super::desk::Desk;
use crate::domain::event::Event;
use crate::domain::payment::{Mail, Payment, Status};
use crate::domain::values::{Currency, OrderId, Timestamp};
use crate::ledger::Line;

/// The contract's order.
#[derive(Debug, Serialize)]
pub(crate) struct Order {
    pub(crate) order_id: OrderId,
    pub(crate) status: &'static str,
    pub(crate) product: String,
    pub(crate) tier: String,
    pub(crate) amount: u64,
    pub(crate) currency: Currency,
    pub(crate) email: String,
    pub(crate) provider_tx_id: Option<String>,
    pub(crate) payment_method: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) paid_at: Option<Timestamp>,
    pub(crate) delivery: Delivery,
    pub(crate) events: Vec<Happening>,
}

/// How far the delivery is.
#[derive(Debug, Serialize)]
pub(crate) struct Delivery {
    /// `none`, `owed`, `sent` or `stalled`.
    pub(crate) status: &'static str,
    pub(crate) delivered_at: Option<Timestamp>,
    pub(crate) tries: u32,
    pub(crate) next_at: Option<Timestamp>,
    pub(crate) reason: Option<String>,
    pub(crate) link: Option<u32>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) downloads: u32,
    pub(crate) max_downloads: u32,
    pub(crate) revoked: bool,
}

/// One event, with the journal line that holds it.
#[derive(Debug, Serialize)]
pub(crate) struct Happening {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) kind: &'static str,
    pub(crate) detail: Value,
}

impl Order {
    /// Of this state and this history.
    pub(crate) fn of(payment: &Payment, lines: &[Line]) -> Self {
        let sale = payment.sale();
        let review = match &payment.status {
            Status::Review { provider_tx_id, payment_method, .. } => Some((provider_tx_id, payment_method)),
            Status::Created(_)
            | Status::Pending { .. }
            | Status::Paid(_)
            | Status::Failed { .. }
            | Status::Expired { .. }
            | Status::Refunded(_) => None,
        };
        let proof = sale.map(|sale| (&sale.provider_tx_id, &sale.payment_method)).or(review);
        Self {
            order_id: payment.id,
            status: payment.status_name(),
            product: payment.product.clone(),
            tier: payment.tier.clone(),
            amount: payment.price.amount(),
            currency: payment.price.currency(),
            email: payment.buyer.email.expose().to_owned(),
            provider_tx_id: proof.and_then(|(id, _)| id.clone()),
            payment_method: proof.and_then(|(_, method)| method.clone()),
            created_at: payment.created_at,
            paid_at: sale.map(|sale| sale.paid_at),
            delivery: Delivery::of(payment),
            // A commit may have come in between: the history ends where the state does.
            events: lines
                .iter()
                .filter(|line| line.version <= payment.version)
                .flat_map(happenings)
                .collect(),
        }
    }
}

impl Delivery {
    fn of(payment: &Payment) -> Self {
        let none = Self {
            status: "none",
            delivered_at: None,
            tries: 0,
            next_at: None,
            reason: None,
            link: None,
            expires_at: None,
            downloads: 0,
            max_downloads: 0,
            revoked: false,
        };
        let Some(sale) = payment.sale() else { return none };
        let (status, tries, next_at, reason) = match &sale.mail {
            Mail::Owed { tries, at } => ("owed", *tries, Some(*at), None),
            Mail::Sent { .. } => ("sent", 0, None, None),
            Mail::Stalled { reason } => ("stalled", 0, None, Some(reason.clone())),
        };
        Self {
            status,
            delivered_at: sale.delivered_at,
            tries,
            next_at,
            reason,
            link: Some(sale.link.number),
            expires_at: Some(sale.link.expires_at),
            downloads: sale.link.downloads,
            max_downloads: sale.link.max_downloads,
            revoked: sale.link.revoked,
        }
    }
}

fn happenings(line: &Line) -> impl Iterator<Item = Happening> + '_ {
    line.events.iter().map(|event| Happening {
        seq: line.seq,
        at: line.at,
        kind: event.kind(),
        detail: Value::Object(detail(event)),
    })
}

/// An event without its kind, which stands beside it.
pub(super) fn detail(event: &Event) -> Map<String, Value> {
    let mut detail = match serde_json::to_value(event) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    };
    detail.remove("kind");
    // The payment page's token is a key to the buyer's payment: nobody here needs it.
    detail.remove("payment_token");
    detail
}

/// A status in words.
pub(super) fn status_words(desk: &Desk, status: &str) -> &'static str {
    let (fr, en) = match status {
        "CREATED" => ("Créée", "Created"),
        "PENDING" => ("En attente", "Waiting"),
        "PAID" => ("Payée", "Paid"),
        "FAILED" => ("Refusée", "Failed"),
        "REVIEW" => ("À décider", "To decide"),
        "EXPIRED" => ("Expirée", "Expired"),
        "REFUNDED" => ("Remboursée", "Refunded"),
        _ => ("?", "?"),
    };
    desk.say(fr, en)
}
