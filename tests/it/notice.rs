//! A notification as CinetPay sends it, signed for real.

use auditshield::adapters::cinetpay::signature::sign;
use auditshield::simulator::FIELDS;

/// Form and `x-token` about `transaction`; what it says of the telephone, in `cpm_custom` and as its message.
pub(crate) fn signed(
    site: &str,
    secret: &str,
    transaction: &str,
    [phone, custom, message]: [&str; 3],
) -> (String, String) {
    let (time, amount) = ("2026-09-29 14:13:16", "15000");
    let values = [
        [site, transaction, time, amount],
        ["XOF", "aa", "OM", phone],
        ["225", "fr", "V4", "SINGLE"],
        ["PAYMENT", custom, "Kit", message],
    ]
    .concat();
    let pairs = FIELDS.iter().zip(&values);
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let bytes: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
    (form, sign(secret.as_bytes(), &bytes))
}
