//! Values that are parsed once, at the edge, and cannot be wrong afterwards.

mod money;
mod personal;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

pub use money::{AMOUNT_MAX, Claimed, Currency, Money};
pub use personal::{
    Buyer, EMAIL_BYTES_MAX, ERASED, Email, Lang, NAME_BYTES_MAX, Name, PHONE_DIGITS_MAX, Phone,
};

/// Attempts an order may open at CinetPay; `<order id>R9` stays within its 30 characters.
pub const ATTEMPTS_MAX: u8 = 9;
const MILLIS_PER_HOUR: i64 = 3600 * 1000;

/// Why a text is not the value it should be. Its message never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not 26 characters of Crockford base 32 in upper case.
    #[error("not an order id")]
    OrderId,
    /// Neither an order id nor `<order id>R<2..9>`.
    #[error("not a transaction id")]
    TransactionId,
    /// A currency that CinetPay does not know.
    #[error("the currency is none of XOF, XAF, GNF, CDF, USD")]
    Currency,
    /// Not a multiple of 5 (every currency but USD).
    #[error("the amount is not a multiple of 5")]
    AmountStep,
    /// Below CinetPay's minimum.
    #[error("the amount is too small")]
    AmountSmall,
    /// Above [`AMOUNT_MAX`].
    #[error("the amount is too large")]
    AmountLarge,
    /// Not a mailable address.
    #[error("not an e-mail address")]
    Email,
    /// Too long, or with control characters.
    #[error("not a usable name")]
    Name,
    /// Not a telephone number.
    #[error("not a telephone number")]
    Phone,
    /// Not a receipt's number.
    #[error("not a receipt number")]
    Number,
    /// Not a time in RFC 3339.
    #[error("not a time")]
    Time,
}

/// A moment, in milliseconds since 1970 UTC. RFC 3339 in texts, an integer in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970 UTC.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }
    /// Milliseconds since 1970 UTC.
    pub const fn millis(self) -> i64 {
        self.0
    }
    /// Whole seconds since 1970 UTC.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
    /// Whole hours since 1970 UTC.
    pub const fn hour(self) -> i64 {
        self.0.div_euclid(MILLIS_PER_HOUR)
    }
    /// The moment at which an hour begins.
    pub const fn of_hour(hour: i64) -> Self {
        Self(hour.saturating_mul(MILLIS_PER_HOUR))
    }
    /// This moment, `by` later.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
    /// This long before it.
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "1970-01-01T00:00:00.000Z"),
        }
    }
}

impl FromStr for Timestamp {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.parse::<jiff::Timestamp>().map(|at| Self(at.as_millisecond())).map_err(|_| Invalid::Time)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { s.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            let text = String::deserialize(d)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            i64::deserialize(d).map(Self)
        }
    }
}

/// An order's number: a ULID, 26 upper-case characters, ordered by time of creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(Ulid);

impl OrderId {
    /// A new id for this moment, from 80 bits of `chance`.
    pub fn new(now: Timestamp, chance: u128) -> Self {
        Self(Ulid::from_parts(u64::try_from(now.millis()).unwrap_or(0), chance))
    }
    /// Reads the canonical form only: other spellings of one id would be other orders to a proxy or a log.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let ulid = Ulid::from_string(text).map_err(|_| Invalid::OrderId)?;
        let id = Self(ulid);
        if id.to_string() == text { Ok(id) } else { Err(Invalid::OrderId) }
    }
    /// The first id that an order of this moment can have: between two of these lie the orders taken in between.
    pub fn first_of(moment: Timestamp) -> Self {
        Self::new(moment, 0)
    }
    /// The id as 16 bytes, big-endian: byte order is time order.
    pub fn bytes(self) -> [u8; 16] {
        self.0.0.to_be_bytes()
    }
    /// The id from its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Ulid(u128::from_be_bytes(bytes)))
    }
    /// A number that differs from order to order: the seed of its jitter.
    pub fn seed(self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for OrderId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { self.bytes().serialize(s) }
    }
}

impl<'de> Deserialize<'de> for OrderId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            let text = String::deserialize(d)?;
            Self::parse(&text).map_err(serde::de::Error::custom)
        } else {
            <[u8; 16]>::deserialize(d).map(Self::from_bytes)
        }
    }
}

/// Which payment page of an order: 1 for the first, at most [`ATTEMPTS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attempt(u8);

impl Attempt {
    /// The first page.
    pub const FIRST: Self = Self(1);
    /// The page after this one, if another may be opened.
    pub fn next(self) -> Option<Self> {
        (self.0 < ATTEMPTS_MAX).then(|| Self(self.0 + 1))
    }
    /// 1, 2, 3 …
    pub fn number(self) -> u8 {
        self.0
    }
    /// Every attempt up to this one, newest first.
    pub fn newest_first(self) -> impl Iterator<Item = Self> {
        (1..=self.0).rev().map(Self)
    }
}

/// What CinetPay calls `transaction_id`: the order id, and `R<n>` from the second attempt on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId {
    /// The order that is paid.
    pub order: OrderId,
    /// Which of its payment pages.
    pub attempt: Attempt,
}

impl TransactionId {
    /// Reads `<order id>` or `<order id>R<2..9>`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let (id, rest) = text.split_at_checked(26).ok_or(Invalid::TransactionId)?;
        let order = OrderId::parse(id).map_err(|_| Invalid::TransactionId)?;
        let attempt = match rest.as_bytes() {
            [] => Attempt::FIRST,
            [b'R', n @ b'2'..=b'9'] => Attempt(n - b'0'),
            _ => return Err(Invalid::TransactionId),
        };
        Ok(Self { order, attempt })
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempt {
            Attempt(0 | 1) => write!(f, "{}", self.order),
            Attempt(n) => write!(f, "{}R{n}", self.order),
        }
    }
}

#[cfg(test)]
mod tests;
