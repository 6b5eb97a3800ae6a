//! `x-token` as CinetPay computes it, written apart from the verifier in `adapters` on purpose: two
//! implementations that agree on bytes catch a mistake that one shared function would hide.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The form fields of a notification, in the documented order.
pub const FIELDS: [&str; 16] = [
    "cpm_site_id",
    "cpm_trans_id",
    "cpm_trans_date",
    "cpm_amount",
    "cpm_currency",
    "signature",
    "payment_method",
    "cel_phone_num",
    "cpm_phone_prefixe",
    "cpm_language",
    "cpm_version",
    "cpm_payment_config",
    "cpm_page_action",
    "cpm_custom",
    "cpm_designation",
    "cpm_error_message",
];

/// Lower-case hex of HMAC-SHA256(secret, the values one after the other, nothing between them).
pub fn x_token(secret: &[u8], values: &[String]) -> String {
    // HMAC takes a key of any length, so the error arm cannot be reached; an empty token is simply wrong.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return String::new() };
    for value in values {
        mac.update(value.as_bytes());
    }
    hex::encode(mac.finalize().into_bytes())
}

/// `length` hex characters derived from `seed`: the same run gives the same tokens, and nothing secret hangs on them.
pub(super) fn derived_hex(seed: &str, length: usize) -> String {
    let mut text = String::new();
    let mut round = 0_u32;
    while text.len() < length {
        text.push_str(&hex::encode(Sha256::digest(format!("{round}:{seed}").as_bytes())));
        round += 1;
    }
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(custom: &str, designation: &str, message: &str) -> String {
        let opaque = "a".repeat(68);
        let values = [
            "445160",
            "ORD0001",
            "2022-09-29 14:13:16",
            "100",
            "XOF",
            &opaque,
            "OM",
            "0707070707",
            "225",
            "fr",
            "V4",
            "SINGLE",
            "PAYMENT",
            custom,
            designation,
            message,
        ];
        x_token(b"test_secret_key", &values.map(str::to_owned))
    }

    #[test]
    fn the_published_vectors() {
        assert_eq!(
            token("", "Café étoilé", "SUCCES"),
            "8f8238d917622c7ca0e22bc187d2d1cdba2a98c987113a5f16349c8fafddc4ca"
        );
        assert_eq!(
            token("user:42", "Paiement abonnement", "TRANSACTION_CANCEL"),
            "f50c99bc25b368bb10bef969e7c763af15030e663e931f8bea51fac4651a7aec"
        );
    }

    #[test]
    fn derived_hex_is_stable_and_as_long_as_asked() {
        assert_eq!(derived_hex("x", 110).len(), 110);
        assert_eq!(derived_hex("x", 110), derived_hex("x", 110));
        assert_ne!(derived_hex("x", 110), derived_hex("y", 110));
    }
}
