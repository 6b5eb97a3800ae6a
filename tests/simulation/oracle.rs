//! The judge. It knows what CinetPay and the mail server truly hold and what was acknowledged, reads the journal by
//! itself, and shares nothing with the code under test but the meaning of events.

use std::time::Duration;

use auditshield::domain::decide::digest_text;
use auditshield::domain::event::Event;
use auditshield::domain::invariants::violations;
use auditshield::domain::payment::{Mail, Sale, Status, due_at};
use auditshield::domain::reminder::Reminder;
use auditshield::domain::values::{Attempt, OrderId, Timestamp};
use auditshield::ledger::Ledger;
use auditshield::ports::OpenRequest;

use crate::books::{Entry, Told};
use crate::short;
use crate::wishes::judge_correction;
use crate::world::{Phase, State};

/// Digests remembered per order; a further notification counts as a duplicate.
const NOTICES_MAX: usize = 32;
/// Looks without a question under way after which a report must have been committed.
const LOOKS_TO_BE_SURE: u8 = 3;
const DUE_MAX: usize = 100_000;
/// A story that is over otherwise waits so long for a reminder that is planned.
const REMINDER_PATIENCE: Duration = Duration::from_secs(180);

impl State {
    /// Takes in and judges every line that has become durable.
    pub fn catch_up(&mut self) {
        if !self.recovered {
            // What a power cut left is history only once a start has cut its torn end off.
            return;
        }
        let journal = self.machine.journal.clone();
        match self.books.catch_up(&journal) {
            Ok(entries) => entries.iter().for_each(|entry| self.judge(entry)),
            Err(why) => self.violate(format!("the journal: {why}")),
        }
    }

    /// After a restart: what was durable is still there, and nothing but whole lines.
    pub fn catch_up_again(&mut self) {
        let journal = self.machine.journal.clone();
        match self.books.reread(&journal) {
            Ok(entries) => entries.iter().for_each(|entry| self.judge(entry)),
            Err(why) => self.violate(format!("the journal after a restart: {why}")),
        }
        let tail = journal.segments().last().map(|first| journal.bytes(*first)).unwrap_or_default();
        if tail.last().is_some_and(|byte| *byte != b'\n') {
            self.violate("a torn tail was left at the end of the journal".to_owned());
        }
        let mut lost = Vec::new();
        for (order, sold) in &self.sold {
            let told = self.books.orders.get(order);
            let kept = |digest: &String| told.is_some_and(|told| has_notice(told, digest));
            if sold.answered && told.is_none() {
                lost.push(format!("{} was answered 201 and is gone", short(*order)));
            }
            if !sold.heard.iter().all(kept) {
                lost.push(format!("a notification of {} was answered 200 and is gone", short(*order)));
            }
        }
        lost.into_iter().for_each(|text| self.violate(text));
    }

    fn judge(&mut self, entry: &Entry) {
        self.note(entry.text());
        let order = entry.order;
        let Some(told) = self.books.orders.get(&order).cloned() else { return };
        let mut broken = violations(&told.payment, &told.history);
        if !self.sold.contains_key(&order) {
            broken.push(format!("{} was never bought", short(order)));
        }
        for event in &entry.events {
            self.count(event.kind());
            if let Some(why) = self.judge_event(order, event, entry, &told) {
                broken.push(format!("{} {}: {why}", short(order), event.kind()));
            }
        }
        broken.into_iter().for_each(|text| self.violate(text));
    }

    /// What is wrong with an event, seen from outside.
    fn judge_event(&self, order: OrderId, event: &Event, entry: &Entry, told: &Told) -> Option<String> {
        let sold = self.sold.get(&order)?;
        let at_cinetpay = |attempt: &Attempt| self.transactions.get(&(order, attempt.number()));
        let price = sold.purchase.price;
        let count = |kinds: &[&str]| told.history.iter().filter(|e| kinds.contains(&e.kind())).count();
        let wrong = |holds: bool, why: &str| (!holds).then(|| why.to_owned());
        match event {
            Event::Created { price: asked, product, .. } => {
                wrong(*asked == price && *product == sold.purchase.product, "not what was bought")
            }
            Event::Initiated { attempt, payment_url, .. } => wrong(
                at_cinetpay(attempt).is_some_and(|t| t.url == *payment_url),
                "CinetPay knows no such page",
            ),
            Event::Notified { digest, .. } => {
                let times = told.history.iter();
                let times = times.filter(|e| matches!(e, Event::Notified { digest: d, .. } if d == digest));
                wrong(sold.sent.contains(digest), "nobody sent it")
                    .or_else(|| wrong(times.count() == 1, "the same notification twice"))
            }
            Event::Paid { attempt, approved: None, .. } => {
                let exact = |phase: &Phase| {
                    matches!(phase, Phase::Accepted(claimed)
                        if claimed.amount == Some(price.amount()) && claimed.currency == Some(price.currency()))
                };
                wrong(
                    at_cinetpay(attempt).is_some_and(|t| exact(&t.phase)),
                    "CinetPay does not hold that money",
                )
            }
            Event::Paid { approved: Some(_), .. } => {
                let reviewed = entry.before.as_ref();
                let reviewed = reviewed.is_some_and(|b| matches!(b.payment.status, Status::Review { .. }));
                wrong(reviewed && sold.approvals > 0, "nobody approved it, or it was not in review")
            }
            Event::Failed { attempt, rejected: None, .. } => {
                wrong(at_cinetpay(attempt).is_some_and(|t| t.was_refused), "CinetPay never refused it")
            }
            Event::Failed { rejected: Some(_), .. } => wrong(sold.rejections > 0, "nobody rejected it"),
            Event::Review { attempt, .. } => {
                wrong(at_cinetpay(attempt).is_some_and(|t| t.was_mismatched), "CinetPay holds what was asked")
            }
            Event::Expired {} => {
                let horizon = told.payment.horizon(&self.knobs.policy);
                wrong(entry.at >= horizon, "before its time")
            }
            Event::Delivered { .. } | Event::Resent { .. } => {
                let taken = self.mails.get(&order).map_or(0, Vec::len);
                wrong(count(&["DELIVERED", "RESENT"]) <= taken, "the mail server never took it")
            }
            Event::Reminded { .. } => {
                let taken = self.reminders.get(&order).map_or(0, Vec::len);
                wrong(count(&["REMINDED"]) <= taken, "the mail server never took it")
            }
            Event::Downloaded { link, .. } => {
                let before = entry.before.as_ref().and_then(|b| b.payment.sale());
                let live = before.is_some_and(|s| {
                    s.link.number == *link
                        && !s.link.revoked
                        && s.link.expires_at > entry.at
                        && s.link.downloads < s.link.max_downloads
                });
                wrong(live, "through a link that was withdrawn, used up or over")
            }
            Event::Note { .. } => judge_correction(event, entry).map(str::to_owned),
            Event::InitFailed { .. }
            | Event::Checked { .. }
            | Event::MailFailed { .. }
            | Event::ReminderFailed { .. }
            | Event::Revoked { .. }
            | Event::Refunded { .. }
            | Event::Erased { .. } => None,
        }
    }

    /// 200 was answered to a notification.
    pub fn acknowledged(&mut self, order: OrderId, digest: &[u8; 32], duplicate: bool) {
        self.catch_up();
        let digest = digest_text(digest);
        let kept = self.books.orders.get(&order).is_some_and(|told| has_notice(told, &digest));
        if !kept {
            self.violate(format!("a notification of {} was answered 200 and is not durable", short(order)));
        }
        self.count(if duplicate { "duplicate webhook 200" } else { "webhook 200" });
        if let Some(sold) = self.sold.get_mut(&order) {
            sold.heard.insert(digest);
            // A new one is a reason to look; whatever CinetPay has said by now must be found out.
            sold.must_settle |= !duplicate;
        }
    }

    /// An answer said that there is no such order.
    pub fn denied(&mut self, order: OrderId) {
        self.catch_up();
        if self.books.orders.contains_key(&order) {
            self.violate(format!("{} is durable and was denied", short(order)));
        }
    }

    /// 201 was answered to a purchase.
    pub fn bought(&mut self, order: OrderId, url: &str) {
        self.catch_up();
        if !self.books.orders.contains_key(&order) {
            self.violate(format!("{} was answered 201 and is not durable", short(order)));
        }
        if !self.transactions.iter().any(|((of, _), t)| *of == order && t.url == url) {
            self.violate(format!("{} was answered 201 with a page that does not exist", short(order)));
        }
        let Some(sold) = self.sold.get_mut(&order) else { return };
        sold.answered = true;
        // A clock that jumps a day ahead ends the day for which a key is honoured.
        if let (Some(request), false) = (sold.purchase.request.clone(), self.knobs.clock) {
            let promised = *self.promised.entry(request.key).or_insert(order);
            if promised != order {
                self.violate(format!("one key, two orders: {} and {}", short(promised), short(order)));
            }
        }
        self.count("purchase 201");
    }

    /// A page is opened only for a durable order, for its price.
    pub fn money_may_be_asked(&mut self, request: &OpenRequest) {
        self.catch_up();
        let order = request.transaction.order;
        let told = self.books.orders.get(&order);
        if told.is_none_or(|told| told.payment.price != request.price) {
            self.violate(format!("a page for {} which is not durable or has another price", short(order)));
        }
    }

    /// CinetPay's truth about an order has changed.
    pub fn changed(&mut self, order: OrderId) {
        self.catch_up();
        if let Some(sold) = self.sold.get_mut(&order) {
            // A waiting order is asked about once more at least, unless an answer under way, or on its way into the
            // journal, is older than the change.
            (sold.must_settle, sold.unsure) = (false, 1);
        }
    }

    /// An order that still waits although no answer older than the last change is under way will be asked about.
    fn grow_sure(&mut self) {
        for (order, sold) in &mut self.sold {
            let told = self.books.orders.get(order);
            let waiting = told.is_some_and(|told| matches!(told.payment.status, Status::Pending { .. }));
            if sold.unsure == 0 || !waiting || sold.checks > 0 {
                sold.unsure = sold.unsure.min(1);
                continue;
            }
            sold.unsure += 1;
            if sold.unsure > LOOKS_TO_BE_SURE {
                sold.must_settle = true;
                sold.unsure = 0;
            }
        }
    }

    /// Reads give what the lines amount to, queues are bounded, and nobody died unasked.
    pub fn look(&mut self, ledger: &Ledger, thorough: bool) {
        self.catch_up();
        if self.calm {
            self.grow_sure();
        }
        let settings = self.knobs.settings.clone();
        let mut broken = Vec::new();
        let mut law = |holds: bool, words: String| {
            if !holds {
                broken.push(words);
            }
        };
        law(self.asks_open <= settings.asks_max, format!("{} asks under way", self.asks_open));
        let calls_max = settings.verify_max + settings.open_max;
        law(self.calls_open <= calls_max, format!("{} calls to CinetPay at once", self.calls_open));
        law(self.mails_open <= settings.deliver_max, format!("{} mails at once", self.mails_open));
        law(self.reminders_open <= 1, format!("{} reminders at once", self.reminders_open));
        law(self.deaths <= self.deaths_expected, "an actor died of itself".to_owned());
        law(ledger.health().last_seq == self.books.lines(), "the last seq is not the journal's".to_owned());
        let pick = self.chance.trouble.number();
        for (place, (order, told)) in (0_u64..).zip(&self.books.orders) {
            if !thorough && !(place ^ pick).is_multiple_of(4) {
                continue;
            }
            match ledger.load(*order) {
                Ok(read) => law(
                    read.as_ref() == Some(&told.payment),
                    format!("{} reads otherwise than it folds", short(*order)),
                ),
                Err(why) => law(false, format!("{} cannot be read: {why}", short(*order))),
            }
            if thorough {
                let fit = told.keys_fit(&self.machine.journal);
                law(fit, format!("{}: its keys are not what its lines say", short(*order)));
            }
            let receipt = ledger.receipt(*order).map(|number| number.map(|number| number.to_string()));
            law(
                receipt.as_ref().is_ok_and(|number| *number == told.receipt),
                format!("{} has receipt {receipt:?} instead of {:?}", short(*order), told.receipt),
            );
        }
        if thorough {
            self.compare_all(ledger, &mut law);
        }
        broken.into_iter().for_each(|text| self.violate(text));
    }

    fn compare_all(&self, ledger: &Ledger, law: &mut impl FnMut(bool, String)) {
        let end_of_time = Timestamp::from_millis(i64::MAX);
        let mut due: Vec<_> = self
            .books
            .orders
            .values()
            .filter_map(|told| Some((due_at(&told.payment)?, told.payment.id)))
            .collect();
        due.sort_unstable();
        let read = ledger.due(end_of_time, DUE_MAX);
        law(read.is_ok_and(|read| read == due), "the due index is not what the orders owe".to_owned());
        let mut counts = [0_u64; Status::NAMES.len()];
        for told in self.books.orders.values() {
            let place = Status::NAMES.iter().position(|name| *name == told.payment.status_name());
            counts[place.unwrap()] += 1;
        }
        law(ledger.counts().0 == counts, "the counts are not the orders'".to_owned());
        let pick = self.books.lines();
        for (place, (order, told)) in (0_u64..).zip(&self.books.orders) {
            if !(place ^ pick).is_multiple_of(4) {
                continue;
            }
            let history = ledger
                .history(*order)
                .map(|lines| lines.into_iter().flat_map(|line| line.events).collect::<Vec<_>>());
            law(history.is_ok_and(|h| h == told.history), format!("{}: its history", short(*order)));
        }
    }

    /// What is still owed although trouble is over; empty when all is well.
    pub fn owed(&self) -> Vec<String> {
        let mut owed = Vec::new();
        for (order, told) in &self.books.orders {
            let Some(sold) = self.sold.get(order) else { continue };
            if sold.must_settle && !self.settled(*order, told) {
                let status = told.payment.status_name();
                owed.push(format!("{} is {status}, which is not CinetPay's verdict", short(*order)));
            }
            if let Status::Paid(sale) = &told.payment.status
                && let Mail::Owed { .. } = sale.mail
            {
                owed.push(format!("{} is paid and its mail is not taken", short(*order)));
            }
            if let Status::Paid(Sale { reminder: Reminder::Due { at, .. }, .. }) = &told.payment.status
                && *at <= self.clock()
            {
                owed.push(format!("{} has a reminder that is neither sent nor given up", short(*order)));
            }
        }
        owed
    }

    /// Whether a reminder is planned for the next minutes: the story waits for it.
    pub fn reminds_soon(&self) -> bool {
        let soon = self.clock().plus(REMINDER_PATIENCE);
        self.books.orders.values().any(|told| {
            matches!(&told.payment.status, Status::Paid(Sale { reminder: Reminder::Due { at, .. }, .. }) if *at <= soon)
        })
    }

    fn settled(&self, order: OrderId, told: &Told) -> bool {
        let all = || self.transactions.iter().filter(|((of, _), _)| *of == order).map(|(_, t)| t);
        let right = |t: &&crate::world::Transaction| matches!(t.phase, Phase::Accepted(claimed) if claimed.is(t.price));
        let accepted = |t: &&crate::world::Transaction| matches!(t.phase, Phase::Accepted(_));
        let status = told.payment.status_name();
        if all().any(|t| right(&t)) {
            // Where another page was paid otherwise, a person has been asked: the look that would see it may be lost.
            let asked = status == "REVIEW" && all().any(|t| t.was_mismatched);
            return asked || matches!(status, "PAID" | "REFUNDED");
        }
        if all().any(|t| accepted(&t)) {
            let decided = &self.sold[&order];
            return status == "REVIEW"
                || (matches!(status, "PAID" | "REFUNDED") && decided.approvals > 0)
                || (status == "FAILED" && decided.rejections > 0);
        }
        let refused = all().any(|t| t.phase == Phase::Refused);
        !refused || matches!(status, "FAILED" | "EXPIRED")
    }
}

fn has_notice(told: &Told, digest: &String) -> bool {
    let notices = &told.payment.notices;
    notices.contains(digest) || notices.len() >= NOTICES_MAX
}
