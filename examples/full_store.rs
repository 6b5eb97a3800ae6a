//! Makes a store with many complete orders, through the ledger itself: for `tests/disk/measure`.
//!
//! `cargo run --release --example full_store -- <folder> <orders>`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example tells what it did")]

use std::time::Instant;

use auditshield::domain::event::{Event, Request};
use auditshield::domain::values::{Attempt, Buyer, Currency, Email, Lang, Money, OrderId, Timestamp};
use auditshield::ledger::{Ledger, OpenOptions};
use tokio::task::JoinSet;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Orders on their way at once: as many share a sync.
const TOGETHER: u64 = 1024;
/// Between two orders.
const STEP_MILLIS: i64 = 1000;
/// When the first one was taken: long ago, so that nothing is owed when the daemon starts.
const BEGIN_MILLIS: i64 = 1_700_000_000_000;

/// The commits of one order: bought, page opened, notified, paid, delivered, downloaded.
fn commits(number: u64, at: Timestamp) -> Result<Vec<Vec<Event>>, Fault> {
    let attempt = Attempt::FIRST;
    let email = Email::parse(&format!("buyer{}@example.ci", number / 3))?;
    let buyer = Buyer { email, name: None, phone: None, lang: Lang::Fr };
    let request = Request { key: format!("{number:064x}"), fingerprint: format!("{number:064x}") };
    let price = Money::price(15_000, Currency::Xof)?;
    let (product, tier) = ("audit-kit".to_owned(), "standard".to_owned());
    Ok(vec![
        vec![Event::Created { product, tier, price, buyer, request: Some(request) }],
        vec![Event::Initiated {
            attempt,
            payment_url: format!("https://checkout.example/payment/{number:032x}"),
            payment_token: format!("{number:032x}"),
            check_at: at,
        }],
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
        vec![Event::Delivered {}],
        vec![Event::Downloaded { link: 1, number: 1 }],
    ])
}

async fn order(ledger: Ledger, number: u64) -> Result<(), Fault> {
    let at = Timestamp::from_millis(BEGIN_MILLIS + i64::try_from(number)? * STEP_MILLIS);
    let id = OrderId::new(at, u128::from(number));
    let mut standing = None;
    for events in commits(number, at)? {
        standing = Some(ledger.commit(id, standing.as_ref(), &events, at).await?);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(orders)) = (arguments.next(), arguments.next()) else {
        return Err("full_store <folder> <orders>".into());
    };
    let orders: u64 = orders.parse()?;
    let begun = Instant::now();
    let ledger = Ledger::open(OpenOptions::new(&folder, |why: &str| eprintln!("fatal: {why}")))?;
    let mut tasks = JoinSet::new();
    for number in 0..orders {
        if tasks.len() as u64 >= TOGETHER
            && let Some(done) = tasks.join_next().await
        {
            done??;
        }
        tasks.spawn(order(ledger.clone(), number));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let lines = ledger.health().last_seq;
    ledger.close().await;
    println!("{orders} orders, {lines} lines in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}
