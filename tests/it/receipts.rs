//! Receipt numbers on a real disk: 1, 2, 3 … within each year, without gap or repeat, the same for ever.

use std::collections::BTreeMap;
use std::path::Path;

use auditshield::domain::event::Event;
use auditshield::domain::receipt::ReceiptNumber;
use auditshield::domain::values::{OrderId, Timestamp};
use auditshield::ledger::{self, Ledger, Query};

use crate::ledger::{checked, created, initiated, open, paid, verified};
use crate::support::TestApp;

/// Buyers at once.
const BUYERS: i64 = 120;

/// Two payments in three fall into 2026, the others into the year before.
fn at(number: i64) -> Timestamp {
    let day = if number % 3 == 0 { "2025-12-31T23:59:59.999Z" } else { "2026-01-01T00:00:00Z" };
    day.parse().unwrap()
}

fn id(number: i64) -> OrderId {
    OrderId::new(at(number), u128::try_from(number).unwrap())
}

async fn sell(ledger: Ledger, number: i64) {
    let mut standing = None;
    let accepted: Vec<Event> = vec![checked(), paid(number)];
    let mut commits = vec![vec![created(number)], vec![initiated(number)]];
    // One buyer in five never pays.
    if number % 5 != 0 {
        commits.push(accepted);
    }
    for events in commits {
        let next = ledger.commit(id(number), standing.as_ref(), &events, at(number)).await.unwrap();
        standing = Some(next);
        if number % 5 == 0 || standing.as_ref().unwrap().payment().sale().is_none() {
            assert_eq!(ledger.receipt(id(number)).unwrap(), None, "a number before the payment");
        }
    }
}

/// Every order's number; the places of each year are 1 to as many as were paid in it.
fn numbers(ledger: &Ledger) -> BTreeMap<OrderId, ReceiptNumber> {
    let numbered = (0..BUYERS).filter_map(|number| Some((id(number), ledger.receipt(id(number)).unwrap()?)));
    let numbers: BTreeMap<_, _> = numbered.collect();
    for year in [2025, 2026] {
        let mut places: Vec<u64> =
            numbers.values().filter(|number| number.year == year).map(|number| number.place).collect();
        places.sort_unstable();
        let wanted = (0..BUYERS).filter(|n| n % 5 != 0 && (n % 3 == 0) == (year == 2025)).count();
        assert_eq!(places, (1..=u64::try_from(wanted).unwrap()).collect::<Vec<_>>(), "{year}");
    }
    numbers
}

/// What an outsider counts: the lines with a PAID, in the journal's order, by the year of their date.
fn counted(folder: &Path) -> BTreeMap<OrderId, String> {
    let (mut years, mut found) = (BTreeMap::<String, u64>::new(), BTreeMap::new());
    ledger::export(folder, None, &mut |line| {
        if line.events.iter().any(|event| event.kind() == "PAID") {
            let year = line.at.to_string()[..4].to_owned();
            let place = years.entry(year.clone()).or_default();
            *place += 1;
            found.insert(line.order, format!("{year}-{place:06}"));
        }
        Ok(())
    })
    .unwrap();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn payments_at_once_are_numbered_without_gaps_and_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let sales: Vec<_> = (0..BUYERS).map(|number| tokio::spawn(sell(ledger.clone(), number))).collect();
    for sale in sales {
        sale.await.unwrap();
    }
    let fresh = numbers(&ledger);
    let plain = |numbers: &BTreeMap<OrderId, ReceiptNumber>| -> BTreeMap<OrderId, String> {
        numbers.iter().map(|(order, number)| (*order, number.to_string())).collect()
    };
    assert_eq!(plain(&fresh), counted(folder.path()), "an outsider counts otherwise");
    ledger.close().await;
    assert_eq!(verified(folder.path()).findings, Vec::<String>::new());
    // From the index, after a restart; then from an index made anew; then with the series going on.
    let again = open(folder.path());
    assert_eq!(numbers(&again), fresh);
    again.close().await;
    ledger::rebuild(folder.path()).unwrap();
    assert_eq!(verified(folder.path()).findings, Vec::<String>::new());
    let anew = open(folder.path());
    assert_eq!(numbers(&anew), fresh);
    sell(anew.clone(), BUYERS + 1).await;
    let next = anew.receipt(id(BUYERS + 1)).unwrap().unwrap();
    let last = fresh.values().filter(|number| number.year == next.year).map(|number| number.place).max();
    assert_eq!(Some(next.place - 1), last);
    anew.close().await;
}

/// An index of a version without numbers, or without a way from a number to its order, is made anew at the start, and
/// every old payment has its number and is found by it.
#[tokio::test(flavor = "multi_thread")]
async fn payments_of_earlier_versions_are_numbered_too() {
    // What the earlier version did not write, by its first bytes.
    let lacking: [&[&[u8]]; 3] = [&[b"r", b"n", b"h", b"layout"], &[b"n", b"h"], &[b"layout"]];
    for lacking in lacking {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open(folder.path());
        for number in 0..10 {
            sell(ledger.clone(), number).await;
        }
        let before: Vec<_> = (0..10).map(|number| ledger.receipt(id(number)).unwrap()).collect();
        ledger.close().await;
        let db = sled::open(folder.path().join("index")).unwrap();
        for key in db.iter().keys().map(Result::unwrap).collect::<Vec<_>>() {
            if lacking.iter().any(|first| key.starts_with(first)) {
                db.remove(key).unwrap();
            }
        }
        db.flush().unwrap();
        drop(db);
        assert!(!verified(folder.path()).findings.is_empty(), "verification does not miss them");
        let ledger = open(folder.path());
        let after: Vec<_> = (0..10).map(|number| ledger.receipt(id(number)).unwrap()).collect();
        assert_eq!(after, before);
        for (number, receipt) in (0..10).zip(&after) {
            let Some(receipt) = receipt else { continue };
            let query = Query { q: Some(receipt.to_string()), limit: 5, ..Query::default() };
            let found: Vec<_> = ledger.list(&query).unwrap().orders.iter().map(|order| order.id).collect();
            assert_eq!(found, [id(number)]);
        }
        ledger.close().await;
        assert_eq!(verified(folder.path()).findings, Vec::<String>::new());
    }
}

/// The whole way: bought, paid, the PDF in the mail and the same bytes at the order's page.
#[tokio::test(flavor = "multi_thread")]
async fn the_mailed_receipt_is_the_one_of_the_order_s_page() {
    let app = TestApp::with(&[
        ("AUDITSHIELD_MAIL__ATTACH_RECEIPT", "true"),
        ("AUDITSHIELD_MERCHANT__NAME", "Boutique d’Élodie"),
    ])
    .await;
    let order = app.buy().await;
    app.cinetpay.approve(&order).unwrap();
    app.until(&order, "DELIVERED").await;
    let mail = app.mailbox.messages().remove(0);
    let text = mail.read().text.unwrap();
    let way = text.split_whitespace().find(|word| word.contains("/commande/lien/")).unwrap();
    let entered = app.client.get(way).send().await.unwrap();
    let cookie = entered.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let url = format!("{}/commande/{order}/recu.pdf", app.shop);
    let shown = app.client.get(url).header("cookie", cookie).send().await.unwrap();
    assert_eq!(shown.headers()["content-type"], "application/pdf");
    let shown = shown.bytes().await.unwrap();
    let raw = String::from_utf8(mail.raw.to_vec()).unwrap();
    let (_, part) = raw.split_once("Content-Type: application/pdf").unwrap();
    let packed: String =
        part.split_once("\r\n\r\n").unwrap().1.split("\r\n--").next().unwrap().split_whitespace().collect();
    let attached = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, packed).unwrap();
    assert_eq!(attached, shown);
}
