//! The handle through which everything reaches an order.

use std::sync::Arc;

use crate::domain::decide::Refusal;
use crate::domain::input::Input;
use crate::domain::payment::Payment;
use crate::domain::values::OrderId;

/// The handle.
#[derive(Clone)]
pub struct Orders;

/// An answer.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The order after the commit.
    pub payment: Arc<Payment>,
    /// Nothing new was committed.
    pub duplicate: bool,
}

/// Why there is no receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskError {
    /// Too much is queued.
    Busy,
    /// The actor died.
    Gone,
    /// No answer in time.
    Late,
    /// The ledger cannot commit.
    NoRoom,
    /// A business "no".
    Refused(Refusal),
    /// CinetPay did not open a page.
    NotOpened(String),
}

impl Orders {
    /// Hands `input` to the order.
    pub async fn submit(&self, _id: OrderId, _input: Input) -> Result<Receipt, AskError> {
        Err(AskError::Gone)
    }
}
