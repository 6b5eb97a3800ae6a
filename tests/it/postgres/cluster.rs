//! Three daemons on one database behind a balancer, buyers and duplicated notifications at all of them, blows at random
//! moments: what was answered 200 is paid and delivered, and nothing happens twice. Without the ledger's comparisons the
//! same storm is found out.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use auditshield::simulator::database::{Server, Stop};

use super::fleet::{Fleet, NODES, server, wait};
use super::judge::{Violations, judge};
use super::street::{Buyers, Street};
use super::{Database, is_asked_for};
use crate::process_support::{Dice, World};

/// Buyers at work at one time.
const BUYERS: usize = 4;
/// A blow falls at most this long after the one before, in milliseconds.
const LULL_MILLIS_MAX: u64 = 900;
/// Longer than a lease of these nodes: four checks of one second, or two mails of two, and five seconds.
const PAUSE: Duration = Duration::from_secs(11);
/// How long nothing at all may come to rest in the end.
const REST: Duration = Duration::from_secs(60);

/// One blow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// kill -9 of a node, which starts again.
    Kill,
    /// A node stands still for longer than its leases, and goes on.
    Pause,
    /// The database crashes and recovers.
    Crash,
}

/// How much of a storm there is.
#[derive(Debug, Clone, Copy)]
struct Strength {
    orders: usize,
    kills: usize,
    pauses: usize,
    crashes: usize,
}

/// A number from the environment: the long form's.
fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect(name))
}

/// The blows of such a storm, in some order.
fn blows(strength: Strength, dice: &mut Dice) -> Vec<Blow> {
    let Strength { kills, pauses, crashes, .. } = strength;
    let each = [(Blow::Kill, kills), (Blow::Pause, pauses), (Blow::Crash, crashes)];
    let mut blows: Vec<Blow> = each.iter().flat_map(|&(blow, n)| std::iter::repeat_n(blow, n)).collect();
    for at in (1..blows.len()).rev() {
        blows.swap(at, usize::try_from(dice.below(at as u64 + 1)).unwrap());
    }
    blows
}

async fn strike(nodes: &mut [World], server: &Server, blows: &[Blow], dice: &mut Dice) {
    for blow in blows {
        tokio::time::sleep(Duration::from_millis(dice.below(LULL_MILLIS_MAX))).await;
        let node = &mut nodes[usize::try_from(dice.below(NODES as u64)).unwrap()];
        match blow {
            Blow::Kill => {
                node.kill();
                node.start().await;
            }
            Blow::Pause => {
                node.signal("-STOP");
                tokio::time::sleep(PAUSE).await;
                node.signal("-CONT");
            }
            Blow::Crash => wait(|| {
                server.stop(Stop::Immediate)?;
                server.start(&[])
            }),
        }
    }
}

/// A storm, and what was wrong after it. `more` is set for every node.
async fn storm(strength: Strength, rest: Duration, more: &[(&str, &str)]) -> Option<(Fleet, Violations)> {
    if !is_asked_for() {
        return None;
    }
    let server = server(&[]);
    let database = Database::at(&server).await;
    let mut fleet = Fleet::start(&database.url(), more).await;
    let mut buyers = Buyers::at(&fleet, BUYERS);
    let mut dice = Dice::new();
    let blows = blows(strength, &mut dice);
    strike(&mut fleet.nodes, &server, &blows, &mut dice).await;
    buyers.until(strength.orders).await;
    let street = buyers.end().await;
    let promised = std::mem::take(&mut *street.promised());
    let found = judge(&fleet, &database, &promised, rest).await;
    report(strength, &fleet, &street, &promised, &found).await;
    assert!(promised.len() >= strength.orders, "no storm: {} orders", promised.len());
    Some((fleet, found))
}

async fn report(
    strength: Strength,
    fleet: &Fleet,
    street: &Street,
    promised: &BTreeSet<String>,
    found: &Violations,
) {
    println!(
        "cluster: {} kills, {} pauses, {} crashes of the database; {} orders promised, {} notifications answered 200, {} \
         requests refused or unanswered and sent again; {} mails; since their last start the nodes met {} conflicts and \
         {} fences; {}",
        strength.kills,
        strength.pauses,
        strength.crashes,
        promised.len(),
        street.heard.load(Ordering::SeqCst),
        street.refused.load(Ordering::SeqCst),
        fleet.outside.mailbox.messages().len(),
        fleet.total("auditshield_commit_conflicts_total").await,
        fleet.total("auditshield_commits_fenced_total").await,
        found.counts(),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_blows_loses_nothing_and_doubles_nothing() {
    let strength = Strength {
        orders: number("AUDITSHIELD_ORDERS", 200),
        kills: number("AUDITSHIELD_KILLS", 8),
        pauses: number("AUDITSHIELD_PAUSES", 2),
        crashes: number("AUDITSHIELD_CRASHES", 1),
    };
    let Some((mut fleet, found)) = storm(strength, REST, &[]).await else { return };
    assert!(found.is_empty(), "{}", found.told());
    let lost = fleet.total("auditshield_acknowledged_lost_total").await;
    assert_eq!(lost, 0, "a crash of the database took acknowledged commits away");
    fleet.end().await;
}

/// The same storm, and daemons that compare nothing when they commit.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_fences_the_same_storm_is_found_out() {
    let strength = Strength { orders: 40, kills: 1, pauses: 1, crashes: 0 };
    let blind = [("AUDITSHIELD_CRASH_UNFENCED", "1")];
    let Some((_fleet, found)) = storm(strength, Duration::from_secs(5), &blind).await else { return };
    println!("cluster: without fences: {}", found.told());
    assert!(found.of("a line of another version") > 0, "nothing was found: {}", found.counts());
    assert!(found.of("ledger verify") > 0, "ledger verify finds nothing: {}", found.counts());
}
