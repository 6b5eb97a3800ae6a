//! The two boundaries to the network, the limits that all nodes share, the clock, and what may be replaced while the daemon
//! runs. Everything else in the program is concrete.

mod permits;
mod trail;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::input::Verdict;
use crate::domain::payment::Link;
use crate::domain::receipt::Receipt;
use crate::domain::values::{Buyer, Lang, Money, OrderId, Timestamp, TransactionId};
pub use permits::Permits;
pub use trail::{REQUEST_ID, RequestId};

/// A future of a port: boxed, so that ports can stand behind `Arc<dyn …>`.
pub type PortFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// CinetPay, or whoever collects the money.
pub trait Provider: Send + Sync + 'static {
    /// Asks for a payment page. Never called before the order is durable.
    fn open(&self, request: OpenRequest) -> PortFuture<'_, Opened>;
    /// Asks what became of a transaction.
    fn check(&self, transaction: TransactionId) -> PortFuture<'_, Verdict>;
}

/// What a payment page is to collect.
#[derive(Debug, Clone)]
pub struct OpenRequest {
    /// The order and the attempt.
    pub transaction: TransactionId,
    /// The price.
    pub price: Money,
    /// What the buyer reads on the page: product and tier names.
    pub description: String,
    /// Who pays.
    pub buyer: Buyer,
}

/// How the asking for a payment page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// The page is open.
    Page {
        /// Where the buyer pays.
        payment_url: String,
        /// CinetPay's token for it.
        payment_token: String,
    },
    /// CinetPay said no: no page exists.
    Refused {
        /// Code and description, for the merchant.
        reason: String,
    },
    /// The answer was not read or not understood: the page may exist.
    Ambiguous {
        /// In a few words.
        reason: String,
    },
    /// CinetPay was never reached: no page exists.
    NotSent {
        /// In a few words.
        reason: String,
    },
}

/// The mail server.
pub trait Mailer: Send + Sync + 'static {
    /// Sends one mail and waits for the server's final word.
    fn send(&self, letter: Letter) -> PortFuture<'_, Posted>;

    /// Takes one of the mails that may leave in this hour; what is not `urgent` has a part of them only. False: none is
    /// left, so nothing is tried and nothing has failed; the mail stays owed.
    fn reserve(&self, urgent: bool) -> PortFuture<'_, bool> {
        let _ = urgent;
        Box::pin(std::future::ready(true))
    }

    /// Whether it is known without asking that [`Mailer::reserve`] would say no: then nobody need try.
    fn is_spent(&self, urgent: bool) -> bool {
        let _ = urgent;
        false
    }
}

/// Why a mail is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The payment is verified: here is the link.
    Delivery,
    /// The link nears its end and was never used.
    Reminder {
        /// The moment planned for it: the mail's date.
        planned: Timestamp,
    },
}

/// Everything a mail to a buyer says. Equal letters make identical mails, `Date` included.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The order.
    pub order: OrderId,
    /// The recipient and the language.
    pub buyer: Buyer,
    /// The product's name.
    pub product: String,
    /// The tier's name.
    pub tier: String,
    /// What was paid.
    pub price: Money,
    /// The link: its number and times make the token and the Message-ID.
    pub link: Link,
    /// What it is sent for.
    pub occasion: Occasion,
    /// What its receipt says; none where there is none to attach.
    pub receipt: Option<Receipt>,
}

impl Letter {
    /// The language to write in.
    pub fn lang(&self) -> Lang {
        self.buyer.lang
    }
}

/// The mail server's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// Taken: 250 after the final dot.
    Accepted,
    /// Refused for good (5xx).
    Refused {
        /// The code, no address.
        reason: String,
    },
    /// 4xx, time-out, or out of reach: try again.
    Unavailable {
        /// The code or the fault, no address.
        reason: String,
    },
}

/// The time of day, given by whoever builds the program, so that tests and simulations have their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that reads `now`.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }
    /// The machine's clock.
    pub fn system() -> Self {
        Self::new(|| Timestamp::from_millis(jiff::Timestamp::now().as_millisecond()))
    }
    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// A part of the program that a reload replaces as a whole: whoever took it before goes on with the old one.
pub struct Current<T>(Arc<RwLock<Arc<T>>>);

impl<T> Current<T> {
    /// The first one.
    pub fn new(first: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(first))))
    }
    /// The one of now. Take it once for one piece of work, so that the work sees one of them.
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
    /// From now on this one.
    pub fn replace(&self, next: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }
}

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> std::fmt::Debug for Current<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Current")
    }
}
