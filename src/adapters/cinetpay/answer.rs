//! What an answer of `/v2/payment` means: a page, a refusal, or a page that may or may not exist.
//!
//! Why doubt is the default: init is not idempotent, and an order whose page may exist must be asked
//! about before another is opened. Only a 4xx with one of CinetPay's codes says that there is none.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::verdict::word;
use crate::ports::Opened;

/// Longest `payment_url` taken, in bytes. The real ones have about 150.
const URL_BYTES_MAX: usize = 2 * 1024;
/// Longest `payment_token` taken, in bytes. The real ones have 110.
const TOKEN_BYTES_MAX: usize = 512;
/// Longest reason kept, in characters.
const REASON_CHARS_MAX: usize = 200;
/// Longest `Retry-After` obeyed. A mistaken header must not park an order for days.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);
/// The code of a re-used `transaction_id`: an earlier call of ours did open a page (inferred; no capture exists).
const REUSED: &str = "620";
/// The status of throttling.
const TOO_MANY: u16 = 429;

/// The envelope. Values may be strings or numbers, and every one may be missing.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    code: Value,
    message: Value,
    description: Value,
    data: Value,
}

/// Classifies one answer. `plain_http` allows a `payment_url` without TLS: only a simulator has one.
pub fn opened(http: u16, body: &[u8], plain_http: bool) -> Opened {
    let answer = match json::<Answer>(body) {
        Some(answer) => answer,
        None if http == TOO_MANY => return Opened::Refused { reason: "HTTP 429".to_owned() },
        None => return Opened::Ambiguous { reason: format!("HTTP {http}, unreadable") },
    };
    let code = word(&answer.code).unwrap_or_default();
    let reason = reason(http, &code, &answer);
    match http {
        _ if code == REUSED => Opened::Ambiguous { reason },
        200..=299 => page(&answer.data, plain_http).unwrap_or(Opened::Ambiguous { reason }),
        TOO_MANY => Opened::Refused { reason },
        400..=499 if !code.is_empty() => Opened::Refused { reason },
        _ => Opened::Ambiguous { reason },
    }
}

/// An answer's JSON. Bytes that are not UTF-8 are replaced: our own description comes back in it, perhaps in another
/// character set, and must not keep a payment from being read. A replaced byte makes no word or number that is believed.
pub(super) fn json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_str(&String::from_utf8_lossy(body)).ok()
}

/// The page of a successful answer, if its address is one a buyer may be sent to.
fn page(data: &Value, plain_http: bool) -> Option<Opened> {
    let text = data.get("payment_url")?.as_str()?.trim();
    if text.len() > URL_BYTES_MAX || text.contains(char::is_control) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let scheme = url.scheme() == "https" || (plain_http && url.scheme() == "http");
    let plain = url.has_host() && url.username().is_empty() && url.password().is_none();
    if !scheme || !plain {
        return None;
    }
    // The token is never needed for the payment, so a page without one is a page.
    let token = data.get("payment_token").and_then(Value::as_str).unwrap_or_default().trim();
    let kept = token.len() <= TOKEN_BYTES_MAX && !token.contains(char::is_control);
    let payment_token = if kept { token.to_owned() } else { String::new() };
    Some(Opened::Page { payment_url: url.into(), payment_token })
}

/// Status, code and CinetPay's own words, on one bounded line.
fn reason(http: u16, code: &str, answer: &Answer) -> String {
    let said = [&answer.message, &answer.description].map(|value| value.as_str().unwrap_or_default());
    let text = format!("HTTP {http} {code} {} {}", said[0], said[1]);
    one_line(&text)
}

/// Controls as spaces, spaces folded, bounded: fit for a log line and a page.
pub(super) fn one_line(text: &str) -> String {
    let clean = text.replace(char::is_control, " ");
    let folded = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    folded.chars().take(REASON_CHARS_MAX).collect()
}

/// `Retry-After` in seconds or as an HTTP date (RFC 9110 §10.2.3), bounded; nothing for anything else.
pub fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    let digits = !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit());
    let wait = if digits {
        // More digits than fit is a long time all the same.
        header.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs)
    } else {
        httpdate::parse_http_date(header).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = r#"{"code":"201","message":"CREATED","data":{"payment_token":"abc","payment_url":"https://checkout.cinetpay.com/payment/abc"}}"#;

    fn short(http: u16, body: &str) -> String {
        match opened(http, body.as_bytes(), false) {
            Opened::Page { payment_url, payment_token } => format!("page {payment_url} {payment_token}"),
            Opened::Refused { reason } => format!("refused {reason}"),
            Opened::Ambiguous { reason } => format!("ambiguous {reason}"),
            Opened::NotSent { reason } => format!("not sent {reason}"),
        }
    }

    #[test]
    fn every_kind_of_answer() {
        let page = "page https://checkout.cinetpay.com/payment/abc abc";
        let cases = [
            (200, GOOD.to_owned(), page),
            (201, GOOD.replace("\"201\"", "201"), page),
            (200, GOOD.replace("\"abc\"", "7"), "page https://checkout.cinetpay.com/payment/abc "),
            (
                400,
                r#"{"code":"608","message":"MINIMUM_REQUIRED_FIELDS","description":"amount\r\nx"}"#
                    .to_owned(),
                "refused HTTP 400 608 MINIMUM_REQUIRED_FIELDS amount x",
            ),
            (400, r#"{"code":624}"#.to_owned(), "refused HTTP 400 624"),
            (429, "<html>".to_owned(), "refused HTTP 429"),
            (429, r#"{"message":"TOO_MANY_REQUEST"}"#.to_owned(), "refused HTTP 429 TOO_MANY_REQUEST"),
            (400, r#"{"code":"620"}"#.to_owned(), "ambiguous HTTP 400 620"),
            (200, r#"{"code":620}"#.to_owned(), "ambiguous HTTP 200 620"),
            (400, "{}".to_owned(), "ambiguous HTTP 400"),
            (403, "<html>1010</html>".to_owned(), "ambiguous HTTP 403, unreadable"),
            (302, String::new(), "ambiguous HTTP 302, unreadable"),
            (502, "<html>".to_owned(), "ambiguous HTTP 502, unreadable"),
            (500, r#"{"code":"603"}"#.to_owned(), "ambiguous HTTP 500 603"),
            (500, GOOD.to_owned(), "ambiguous HTTP 500 201 CREATED"),
            (200, GOOD[..60].to_owned(), "ambiguous HTTP 200, unreadable"),
            (200, r#"{"code":"608"}"#.to_owned(), "ambiguous HTTP 200 608"),
        ];
        for (http, body, expected) in cases {
            assert_eq!(short(http, &body), expected, "{http} {body}");
        }
    }

    #[test]
    fn a_buyer_is_sent_to_the_web_only() {
        let with = |url: &str| GOOD.replace("https://checkout.cinetpay.com/payment/abc", url);
        let long = format!("https://a.example/{}", "x".repeat(URL_BYTES_MAX));
        let bad =
            ["javascript:alert(1)", "http://a.example/", "/payment/abc", "https://u:p@a.example/", "", &long];
        for url in bad {
            assert!(short(200, &with(url)).starts_with("ambiguous"), "{url}");
        }
        let simulated = with("http://127.0.0.1:9/payment/a");
        assert!(matches!(opened(200, simulated.as_bytes(), true), Opened::Page { .. }));
    }

    #[test]
    fn reasons_are_bounded() {
        let body = format!(r#"{{"code":"608","description":"{}"}}"#, "é".repeat(5000));
        let Opened::Refused { reason } = opened(400, body.as_bytes(), false) else { panic!("not refused") };
        assert_eq!(reason.chars().count(), REASON_CHARS_MAX);
    }

    #[test]
    fn retry_after_is_read_both_ways_and_bounded() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let date = |later: u64| httpdate::fmt_http_date(now + Duration::from_secs(later));
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(retry_after(" 7 ", now), seconds(7));
        assert_eq!(retry_after("0", now), seconds(0));
        assert_eq!(retry_after("99999999999999999999999", now), Some(RETRY_AFTER_MAX));
        assert_eq!(retry_after(&date(30), now), seconds(30));
        assert_eq!(retry_after(&date(86_400), now), Some(RETRY_AFTER_MAX));
        assert_eq!(retry_after("Tue, 14 Nov 2000 00:00:00 GMT", now), seconds(0));
        for nonsense in ["", "-1", "1.5", "soon"] {
            assert_eq!(retry_after(nonsense, now), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_a_web_address_is_a_page(http in 100_u16..600, url in prop_oneof![
            "https?://([a-z]{1,3}(:[a-z]{0,2})?@)?[a-z]{1,5}\\.ci(:[0-9]{1,5})?/[a-z]{0,3}", "[ -~]{0,40}", "(javascript|data|file|HTTPS):[ -~]{0,10}",
        ], code in "201|620|608|", plain_http in any::<bool>()) {
            let body = serde_json::json!({"code": code, "data": {"payment_url": url, "payment_token": "t"}}).to_string();
            match opened(http, body.as_bytes(), plain_http) {
                Opened::Page { payment_url, .. } => {
                    prop_assert!((200..300).contains(&http) && code != "620");
                    let parsed = Url::parse(&payment_url).unwrap();
                    prop_assert!(parsed.scheme() == "https" || (plain_http && parsed.scheme() == "http"), "{}", payment_url);
                    prop_assert!(parsed.has_host() && parsed.username().is_empty() && parsed.password().is_none());
                    prop_assert_eq!(parsed.as_str(), payment_url);
                }
                // "There is certainly no page" is said by a client error of CinetPay's alone.
                Opened::Refused { .. } => prop_assert!(http == TOO_MANY || ((400..500).contains(&http) && !code.is_empty() && code != "620")),
                Opened::Ambiguous { .. } | Opened::NotSent { .. } => {}
            }
        }

        #[test]
        fn no_answer_is_a_panic(http in any::<u16>(), bytes in prop::collection::vec(any::<u8>(), 0..200), text in "(?s).{0,300}") {
            let _opened = opened(http, &bytes, true);
            let line = one_line(&text);
            prop_assert!(line.chars().count() <= REASON_CHARS_MAX && !line.contains(char::is_control) && !line.contains("  "));
        }

        #[test]
        fn a_wait_is_its_seconds_up_to_the_bound(seconds in any::<u64>(), later in 0_u64..100_000, text in "[ -~]{0,40}") {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let bounded = |seconds| Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
            prop_assert_eq!(retry_after(&format!(" {seconds} "), now), bounded(seconds));
            let date = httpdate::fmt_http_date(now + Duration::from_secs(later));
            prop_assert_eq!(retry_after(&date, now), bounded(later));
            prop_assert!(retry_after(&text, now).is_none_or(|wait| wait <= RETRY_AFTER_MAX));
        }
    }
}
