//! What an answer of `/v2/payment/check` means: the classification of CinetPay's codes and words.
//!
//! Why so few answers are final: sources contradict each other and the field names changed over the
//! years, so only ACCEPTED and REFUSED with an unambiguous code end the waiting. A word never seen
//! before is pending, an answer without `data` is unknown; both are asked again.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::answer::json;
use crate::domain::input::{Acceptance, Verdict};
use crate::domain::values::{Claimed, TransactionId};

/// Codes that are never final, whatever the status says (664 has two contradicting meanings).
const NEVER_FINAL: [&str; 6] = ["607", "623", "638", "662", "663", "664"];
/// Codes that say nothing about the payment: bad credentials or an unexplained error.
const NO_ANSWER: [&str; 4] = ["429", "609", "613", "624"];
/// Longest word of CinetPay's kept, in bytes.
const WORD_BYTES_MAX: usize = 64;
/// The HTTP status of throttling.
const TOO_MANY: u16 = 429;

/// The envelope. Values may be strings or numbers, and every one may be missing.
#[derive(Deserialize)]
struct Answer {
    code: Option<Value>,
    data: Option<Value>,
}

/// Classifies one answer: HTTP status, body, and the already bounded `Retry-After`.
pub fn classify(http: u16, body: &[u8], retry_after: Option<Duration>) -> Verdict {
    let unknown = |code: String, answered| Verdict::Unknown { code, answered, retry_after };
    let Some(answer) = json::<Answer>(body) else {
        return unknown(format!("http {http} unreadable"), false);
    };
    let code = match &answer.code {
        // JSON has no number `00`: a code sent as a number loses its first digit.
        Some(Value::Number(zero)) if zero.as_u64() == Some(0) => "00".to_owned(),
        code => code.as_ref().and_then(word).unwrap_or_default(),
    };
    if !(200..300).contains(&http) {
        // "Later" and "who are you?" are no answers about the payment, whatever their status.
        let answered = http < 500 && http != TOO_MANY && !NO_ANSWER.contains(&code.as_str());
        return unknown(if code.is_empty() { format!("http {http}") } else { code }, answered);
    }
    let data = match &answer.data {
        Some(Value::Object(data)) if !NO_ANSWER.contains(&code.as_str()) => data,
        Some(_) | None => {
            let answered = !NO_ANSWER.contains(&code.as_str());
            return unknown(code, answered);
        }
    };
    let field = |name: &str| data.get(name).and_then(word);
    let status = field("status").unwrap_or_default().to_ascii_uppercase();
    match (code.as_str(), status.as_str()) {
        ("00", "ACCEPTED") => Verdict::Accepted(Acceptance {
            claimed: Claimed::read(field("amount").as_deref(), field("currency").as_deref()),
            provider_tx_id: field("operator_id"),
            payment_method: field("payment_method"),
        }),
        (code, "REFUSED") if !NEVER_FINAL.contains(&code) => Verdict::Refused { code: code.to_owned() },
        ("", status) => Verdict::Pending { code: status.to_owned() },
        (code, _) => Verdict::Pending { code: code.to_owned() },
    }
}

/// Names under which an answer may say whose payment it is about, and whose site. None is documented for v2.
const OURS: [&str; 3] = ["transaction_id", "cpm_trans_id", "merchant_transaction_id"];
const SITES: [&str; 2] = ["site_id", "cpm_site_id"];

/// Whether an answer says that it is about another transaction of ours, or another site: one that went astray between
/// two connections decides nothing. What is not shaped like our own numbers is CinetPay's affair.
pub fn is_astray(body: &[u8], asked: TransactionId, site_id: &str) -> bool {
    let Some(answer) = json::<Value>(body) else { return false };
    let said = |name: &&str| [answer.get(*name), answer.get("data").and_then(|data| data.get(*name))];
    let texts =
        |names: &'static [&str]| names.iter().flat_map(said).flatten().filter_map(word).collect::<Vec<_>>();
    let another = |text: &String| TransactionId::parse(text).is_ok_and(|named| named != asked);
    texts(&OURS).iter().any(another) || texts(&SITES).iter().any(|text| text != site_id)
}

/// A string or a number as trimmed, bounded text; nothing for anything else and for blanks.
pub(super) fn word(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let kept = !text.is_empty() && text.len() <= WORD_BYTES_MAX && !text.contains(char::is_control);
    kept.then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn short(http: u16, body: &str) -> String {
        match classify(http, body.as_bytes(), None) {
            Verdict::Accepted(paid) => format!("accepted {:?}", paid.claimed.amount),
            Verdict::Refused { code } => format!("refused {code}"),
            Verdict::Pending { code } => format!("pending {code}"),
            Verdict::Unknown { code, answered, .. } => format!("unknown {code} {answered}"),
        }
    }

    #[test]
    fn every_row_of_the_table() {
        let check = |http, body: &str, expected: &str| assert_eq!(short(http, body), expected, "{body}");
        let paid = r#"{"code":"00","data":{"status":"ACCEPTED","amount":"100","currency":"XOF"}}"#;
        check(200, paid, "accepted Some(100)");
        check(200, &paid.replace("\"100\"", "100"), "accepted Some(100)");
        check(200, &paid.replace("\"00\"", "0"), "accepted Some(100)");
        check(200, &paid.replace("\"00\"", "\"0\""), "pending 0");
        check(200, r#"{"code":"00","data":{"status":"ACCEPTED"}}"#, "accepted None");
        check(200, r#"{"code":"627","data":{"status":"REFUSED"}}"#, "refused 627");
        check(200, r#"{"code":627,"data":{"status":"REFUSED"}}"#, "refused 627");
        check(200, r#"{"code":"600","data":{"status":"REFUSED","payment_date":" "}}"#, "refused 600");
        for code in NEVER_FINAL {
            check(
                200,
                &format!(r#"{{"code":"{code}","data":{{"status":"REFUSED"}}}}"#),
                &format!("pending {code}"),
            );
            check(
                200,
                &format!(r#"{{"code":"{code}","data":{{"status":"PENDING"}}}}"#),
                &format!("pending {code}"),
            );
        }
        check(200, r#"{"code":"201","data":{"status":"CREATED"}}"#, "pending 201");
        check(200, r#"{"data":{"status":"WAITING_FOR_CUSTOMER"}}"#, "pending WAITING_FOR_CUSTOMER");
        check(200, r#"{"code":"999","data":{"status":"PERHAPS"}}"#, "pending 999");
        check(200, r#"{"code":"00","data":{"payment_method":"OM"}}"#, "pending 00");
        check(200, r#"{"code":"601","data":{"status":"ACCEPTED"}}"#, "pending 601");
        check(200, r#"{"code":"00"}"#, "unknown 00 true");
        check(200, r#"{"code":"627","data":null}"#, "unknown 627 true");
        for code in NO_ANSWER {
            check(
                200,
                &format!(r#"{{"code":"{code}","data":{{"status":"REFUSED"}}}}"#),
                &format!("unknown {code} false"),
            );
        }
        check(404, r#"{"code":"627","data":{"status":"REFUSED"}}"#, "unknown 627 true");
        check(429, "{}", "unknown http 429 false");
        check(400, r#"{"code":"624"}"#, "unknown 624 false");
        check(500, paid, "unknown 00 false");
        check(403, "<html>Error 1010</html>", "unknown http 403 unreadable false");
        check(200, "<html>", "unknown http 200 unreadable false");
        check(200, &paid[..40], "unknown http 200 unreadable false");
        let latin1 = [&b"{\"description\":\"Guide d'\xE9t\xE9\","[..], &paid.as_bytes()[1..]].concat();
        assert!(matches!(classify(200, &latin1, None), Verdict::Accepted(_)), "a description in Latin-1");
    }

    /// Values of every JSON type, words CinetPay uses, and words that are nearly those.
    fn values() -> impl Strategy<Value = Value> {
        let words = vec![
            "00", "0", " 00 ", "627", "664", "609", "ACCEPTED", "accepted", "REFUSED", "Refused ", "PENDING",
            "100", "12.5", "XOF", "usd", "", " ",
        ];
        prop_oneof![
            4 => prop::sample::select(words).prop_map(Value::from),
            1 => "[ -~]{0,70}".prop_map(Value::from),
            1 => prop::sample::select(vec![0_i64, 627, 664, 100, -1]).prop_map(Value::from),
            1 => Just(Value::Null),
            1 => Just(Value::from(true)),
            1 => Just(serde_json::json!(["ACCEPTED"])),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

        /// Money is believed only from 200, code 00 and the word ACCEPTED; an order ends only with REFUSED and a final code.
        #[test]
        fn a_final_verdict_needs_every_part(http in prop::sample::select(vec![200_u16, 201, 302, 400, 429, 500]), code in values(), status in values(), amount in values(), currency in values()) {
            let body = serde_json::json!({"code": code, "data": {"status": status, "amount": amount, "currency": currency}});
            let text = |value: &Value| match value {
                Value::String(text) => text.trim().to_owned(),
                Value::Number(number) => number.to_string(),
                _ => String::new(),
            };
            let (code, status) = (text(&code), text(&status).to_uppercase());
            let zero = code == "00" || (body["code"] == 0);
            let ok = http < 300;
            let empty = NO_ANSWER.contains(&code.as_str());
            let short = |word: &str| word.len() <= WORD_BYTES_MAX;
            match classify(http, body.to_string().as_bytes(), None) {
                Verdict::Accepted(paid) => {
                    prop_assert!(ok && zero && status == "ACCEPTED");
                    let claimed = Claimed::read(Some(&text(&amount)).filter(|word| short(word)).map(String::as_str), Some(&text(&currency)).filter(|word| short(word)).map(String::as_str));
                    prop_assert_eq!(paid.claimed, claimed);
                }
                Verdict::Refused { code: said } => {
                    prop_assert!(ok && status == "REFUSED" && !NEVER_FINAL.contains(&code.as_str()) && !empty);
                    let named = if zero { "00" } else { code.as_str() };
                    prop_assert!(said == named || !short(&code));
                }
                Verdict::Pending { .. } => prop_assert!(ok && !empty && !(zero && status == "ACCEPTED")),
                Verdict::Unknown { answered, .. } => {
                    prop_assert!(!ok || empty);
                    prop_assert_eq!(answered, http < 500 && http != TOO_MANY && !empty);
                }
            }
        }

        #[test]
        fn no_answer_is_a_panic_or_a_payment(http in any::<u16>(), bytes in prop::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
            let paid = br#"{"code":"00","data":{"status":"ACCEPTED","amount":"100","currency":"XOF"}}"#;
            let torn = &paid[..cut.index(paid.len())];
            for body in [&bytes[..], torn] {
                let open = matches!(classify(http, body, None), Verdict::Pending { .. } | Verdict::Unknown { .. });
                prop_assert!(open, "{} {:?}", http, body);
            }
            let unheard = matches!(classify(http, torn, None), Verdict::Unknown { answered: false, .. });
            prop_assert!(unheard, "{} {:?}", http, torn);
        }

        #[test]
        fn words_are_bounded(text in "\\PC{0,80}|[ -~\\n]{60,70}", number in any::<f64>()) {
            if let Some(word) = word(&Value::from(text.as_str())) {
                prop_assert_eq!(&word, text.trim());
                prop_assert!((1..=WORD_BYTES_MAX).contains(&word.len()) && !word.contains(char::is_control));
            }
            let _number = word(&Value::from(number));
        }
    }

    #[test]
    fn an_answer_about_somebody_else_is_astray() {
        let asked = TransactionId::parse("01JD0QZ6Y3V9K2M4N6P8R0S2T4R2").unwrap();
        let check = |data: &str, want: bool| {
            let inside = format!(r#"{{"code":"00","data":{{{data}}}}}"#);
            let beside = format!(r#"{{"code":"00",{data}}}"#);
            for body in [inside, beside] {
                assert_eq!(is_astray(body.as_bytes(), asked, "445160"), want, "{body}");
            }
        };
        check(r#""status":"ACCEPTED""#, false);
        check(r#""cpm_trans_id":"01JD0QZ6Y3V9K2M4N6P8R0S2T4R2","site_id":445160"#, false);
        check(r#""transaction_id":"MP220915.2257.A76307""#, false);
        check(r#""transaction_id":"01JD0QZ6Y3V9K2M4N6P8R0S2T4""#, true);
        check(r#""cpm_trans_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV""#, true);
        check(r#""site_id":"445161""#, true);
        check(r#""cpm_site_id":445161"#, true);
    }
}
