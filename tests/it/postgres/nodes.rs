//! Several nodes on one database: versions, leases, fences.

mod shown;
mod standbys;
mod watched;

use std::time::{Duration, Instant};

use auditshield::domain::event::{Decision, Event};
use auditshield::ledger::{CommitError, Lease, Ledger, Standing};

use super::Database;
use crate::ledger::{at, checked, commit, created, id, initiated, paid};
use crate::process_support::PATIENCE;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);
/// Over before anybody else can ask.
const SHORT: Duration = Duration::from_millis(1);

/// Takes the lease as soon as it can be had.
async fn take(ledger: &Ledger, standing: &Standing, length: Duration) -> Lease {
    let begun = Instant::now();
    loop {
        if let Some(lease) = ledger.lease(standing, length).await.unwrap() {
            return lease;
        }
        assert!(begun.elapsed() < PATIENCE, "the lease is never over");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn two() -> Option<(Database, Ledger, Ledger)> {
    let database = Database::new().await?;
    let (one, other) = (database.open(), database.open());
    Some((database, one, other))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_holds_an_older_version_is_refused_and_reads_on() {
    let Some((_database, one, other)) = two().await else { return };
    commit(&one, 1, &[created(1)]).await;
    let held = other.standing(id(1)).unwrap();
    commit(&one, 1, &[initiated(1)]).await;
    let stale = other.commit(id(1), held.as_ref(), &[initiated(1)], at(1)).await;
    assert!(matches!(stale, Err(CommitError::Conflict)), "{stale:?}");
    assert_eq!(other.standing(id(1)).unwrap(), one.standing(id(1)).unwrap());
    commit(&other, 1, &[checked(), paid(1)]).await;
    assert_eq!(one.load(id(1)).unwrap().unwrap().status_name(), "PAID");
    assert!(one.verify_shared(&mut |_| ()).unwrap().unwrap().is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_errand_has_one_owner_and_a_stale_one_changes_nothing() {
    let Some((_database, one, other)) = two().await else { return };
    commit(&one, 1, &[created(1)]).await;
    commit(&one, 1, &[initiated(1)]).await;
    let standing = one.standing(id(1)).unwrap().unwrap();
    let lease = one.lease(&standing, LONG).await.unwrap().expect("a lease");
    assert!(other.lease(&standing, LONG).await.unwrap().is_none(), "somebody has it");
    assert_eq!(other.due(at(1_000_000), 10).unwrap(), [], "what somebody is at is not due");
    one.release(lease).await;
    assert_eq!(other.due(at(1_000_000), 10).unwrap().len(), 1);
    // The first node is stopped beyond its lease; the second one takes over.
    let stale = one.lease(&standing, SHORT).await.unwrap().expect("a lease");
    let fresh = take(&other, &standing, LONG).await;
    let report = [checked(), paid(1)];
    let late = one.commit_under(Some(&stale), id(1), Some(&standing), &report, at(2)).await;
    assert!(matches!(late, Err(CommitError::Fenced)), "{late:?}");
    one.release(stale).await;
    assert!(
        one.lease(&standing, LONG).await.unwrap().is_none(),
        "giving back an old lease frees no newer one"
    );
    let done = other.commit_under(Some(&fresh), id(1), Some(&standing), &report, at(2)).await.unwrap();
    assert_eq!(one.standing(id(1)).unwrap().as_ref(), Some(&done));
    // Its lease ended with it: what is owed next is anybody's.
    one.lease(&done, LONG).await.unwrap().expect("a lease");
    assert!(other.lease(&standing, LONG).await.unwrap().is_none(), "an older version has no errand");
}

/// A notification may be committed by any node while another one is out: its report is decided again, and still counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_survives_what_others_commit() {
    let Some((_database, one, other)) = two().await else { return };
    commit(&one, 1, &[created(1)]).await;
    let standing = one.standing(id(1)).unwrap().unwrap();
    let lease = one.lease(&standing, LONG).await.unwrap().expect("a lease");
    commit(&other, 1, &[initiated(1)]).await;
    let report = [checked(), paid(1)];
    let late = one.commit_under(Some(&lease), id(1), Some(&standing), &report, at(2)).await;
    assert!(matches!(late, Err(CommitError::Conflict)), "{late:?}");
    let newest = one.standing(id(1)).unwrap();
    one.commit_under(Some(&lease), id(1), newest.as_ref(), &report, at(2)).await.unwrap();
}

/// Between ordinary commits of many nodes on few orders: every version once, every chain whole.
#[tokio::test(flavor = "multi_thread")]
async fn chains_are_whole_whoever_writes() {
    let Some(database) = Database::new().await else { return };
    let nodes = [database.open(), database.open(), database.open()];
    for number in 0..5 {
        commit(&nodes[0], number, &[created(number)]).await;
        commit(&nodes[1], number, &[initiated(number)]).await;
        commit(&nodes[2], number, &[checked(), paid(number)]).await;
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (number, node) in (0..5).flat_map(|number| nodes.iter().map(move |node| (number, node))) {
        let node = node.clone();
        tasks.spawn(async move {
            let mut done = 0;
            while done < 10 {
                let base = node.newest(id(number)).await.unwrap();
                let by = Decision { by: "Awa".to_owned(), note: String::new() };
                let event = Event::Note { by, resend: None, buyer: None };
                match node.commit(id(number), base.as_ref(), &[event], at(2)).await {
                    Ok(_) => done += 1,
                    Err(CommitError::Conflict) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    for number in 0..5 {
        assert_eq!(nodes[0].load(id(number)).unwrap().unwrap().version, 33);
    }
    let report = nodes[1].verify_shared(&mut |_| ()).unwrap().unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.lines, report.orders), (165, 5));
}
