//! /payment/return/: the page that buyers come back to. What they bring is a hint; nothing changes here.

use std::sync::Arc;

use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::call::{Call, Fields};
use super::pages::{Frame, Waiting};
use super::{Site, answer, order};
use crate::domain::values::TransactionId;

/// Largest form that CinetPay's back button posts, in bytes, with plenty of room.
const FORM_BYTES_MAX: usize = 16 * 1024;
const TRANSACTION_ID: &str = "transaction_id";

/// The waiting page, for GET and POST alike.
pub(crate) async fn show(site: &Arc<Site>, mut call: Call) -> Response {
    let form = if call.method == Method::POST {
        // A body that cannot be read is no hint; the page is shown all the same.
        call.body(FORM_BYTES_MAX).await.ok().and_then(|body| Fields::parse(&body)).unwrap_or_default()
    } else {
        Fields::default()
    };
    let query = call.query();
    let hint = form.get(TRANSACTION_ID).or_else(|| query.get(TRANSACTION_ID));
    let id =
        hint.and_then(|text| TransactionId::parse(text.trim()).ok()).map(|transaction| transaction.order);
    let payment = id.and_then(|id| site.deps.load(id).ok().flatten());
    let states = order::states(payment.as_ref());
    let address = match &payment {
        Some(payment) => format!("/payment/return/?{TRANSACTION_ID}={}&", payment.id),
        None => "/payment/return/?".to_owned(),
    };
    let page = Waiting { frame: Frame::of(&call).switching(address), states };
    // Its button for another try ends at CinetPay.
    answer::purchase_page(StatusCode::OK, &page)
}
