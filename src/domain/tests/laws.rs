//! The laws notice when they are broken; waits are what a second calculation gives.

use proptest::prelude::*;

use super::super::catalog::{Catalog, Product, Tier};
use super::super::event::Resend;
use super::super::payment::{FoldError, Link, Mail, Sale, Status};
use super::super::schedule::{
    LATE_LOOK_SECONDS, MAIL_SECONDS_MAX, POLL_SECONDS_MAX, RETRY_SECONDS_MAX, duplicate_gap, late_look, mail,
    poll, retry,
};
use super::*;

/// An order paid, delivered and downloaded once.
fn sold() -> Tale {
    let mut tale = Tale::at("PAID");
    tale.tell(&input("mailed"));
    tale.tell(&input("download"));
    tale
}

/// An order in REVIEW that a person approved.
fn approved() -> Tale {
    let mut tale = Tale::at("REVIEW");
    assert_eq!(tale.tell(&input("approve")), "PAID");
    tale
}

fn with_sale(payment: &mut Payment, change: impl FnOnce(&mut Sale)) {
    let (Status::Paid(sale) | Status::Refunded(sale)) = &mut payment.status else { panic!("not sold") };
    change(sale);
}

/// Repeats the event of this kind at the end.
fn again(history: &mut Vec<Event>, kind: &str) {
    let event = history.iter().find(|event| event.kind() == kind).expect(kind).clone();
    history.push(event);
}

/// Each way to break a law names that law, and that law alone.
#[test]
fn every_law_notices() {
    type Break = fn(&mut Payment, &mut Vec<Event>);
    type Case = (&'static str, fn() -> Tale, Break);
    let refunded = || {
        let mut tale = sold();
        tale.tell(&input("refund"));
        tale
    };
    let no_verdict: Break = |_, history| history.retain(|event| event.kind() != "CHECKED");
    let cases: [Case; 17] = [
        ("its first event is not CREATED", sold, |_, history| history.swap(0, 1)),
        ("CREATED more than once", sold, |_, history| again(history, "CREATED")),
        ("DELIVERED more than once", sold, |_, history| again(history, "DELIVERED")),
        ("REFUNDED more than once", refunded, |_, history| again(history, "REFUNDED")),
        ("PAID and its status disagree", sold, |payment, _| {
            payment.status = Status::Expired { check_at: None }
        }),
        (
            "DELIVERED without PAID",
            || Tale::at("PENDING"),
            |_, history| history.push(Event::Delivered { remind_at: None }),
        ),
        (
            "DOWNLOADED without PAID",
            || Tale::at("PENDING"),
            |_, history| history.push(Event::Downloaded { link: 1, number: 1 }),
        ),
        ("PAID without an accepted check or an approved review", sold, no_verdict),
        ("PAID without an accepted check or an approved review", sold, |_, history| {
            for event in history.iter_mut() {
                if let Event::Checked { verdict, .. } = event {
                    *verdict = "pending".to_owned();
                }
            }
        }),
        ("PAID without an accepted check or an approved review", sold, |_, history| {
            for event in history.iter_mut() {
                if let Event::Checked { attempt, .. } = event {
                    *attempt = attempt.next().unwrap();
                }
            }
        }),
        ("PAID without an accepted check or an approved review", approved, |_, history| {
            history.retain(|event| event.kind() != "REVIEW");
        }),
        ("PAID without an accepted check or an approved review", approved, |_, history| {
            let at = history.iter().position(|event| event.kind() == "REVIEW").unwrap();
            let review = history.remove(at);
            history.push(review);
        }),
        ("more downloads than its link allows", sold, |payment, _| {
            with_sale(payment, |sale| sale.link.downloads = 6)
        }),
        ("its mail is sent but it is not delivered", sold, |payment, _| {
            with_sale(payment, |sale| sale.delivered_at = None)
        }),
        ("refunded with a live link", refunded, |payment, _| {
            with_sale(payment, |sale| sale.link.revoked = false)
        }),
        // Not broken: what looks nearly the same and is sound.
        ("", sold, |payment, _| with_sale(payment, |sale| sale.link.downloads = 5)),
        ("", sold, |payment, _| {
            with_sale(payment, |sale| {
                sale.delivered_at = None;
                sale.mail = Mail::Owed { tries: 0, at: START };
            })
        }),
    ];
    for (law, tale, spoil) in cases {
        let tale = tale();
        let (mut payment, mut history) = (tale.payment.unwrap(), tale.history);
        assert_eq!(violations(&payment, &history), Vec::<String>::new());
        spoil(&mut payment, &mut history);
        let wanted: Vec<String> =
            if law.is_empty() { vec![] } else { vec![format!("{}: {law}", payment.id)] };
        assert_eq!(violations(&payment, &history), wanted, "{law}");
    }
    // A second PAID breaks two: it is one too many, and nothing accepted stands before it.
    let mut tale = sold();
    again(&mut tale.history, "PAID");
    let found = violations(tale.payment.as_ref().unwrap(), &tale.history).join("\n");
    assert!(
        found.contains("PAID more than once") && found.contains("PAID and its status disagree"),
        "{found}"
    );
    assert!(violations(tale.payment.as_ref().unwrap(), &[]).len() >= 3, "an empty history is no history");
}

/// Each way in which one commit can break a law names that law.
#[test]
fn every_law_notices_a_single_commit() {
    let check = |law: &str, before: &Tale, events: &[Event], after: &Payment| {
        let found = broken_by(before.payment.as_ref(), events, after);
        assert!(if law.is_empty() { found.is_empty() } else { found.contains(&law) }, "{law}: {found:?}");
    };
    let paid = sold();
    let all = paid.history.clone();
    let of = |kind: &str| all.iter().filter(|event| event.kind() == kind).cloned().collect::<Vec<_>>();
    let verdict = [of("CHECKED"), of("PAID")].concat();
    let after = paid.payment.as_ref().unwrap();
    let pending = Tale::at("PENDING");
    check("", &pending, &verdict, after);
    check("PAID without an accepted check or an approved review", &pending, &of("PAID"), after);
    check("PAID and its status disagree", &pending, &verdict, pending.payment.as_ref().unwrap());
    check("PAID and its status disagree", &pending, &[], after);
    check("PAID more than once", &paid, &verdict, after);
    check("DELIVERED more than once", &paid, &of("DELIVERED"), after);
    check("PAID and its status disagree", &paid, &[], pending.payment.as_ref().unwrap());
    check("CREATED is not the first event, and that alone", &paid, &of("CREATED"), after);
    check("CREATED is not the first event, and that alone", &Tale::new(), &verdict, after);
    let lonely = [Event::Delivered { remind_at: None }];
    check("DELIVERED or DOWNLOADED without PAID", &pending, &lonely, pending.payment.as_ref().unwrap());
    let changed = |change: fn(&mut Payment)| {
        let mut payment = after.clone();
        change(&mut payment);
        payment
    };
    let many = changed(|payment| with_sale(payment, |sale| sale.link.downloads = 6));
    check("more downloads than its link allows", &paid, &[], &many);
    let cheap = changed(|payment| payment.price = Money::price(20_000, payment.price.currency()).unwrap());
    check("the price changed", &paid, &[], &cheap);
    let mut refunded = sold();
    refunded.tell(&input("refund"));
    let mut live = refunded.payment.unwrap();
    with_sale(&mut live, |sale| sale.link.revoked = false);
    check("refunded with a live link", &paid, &[], &live);
}

/// An event where it cannot be is refused by name, and changes nothing that was there.
#[test]
fn events_out_of_place_are_refused() {
    let check = |status: &str, event: Event, want: FoldError| {
        let tale = Tale::at(status);
        let before = tale.payment.clone();
        assert_eq!(Payment::evolve(before.as_ref(), tale.id, &[event], tale.now), Err(want), "{status}");
    };
    let order = |status, kind| FoldError::Order { status, kind };
    let created = Tale::at("CREATED").history[0].clone();
    let paid = Tale::at("PAID").history.last().unwrap().clone();
    let failed = Tale::at("FAILED").history.last().unwrap().clone();
    let review = Tale::at("REVIEW").history.last().unwrap().clone();
    let opened = Tale::at("PENDING").history.last().unwrap().clone();
    check("-", Event::Delivered { remind_at: None }, FoldError::Birth);
    check("PENDING", created, FoldError::Birth);
    for (status, event, kind) in [
        ("PAID", paid.clone(), "PAID"),
        ("REFUNDED", paid, "PAID"),
        ("PAID", failed.clone(), "FAILED"),
        ("REFUNDED", failed, "FAILED"),
        ("PAID", review.clone(), "REVIEW"),
        ("REFUNDED", review, "REVIEW"),
        ("PENDING", opened, "INITIATED"),
        ("PAID", Event::Expired {}, "EXPIRED"),
        ("FAILED", Event::Expired {}, "EXPIRED"),
        ("PENDING", Event::Delivered { remind_at: None }, "DELIVERED"),
        ("REVIEW", Event::Resent { remind_at: None }, "RESENT"),
        ("REFUNDED", Event::Downloaded { link: 1, number: 1 }, "DOWNLOADED"),
        ("EXPIRED", Event::Refunded { by: Decision { by: "a".into(), note: String::new() } }, "REFUNDED"),
    ] {
        let status: &'static str = Tale::at(status).status();
        check(status, event, order(status, kind));
    }
    assert_eq!(Payment::evolve(None, OrderId::new(START, 1), &[], START), Err(FoldError::Birth));
    // A note without a resend belongs anywhere.
    let by = Decision { by: "admin".to_owned(), note: "seen".to_owned() };
    let tale = Tale::at("PENDING");
    let noted = [Event::Note { by, resend: None, buyer: None }];
    let after = Payment::evolve(tale.payment.as_ref(), tale.id, &noted, tale.now).unwrap();
    assert_eq!(after.version, tale.payment.unwrap().version + 1);
}

/// Which link a resent mail carries, and what its count and time become.
#[test]
fn links_are_renewed_where_they_ended() {
    let check = |revoked: bool, downloads: u32, late: bool, resend: u32, want: (u32, u32, bool)| {
        let mut tale = sold();
        let mut payment = tale.payment.take().unwrap();
        with_sale(&mut payment, |sale| {
            sale.link = Link { revoked, downloads, ..sale.link.clone() };
        });
        let at = if late { START.plus(Duration::from_secs(400 * 3600)) } else { START };
        let by = Decision { by: "admin".to_owned(), note: String::new() };
        let expires_at = at.plus(Duration::from_secs(60));
        let event = Event::Note {
            by,
            resend: Some(Resend { link: resend, expires_at, keeps_count: false }),
            buyer: None,
        };
        let after = Payment::evolve(Some(&payment), tale.id, &[event], at).unwrap();
        let sale = after.sale().unwrap();
        assert_eq!((sale.link.number, sale.link.downloads, sale.link.revoked), want);
        assert_eq!(sale.link.expires_at, expires_at);
        assert_eq!(sale.link.issued_at == at, resend != 1 || !late, "the same link keeps its time");
        assert_eq!(sale.mail, Mail::Owed { tries: 0, at });
        assert!(sale.delivered_at.is_some(), "it was delivered, whatever is sent again");
    };
    check(false, 2, false, 1, (1, 2, false));
    check(false, 5, false, 1, (1, 0, false));
    check(false, 2, true, 1, (1, 0, false));
    check(true, 3, false, 2, (2, 0, false));
    check(true, 3, true, 2, (2, 0, false));
}

/// The jitter by a second calculation, in wide integers.
fn naive(base: Duration, n: u32, seed: u64) -> Duration {
    let wrap = 1_u128 << 64;
    let spread = u128::from(n) * 0x9E37_79B9_7F4A_7C15 % wrap;
    let mixed = (u128::from(seed) ^ spread) * 0xBF58_476D_1CE4_E5B9 % wrap;
    let share = u32::try_from(mixed / (1 << 40) % (1 << 16)).unwrap();
    base + base.mul_f64(f64::from(share) / 65_535.0 / 10.0)
}

proptest! {
    #[test]
    fn waits_double_up_to_their_bound(n in prop_oneof![0_u32..40, any::<u32>()], seed in any::<u64>(), first in 1_u64..4_000_000) {
        let policy = Policy { first_poll: Duration::from_millis(first), ..Policy::default() };
        let doubled = |first: u64, max: u64| Duration::from_millis(
            u64::try_from((u128::from(first) << n.min(31)).min(u128::from(max) * 1000)).unwrap(),
        );
        prop_assert_eq!(poll(&policy, n, seed), naive(doubled(first, POLL_SECONDS_MAX), n, seed));
        prop_assert_eq!(retry(n, seed), naive(doubled(1000, RETRY_SECONDS_MAX), n, seed));
        prop_assert_eq!(mail(n, seed), naive(doubled(1000, MAIL_SECONDS_MAX), n, seed));
        let gap = Duration::from_secs((1_u64 << n.saturating_sub(1).min(31)).min(POLL_SECONDS_MAX));
        prop_assert_eq!(duplicate_gap(n), gap);
        let look = usize::try_from(n).ok().and_then(|n| LATE_LOOK_SECONDS.get(n)).map(|wait| Duration::from_secs(*wait));
        prop_assert_eq!(late_look(n), look);
    }
}

/// Orders of one minute come back spread over a tenth of the wait, not together.
#[test]
fn the_jitter_spreads() {
    let waits: std::collections::BTreeSet<Duration> = (0..1000).map(|seed| retry(9, seed << 24)).collect();
    let base = Duration::from_secs(512);
    assert!(waits.len() > 900, "{} different waits", waits.len());
    assert!(waits.first() < Some(&(base + base / 100)) && waits.last() > Some(&(base + base / 11)));
    assert!(waits.iter().all(|wait| (base..=base + base / 10).contains(wait)));
}

/// The times the documentation promises, in seconds.
#[test]
fn the_bounds_are_the_documented_ones() {
    assert_eq!((POLL_SECONDS_MAX, RETRY_SECONDS_MAX, MAIL_SECONDS_MAX), (21_600, 900, 1_800));
    assert_eq!(LATE_LOOK_SECONDS, [600, 3_600, 21_600, 86_400]);
    let policy = Policy::default();
    assert_eq!((policy.first_poll.as_secs(), policy.horizon.as_secs()), (30, 259_200));
    assert_eq!((policy.link_ttl.as_secs(), policy.max_downloads), (259_200, 5));
}

#[test]
fn a_product_is_found_by_both_names() {
    let price = Money::price(500, Currency::Xof).unwrap();
    let tier = |id: &str| Tier { id: id.to_owned(), name: id.to_owned(), price, file: id.into() };
    let product = |slug: &str, tiers: Vec<Tier>| Product {
        slug: slug.to_owned(),
        name: slug.to_owned(),
        description: String::new(),
        picture: None,
        tiers,
    };
    let catalog =
        Catalog { products: vec![product("a", vec![tier("x")]), product("b", vec![tier("y"), tier("x")])] };
    let found =
        |slug, tier| catalog.find(slug, tier).map(|(one, other)| (one.slug.as_str(), other.id.as_str()));
    for (slug, tier) in [("a", "x"), ("b", "x"), ("b", "y")] {
        assert_eq!(found(slug, tier), Some((slug, tier)));
    }
    for (slug, tier) in [("a", "y"), ("c", "x"), ("", ""), ("b", "")] {
        assert_eq!(found(slug, tier), None, "{slug} {tier}");
    }
}

/// An answer is overtaken by what it did not know, and by nothing else.
#[test]
fn an_answer_that_knew_every_notification_decides() {
    for (known, want) in [(0, "CHECKED"), (1, "CHECKED FAILED")] {
        let mut tale = Tale::at("PENDING");
        assert_eq!(tale.tell(&input("notify")), "NOTIFIED");
        let answers = vec![(Attempt::FIRST, verdict("refused"))];
        assert_eq!(tale.tell(&Input::Report(Report::Checked { answers, notices: known })), want, "{known}");
    }
}
