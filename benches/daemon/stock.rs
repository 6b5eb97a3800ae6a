//! Makes stores with many orders, through the ledger itself. `examples/full_store.rs` uses this file too.

use std::path::Path;

use auditshield::domain::event::{Event, Request};
use auditshield::domain::values::{Attempt, Buyer, Currency, Email, Lang, Money, OrderId, Timestamp};
use auditshield::ledger::{Ledger, OpenOptions};
use tokio::task::JoinSet;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Orders on their way at once: as many share a sync.
const TOGETHER: u64 = 1024;
/// Between two complete orders.
const STEP_MILLIS: i64 = 1000;
/// When the first complete order was taken: long ago, so that nothing is owed when the daemon starts.
const BEGIN_MILLIS: i64 = 1_700_000_000_000;
/// From an open page to the first look, where nobody is to look before the notification.
const LOOK_MILLIS: i64 = 24 * 3600 * 1000;
/// Open orders have numbers of their own, so that a store can hold both.
const OPEN_NUMBERS: u64 = 1 << 40;

/// How far the orders of a stock have come.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Bought, page opened, notified, paid, delivered, downloaded: long ago.
    Complete,
    /// Bought, page opened: the buyer may pay. Taken from this moment on, in milliseconds.
    Open(i64),
}

impl Kind {
    fn at(self, number: u64) -> Timestamp {
        let number = i64::try_from(number).unwrap_or_default();
        Timestamp::from_millis(match self {
            Kind::Complete => BEGIN_MILLIS + number * STEP_MILLIS,
            Kind::Open(since) => since + number,
        })
    }

    /// The id of this kind's order `number`: it can be told without the store.
    pub(crate) fn order_id(self, number: u64) -> OrderId {
        let offset = match self {
            Kind::Complete => 0,
            Kind::Open(_) => OPEN_NUMBERS,
        };
        OrderId::new(self.at(number), u128::from(offset + number))
    }

    /// The commits of one order.
    fn commits(self, number: u64, at: Timestamp) -> Result<Vec<Vec<Event>>, Fault> {
        let attempt = Attempt::FIRST;
        let email = Email::parse(&format!("buyer{}@example.ci", number / 3))?;
        let buyer = Buyer { email, name: None, phone: None, lang: Lang::Fr };
        let request = Request { key: format!("{number:064x}"), fingerprint: format!("{number:064x}") };
        let price = Money::price(15_000, Currency::Xof)?;
        let (product, tier) = ("audit-kit".to_owned(), "standard".to_owned());
        let (request, check_at) = match self {
            Kind::Complete => (Some(request), at),
            Kind::Open(_) => (None, at.plus(std::time::Duration::from_millis(LOOK_MILLIS.unsigned_abs()))),
        };
        let opened = vec![
            vec![Event::Created { product, tier, price, buyer, request }],
            vec![Event::Initiated {
                attempt,
                payment_url: format!("https://checkout.example/payment/{number:032x}"),
                payment_token: format!("{number:032x}"),
                check_at,
            }],
        ];
        let finished = vec![
            vec![Event::Notified { attempt, digest: format!("{number:032x}") }],
            vec![
                Event::Checked { attempt, verdict: "accepted".into(), code: "00".into(), next_at: None },
                Event::Paid {
                    attempt,
                    provider_tx_id: Some(format!("MP{number:010}")),
                    payment_method: Some("OM".into()),
                    expires_at: at,
                    max_downloads: 5,
                    approved: None,
                },
            ],
            vec![Event::Delivered { remind_at: None }],
            vec![Event::Downloaded { link: 1, number: 1 }],
        ];
        Ok(match self {
            Kind::Complete => [opened, finished].concat(),
            Kind::Open(_) => opened,
        })
    }
}

async fn order(ledger: Ledger, kind: Kind, number: u64) -> Result<(), Fault> {
    let at = kind.at(number);
    let id = kind.order_id(number);
    let mut standing = None;
    for events in kind.commits(number, at)? {
        standing = Some(ledger.commit(id, standing.as_ref(), &events, at).await?);
    }
    Ok(())
}

/// Adds `orders` orders of this kind to the store in `folder`, and closes it. Gives the journal's last line.
pub(crate) async fn add(folder: &Path, kind: Kind, orders: u64) -> Result<u64, Fault> {
    let ledger = Ledger::open(OpenOptions::new(folder, fatal))?;
    fill(&ledger, kind, orders).await?;
    let lines = ledger.health().last_seq;
    ledger.close().await;
    Ok(lines)
}

/// Adds them to a ledger that is open.
pub(crate) async fn fill(ledger: &Ledger, kind: Kind, orders: u64) -> Result<(), Fault> {
    let mut tasks = JoinSet::new();
    for number in 0..orders {
        if tasks.len() as u64 >= TOGETHER
            && let Some(done) = tasks.join_next().await
        {
            done??;
        }
        tasks.spawn(order(ledger.clone(), kind, number));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// The commits under way fail after it, and with them whoever waits for them.
#[allow(clippy::print_stderr, reason = "there is nobody else to tell")]
fn fatal(why: &str) {
    eprintln!("fatal: {why}");
}
