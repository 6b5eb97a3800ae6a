//! The judge of mails: what the mail server may be handed, and how often.

use auditshield::domain::event::Event;
use auditshield::domain::payment::{LinkState, Status};
use auditshield::domain::values::OrderId;
use auditshield::ports::{Letter, Occasion};

use crate::books::plain;
use crate::short;
use crate::world::{State, Taken};

impl State {
    /// A reminder is about to be sent: it must be right at this moment, whatever becomes true while it is on its way.
    pub fn reminder_begins(&mut self, letter: &Letter) {
        self.catch_up();
        let (order, now) = (letter.order, self.clock());
        let Some(told) = self.books.orders.get(&order) else {
            return self.violate(format!("a reminder of {} which is not durable", short(order)));
        };
        let right = match &told.payment.status {
            Status::Paid(sale) => {
                sale.delivered_at.is_some() && sale.link == letter.link && sale.link.downloads == 0
            }
            _ => false,
        };
        let once = !told.history.iter().any(|event| matches!(event, Event::Reminded { .. }));
        // Its letter was written an instant ago; a commit of the same instant may have come in between.
        let overtaken = told.last_at == now;
        if letter.link.state(now) != LinkState::Live || !(overtaken || (right && once)) {
            let why = format!("{:?} {:?}", told.payment.status_name(), told.history.last());
            self.violate(format!("a reminder of {} which needs none: {why}", short(order)));
        }
    }

    /// The mail server has taken a mail.
    pub fn mail_taken(&mut self, letter: &Letter) {
        self.catch_up();
        let order = letter.order;
        let Some(told) = self.books.orders.get(&order).cloned() else {
            return self.violate(format!("a mail for {} which is not durable", short(order)));
        };
        if told.payment.sale().is_none() || !told.links.contains(&plain(&letter.link)) {
            self.violate(format!("a mail for {} which is not paid, or with another link", short(order)));
        }
        let receipt = letter.receipt.as_ref().map(|receipt| receipt.number.to_string());
        if letter.occasion == Occasion::Delivery && receipt != told.receipt {
            self.violate(format!("a mail of {} with receipt {receipt:?}", short(order)));
        }
        let text = format!(
            "{} {} {} {:?} {:?} {:?}",
            letter.buyer.email.expose(),
            letter.product,
            letter.tier,
            letter.price,
            plain(&letter.link),
            letter.occasion,
        );
        let resent = |event: &&Event| matches!(event, Event::Note { resend: Some(_), .. });
        let taken = Taken {
            text,
            link: letter.link.number,
            mishaps: self.mishaps + self.machine.journal.failures(),
            unheard: true,
            resends: told.history.iter().filter(resent).count(),
            edition: told.links.iter().rposition(|link| *link == plain(&letter.link)),
            withdrawn: letter.link.revoked,
        };
        self.compare_with_earlier(order, letter.occasion, taken);
    }

    fn compare_with_earlier(&mut self, order: OrderId, occasion: Occasion, taken: Taken) {
        let earlier = self.taken(order, occasion);
        let last = earlier.last().cloned();
        // Where a link was withdrawn before its mail was taken, a corrected address brings no other one: what is owed goes
        // to the new address, with a link that opens nothing.
        let same_link = !taken.withdrawn
            && earlier
                .iter()
                .any(|one| one.link == taken.link && one.edition == taken.edition && one.text != taken.text);
        earlier.push(taken.clone());
        if same_link {
            let first = earlier.first().map_or_else(String::new, |one| one.text.clone());
            let words = format!("a repeated mail of {} differs: {first} and {}", short(order), taken.text);
            self.violate(words);
        }
        let Some(last) = last else { return };
        // A mail may be under way while its link is replaced: it is answered, and the other one is owed. A reminder is
        // sent once per order, whatever its link.
        let (kind, replaced) = match occasion {
            Occasion::Delivery => ("second mail", last.link != taken.link || last.resends != taken.resends),
            Occasion::Reminder { .. } => ("second reminder", false),
        };
        self.count(kind);
        let excused = last.unheard || replaced || last.mishaps != taken.mishaps;
        if !excused {
            self.violate(format!("a {kind} of {} although the first was answered", short(order)));
        }
    }

    /// The daemon has heard that its mail was taken.
    pub fn mail_answered(&mut self, letter: &Letter) {
        if let Some(last) = self.taken(letter.order, letter.occasion).last_mut() {
            last.unheard = false;
        }
    }

    fn taken(&mut self, order: OrderId, occasion: Occasion) -> &mut Vec<Taken> {
        let taken = match occasion {
            Occasion::Delivery => &mut self.mails,
            Occasion::Reminder { .. } => &mut self.reminders,
        };
        taken.entry(order).or_default()
    }
}
