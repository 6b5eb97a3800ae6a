//! What a purchase asks for, hashed, so that its repeat goes on with the order that it made. Neither the key nor the
//! buyer's data is stored with it.
//!
//! Invariant: what was stored under a signing key that is being rotated out is found for as long as that key is kept; new
//! orders are stored under the key in use. Why no two orders come of it: a process has one key in use, and the orders of an
//! earlier process are all in the ledger when it starts. Several daemons are rotated in three steps (docs/scaling.md).

use serde_json::json;
use warp::http::header::{HeaderMap, HeaderName};

use super::answer::Problem;
use super::claims::Claims;
use super::{KeyedHash, Seals};
use crate::domain::catalog::{Product, Tier};
use crate::domain::event::Request;
use crate::domain::values::{Buyer, Name, OrderId, Phone, Timestamp};
use crate::ledger::{Ledger, LedgerError};

/// Longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 255;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A purchase that may be a repeat.
pub(super) struct Asked {
    /// Under the key in use.
    request: Request,
    /// Under the keys that are being rotated out.
    former: Vec<Request>,
}

/// What a purchase is the repeat of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The order that was made then.
    pub(super) order: OrderId,
    /// Whether the same was asked.
    pub(super) is_same: bool,
}

impl Asked {
    /// By the client's `Idempotency-Key`.
    pub(super) fn by_key(seals: &Seals, key: &str, bought: (&Product, &Tier), buyer: &Buyer) -> Self {
        Self::hashed(seals, |hash| {
            let fingerprint = fingerprint(hash, bought, buyer);
            Request { key: hash(format!("idempotency-key\n{key}").as_bytes()), fingerprint }
        })
    }

    /// The same for our own form: sent again with other data it is another purchase, as its buyer means it.
    pub(super) fn by_form(seals: &Seals, chance: &str, bought: (&Product, &Tier), buyer: &Buyer) -> Self {
        Self::hashed(seals, |hash| {
            let fingerprint = fingerprint(hash, bought, buyer);
            Request { key: hash(format!("form\n{chance}\n{fingerprint}").as_bytes()), fingerprint }
        })
    }

    fn hashed(seals: &Seals, request: impl Fn(&KeyedHash) -> Request) -> Self {
        Self { request: request(&seals.hash), former: seals.former_hashes.iter().map(request).collect() }
    }

    /// The order that the ledger has for it, under whichever key. Of two the newer one: it took the place of the other.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(super) fn known(&self, ledger: &Ledger, now: Timestamp) -> Result<Option<Known>, LedgerError> {
        let mut newest: Option<Known> = None;
        for request in std::iter::once(&self.request).chain(&self.former) {
            let Some((order, fingerprint)) = ledger.find_key(&request.key, now)? else { continue };
            if newest.as_ref().is_none_or(|known| known.order < order) {
                newest = Some(Known { order, is_same: fingerprint == request.fingerprint });
            }
        }
        Ok(newest)
    }

    /// What it stands for from now on, `order` or what somebody was faster with.
    pub(super) fn claim(&self, claims: &Claims, order: OrderId, now: Timestamp) -> Known {
        let Request { key, fingerprint } = &self.request;
        let claim = claims.claim(key, fingerprint, order, now);
        Known { order: claim.order, is_same: claim.fingerprint == *fingerprint }
    }

    /// What a new order is stored with.
    pub(super) fn into_request(self) -> Request {
        self.request
    }
}

fn fingerprint(hash: &KeyedHash, (product, tier): (&Product, &Tier), buyer: &Buyer) -> String {
    let asked = json!([
        product.slug,
        tier.id,
        buyer.email.expose(),
        buyer.name.as_ref().map(Name::expose),
        buyer.phone.as_ref().map(Phone::expose),
    ]);
    hash(format!("purchase\n{asked}").as_bytes())
}

/// The key as sent: one header of 1 to 255 ASCII characters. Two of them would leave a guess which one was meant.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(header) = lines.next() else { return Ok(None) };
    let key = header.to_str().ok().map(str::trim).filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()));
    match (key, lines.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(Problem::field(
            "Idempotency-Key",
            "La clé d’idempotence doit compter de 1 à 255 caractères ASCII, une seule fois.",
            "The idempotency key must have 1 to 255 ASCII characters, once.",
        )),
    }
}

#[cfg(test)]
mod tests;
