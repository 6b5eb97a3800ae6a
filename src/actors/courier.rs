//! The courier's errand: one try to hand the delivery mail to the mail server.

use std::sync::Arc;

use super::Shared;
use super::errand::Errand;
use crate::domain::input::Report;
use crate::domain::payment::{Payment, Sale};
use crate::ports::{Letter, Posted};

/// Sends the mail of `sale`.
pub(super) fn deliver(shared: Arc<Shared>, payment: &Payment, sale: &Sale) -> Errand {
    let catalog = shared.parts.catalog.now();
    let found = catalog.find(&payment.product, &payment.tier);
    let (product, tier) = match found {
        Some((product, tier)) => (product.name.clone(), tier.name.clone()),
        // A product that left the catalogue was still sold: its slug is better than no mail.
        None => (payment.product.clone(), payment.tier.clone()),
    };
    let letter = Letter {
        order: payment.id,
        buyer: payment.buyer.clone(),
        product,
        tier,
        price: payment.price,
        link: sale.link.clone(),
    };
    let time = shared.parts.settings.errand_time;
    let work = async move {
        match shared.parts.mailer.send(letter).await {
            Posted::Accepted => Report::MailAccepted,
            Posted::Refused { reason } => Report::MailRefused(reason),
            Posted::Unavailable { reason } => Report::MailUnavailable(reason),
        }
    };
    Errand { work: Box::pin(work), lost: Report::MailUnavailable("LOST".to_owned()), time }
}
