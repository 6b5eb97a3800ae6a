//! What must hold of every order at every moment. Shared by the tests, the running daemon and `ledger verify`.

use super::event::Event;
use super::payment::{Mail, Payment, Status};
use super::reminder::Reminder;

/// Every law that `payment` with this `history` breaks; empty when it is sound.
pub fn violations(payment: &Payment, history: &[Event]) -> Vec<String> {
    let mut found = Vec::new();
    let mut law = |holds: bool, words: &str| {
        if !holds {
            found.push(format!("{}: {words}", payment.id));
        }
    };
    let count = |kind: &str| history.iter().filter(|event| event.kind() == kind).count();
    law(matches!(history.first(), Some(Event::Created { .. })), "its first event is not CREATED");
    law(count("CREATED") == 1, "CREATED more than once");
    law(count("PAID") <= 1, "PAID more than once");
    law(count("DELIVERED") <= 1, "DELIVERED more than once");
    law(count("REFUNDED") <= 1, "REFUNDED more than once");
    law(count("REMINDED") <= 1, "REMINDED more than once");
    law(count("REMINDED") == 0 || count("DELIVERED") == 1, "REMINDED without DELIVERED");
    law(payment.sale().is_some() == (count("PAID") == 1), "PAID and its status disagree");
    law(count("DELIVERED") == 0 || count("PAID") == 1, "DELIVERED without PAID");
    law(count("DOWNLOADED") == 0 || count("PAID") == 1, "DOWNLOADED without PAID");
    law(paid_for_a_reason(history), "PAID without an accepted check or an approved review");
    if let Some(sale) = payment.sale() {
        law(sale.link.downloads <= sale.link.max_downloads, "more downloads than its link allows");
        let sent = matches!(sale.mail, Mail::Sent { .. });
        let needless = sale.link.downloads > 0 || sale.link.revoked || !sent;
        let due = matches!(sale.reminder, Reminder::Due { .. });
        law(!due || !needless, "a reminder is due of a link that was used, withdrawn or not yet mailed");
        law(!sent || sale.delivered_at.is_some(), "its mail is sent but it is not delivered");
    }
    if let Status::Refunded(sale) = &payment.status {
        law(sale.link.revoked, "refunded with a live link");
    }
    if payment.erased_at.is_some() {
        law(payment.buyer.is_erased(), "erased, and its buyer is still known");
        law(payment.sale().is_none_or(|sale| sale.link.revoked), "erased with a live link");
        let owed = matches!(&payment.status, Status::Paid(sale) if matches!(sale.mail, Mail::Owed { .. }));
        law(!owed, "erased, and a mail is owed to nobody");
    }
    found
}

/// Every law that one commit breaks, as far as the state before it, its events and the state after it show: what the running
/// daemon looks at after each commit. The rest needs the whole history, and is `ledger verify`'s.
pub fn broken_by(before: Option<&Payment>, events: &[Event], after: &Payment) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut law = |holds: bool, words: &'static str| {
        if !holds {
            found.push(words);
        }
    };
    let count = |kind: &str| events.iter().filter(|event| event.kind() == kind).count();
    let sold = before.and_then(Payment::sale);
    law(count("CREATED") == usize::from(before.is_none()), "CREATED is not the first event, and that alone");
    law(before.is_none_or(|before| before.price == after.price), "the price changed");
    law(count("PAID") + usize::from(sold.is_some()) <= 1, "PAID more than once");
    law((count("PAID") == 1 || sold.is_some()) == after.sale().is_some(), "PAID and its status disagree");
    let reviewed = before.is_some_and(|before| matches!(before.status, Status::Review { .. }));
    let approved = |event: &Event| matches!(event, Event::Paid { approved: Some(_), .. });
    let reason = (reviewed && events.iter().any(approved)) || paid_for_a_reason(events);
    law(reason, "PAID without an accepted check or an approved review");
    let delivered = sold.is_some_and(|sale| sale.delivered_at.is_some());
    law(count("DELIVERED") + usize::from(delivered) <= 1, "DELIVERED more than once");
    if let Some(sale) = after.sale() {
        law(sale.link.downloads <= sale.link.max_downloads, "more downloads than its link allows");
    } else {
        law(count("DELIVERED") + count("DOWNLOADED") == 0, "DELIVERED or DOWNLOADED without PAID");
    }
    if let Status::Refunded(sale) = &after.status {
        law(sale.link.revoked, "refunded with a live link");
    }
    found
}

/// PAID stands right after an accepted check of the same commit, or was approved by a person after REVIEW.
fn paid_for_a_reason(history: &[Event]) -> bool {
    history.iter().enumerate().all(|(at, event)| match event {
        Event::Paid { approved: None, attempt, .. } => at.checked_sub(1).is_some_and(|before| {
            matches!(&history[before], Event::Checked { verdict, attempt: of, .. } if verdict == "accepted" && of == attempt)
        }),
        Event::Paid { approved: Some(_), .. } => {
            history[..at].iter().any(|earlier| matches!(earlier, Event::Review { .. }))
        }
        _ => true,
    })
}
