//! Notifications as CinetPay sends them, signed beforehand, and the credentials of both sides.

use auditshield::adapters::cinetpay::signature;
use auditshield::simulator;

pub(crate) const API_KEY: &str = "bench-api-key-0123456789";
pub(crate) const WEBHOOK_SECRET: &str = "bench-webhook-secret-0123456789";
pub(crate) const SITE: &str = "445160";

/// A notification's form and its `x-token`.
pub(crate) fn notice(order: &str) -> (String, String) {
    let values = [
        SITE,
        order,
        "2026-09-29 14:13:16",
        "15000",
        "XOF",
        "7a1f0c9e5b3d48f2a6c4e8d0b9f7a5c3e1d2b4f6a8c0e2d4b6f8a1c3e5d7b9f0a2c4",
        "OM",
        "0707070707",
        "225",
        "fr",
        "V4",
        "SINGLE",
        "PAYMENT",
        "",
        "Kit d'audit",
        "SUCCES",
    ];
    let pairs = simulator::FIELDS.iter().zip(values);
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let bytes: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
    (form, signature::sign(WEBHOOK_SECRET.as_bytes(), &bytes))
}
