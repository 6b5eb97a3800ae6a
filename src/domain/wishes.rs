//! What a buyer may ask of an order that exists: to pay after all, to be sent the mail again, to correct an address; and
//! the last of these as a person on the merchant's side may ask it.

use std::time::Duration;

use super::decide::Refusal;
use super::event::{Decision, Event, Resend};
use super::payment::{LinkState, Mail, Payment, Sale, Status};
use super::schedule::Policy;
use super::values::{Buyer, Email, Timestamp};

/// The name under which a buyer's wishes stand in the journal.
pub const BUYER: &str = "buyer";
/// Least time between two mails that a buyer asks for, in seconds.
pub const SEND_AGAIN_SECONDS: u64 = 600;
/// The number of the link beyond which an address is no longer changed: each change makes a new link.
pub const READDRESS_LINKS_MAX: u32 = 5;

type Events = Result<Vec<Event>, Refusal>;

/// Nothing is written before CinetPay opened another page: a refused order without one is what it was.
pub(super) fn retry(policy: &Policy, payment: &Payment, now: Timestamp) -> Events {
    match &payment.status {
        Status::Created(_) | Status::Pending { .. } | Status::Paid(_) => Ok(vec![]),
        Status::Failed { .. } if payment.may_retry(policy, now) => Ok(vec![]),
        Status::Failed { .. } | Status::Review { .. } | Status::Expired { .. } | Status::Refunded(_) => {
            Err(Refusal::Status(payment.status_name()))
        }
    }
}

/// The same link, with new time where it had run out unused. Downloads are the merchant's to give.
pub(super) fn send_again(policy: &Policy, payment: &Payment, now: Timestamp) -> Events {
    let Status::Paid(sale) = &payment.status else { return Err(Refusal::Status(payment.status_name())) };
    match sale.mail {
        // It is on its way already.
        Mail::Owed { .. } => return Ok(vec![]),
        Mail::Sent { at } if now < at.plus(Duration::from_secs(SEND_AGAIN_SECONDS)) => {
            return Err(Refusal::Soon);
        }
        Mail::Sent { .. } | Mail::Stalled { .. } => {}
    }
    let link = &sale.link;
    if link.downloads >= link.max_downloads && !link.revoked {
        return Err(Refusal::Link(LinkState::UsedUp));
    }
    let expires_at = match link.state(now) {
        LinkState::Live => link.expires_at,
        LinkState::Expired => now.plus(policy.link_ttl),
        dead @ (LinkState::Revoked | LinkState::UsedUp) => return Err(Refusal::Link(dead)),
    };
    let by = Decision { by: BUYER.to_owned(), note: "send again".to_owned() };
    let resend = Some(Resend { link: link.number, expires_at, keeps_count: true });
    Ok(vec![Event::Note { by, resend, buyer: None }])
}

/// Once paid, the link that a stranger may have been sent dies and the buyer gets another one; but not for a link that was
/// used or withdrawn.
pub(super) fn readdress(policy: &Policy, payment: &Payment, email: &Email, now: Timestamp) -> Events {
    let by = Decision { by: BUYER.to_owned(), note: "address".to_owned() };
    let another = |sale: &Sale| {
        if sale.link.revoked {
            return Err(Refusal::Link(LinkState::Revoked));
        }
        if readdressable(sale) { Ok(Some(another_link(policy, sale, now))) } else { Err(Refusal::Settled) }
    };
    addressed(payment, email, by, another)
}

/// A person corrects the address, whatever was downloaded: the file may have gone to a stranger. The old link dies and a
/// new one goes out, but one that a person withdrew stays so.
pub(super) fn correct(
    policy: &Policy,
    payment: &Payment,
    email: &Email,
    by: &Decision,
    now: Timestamp,
) -> Events {
    let another = |sale: &Sale| Ok((!sale.link.revoked).then(|| another_link(policy, sale, now)));
    addressed(payment, email, by.clone(), another)
}

/// Another address, and once paid `another` link, or none, or why it cannot be.
fn addressed(
    payment: &Payment,
    email: &Email,
    by: Decision,
    another: impl FnOnce(&Sale) -> Result<Option<Resend>, Refusal>,
) -> Events {
    if payment.buyer.email == *email {
        return Ok(vec![]);
    }
    let resend = match &payment.status {
        Status::Created(_)
        | Status::Pending { .. }
        | Status::Failed { .. }
        | Status::Review { .. }
        | Status::Expired { .. } => None,
        Status::Paid(sale) => another(sale)?,
        Status::Refunded(_) => return Err(Refusal::Status(payment.status_name())),
    };
    let buyer = Buyer { email: email.clone(), ..payment.buyer.clone() };
    Ok(vec![Event::Note { by, resend, buyer: Some(buyer) }])
}

fn another_link(policy: &Policy, sale: &Sale, now: Timestamp) -> Resend {
    Resend { link: sale.link.number + 1, expires_at: now.plus(policy.link_ttl), keeps_count: false }
}

/// Whether the address of a paid order may still be corrected.
pub fn readdressable(sale: &Sale) -> bool {
    sale.link.downloads == 0 && sale.link.number < READDRESS_LINKS_MAX
}
