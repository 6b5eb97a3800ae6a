//! Records in a database: the same bytes, found by order and number.

use std::collections::HashMap;

use super::{Addresses, Keyring, NoChance, Records};
use crate::domain::values::OrderId;
use crate::ledger::journal::{JournalError, Patch};
use crate::ledger::seal::record::{self, Record};
use crate::ledger::seal::{Chance, Held, Key};

impl Keyring {
    /// The keys that were read with what they seal. A new key is numbered after all of these.
    pub(crate) fn of_rows(
        addresses: &Addresses,
        rows: impl Iterator<Item = (OrderId, u64, Vec<u8>)>,
    ) -> Keyring {
        let (mut records, mut last) = (HashMap::new(), 0);
        for (order, slot, bytes) in rows {
            last = slot.max(last);
            // One of another length is lost.
            if let Ok(record) = Record::try_from(bytes) {
                records.insert((order, slot), record);
            }
        }
        Keyring::new(Records::Rows(records), addresses.clone(), last.saturating_add(1), Chance::System)
    }

    /// An order's key, or the mark that it left, as the record with another number. None: it is lost.
    ///
    /// # Errors
    /// IO.
    pub(crate) fn moved(&self, slot: u64, order: OrderId, to: u64) -> Result<Option<Patch>, JournalError> {
        let bytes = match self.get(slot, order)? {
            Held::Live(key) => record::live(to, order, &key),
            Held::Destroyed => record::destroyed(to, order),
            Held::GivenUp => record::given_up(to, order),
            Held::Lost => return Ok(None),
        };
        Ok(Some(Patch { slot: to, bytes }))
    }
}

impl Addresses {
    /// A record with a new key for addresses.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(crate) fn new_record() -> Result<Record, NoChance> {
        Key::new(&Chance::System).map(|key| record::head(&key))
    }

    /// From such a record. None if it is damaged.
    pub(crate) fn read(record: &[u8]) -> Option<Addresses> {
        let key = record::read_head(record.try_into().ok()?)?;
        Some(Addresses::of(&key))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn order(number: u128) -> OrderId {
        OrderId::from_bytes(number.to_be_bytes())
    }

    /// A ring of rows knows what was read and nothing else, numbers new keys after all of it, and shows none.
    #[test]
    fn keys_from_rows_are_those_that_were_read() {
        let addresses = Addresses::read(&Addresses::new_record().unwrap()).unwrap();
        let empty = Keyring::of_rows(&addresses, std::iter::empty());
        let (first, record) = empty.fresh(order(1)).unwrap();
        assert_eq!((first.slot, record.slot), (1, 1));
        let gone = record::destroyed(2, order(1)).to_vec();
        let rows = [(order(1), 1, record.bytes.to_vec()), (order(1), 2, gone), (order(2), 7, vec![0; 3])];
        let ring = Keyring::of_rows(&addresses, rows.into_iter());
        let held = |order, slot| ring.get(slot, order).unwrap();
        assert_eq!(held(order(1), 1), Held::Live(first.key.clone()));
        assert_eq!(held(order(1), 2), Held::Destroyed);
        for (whose, slot) in [(order(1), 3), (order(2), 1), (order(2), 7)] {
            assert_eq!(held(whose, slot), Held::Lost, "{whose} {slot}");
        }
        assert_eq!(ring.fresh(order(1)).unwrap().0.slot, 8);
        let shown = format!("{ring:?}");
        assert!(shown.contains("2 rows"), "{shown}");
        let secret = format!("{:?}", &record.bytes[16..20]);
        assert!(!shown.contains(secret.trim_matches(['[', ']'])), "{shown}");
    }

    #[test]
    fn addresses_are_found_by_one_key_whatever_their_case_and_by_no_other() {
        let record = Addresses::new_record().unwrap();
        let (one, other) =
            (Addresses::read(&record).unwrap(), Addresses::read(&Addresses::new_record().unwrap()).unwrap());
        assert_eq!(one.hash("Awa@Example.ci"), Addresses::read(&record).unwrap().hash("awa@example.ci"));
        assert_ne!(one.hash("awa@example.ci"), other.hash("awa@example.ci"));
        for at in 0..record.len() {
            let mut damaged = record;
            damaged[at] ^= 1;
            assert!(Addresses::read(&damaged).is_none(), "byte {at}");
        }
        assert!(Addresses::read(&record[..63]).is_none());
    }
}
