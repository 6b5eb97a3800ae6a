//! What every ledger promises, whatever it is made of: one set of tests, run against each kind of store.

mod erasure;
pub(crate) mod place;

use std::collections::BTreeSet;

use auditshield::domain::calendar::{Period, Zone};
use auditshield::domain::event::{Decision, Event, Resend};
use auditshield::domain::payment::Payment;
use auditshield::domain::values::{Attempt, OrderId, Timestamp};
use auditshield::ledger::{CommitError, Ledger, Query, Sales};
use sha2::{Digest, Sha256};

use crate::ledger::{NOON, at, check_due, check_found, checked, commit, created, fill, id, initiated, paid};
use place::{Place, places};

/// How long after its time another node sees what is due, in seconds.
const OTHERS_LATE: i64 = 2;

/// How late, in seconds, a ledger that was opened again shows what the former one committed.
fn lateness(ledger: &Ledger) -> i64 {
    if ledger.is_shared() { OTHERS_LATE } else { 0 }
}

async fn each<F: Future<Output = ()>>(test: impl Fn(Place) -> F) {
    for place in places().await {
        println!("on {place}");
        test(place).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_read_back_and_so_it_is_after_a_restart() {
    each(|place| async move {
        let ledger = place.open();
        fill(&ledger).await;
        check_found(&ledger);
        check_due(&ledger, 0);
        assert!(ledger.probe().await.is_ok() && ledger.health().can_commit);
        ledger.close().await;
        for _ in 0..2 {
            let ledger = place.open();
            check_found(&ledger);
            check_due(&ledger, lateness(&ledger));
            ledger.close().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_names_the_newest_version_or_is_refused() {
    each(|place| async move {
        let ledger = place.open();
        commit(&ledger, 1, &[created(1)]).await;
        let stale = ledger.standing(id(1)).unwrap();
        commit(&ledger, 1, &[initiated(1)]).await;
        let before = ledger.history(id(1)).unwrap();
        for (base, events) in [(None, vec![created(1)]), (stale.as_ref(), vec![initiated(1)])] {
            let again = ledger.commit(id(1), base, &events, at(1)).await;
            assert!(matches!(again, Err(CommitError::Conflict)), "{again:?}");
        }
        let newest = ledger.standing(id(1)).unwrap();
        let nothing = ledger.commit(id(1), newest.as_ref(), &[], at(1)).await;
        assert!(matches!(nothing, Err(CommitError::Conflict)), "{nothing:?}");
        let unfit = ledger.commit(id(1), newest.as_ref(), &[created(1)], at(1)).await;
        assert!(matches!(unfit, Err(CommitError::Fold(_))), "{unfit:?}");
        let unborn = ledger.commit(id(2), None, &[initiated(2)], at(2)).await;
        assert!(matches!(unborn, Err(CommitError::Fold(_))), "{unborn:?}");
        assert_eq!(ledger.history(id(1)).unwrap(), before, "a refusal leaves nothing behind");
        assert_eq!(ledger.standing(id(1)).unwrap(), newest);
        assert_eq!(ledger.standing(id(2)).unwrap(), None);
        ledger.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_continue_one_version_one_succeeds() {
    each(|place| async move {
        let ledger = place.open();
        commit(&ledger, 1, &[created(1)]).await;
        for round in 0..10 {
            let base = ledger.standing(id(1)).unwrap();
            let mut tasks = tokio::task::JoinSet::new();
            for writer in 0..8 {
                let (ledger, base) = (ledger.clone(), base.clone());
                let by = Decision { by: format!("{round}/{writer}"), note: String::new() };
                let note = Event::Note { by, resend: None, buyer: None };
                tasks.spawn(async move { ledger.commit(id(1), base.as_ref(), &[note], at(2)).await });
            }
            let outcomes = tasks.join_all().await;
            let refused = |outcome: &&Result<_, CommitError>| matches!(outcome, Err(CommitError::Conflict));
            assert_eq!(outcomes.iter().filter(refused).count(), 7, "round {round}: {outcomes:?}");
            let won = outcomes.into_iter().find_map(Result::ok);
            assert_eq!(ledger.standing(id(1)).unwrap(), won, "round {round}");
        }
        let versions: Vec<u32> = ledger.history(id(1)).unwrap().iter().map(|line| line.version).collect();
        assert_eq!(versions, (1..=11).collect::<Vec<_>>(), "no gap");
        ledger.close().await;
    })
    .await;
}

/// The first moment of the year after [`NOON`]'s.
const NEXT_YEAR: i64 = (1_704_067_200_000 - NOON.millis()) / 1000;

#[tokio::test(flavor = "multi_thread")]
async fn receipts_are_numbered_without_gaps_whoever_is_first() {
    each(|place| async move {
        let ledger = place.open();
        let numbers: Vec<i64> = (0..30).chain((0..10).map(|n| NEXT_YEAR + n)).collect();
        let mut tasks = tokio::task::JoinSet::new();
        for number in numbers.clone() {
            let ledger = ledger.clone();
            tasks.spawn(async move {
                commit(&ledger, number, &[created(number)]).await;
                let stale = ledger.standing(id(number)).unwrap();
                assert_eq!(ledger.receipt(id(number)).unwrap(), None);
                commit(&ledger, number, &[checked(), paid(number)]).await;
                // A payment that is refused uses up no number.
                let events = [checked(), paid(number)];
                let again = ledger.commit(id(number), stale.as_ref(), &events, at(number)).await;
                assert!(matches!(again, Err(CommitError::Conflict)), "{again:?}");
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        let receipts = |ledger: &Ledger| -> BTreeSet<(i16, u64)> {
            let number = |number: &i64| ledger.receipt(id(*number)).unwrap().map(|r| (r.year, r.place));
            numbers.iter().filter_map(number).collect()
        };
        let given = receipts(&ledger);
        let all: BTreeSet<_> = (1..=30).map(|n| (2023, n)).chain((1..=10).map(|n| (2024, n))).collect();
        assert_eq!(given, all);
        let one = ledger.receipt(id(3)).unwrap();
        commit(&ledger, 3, &[Event::Delivered { remind_at: None }]).await;
        assert_eq!(ledger.receipt(id(3)).unwrap(), one, "a number stays");
        let day = Zone::UTC.day(NOON);
        let period = Period { first: day, last: day, zone: Zone::UTC };
        let expected =
            Sales { day, currency: auditshield::domain::values::Currency::Xof, orders: 30, amount: 450_000 };
        assert_eq!(ledger.sales(period), [expected]);
        ledger.close().await;
        let ledger = place.open();
        assert_eq!(receipts(&ledger), all);
        ledger.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_owed_is_no_longer_due() {
    each(|place| async move {
        let ledger = place.open();
        for events in [vec![created(1)], vec![initiated(1)], vec![checked(), paid(1)]] {
            let payment = commit(&ledger, 1, &events).await;
            let due = ledger.due(at(1_000_000), 10).unwrap();
            let moment = auditshield::domain::payment::due_at(&payment).unwrap();
            assert_eq!(due, [(moment, id(1))]);
            assert_eq!(ledger.due(moment, 10).unwrap(), due, "due at its very moment");
            assert_eq!(ledger.due(Timestamp::from_millis(moment.millis() - 1), 10).unwrap(), []);
        }
        commit(&ledger, 1, &[Event::Delivered { remind_at: None }]).await;
        assert_eq!(ledger.due(at(1_000_000), 10).unwrap(), []);
        ledger.close().await;
        let ledger = place.open();
        assert_eq!(ledger.due(at(1_000_000), 10).unwrap(), []);
        ledger.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_refused_for_good_is_listed_until_it_is_sent_again() {
    each(|place| async move {
        let ledger = place.open();
        fill(&ledger).await;
        commit(&ledger, 9, &[Event::MailFailed { reason: "550".into(), next_at: None }]).await;
        let stalled = |ledger: &Ledger| {
            let page = ledger.list(&Query { stalled: true, limit: 5, ..Query::default() }).unwrap();
            (ledger.stalled(), page.orders.iter().map(|order| order.id).collect::<Vec<_>>())
        };
        assert_eq!(stalled(&ledger), (1, vec![id(9)]));
        ledger.close().await;
        let ledger = place.open();
        assert_eq!(stalled(&ledger), (1, vec![id(9)]));
        let resend = Resend { link: 1, expires_at: at(2000), keeps_count: false };
        let by = Decision { by: "Awa".into(), note: String::new() };
        commit(&ledger, 9, &[Event::Note { by, resend: Some(resend), buyer: None }]).await;
        assert_eq!(stalled(&ledger), (0, vec![]));
        ledger.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_never_repeats_or_skips_an_order_that_was_there() {
    each(|place| async move {
        let ledger = place.open();
        for number in 0..25 {
            commit(&ledger, number, &[created(number)]).await;
        }
        let (mut seen, mut cursor, mut newcomer) = (Vec::new(), None, 100);
        loop {
            let page = ledger.list(&Query { limit: 4, cursor, ..Query::default() }).unwrap();
            seen.extend(page.orders.iter().map(|order| order.id));
            // Orders come and change between two pages.
            commit(&ledger, newcomer, &[created(newcomer)]).await;
            commit(&ledger, 24 - newcomer % 25, &[initiated(24)]).await;
            newcomer += 1;
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        let all: Vec<OrderId> = (0..25).rev().map(id).collect();
        assert_eq!(seen, all);
        ledger.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_a_chain_that_anyone_can_check() {
    each(|place| async move {
        let ledger = place.open();
        fill(&ledger).await;
        let (history, evidence) = (ledger.history(id(9)).unwrap(), ledger.evidence(id(9)).unwrap());
        assert_eq!(history.len(), evidence.len());
        let mut payment: Option<Payment> = None;
        let mut last = 0;
        for (line, entry) in history.iter().zip(&evidence) {
            assert_eq!(
                (line.seq, line.at, line.version, &line.events),
                (entry.seq, entry.at, entry.version, &entry.events)
            );
            assert!(line.seq > last, "seqs grow");
            last = line.seq;
            let (covered, rest) = entry.text.rsplit_once(",\"hash\":\"").expect("a hash");
            assert_eq!(hex::encode(Sha256::digest(covered)), entry.hash);
            assert_eq!(rest, format!("{}\"}}", entry.hash));
            assert!(
                entry.text.starts_with(&format!("{{\"seq\":{},\"prev\":\"", entry.seq)),
                "{}",
                entry.text
            );
            payment = Some(Payment::evolve(payment.as_ref(), id(9), &line.events, line.at).unwrap());
        }
        assert_eq!(payment, ledger.load(id(9)).unwrap());
        assert!(ledger.history(id(77)).unwrap().is_empty() && ledger.evidence(id(77)).unwrap().is_empty());
        ledger.close().await;
    })
    .await;
}

/// A key stands for its order; once that cannot be paid any more, for the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_stands_for_one_order_at_a_time() {
    each(|place| async move {
        let ledger = place.open();
        let key = format!("{:064x}", 1);
        commit(&ledger, 1, &[created(1)]).await;
        assert_eq!(ledger.find_key(&key, at(2)).unwrap(), Some((id(1), "f".into())));
        if ledger.is_shared() {
            let second = ledger.commit(id(500), None, &[created(1)], at(2)).await;
            assert!(matches!(second, Err(CommitError::Conflict)), "{second:?}");
            assert_eq!(ledger.load(id(500)).unwrap(), None);
        }
        commit(&ledger, 1, &[Event::Expired {}]).await;
        assert!(ledger.load(id(1)).unwrap().unwrap().is_spent());
        let mut next = created(1);
        if let Event::Created { product, .. } = &mut next {
            "another".clone_into(product);
        }
        ledger.commit(id(501), None, &[next], at(3)).await.unwrap();
        assert_eq!(ledger.find_key(&key, at(4)).unwrap(), Some((id(501), "f".into())));
        assert_eq!(ledger.find_key(&key, at(3 + 24 * 3600)).unwrap(), None);
        ledger.close().await;
        let ledger = place.open();
        assert_eq!(ledger.find_key(&key, at(4)).unwrap(), Some((id(501), "f".into())));
        assert_eq!(ledger.find_key(&format!("{:064x}", 2), at(4)).unwrap(), None);
        ledger.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_ledger_takes_nothing_and_closing_twice_is_once() {
    each(|place| async move {
        let ledger = place.open();
        commit(&ledger, 1, &[created(1)]).await;
        let base = ledger.standing(id(1)).unwrap();
        ledger.close().await;
        ledger.close().await;
        let late = ledger.commit(id(1), base.as_ref(), &[initiated(1)], at(1)).await;
        assert!(matches!(late, Err(CommitError::Closed)), "{late:?}");
        assert!(matches!(ledger.probe().await, Err(CommitError::Closed)));
        assert!(!ledger.health().can_commit);
        let ledger = place.open();
        assert_eq!(ledger.standing(id(1)).unwrap().unwrap().payment().version, 1);
        ledger.close().await;
    })
    .await;
}

/// A second attempt of a page: something that only a store that folds faithfully gets right.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_commit_returns_is_what_a_restart_reads() {
    each(|place| async move {
        let ledger = place.open();
        let mut last = None;
        let second = Attempt::FIRST.next().unwrap();
        let refused = Event::Failed {
            attempt: Attempt::FIRST,
            code: "627".into(),
            check_at: Some(at(90)),
            rejected: None,
        };
        let page = Event::Initiated {
            attempt: second,
            payment_url: "https://pay.example/2".into(),
            payment_token: "token 2".into(),
            check_at: at(40),
        };
        for events in [vec![created(1)], vec![initiated(1)], vec![checked(), refused], vec![page]] {
            last = Some(ledger.commit(id(1), last.as_ref(), &events, at(5)).await.unwrap());
        }
        assert_eq!(ledger.standing(id(1)).unwrap(), last);
        ledger.close().await;
        let ledger = place.open();
        let read = ledger.standing(id(1)).unwrap().unwrap();
        assert_eq!(read.payment(), last.unwrap().payment());
        commit(&ledger, 1, &[Event::Expired {}]).await;
        ledger.close().await;
    })
    .await;
}
