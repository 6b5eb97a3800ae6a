//! The primary is lost and its standby promoted, under a storm of orders. With synchronous replication nothing that was
//! acknowledged is missing; without it something is, and the nodes say of which orders.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use auditshield::simulator::database::{Server, Stop};

use super::fleet::{Fleet, folder, server, wait};
use super::gate::Gate;
use super::judge::{Violations, books, judge, kept};
use super::street::Buyers;
use super::{Database, is_asked_for};
use crate::process_support::{PATIENCE, port};

/// Orders between one thing that happens and the next.
const ORDERS: usize = 25;
const BUYERS: usize = 4;
/// How long nothing at all may come to rest in the end.
const REST: Duration = Duration::from_secs(60);
/// What a node writes into its log about lost commits.
const CONFESSION: &str = "the database has lost acknowledged commits";

/// A primary, its standby, and what the standby hears it through.
pub(super) struct Pair {
    primary: Server,
    gate: Gate,
    standby: Server,
    pub(super) database: Database,
}

impl Pair {
    pub(super) async fn new() -> Pair {
        let primary = server(&[]);
        let gate = Gate::before(&format!("127.0.0.1:{}", primary.port())).await;
        let standby = wait(|| {
            let standby = primary.copy(&folder(), port(), gate.port)?;
            standby.start(&[])?;
            Ok(standby)
        });
        let database = Database::at(&primary).await;
        Pair { primary, gate, standby, database }
    }

    /// Both, in the order in which they are tried.
    fn url(&self) -> String {
        let both = format!("127.0.0.1:{},127.0.0.1:{}", self.primary.port(), self.standby.port());
        self.database.url_at(&both)
    }

    /// The standby alone.
    pub(super) fn standby_url(&self) -> String {
        self.database.url_at(&format!("127.0.0.1:{}", self.standby.port()))
    }

    /// From now on a commit is answered once the standby has it.
    pub(super) async fn be_synchronous(&self) {
        self.database.run("alter system set synchronous_standby_names = '*'").await;
        self.database.run("select pg_reload_conf()").await;
        let begun = Instant::now();
        let question = "select sync_state from pg_stat_replication where sync_state = 'sync'";
        while self.database.rows(question).await.is_empty() {
            assert!(begun.elapsed() < PATIENCE, "the standby is not synchronous");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The primary dies and stays dead.
    fn fail_over(&self) {
        wait(|| self.primary.stop(Stop::Immediate));
        self.gate.shut();
        wait(|| self.standby.promote());
    }

    fn promoted(&self) -> Database {
        self.database.moved_to(&self.standby)
    }
}

/// A storm around a fail-over. `lag`: for so many orders the standby hears nothing.
async fn storm(pair: &Pair, lag: usize) -> (Fleet, BTreeSet<String>) {
    let fleet = Fleet::start(&pair.url(), &[]).await;
    let mut buyers = Buyers::at(&fleet, BUYERS);
    buyers.until(ORDERS).await;
    if lag > 0 {
        pair.gate.shut();
        let so_far = buyers.sold();
        buyers.until(so_far + lag).await;
    }
    pair.fail_over();
    let so_far = buyers.sold();
    buyers.until(so_far + ORDERS).await;
    let street = buyers.end().await;
    let promised = std::mem::take(&mut *street.promised());
    (fleet, promised)
}

fn report(what: &str, fleet: &Fleet, promised: usize, lost: usize, found: &Violations) {
    let confessed = fleet.nodes.iter().filter(|node| node.said().contains(CONFESSION)).count();
    println!(
        "failover: {what}: {promised} orders promised, {lost} of them lost, {confessed} nodes said so; {}",
        found.counts()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_that_takes_over_has_all_that_was_acknowledged() {
    if !is_asked_for() {
        return;
    }
    let pair = Pair::new().await;
    pair.be_synchronous().await;
    let (mut fleet, promised) = storm(&pair, 0).await;
    let found = judge(&fleet, &pair.promoted(), &promised, REST).await;
    report("synchronous", &fleet, promised.len(), 0, &found);
    assert!(found.is_empty(), "{}", found.told());
    assert_eq!(fleet.total("auditshield_acknowledged_lost_total").await, 0);
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_asynchronous_standby_lacks_is_said_order_by_order() {
    if !is_asked_for() {
        return;
    }
    let pair = Pair::new().await;
    let (mut fleet, promised) = storm(&pair, ORDERS).await;
    let promoted = pair.promoted();
    let kept = kept(&promoted).await;
    let lost: BTreeSet<&String> = promised.difference(&kept).collect();
    assert!(!lost.is_empty(), "the standby did not lag: nothing is proved");
    let begun = Instant::now();
    loop {
        let said: Vec<String> = fleet.nodes.iter().map(|node| node.said()).collect();
        let confessed: Vec<&str> =
            said.iter().flat_map(|said| said.lines()).filter(|line| line.contains(CONFESSION)).collect();
        let silent: Vec<_> =
            lost.iter().filter(|order| !confessed.iter().any(|line| line.contains(order.as_str()))).collect();
        if silent.is_empty() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "lost in silence: {silent:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let counted = fleet.total("auditshield_acknowledged_lost_total").await;
    assert!(counted >= lost.len() as u64, "{counted} commits counted, {} orders lost", lost.len());
    // What is left is sound, and goes on.
    let found = books(&fleet, &promoted).await;
    report("asynchronous", &fleet, promised.len(), lost.len(), &found);
    assert!(found.is_empty(), "{}", found.told());
    fleet.end().await;
}
