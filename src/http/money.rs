//! Amounts as people read them.

use crate::domain::values::{Currency, Money};

/// A space that no line breaks at, between groups of digits and before the currency.
const NARROW: char = '\u{a0}';

/// `15 000 FCFA`, `12,50 USD`: digits in groups of three, the currency's everyday name behind.
pub(crate) fn amount(money: Money) -> String {
    let decimal = money.decimal();
    let (whole, cents) = decimal.split_once('.').unwrap_or((&decimal, ""));
    let mut text = String::with_capacity(decimal.len() + 8);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(NARROW);
        }
        text.push(digit);
    }
    if !cents.is_empty() {
        text.push(',');
        text.push_str(cents);
    }
    text.push(NARROW);
    text.push_str(match money.currency() {
        Currency::Xof | Currency::Xaf => "FCFA",
        Currency::Gnf => "GNF",
        Currency::Cdf => "FC",
        Currency::Usd => "USD",
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        let check = |units, currency, want: &str| {
            let money = Money::price(units, currency).expect("a price");
            assert_eq!(amount(money).replace('\u{a0}', " "), want);
        };
        check(15_000, Currency::Xof, "15 000 FCFA");
        check(100, Currency::Xaf, "100 FCFA");
        check(1_250_000, Currency::Gnf, "1 250 000 GNF");
        check(1_250, Currency::Usd, "12,50 USD");
        check(123_456, Currency::Usd, "1 234,56 USD");
    }
}
