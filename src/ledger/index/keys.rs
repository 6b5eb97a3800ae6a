//! The keys of the one tree, by their first byte.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::domain::event::Request;
use crate::domain::payment::Payment;
use crate::domain::values::{OrderId, Timestamp};
use crate::ledger::record::folded_hash;
use crate::ledger::seal::Keyring;

/// First byte of an order's snapshot.
pub(crate) const ORDER: u8 = b'o';
/// First byte of the orders of a status.
pub(crate) const STATUS: u8 = b's';
/// First byte of the mark of an order that is due at some moment. The moment stands in the order itself.
///
/// Why not in the key: it would move with nearly every commit, and sled copies a leaf for every key.
pub(crate) const DUE: u8 = b'd';
/// First byte of the orders of an address.
pub(crate) const EMAIL: u8 = b'e';
/// First byte of the orders of an operator's transaction.
pub(crate) const TRANSACTION: u8 = b't';
/// First byte of an idempotency key.
pub(crate) const REQUEST: u8 = b'k';
/// First byte of an idempotency key's age.
pub(crate) const REQUEST_AGE: u8 = b'x';

/// How the rest is laid out: written from the beginning, and readable whatever the layout is.
pub(crate) const LAYOUT: &[u8] = b"layout";
/// Neighbours of every kind are packed together; 1 left some kinds as they were, and before there were layouts none was.
pub(crate) const LAYOUT_PACKED: &[u8] = &[2];

/// The last line taken in.
pub(crate) const APPLIED: &[u8] = b"m:applied";
/// How many orders each status has.
pub(crate) const COUNTS: &[u8] = b"m:counts";
/// Which key file the addresses' hashes are keyed with.
pub(crate) const KEYRING: &[u8] = b"m:keyring";
/// One more than the last record of the key file that a line names: shows that the file has lost its end.
pub(crate) const NAMED: &[u8] = b"m:named";

const ID_BYTES: usize = 16;
const TIME_BYTES: usize = 8;

/// What an idempotency key stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyEntry {
    /// The order it made.
    pub(crate) order: OrderId,
    /// Hash of what was asked.
    pub(crate) fingerprint: String,
    /// When.
    pub(crate) at: Timestamp,
}

impl KeyEntry {
    /// The entry of an order that was made with a key.
    pub(crate) fn of(payment: &Payment, request: &Request) -> Self {
        KeyEntry { order: payment.id, fingerprint: request.fingerprint.clone(), at: payment.created_at }
    }
}

/// Key of an order's snapshot.
pub(crate) fn order(id: OrderId) -> Vec<u8> {
    joined(&[&[ORDER], &id.bytes()])
}

/// Prefix of the orders of a status.
pub(crate) fn status(place: usize) -> [u8; 2] {
    [STATUS, u8::try_from(place).unwrap_or(u8::MAX)]
}

/// Prefix of the orders of an e-mail address, and of others with the same short hash.
pub(crate) fn email(address: &str, ring: &Keyring) -> Vec<u8> {
    joined(&[&[EMAIL], &ring.address(address)])
}

/// Prefix of the orders paid in an operator's transaction.
pub(crate) fn transaction(id: &str) -> Vec<u8> {
    joined(&[&[TRANSACTION], &folded_hash(id)])
}

/// Key of an idempotency key.
pub(crate) fn request(key: &str) -> Vec<u8> {
    joined(&[&[REQUEST], key.as_bytes()])
}

/// Key of an idempotency key's age.
pub(crate) fn request_age(at: Timestamp, key: &str) -> Vec<u8> {
    joined(&[&[REQUEST_AGE], &time(at), key.as_bytes()])
}

/// The key whose age this is.
pub(crate) fn request_of_age(age: &[u8]) -> Vec<u8> {
    joined(&[&[REQUEST], age.get(1 + TIME_BYTES..).unwrap_or_default()])
}

/// The ages up to a moment.
pub(crate) fn request_ages_until(at: Timestamp) -> RangeInclusive<Vec<u8>> {
    vec![REQUEST_AGE]..=joined(&[&[REQUEST_AGE], &time(at)])
}

/// Whose mark this is. None: an earlier version's, with the moment in the key.
pub(crate) fn due_of(key: &[u8]) -> Option<OrderId> {
    id_of(key).filter(|_| key.len() == 1 + ID_BYTES)
}

/// The id at the end of a key.
pub(crate) fn id_of(key: &[u8]) -> Option<OrderId> {
    key.last_chunk::<ID_BYTES>().map(|bytes| OrderId::from_bytes(*bytes))
}

/// Every key without a value that an order has.
pub(crate) fn derived(payment: &Payment, ring: &Keyring) -> Vec<Vec<u8>> {
    let id = payment.id.bytes();
    let place = super::status_place(payment);
    let mut keys = vec![joined(&[&status(place), &id])];
    if !payment.buyer.is_erased() {
        keys.push(joined(&[&email(payment.buyer.email.expose(), ring), &id]));
    }
    if super::due(payment).is_some() {
        keys.push(joined(&[&[DUE], &id]));
    }
    if let Some(tx) = provider_tx(payment) {
        keys.push(joined(&[&transaction(tx), &id]));
    }
    keys
}

/// Whether two states of an order have the same [`derived`] keys. Cheaper than making them.
pub(crate) fn are_same(before: &Payment, now: &Payment) -> bool {
    super::status_place(before) == super::status_place(now)
        && super::due(before).is_some() == super::due(now).is_some()
        && before.buyer.email == now.buyer.email
        && before.buyer.is_erased() == now.buyer.is_erased()
        && provider_tx(before) == provider_tx(now)
}

/// The operator's transaction number, once known.
pub(crate) fn provider_tx(payment: &Payment) -> Option<&str> {
    use crate::domain::payment::Status;
    match &payment.status {
        Status::Paid(sale) | Status::Refunded(sale) => sale.provider_tx_id.as_deref(),
        Status::Review { provider_tx_id, .. } => provider_tx_id.as_deref(),
        Status::Created(_) | Status::Pending { .. } | Status::Failed { .. } | Status::Expired { .. } => None,
    }
}

/// Makes the byte order of a signed number its numeric order.
const SIGN: u64 = 1 << 63;

fn time(at: Timestamp) -> [u8; TIME_BYTES] {
    (at.millis().cast_unsigned() ^ SIGN).to_be_bytes()
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}
