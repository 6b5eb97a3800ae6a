//! The courier's errand: one try to hand the delivery mail to the mail server.

use std::sync::Arc;

use tracing::Instrument;

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
    let link = sale.link.number;
    let span = tracing::debug_span!("deliver", order = %payment.id);
    let time = shared.parts.settings.errand_time;
    let work = async move {
        match shared.parts.mailer.send(letter).await {
            Posted::Accepted => Report::MailAccepted { link },
            Posted::Refused { reason } => Report::MailRefused { link, reason },
            Posted::Unavailable { reason } => Report::MailUnavailable { link, reason },
        }
    };
    let lost = Report::MailUnavailable { link, reason: "LOST".to_owned() };
    Errand { work: Box::pin(work.instrument(span)), lost, time }
}
