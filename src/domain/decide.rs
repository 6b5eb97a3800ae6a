//! What follows from an input: new events, nothing, or a refusal.

use std::time::Duration;

use super::event::{Decision, Event, Resend};
use super::input::{Acceptance, Input, Notice, Report, Verdict};
use super::payment::{LinkState, Mail, NOTICES_MAX, Payment, REJECTED, Sale, Status};
use super::personal;
use super::reminder;
use super::schedule::{self, LATE_CHECKS_MAX, MAIL_TRIES_MAX, Policy};
use super::values::{Attempt, Timestamp};
use super::wishes;

/// A business "no". It changes nothing and is no fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such order.
    #[error("unknown order")]
    UnknownOrder,
    /// The order number is taken.
    #[error("the order exists already")]
    Exists,
    /// The order's status does not allow it.
    #[error("not possible in status {0}")]
    Status(&'static str),
    /// The order has no payment page and gets none any more: whoever wants to buy needs another order.
    #[error("no payment page can be opened any more")]
    Spent,
    /// The link does not work.
    #[error("the link does not work")]
    Link(LinkState),
    /// The mail was sent a moment ago.
    #[error("sent a moment ago")]
    Soon,
    /// The file was fetched already, or the address changed too often: it stays as it is.
    #[error("the address can no longer be changed")]
    Settled,
    /// A delivery is owed, or a payment may still come: erasing now would take the buyer's file away.
    #[error("a delivery is owed, or may be")]
    Owed,
    /// The buyer's data were erased: there is nobody to write to any more.
    #[error("the buyer's data were erased")]
    Erased,
    /// Its personal data were written before there were keys, in plain text, which is never rewritten.
    #[error("its first lines were written before personal data were sealed")]
    Unsealed,
}

type Events = Result<Vec<Event>, Refusal>;

/// What follows from `input`. No events: nothing new (a duplicate, or a report that came too late).
pub fn decide(policy: &Policy, payment: Option<&Payment>, input: &Input, now: Timestamp) -> Events {
    let Some(payment) = payment else {
        return match input {
            Input::Buy(purchase) => Ok(vec![Event::Created {
                product: purchase.product.clone(),
                tier: purchase.tier.clone(),
                price: purchase.price,
                buyer: purchase.buyer.clone(),
                request: purchase.request.clone(),
            }]),
            _ => Err(Refusal::UnknownOrder),
        };
    };
    match input {
        Input::Buy(_) => Err(Refusal::Exists),
        Input::SendAgain | Input::Readdress(_) | Input::Correct(..) | Input::Resend(_)
            if payment.buyer.is_erased() =>
        {
            Err(Refusal::Erased)
        }
        // A page would be opened in nobody's name.
        Input::Repeat | Input::Retry if payment.buyer.is_erased() => Err(Refusal::Spent),
        Input::Repeat if payment.is_spent() => Err(Refusal::Spent),
        Input::Retry if payment.is_spent() && !payment.may_retry(policy, now) => Err(Refusal::Spent),
        Input::Repeat | Input::Verify => Ok(vec![]),
        Input::Retry => wishes::retry(policy, payment, now),
        Input::SendAgain => wishes::send_again(policy, payment, now),
        Input::Readdress(email) => wishes::readdress(policy, payment, email, now),
        Input::Correct(email, by) => wishes::correct(policy, payment, email, by, now),
        Input::Notify(notice) => Ok(notified(payment, notice)),
        Input::Download { link } => downloaded(payment, *link, now),
        Input::Resend(by) => resend(policy, payment, by, now),
        Input::Approve(by) => approve(policy, payment, by, now),
        Input::Reject(by) => reject(payment, by),
        Input::Refund(by) => with_sale(payment, |_| vec![Event::Refunded { by: by.clone() }]),
        Input::Revoke(by) => with_sale(payment, |sale| match sale.link.revoked {
            true => vec![],
            false => vec![Event::Revoked { link: sale.link.number, by: by.clone() }],
        }),
        Input::Erase { by, force } => personal::erase(payment, by, *force),
        Input::Report(report) => Ok(reported(policy, payment, report, now)),
    }
}

/// The notification's digest as it is stored.
pub fn digest_text(digest: &[u8; 32]) -> String {
    let digits = digest.iter().take(16).flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')).collect()
}

fn notified(payment: &Payment, notice: &Notice) -> Vec<Event> {
    let digest = digest_text(&notice.digest);
    match payment.notices.contains(&digest) || payment.notices.len() >= NOTICES_MAX {
        true => vec![],
        false => vec![Event::Notified { attempt: notice.attempt, digest }],
    }
}

fn with_sale(payment: &Payment, events: impl FnOnce(&Sale) -> Vec<Event>) -> Events {
    match &payment.status {
        Status::Paid(sale) => Ok(events(sale)),
        other => Err(Refusal::Status(other.name())),
    }
}

fn downloaded(payment: &Payment, link: u32, now: Timestamp) -> Events {
    let Status::Paid(sale) = &payment.status else {
        let refused = matches!(payment.status, Status::Refunded(_));
        return Err(if refused {
            Refusal::Link(LinkState::Revoked)
        } else {
            Refusal::Status(payment.status_name())
        });
    };
    if sale.link.number != link {
        return Err(Refusal::Link(LinkState::Revoked));
    }
    match sale.link.state(now) {
        LinkState::Live => Ok(vec![Event::Downloaded { link, number: sale.link.downloads + 1 }]),
        dead => Err(Refusal::Link(dead)),
    }
}

/// The mail goes out again with the same link, made live again where it had run out; a withdrawn one is replaced.
fn resend(policy: &Policy, payment: &Payment, by: &Decision, now: Timestamp) -> Events {
    with_sale(payment, |sale| {
        let link = if sale.link.revoked { sale.link.number + 1 } else { sale.link.number };
        let live = sale.link.state(now) == LinkState::Live;
        let expires_at = if live { sale.link.expires_at } else { now.plus(policy.link_ttl) };
        let resend = Resend { link, expires_at, keeps_count: false };
        vec![Event::Note { by: by.clone(), resend: Some(resend), buyer: None }]
    })
}

fn approve(policy: &Policy, payment: &Payment, by: &Decision, now: Timestamp) -> Events {
    let Status::Review { attempt, provider_tx_id, payment_method, .. } = &payment.status else {
        return Err(Refusal::Status(payment.status_name()));
    };
    Ok(vec![Event::Paid {
        attempt: *attempt,
        provider_tx_id: provider_tx_id.clone(),
        payment_method: payment_method.clone(),
        expires_at: now.plus(policy.link_ttl),
        max_downloads: policy.max_downloads,
        approved: Some(by.clone()),
    }])
}

fn reject(payment: &Payment, by: &Decision) -> Events {
    let Status::Review { attempt, .. } = &payment.status else {
        return Err(Refusal::Status(payment.status_name()));
    };
    Ok(vec![Event::Failed {
        attempt: *attempt,
        code: REJECTED.to_owned(),
        check_at: None,
        rejected: Some(by.clone()),
    }])
}

fn reported(policy: &Policy, payment: &Payment, report: &Report, now: Timestamp) -> Vec<Event> {
    match report {
        Report::Opened { attempt, payment_url, payment_token } => match payment.takes_page(*attempt) {
            false => vec![],
            true => vec![Event::Initiated {
                attempt: *attempt,
                payment_url: payment_url.clone(),
                payment_token: payment_token.clone(),
                check_at: now.plus(schedule::poll(policy, 0, payment.id.seed())),
            }],
        },
        Report::NotOpened { attempt, reason, ambiguous } => {
            not_opened(policy, payment, *attempt, (reason, *ambiguous), now)
        }
        Report::Checked { answers, notices } => checked(policy, payment, answers, *notices, now),
        Report::MailAccepted { link } => mail_event(payment, *link, |sale| {
            let remind_at = reminder::moment(policy, sale, now);
            match sale.delivered_at {
                None => Event::Delivered { remind_at },
                Some(_) => Event::Resent { remind_at },
            }
        }),
        Report::Reminder { link, outcome } => reminder::reported(payment, *link, outcome, now),
        Report::MailRefused { link, reason } => {
            mail_event(payment, *link, |_| Event::MailFailed { reason: reason.clone(), next_at: None })
        }
        Report::MailUnavailable { link, reason } => mail_event(payment, *link, |sale| {
            let tries = if let Mail::Owed { tries, .. } = sale.mail { tries + 1 } else { 1 };
            let wait = schedule::mail(tries, payment.id.seed());
            let next_at = (tries < MAIL_TRIES_MAX).then(|| now.plus(wait));
            Event::MailFailed { reason: reason.clone(), next_at }
        }),
    }
}

/// What became of the mail with `link`. Where the link was replaced while it was under way, another mail is owed.
fn mail_event(payment: &Payment, link: u32, event: impl FnOnce(&Sale) -> Event) -> Vec<Event> {
    match &payment.status {
        Status::Paid(sale) if sale.link.number == link && matches!(sale.mail, Mail::Owed { .. }) => {
            vec![event(sale)]
        }
        _ => vec![],
    }
}

/// An unread answer is followed up once by the daemon itself (ask first, then another attempt); after that, and where
/// CinetPay said no or was never reached, the buyer's repeat goes on.
fn not_opened(
    policy: &Policy,
    payment: &Payment,
    attempt: Attempt,
    (reason, ambiguous): (&str, bool),
    now: Timestamp,
) -> Vec<Event> {
    let first = match payment.status {
        Status::Created(_) => true,
        Status::Failed { .. } => false,
        Status::Pending { .. }
        | Status::Paid(_)
        | Status::Review { .. }
        | Status::Expired { .. }
        | Status::Refunded(_) => return vec![],
    };
    let again = first && ambiguous && attempt == Attempt::FIRST && payment.attempt == Attempt::FIRST;
    vec![Event::InitFailed {
        attempt,
        reason: reason.to_owned(),
        ambiguous,
        retry_at: again.then_some(now),
        check_at: payment.horizon(policy).max(now),
    }]
}

/// The answers of several attempts become one: paid before mismatch before unheard before waiting before refused. An
/// attempt that was not heard of may have been paid, so nothing is over yet, and the next look is near.
fn strongest(payment: &Payment, answers: &[(Attempt, Verdict)]) -> Option<(Attempt, Verdict)> {
    let rank = |(attempt, verdict): &(Attempt, Verdict)| match verdict {
        Verdict::Accepted(paid) if paid.claimed.is(payment.price) => 6,
        Verdict::Accepted(_) => 5,
        Verdict::Unknown { answered: false, .. } => 4,
        Verdict::Pending { .. } => 3,
        Verdict::Refused { .. } if *attempt == payment.attempt => 2,
        Verdict::Refused { .. } => 1,
        Verdict::Unknown { answered: true, .. } => i32::from(*attempt == payment.attempt),
    };
    answers.iter().rev().max_by_key(|answer| rank(answer)).cloned()
}

fn checked(
    policy: &Policy,
    payment: &Payment,
    answers: &[(Attempt, Verdict)],
    notices: usize,
    now: Timestamp,
) -> Vec<Event> {
    let open = match &payment.status {
        Status::Paid(_) | Status::Refunded(_) => return vec![],
        Status::Review { .. } => false,
        Status::Created(_) | Status::Pending { .. } | Status::Failed { .. } | Status::Expired { .. } => true,
    };
    let Some((attempt, verdict)) = strongest(payment, answers) else { return vec![] };
    let seen = |verdict: &str, code: &str, next_at| Event::Checked {
        attempt,
        verdict: verdict.to_owned(),
        code: code.to_owned(),
        next_at,
    };
    match verdict {
        Verdict::Accepted(paid) if paid.claimed.is(payment.price) => {
            vec![seen("accepted", "00", None), paid_event(policy, attempt, paid, now)]
        }
        Verdict::Accepted(paid) if open => vec![
            seen("mismatch", "00", None),
            Event::Review {
                attempt,
                claimed: paid.claimed,
                provider_tx_id: paid.provider_tx_id,
                payment_method: paid.payment_method,
            },
        ],
        Verdict::Accepted(_) => vec![],
        // A notification was answered 200 while CinetPay was being asked: it may speak of something newer than this
        // answer, so nothing is concluded from it but money, and CinetPay is asked again at once.
        Verdict::Refused { code } | Verdict::Pending { code } | Verdict::Unknown { code, .. }
            if open && notices < payment.notices.len() =>
        {
            vec![seen("overtaken", &code, Some(now))]
        }
        Verdict::Refused { code } => refused(policy, payment, attempt, &code, now, seen),
        Verdict::Pending { code } => waiting(policy, payment, ("pending", &code, true), None, now, seen),
        Verdict::Unknown { code, answered, retry_after } => {
            waiting(policy, payment, ("unknown", &code, answered), retry_after, now, seen)
        }
    }
}

fn paid_event(policy: &Policy, attempt: Attempt, paid: Acceptance, now: Timestamp) -> Event {
    Event::Paid {
        attempt,
        provider_tx_id: paid.provider_tx_id,
        payment_method: paid.payment_method,
        expires_at: now.plus(policy.link_ttl),
        max_downloads: policy.max_downloads,
        approved: None,
    }
}

fn refused(
    policy: &Policy,
    payment: &Payment,
    attempt: Attempt,
    code: &str,
    now: Timestamp,
    seen: impl Fn(&str, &str, Option<Timestamp>) -> Event,
) -> Vec<Event> {
    let horizon = payment.horizon(policy);
    let late = |n| schedule::late_look(n).map(|wait| now.plus(wait)).filter(|at| *at < horizon);
    match &payment.status {
        // This was look `checks`; the refusal itself brought look 0 about.
        Status::Failed { .. } => vec![seen("refused", code, late(payment.checks.saturating_add(1)))],
        // Its page was never shown to the buyer: another attempt will be.
        Status::Created(_) => vec![seen("refused", code, Some(horizon.max(now)))],
        Status::Pending { .. } | Status::Expired { .. } => vec![
            seen("refused", code, None),
            Event::Failed { attempt, code: code.to_owned(), check_at: late(0), rejected: None },
        ],
        Status::Review { .. } | Status::Paid(_) | Status::Refunded(_) => vec![],
    }
}

/// No verdict yet. `answered` is false when CinetPay was not heard at all: then the last check of the horizon has not
/// happened, and the order waits for up to as long again.
fn waiting(
    policy: &Policy,
    payment: &Payment,
    (verdict, code, answered): (&str, &str, bool),
    retry_after: Option<Duration>,
    now: Timestamp,
    seen: impl Fn(&str, &str, Option<Timestamp>) -> Event,
) -> Vec<Event> {
    let horizon = payment.horizon(policy);
    let (n, seed) = (payment.checks, payment.id.seed());
    let over = now >= if answered { horizon } else { horizon.plus(policy.horizon) };
    let wait = match verdict {
        "pending" => schedule::poll(policy, n, seed),
        _ => schedule::retry(n, seed).max(retry_after.unwrap_or_default()),
    };
    let soon = now.plus(wait);
    let next = if now < horizon { soon.min(horizon) } else { soon };
    match &payment.status {
        // "Not yet" at the horizon is CinetPay's last word. No word (a 429, a code that says nothing) is none: somebody
        // may have paid, and their notification may have been answered 200. The looks go on, ever more rarely.
        Status::Pending { .. } if over && verdict == "pending" => {
            vec![seen(verdict, code, None), Event::Expired {}]
        }
        Status::Pending { .. } if over => vec![Event::Expired {}, seen(verdict, code, Some(soon))],
        Status::Pending { .. } => vec![seen(verdict, code, Some(next))],
        Status::Created(_) if over => vec![seen(verdict, code, None), Event::Expired {}],
        Status::Created(_) => vec![seen(verdict, code, Some(next.max(horizon)))],
        // A payment thought to be over shows life again: a notification was answered 200 and must reach its verdict.
        Status::Failed { .. } | Status::Expired { .. } => {
            vec![seen(verdict, code, (n < LATE_CHECKS_MAX).then_some(soon))]
        }
        Status::Review { .. } | Status::Paid(_) | Status::Refunded(_) => vec![],
    }
}
