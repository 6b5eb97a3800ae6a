//! A keyed hash for what must be compared but not read: idempotency keys, sessions, download grants.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Tells this use of the signing key from every other.
const PURPOSE: &[u8] = b"auditshield.keyed-hash";

/// HMAC-SHA256 under a key derived from the signing key. Keyed once, cloned per use.
#[derive(Clone)]
pub struct KeyedHash(Hmac<Sha256>);

impl KeyedHash {
    /// Derives the key. A key longer than SHA-256's block would be hashed by HMAC anyway.
    pub fn new(secret: &[u8]) -> Self {
        let derived = Sha256::new().chain_update(PURPOSE).chain_update([0]).chain_update(secret).finalize();
        // HMAC takes keys of every length: the error is for fixed-length MACs.
        match Hmac::<Sha256>::new_from_slice(&derived) {
            Ok(mac) => Self(mac),
            Err(_) => unreachable!("HMAC takes keys of every length"),
        }
    }
    /// The hash of `bytes`, 64 lower-case hex digits.
    pub fn hex(&self, bytes: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(bytes);
        hex::encode(mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differs_by_key_and_text() {
        let (one, two) = (KeyedHash::new(b"one"), KeyedHash::new(b"two"));
        assert_eq!(one.hex(b"x"), one.hex(b"x"));
        assert_ne!(one.hex(b"x"), two.hex(b"x"));
        assert_ne!(one.hex(b"x"), one.hex(b"y"));
        assert_eq!(one.hex(b"").len(), 64);
    }
}
