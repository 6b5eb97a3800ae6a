//! Amounts and currencies: whole units, never a float.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// Largest price, in the currency's smallest unit that we use.
pub const AMOUNT_MAX: u64 = 100_000_000;

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
    /// An amount in its smallest units as a decimal text: `15000`, or `12.50` for 1250 cents.
    pub fn decimal(self, units: u64) -> String {
        match self.decimals() {
            0 => units.to_string(),
            _ => format!("{}.{:02}", units / 100, units % 100),
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
        self.currency.decimal(self.amount)
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
