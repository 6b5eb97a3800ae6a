//! Idempotency keys as strangers write them.

use proptest::prelude::*;
use warp::http::header::HeaderValue;

use super::*;

proptest! {
    #[test]
    fn a_key_is_short_text_and_alone(keys in prop::collection::vec(prop_oneof![
        "[ -~]{0,20}".prop_map(String::into_bytes),
        "[!-~]{250,260}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..30),
    ], 0..3)) {
        let mut headers = HeaderMap::new();
        for value in keys.iter().filter_map(|key| HeaderValue::from_bytes(key).ok()) {
            headers.append(IDEMPOTENCY_KEY, value);
        }
        let sent: Vec<&[u8]> = headers.get_all(IDEMPOTENCY_KEY).iter().map(HeaderValue::as_bytes).collect();
        let plain = |key: &[u8]| key.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        match (idempotency_key(&headers), sent.as_slice()) {
            (Ok(None), []) => {}
            (Ok(Some(key)), [one]) => {
                prop_assert!(plain(one) && key.as_bytes() == one.trim_ascii() && (1..=KEY_BYTES_MAX).contains(&key.len()));
            }
            (Err(_), [one]) => prop_assert!(!plain(one) || !(1..=KEY_BYTES_MAX).contains(&one.trim_ascii().len())),
            (Err(_), [_, _, ..]) => {}
            (outcome, _) => prop_assert!(false, "{outcome:?} of {sent:?}"),
        }
    }

    #[test]
    fn ordinary_keys_are_taken(key in "[!-~]{1,255}") {
        let headers = HeaderMap::from_iter([(IDEMPOTENCY_KEY, HeaderValue::from_str(&key).unwrap())]);
        prop_assert_eq!(idempotency_key(&headers).unwrap(), Some(key.as_str()));
    }
}
