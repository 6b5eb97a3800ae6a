//! The key that signs proofs of sale: Ed25519, so that whoever reads a proof needs nothing of ours to check it.
//!
//! Why derived from the signing key and not kept in the store: a store is restored from a copy of its journal, and the key
//! would be lost with the machine. Why that gives nothing away: links carry a MAC under the same key already, so whoever
//! would guess a weak one could do so before.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use ring::signature::{Ed25519KeyPair, KeyPair};
use sha2::{Digest, Sha256};

/// Tells this use of the signing key from every other.
const PURPOSE: &[u8] = b"auditshield.proof.ed25519";
/// What stands before the 32 bytes of an Ed25519 key in DER (RFC 8410, 4).
const DER_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Hexadecimal digits of a fingerprint: enough to read out over the telephone, too many to find a second key for.
const PRINT_CHARS: usize = 32;

/// Signs.
pub struct ProofKey(Ed25519KeyPair);

/// What everybody may know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// DER (RFC 8410) in base64.
    pub der: String,
    /// The first half of the SHA-256 of the DER, in hex.
    pub fingerprint: String,
}

impl ProofKey {
    /// The key that belongs to a signing key.
    pub fn derive(secret: &[u8]) -> Self {
        let seed = match Hmac::<Sha256>::new_from_slice(secret) {
            Ok(mac) => mac.chain_update(PURPOSE).finalize().into_bytes(),
            // The error is for MACs of a fixed key length.
            Err(_) => unreachable!("HMAC takes keys of every length"),
        };
        match Ed25519KeyPair::from_seed_unchecked(&seed) {
            Ok(pair) => Self(pair),
            Err(_) => unreachable!("a seed has the 32 bytes of a SHA-256"),
        }
    }
    /// The signature, 128 lower-case hex digits. Why hex: of base64's last digit a few bits mean nothing, and a changed
    /// one would go unnoticed.
    pub fn sign(&self, bytes: &[u8]) -> String {
        hex::encode(self.0.sign(bytes))
    }
    /// Its public half.
    pub fn public(&self) -> PublicKey {
        let der = [&DER_HEAD[..], self.0.public_key().as_ref()].concat();
        let mut fingerprint = hex::encode(Sha256::digest(&der));
        fingerprint.truncate(PRINT_CHARS);
        PublicKey { der: STANDARD.encode(der), fingerprint }
    }
}

impl PublicKey {
    /// As OpenSSL reads it.
    pub fn pem(&self) -> String {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", self.der)
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn signatures_are_believed_by_their_own_key_only() {
        let (one, two) = (ProofKey::derive(b"one"), ProofKey::derive(b"two"));
        assert_eq!(one.public(), ProofKey::derive(b"one").public());
        assert_ne!(one.public(), two.public());
        let signature = hex::decode(one.sign(b"text")).unwrap();
        let verify = |key: &ProofKey, text: &[u8]| {
            let der = STANDARD.decode(key.public().der).unwrap();
            UnparsedPublicKey::new(&ED25519, &der[DER_HEAD.len()..]).verify(text, &signature).is_ok()
        };
        assert!(verify(&one, b"text"));
        assert!(!verify(&one, b"texu") && !verify(&two, b"text"));
    }

    /// A key may be replaced, never changed by accident: proofs are kept for years.
    #[test]
    fn the_derivation_is_for_ever() {
        let key = ProofKey::derive(b"0123456789abcdef0123456789abcdef").public();
        assert_eq!(key.der, "MCowBQYDK2VwAyEANJOkF6kJea/cBwoccDN7ozTYDw6Czk9JcsYmk2MLfCc=");
        assert_eq!(key.fingerprint.len(), PRINT_CHARS);
        assert_eq!(key.pem().lines().count(), 3);
    }
}
