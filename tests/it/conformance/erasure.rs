//! What is personal: found by its address, opened for whoever reads, and gone for good once it was erased, whatever the
//! ledger is made of.

use auditshield::domain::event::{Decision, Event};
use auditshield::domain::payment::Payment;
use auditshield::domain::values::{Attempt, Buyer, Claimed, ERASED, Email, Lang, Name, OrderId};
use auditshield::ledger::{Ledger, Query};

use super::each;
use crate::ledger::{at, checked, commit, created, fill, id, initiated, paid};

const REASON: &str = "mistyped, she said on the telephone";
const CORRECTED: &str = "Adjoua@example.ci";

fn by(note: &str) -> Decision {
    Decision { by: "Awa".into(), note: note.into() }
}

fn note(text: &str) -> Event {
    Event::Note { by: by(text), resend: None, buyer: None }
}

fn address(text: &str) -> Email {
    Email::parse(text).unwrap()
}

fn erased() -> Event {
    Event::Erased { by: "admin".into() }
}

/// The address of order 9 is another one from now on.
fn correction() -> Event {
    let buyer =
        Buyer { email: address(CORRECTED), name: Name::parse("Adjoua").ok(), phone: None, lang: Lang::Fr };
    Event::Note { by: by(REASON), resend: None, buyer: Some(buyer) }
}

fn listed(ledger: &Ledger, q: &str) -> Vec<OrderId> {
    let query = Query { q: Some(q.into()), limit: 20, ..Query::default() };
    ledger.list(&query).unwrap().orders.iter().map(|order| order.id).collect()
}

fn load(ledger: &Ledger, number: i64) -> Payment {
    ledger.load(id(number)).unwrap().unwrap()
}

/// The reasons that people gave, as the order's history tells them.
fn reasons(ledger: &Ledger, number: i64) -> Vec<String> {
    let events = ledger.history(id(number)).unwrap().into_iter().flat_map(|line| line.events);
    let reason = |event| match event {
        Event::Note { by, .. } | Event::Paid { approved: Some(by), .. } => Some(by.note),
        _ => None,
    };
    events.filter_map(reason).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_found_by_the_address_that_it_has_and_mentioned_under_every_one_it_had() {
    each(|place| async move {
        let ledger = place.open();
        fill(&ledger).await;
        assert_eq!(listed(&ledger, "bUYER9@EXAMPLE.ci"), [id(9)]);
        commit(&ledger, 9, &[correction()]).await;
        ledger.close().await;
        let ledger = place.open();
        assert_eq!(listed(&ledger, "buyer9@example.ci"), []);
        assert_eq!(listed(&ledger, "ADJOUA@example.ci"), [id(9)]);
        for (known, orders) in [
            ("bUYER9@example.CI", vec![id(9)]),
            (CORRECTED, vec![id(9)]),
            ("buyer3@example.ci", vec![id(3)]),
            ("nobody@example.ci", vec![]),
        ] {
            assert_eq!(ledger.mentions(&address(known)).unwrap(), orders, "{known}");
        }
        assert_eq!(load(&ledger, 9).buyer.name.as_ref().map(Name::expose), Some("Adjoua"));
        assert_eq!(reasons(&ledger, 9), [REASON]);
        ledger.close().await;
    })
    .await;
}

/// What an erased order is: everything but its buyer.
fn check_erased(ledger: &Ledger, was: &Payment) {
    let now = load(ledger, 9);
    assert!(now.buyer.is_erased() && now.erased_at == Some(at(9)), "{now:?}");
    assert_eq!((now.status_name(), now.price, now.version), ("PAID", was.price, was.version + 1));
    assert!(now.sale().unwrap().link.revoked);
    assert_eq!(ledger.receipt(id(9)).unwrap().unwrap().to_string(), "2023-000001");
    for gone in [CORRECTED, "buyer9@example.ci", now.buyer.email.expose()] {
        assert_eq!(listed(ledger, gone), [], "{gone}");
    }
    for gone in [CORRECTED, "buyer9@example.ci"] {
        assert_eq!(ledger.mentions(&address(gone)).unwrap(), [], "{gone}");
    }
    for known in ["2023-000001", "MP9", &id(9).to_string()] {
        assert_eq!(listed(ledger, known), [id(9)], "{known}");
    }
    assert_eq!(listed(ledger, "buyer8@example.ci"), [id(8)], "somebody else");
    assert!(!load(ledger, 8).buyer.is_erased());
    assert_eq!(reasons(ledger, 9), [ERASED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_order_is_as_before_but_for_its_buyer() {
    each(|place| async move {
        let ledger = place.open();
        fill(&ledger).await;
        commit(&ledger, 9, &[correction()]).await;
        let (was, lines) = (load(&ledger, 9), ledger.evidence(id(9)).unwrap());
        commit(&ledger, 9, &[erased()]).await;
        check_erased(&ledger, &was);
        let after = ledger.evidence(id(9)).unwrap();
        assert_eq!(after.len(), lines.len() + 1);
        for (line, same) in lines.iter().zip(&after) {
            assert_eq!((&line.text, &line.hash), (&same.text, &same.hash), "no line changes");
        }
        ledger.close().await;
        let ledger = place.open();
        check_erased(&ledger, &was);
        ledger.close().await;
        place.verify(|report| {
            assert!(report.is_sound(), "{report:?}");
            assert_eq!((report.erased, report.given_up), (1, 0), "{report:?}");
        });
    })
    .await;
}

/// A reason that somebody types after an erasure is sealed with a key of its own, which the next erasure destroys.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_after_an_erasure_is_sealed_anew() {
    each(|place| async move {
        let ledger = place.open();
        commit(&ledger, 1, &[created(1)]).await;
        commit(&ledger, 1, &[note("first"), Event::Expired {}]).await;
        commit(&ledger, 1, &[erased()]).await;
        for round in ["second", "third"] {
            commit(&ledger, 1, &[note(round)]).await;
            assert_eq!(reasons(&ledger, 1).last().unwrap(), round);
        }
        ledger.close().await;
        let ledger = place.open();
        assert_eq!(reasons(&ledger, 1), [ERASED, "second", "third"]);
        assert!(load(&ledger, 1).buyer.is_erased());
        commit(&ledger, 1, &[erased()]).await;
        assert_eq!(reasons(&ledger, 1), [ERASED; 3]);
        ledger.close().await;
        let ledger = place.open();
        assert_eq!(reasons(&ledger, 1), [ERASED; 3]);
        ledger.close().await;
        place.verify(|report| assert!(report.is_sound() && report.erased == 1, "{report:?}"));
    })
    .await;
}

/// A review that a person approves: with a reason, with none, after an erasure. Each is a payment, has its receipt's number,
/// and what is personal of it is what it should be.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_a_person_approved_keeps_what_was_said_and_no_more() {
    each(|place| async move {
        let ledger = place.open();
        for (number, reason, erase) in
            [(1, "paid the rest in cash", false), (2, "", false), (3, "cash", true)]
        {
            for events in [vec![created(number)], vec![initiated(number)], vec![checked(), review()]] {
                commit(&ledger, number, &events).await;
            }
            if erase {
                commit(&ledger, number, &[erased()]).await;
            }
            let mut paid = paid(number);
            if let Event::Paid { approved, .. } = &mut paid {
                *approved = Some(by(reason));
            }
            commit(&ledger, number, &[paid]).await;
        }
        ledger.close().await;
        let ledger = place.open();
        for (number, reason) in [(1, "paid the rest in cash"), (2, ""), (3, "cash")] {
            assert_eq!(reasons(&ledger, number), [reason]);
            let order = load(&ledger, number);
            assert_eq!(order.buyer.is_erased(), number == 3);
            // An order that was erased says nothing more of itself: only its history does.
            let said = if number == 3 { ERASED } else { reason };
            assert_eq!(order.sale().unwrap().approved.as_ref().unwrap().note, said);
            assert_eq!(ledger.receipt(id(number)).unwrap().unwrap().place, number.cast_unsigned());
        }
        commit(&ledger, 3, &[erased()]).await;
        ledger.close().await;
        let ledger = place.open();
        assert_eq!(reasons(&ledger, 3), [ERASED]);
        ledger.close().await;
        place.verify(|report| assert!(report.is_sound() && report.erased == 1, "{report:?}"));
    })
    .await;
}

fn review() -> Event {
    let claimed = Claimed::read(Some("14000"), Some("XOF"));
    Event::Review { attempt: Attempt::FIRST, claimed, provider_tx_id: None, payment_method: None }
}
