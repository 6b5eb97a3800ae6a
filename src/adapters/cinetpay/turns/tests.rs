//! Turns of several nodes, by a clock that goes as fast as it can.

use super::*;
use crate::adapters::tests::{Nobody, Table};

/// Calls in each node that want a turn at all times.
const CALLERS: usize = 8;

/// When the calls began that so many nodes make in `seconds`, and how often they drew for it.
async fn storm(per_second: u32, nodes: usize, way: Duration, seconds: u64) -> (Vec<Duration>, usize) {
    let table = Arc::new(Table::at(way));
    let (begun, calls) = (Instant::now(), Arc::new(std::sync::Mutex::new(Vec::new())));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..nodes {
        let turns = Arc::new(Turns::shared(per_second, Arc::clone(&table) as Arc<dyn Permits>));
        for _ in 0..CALLERS {
            let (turns, calls) = (Arc::clone(&turns), Arc::clone(&calls));
            tasks.spawn(async move {
                loop {
                    turns.next().await;
                    calls.lock().unwrap().push(begun.elapsed());
                    // What a call takes.
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            });
        }
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    tasks.shutdown().await;
    let calls = calls.lock().unwrap().clone();
    (calls, table.asked())
}

/// The most calls of any span beyond what one daemon alone would make in it.
fn beyond(calls: &[Duration], per_second: u32) -> f64 {
    let mut most = f64::MIN;
    for (from, first) in calls.iter().enumerate() {
        for (to, last) in calls.iter().enumerate().skip(from) {
            let seconds = (*last - *first).as_secs_f64();
            most = most.max((to - from + 1) as f64 - f64::from(per_second) * (seconds + 1.0));
        }
    }
    most
}

#[tokio::test(start_paused = true)]
async fn all_nodes_together_call_as_often_as_one_alone() {
    for (per_second, nodes, way) in
        [(1, 3, 0), (2, 3, 1), (7, 2, 5), (50, 1, 1), (50, 3, 1), (50, 5, 40), (200, 3, 5)]
    {
        let (calls, _) = storm(per_second, nodes, Duration::from_millis(way), 20).await;
        let beyond = beyond(&calls, per_second);
        assert!(beyond <= 0.0, "{per_second} a second, {nodes} nodes, {way} ms: {beyond} beyond it");
        // What is wasted: permits that were drawn and not wanted in time.
        let least = f64::from(per_second) * 20.0 * 0.9 - 1.0;
        assert!(
            calls.len() as f64 >= least,
            "{per_second} a second, {nodes} nodes, {way} ms: {}",
            calls.len()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_database_slows_calls_and_does_not_end_them() {
    let (calls, asked) = storm(50, 3, Duration::from_millis(2 * KEPT_MILLIS), 20).await;
    assert!(calls.len() >= 3 * 19, "{}", calls.len());
    assert!(calls.len() <= asked, "what came too late is used once: {} of {asked}", calls.len());
    let beyond = beyond(&calls, 50);
    assert!(beyond <= 3.0, "one for each node: {beyond}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_drawn_where_there_are_calls_for_it() {
    let (calls, asked) = storm(200, 1, Duration::from_millis(1), 20).await;
    assert!(asked * 5 < calls.len(), "{asked} drawings for {} calls", calls.len());
    // One call now and then draws for itself, and takes nothing from others.
    let table = Arc::new(Table::default());
    let turns = Turns::shared(200, Arc::clone(&table) as Arc<dyn Permits>);
    for call in 1..=5 {
        turns.next().await;
        assert_eq!(table.asked(), call);
        let Turns::Shared(purse) = &turns else { unreachable!() };
        assert!(purse.batch.lock().await.left == 0, "drawn for nobody");
        tokio::time::advance(Duration::from_secs(2)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn permits_do_not_keep() {
    let table: Arc<dyn Permits> = Arc::new(Table::default());
    let turns = Turns::shared(40, Arc::clone(&table));
    let Turns::Shared(purse) = &turns else { unreachable!() };
    // Ten at once, of which one is used before the node is stopped for a while.
    purse.batch.lock().await.next = 10;
    turns.next().await;
    assert_eq!(purse.batch.lock().await.left, 9);
    tokio::time::advance(Duration::from_millis(KEPT_MILLIS)).await;
    turns.next().await;
    assert_eq!(purse.batch.lock().await.left, 0, "one was drawn anew, since one was used");
}

#[tokio::test(start_paused = true)]
async fn nobody_to_ask_is_no_turn() {
    let turns = Turns::shared(1000, Arc::new(Nobody));
    assert!(tokio::time::timeout(Duration::from_secs(60), turns.next()).await.is_err());
    let Turns::Shared(purse) = &turns else { unreachable!() };
    assert_eq!(purse.waiting.load(Ordering::SeqCst), 0, "who gave up does not wait any more");
}
