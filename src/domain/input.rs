//! What an order can be told or asked.

use std::time::Duration;

use super::event::{Decision, Request};
use super::values::{Attempt, Buyer, Claimed, Email, Money};

/// Everything that can reach an order: from the buyer, from CinetPay, from a person, and the reports of its own errands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A buyer orders. Answered when a payment page is open, or cannot be.
    Buy(Box<Purchase>),
    /// The same buyer repeats the request: go on with this order.
    Repeat,
    /// A genuine notification.
    Notify(Notice),
    /// The link's button was pressed.
    Download {
        /// The link's number, from its token.
        link: u32,
    },
    /// The buyer of a refused order tries again. Answered when another payment page is open, or cannot be.
    Retry,
    /// The buyer asks for the mail once more.
    SendAgain,
    /// The buyer corrects the address that the mail goes to.
    Readdress(Email),
    /// A person corrects the address that the mail goes to.
    Correct(Email, Decision),
    /// A person asks CinetPay now. Answered when CinetPay did.
    Verify,
    /// A person has the mail sent again.
    Resend(Decision),
    /// A person takes a review for paid.
    Approve(Decision),
    /// A person takes a review for failed.
    Reject(Decision),
    /// A person records a refund.
    Refund(Decision),
    /// A person withdraws the link.
    Revoke(Decision),
    /// A person has everything personal erased.
    Erase {
        /// Who.
        by: String,
        /// Also while a delivery is owed or a payment may still come.
        force: bool,
    },
    /// An errand came back.
    Report(Report),
}

/// What is bought, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// The product's slug.
    pub product: String,
    /// The tier's id.
    pub tier: String,
    /// The price.
    pub price: Money,
    /// Everything personal.
    pub buyer: Buyer,
    /// Set when the client sent an `Idempotency-Key`.
    pub request: Option<Request>,
}

/// A notification, reduced to what may be believed: "go and look at this order".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The attempt it names.
    pub attempt: Attempt,
    /// Its verified signature: equal for equal notifications, whatever their field boundaries.
    pub digest: [u8; 32],
}

/// How an errand ended. Exactly one comes back per errand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A payment page is open.
    Opened {
        /// Which.
        attempt: Attempt,
        /// Where the buyer pays.
        payment_url: String,
        /// CinetPay's token for it.
        payment_token: String,
    },
    /// No payment page.
    NotOpened {
        /// Which.
        attempt: Attempt,
        /// In a few words, for the merchant.
        reason: String,
        /// Whether CinetPay may have opened it all the same.
        ambiguous: bool,
    },
    /// CinetPay was asked about one or more attempts.
    Checked {
        /// Its answers, newest attempt first.
        answers: Vec<(Attempt, Verdict)>,
        /// How many of the order's notifications were known when it was asked.
        notices: usize,
    },
    /// The mail server took the mail with this link.
    MailAccepted {
        /// The link's number: where it was replaced meanwhile, the mail is not the one that is owed now.
        link: u32,
    },
    /// The mail server refused it for good.
    MailRefused {
        /// The link's number.
        link: u32,
        /// The server's code.
        reason: String,
    },
    /// The mail server is out of reach or asks for patience.
    MailUnavailable {
        /// The link's number.
        link: u32,
        /// The code or the fault.
        reason: String,
    },
    /// The reminder of this link came to its end.
    Reminder {
        /// The link's number.
        link: u32,
        /// How.
        outcome: Reminding,
    },
}

/// How one try to send a reminder ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reminding {
    /// The mail server took it.
    Taken,
    /// The mail server refused it for good.
    Refused {
        /// The server's code.
        reason: String,
    },
    /// The mail server is out of reach or asks for patience.
    Unavailable {
        /// The code or the fault.
        reason: String,
    },
    /// Nothing was sent: the link's time has run out meanwhile.
    Late,
}

/// What CinetPay's check said, classified but not yet compared with the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Code 00 and ACCEPTED.
    Accepted(Acceptance),
    /// REFUSED with a final code.
    Refused {
        /// CinetPay's code.
        code: String,
    },
    /// The buyer has not finished.
    Pending {
        /// CinetPay's code or status word.
        code: String,
    },
    /// No verdict: ask again.
    Unknown {
        /// CinetPay's code, or our word for the fault.
        code: String,
        /// False when nothing was heard about the payment: out of reach, nonsense, 429, or a code that says nothing.
        answered: bool,
        /// CinetPay's `Retry-After`, bounded by the adapter.
        retry_after: Option<Duration>,
    },
}

/// An accepted payment, in CinetPay's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// What was paid.
    pub claimed: Claimed,
    /// The operator's transaction number.
    pub provider_tx_id: Option<String>,
    /// OM, MOMO, FLOOZ, CARD …
    pub payment_method: Option<String>,
}
