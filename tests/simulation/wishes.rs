//! What buyers ask of an order that exists, and a person for them; and the law of addresses: mails go to the newest one
//! only, with a link of its own, and a buyer changes nothing once the file was fetched.

use auditshield::actors::AskError;
use auditshield::domain::event::{Decision, Event};
use auditshield::domain::input::Input;
use auditshield::domain::payment::Status;
use auditshield::domain::values::{Email, OrderId};
use auditshield::domain::wishes::BUYER;
use auditshield::ports::Letter;

use crate::acts::{Act, Shop, name_of};
use crate::books::Entry;
use crate::short;
use crate::world::State;

impl Shop {
    /// A refused order goes on with another page, or stays what it is; it never becomes another order.
    pub(crate) async fn retry(&self, order: OrderId, tries: u32) {
        let answer = self.ask(order, Input::Retry).await;
        let unsure = matches!(answer, Err(AskError::NotOpened(_) | AskError::Busy | AskError::Late));
        if unsure && tries > 0 {
            self.world.with(|s| {
                let wait = s.chance.wishes.between(100, 30_000);
                s.plan(wait, Act::Retry(order, tries - 1));
            });
        }
        let open = answer.as_ref().is_ok_and(|receipt| receipt.payment.status_name() == "PENDING");
        if open {
            self.world.with(|s| s.count("tried again after a refusal"));
            self.billed(order, answer, 0);
        }
    }

    /// The buyer's own.
    pub(crate) async fn wish(&self, order: OrderId) {
        let input = self.world.with(|s| match s.chance.wishes.one_in(2) {
            true => Input::SendAgain,
            false => {
                let chance = s.chance.wishes.below(1_000);
                Input::Readdress(Email::parse(&format!("corrected{chance}@example.ci")).unwrap())
            }
        });
        let name = name_of(&input);
        if self.ask(order, input).await.is_ok() {
            self.world.with(|s| s.count(name));
        }
    }

    /// For a buyer on the telephone, whatever was downloaded.
    pub(crate) async fn correct(&self, order: OrderId) {
        let address = self.world.with(|s| s.chance.corrections.below(1_000));
        let email = Email::parse(&format!("dictated{address}@example.ci")).unwrap();
        let by = Decision { by: "admin".to_owned(), note: "mistyped".to_owned() };
        let input = Input::Correct(email, by);
        let name = name_of(&input);
        if self.ask(order, input).await.is_ok() {
            self.world.with(|s| s.count(name));
        }
    }
}

impl State {
    /// A mail is about to leave: it goes to the newest address, whatever becomes of the order while it is on its way.
    pub fn mail_begins(&mut self, letter: &Letter) {
        self.catch_up();
        let (order, now) = (letter.order, self.clock());
        let Some(told) = self.books.orders.get(&order) else {
            return self.violate(format!("a mail of {} which is not durable", short(order)));
        };
        // Its letter was written an instant ago; a commit of the same instant may have come in between.
        let overtaken = told.last_at == now;
        let (to, newest) = (letter.buyer.email.expose(), told.payment.buyer.email.expose());
        let strays = to != newest && !overtaken;
        let why = format!("a mail of {} goes to {to}, and its address is {newest}", short(order));
        let corrected = told.history.iter().any(|event| matches!(event, Event::Note { buyer: Some(_), .. }));
        if strays {
            self.violate(why);
        }
        if corrected {
            self.count("mail after a correction");
        }
    }
}

/// What is wrong with a corrected address.
pub fn judge_correction(event: &Event, entry: &Entry) -> Option<&'static str> {
    let Event::Note { by, resend, buyer: Some(_) } = event else { return None };
    let before = entry.before.as_ref().map(|told| &told.payment)?;
    let sale = match &before.status {
        Status::Refunded(_) => return Some("the order was refunded"),
        Status::Paid(sale) => sale,
        Status::Created(_)
        | Status::Pending { .. }
        | Status::Failed { .. }
        | Status::Review { .. }
        | Status::Expired { .. } => return resend.as_ref().map(|_| "a link of an order that is not paid"),
    };
    let link = &sale.link;
    match resend {
        _ if by.by == BUYER && link.downloads > 0 => Some("by the buyer, after the first download"),
        Some(_) if link.revoked => Some("a link that was withdrawn came back"),
        Some(resend) if resend.link != link.number + 1 => Some("the mail keeps the old link"),
        None if !link.revoked => Some("no mail goes to the new address"),
        Some(_) | None => None,
    }
}
