//! Link tokens: what our reader takes is exactly what an independent signer made, and in one spelling only.
#![no_main]

use std::io::{Read, Write};

use auditshield::adapters::token::{Links, PAYLOAD_BYTES_MAX, TOKEN_BYTES_MAX, TokenError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sha2::{Digest, Sha256};

const SECRET: &str = "a signing key of the test";
const PREVIOUS: &str = "the key before it";
const NOW: u64 = 1_700_000_000;
/// The same, as a token writes it.
const STAMP: &str = "ZVPxAA";

// The first byte says what the rest is: a token as sent, a payload, or bytes between the dots of a signed token.
fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let links = Links::new(SECRET, [PREVIOUS]);
    match kind % 4 {
        0 => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            assert_eq!(links.read_download(text, NOW), Err(TokenError::Forged), "nobody signed it");
            assert_eq!(links.read_grant(text, NOW, 60), Err(TokenError::Forged), "nobody signed it");
        }
        1 => signed(&links, &URL_SAFE_NO_PAD.encode(rest), STAMP),
        2 => {
            let mut zlib = ZlibEncoder::new(Vec::new(), flate2::Compression::best());
            zlib.write_all(rest).expect("memory");
            let zlib = zlib.finish().expect("memory");
            signed(&links, &format!(".{}", URL_SAFE_NO_PAD.encode(zlib)), STAMP);
        }
        _ => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            let (payload, stamp) = text.rsplit_once('\n').unwrap_or((text, STAMP));
            signed(&links, payload, stamp);
        }
    }
});

/// Signs `payload.stamp` as itsdangerous would, and asks whether the reader agrees with a naive one.
fn signed(links: &Links, payload: &str, stamp: &str) {
    let body = format!("{payload}.{stamp}");
    for secret in [SECRET, PREVIOUS] {
        let token = format!("{body}.{}", URL_SAFE_NO_PAD.encode(mac("auditshield.download", secret, &body)));
        let read = links.read_download(&token, NOW);
        match naive(&body) {
            _ if token.len() > TOKEN_BYTES_MAX => assert_eq!(read, Err(TokenError::Forged), "{token}"),
            Wanted::Forged => assert_eq!(read, Err(TokenError::Forged), "{token}"),
            Wanted::Future => assert_eq!(read, Err(TokenError::Future), "{token}"),
            Wanted::Claim(order, link, at) => {
                let claim = read.expect("a token of ours");
                assert_eq!((claim.order, u64::from(claim.link), claim.issued_at), (order, link, at));
            }
            Wanted::Either => {}
        }
        // The other purpose's key, and any other spelling of the signature, open nothing.
        assert_eq!(links.read_grant(&token, NOW, u64::MAX), Err(TokenError::Forged));
        for other in [format!("{token}="), format!("{token}A"), token[..token.len() - 1].to_owned(), respelt(&token)] {
            assert_eq!(links.read_download(&other, NOW), Err(TokenError::Forged), "{other}");
        }
    }
}

fn mac(salt: &str, secret: &str, body: &str) -> Vec<u8> {
    let key = Sha256::digest([salt, "signer", secret].concat());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// What must become of a token with a good signature.
enum Wanted {
    /// It is taken: order, link, time.
    Claim(String, u64, u64),
    /// It is not.
    Forged,
    /// It is signed later than now, whatever it says.
    Future,
    /// JSON on which two honest readers differ (a name twice, a number out of range, a list for an object).
    Either,
}

fn naive(body: &str) -> Wanted {
    let parts = body.rsplit_once('.').and_then(|(payload, stamp)| Some((inflated(payload)?, time(stamp)?)));
    let Some((json, at)) = parts else { return Wanted::Forged };
    if at > NOW {
        return Wanted::Future;
    }
    let begins = json.trim_ascii_start().first();
    if !begins.is_some_and(|byte| matches!(byte, b'{' | b'[')) {
        return Wanted::Forged;
    }
    let text = String::from_utf8_lossy(&json);
    let once = ["order_id", "link"].iter().all(|name| text.matches(name).count() < 2) && !text.contains("\\u");
    let Ok(Value::Object(members)) = serde_json::from_slice(&json) else { return Wanted::Either };
    let link = members.get("link").map_or(Some(1), |link| link.as_u64().filter(|n| *n <= u64::from(u32::MAX)));
    match (members.get("order_id").and_then(Value::as_str), link) {
        _ if !once => Wanted::Either,
        (Some(order), Some(link)) => Wanted::Claim(order.to_owned(), link, at),
        _ => Wanted::Forged,
    }
}

/// Big-endian seconds without leading zero bytes.
fn time(stamp: &str) -> Option<u64> {
    let bytes = exact(stamp)?;
    let short = bytes.len() <= 8 && bytes.first() != Some(&0);
    short.then(|| bytes.iter().fold(0_u64, |seconds, byte| seconds * 256 + u64::from(*byte)))
}

/// The payload's bytes: inflated without a bound, which is compared only afterwards.
fn inflated(payload: &str) -> Option<Vec<u8>> {
    let Some(zlib) = payload.strip_prefix('.') else { return exact(payload) };
    let mut json = Vec::new();
    ZlibDecoder::new(&exact(zlib)?[..]).read_to_end(&mut json).ok()?;
    (json.len() <= PAYLOAD_BYTES_MAX).then_some(json)
}

/// Base64 that encodes back to itself: no padding, no spare bits.
fn exact(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    (URL_SAFE_NO_PAD.encode(&bytes) == text).then_some(bytes)
}

/// The same signature with the spare bits of its last character set.
fn respelt(token: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (head, last) = token.split_at(token.len() - 1);
    let next = ALPHABET.find(last).unwrap_or(0) ^ 1;
    format!("{head}{}", &ALPHABET[next..=next])
}
