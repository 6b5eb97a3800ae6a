//! Values that are parsed once, at the edge, and cannot be wrong afterwards.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

/// Longest e-mail address accepted, in bytes (RFC 5321, 4.5.3.1.3 less the angle brackets).
pub const EMAIL_BYTES_MAX: usize = 254;
/// Longest buyer's name accepted, in bytes.
pub const NAME_BYTES_MAX: usize = 120;
/// Most digits in a telephone number (E.164 has 15).
pub const PHONE_DIGITS_MAX: usize = 15;
/// Attempts an order may open at CinetPay; `<order id>R9` stays within its 30 characters.
pub const ATTEMPTS_MAX: u8 = 9;
/// Largest price, in the currency's smallest unit that we use.
pub const AMOUNT_MAX: u64 = 100_000_000;

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
    /// This moment, `by` later.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// The currencies of CinetPay's checkout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    /// West African CFA franc.
    Xof,
    /// Central African CFA franc.
    Xaf,
    /// Guinean franc.
    Gnf,
    /// Congolese franc.
    Cdf,
    /// United States dollar; amounts in cents.
    Usd,
}

impl Currency {
    /// The ISO 4217 code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Xof => "XOF",
            Self::Xaf => "XAF",
            Self::Gnf => "GNF",
            Self::Cdf => "CDF",
            Self::Usd => "USD",
        }
    }
    /// Digits after the decimal point in texts.
    pub const fn decimals(self) -> u32 {
        match self {
            Self::Xof | Self::Xaf | Self::Gnf | Self::Cdf => 0,
            Self::Usd => 2,
        }
    }
    /// The smallest amount that CinetPay takes (its documentation, checkout v2).
    pub const fn minimum(self) -> u64 {
        match self {
            Self::Xof | Self::Xaf => 100,
            Self::Gnf => 5,
            Self::Cdf => 400,
            Self::Usd => 20,
        }
    }
}

impl FromStr for Currency {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.trim().to_ascii_uppercase().as_str() {
            "XOF" => Ok(Self::Xof),
            "XAF" => Ok(Self::Xaf),
            "GNF" => Ok(Self::Gnf),
            "CDF" => Ok(Self::Cdf),
            "USD" => Ok(Self::Usd),
            _ => Err(Invalid::Currency),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount in whole units of its currency (cents for USD). Never a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    amount: u64,
    currency: Currency,
}

impl Money {
    /// A price that CinetPay can collect.
    pub fn price(amount: u64, currency: Currency) -> Result<Self, Invalid> {
        match () {
            () if amount < currency.minimum() => Err(Invalid::AmountSmall),
            () if amount > AMOUNT_MAX => Err(Invalid::AmountLarge),
            () if currency != Currency::Usd && !amount.is_multiple_of(5) => Err(Invalid::AmountStep),
            () => Ok(Self { amount, currency }),
        }
    }
    /// Whole units (cents for USD).
    pub fn amount(self) -> u64 {
        self.amount
    }
    /// The currency.
    pub fn currency(self) -> Currency {
        self.currency
    }
    /// The decimal text that CinetPay reads: `15000`, or `12.50` for 1250 cents.
    pub fn decimal(self) -> String {
        match self.currency.decimals() {
            0 => self.amount.to_string(),
            _ => format!("{}.{:02}", self.amount / 100, self.amount % 100),
        }
    }
}

/// What CinetPay says was paid: every part may be missing, and nothing is assumed about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// Whole units (cents for USD); `None` when absent or not a plain decimal.
    pub amount: Option<u64>,
    /// `None` when absent or unknown.
    pub currency: Option<Currency>,
}

impl Claimed {
    /// Reads CinetPay's decimal text (`"100"`, `"100.00"`, `"12.5"` for USD).
    pub fn read(amount: Option<&str>, currency: Option<&str>) -> Self {
        let currency = currency.and_then(|text| text.parse().ok());
        let decimals = currency.map_or(0, Currency::decimals);
        Self { amount: amount.and_then(|text| smallest_units(text.trim(), decimals)), currency }
    }
    /// Whether exactly `price` was paid.
    pub fn is(self, price: Money) -> bool {
        self.amount == Some(price.amount) && self.currency == Some(price.currency)
    }
}

/// `12.5` with two decimals is 1250. Anything but digits and one point is nothing.
fn smallest_units(text: &str, decimals: u32) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.len() <= 12 && s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return None;
    }
    let kept = usize::try_from(decimals).ok()?;
    let (kept_part, rest) = part.split_at(part.len().min(kept));
    if rest.bytes().any(|b| b != b'0') {
        return None;
    }
    format!("{whole}{kept_part:0<kept$}").parse().ok()
}

/// A text that must not reach a log, a metric or a URL by accident: `Debug` hides it.
macro_rules! personal {
    ($(#[$doc:meta])* $name:ident, $parse:expr, $why:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Serialize)]
        pub struct $name(String);

        impl $name {
            /// Parses and bounds the text.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                let parse: fn(&str) -> Option<String> = $parse;
                parse(text.trim()).map(Self).ok_or($why)
            }
            /// The text itself: for the mail, the provider and the admin only.
            pub fn expose(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

personal!(
    /// A mailable address (RFC 5321 grammar, ASCII, a dotted domain). It cannot hold a line break, so no header can be injected.
    Email,
    |text| {
        let ok = text.len() <= EMAIL_BYTES_MAX
            && text.is_ascii()
            && !text.bytes().any(|b| b.is_ascii_control() || matches!(b, b'"' | b'<' | b'>' | b' ' | b'['))
            && email_address::EmailAddress::is_valid(text)
            && text.rsplit_once('@').is_some_and(|(_, domain)| domain.contains('.'));
        ok.then(|| text.to_owned())
    },
    Invalid::Email
);

personal!(
    /// A buyer's name: one line, bounded.
    Name,
    |text| {
        let ok = !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control);
        ok.then(|| text.to_owned())
    },
    Invalid::Name
);

personal!(
    /// A telephone number: digits, with a leading `+` where it was given.
    Phone,
    |text| {
        let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '.' | '-' | '(' | ')')).collect();
        let bare = digits.strip_prefix('+').unwrap_or(&digits);
        let ok = (6..=PHONE_DIGITS_MAX).contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_digit());
        ok.then_some(digits)
    },
    Invalid::Phone
);

/// The language a buyer chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// French, the default.
    #[default]
    Fr,
    /// English.
    En,
}

/// Everything personal that an order holds, in one place so that it can be sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buyer {
    /// Where the link goes.
    pub email: Email,
    /// As typed.
    pub name: Option<Name>,
    /// As typed.
    pub phone: Option<Phone>,
    /// The language of pages and mails.
    pub lang: Lang,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_ids_are_canonical() {
        let id = OrderId::new(Timestamp::from_millis(1_700_000_000_000), 42);
        let text = id.to_string();
        assert_eq!(text.len(), 26);
        assert_eq!(OrderId::parse(&text), Ok(id));
        assert_eq!(OrderId::parse(&text.to_lowercase()), Err(Invalid::OrderId));
        assert_eq!(OrderId::parse(&format!("{text}0")), Err(Invalid::OrderId));
        assert_eq!(OrderId::from_bytes(id.bytes()), id);
    }

    #[test]
    fn transactions_name_their_order() {
        let order = OrderId::new(Timestamp::from_millis(5), 7);
        let check = |text: &str, attempt: Option<u8>| {
            assert_eq!(TransactionId::parse(text).ok().map(|t| t.attempt.number()), attempt, "{text}");
        };
        check(&order.to_string(), Some(1));
        check(&format!("{order}R2"), Some(2));
        check(&format!("{order}R1"), None);
        check(&format!("{order}R10"), None);
        check(&format!("{order}r2"), None);
        check("", None);
        check("éééééééééééééééééééééééééé", None);
        let second = TransactionId { order, attempt: Attempt(2) };
        assert_eq!(TransactionId::parse(&second.to_string()), Ok(second));
    }

    #[test]
    fn amounts_are_exact() {
        let check = |text: &str, currency: &str, units: Option<u64>| {
            assert_eq!(Claimed::read(Some(text), Some(currency)).amount, units, "{text} {currency}");
        };
        check("100", "XOF", Some(100));
        check("100.00", "XOF", Some(100));
        check("100.5", "XOF", None);
        check("12.5", "USD", Some(1250));
        check("12.501", "USD", None);
        check("-5", "XOF", None);
        check("1e3", "XOF", None);
        check("", "XOF", None);
        check("1 000", "XOF", None);
        assert!(!Claimed::read(Some("100"), None).is(Money { amount: 100, currency: Currency::Xof }));
    }

    #[test]
    fn prices_keep_cinetpays_rules() {
        let check = |amount, currency, want: Result<(), Invalid>| {
            assert_eq!(Money::price(amount, currency).map(|_| ()), want, "{amount} {currency}");
        };
        check(15_000, Currency::Xof, Ok(()));
        check(95, Currency::Xof, Err(Invalid::AmountSmall));
        check(101, Currency::Xaf, Err(Invalid::AmountStep));
        check(1_251, Currency::Usd, Ok(()));
        check(u64::MAX, Currency::Gnf, Err(Invalid::AmountLarge));
    }

    #[test]
    fn addresses_are_mailable_and_unprintable() {
        for good in ["awa@example.ci", " Awa.Kone+kit@mail.example.com ", "a@b.co"] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "awa",
            "a@b",
            "a@b.ci\r\nBcc: x@y.z",
            "Awa <a@b.ci>",
            "a b@c.ci",
            "a@[127.0.0.1]",
            "\"x y\"@b.ci",
        ] {
            assert_eq!(Email::parse(bad), Err(Invalid::Email), "{bad}");
        }
        assert!(Email::parse(&format!("{}@b.ci", "a".repeat(260))).is_err());
        assert_eq!(format!("{:?}", Email::parse("awa@example.ci")), "Ok(Email(…))");
    }

    #[test]
    fn times_round_trip() {
        let at = Timestamp::from_millis(1_700_000_000_120);
        assert_eq!(at.to_string(), "2023-11-14T22:13:20.120Z");
        assert_eq!(at.to_string().parse(), Ok(at));
    }
}
