//! The verifier's errands: ask CinetPay what became of a payment, or to open a payment page.

use std::sync::Arc;

use super::Shared;
use super::errand::Errand;
use crate::domain::input::{Report, Verdict};
use crate::domain::payment::Payment;
use crate::domain::values::{Attempt, TransactionId};
use crate::ports::{OpenRequest, Opened, RequestId};

/// What CinetPay may say of a transaction that it does not know (no capture exists), and of credentials that it does not
/// take. A page under another number does no harm then, and with wrong credentials it is refused.
const CANNOT_TELL: [&str; 3] = ["609", "613", "624"];

/// Which part of an errand's time the question about an older page may take, once a newer one was paid otherwise.
const OTHERS_SHARE: u32 = 16;

/// Asks about every attempt up to the newest.
pub(super) fn check(shared: Arc<Shared>, payment: Arc<Payment>, cause: &RequestId) -> Errand {
    let (order, newest, time) = (payment.id, payment.attempt, shared.parts.settings.errand_time);
    let (notices, price) = (payment.notices.len(), payment.price);
    let work = async move {
        let mut answers = Vec::new();
        let mut otherwise = false;
        for attempt in newest.newest_first() {
            let check = shared.parts.provider.check(TransactionId { order, attempt });
            // Once something was paid, older pages must not cost its report the errand's time.
            let verdict = if otherwise {
                tokio::time::timeout(time / OTHERS_SHARE, check).await.unwrap_or_else(|_| unheard())
            } else {
                check.await
            };
            // Another amount decides nothing yet: the right one may have been paid on an older page.
            let decisive = matches!(&verdict, Verdict::Accepted(paid) if paid.claimed.is(price));
            otherwise |= matches!(verdict, Verdict::Accepted(_));
            answers.push((attempt, verdict));
            if decisive {
                break;
            }
        }
        Report::Checked { answers, notices }
    };
    let span = tracing::error_span!("check", request_id = %cause, %order);
    let lost = Report::Checked { answers: vec![(newest, unheard())], notices };
    Errand::new((cause, span), work, lost, time)
}

fn unheard() -> Verdict {
    Verdict::Unknown { code: "LOST".to_owned(), answered: false, retry_after: None }
}

/// Opens a payment page. `ask_first` where an earlier asking may have opened it unheard: its answer was not read, or a
/// crash fell in between. A transaction that CinetPay may know is never opened again under the same number.
pub(super) fn open(shared: Arc<Shared>, payment: Arc<Payment>, ask_first: bool, cause: &RequestId) -> Errand {
    let (newest, time) = (payment.attempt, shared.parts.settings.errand_time);
    let span = tracing::error_span!("open", request_id = %cause, order = %payment.id);
    let work = async move {
        if !ask_first {
            return open_now(&shared, &payment, newest).await;
        }
        let transaction = TransactionId { order: payment.id, attempt: newest };
        match shared.parts.provider.check(transaction).await {
            paid @ Verdict::Accepted(_) => {
                Report::Checked { answers: vec![(newest, paid)], notices: payment.notices.len() }
            }
            Verdict::Unknown { answered: false, code, .. } if !CANNOT_TELL.contains(&code.as_str()) => {
                Report::NotOpened { attempt: newest, reason: code, ambiguous: false }
            }
            Verdict::Pending { .. } | Verdict::Refused { .. } | Verdict::Unknown { .. } => {
                match newest.next() {
                    Some(next) => open_now(&shared, &payment, next).await,
                    None => {
                        Report::NotOpened { attempt: newest, reason: "ATTEMPTS".to_owned(), ambiguous: false }
                    }
                }
            }
        }
    };
    let lost = Report::NotOpened { attempt: newest, reason: "LOST".to_owned(), ambiguous: true };
    Errand::new((cause, span), work, lost, time)
}

async fn open_now(shared: &Shared, payment: &Payment, attempt: Attempt) -> Report {
    let parts = &shared.parts;
    let catalog = parts.catalog.now();
    let description = match catalog.find(&payment.product, &payment.tier) {
        Some((product, tier)) => format!("{} - {}", product.name, tier.name),
        None => payment.product.clone(),
    };
    let request = OpenRequest {
        transaction: TransactionId { order: payment.id, attempt },
        price: payment.price,
        description,
        buyer: payment.buyer.clone(),
    };
    match parts.provider.open(request).await {
        Opened::Page { payment_url, payment_token } => Report::Opened { attempt, payment_url, payment_token },
        Opened::Refused { reason } | Opened::NotSent { reason } => {
            Report::NotOpened { attempt, reason, ambiguous: false }
        }
        Opened::Ambiguous { reason } => Report::NotOpened { attempt, reason, ambiguous: true },
    }
}
