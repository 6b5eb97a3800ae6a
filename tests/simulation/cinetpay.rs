//! CinetPay's side: what becomes of a payment, and the notifications about it.

use auditshield::domain::decide::digest_text;
use auditshield::domain::values::{Attempt, Claimed, Currency, OrderId, TransactionId};

use crate::acts::Act;
use crate::short;
use crate::world::{Phase, State};

/// Notifications of one order in a burst.
const BURST_NOTICES: u32 = 5;

/// What becomes of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    OtherAmount,
    OtherCurrency,
    Refused,
    /// Nothing yet, but CinetPay notifies.
    StillPending,
}

impl State {
    /// The buyer sees the page: what he will do there, and what CinetPay will say about it.
    pub fn script(&mut self, page: TransactionId) {
        if !self.scripted.insert((page.order, page.attempt.number())) {
            return;
        }
        let top = self.knobs.chaos_ms.min(120_000);
        let c = &mut self.chance.cinetpay;
        let (first, second) = (c.skewed(50, top), c.skewed(50, top));
        let script: &[Outcome] = match c.below(16) {
            0 => &[],
            1 => &[Outcome::StillPending],
            2 => &[Outcome::OtherAmount],
            3 => &[Outcome::OtherCurrency],
            4 => &[Outcome::Refused],
            5 => &[Outcome::Refused, Outcome::Accepted],
            6 | 7 => &[Outcome::StillPending, Outcome::Accepted],
            8 => &[Outcome::StillPending, Outcome::Refused],
            _ => &[Outcome::Accepted],
        };
        if script.is_empty() {
            self.count("abandoned page");
        }
        let mut at = first;
        for outcome in script {
            self.plan(at, Act::Pay(page, *outcome));
            at += second;
        }
        if self.chance.cinetpay.one_in(2) {
            let after = at + self.chance.cinetpay.skewed(1, 60_000);
            self.plan(after, Act::Download);
        }
    }

    /// CinetPay's truth changes, and it notifies: never, once or several times, in any order.
    pub fn pay(&mut self, page: TransactionId, outcome: Outcome) {
        let key = (page.order, page.attempt.number());
        let Some(transaction) = self.transactions.get_mut(&key) else { return };
        let price = transaction.price;
        let paid =
            |amount, currency| Phase::Accepted(Claimed { amount: Some(amount), currency: Some(currency) });
        let other = if price.currency() == Currency::Xof { Currency::Xaf } else { Currency::Xof };
        let phase = match outcome {
            Outcome::Accepted => paid(price.amount(), price.currency()),
            Outcome::OtherAmount => paid(price.amount() - 5, price.currency()),
            Outcome::OtherCurrency => paid(price.amount(), other),
            Outcome::Refused => Phase::Refused,
            Outcome::StillPending => Phase::Waiting,
        };
        transaction.was_refused |= outcome == Outcome::Refused;
        transaction.was_mismatched |= matches!(outcome, Outcome::OtherAmount | Outcome::OtherCurrency);
        let changes = transaction.phase != phase;
        transaction.phase = phase;
        self.note(format!("pay {} {outcome:?}", short(page.order)));
        if changes {
            self.changed(page.order);
        }
        self.count(match outcome {
            Outcome::Accepted => "paid",
            Outcome::OtherAmount | Outcome::OtherCurrency => "paid otherwise",
            Outcome::Refused => "refused at CinetPay",
            Outcome::StillPending => "webhook while pending",
        });
        self.wish(page.order, outcome);
        self.send_notices(page);
    }

    /// What the buyer wants next: another try after a refusal; after a payment the mail once more, or another address.
    fn wish(&mut self, order: OrderId, outcome: Outcome) {
        // Within the time of trouble: what comes after it is the judge's.
        let top = self.knobs.chaos_ms.max(2_000);
        let c = &mut self.chance.wishes;
        let (again, when, late) = (c.one_in(2), c.skewed(500, 60_000), c.between(1_000, top));
        // A stream of its own: every other choice of a seed stays what it was.
        let c = &mut self.chance.corrections;
        if c.one_in(3) {
            let dictated = c.between(1_000, top);
            self.plan(dictated, Act::Correct(order));
        }
        match outcome {
            Outcome::Refused if again => self.plan(when, Act::Retry(order, 2)),
            Outcome::Accepted if again => self.plan(late, Act::Wish(order)),
            Outcome::Refused
            | Outcome::Accepted
            | Outcome::OtherAmount
            | Outcome::OtherCurrency
            | Outcome::StillPending => {}
        }
    }

    /// A new notification, known to have been sent.
    fn new_notice(&mut self, page: TransactionId) -> [u8; 32] {
        let mut digest = [0; 32];
        let c = &mut self.chance.cinetpay;
        digest.chunks_mut(8).for_each(|part| part.copy_from_slice(&c.number().to_be_bytes()));
        if let Some(sold) = self.sold.get_mut(&page.order) {
            sold.sent.insert(digest_text(&digest));
        }
        self.notices.push((page, digest));
        digest
    }

    /// New notifications for every order, so close together that they meet in mailboxes and while seats change hands.
    pub fn burst(&mut self) {
        let pages: Vec<(OrderId, u8)> = self.transactions.keys().copied().collect();
        let moment = 3 * self.knobs.sync_ms + 10;
        for (order, number) in pages {
            let attempt = Attempt::FIRST.next().filter(|second| second.number() == number);
            let page = TransactionId { order, attempt: attempt.unwrap_or(Attempt::FIRST) };
            for _ in 0..BURST_NOTICES {
                let digest = self.new_notice(page);
                let delay = self.chance.cinetpay.between(0, moment);
                self.plan(delay, Act::Webhook(page, digest, 1));
            }
        }
        self.count("burst of notifications");
    }

    fn send_notices(&mut self, page: TransactionId) {
        let digest = self.new_notice(page);
        let c = &mut self.chance.cinetpay;
        let copies = c.pick(&[0, 0, 1, 1, 1, 1, 2, 5]);
        let delays: Vec<u64> = (0..copies).map(|_| c.skewed(0, 20_000)).collect();
        if copies == 0 {
            self.count("webhook never sent");
        }
        if copies > 1 {
            self.count("webhook sent several times");
        }
        for delay in delays {
            // Copies of the same instant meet in the order's mailbox.
            let delay = if self.chance.cinetpay.one_in(3) { delay / 1_000 * 1_000 } else { delay };
            self.plan(delay, Act::Webhook(page, digest, 3));
        }
    }

    pub fn replay(&mut self) {
        if self.notices.is_empty() {
            return;
        }
        let (page, digest) = self.chance.cinetpay.pick(&self.notices);
        self.count("old notification replayed");
        self.plan(0, Act::Webhook(page, digest, 0));
        if self.chance.cinetpay.one_in(4) {
            // One for an order that nobody ever made.
            let stranger = OrderId::new(self.clock(), u128::from(self.chance.cinetpay.number()));
            let page = TransactionId { order: stranger, attempt: Attempt::FIRST };
            self.count("webhook for an unknown order");
            self.plan(0, Act::Webhook(page, digest, 0));
        }
    }
}
