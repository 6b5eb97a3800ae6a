//! The exact JSON of init and check requests.

use serde_json::{Map, Value, json};
use url::Url;

use crate::domain::values::{Lang, TransactionId};
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
    /// Where the buyer comes back to, as far as the order's query.
    pub return_url: &'a Url,
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
        ("return_url", return_url(merchant.return_url, request.transaction)),
        ("channels", merchant.channels.to_owned()),
        ("lang", lang.to_owned()),
        ("metadata", request.transaction.order.to_string()),
    ];
    body.extend(texts.map(|(name, text)| (name.to_owned(), Value::String(text))));
    // A JSON number: an integer wherever it can be one, as documented; else dollars with cents.
    let amount = amount.strip_suffix(".00").unwrap_or(&amount);
    body.insert("amount".to_owned(), serde_json::from_str(amount).unwrap_or_else(|_| json!(amount)));
    Value::Object(body)
}

/// The body of `POST /v2/payment/check`.
pub fn check(merchant: &Merchant<'_>, transaction: TransactionId) -> Value {
    json!({
        "apikey": merchant.api_key,
        "site_id": merchant.site_id,
        "transaction_id": transaction.to_string(),
    })
}

/// The return page is told the order as a hint: CinetPay's own fields come by POST, and not on every way back.
fn return_url(base: &Url, transaction: TransactionId) -> String {
    let mut url = base.clone();
    url.query_pairs_mut().append_pair("order", &transaction.order.to_string());
    url.into()
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
    use crate::domain::values::{Buyer, Currency, Email, Money, Name, Phone};

    const ORDER: &str = "01JD0QZ6Y3V9K2M4N6P8R0S2T4";

    fn transaction(suffix: &str) -> TransactionId {
        TransactionId::parse(&format!("{ORDER}{suffix}")).unwrap()
    }

    fn request(amount: u64, currency: Currency, lang: Lang) -> OpenRequest {
        OpenRequest {
            transaction: transaction("R2"),
            price: Money::price(amount, currency).unwrap(),
            description: "Kit d'audit – Pro".to_owned(),
            buyer: Buyer {
                email: Email::parse("aicha@example.com").unwrap(),
                name: Some(Name::parse("Aïcha Koné").unwrap()),
                phone: Some(Phone::parse("+2250707070700").unwrap()),
                lang,
            },
        }
    }

    fn with<T>(return_url: &str, then: impl FnOnce(&Merchant<'_>) -> T) -> T {
        then(&Merchant {
            api_key: "key",
            site_id: "445160",
            notify_url: "https://shop.example/notify",
            return_url: &Url::parse(return_url).unwrap(),
            channels: "ALL",
        })
    }

    #[test]
    fn the_whole_init_and_nothing_personal() {
        let asked = request(15_000, Currency::Xof, Lang::Fr);
        let body = with("https://shop.example/return", |merchant| init(merchant, &asked));
        let expected = json!({
            "apikey": "key",
            "site_id": "445160",
            "transaction_id": "01JD0QZ6Y3V9K2M4N6P8R0S2T4R2",
            "amount": 15_000,
            "currency": "XOF",
            "description": "Kit d'audit – Pro",
            "notify_url": "https://shop.example/notify",
            "return_url": "https://shop.example/return?order=01JD0QZ6Y3V9K2M4N6P8R0S2T4",
            "channels": "ALL",
            "lang": "fr",
            "metadata": "01JD0QZ6Y3V9K2M4N6P8R0S2T4",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn dollars_are_numbers_with_their_cents() {
        for (cents, expected) in [(1250, "12.5"), (1299, "12.99"), (2000, "20"), (99_999_999, "999999.99")] {
            let asked = request(cents, Currency::Usd, Lang::En);
            let body = with("https://shop.example/r?a=b", |merchant| init(merchant, &asked));
            assert_eq!(body["amount"].to_string(), expected);
            assert_eq!((body["currency"].as_str(), body["lang"].as_str()), (Some("USD"), Some("en")));
            let back = body["return_url"].as_str().unwrap();
            assert_eq!(back, format!("https://shop.example/r?a=b&order={ORDER}"));
        }
    }

    #[test]
    fn the_whole_check() {
        let body = with("https://shop.example/return", |merchant| check(merchant, transaction("")));
        assert_eq!(body, json!({"apikey": "key", "site_id": "445160", "transaction_id": ORDER}));
    }

    #[test]
    fn descriptions_hold_nothing_cinetpay_refuses() {
        assert_eq!(description("Kit #1 / d'audit_pro & $co\r\n"), "Kit 1 d'audit pro co");
        assert_eq!(description("#/$_&"), "Commande");
        assert_eq!(description(&"é".repeat(500)).chars().count(), DESCRIPTION_CHARS_MAX);
    }
}
