//! Commits whose answer is lost, and a database that is away.

use std::time::{Duration, Instant};

use auditshield::domain::event::{Decision, Event};
use auditshield::ledger::{CommitError, Ledger};

use super::Database;
use super::gate::Gate;
use crate::ledger::{at, commit, created, id};
use crate::process_support::PATIENCE;

/// Which answer from now is lost, and whether the commit begins with a new connection: in one that is there its own
/// answer is the first, in a new one others come before it.
const PLACES: [(i64, bool); 7] =
    [(1, false), (1, true), (2, true), (3, true), (4, true), (5, true), (6, true)];
/// Commits at each of them.
const COMMITS: usize = 5;

fn note(text: &str) -> Event {
    let by = Decision { by: text.to_owned(), note: String::new() };
    Event::Note { by, resend: None, buyer: None }
}

async fn behind_a_gate() -> Option<(Database, Gate, Ledger)> {
    let database = Database::new().await?;
    let gate = Gate::before(database.address()).await;
    let ledger = Ledger::connect(&database.url_by(gate.port)).unwrap();
    Some((database, gate, ledger))
}

/// The connection breaks after the database did what was asked, or before it was asked everything: either way the commit
/// is there once, and was answered as done.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_happens_once() {
    let Some((database, gate, ledger)) = behind_a_gate().await else { return };
    let beside = database.open();
    commit(&ledger, 1, &[created(1)]).await;
    let mut version = 1;
    for (place, anew) in PLACES {
        for n in 0..COMMITS {
            let base = ledger.standing(id(1)).unwrap();
            if anew {
                gate.cut();
            }
            gate.lose(place);
            let outcome = ledger.commit(id(1), base.as_ref(), &[note(&format!("{place}/{n}"))], at(2)).await;
            gate.lose(0);
            version += 1;
            let done = outcome.unwrap_or_else(|error| panic!("place {place}, commit {n}: {error}"));
            assert_eq!(done.payment().version, version);
            assert_eq!(beside.standing(id(1)).unwrap().as_ref(), Some(&done), "place {place}, commit {n}");
        }
    }
    println!("{} answers were lost in {} commits", gate.lost(), version - 1);
    assert!(gate.lost() >= 3 * COMMITS as u64, "{} answers were lost", gate.lost());
    assert_eq!(beside.history(id(1)).unwrap().len(), 1 + PLACES.len() * COMMITS);
    assert!(beside.verify_shared(&mut |_| ()).unwrap().unwrap().is_sound());
}

/// While the database is away commits are refused, nothing is answered, and all goes on once it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_refuses_and_comes_back() {
    let Some((database, gate, ledger)) = behind_a_gate().await else { return };
    let standing = {
        commit(&ledger, 1, &[created(1)]).await;
        ledger.standing(id(1)).unwrap()
    };
    gate.shut();
    let refused = ledger.commit(id(1), standing.as_ref(), &[note("away")], at(2)).await;
    assert!(matches!(refused, Err(CommitError::NoRoom | CommitError::Unknown)), "{refused:?}");
    assert!(!ledger.health().can_commit, "{:?}", ledger.health());
    assert!(ledger.probe().await.is_err());
    assert!(ledger.standing(id(1)).is_err());
    assert_eq!(ledger.counts().0, [0; 7], "never asked before");
    gate.open();
    let begun = Instant::now();
    while !ledger.health().can_commit {
        assert!(begun.elapsed() < PATIENCE, "{:?}", ledger.health());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let done = ledger.commit(id(1), standing.as_ref(), &[note("back")], at(2)).await.unwrap();
    assert_eq!(database.open().standing(id(1)).unwrap(), Some(done));
    assert_eq!(ledger.counts().0[0], 1);
}
