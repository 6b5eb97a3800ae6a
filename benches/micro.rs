//! The hot path's functions one by one: what a notification costs before and beside the disk.
//!
//! `cargo bench --bench micro`
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should panic")]

use std::time::Duration;

use auditshield::adapters::cinetpay::signature::{self, Verifier};
use auditshield::adapters::token::Links;
use auditshield::domain::decide::decide;
use auditshield::domain::event::Event;
use auditshield::domain::input::{Input, Notice};
use auditshield::domain::payment::Payment;
use auditshield::domain::schedule::Policy;
use auditshield::domain::values::{
    Attempt, Buyer, Currency, Email, Lang, Money, OrderId, Timestamp, TransactionId,
};
use auditshield::ledger::journal::line;
use auditshield::ledger::seal::{Chance, Key, Place};
use divan::{Bencher, black_box};

#[path = "daemon/notices.rs"]
#[allow(dead_code, reason = "the end-to-end benchmark needs its other credentials too")]
mod notices;

const ORDER: &str = "01JADV3K9QZJ4T6W8X0Y2A4C6E";
const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

fn main() {
    divan::main();
}

/// An order whose page is open.
fn pending() -> Payment {
    let email = Email::parse("adjoua.kouame@example.ci").unwrap();
    let buyer = Buyer { email, name: None, phone: None, lang: Lang::Fr };
    let created = Event::Created {
        product: "audit-kit".to_owned(),
        tier: "standard".to_owned(),
        price: Money::price(15_000, Currency::Xof).unwrap(),
        buyer,
        request: None,
    };
    let opened = Event::Initiated {
        attempt: Attempt::FIRST,
        payment_url: format!("https://checkout.example/payment/{ORDER}"),
        payment_token: ORDER.to_owned(),
        check_at: NOW.plus(Duration::from_secs(3600)),
    };
    Payment::evolve(None, OrderId::parse(ORDER).unwrap(), &[created, opened], NOW).unwrap()
}

fn notify() -> Input {
    Input::Notify(Notice { attempt: Attempt::FIRST, digest: [7; 32] })
}

/// Form and HMAC: all that stands between a request and its order.
#[divan::bench]
fn signature_verify(bencher: Bencher<'_, '_>) {
    let (form, token) = notices::notice(ORDER);
    let verifier = Verifier::new([notices::WEBHOOK_SECRET]);
    bencher.bench(|| verifier.verify(black_box(form.as_bytes()), Some(token.as_bytes())).unwrap().digest());
}

/// The same without a secret: form and token are read, nothing is hashed, and the answer is no.
#[divan::bench]
fn form_parse(bencher: Bencher<'_, '_>) {
    let (form, token) = notices::notice(ORDER);
    let verifier = Verifier::new([""]);
    bencher.bench(|| verifier.verify(black_box(form.as_bytes()), Some(token.as_bytes())).unwrap_err());
}

#[divan::bench]
fn transaction_id_parse() -> TransactionId {
    TransactionId::parse(black_box(ORDER)).unwrap()
}

#[divan::bench]
fn decide_notification(bencher: Bencher<'_, '_>) {
    let (policy, payment, input) = (Policy::default(), pending(), notify());
    bencher.bench(|| decide(&policy, Some(black_box(&payment)), &input, NOW));
}

/// The copy with the new state that is committed.
#[divan::bench]
fn evolve_notification(bencher: Bencher<'_, '_>) {
    let (policy, payment) = (Policy::default(), pending());
    let events = decide(&policy, Some(&payment), &notify(), NOW).unwrap();
    bencher.bench(|| Payment::evolve(Some(black_box(&payment)), payment.id, &events, NOW));
}

#[divan::bench]
fn event_to_json(bencher: Bencher<'_, '_>) {
    let event = decide(&Policy::default(), Some(&pending()), &notify(), NOW).unwrap().remove(0);
    bencher.bench(|| serde_json::to_vec(black_box(&event)).unwrap());
}

/// Frame and hash of one line, the body given.
#[divan::bench]
fn journal_line_encode(bencher: Bencher<'_, '_>) {
    let event = decide(&Policy::default(), Some(&pending()), &notify(), NOW).unwrap().remove(0);
    let event = serde_json::to_string(&event).unwrap();
    let body = format!(
        "\"at\":\"2026-11-25T17:00:00.000Z\",\"order\":\"{ORDER}\",\"version\":3,\"events\":[{event}]"
    );
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        line::encode(&mut out, 1_234_567, &line::GENESIS, 1_234_560, black_box(body.as_bytes()))
    });
}

/// The personal part of a purchase, as JSON.
const BUYER: &[u8] =
    br#"[{"buyer":{"email":"adjoua.kouame@example.ci","name":"Adjoua Kouame","phone":"0505123456","lang":"fr"}}]"#;

fn place() -> Place {
    Place::Line(OrderId::parse(ORDER).unwrap(), 1)
}

/// What a purchase pays for sealing, twice: its line and its snapshot. A notification pays none.
#[divan::bench]
fn seal_buyer(bencher: Bencher<'_, '_>) {
    let key = Key::new(&Chance::System).unwrap();
    bencher.bench(|| key.seal(&Chance::System, place(), black_box(BUYER)).unwrap());
}

/// What reading an order from the index pays, once.
#[divan::bench]
fn unseal_buyer(bencher: Bencher<'_, '_>) {
    let key = Key::new(&Chance::System).unwrap();
    let sealed = key.seal(&Chance::System, place(), BUYER).unwrap();
    bencher.bench(|| key.open(place(), black_box(&sealed)).unwrap());
}

#[divan::bench]
fn token_make(bencher: Bencher<'_, '_>) {
    let links = Links::new("a-secret-key-0123456789", []);
    bencher.bench(|| links.download_token(black_box(ORDER), 1, 1_764_000_000));
}

#[divan::bench]
fn token_verify(bencher: Bencher<'_, '_>) {
    let links = Links::new("a-secret-key-0123456789", []);
    let token = links.download_token(ORDER, 1, 1_764_000_000);
    bencher.bench(|| links.read_download(black_box(&token), 1_764_000_001).unwrap());
}

/// What signing costs the load generator's preparation; never during a measurement.
#[divan::bench]
fn signature_make() -> String {
    signature::sign(notices::WEBHOOK_SECRET.as_bytes(), &[black_box(ORDER.as_bytes())])
}
