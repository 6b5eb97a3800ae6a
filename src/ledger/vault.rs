//! The personal part of an order's state, as the index keeps it: sealed once when it changes, carried along otherwise.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::{Snapshot, ThawError};
use super::seal::{Held, Keyring, Place, Seal};
use crate::domain::payment::Payment;
use crate::domain::personal::Personal;
use crate::domain::values::Buyer;

/// What stands in a snapshot for the personal part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Vault {
    /// It has none any more.
    Nothing,
    /// Its lines are older than keys: in plain text, as they are.
    Plain,
    /// Sealed with the key in a record.
    Sealed {
        /// The record.
        slot: u64,
        /// Nonce, sealed bytes, tag.
        bytes: Arc<[u8]>,
    },
}

/// The same, as stored.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stored {
    /// See [`Vault::Nothing`].
    Nothing,
    /// See [`Vault::Plain`].
    Plain(Part),
    /// See [`Vault::Sealed`].
    Sealed(u64, Vec<u8>),
}

/// A personal part in postcard, whose fields cannot be left out.
type Part = (Option<Buyer>, Option<String>);

fn part(personal: Personal) -> Part {
    (personal.buyer, personal.text)
}

fn personal((buyer, text): Part) -> Personal {
    Personal { buyer, text }
}

impl Vault {
    /// The vault of `payment`, which follows `before` by a commit that was, or is to be, sealed with `seal`.
    ///
    /// # Errors
    /// The order's key cannot be read, in words.
    pub(crate) fn after(
        before: Option<&Snapshot>,
        payment: &Payment,
        seal: Option<&Seal<'_>>,
        ring: &Keyring,
    ) -> Result<Vault, String> {
        if let Some(before) = before.filter(|before| before.payment.is_personally(payment)) {
            return Ok(before.vault.clone());
        }
        let personal = payment.clone().take_personal();
        if personal.is_nothing() {
            return Ok(Vault::Nothing);
        }
        let own;
        let seal = match (seal, before.map(|before| &before.vault)) {
            (Some(seal), _) => seal,
            (None, Some(Vault::Sealed { slot, .. })) => {
                match ring.get(*slot, payment.id).map_err(|error| error.to_string())? {
                    Held::Live(key) => own = ring.with(*slot, key),
                    Held::Destroyed | Held::GivenUp => return Ok(Vault::Nothing),
                    Held::Lost => return Err(ring.lost(*slot, payment.id).to_string()),
                }
                &own
            }
            (None, Some(Vault::Nothing | Vault::Plain) | None) => return Ok(Vault::Plain),
        };
        let plain = postcard::to_stdvec(&part(personal)).map_err(|error| error.to_string())?;
        let bytes = seal.seal(Place::Snapshot(payment.id), &plain).map_err(|error| error.to_string())?.into();
        Ok(Vault::Sealed { slot: seal.slot, bytes })
    }

    /// As it is stored; `part` is what it holds.
    pub(super) fn stored(&self, personal: Personal) -> Stored {
        match self {
            Vault::Nothing => Stored::Nothing,
            Vault::Plain => Stored::Plain(part(personal)),
            Vault::Sealed { slot, bytes } => Stored::Sealed(*slot, bytes.to_vec()),
        }
    }
}

impl Stored {
    /// Puts what it holds back into the state.
    pub(super) fn open(self, payment: &mut Payment, ring: &Keyring) -> Result<Vault, ThawError> {
        let (slot, bytes) = match self {
            Stored::Nothing => return Ok(Vault::Nothing),
            Stored::Plain(part) => {
                payment.put_personal(personal(part));
                return Ok(Vault::Plain);
            }
            Stored::Sealed(slot, bytes) => (slot, bytes),
        };
        match ring.get(slot, payment.id).map_err(|error| ThawError::Keys(error.to_string()))? {
            Held::Live(key) => {
                let opened = ring.with(slot, key).open(Place::Snapshot(payment.id), &bytes);
                let plain = opened.ok_or(ThawError::Damaged)?;
                payment.put_personal(personal(postcard::from_bytes(&plain).map_err(|_| ThawError::Damaged)?));
                Ok(Vault::Sealed { slot, bytes: bytes.into() })
            }
            Held::Destroyed | Held::GivenUp => {
                payment.blank();
                Ok(Vault::Nothing)
            }
            Held::Lost => Err(ring.lost(slot, payment.id).into()),
        }
    }
}
