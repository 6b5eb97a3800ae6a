//! What the outside was told, and the verdict on it: the invariants that hold whatever struck the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::process_support::times;

/// Downloads that one link allows in a storm.
pub(crate) const DOWNLOADS_MAX: u64 = 3;

/// Everything that was answered, and may be relied on.
#[derive(Default)]
pub(crate) struct Answers {
    /// 201: the order, and the address that only this purchase gave.
    pub(crate) bought: BTreeMap<String, String>,
    /// The same, in the order in which they came.
    pub(crate) recent: Vec<String>,
    /// 200 to a genuine notification of a payment that CinetPay had accepted: which of them, for each order.
    pub(crate) notified: BTreeMap<String, BTreeSet<String>>,
    /// Transactions whose notification was answered when the machine had no power any more: no promise.
    pub(crate) notified_dark: BTreeSet<String>,
    /// Numbers of the mails that left a machine without power.
    pub(crate) mailed_dark: BTreeSet<u64>,
    /// 303: downloads started, for each order.
    pub(crate) started: BTreeMap<String, u64>,
    /// 200 to an act of the admin.
    pub(crate) refunded: BTreeSet<String>,
    /// 200 to an act of the admin.
    pub(crate) revoked: BTreeSet<String>,
    /// 200 to an act of the admin, for each order.
    pub(crate) resent: BTreeMap<String, usize>,
    /// Answers that must never be given.
    pub(crate) broken: Vec<String>,
    /// Requests without an answer in time.
    pub(crate) late: usize,
}

/// Shared by everybody in a storm.
#[derive(Default)]
pub(crate) struct Told(Mutex<Answers>);

impl Told {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that must never be.
    pub(crate) fn break_(&self, what: String) {
        println!("crash: VIOLATION: {what}");
        self.lock().broken.push(what);
    }
}

/// One mail: its Message-ID, its recipients, its whole text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) id: String,
    pub(crate) to: Vec<String>,
    pub(crate) raw: Vec<u8>,
    /// It left when the machine had no power any more: it says nothing of what the daemon does.
    pub(crate) dark: bool,
}

impl Letter {
    /// The order that its Message-ID names: `<order>.<link>@host`.
    pub(crate) fn order(&self) -> &str {
        self.id.trim_start_matches('<').split('.').next().unwrap_or_default()
    }
}

/// Paid and delivered; or a person's refund or withdrawal came first and left nothing to deliver.
pub(crate) fn is_settled(order: &Value) -> bool {
    let undone = times(order, "REFUNDED") + times(order, "REVOKED") > 0;
    times(order, "PAID") == 1 && (undone || times(order, "DELIVERED") == 1)
}

/// Every sentence of the contract that these orders and mails break, in words.
pub(crate) fn violations(
    answers: &Answers,
    orders: &BTreeMap<String, Value>,
    mails: &[Letter],
) -> Vec<String> {
    let mut broken = answers.broken.clone();
    let mut say = |broken_now: bool, what: String| {
        if broken_now {
            broken.push(what);
        }
    };
    for (order, email) in &answers.bought {
        let known = orders.get(order);
        say(known.is_none(), format!("{order}: answered 201 and lost"));
        say(known.is_some_and(|one| one["email"] != **email), format!("{order}: another buyer's address"));
    }
    for (order, notices) in &answers.notified {
        let done = orders.get(order).is_some_and(is_settled);
        let kept = orders.get(order).map_or(0, |one| times(one, "NOTIFIED"));
        let told = notices.len();
        say(kept < told, format!("{order}: {told} different notifications answered 200, {kept} there"));
        say(!done, format!("{order}: its notification was answered 200, and it is not delivered"));
    }
    let mut of_buyer: BTreeMap<&str, usize> = BTreeMap::new();
    for (order, one) in orders {
        *of_buyer.entry(one["email"].as_str().unwrap_or_default()).or_default() += 1;
        for kind in ["CREATED", "PAID", "DELIVERED"] {
            say(times(one, kind) > 1, format!("{order}: {kind} {} times", times(one, kind)));
        }
        let (counted, started) = (times(one, "DOWNLOADED") as u64, answers.started.get(order).copied());
        say(counted > DOWNLOADS_MAX, format!("{order}: {counted} downloads of {DOWNLOADS_MAX}"));
        say(
            started.unwrap_or(0) > counted,
            format!("{order}: {started:?} downloads answered 303, {counted} counted"),
        );
    }
    for (email, count) in of_buyer {
        say(count > 1, format!("one purchase of {email} made {count} orders"));
    }
    broken.extend(acts(answers, orders));
    broken.extend(mail(orders, mails));
    broken
}

/// What a person did and was told so.
fn acts(answers: &Answers, orders: &BTreeMap<String, Value>) -> Vec<String> {
    let lost = |order: &String, kind: &str, wanted: usize| {
        let found = orders.get(order).map_or(0, |one| times(one, kind));
        (found < wanted).then(|| format!("{order}: {wanted} × {kind} answered 200, {found} there"))
    };
    let refunds = answers.refunded.iter().filter_map(|order| lost(order, "REFUNDED", 1));
    let withdrawals = answers.revoked.iter().filter_map(|order| lost(order, "REVOKED", 1));
    let again = answers.resent.iter().filter_map(|(order, count)| lost(order, "NOTE", *count));
    refunds.chain(withdrawals).chain(again).collect()
}

/// A mail may go out twice when the blow fell between the server's yes and ours: then it is the same mail.
fn mail(orders: &BTreeMap<String, Value>, mails: &[Letter]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut first: BTreeMap<&str, &Letter> = BTreeMap::new();
    for letter in mails.iter().filter(|letter| !letter.dark) {
        let before = *first.entry(&letter.id).or_insert(letter);
        if before != letter {
            broken.push(format!("{}: two different mails of one Message-ID", letter.id));
        }
        if orders.get(letter.order()).is_none_or(|one| times(one, "PAID") == 0) {
            broken.push(format!("{}: a mail for an order that is not paid", letter.id));
        }
    }
    let mailed: BTreeSet<&str> = first.values().map(|letter| letter.order()).collect();
    if mailed.len() != first.len() {
        broken.push("an order got two different links although none was replaced".to_owned());
    }
    let mailed: BTreeSet<&str> = mails.iter().map(Letter::order).collect();
    for (order, one) in orders {
        if times(one, "DELIVERED") > 0 && !mailed.contains(order.as_str()) {
            broken.push(format!("{order}: DELIVERED, and no mail arrived"));
        }
    }
    broken
}

#[test]
fn every_violation_is_seen() {
    use serde_json::json;
    let letter = |order: &str, text: &str| Letter {
        id: format!("<{order}.1@x>"),
        to: vec!["a@x".to_owned()],
        raw: text.as_bytes().to_vec(),
        dark: text == "dark",
    };
    let order = |email: &str, kinds: &[&str]| {
        let events: Vec<Value> = kinds.iter().map(|kind| json!({"kind": kind})).collect();
        json!({"email": email, "events": events})
    };
    let whole = ["CREATED", "NOTIFIED", "PAID", "DELIVERED"];
    let check = |change: &dyn Fn(&mut Answers), kinds: &[&str], texts: &[&str], wanted: &str| {
        let mut answers = Answers::default();
        answers.bought.insert("A".to_owned(), "a@x".to_owned());
        answers.notified.insert("A".to_owned(), BTreeSet::from(["one".to_owned()]));
        change(&mut answers);
        let mut orders = BTreeMap::from([("A".to_owned(), order("a@x", kinds))]);
        if wanted.contains("made 2 orders") {
            orders.insert("B".to_owned(), order("a@x", &["CREATED"]));
        }
        let mails: Vec<Letter> = texts.iter().map(|text| letter("A", text)).collect();
        let found = violations(&answers, &orders, &mails);
        let seen =
            if wanted.is_empty() { found.is_empty() } else { found.iter().any(|one| one.contains(wanted)) };
        assert!(seen, "{wanted:?}: {found:?}");
    };
    let nothing = |_: &mut Answers| {};
    let add = |kind: &'static str| [&whole[..], &[kind]].concat();
    check(&nothing, &whole, &["m"], "");
    check(&nothing, &whole, &["m", "m"], "");
    check(&nothing, &whole, &["m", "n"], "two different mails");
    check(&nothing, &whole, &["dark", "n"], "");
    check(&nothing, &whole, &["dark"], "");
    check(&nothing, &whole, &[], "no mail arrived");
    check(&nothing, &["CREATED"], &[], "not delivered");
    check(&nothing, &["CREATED"], &["m"], "not paid");
    check(
        &nothing,
        &["CREATED", "PAID", "DELIVERED"],
        &["m"],
        "1 different notifications answered 200, 0 there",
    );
    check(&nothing, &add("PAID"), &["m"], "PAID 2 times");
    check(&nothing, &add("DELIVERED"), &["m"], "DELIVERED 2 times");
    check(&nothing, &[&whole[..], &["DOWNLOADED"; 4]].concat(), &["m"], "4 downloads of 3");
    check(
        &|told| drop(told.bought.insert("L".to_owned(), "l@x".to_owned())),
        &whole,
        &["m"],
        "answered 201 and lost",
    );
    check(
        &|told| {
            told.started.insert("A".to_owned(), 1);
        },
        &whole,
        &["m"],
        "0 counted",
    );
    check(
        &|told| {
            told.refunded.insert("A".to_owned());
        },
        &whole,
        &["m"],
        "REFUNDED answered 200",
    );
    check(
        &|told| {
            told.revoked.insert("A".to_owned());
        },
        &whole,
        &["m"],
        "REVOKED answered 200",
    );
    check(
        &|told| {
            told.resent.insert("A".to_owned(), 1);
        },
        &whole,
        &["m"],
        "NOTE answered 200",
    );
    check(&nothing, &whole, &["m"], "made 2 orders");
    check(&|told| told.broken.push("said".to_owned()), &whole, &["m"], "said");
}
