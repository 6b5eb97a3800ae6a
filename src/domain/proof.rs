//! A proof of sale: one paid order with its journal lines, to be signed and handed to somebody who trusts nobody.

use serde::Serialize;

use super::calendar::Zone;
use super::evidence::Entry;
use super::merchant::Merchant;
use super::payment::{Payment, Status};
use super::sheet::Row;
use super::values::{Currency, Timestamp};

/// What the document calls itself: `docs/verify_proof.py` reads no other.
pub const FORMAT: &str = "auditshield-proof-1";

/// What is signed. It holds the buyer's personal data.
#[derive(Debug, Serialize)]
pub struct Statement<'a> {
    /// [`FORMAT`].
    format: &'static str,
    /// When it was made.
    issued_at: Timestamp,
    /// Who sold.
    shop: Shop<'a>,
    /// The order as it stands.
    order: Row,
    /// The clock of the order's local times.
    local: String,
    /// Whole units; cents for USD.
    totals: Totals,
    /// The order's journal lines, byte for byte, oldest first.
    lines: Vec<&'a str>,
    /// The key that signs, DER in base64 (RFC 8410).
    public_key: &'a str,
}

#[derive(Debug, Serialize)]
struct Shop<'a> {
    name: &'a str,
    address: &'a str,
    contact: &'a str,
    identifiers: &'a str,
    /// At CinetPay.
    site_id: &'a str,
}

/// What the order brought in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// The currency.
    pub currency: Currency,
    /// What was paid.
    pub paid: u64,
    /// What was given back.
    pub refunded: u64,
    /// The difference.
    pub kept: u64,
}

impl Totals {
    /// Of an order with a sale.
    pub fn of(payment: &Payment) -> Option<Self> {
        payment.sale()?;
        let (currency, paid) = (payment.price.currency(), payment.price.amount());
        let refunded = if matches!(payment.status, Status::Refunded(_)) { paid } else { 0 };
        Some(Self { currency, paid, refunded, kept: paid - refunded })
    }
}

/// What a statement is made of.
pub struct Material<'a> {
    /// The order.
    pub payment: &'a Payment,
    /// Its journal lines, oldest first.
    pub entries: &'a [Entry],
    /// The merchant's site id at CinetPay.
    pub site_id: &'a str,
    /// Who sold.
    pub merchant: &'a Merchant,
    /// The merchant's clock.
    pub zone: Zone,
    /// When it is made.
    pub now: Timestamp,
    /// The key that signs, DER in base64.
    pub public_key: &'a str,
}

impl<'a> Material<'a> {
    /// The statement. None where nothing was sold: the journal of an order that waits names its payment page, which is
    /// nobody else's business until it is over.
    pub fn statement(&self) -> Option<Statement<'a>> {
        let by = self.merchant;
        Some(Statement {
            format: FORMAT,
            issued_at: self.now,
            shop: Shop {
                name: &by.name,
                address: &by.address,
                contact: &by.contact,
                identifiers: &by.identifiers,
                site_id: self.site_id,
            },
            order: Row::of(self.payment, self.zone),
            local: self.zone.to_string(),
            totals: Totals::of(self.payment)?,
            lines: self.entries.iter().map(|entry| entry.text.as_str()).collect(),
            public_key: self.public_key,
        })
    }
}

/// What stands between the signed bytes and the signature.
const SIGNATURE: &str = ",\n  \"signature\": \"";
/// What stands behind it.
const END: &str = "\"\n}\n";

/// Signs an indented JSON object: the signature of its bytes becomes its last member. Why not of a canonical form: bytes
/// need no agreement about what canonical is, and any changed one is noticed, as in the journal.
pub fn sealed(json: &str, sign: impl FnOnce(&[u8]) -> String) -> String {
    let signed = json.trim_end().strip_suffix('}').unwrap_or(json).trim_end();
    let signature = sign(signed.as_bytes());
    format!("{signed}{SIGNATURE}{signature}{END}")
}

/// The signature of a text that was [`sealed`], 128 hex digits.
pub fn signature(sealed: &str) -> &str {
    sealed
        .strip_suffix(END)
        .and_then(|text| text.rsplit_once(SIGNATURE))
        .map_or("", |(_, signature)| signature)
}
