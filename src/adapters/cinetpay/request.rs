//! The exact JSON of an init request.

use serde_json::{Map, Value, json};

use crate::domain::values::Lang;
use crate::ports::OpenRequest;

/// Longest description sent, in characters.
const DESCRIPTION_CHARS_MAX: usize = 100;
/// Characters that CinetPay refuses in a description.
const REFUSED: [char; 5] = ['#', '/', '$', '_', '&'];

/// The merchant's part of every init request.
pub struct Merchant<'a> {
    /// `apikey`.
    pub api_key: &'a str,
    /// `site_id`, digits.
    pub site_id: &'a str,
    /// Where CinetPay posts notifications.
    pub notify_url: &'a str,
    /// Where the buyer comes back to.
    pub return_url: &'a str,
    /// ALL, MOBILE_MONEY, CREDIT_CARD or WALLET.
    pub channels: &'a str,
}

/// The body of `POST /v2/payment`. No `customer_*` field is sent: cards want all nine, we never hold an
/// address, and a part of them is answered 624.
pub fn init(merchant: &Merchant<'_>, request: &OpenRequest) -> Value {
    let amount = request.price.decimal();
    let lang = match request.buyer.lang {
        Lang::Fr => "fr",
        Lang::En => "en",
    };
    let mut body = Map::new();
    let texts = [
        ("apikey", merchant.api_key.to_owned()),
        ("site_id", merchant.site_id.to_owned()),
        ("transaction_id", request.transaction.to_string()),
        ("currency", request.price.currency().code().to_owned()),
        ("description", description(&request.description)),
        ("notify_url", merchant.notify_url.to_owned()),
        ("return_url", merchant.return_url.to_owned()),
        ("channels", merchant.channels.to_owned()),
        ("lang", lang.to_owned()),
        ("metadata", request.transaction.order.to_string()),
    ];
    body.extend(texts.map(|(name, text)| (name.to_owned(), Value::String(text))));
    // A JSON number: an integer, or cents after the point for USD.
    body.insert("amount".to_owned(), serde_json::from_str(&amount).unwrap_or_else(|_| json!(amount)));
    Value::Object(body)
}

/// Without the refused characters and controls, spaces folded, bounded, never empty.
fn description(text: &str) -> String {
    let clean = text.replace(|c: char| REFUSED.contains(&c) || c.is_control(), " ");
    let folded = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    let bounded: String = folded.chars().take(DESCRIPTION_CHARS_MAX).collect();
    if bounded.is_empty() { "Commande".to_owned() } else { bounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_hold_nothing_cinetpay_refuses() {
        assert_eq!(description("Kit #1 / d'audit_pro & $co\r\n"), "Kit 1 d'audit pro co");
        assert_eq!(description("#/$_&"), "Commande");
        assert_eq!(description(&"é".repeat(500)).chars().count(), DESCRIPTION_CHARS_MAX);
    }
}
