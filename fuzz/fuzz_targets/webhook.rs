//! A notification: the verifier believes a form exactly when a naive reader of the same form does.
#![no_main]

use std::collections::BTreeMap;

use auditshield::adapters::cinetpay::signature::{
    FIELDS, KEY_BYTES_MAX, PAIRS_MAX, Rejection, VALUE_BYTES_MAX, Verifier,
};
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use sha2::Sha256;

const SECRETS: [&str; 2] = ["test_secret_key", "the other one, being rotated in"];

// The first line of the input is an x-token as sent; the rest is the body.
fuzz_target!(|input: &[u8]| {
    let cut = input.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (sent, body) = (&input[..cut], input.get(cut + 1..).unwrap_or_default());
    let verifier = Verifier::new(SECRETS);
    assert_eq!(verifier.verify(body, None).err(), Some(Rejection::MissingToken));
    let Some(form) = naive(body) else {
        assert_eq!(verifier.verify(body, Some(sent)).err(), Some(Rejection::Unreadable));
        return;
    };
    let tokens = SECRETS.map(|secret| token(secret, &form));
    let right = tokens.iter().any(|token| token.as_bytes() == sent.to_ascii_lowercase());
    assert_eq!(verifier.verify(body, Some(sent)).is_ok(), right, "the token as sent");
    for token in tokens {
        let verified = verifier.verify(body, Some(token.as_bytes())).expect("a form signed with a secret of ours");
        assert_eq!(hex::encode(verified.digest()), token);
        for field in FIELDS {
            assert_eq!(verified.field(field), form.get(field.as_bytes()).map_or(&[][..], Vec::as_slice), "{field}");
        }
        // A flipped bit of the token, a changed value of the form: forged.
        let mut other = token.clone().into_bytes();
        let at = body.len() % other.len();
        other[at] = if other[at] == b'0' { b'1' } else { b'0' };
        assert_eq!(verifier.verify(body, Some(&other)).err(), Some(Rejection::BadToken));
        if !form.contains_key(&b"cpm_custom"[..]) && form.len() < PAIRS_MAX {
            let longer = [body, b"&cpm_custom=x"].concat();
            let outcome = verifier.verify(&longer, Some(token.as_bytes())).err();
            assert!(matches!(outcome, Some(Rejection::BadToken | Rejection::Unreadable)), "{outcome:?}");
        }
    }
});

fn token(secret: &str, form: &BTreeMap<Vec<u8>, Vec<u8>>) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    let all: Vec<u8> = FIELDS.iter().flat_map(|field| form.get(field.as_bytes()).cloned().unwrap_or_default()).collect();
    mac.update(&all);
    hex::encode(mac.finalize().into_bytes())
}

/// The form by the book, one byte after the other; nothing where a key comes twice or a bound is exceeded.
fn naive(body: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut form = BTreeMap::new();
    let mut pairs = 0;
    for pair in body.split(|byte| *byte == b'&') {
        if pair.is_empty() {
            continue;
        }
        pairs += 1;
        let mut sides = pair.splitn(2, |byte| *byte == b'=');
        let key = unescape(sides.next().unwrap_or_default());
        let value = unescape(sides.next().unwrap_or_default());
        let small = pairs <= PAIRS_MAX && key.len() <= KEY_BYTES_MAX && value.len() <= VALUE_BYTES_MAX;
        if !small || form.insert(key, value).is_some() {
            return None;
        }
    }
    Some(form)
}

fn unescape(raw: &[u8]) -> Vec<u8> {
    let digit = |at: usize| raw.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        match (raw[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    out
}
