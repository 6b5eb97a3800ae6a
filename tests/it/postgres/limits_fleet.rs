//! Three daemons and their limits: what the mail server and CinetPay see of all of them together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::fleet::Fleet;
use super::{Database, is_asked_for};
use crate::process_support::{PATIENCE, World};

/// The hour of the test: the daemons' arithmetic is that of the real one, but for this number.
const HOUR: Duration = Duration::from_secs(10);
/// Mails in that hour.
const MAILS: usize = 32;
/// Sold at one time: more than an hour's mails.
const SALES: usize = 48;
/// Longer than a lease of these nodes.
const PAUSE: Duration = Duration::from_secs(11);
/// Calls per second of all nodes.
const CALLS: usize = 20;
/// Buyers at one time: two calls for each, far more than two seconds' worth.
const BUYERS: usize = 90;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// How many there were at each look. What was counted between two looks came between them: spans are never made too short.
#[derive(Default)]
struct Seen(Vec<(Instant, usize)>);

impl Seen {
    fn look(&mut self, count: usize) {
        self.0.push((Instant::now(), count));
    }

    /// The worst of the spans that are no longer than `span`, by what `law` allows in each: by how many it is broken.
    fn beyond(&self, span: Duration, law: impl Fn(Duration) -> usize) -> Option<(usize, Duration)> {
        let mut worst = None;
        for (place, (from, before)) in self.0.iter().enumerate() {
            for (to, after) in self.0[place..].iter().take_while(|(to, _)| *to - *from <= span) {
                let beyond = (after - before).saturating_sub(law(*to - *from));
                if beyond > worst.map_or(0, |(most, _)| most) {
                    worst = Some((beyond, *to - *from));
                }
            }
        }
        worst
    }

    /// The most in any span of this length.
    fn most(&self, span: Duration) -> usize {
        self.beyond(span, |_| 0).map_or(0, |(most, _)| most)
    }
}

/// Buys at every node at once: the orders.
async fn bought(fleet: &Fleet, count: usize) -> Vec<String> {
    let mut buyers = JoinSet::new();
    for number in 0..count {
        let node = &fleet.nodes[number % fleet.nodes.len()];
        let (client, url) = (node.client.clone(), format!("{}/buy/audit-kit/standard/", node.shop));
        buyers.spawn(buyer(client, url, number));
    }
    buyers.join_all().await
}

/// Sends the purchase, under one key, until it is taken: the order.
async fn buyer(client: reqwest::Client, url: String, number: usize) -> String {
    let body = serde_json::json!({"email": format!("buyer{number}@example.ci")});
    let begun = Instant::now();
    loop {
        let request = client.post(&url).header("accept", "application/json").json(&body);
        let answer = request.header("idempotency-key", format!("buyer{number}")).send().await.unwrap();
        let (status, body) = (answer.status(), answer.json::<serde_json::Value>().await.unwrap());
        if status == reqwest::StatusCode::CREATED {
            return body["order_id"].as_str().unwrap().to_owned();
        }
        assert!(begun.elapsed() < 2 * PATIENCE, "{body}");
        tokio::time::sleep(LOOK).await;
    }
}

/// CinetPay accepts all of them, and tells one node or another.
async fn paid(fleet: &Fleet, orders: &[String]) {
    for order in orders {
        fleet.outside.cinetpay.approve(order).unwrap();
    }
    for (number, order) in orders.iter().enumerate() {
        let node: &World = &fleet.nodes[number % fleet.nodes.len()];
        assert_eq!(node.notify(order).await.as_u16(), 200, "{order}");
    }
}

/// Looks at the mailbox until every buyer has a mail.
async fn mailed(outside: Arc<World>, buyers: usize) -> Seen {
    let (mut seen, mut to, mut last, mut count) = (Seen::default(), BTreeSet::new(), 0, 0);
    let mut moved = Instant::now();
    while to.len() < buyers {
        for mail in outside.mailbox.messages_after(last) {
            (last, count, moved) = (mail.number, count + 1, Instant::now());
            to.extend(mail.to);
        }
        seen.look(count);
        assert!(moved.elapsed() < 2 * PATIENCE, "only {} of {buyers} have a mail", to.len());
        tokio::time::sleep(LOOK).await;
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hour_of_three_nodes_has_more_mails_than_the_cap() {
    if !is_asked_for() {
        return;
    }
    let database = Database::new().await.unwrap();
    let (hour, mails) = (HOUR.as_secs().to_string(), MAILS.to_string());
    let settings =
        [("AUDITSHIELD_CRASH_MAIL_HOUR_SECONDS", hour.as_str()), ("AUDITSHIELD_MAIL__PER_HOUR", &mails)];
    let mut fleet = Fleet::start(&database.url(), &settings).await;
    let orders = bought(&fleet, SALES).await;
    let watch = tokio::spawn(mailed(Arc::clone(&fleet.outside), SALES));
    paid(&fleet, &orders).await;
    // One node goes and another one comes, and one stands still for longer than its leases, with what it had drawn.
    fleet.nodes[1].signal("-STOP");
    fleet.nodes[0].kill();
    fleet.nodes[0].start().await;
    tokio::time::sleep(PAUSE).await;
    fleet.nodes[1].signal("-CONT");
    let seen = watch.await.unwrap();
    let (count, most) = (seen.0.last().unwrap().1, seen.most(HOUR));
    println!("limits: {count} mails to {SALES} buyers, at most {most} in {HOUR:?} of {MAILS}");
    assert!(most <= MAILS, "{most} mails within {HOUR:?}");
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_together_call_cinetpay_as_often_as_one() {
    if !is_asked_for() {
        return;
    }
    let database = Database::new().await.unwrap();
    let calls = CALLS.to_string();
    let settings =
        [("AUDITSHIELD_CINETPAY__PER_SECOND", calls.as_str()), ("AUDITSHIELD_CINETPAY__TIMEOUT", "20s")];
    let mut fleet = Fleet::start(&database.url(), &settings).await;
    let outside = Arc::clone(&fleet.outside);
    let watch = tokio::spawn(async move {
        let mut seen = Seen::default();
        loop {
            let known = outside.cinetpay.transactions();
            let calls = known.iter().map(|known| known.counts.init + known.counts.check).sum::<u64>();
            seen.look(usize::try_from(calls).unwrap());
            if known.len() >= BUYERS && known.iter().all(|known| known.counts.check > 0) {
                return seen;
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    let orders = bought(&fleet, BUYERS).await;
    paid(&fleet, &orders).await;
    let seen = tokio::time::timeout(4 * PATIENCE, watch).await.expect("every order is asked about").unwrap();
    let law = |span: Duration| (CALLS as f64 * (span.as_secs_f64() + 1.0)) as usize;
    let (all, most) = (seen.0.last().unwrap().1, seen.most(Duration::from_secs(1)));
    println!("limits: {all} calls, at most {most} in one second of {CALLS}");
    assert_eq!(seen.beyond(Duration::MAX, law), None, "more than {CALLS} a second, and once as many");
    fleet.end().await;
}
