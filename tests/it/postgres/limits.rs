//! Permits that several nodes draw from one row: never more than the quota, whoever draws, and none is lost for long.

use std::time::{Duration, Instant};

use auditshield::domain::quota::{Drawn, Purpose, Quota};
use auditshield::ledger::Ledger;

use super::Database;
use super::gate::Gate;

/// How long the nodes draw.
const STORM: Duration = Duration::from_secs(3);
/// Those who draw at each node at one time.
const DRAWERS: usize = 3;

/// One drawing: when it was sent, when it was answered, what it brought.
type Drawing = (Instant, Instant, u32);

/// A permit every so many milliseconds, and a burst.
fn quota(millis: u64, burst: u32) -> Quota {
    Quota::new(Purpose::Call, (1, Duration::from_millis(millis)), burst)
}

async fn draw(node: &Ledger, quota: Quota, most: u32) -> Drawn {
    node.draw(quota, most).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Draws until `end`, one, two and three at a time.
async fn drawer(node: Ledger, quota: Quota, end: Instant) -> Vec<Drawing> {
    let mut drawings = Vec::new();
    for turn in 0.. {
        let asked = Instant::now();
        if asked >= end {
            break;
        }
        match node.draw(quota, 1 + turn % 3).await {
            Ok(drawn) => {
                drawings.push((asked, Instant::now(), drawn.granted));
                if drawn.granted == 0 {
                    tokio::time::sleep(drawn.wait).await;
                }
            }
            // Others were in the way too often (serializable): nothing was granted.
            Err(error) => assert!(error.to_string().contains("40001"), "{error}"),
        }
    }
    drawings
}

/// Of every span that holds a first and a last drawing as a whole: what was granted cost no more than the span and a burst.
fn overdrawn(drawings: &[Drawing], quota: Quota) -> Option<String> {
    let drawings: Vec<Drawing> = drawings.iter().copied().filter(|(_, _, granted)| *granted > 0).collect();
    for (from, _, _) in &drawings {
        for (_, to, _) in drawings.iter().filter(|(_, to, _)| to > from) {
            let within = drawings.iter().filter(|(asked, answered, _)| asked >= from && answered <= to);
            let granted: u32 = within.map(|(_, _, granted)| granted).sum();
            let span = *to - *from;
            if quota.cost() * granted > span + quota.ahead() {
                return Some(format!("{granted} in {span:?}"));
            }
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_draw_at_one_time_draw_no_more_than_there_is() {
    for quota in [quota(20, 5), quota(7, 1), quota(10, 60)] {
        let Some(database) = Database::new().await else { return };
        let end = Instant::now() + STORM;
        let mut tasks = tokio::task::JoinSet::new();
        // Each joins a while after the one before, and the second one ends early.
        for place in 0..3_u32 {
            let url = database.url();
            tasks.spawn(async move {
                tokio::time::sleep(STORM / 6 * place).await;
                let node = tokio::task::spawn_blocking(move || Ledger::connect(&url).unwrap()).await.unwrap();
                let end = if place == 1 { end - STORM / 3 } else { end };
                let drawers = (0..DRAWERS).map(|_| tokio::spawn(drawer(node.clone(), quota, end)));
                let mut drawings = Vec::new();
                for drawer in drawers.collect::<Vec<_>>() {
                    drawings.extend(drawer.await.unwrap());
                }
                node.close().await;
                drawings
            });
        }
        let drawings = tasks.join_all().await.concat();
        let granted: u32 = drawings.iter().map(|(_, _, granted)| granted).sum();
        let last = drawings.iter().map(|(_, answered, _)| *answered).max().unwrap();
        let first = drawings.iter().map(|(asked, _, _)| *asked).min().unwrap();
        println!("limits: {quota:?}: {granted} granted in {:?}, {} drawings", last - first, drawings.len());
        assert_eq!(overdrawn(&drawings, quota), None, "{quota:?}");
        assert!(quota.cost() * granted >= (last - first) / 3, "{quota:?}: only {granted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_took_with_it_comes_back_with_time() {
    let Some(database) = Database::new().await else { return };
    let quota = quota(300, 5);
    let lost = database.open();
    assert_eq!(draw(&lost, quota, 100).await.granted, 5, "a burst, and not more");
    drop(lost);
    let node = database.open();
    let asked = Instant::now();
    let Drawn { granted, wait } = draw(&node, quota, 5).await;
    assert!(granted < 5 && wait <= quota.cost(), "{granted}, {wait:?}");
    // Not before its time, and then.
    let mut drawn = draw(&node, quota, 1).await;
    while drawn.granted == 0 {
        tokio::time::sleep(drawn.wait).await;
        drawn = draw(&node, quota, 1).await;
    }
    assert!(asked.elapsed() >= wait, "after {:?}, {wait:?} were told", asked.elapsed());
    tokio::time::sleep(quota.ahead() + quota.cost()).await;
    assert_eq!(draw(&node, quota, 100).await.granted, 5, "all of it is back, and no more than a burst");
    let other = Quota::new(Purpose::Mail, (1, Duration::from_secs(600)), 1);
    assert_eq!(draw(&node, other, 1).await.granted, 1, "each purpose has its own");
    let Drawn { granted, wait } = draw(&node, other, 1).await;
    assert!(granted == 0 && wait > Duration::from_secs(590) && wait <= Duration::from_secs(600), "{wait:?}");
    node.close().await;
}

/// A database whose clock was set, or another one that took over: no silence until it has caught up, and no more than one
/// burst beyond the quota.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_neither_silences_nor_opens_the_gates() {
    let Some(database) = Database::new().await else { return };
    let (node, quota) = (database.open(), quota(60_000, 4));
    // What was paid for stands an hour ahead of now, or behind it.
    for (jump, granted) in [("+ 3600000000", 0), ("- 3600000000", 4)] {
        draw(&node, quota, 4).await;
        database.run(&format!("update auditshield_quotas set spent_us = spent_us {jump}")).await;
        let drawn = draw(&node, quota, 100).await;
        assert_eq!(drawn.granted, granted, "{jump}");
        assert!(drawn.wait <= quota.cost(), "{jump}: {:?}", drawn.wait);
        assert_eq!(draw(&node, quota, 100).await.granted, 0, "{jump}: once");
    }
    node.close().await;
}

/// No answer is no permit; and one whose answer was lost was counted.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_there_is_no_permit() {
    let Some(database) = Database::new().await else { return };
    let gate = Gate::before(database.address()).await;
    let url = database.url_by(gate.port);
    let node = tokio::task::spawn_blocking(move || Ledger::connect(&url).unwrap()).await.unwrap();
    let quota = quota(60_000, 4);
    assert_eq!(draw(&node, quota, 1).await.granted, 1);
    gate.shut();
    assert!(node.draw(quota, 1).await.is_err());
    gate.open();
    let mut drawn = node.draw(quota, 100).await;
    for _ in 0..100 {
        if drawn.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        drawn = node.draw(quota, 100).await;
    }
    let drawn = drawn.unwrap();
    assert!(drawn.granted <= 3, "{}", drawn.granted);
    assert_eq!(draw(&node, quota, 100).await.granted, 0);
    node.close().await;
}
