//! A notification that `auditshield doctor` sends to its own notify address: signed like CinetPay's, about no order.

use super::signature;

/// Before the number, in `cpm_trans_id`. No order's number begins like this.
const MARK: &str = "DOCTOR-";

/// The number of a trial, if the transaction is one.
pub fn number(transaction: &str) -> Option<&str> {
    transaction.strip_prefix(MARK).filter(|rest| !rest.is_empty())
}

/// Form and `x-token`. The values hold what filters on the way like to rewrite: accents, an empty field, signs.
pub fn notification(site_id: &str, number: &str, secret: &[u8]) -> (String, String) {
    let transaction = format!("{MARK}{number}");
    let values = signature::FIELDS.map(|field| match field {
        "cpm_site_id" => site_id,
        "cpm_trans_id" => transaction.as_str(),
        "cpm_trans_date" => "2026-01-01 00:00:00",
        "cpm_amount" => "100",
        "cpm_currency" => "XOF",
        "payment_method" => "OM",
        "cpm_language" => "fr",
        "cpm_version" => "V4",
        "cpm_designation" => "Essai d'été & <café> 100% + « ok »",
        "cpm_error_message" => "SUCCES",
        _ => "",
    });
    let pairs = signature::FIELDS.iter().zip(values);
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let bytes: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
    (form, signature::sign(secret, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifies_like_cinetpays_and_is_no_orders() {
        let (form, token) = notification("445160", "17", b"secret");
        let verified = signature::Verifier::new([b"secret"]).verify(form.as_bytes(), Some(token.as_bytes()));
        let verified = verified.unwrap_or_else(|why| panic!("{why}"));
        let transaction = String::from_utf8_lossy(verified.field("cpm_trans_id")).into_owned();
        assert_eq!(number(&transaction), Some("17"));
        assert!(crate::domain::values::TransactionId::parse(&transaction).is_err());
        for other in ["DOCTOR-", "doctor-17", "01KA3M5W6K8Y2Q4Z7X9B1C3D5E", ""] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
