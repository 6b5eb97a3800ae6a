//! What happened, in the past tense. This is the stored contract: fields may be added, never renamed or removed.

use serde::{Deserialize, Serialize};

use super::values::{Attempt, Buyer, Claimed, Money, Timestamp};

/// The format version that every stored event carries. 1: personal data in plain text; 2: sealed beside the events.
pub const FORMAT: u8 = 2;

/// One fact about an order. In JSON: `{"kind": "PAID", …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "snake_case")]
pub enum Event {
    /// An order was taken.
    Created {
        /// The product's slug.
        product: String,
        /// The tier's id.
        tier: String,
        /// The price.
        price: Money,
        /// Everything personal.
        buyer: Buyer,
        /// Set when the client sent an `Idempotency-Key`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<Request>,
    },
    /// CinetPay opened a payment page.
    Initiated {
        /// Which.
        attempt: Attempt,
        /// Where the buyer pays.
        payment_url: String,
        /// CinetPay's token for it.
        payment_token: String,
        /// When to look at it first.
        check_at: Timestamp,
    },
    /// CinetPay did not open a payment page.
    InitFailed {
        /// Which.
        attempt: Attempt,
        /// In a few words, for the merchant.
        reason: String,
        /// Whether CinetPay may have opened it all the same.
        ambiguous: bool,
        /// When the daemon itself tries again; otherwise the buyer's repeat does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
        /// The last look, where nobody tries again.
        check_at: Timestamp,
    },
    /// A genuine notification arrived, one not seen before.
    Notified {
        /// The attempt it named.
        attempt: Attempt,
        /// Its verified signature, the first 16 bytes in hex: equal for equal notifications.
        digest: String,
    },
    /// CinetPay was asked.
    Checked {
        /// The attempt that decided.
        attempt: Attempt,
        /// `accepted`, `mismatch`, `refused`, `pending`, `unknown`, or `overtaken` by a newer notification.
        verdict: String,
        /// CinetPay's code, or our word for why there is none.
        code: String,
        /// When to ask again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_at: Option<Timestamp>,
    },
    /// The order's own amount was paid, and the link to its file was decided.
    Paid {
        /// The attempt that was paid.
        attempt: Attempt,
        /// The operator's transaction number.
        #[serde(default)]
        provider_tx_id: Option<String>,
        /// OM, MOMO, FLOOZ, CARD …
        #[serde(default)]
        payment_method: Option<String>,
        /// When the link ends.
        expires_at: Timestamp,
        /// How many downloads it allows.
        max_downloads: u32,
        /// The person who approved a review, and why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approved: Option<Decision>,
    },
    /// CinetPay refused for good, or a person rejected a review.
    Failed {
        /// The attempt that was refused.
        attempt: Attempt,
        /// CinetPay's code.
        code: String,
        /// A late look, in case the buyer tries again on the same page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check_at: Option<Timestamp>,
        /// The person who rejected a review, and why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rejected: Option<Decision>,
    },
    /// Something was paid, but not the order's amount and currency: a person decides.
    Review {
        /// The attempt that was paid.
        attempt: Attempt,
        /// What CinetPay says was paid.
        claimed: Claimed,
        /// The operator's transaction number.
        #[serde(default)]
        provider_tx_id: Option<String>,
        /// OM, MOMO, FLOOZ, CARD …
        #[serde(default)]
        payment_method: Option<String>,
    },
    /// The horizon passed without a verdict.
    Expired {},
    /// The mail with the link was not accepted.
    MailFailed {
        /// The server's code, or our word for a fault.
        reason: String,
        /// When the next try is due; none when only a person can help.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_at: Option<Timestamp>,
    },
    /// The mail with the link was accepted by the mail server.
    Delivered {
        /// When to remind the buyer of an unused link.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remind_at: Option<Timestamp>,
    },
    /// A download was started.
    Downloaded {
        /// Which link.
        link: u32,
        /// 1, 2, 3 … of this link.
        number: u32,
    },
    /// The mail was accepted once more, at a person's request.
    Resent {
        /// When to remind the buyer of an unused link.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remind_at: Option<Timestamp>,
    },
    /// The mail server took the reminder of a link that nears its end unused.
    Reminded {
        /// Which link.
        link: u32,
    },
    /// The reminder was not accepted.
    ReminderFailed {
        /// Which link.
        link: u32,
        /// The server's code, or our word for a fault.
        reason: String,
        /// When the next try is due; none when it is given up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_at: Option<Timestamp>,
    },
    /// The link was withdrawn.
    Revoked {
        /// Which link.
        link: u32,
        /// Who and why.
        by: Decision,
    },
    /// A refund was recorded; links are withdrawn.
    Refunded {
        /// Who and why.
        by: Decision,
    },
    /// A remark, or a person's request.
    Note {
        /// Who and why.
        by: Decision,
        /// Set when the mail is to be sent again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resend: Option<Resend>,
        /// The buyer from now on: set when a mistyped address was corrected, and only then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        buyer: Option<Buyer>,
    },
    /// Everything personal was erased, for good; the link is withdrawn.
    Erased {
        /// Who did it: `admin`, or the name they gave.
        by: String,
    },
}

/// A person's act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// `admin`, or the name they gave.
    pub by: String,
    /// Their reason; may be empty.
    pub note: String,
}

/// What an `Idempotency-Key` stood for, hashed with a key of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Hash of the key, in hex.
    pub key: String,
    /// Hash of what was asked, in hex.
    pub fingerprint: String,
}

/// The link that a resent mail carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resend {
    /// The same number, or the next one where the former link was withdrawn.
    pub link: u32,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether an ended link keeps its count: a buyer may have time added, never downloads.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_count: bool,
}

/// An event with its format version, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The format version, [`FORMAT`].
    pub v: u8,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

impl Event {
    /// The kind, as the outside sees it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Created { .. } => "CREATED",
            Self::Initiated { .. } => "INITIATED",
            Self::InitFailed { .. } => "INIT_FAILED",
            Self::Notified { .. } => "NOTIFIED",
            Self::Checked { .. } => "CHECKED",
            Self::Paid { .. } => "PAID",
            Self::Failed { .. } => "FAILED",
            Self::Review { .. } => "REVIEW",
            Self::Expired {} => "EXPIRED",
            Self::MailFailed { .. } => "MAIL_FAILED",
            Self::Delivered { .. } => "DELIVERED",
            Self::Downloaded { .. } => "DOWNLOADED",
            Self::Resent { .. } => "RESENT",
            Self::Reminded { .. } => "REMINDED",
            Self::ReminderFailed { .. } => "REMINDER_FAILED",
            Self::Revoked { .. } => "REVOKED",
            Self::Refunded { .. } => "REFUNDED",
            Self::Note { .. } => "NOTE",
            Self::Erased { .. } => "ERASED",
        }
    }
}
