//! A paid order's receipt: a page to be read and printed, and a PDF to be kept.

use warp::http::StatusCode;
use warp::http::header::{CONTENT_DISPOSITION, HeaderValue};
use warp::reply::Response;

use super::{names, open};
use crate::adapters::receipt as paper;
use crate::domain::payment::Payment;
use crate::domain::receipt::Receipt;
use crate::domain::values::Name;
use crate::domain::words;
use crate::http::answer::{self, Problem};
use crate::http::call::Call;
use crate::http::pages::{self, Frame};
use crate::http::{Deps, Site, download};

/// GET `/commande/<order id>/recu/`.
pub(crate) fn page(site: &Site, call: &Call) -> Response {
    answered(&site.deps, call, |receipt| answer::page(StatusCode::OK, &in_words(call, receipt)))
}

/// GET `/commande/<order id>/recu.pdf`.
pub(crate) fn pdf(site: &Site, call: &Call) -> Response {
    answered(&site.deps, call, |receipt| {
        let mut answer = answer::pdf(paper::pdf(receipt, &call.merchant));
        let shown = format!("inline; filename=\"{}\"", paper::file_name(receipt));
        if let Ok(value) = HeaderValue::from_str(&shown) {
            answer.headers_mut().insert(CONTENT_DISPOSITION, value);
        }
        answer
    })
}

/// The receipt for whoever may see the order; its page where nothing was paid yet.
fn answered(deps: &Deps, call: &Call, show: impl FnOnce(&Receipt) -> Response) -> Response {
    let found = open(deps, call).and_then(|opened| Ok((opened.payment.id, of(deps, &opened.payment)?)));
    download::private(match found {
        Ok((_, Some(receipt))) => show(&receipt),
        Ok((order, None)) => answer::see_other(&format!("/commande/{order}/")),
        Err(problem) => problem.answer_page(call),
    })
}

/// The receipt of a paid order.
fn of(deps: &Deps, payment: &Payment) -> Result<Option<Receipt>, Problem> {
    let number = deps.ledger.receipt(payment.id).map_err(|error| {
        tracing::error!(order = %payment.id, %error, "a receipt's number could not be read");
        Problem::unavailable()
    })?;
    Ok(number.and_then(|number| Receipt::of(payment, number, names(deps, payment))))
}

fn in_words(call: &Call, receipt: &Receipt) -> pages::Receipt {
    let frame = Frame::of(call);
    let lang = frame.lang();
    pages::Receipt {
        number: receipt.number.to_string(),
        order: receipt.order.to_string(),
        product: receipt.product.clone(),
        tier: receipt.tier.clone(),
        price: words::amount(receipt.price, lang),
        paid: words::moment(receipt.paid_at, lang),
        buyer: receipt.buyer.name.as_ref().map(Name::expose).unwrap_or_default().to_owned(),
        operator: words::operator(&receipt.method).to_owned(),
        transaction: receipt.transaction.clone(),
        refunded: receipt.refunded,
        frame,
    }
}
