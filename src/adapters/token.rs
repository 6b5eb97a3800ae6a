//! Download links: itsdangerous `URLSafeTimedSerializer` tokens (key derivation django-concat, SHA-256).
//!
//! `payload.timestamp.signature`, each base64url without padding. The payload is compact JSON, or a dot
//! and its zlib form where that is shorter by more than one byte. The key is
//! `SHA-256(salt ‖ "signer" ‖ secret)`. A Django site reads these tokens with the PyPI library.
//!
//! Why the token decides nothing but origin: Python accepts several spellings of one token, and a link
//! may be revoked or used up. So decoding here is strict, and the ledger counts by what the payload names.

use std::fmt;
use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Longest token read, in bytes.
pub const TOKEN_BYTES_MAX: usize = 2 * 1024;
/// Longest payload read after inflation, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 4 * 1024;
/// Salt of the mailed link; part of the outside contract.
const DOWNLOAD_SALT: &str = "auditshield.download";
/// Salt of the short-lived address that serves the file.
const GRANT_SALT: &str = "auditshield.grant";

/// Salt of the mailed address of an order's page.
const ORDER_SALT: &str = "auditshield.order";
/// Salt of the cookie that a purchase leaves in the buyer's browser.
const BROWSER_SALT: &str = "auditshield.browser";

type HmacSha256 = Hmac<Sha256>;

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not signed by one of our keys, not canonical, or not naming an order. Answered 403.
    #[error("the link was not issued by this shop")]
    Forged,
    /// Signed, but later than now: a clock was wrong, or a key leaked. Answered 403.
    #[error("the link is dated in the future")]
    Future,
    /// Signed, but older than its allowed age. Answered 410.
    #[error("the link has expired")]
    Expired,
}

/// What a mailed link says. The ledger decides whether it still opens anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadClaim {
    /// The order whose file it names, not yet parsed as an id.
    pub order: String,
    /// Which of the order's links (1 for the first; a reissued link counts up).
    pub link: u32,
    /// Unix seconds of signing.
    pub issued_at: u64,
}

/// What a short-lived file address says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantClaim {
    /// The order whose file it names, not yet parsed as an id.
    pub order: String,
    /// The link the download was started from.
    pub link: u32,
    /// Which of the link's downloads was started.
    pub n: u32,
    /// Unix seconds of signing.
    pub issued_at: u64,
}

#[derive(Serialize, Deserialize)]
struct DownloadPayload<'a> {
    #[serde(borrow)]
    order_id: std::borrow::Cow<'a, str>,
    /// A Django site may sign a link with the order id alone; it then means the first link.
    #[serde(default = "first_link")]
    link: u32,
}

#[derive(Serialize, Deserialize)]
struct GrantPayload {
    order_id: String,
    link: u32,
    n: u32,
}

fn first_link() -> u32 {
    1
}

/// Signs and reads the two kinds of link. Made once, shared.
#[derive(Debug, Clone)]
pub struct Links {
    downloads: Signer,
    grants: Signer,
    orders: Signer,
    browsers: Signer,
}

impl Links {
    /// Signs with `current`; reads what `current` or, during a rotation, one of `previous` signed.
    pub fn new<S: AsRef<[u8]>>(current: S, previous: impl IntoIterator<Item = S>) -> Self {
        let secrets: Vec<S> = previous.into_iter().filter(|s| !s.as_ref().is_empty()).collect();
        let previous: Vec<&[u8]> = secrets.iter().map(AsRef::as_ref).collect();
        Self {
            downloads: Signer::new(DOWNLOAD_SALT, current.as_ref(), &previous),
            grants: Signer::new(GRANT_SALT, current.as_ref(), &previous),
            orders: Signer::new(ORDER_SALT, current.as_ref(), &previous),
            browsers: Signer::new(BROWSER_SALT, current.as_ref(), &previous),
        }
    }

    /// The token of a mailed link. Equal arguments give an equal token, so a repeated mail is identical.
    pub fn download_token(&self, order: &str, link: u32, issued_at: u64) -> String {
        self.downloads.sign_payload(&DownloadPayload { order_id: order.into(), link }, issued_at)
    }

    /// Reads a mailed link's token. It has no age limit of its own: the ledger knows the expiry.
    pub fn read_download(&self, token: &str, now: u64) -> Result<DownloadClaim, TokenError> {
        read_claim(&self.downloads, token, now)
    }

    /// The token of the order's page in a mail. It carries the link's number, so that it dies with a replaced link.
    pub fn order_token(&self, order: &str, link: u32, issued_at: u64) -> String {
        self.orders.sign_payload(&DownloadPayload { order_id: order.into(), link }, issued_at)
    }

    /// Reads the token of the order's page in a mail.
    pub fn read_order(&self, token: &str, now: u64) -> Result<DownloadClaim, TokenError> {
        read_claim(&self.orders, token, now)
    }

    /// The cookie of the browser that bought.
    pub fn browser_token(&self, order: &str, issued_at: u64) -> String {
        self.browsers.sign_payload(&DownloadPayload { order_id: order.into(), link: 0 }, issued_at)
    }

    /// Reads the cookie of the browser that bought.
    pub fn read_browser(&self, token: &str, now: u64) -> Result<DownloadClaim, TokenError> {
        read_claim(&self.browsers, token, now)
    }

    /// The token of the short-lived address that serves download `n` of `link`.
    pub fn grant_token(&self, order: &str, link: u32, n: u32, issued_at: u64) -> String {
        self.grants.sign_payload(&GrantPayload { order_id: order.to_owned(), link, n }, issued_at)
    }

    /// Reads a file address signed at most `max_age` seconds ago; an age equal to it is still valid.
    pub fn read_grant(&self, token: &str, now: u64, max_age: u64) -> Result<GrantClaim, TokenError> {
        let (json, issued_at) = self.grants.unsign(token, now, Some(max_age))?;
        let payload: GrantPayload = serde_json::from_slice(&json).map_err(|_| TokenError::Forged)?;
        Ok(GrantClaim { order: payload.order_id, link: payload.link, n: payload.n, issued_at })
    }
}

fn read_claim(signer: &Signer, token: &str, now: u64) -> Result<DownloadClaim, TokenError> {
    let (json, issued_at) = signer.unsign(token, now, None)?;
    let payload: DownloadPayload<'_> = serde_json::from_slice(&json).map_err(|_| TokenError::Forged)?;
    Ok(DownloadClaim { order: payload.order_id.into_owned(), link: payload.link, issued_at })
}

/// One salt's keys: the first signs, all verify.
#[derive(Clone)]
struct Signer {
    current: HmacSha256,
    previous: Vec<HmacSha256>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(…)")
    }
}

impl Signer {
    fn new(salt: &str, current: &[u8], previous: &[&[u8]]) -> Self {
        Self {
            current: derive(salt, current),
            previous: previous.iter().map(|key| derive(salt, key)).collect(),
        }
    }

    fn sign_payload<T: Serialize>(&self, payload: &T, issued_at: u64) -> String {
        // Plain structs of strings and numbers always serialise; an empty payload would read as forged.
        self.sign(&serde_json::to_vec(payload).unwrap_or_default(), issued_at)
    }

    fn sign(&self, json: &[u8], issued_at: u64) -> String {
        let mut token = match deflate(json) {
            Some(zlib) => format!(".{}", URL_SAFE_NO_PAD.encode(zlib)),
            None => URL_SAFE_NO_PAD.encode(json),
        };
        let stamp = issued_at.to_be_bytes();
        let significant = stamp.iter().position(|byte| *byte != 0).unwrap_or(stamp.len());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(&stamp[significant..]));
        let signature = mac(&self.current, &token);
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        token
    }

    /// The payload's JSON bytes and the signing time. Nothing is decoded before the signature holds.
    fn unsign(&self, token: &str, now: u64, max_age: Option<u64>) -> Result<(Vec<u8>, u64), TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Forged);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Forged)?;
        self.check(signed, signature)?;
        let (payload, stamp) = signed.rsplit_once('.').ok_or(TokenError::Forged)?;
        let issued_at = read_stamp(stamp).ok_or(TokenError::Forged)?;
        let json = read_payload(payload).ok_or(TokenError::Forged)?;
        match (now.checked_sub(issued_at), max_age) {
            (None, _) => Err(TokenError::Future),
            (Some(age), Some(max_age)) if age > max_age => Err(TokenError::Expired),
            (Some(_), _) => Ok((json, issued_at)),
        }
    }

    /// Constant time in the signature's bytes, whichever key matches.
    fn check(&self, signed: &str, signature: &str) -> Result<(), TokenError> {
        let received = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Forged)?;
        let mut matches = Choice::from(0);
        for key in std::iter::once(&self.current).chain(&self.previous) {
            matches |= mac(key, signed)[..].ct_eq(&received[..]);
        }
        if bool::from(matches) { Ok(()) } else { Err(TokenError::Forged) }
    }
}

fn mac(keyed: &HmacSha256, signed: &str) -> [u8; 32] {
    let mut mac = keyed.clone();
    mac.update(signed.as_bytes());
    mac.finalize().into_bytes().into()
}

/// itsdangerous' `django-concat` derivation.
#[expect(clippy::expect_used, reason = "HMAC takes a key of any length, so this cannot fail")]
fn derive(salt: &str, secret: &[u8]) -> HmacSha256 {
    let key = Sha256::new().chain_update(salt).chain_update(b"signer").chain_update(secret).finalize();
    HmacSha256::new_from_slice(&key).expect("HMAC takes a key of any length")
}

/// The zlib form, only where itsdangerous would use it: shorter by more than one byte.
fn deflate(json: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(json).ok()?;
    encoder.finish().ok().filter(|zlib| zlib.len() + 1 < json.len())
}

fn read_payload(payload: &str) -> Option<Vec<u8>> {
    let Some(zlib) = payload.strip_prefix('.') else {
        return URL_SAFE_NO_PAD.decode(payload).ok();
    };
    let zlib = URL_SAFE_NO_PAD.decode(zlib).ok()?;
    let mut json = Vec::new();
    // One byte more than allowed tells a full payload from an overflowing one.
    ZlibDecoder::new(&zlib[..]).take(PAYLOAD_BYTES_MAX as u64 + 1).read_to_end(&mut json).ok()?;
    (json.len() <= PAYLOAD_BYTES_MAX).then_some(json)
}

/// Big-endian seconds without leading zero bytes.
fn read_stamp(stamp: &str) -> Option<u64> {
    let bytes = URL_SAFE_NO_PAD.decode(stamp).ok()?;
    if bytes.len() > size_of::<u64>() || bytes.first() == Some(&0) {
        return None;
    }
    Some(bytes.iter().fold(0, |seconds, byte| seconds << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests;
