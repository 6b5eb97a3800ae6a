//! What people, CinetPay and bad luck do to the daemon, one act at a time.

use std::sync::Arc;

use auditshield::actors::{AskError, Notified, Orders, Receipt};
use auditshield::domain::decide::Refusal;
use auditshield::domain::event::{Decision, Event, Request};
use auditshield::domain::input::{Input, Notice, Purchase};
use auditshield::domain::values::{Buyer, Currency, Email, Lang, Money, OrderId, TransactionId};
use auditshield::ledger::{CommitError, Ledger};

use crate::cinetpay::Outcome;
use crate::short;
use crate::world::{Sold, State, World};

/// One thing that happens at its time.
#[derive(Debug, Clone)]
pub enum Act {
    /// A buyer orders, or asks again with the same key.
    Buy(Box<Purchase>, u32),
    /// The buyer goes on with an order whose page did not open.
    Repeat(OrderId, u32),
    /// The buyer of a refused order tries again.
    Retry(OrderId, u32),
    /// The buyer has the mail sent again, or corrects the address.
    Wish(OrderId),
    /// A person corrects the address for the buyer.
    Correct(OrderId),
    /// Something becomes of a transaction at CinetPay.
    Pay(TransactionId, Outcome),
    /// CinetPay notifies.
    Webhook(TransactionId, [u8; 32], u32),
    /// Somebody sends an old notification again.
    Replay,
    /// CinetPay notifies about every order several times within moments.
    Burst,
    /// The link's button.
    Download,
    /// A person does something to an order.
    Admin,
    /// A second writer tries to commit for an order.
    Impostor,
    /// Bad luck.
    Trouble,
    /// The disk has room again.
    Room,
    /// The index can be written again.
    IndexWell,
    /// The judge compares.
    Look,
    /// Trouble is over.
    Calm,
}

/// What acts need of the running daemon.
#[derive(Clone)]
pub struct Shop {
    pub world: Arc<World>,
    pub orders: Orders,
    pub ledger: Ledger,
}

/// Counts an ask as open until it is answered or dropped.
struct Asking<'a>(&'a World);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.with(|s| s.asks_open = s.asks_open.saturating_sub(1));
    }
}

impl Shop {
    /// Does one act of somebody outside.
    pub async fn act(self, act: Act) {
        match act {
            Act::Buy(purchase, tries) => self.buy(purchase, tries).await,
            Act::Repeat(order, tries) => {
                let answer = self.ask(order, Input::Repeat).await;
                self.billed(order, answer, tries);
            }
            Act::Retry(order, tries) => self.retry(order, tries).await,
            Act::Wish(order) => self.wish(order).await,
            Act::Correct(order) => self.correct(order).await,
            Act::Webhook(transaction, digest, tries) => self.notify(transaction, digest, tries).await,
            Act::Download => self.download().await,
            Act::Admin => self.administer().await,
            Act::Impostor => self.intrude().await,
            Act::Pay(transaction, outcome) => self.world.with(|s| s.pay(transaction, outcome)),
            Act::Replay => self.world.with(State::replay),
            Act::Burst => self.world.with(State::burst),
            Act::Trouble | Act::Room | Act::IndexWell | Act::Look | Act::Calm => {}
        }
    }

    pub(crate) async fn ask(&self, order: OrderId, input: Input) -> Result<Receipt, AskError> {
        let name = name_of(&input);
        let say = |receipt: &Receipt| format!("{} {}", receipt.payment.status_name(), receipt.duplicate);
        self.heard(order, name, self.orders.submit(order, input), say).await
    }

    /// Waits for an answer and tells of it; in vain if the process dies meanwhile.
    async fn heard<T>(
        &self,
        order: OrderId,
        name: &str,
        answer: impl Future<Output = Result<T, AskError>>,
        say: impl Fn(&T) -> String,
    ) -> Result<T, AskError> {
        let _asking = Asking(&self.world);
        self.world.with(|s| {
            s.asks_open += 1;
            s.note(format!("ask {} {name}", short(order)));
        });
        let answer = answer.await;
        if self.world.with(|s| s.dead.is_some()) {
            return std::future::pending().await;
        }
        self.world.with(|s| {
            let text = match &answer {
                Ok(answer) => say(answer),
                Err(why) => {
                    s.count(refusal_of(why));
                    format!("{why:?}")
                }
            };
            s.note(format!("answer {} {name}: {text}", short(order)));
        });
        answer
    }

    async fn buy(&self, purchase: Box<Purchase>, tries: u32) {
        let world = &self.world;
        let now = world.with(|s| s.clock());
        let key = purchase.request.as_ref().map(|request| request.key.clone());
        let known = match &key {
            Some(key) => match self.ledger.find_key(key, now) {
                Ok(known) => known.map(|(order, _)| order),
                Err(why) => return world.with(|s| s.violate(format!("a key cannot be looked up: {why}"))),
            },
            None => None,
        };
        let order = world.with(|s| s.order_for(known, key, &purchase));
        let answer = match self.ask(order, Input::Buy(purchase.clone())).await {
            Err(AskError::Refused(Refusal::Exists)) => self.ask(order, Input::Repeat).await,
            answer => answer,
        };
        let again = answer.is_err() && purchase.request.is_some() && tries > 0;
        self.billed(order, answer, 0);
        world.with(|s| {
            if again {
                let wait = s.chance.buyers.between(100, 20_000);
                s.plan(wait, Act::Buy(purchase, tries - 1));
                s.count("purchase repeated with its key");
            }
        });
    }

    pub(crate) fn billed(&self, order: OrderId, answer: Result<Receipt, AskError>, tries: u32) {
        self.world.with(|s| match answer {
            Ok(receipt) => {
                // An order that ended without a page has none to offer: the shop says so.
                let Some(url) = receipt.payment.payment_url.clone() else { return };
                s.bought(order, &url);
                let page = TransactionId { order, attempt: receipt.payment.attempt };
                s.script(page);
            }
            Err(AskError::NotOpened(_) | AskError::Busy | AskError::Late) if tries > 0 => {
                let wait = s.chance.buyers.between(100, 30_000);
                s.plan(wait, Act::Repeat(order, tries - 1));
            }
            Err(_) => {}
        });
        self.world.pass("dies after a purchase was answered");
    }

    async fn notify(&self, transaction: TransactionId, digest: [u8; 32], tries: u32) {
        let order = transaction.order;
        let notice = Notice { attempt: transaction.attempt, digest };
        let answer = self.orders.notify(order, notice);
        let answer = self.heard(order, "notify", answer, |notified| format!("{notified:?}")).await;
        self.world.with(|s| match answer {
            Ok(notified) => s.acknowledged(order, &digest, notified == Notified::Known),
            Err(AskError::Refused(Refusal::UnknownOrder)) => s.denied(order),
            Err(AskError::Refused(why)) => s.violate(format!("a notification was refused: {why}")),
            Err(_) if tries > 0 && s.chance.cinetpay.one_in(2) => {
                let wait = s.chance.cinetpay.between(100, 60_000);
                s.plan(wait, Act::Webhook(transaction, digest, tries - 1));
                s.count("webhook repeated by CinetPay");
            }
            Err(_) => s.count("webhook lost"),
        });
        self.world.pass("dies after a notification was answered");
    }

    async fn download(&self) {
        let Some((order, link)) = self.world.with(|s| {
            let mailed: Vec<_> = s.mails.iter().filter_map(|(o, m)| Some((*o, m.last()?.link))).collect();
            (!mailed.is_empty()).then(|| s.chance.buyers.pick(&mailed))
        }) else {
            return;
        };
        if let Ok(receipt) = self.ask(order, Input::Download { link }).await {
            self.world.with(|s| {
                s.catch_up();
                let paid = receipt.payment.status_name() == "PAID";
                let told = s.books.orders.get(&order).map_or(0, |told| {
                    told.history.iter().filter(|event| event.kind() == "DOWNLOADED").count()
                });
                if !paid || told == 0 {
                    s.violate(format!("a file of {} was served and should not be", short(order)));
                }
                s.count("download");
            });
        }
    }

    async fn administer(&self) {
        let Some((order, input)) = self.world.with(|s| {
            let all: Vec<OrderId> = s.sold.keys().copied().collect();
            let order = (!all.is_empty()).then(|| s.chance.buyers.pick(&all))?;
            let by = Decision { by: "admin".to_owned(), note: String::new() };
            let sold = s.sold.get_mut(&order)?;
            let input = match s.chance.buyers.below(12) {
                0..=2 => Input::Verify,
                3..=5 => Input::Resend(by),
                6..=8 => {
                    sold.approvals += 1;
                    Input::Approve(by)
                }
                9 => {
                    sold.rejections += 1;
                    Input::Reject(by)
                }
                // By the order's own number: no draw more, so that known seeds tell the stories that they told.
                10 | 11 if order.seed().is_multiple_of(3) => Input::Erase { by: by.by, force: false },
                10 => Input::Revoke(by),
                _ => Input::Refund(by),
            };
            Some((order, input))
        }) else {
            return;
        };
        let name = name_of(&input);
        if self.ask(order, input).await.is_ok() {
            self.world.with(|s| s.count(name));
        }
    }

    /// A commit that does not continue the stored version must be refused, whoever brings it.
    async fn intrude(&self) {
        let Some((order, version)) = self.world.with(|s| {
            let all: Vec<_> = s.books.orders.iter().map(|(id, told)| (*id, told.payment.version)).collect();
            (!all.is_empty()).then(|| s.chance.trouble.pick(&all))
        }) else {
            return;
        };
        // What somebody has held since a former visit, or nothing, as for a new order.
        let held = self.world.with(|s| s.held.get(&order).cloned());
        let stale = held.filter(|held| held.payment().version < version);
        let all: Vec<OrderId> = self.world.with(|s| s.books.orders.keys().copied().collect());
        for id in all {
            if let Ok(Some(newest)) = self.ledger.standing(id) {
                self.world.with(|s| {
                    s.held.entry(id).or_insert(newest);
                });
            }
        }
        let by = Decision { by: "impostor".to_owned(), note: String::new() };
        let events = [Event::Note { by, resend: None, buyer: None }];
        let now = self.world.with(|s| s.clock());
        let outcome = self.ledger.commit(order, stale.as_ref(), &events, now).await;
        self.world.with(|s| match outcome {
            Err(CommitError::Conflict) if stale.is_some() => s.count("stale commit refused"),
            Err(CommitError::Conflict) => s.count("second beginning refused"),
            Err(_) => {}
            Ok(_) => s.violate(format!("a stale commit for {} was taken", short(order))),
        });
    }
}

impl State {
    /// The order of a key, or a new one.
    fn order_for(&mut self, known: Option<OrderId>, key: Option<String>, purchase: &Purchase) -> OrderId {
        let claimed = key.as_ref().and_then(|key| self.claims.get(key).copied());
        let order = known.or(claimed).unwrap_or_else(|| {
            let chance = u128::from(self.chance.buyers.number());
            OrderId::new(self.clock(), chance)
        });
        if let Some(key) = key {
            self.claims.insert(key, order);
        }
        if std::mem::take(&mut self.poison.first) {
            self.poison.orders.insert(order, u32::MAX);
        }
        self.sold.entry(order).or_insert_with(|| Sold {
            purchase: purchase.clone(),
            answered: false,
            sent: Default::default(),
            heard: Default::default(),
            must_settle: false,
            unsure: 0,
            checks: 0,
            approvals: 0,
            rejections: 0,
        });
        order
    }

    /// A new buyer.
    pub fn purchase(&mut self, n: u64) -> Box<Purchase> {
        let c = &mut self.chance.buyers;
        let (amount, currency) =
            c.pick(&[(500, Currency::Xof), (15_000, Currency::Xof), (1_000, Currency::Xaf)]);
        let request =
            (!c.one_in(3)).then(|| Request { key: format!("{n:064x}"), fingerprint: "f".to_owned() });
        Box::new(Purchase {
            product: "kit".to_owned(),
            tier: "one".to_owned(),
            price: Money::price(amount, currency).unwrap(),
            buyer: Buyer {
                email: Email::parse(&format!("buyer{n}@example.ci")).unwrap(),
                name: None,
                phone: None,
                lang: Lang::Fr,
            },
            request,
        })
    }
}

pub(crate) fn name_of(input: &Input) -> &'static str {
    match input {
        Input::Buy(_) => "buy",
        Input::Repeat => "repeat",
        Input::Retry => "retry",
        Input::SendAgain => "send again",
        Input::Readdress(_) => "readdress",
        Input::Correct(..) => "admin corrects the address",
        Input::Notify(_) => "notify",
        Input::Download { .. } => "download",
        Input::Verify => "admin verifies",
        Input::Resend(_) => "admin resends",
        Input::Approve(_) => "admin approves",
        Input::Reject(_) => "admin rejects",
        Input::Refund(_) => "admin refunds",
        Input::Revoke(_) => "admin revokes",
        Input::Erase { .. } => "admin erases",
        Input::Report(_) => "report",
    }
}

fn refusal_of(why: &AskError) -> &'static str {
    match why {
        AskError::Busy => "refused: too busy",
        AskError::Gone => "refused: the actor died",
        AskError::Late => "refused: too late",
        AskError::NoRoom => "refused: no room",
        AskError::Refused(_) => "refused: business",
        AskError::NotOpened(_) => "refused: no page",
    }
}
