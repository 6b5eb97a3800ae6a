//! What an event makes of an order.

use super::event::{Event, Resend};
use super::payment::{FoldError, Link, LinkState, Mail, Opening, Payment, Sale, Status};
use super::reminder::Reminder;
use super::values::Timestamp;

/// What `event` makes of `payment`.
pub(super) fn apply(payment: &mut Payment, event: &Event, at: Timestamp) -> Result<(), FoldError> {
    let status = payment.status.name();
    let wrong = || FoldError::Order { status, kind: event.kind() };
    match event {
        Event::Created { .. } => return Err(FoldError::Birth),
        Event::Initiated { attempt, payment_url, check_at, .. } => {
            if !payment.takes_page(*attempt) {
                return Err(wrong());
            }
            payment.attempt = *attempt;
            payment.payment_url = Some(payment_url.clone());
            // A notification may have overtaken the answer: its look is nearer.
            if let Status::Created(_) | Status::Failed { .. } = payment.status {
                payment.checks = 0;
                payment.status = Status::Pending { check_at: *check_at };
            }
        }
        Event::InitFailed { attempt, retry_at, check_at, .. } => {
            match &mut payment.status {
                Status::Created(opening) => {
                    *opening = match retry_at {
                        Some(at) => Opening::Due { at: *at },
                        None => Opening::Idle { check_at: *check_at },
                    };
                }
                // The buyer tried again and got no page: the order stays refused, and this number is used up.
                Status::Failed { .. } => {}
                _ => return Err(wrong()),
            }
            payment.attempt = payment.attempt.max(*attempt);
        }
        Event::Notified { attempt, digest } => {
            // A page whose opening was never recorded shows itself by its notification.
            payment.attempt = payment.attempt.max(*attempt);
            payment.notices.push(digest.clone());
            payment.checks = 0;
            notice_status(&mut payment.status, at);
        }
        Event::Checked { next_at, .. } => {
            payment.checks = payment.checks.saturating_add(1);
            payment.checked_at = Some(at);
            checked_status(&mut payment.status, *next_at);
        }
        Event::Paid { .. } => return pay(payment, event, at),
        Event::Failed { code, check_at, .. } => {
            if matches!(payment.status, Status::Paid(_) | Status::Refunded(_)) {
                return Err(wrong());
            }
            payment.checks = 0;
            payment.status = Status::Failed { code: code.clone(), check_at: *check_at };
        }
        Event::Review { attempt, claimed, provider_tx_id, payment_method } => {
            if matches!(payment.status, Status::Paid(_) | Status::Refunded(_)) {
                return Err(wrong());
            }
            payment.status = Status::Review {
                attempt: *attempt,
                claimed: *claimed,
                provider_tx_id: provider_tx_id.clone(),
                payment_method: payment_method.clone(),
            };
        }
        Event::Expired {} => match payment.status {
            Status::Created(_) | Status::Pending { .. } => {
                payment.checks = 0;
                payment.status = Status::Expired { check_at: None };
            }
            _ => return Err(wrong()),
        },
        Event::Erased { .. } => {
            payment.erased_at.get_or_insert(at);
            payment.erase();
        }
        Event::MailFailed { .. }
        | Event::Delivered { .. }
        | Event::Downloaded { .. }
        | Event::Resent { .. }
        | Event::Reminded { .. }
        | Event::ReminderFailed { .. }
        | Event::Revoked { .. }
        | Event::Refunded { .. }
        | Event::Note { .. } => return apply_to_sale(payment, event, at),
    }
    Ok(())
}

/// A new notification is a reason to look now, wherever a verdict may still come.
fn notice_status(status: &mut Status, at: Timestamp) {
    match status {
        Status::Created(_) | Status::Pending { .. } => {
            *status = Status::Pending { check_at: at };
        }
        Status::Failed { check_at, .. } | Status::Expired { check_at } => *check_at = Some(at),
        Status::Paid(_) | Status::Review { .. } | Status::Refunded(_) => {}
    }
}

fn checked_status(status: &mut Status, next_at: Option<Timestamp>) {
    match status {
        Status::Pending { check_at } | Status::Created(Opening::Idle { check_at }) => {
            if let Some(next) = next_at {
                *check_at = next;
            }
        }
        Status::Failed { check_at, .. } | Status::Expired { check_at } => *check_at = next_at,
        Status::Created(_) | Status::Paid(_) | Status::Review { .. } | Status::Refunded(_) => {}
    }
}

fn pay(payment: &mut Payment, event: &Event, at: Timestamp) -> Result<(), FoldError> {
    let status = payment.status.name();
    let Event::Paid { attempt, provider_tx_id, payment_method, expires_at, max_downloads, approved } = event
    else {
        return Err(FoldError::Order { status, kind: event.kind() });
    };
    if matches!(payment.status, Status::Paid(_) | Status::Refunded(_)) {
        return Err(FoldError::Order { status, kind: event.kind() });
    }
    payment.status = Status::Paid(Sale {
        attempt: *attempt,
        provider_tx_id: provider_tx_id.clone(),
        payment_method: payment_method.clone(),
        paid_at: at,
        approved: approved.clone(),
        link: Link {
            number: 1,
            issued_at: at,
            expires_at: *expires_at,
            max_downloads: *max_downloads,
            downloads: 0,
            revoked: false,
        },
        mail: Mail::Owed { tries: 0, at },
        delivered_at: None,
        reminder: Reminder::Off,
    });
    // Paid after all, when there was nobody left to write to. Why by the event and not by the buyer, who is missing from
    // the first line on once the key is gone: a fold must give the same with the key and without it.
    if payment.erased_at.is_some() {
        payment.erase();
    }
    Ok(())
}

fn apply_to_sale(payment: &mut Payment, event: &Event, at: Timestamp) -> Result<(), FoldError> {
    let wrong = FoldError::Order { status: payment.status.name(), kind: event.kind() };
    if let Event::Note { buyer: Some(buyer), .. } = event {
        payment.buyer = buyer.clone();
    }
    if let Event::Note { resend: None, .. } = event {
        return Ok(());
    }
    let Status::Paid(sale) = &mut payment.status else { return Err(wrong) };
    match event {
        Event::MailFailed { reason, next_at } => {
            let tries = if let Mail::Owed { tries, .. } = sale.mail { tries + 1 } else { 1 };
            sale.mail = match next_at {
                Some(at) => Mail::Owed { tries, at: *at },
                None => Mail::Stalled { reason: reason.clone() },
            };
        }
        Event::Delivered { remind_at } => {
            sale.delivered_at.get_or_insert(at);
            sale.mail = Mail::Sent { at };
            sale.reminder.plan(*remind_at);
        }
        Event::Resent { remind_at } => {
            sale.mail = Mail::Sent { at };
            sale.reminder.plan(*remind_at);
        }
        Event::Reminded { .. } => sale.reminder = Reminder::Sent { at },
        Event::ReminderFailed { next_at, .. } => sale.reminder.postpone(*next_at),
        Event::Downloaded { number, .. } => {
            sale.link.downloads = *number;
            sale.reminder.forget();
        }
        Event::Revoked { .. } => {
            sale.link.revoked = true;
            sale.reminder.forget();
        }
        Event::Note { resend: Some(resend), .. } => {
            renew(&mut sale.link, &mut sale.mail, resend, at);
            sale.reminder.forget();
        }
        Event::Refunded { .. } => {
            sale.link.revoked = true;
            sale.reminder.forget();
            let sale = sale.clone();
            payment.status = Status::Refunded(sale);
        }
        _ => return Err(wrong),
    }
    Ok(())
}

/// A replaced or ended link starts its count anew; a live one keeps it.
fn renew(link: &mut Link, mail: &mut Mail, resend: &Resend, at: Timestamp) {
    if link.number != resend.link {
        link.number = resend.link;
        link.issued_at = at;
        link.revoked = false;
        link.downloads = 0;
    } else if link.state(at) != LinkState::Live && !resend.keeps_count {
        link.downloads = 0;
    }
    link.expires_at = resend.expires_at;
    *mail = Mail::Owed { tries: 0, at };
}
