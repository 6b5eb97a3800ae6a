//! The courier's errands: one try to hand a mail to the mail server.

use std::sync::Arc;

use super::Shared;
use super::errand::Errand;
use crate::domain::input::{Reminding, Report};
use crate::domain::payment::{LinkState, Payment, Sale};
use crate::domain::receipt::Receipt;
use crate::domain::reminder::Reminder;
use crate::ports::{Letter, Occasion, Posted, RequestId};

/// Sends the mail of `sale`.
pub(super) fn deliver(shared: Arc<Shared>, payment: &Payment, sale: &Sale, cause: &RequestId) -> Errand {
    let letter = letter(&shared, payment, sale, Occasion::Delivery);
    let link = sale.link.number;
    let span = tracing::error_span!("deliver", request_id = %cause, order = %payment.id);
    let time = shared.parts.settings.errand_time;
    let work = async move {
        match shared.parts.mailer.send(letter).await {
            Posted::Accepted => Report::MailAccepted { link },
            Posted::Refused { reason } => Report::MailRefused { link, reason },
            Posted::Unavailable { reason } => Report::MailUnavailable { link, reason },
        }
    };
    let lost = Report::MailUnavailable { link, reason: "LOST".to_owned() };
    Errand::new((cause, span), work, lost, time)
}

/// Reminds the buyer of the link of `sale`, if there is still time.
pub(super) fn remind(shared: Arc<Shared>, payment: &Payment, sale: &Sale, cause: &RequestId) -> Errand {
    let link = sale.link.number;
    let time = shared.parts.settings.errand_time;
    let alive = sale.link.state(shared.parts.clock.now()) == LinkState::Live;
    let letter = match sale.reminder {
        Reminder::Due { planned, .. } if alive => {
            Some(letter(&shared, payment, sale, Occasion::Reminder { planned }))
        }
        Reminder::Due { .. } | Reminder::Off | Reminder::Sent { .. } => None,
    };
    let work = async move {
        let outcome = match letter {
            None => Reminding::Late,
            Some(letter) => match shared.parts.mailer.send(letter).await {
                Posted::Accepted => Reminding::Taken,
                Posted::Refused { reason } => Reminding::Refused { reason },
                Posted::Unavailable { reason } => Reminding::Unavailable { reason },
            },
        };
        Report::Reminder { link, outcome }
    };
    let lost = Report::Reminder { link, outcome: Reminding::Unavailable { reason: "LOST".to_owned() } };
    let span = tracing::error_span!("remind", request_id = %cause, order = %payment.id);
    Errand::new((cause, span), work, lost, time)
}

fn letter(shared: &Shared, payment: &Payment, sale: &Sale, occasion: Occasion) -> Letter {
    let catalog = shared.parts.catalog.now();
    let found = catalog.find(&payment.product, &payment.tier);
    let (product, tier) = match found {
        Some((product, tier)) => (product.name.clone(), tier.name.clone()),
        // A product that left the catalogue was still sold: its slug is better than no mail.
        None => (payment.product.clone(), payment.tier.clone()),
    };
    let receipt = match occasion {
        Occasion::Delivery => receipt(shared, payment, (product.clone(), tier.clone())),
        Occasion::Reminder { .. } => None,
    };
    Letter {
        order: payment.id,
        buyer: payment.buyer.clone(),
        product,
        tier,
        price: payment.price,
        link: sale.link.clone(),
        occasion,
        receipt,
    }
}

/// The receipt to attach. The link must not wait for it: where its number cannot be read the mail goes without.
fn receipt(shared: &Shared, payment: &Payment, names: (String, String)) -> Option<Receipt> {
    match shared.parts.ledger.receipt(payment.id) {
        Ok(number) => number.and_then(|number| Receipt::of(payment, number, names)),
        Err(fault) => {
            tracing::error!(order = %payment.id, %fault, "a receipt's number could not be read");
            None
        }
    }
}
