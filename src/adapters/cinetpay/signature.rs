//! The webhook's `x-token`: HMAC-SHA256 over sixteen form values.
//!
//! Why bytes: the signature covers the percent-decoded bytes, so they are compared before anything is
//! read as text; a lossy string would sign something CinetPay never sent.
//!
//! Why little follows from it: neither separator nor timestamp is signed, so a captured notification can
//! be replayed for ever and its field boundaries shifted. A valid signature means "go and check this
//! order", never "this order is paid".

use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// The signed fields, in the order in which their values are concatenated (CinetPay's documentation).
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

/// A form with more pairs than this is not CinetPay's (sixteen are documented).
pub const PAIRS_MAX: usize = 64;
/// Longest decoded key, in bytes.
pub const KEY_BYTES_MAX: usize = 64;
/// Longest decoded value, in bytes. The longest documented one (`metadata`) is far below.
pub const VALUE_BYTES_MAX: usize = 8 * 1024;
/// An `x-token` is this many hexadecimal digits.
const TOKEN_HEX_CHARS: usize = 64;

type HmacSha256 = Hmac<Sha256>;

/// Why a notification is not believed. All three are answered 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No `x-token` header.
    #[error("the x-token header is missing")]
    MissingToken,
    /// The token is not the HMAC of these fields under any of our secrets.
    #[error("the x-token does not match the form")]
    BadToken,
    /// The body is not a form we read in exactly one way (a repeated key, too many or too long fields).
    #[error("the form cannot be read")]
    Unreadable,
}

/// A notification whose signature was verified. Its fields stay bytes and stay untrusted hints.
pub struct Verified<'b> {
    form: Form<'b>,
    digest: [u8; 32],
}

impl Verified<'_> {
    /// The decoded value of one of [`FIELDS`]; empty when the form lacks it or the name is not signed.
    pub fn field(&self, name: &str) -> &[u8] {
        FIELDS.iter().position(|known| *known == name).map_or(&[], |at| self.form.value(at))
    }

    /// The verified MAC itself: equal for a repeated notification, so it names duplicates.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

impl fmt::Debug for Verified<'_> {
    /// The form holds a phone number, so nothing of it is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verified(…)")
    }
}

/// Checks notifications against one webhook secret, or two while one is being rotated out.
#[derive(Clone)]
pub struct Verifier {
    /// Keyed once: cloning a keyed HMAC costs two compressions less than keying it.
    keyed: Vec<HmacSha256>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

impl Verifier {
    /// A verifier for these secrets, any of which is accepted. Empty secrets are left out: everybody
    /// could sign with them. Without a secret nothing verifies.
    pub fn new<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let keyed =
            secrets.into_iter().filter(|s| !s.as_ref().is_empty()).map(|s| keyed(s.as_ref())).collect();
        Self { keyed }
    }

    /// Parses `body` once and checks `x_token`, the header's raw bytes, against it in constant time.
    pub fn verify<'b>(&self, body: &'b [u8], x_token: Option<&[u8]>) -> Result<Verified<'b>, Rejection> {
        let token = x_token.ok_or(Rejection::MissingToken)?;
        let form = Form::parse(body).ok_or(Rejection::Unreadable)?;
        let received = read_token(token).ok_or(Rejection::BadToken)?;
        let mut matches = Choice::from(0);
        for keyed in &self.keyed {
            let mut mac = keyed.clone();
            (0..FIELDS.len()).for_each(|at| mac.update(form.value(at)));
            let expected: [u8; 32] = mac.finalize().into_bytes().into();
            matches |= expected.ct_eq(&received);
        }
        if bool::from(matches) { Ok(Verified { form, digest: received }) } else { Err(Rejection::BadToken) }
    }
}

/// The `x-token` CinetPay would send: lower-case hex of the HMAC over `values` without separators.
pub fn sign(secret: &[u8], values: &[&[u8]]) -> String {
    let mut mac = keyed(secret);
    values.iter().for_each(|value| mac.update(value));
    hex::encode(mac.finalize().into_bytes())
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length, so this cannot fail")]
fn keyed(secret: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(secret).expect("HMAC takes a key of any length")
}

/// Exactly 64 hexadecimal digits of either case.
fn read_token(token: &[u8]) -> Option<[u8; 32]> {
    if token.len() != TOKEN_HEX_CHARS {
        return None;
    }
    let mut received = [0; 32];
    hex::decode_to_slice(token.to_ascii_lowercase(), &mut received).ok()?;
    Some(received)
}

/// A decoded form: the signed values by position in [`FIELDS`].
struct Form<'b> {
    values: [Option<Cow<'b, [u8]>>; FIELDS.len()],
}

impl<'b> Form<'b> {
    /// `None` when a key is repeated or a bound is exceeded.
    fn parse(body: &'b [u8]) -> Option<Self> {
        let mut values: [Option<Cow<'b, [u8]>>; FIELDS.len()] = Default::default();
        let mut others: Vec<Cow<'b, [u8]>> = Vec::new();
        let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        for (count, pair) in pairs.enumerate() {
            let cut = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let key = decode(&pair[..cut]);
            let value = decode(pair.get(cut + 1..).unwrap_or_default());
            if count == PAIRS_MAX || key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
                return None;
            }
            match FIELDS.iter().position(|known| known.as_bytes() == &*key) {
                Some(at) if values[at].is_some() => return None,
                Some(at) => values[at] = Some(value),
                None if others.contains(&key) => return None,
                None => others.push(key),
            }
        }
        Some(Self { values })
    }

    /// Absent counts as empty: a real capture lacks the last two fields.
    fn value(&self, at: usize) -> &[u8] {
        self.values.get(at).and_then(Option::as_deref).unwrap_or_default()
    }
}

/// `+` is a space, `%xx` a byte; nothing is trimmed. Borrows where nothing is encoded.
fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'+') {
        return percent_decode(raw).into();
    }
    let spaced: Vec<u8> = raw.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

#[cfg(test)]
mod tests;
