//! What of an order is personal: taken out of events and states before they are stored, put back when they are read,
//! and what is left once it was erased.
//!
//! Membership test: a text that somebody typed, or that CinetPay may have quoted. Amounts, statuses, numbers, times and
//! hashes are not; nor is the name under which somebody on the merchant's side acted, which must outlive an erasure.

use serde::{Deserialize, Serialize};

use super::decide::Refusal;
use super::event::{Decision, Event};
use super::payment::{Mail, Payment, Sale, Status};
use super::values::{Buyer, ERASED};
use super::wishes::BUYER;

/// What stands in a stored event where a text was taken out.
pub const SEALED: &str = "…";
/// Why a mail that was owed is not sent any more, or never will be.
pub const MAIL_ERASED: &str = "ERASED";

/// The personal part of one event, or of an order's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Personal {
    /// The buyer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<Buyer>,
    /// A reason that somebody typed, or what CinetPay said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Personal {
    /// Whether there is nothing in it.
    pub fn is_nothing(&self) -> bool {
        self.buyer.is_none() && self.text.is_none()
    }

    fn of(buyer: Option<&mut Buyer>, text: Option<&mut String>) -> Self {
        let buyer = buyer.filter(|buyer| !buyer.is_erased());
        let text = text.filter(|text| is_personal(text));
        Personal {
            buyer: buyer.map(std::mem::take),
            text: text.map(|text| std::mem::replace(text, SEALED.to_owned())),
        }
    }

    fn into(self, buyer: Option<&mut Buyer>, text: Option<&mut String>) {
        if let (Some(own), Some(place)) = (self.buyer, buyer) {
            *place = own;
        }
        if let (Some(own), Some(place)) = (self.text, text) {
            *place = own;
        }
    }
}

fn is_personal(text: &str) -> bool {
    !text.is_empty() && text != ERASED && text != SEALED
}

fn blank(text: Option<&mut String>) {
    if let Some(text) = text.filter(|text| *text == SEALED) {
        *text = ERASED.to_owned();
    }
}

impl Event {
    /// Takes its personal part out, if it has one.
    pub fn take_personal(&mut self) -> Option<Personal> {
        let part = match self {
            Event::Note { by, buyer, .. } => Personal::of(buyer.as_mut(), reason(by)),
            Event::Created { buyer, .. } => Personal::of(Some(buyer), None),
            other => Personal::of(None, other.text_mut()),
        };
        (!part.is_nothing()).then_some(part)
    }

    /// Puts a personal part back.
    pub fn put_personal(&mut self, part: Personal) {
        match self {
            Event::Note { by, buyer, .. } => part.into(buyer.as_mut(), reason(by)),
            Event::Created { buyer, .. } => part.into(Some(buyer), None),
            other => part.into(None, other.text_mut()),
        }
    }

    /// Says of what was taken out and cannot be put back that it was erased.
    pub fn blank(&mut self) {
        match self {
            Event::Note { by, .. } => blank(reason(by)),
            other => blank(other.text_mut()),
        }
    }

    /// Whether it has a personal part.
    pub fn is_personal(&self) -> bool {
        match self {
            Event::Created { buyer, .. } => !buyer.is_erased(),
            Event::InitFailed { reason, .. } => is_personal(reason),
            Event::Note { by, buyer, .. } => {
                buyer.as_ref().is_some_and(|buyer| !buyer.is_erased())
                    || (by.by != BUYER && is_personal(&by.note))
            }
            Event::Paid { approved: Some(by), .. }
            | Event::Failed { rejected: Some(by), .. }
            | Event::Revoked { by, .. }
            | Event::Refunded { by } => is_personal(&by.note),
            Event::Initiated { .. }
            | Event::Notified { .. }
            | Event::Checked { .. }
            | Event::Paid { approved: None, .. }
            | Event::Failed { rejected: None, .. }
            | Event::Review { .. }
            | Event::Expired {}
            | Event::MailFailed { .. }
            | Event::Delivered { .. }
            | Event::Downloaded { .. }
            | Event::Resent { .. }
            | Event::Reminded { .. }
            | Event::ReminderFailed { .. }
            | Event::Erased { .. } => false,
        }
    }

    fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Event::InitFailed { reason, .. } => Some(reason),
            Event::Paid { approved: Some(by), .. }
            | Event::Failed { rejected: Some(by), .. }
            | Event::Revoked { by, .. }
            | Event::Refunded { by } => reason(by),
            _ => None,
        }
    }
}

/// The reason that a person gave. The buyer's wishes are words of ours.
fn reason(by: &mut Decision) -> Option<&mut String> {
    (by.by != BUYER).then_some(&mut by.note)
}

impl Payment {
    /// Takes the state's personal part out.
    pub fn take_personal(&mut self) -> Personal {
        let text = sale(&mut self.status).and_then(|sale| sale.approved.as_mut()).and_then(reason);
        Personal::of(Some(&mut self.buyer), text)
    }

    /// Puts it back.
    pub fn put_personal(&mut self, part: Personal) {
        let text = sale(&mut self.status).and_then(|sale| sale.approved.as_mut()).and_then(reason);
        part.into(Some(&mut self.buyer), text);
    }

    /// Says of what was taken out and cannot be put back that it was erased.
    pub fn blank(&mut self) {
        blank(sale(&mut self.status).and_then(|sale| sale.approved.as_mut()).and_then(reason));
    }

    /// Whether it has the same personal part as `other`.
    pub fn is_personally(&self, other: &Self) -> bool {
        let approved = |payment: &Self| payment.sale().and_then(|sale| sale.approved.clone());
        self.buyer == other.buyer && approved(self) == approved(other)
    }

    /// The order without anything personal: its link is withdrawn, and no mail is owed, since there is nobody to send
    /// it to. Amount, status, numbers and times stay.
    pub(super) fn erase(&mut self) {
        self.take_personal();
        self.blank();
        if let Some(sale) = sale(&mut self.status) {
            sale.link.revoked = true;
            sale.reminder.forget();
        }
        if let Status::Paid(Sale { mail: mail @ Mail::Owed { .. }, .. }) = &mut self.status {
            *mail = Mail::Stalled { reason: MAIL_ERASED.to_owned() };
        }
    }
}

fn sale(status: &mut Status) -> Option<&mut Sale> {
    match status {
        Status::Paid(sale) | Status::Refunded(sale) => Some(sale),
        Status::Created(_)
        | Status::Pending { .. }
        | Status::Failed { .. }
        | Status::Review { .. }
        | Status::Expired { .. } => None,
    }
}

/// Why an order had better not be erased now; None where nothing speaks against it.
pub fn objection(payment: &Payment) -> Option<Refusal> {
    match &payment.status {
        Status::Created(_) => Some(Refusal::Status(payment.status_name())),
        Status::Pending { .. } | Status::Review { .. } => Some(Refusal::Owed),
        Status::Paid(sale) if matches!(sale.mail, Mail::Owed { .. }) => Some(Refusal::Owed),
        Status::Paid(_) | Status::Failed { .. } | Status::Expired { .. } | Status::Refunded(_) => None,
    }
}

/// Also of an order that was erased before: somebody may have typed a reason since. One that is just being opened is
/// left alone even by force: CinetPay is about to be told the buyer's name.
pub(super) fn erase(payment: &Payment, by: &str, force: bool) -> Result<Vec<Event>, Refusal> {
    match objection(payment) {
        Some(Refusal::Owed) if force => {}
        Some(refusal) => return Err(refusal),
        None => {}
    }
    Ok(vec![Event::Erased { by: by.to_owned() }])
}
