//! A receipt: its number, and what it says of a sale.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::calendar::Zone;
use super::payment::{Payment, Status};
use super::values::{Buyer, Invalid, Money, OrderId, Timestamp, TransactionId};

/// A receipt's number: `2026-000123`. Within a year (UTC) they run 1, 2, 3 … in the order in which the payments became
/// durable, without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReceiptNumber {
    /// The year of the payment.
    pub year: i16,
    /// Its place among the payments of the year, from 1.
    pub place: u64,
}

/// Digits of a year.
const YEAR_DIGITS: usize = 4;

impl fmt::Display for ReceiptNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:06}", self.year, self.place)
    }
}

/// `2026-000123`, and `2026-123` from whoever leaves the zeros out.
impl FromStr for ReceiptNumber {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (year, place) = text.split_once('-').ok_or(Invalid::Number)?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if year.len() != YEAR_DIGITS || !digits(year) || !digits(place) {
            return Err(Invalid::Number);
        }
        let number = Self {
            year: year.parse().map_err(|_| Invalid::Number)?,
            place: place.parse().map_err(|_| Invalid::Number)?,
        };
        if number.place == 0 { Err(Invalid::Number) } else { Ok(number) }
    }
}

/// The year (UTC) that a payment's number belongs to.
pub fn year(paid_at: Timestamp) -> i16 {
    Zone::UTC.shows(paid_at).year()
}

/// Everything a receipt says of the sale; who sells is the merchant's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its number.
    pub number: ReceiptNumber,
    /// The order.
    pub order: OrderId,
    /// Who paid.
    pub buyer: Buyer,
    /// The product's name.
    pub product: String,
    /// The tier's name; may be empty.
    pub tier: String,
    /// What was paid.
    pub price: Money,
    /// When it was verified.
    pub paid_at: Timestamp,
    /// OM, MOMO, FLOOZ, CARD …; may be empty.
    pub method: String,
    /// The operator's transaction number, or ours where the operator gave none.
    pub transaction: String,
    /// Whether a refund was recorded since.
    pub refunded: bool,
}

impl Receipt {
    /// The receipt of a paid order, whose product and tier are called `names`; none of an order that was never paid.
    pub fn of(payment: &Payment, number: ReceiptNumber, names: (String, String)) -> Option<Self> {
        let sale = payment.sale()?;
        let own = TransactionId { order: payment.id, attempt: sale.attempt };
        let (product, tier) = names;
        Some(Self {
            number,
            order: payment.id,
            buyer: payment.buyer.clone(),
            product,
            tier,
            price: payment.price,
            paid_at: sale.paid_at,
            method: sale.payment_method.clone().unwrap_or_default(),
            transaction: sale.provider_tx_id.clone().unwrap_or_else(|| own.to_string()),
            refunded: matches!(payment.status, Status::Refunded(_)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well_and_years_are_utc() {
        let check = |place, text: &str| assert_eq!(ReceiptNumber { year: 2026, place }.to_string(), text);
        check(1, "2026-000001");
        check(999_999, "2026-999999");
        check(1_000_000, "2026-1000000");
        let read = |text: &str| text.parse::<ReceiptNumber>().ok().map(|number| number.to_string());
        for good in ["2026-000001", "2026-999999", "2026-1000000"] {
            assert_eq!(read(good).as_deref(), Some(good));
        }
        assert_eq!(read("2026-123").as_deref(), Some("2026-000123"));
        for bad in
            ["", "2026", "2026-", "2026-0", "26-1", "2026-1x", "2026-+1", "+026-1", "2026-1-2", " 2026-1"]
        {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert_eq!(read("2026-99999999999999999999"), None);
        assert_eq!(year("2026-12-31T23:59:59.999Z".parse().unwrap()), 2026);
        assert_eq!(year("2027-01-01T00:00:00Z".parse().unwrap()), 2027);
    }
}
