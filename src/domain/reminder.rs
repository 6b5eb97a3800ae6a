//! The reminder: one mail, once, to a buyer whose link nears its end and was never used.
//!
//! It is planned when the mail with the link was taken, and forgotten by whatever makes it needless: a download, a
//! withdrawn link, a refund, another mail on its way.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::input::Reminding;
use super::payment::{LinkState, Payment, Sale, Status};
use super::schedule::{self, Policy};
use super::values::Timestamp;

/// Tries to send one reminder. Nobody waits for it: it is given up sooner than a mail with the link.
pub const REMINDER_TRIES_MAX: u32 = 12;
/// Why a reminder that came too late was not sent.
const LATE: &str = "LATE";

/// How far an order's reminder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reminder {
    /// None is to be sent.
    Off,
    /// To be sent.
    Due {
        /// When it was to be sent first: the mail's date, also of a repeated one.
        planned: Timestamp,
        /// Tries that failed.
        tries: u32,
        /// When.
        at: Timestamp,
    },
    /// Taken by the mail server. There is no second one.
    Sent {
        /// When.
        at: Timestamp,
    },
}

impl Reminder {
    /// The mail with the link was taken: its reminder is planned, unless the order had one.
    pub(super) fn plan(&mut self, at: Option<Timestamp>) {
        if !matches!(self, Self::Sent { .. }) {
            *self = at.map_or(Self::Off, |at| Self::Due { planned: at, tries: 0, at });
        }
    }

    /// There is nothing to remind of any more.
    pub(super) fn forget(&mut self) {
        if let Self::Due { .. } = self {
            *self = Self::Off;
        }
    }

    /// A try failed.
    pub(super) fn postpone(&mut self, next: Option<Timestamp>) {
        if let Self::Due { planned, tries, .. } = *self {
            *self = next.map_or(Self::Off, |at| Self::Due { planned, tries: tries + 1, at });
        }
    }
}

/// When to remind of a link whose mail is taken `now`. Links that live shorter than twice the time before their end have
/// none: the mail itself is recent enough.
pub(super) fn moment(policy: &Policy, sale: &Sale, now: Timestamp) -> Option<Timestamp> {
    let before = policy.remind_before?;
    let link = &sale.link;
    let once = !matches!(sale.reminder, Reminder::Sent { .. });
    let wanted = once && link.downloads == 0 && link.state(now) == LinkState::Live;
    (wanted && link.expires_at.since(now) >= before.saturating_mul(2)).then(|| link.expires_at.minus(before))
}

/// What follows from how a reminder of `link` ended.
pub(super) fn reported(payment: &Payment, link: u32, outcome: &Reminding, now: Timestamp) -> Vec<Event> {
    let Status::Paid(sale) = &payment.status else { return vec![] };
    let failed =
        |reason: &str, next_at| vec![Event::ReminderFailed { link, reason: reason.to_owned(), next_at }];
    if sale.delivered_at.is_none() {
        return vec![];
    }
    match (sale.reminder, outcome) {
        // It was under way while the order moved on: it is out all the same, and counts.
        (Reminder::Off | Reminder::Due { .. }, Reminding::Taken) => vec![Event::Reminded { link }],
        (Reminder::Due { .. }, _) if sale.link.number != link => vec![],
        (Reminder::Due { .. }, Reminding::Refused { reason }) => failed(reason, None),
        (Reminder::Due { .. }, Reminding::Late) => failed(LATE, None),
        (Reminder::Due { tries, .. }, Reminding::Unavailable { reason }) => {
            let wait: Duration = schedule::mail(tries + 1, payment.id.seed());
            let next = Some(now.plus(wait)).filter(|at| *at < sale.link.expires_at);
            failed(reason, next.filter(|_| tries + 1 < REMINDER_TRIES_MAX))
        }
        (Reminder::Off | Reminder::Sent { .. }, _) => vec![],
    }
}
