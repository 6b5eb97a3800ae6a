//! Sealing what is personal: one key per order, in a file beside the journal, whose destruction is the erasure.
//!
//! Invariant: a key is durable before the first line that needs it, and destroyed only after the line that says so.
//! Invariant: no two texts are sealed with the same key and nonce: nonces are random, and a key seals few texts.
//! Invariant: a key that is missing is never taken for one that was destroyed: a destroyed key leaves a mark.
//! Why ring's ChaCha20-Poly1305: in the tree already, constant-time on every processor, hosts without AES included.
//! Why keys are not wrapped under the signing key: a backup must be restorable by itself, and a lost or rotated secret
//! would otherwise take every buyer's address with it. A backup is to be encrypted by what carries it.

mod keyring;
mod record;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

use crate::domain::values::OrderId;

#[cfg(feature = "postgres")]
pub(crate) use keyring::Addresses;
pub use keyring::Lost;
pub(crate) use keyring::{Keyring, Seal};
pub(crate) use record::{Held, is_whole};

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes that sealing adds.
#[cfg(test)]
pub(crate) const OVERHEAD_BYTES: usize = NONCE_LEN + 16;

/// An order's key. Not printable.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; KEY_BYTES]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// What a sealed text belongs to. It opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The line that makes this version of an order.
    Line(OrderId, u32),
    /// An order's snapshot in the index.
    Snapshot(OrderId),
}

impl Place {
    fn bytes(self) -> Vec<u8> {
        match self {
            Place::Line(order, version) => [b"line", &order.bytes()[..], &version.to_be_bytes()].concat(),
            Place::Snapshot(order) => [b"snap", &order.bytes()[..]].concat(),
        }
    }
}

/// The system gives no random bytes: nothing may be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoChance;

/// Where keys and nonces come from.
#[derive(Debug, Clone, Default)]
pub enum Chance {
    /// The system.
    #[default]
    System,
    /// A simulated machine's: the same in every run, and never the same twice.
    Counted(Arc<AtomicU64>),
}

impl Chance {
    /// Fresh bytes.
    fn draw<const N: usize>(&self) -> Result<[u8; N], NoChance> {
        let mut bytes = [0; N];
        match self {
            Chance::System => SystemRandom::new().fill(&mut bytes).map_err(|_| NoChance)?,
            Chance::Counted(counter) => {
                let drawn = Sha256::digest(counter.fetch_add(1, Ordering::AcqRel).to_be_bytes());
                bytes.iter_mut().zip(drawn).for_each(|(byte, chance)| *byte = chance);
            }
        }
        Ok(bytes)
    }
}

impl Key {
    /// A new key.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new(chance: &Chance) -> Result<Self, NoChance> {
        chance.draw().map(Key)
    }

    fn cipher(&self) -> LessSafeKey {
        match UnboundKey::new(&CHACHA20_POLY1305, &self.0) {
            Ok(key) => LessSafeKey::new(key),
            Err(_) => unreachable!("the key has the algorithm's length"),
        }
    }

    /// Nonce, sealed bytes, tag.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn seal(&self, chance: &Chance, place: Place, plain: &[u8]) -> Result<Vec<u8>, NoChance> {
        let nonce = chance.draw::<NONCE_LEN>()?;
        let mut bytes = Vec::with_capacity(NONCE_LEN + plain.len() + CHACHA20_POLY1305.tag_len());
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(plain);
        let (aad, text) = (Aad::from(place.bytes()), &mut bytes[NONCE_LEN..]);
        let sealed = self.cipher().seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, text);
        match sealed {
            Ok(tag) => bytes.extend_from_slice(tag.as_ref()),
            Err(_) => unreachable!("texts are far shorter than the algorithm's limit"),
        }
        Ok(bytes)
    }

    /// What was sealed here with this key; None for anything else.
    pub fn open(&self, place: Place, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = self.cipher().open_in_place(nonce, Aad::from(place.bytes()), &mut text).ok()?.len();
        text.truncate(len);
        Some(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(number: u128) -> OrderId {
        OrderId::from_bytes(number.to_be_bytes())
    }

    /// What is sealed opens where it was sealed, and nowhere else: not in another line of the order, not in another
    /// order's, not as a snapshot, not with another key, not with a bit flipped.
    #[test]
    fn sealed_texts_open_in_their_place_only() {
        let chance = Chance::Counted(Arc::default());
        let key = Key::new(&chance).unwrap();
        let here = Place::Line(order(7), 3);
        let sealed = key.seal(&chance, here, b"awa@example.ci").unwrap();
        assert_eq!(sealed.len(), 14 + OVERHEAD_BYTES);
        assert_eq!(key.open(here, &sealed).unwrap(), b"awa@example.ci");
        for elsewhere in [Place::Line(order(7), 4), Place::Line(order(8), 3), Place::Snapshot(order(7))] {
            assert_eq!(key.open(elsewhere, &sealed), None, "{elsewhere:?}");
        }
        assert_eq!(Key::new(&chance).unwrap().open(here, &sealed), None);
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert_eq!(key.open(here, &flipped), None, "byte {at}");
        }
        assert_eq!(key.open(here, &sealed[..11]), None);
    }

    #[test]
    fn nonces_do_not_repeat() {
        for chance in [Chance::System, Chance::Counted(Arc::default())] {
            let key = Key::new(&chance).unwrap();
            let seal = |_| key.seal(&chance, Place::Snapshot(order(1)), b"x").unwrap()[..NONCE_LEN].to_vec();
            let nonces: std::collections::BTreeSet<Vec<u8>> = (0..1000).map(seal).collect();
            assert_eq!(nonces.len(), 1000);
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back_and_any_bytes_are_no_panic(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let chance = Chance::System;
            let key = Key::new(&chance).unwrap();
            let place = Place::Line(order(1), 1);
            prop_assert_eq!(key.open(place, &key.seal(&chance, place, &text).unwrap()), Some(text.clone()));
            prop_assert_eq!(key.open(place, &text), None);
        }
    }
}
