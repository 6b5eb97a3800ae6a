//! CinetPay's answers: money is believed only from an answer that a second, naive reading accepts too.
#![no_main]

use std::time::{Duration, SystemTime};

use auditshield::adapters::cinetpay::answer::{RETRY_AFTER_MAX, opened, retry_after};
use auditshield::adapters::cinetpay::verdict::classify;
use auditshield::domain::input::Verdict;
use auditshield::ports::Opened;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Refusals with one of these codes are not final.
const NEVER_FINAL: [&str; 6] = ["607", "623", "638", "662", "663", "664"];
/// Answers with one of these codes say nothing.
const NO_ANSWER: [&str; 4] = ["429", "609", "613", "624"];
/// Longest word that may come out, in bytes.
const WORD_BYTES_MAX: usize = 64;
/// Longest reason that may come out, in characters.
const REASON_CHARS_MAX: usize = 200;

// Three digits of HTTP status, then the body.
fuzz_target!(|input: &[u8]| {
    let Some((status, body)) = input.split_at_checked(3) else { return };
    let http = std::str::from_utf8(status).ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    check(http, body);
    open(http, body);
    if let Ok(header) = std::str::from_utf8(body) {
        let wait = retry_after(header, SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        assert!(wait.is_none_or(|wait| wait <= RETRY_AFTER_MAX));
    }
});

fn check(http: u16, body: &[u8]) {
    let json: Option<Value> = serde_json::from_str(&String::from_utf8_lossy(body)).ok();
    let at = |path: &str| json.as_ref().and_then(|json| json.pointer(path)).cloned().unwrap_or(Value::Null);
    let code = plain(&at("/code"));
    let status = plain(&at("/data/status")).to_ascii_uppercase();
    let ok = (200..300).contains(&http);
    match classify(http, body, None) {
        Verdict::Accepted(paid) => {
            assert!(ok && status == "ACCEPTED" && matches!(code.as_str(), "00" | "0"), "{http} {code} {status}");
            if let Some(units) = paid.claimed.amount {
                let text = plain(&at("/data/amount"));
                let cents = paid.claimed.currency.is_some_and(|currency| currency.decimals() == 2);
                let whole = text.split('.').next().unwrap_or_default().parse::<u64>().expect("digits");
                assert_eq!(if cents { units / 100 } else { units }, whole, "{text}");
            }
            for word in [paid.provider_tx_id, paid.payment_method].into_iter().flatten() {
                bounded(&word, WORD_BYTES_MAX);
                assert!(!word.is_empty());
            }
        }
        Verdict::Refused { code: named } => {
            assert!(ok && status == "REFUSED", "{http} {status}");
            let open = NEVER_FINAL.contains(&named.as_str()) || NO_ANSWER.contains(&named.as_str());
            assert!(!open, "{named} ends nothing");
        }
        Verdict::Pending { code } => {
            assert!(ok);
            bounded(&code, WORD_BYTES_MAX);
        }
        Verdict::Unknown { code, answered, .. } => {
            bounded(&code, WORD_BYTES_MAX);
            assert!(!answered || http < 500);
        }
    }
}

fn open(http: u16, body: &[u8]) {
    match opened(http, body, false) {
        Opened::Page { payment_url, payment_token } => {
            assert!((200..300).contains(&http));
            assert!(payment_url.starts_with("https://") && !payment_url.contains(char::is_whitespace), "{payment_url}");
            let authority = payment_url["https://".len()..].split(['/', '?', '#']).next().unwrap_or_default();
            assert!(!authority.is_empty() && !authority.contains('@'), "{payment_url}");
            bounded(&payment_token, 512);
            assert!(opened(http, body, true) == Opened::Page { payment_url, payment_token });
        }
        // Only a client error says for certain that there is no page; anything else must be asked about.
        Opened::Refused { reason } => {
            assert!((400..500).contains(&http), "{http}");
            bounded(&reason, REASON_CHARS_MAX * 4);
        }
        Opened::Ambiguous { reason } | Opened::NotSent { reason } => bounded(&reason, REASON_CHARS_MAX * 4),
    }
}

/// Fit for a log line.
fn bounded(text: &str, bytes_max: usize) {
    assert!(text.len() <= bytes_max && !text.contains(char::is_control), "{text:?}");
}

/// A text or a number, as a person would read it aloud.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}
