//! `ledger migrate`: there and back again everything is the same; killed it goes on; sales go on where it led.

use std::path::Path;
use std::time::Duration;

use auditshield::ledger::migrate::{MigrateError, Place};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::migrated::{Told, at_url, discreet, folder, golden, moved, run, tangle, url};
use super::{Database, is_asked_for, verified};
use crate::ledger::{commit, created, initiated, open, python};
use crate::process_support::{EMAIL, NAME, World};

/// What the store in a folder tells.
async fn told(store: &Path) -> Told {
    let ledger = open(store);
    let told = Told::by(&ledger);
    ledger.close().await;
    let report = crate::ledger::verified(store);
    assert!(report.is_sound() && report.index_compared, "{report:?}");
    assert!(python(store));
    told
}

/// What a database tells.
async fn told_by(database: &Database) -> Told {
    let ledger = database.open();
    let told = Told::by(&ledger);
    let report = verified(&ledger);
    assert!(report.is_sound(), "{report:?}");
    ledger.close().await;
    told
}

/// From this folder into a database, from there into another folder, and into a database again.
async fn there_and_back(store: &Path) -> Option<Told> {
    let (database, other) = (Database::new().await?, Database::new().await?);
    let before = told(store).await;
    let there = moved(&folder(store), &at_url(&database)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((there.from, there.to, there.resumed), ("sled", "postgres", false));
    assert_eq!((there.orders, there.lines), (before.orders() as u64, before.lines() as u64));
    before.check(&told_by(&database).await, "in the database");
    let home = tempfile::tempdir().unwrap();
    let back = moved(&at_url(&database), &folder(home.path())).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((back.from, back.to, back.resumed), ("postgres", "sled", false));
    before.check(&told(home.path()).await, "in a folder again");
    assert_eq!(there.target_head, back.source_head, "nobody wrote in between");
    assert_eq!((&there.chains, &there.receipts), (&back.chains, &back.receipts));
    assert_eq!((there.requests, &there.statuses), (back.requests, &back.statuses));
    let again = moved(&folder(home.path()), &at_url(&other)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.chains, there.chains);
    before.check(&told_by(&other).await, "in a database again");
    assert!(
        there.erased == before.erased() as u64 && again.erased == there.erased && back.erased == there.erased
    );
    Some(before)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_history_is_the_same_there_and_back_again() {
    // With keys and erased orders; and as they were before there were keys.
    for (version, orders, lines, erased) in [("v3", 23, 102, 4), ("v1", 15, 56, 0)] {
        let store = golden(version);
        let Some(told) = there_and_back(store.path()).await else { return };
        assert_eq!((told.orders(), told.lines(), told.erased()), (orders, lines, erased), "{version}");
    }
    let empty = tempfile::tempdir().unwrap();
    open(empty.path()).close().await;
    let Some(told) = there_and_back(empty.path()).await else { return };
    assert_eq!(told.orders(), 0);
    let store = tempfile::tempdir().unwrap();
    let ledger = open(store.path());
    tangle(&ledger).await;
    ledger.close().await;
    there_and_back(store.path()).await;
}

/// Born in the database, where receipts are numbered beside the lines and every order's first key is number 1.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_began_in_a_database_is_the_same_in_a_folder() {
    let Some(database) = Database::new().await else { return };
    let ledger = database.open();
    tangle(&ledger).await;
    ledger.close().await;
    let before = told_by(&database).await;
    let home = tempfile::tempdir().unwrap();
    let back = moved(&at_url(&database), &folder(home.path())).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(Some(&back.chains), back.source_head.as_ref(), "keys are numbered 1, 2, 3 … in each order");
    before.check(&told(home.path()).await, "in a folder");
    there_and_back(home.path()).await;
    // Done is done: it says so again, as long as nobody has gone on.
    let home = tempfile::tempdir().unwrap();
    moved(&at_url(&database), &folder(home.path())).unwrap();
    let again = moved(&at_url(&database), &folder(home.path())).unwrap();
    assert!(again.resumed && again.chains == back.chains);
    let ledger = open(home.path());
    commit(&ledger, 90, &[created(90)]).await;
    ledger.close().await;
    let refused = moved(&at_url(&database), &folder(home.path())).unwrap_err();
    assert!(matches!(refused, MigrateError::NotEmpty(_)), "{refused}");
}

/// Where a blow falls: at a point of the program, or after so long.
type Blow<'a> = (&'a str, Duration);

/// Starts the command, and kills it. True: it had come to its end before.
async fn struck(world: &mut World, arguments: &[&str], (point, after): Blow<'_>) -> bool {
    world.settings.insert("AUDITSHIELD_CRASH".into(), point.to_owned());
    if point.is_empty() {
        world.settings.remove("AUDITSHIELD_CRASH");
    }
    world.spawn_as(arguments);
    world.settings.remove("AUDITSHIELD_CRASH");
    if point.is_empty() {
        tokio::time::sleep(after).await;
        // One that has ended is still there to be waited for.
        world.signal("-KILL");
    }
    let status = world.end().await;
    discreet(&world.said());
    status.success()
}

/// Every blow, one after the other on the same target; then it is run to its end.
async fn goes_on(world: &mut World, from: &str, to: &str, blows: &[Blow<'_>]) -> Value {
    let arguments = ["ledger", "migrate", "--json", "--from", from, "--to", to];
    let mut killed = 0;
    for blow in blows {
        killed += usize::from(!struck(world, &arguments, *blow).await);
    }
    let by_point = blows.iter().filter(|(point, _)| !point.is_empty()).count();
    assert!(killed > 0 && killed >= by_point, "{killed} of {blows:?}");
    let (code, said) = run(world, from, to).await;
    assert_eq!(code, 0, "{said}");
    let done: Value = serde_json::from_str(&said).unwrap();
    println!("killed {killed} times, then {done}");
    done
}

/// The points at which it is killed; without the feature `failpoints` by the clock, where chance would have it.
fn blows<'a>(points: &'a [&'a str]) -> Vec<Blow<'a>> {
    if cfg!(feature = "failpoints") {
        return points.iter().map(|point| (*point, Duration::ZERO)).collect();
    }
    (1..12).map(|step| ("", Duration::from_millis(step * 25))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_goes_on_and_ends_the_same() {
    let Some(database) = Database::new().await else { return };
    let small = [("AUDITSHIELD_CRASH_MIGRATE_ORDERS", "3"), ("AUDITSHIELD_CRASH_MIGRATE_BYTES", "1500")];
    let mut world = World::new(&[&small[..], &[("AUDITSHIELD_CRASH_SEGMENT_BYTES", "4000")]].concat()).await;
    let store = world.path("store");
    let ledger = open(&store);
    tangle(&ledger).await;
    for number in 100..160 {
        commit(&ledger, number, &[created(number)]).await;
        commit(&ledger, number, &[initiated(number)]).await;
    }
    ledger.close().await;
    let before = told(&store).await;
    let (sled, home) = (format!("sled:{}", store.display()), world.path("home"));
    let points = [
        "migrate.noted=kill",
        "migrate.put=kill",
        "migrate.put=kill@4",
        "migrate.copied=kill",
        "migrate.compared=kill",
    ];
    let there = goes_on(&mut world, &sled, &url(&database), &blows(&points)).await;
    before.check(&told_by(&database).await, "in the database");
    let points = [
        "migrate.folder_made=kill",
        "migrate.noted=kill",
        "migrate.keys_written=kill",
        "migrate.half_written=kill",
        "migrate.lines_written=kill@3",
        "migrate.half_written=kill@5",
        "migrate.compared=kill",
        "migrate.renamed=kill",
    ];
    let to = format!("sled:{}", home.display());
    let back = goes_on(&mut world, &url(&database), &to, &blows(&points)).await;
    before.check(&told(&home).await, "in a folder again");
    for same in ["orders", "lines", "statuses", "erased", "receipts", "requests", "chains"] {
        assert_eq!(there[same], back[same], "{same}");
    }
    assert_eq!((&there["resumed"], &back["resumed"]), (&json!(true), &json!(true)));
    // The same as in one go, but for the key of the addresses' hashes, which each store has of its own.
    let straight = tempfile::tempdir().unwrap();
    moved(&at_url(&database), &folder(straight.path())).unwrap();
    assert_eq!(journal(&home), journal(straight.path()));
}

/// Every line of a journal, whatever its segments.
fn journal(store: &Path) -> String {
    let mut files: Vec<_> =
        std::fs::read_dir(store.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// Asks for the payment page under an idempotency key.
async fn ask(world: &World, key: &str) -> String {
    let request = world
        .client
        .post(format!("{}/buy/audit-kit/standard/", world.shop))
        .header("accept", "application/json")
        .header("idempotency-key", key)
        .json(&json!({"email": EMAIL, "name": NAME}));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED, "{}", world.said());
    answer.json::<Value>().await.unwrap()["order_id"].as_str().unwrap().to_owned()
}

/// Stops the daemon, moves its ledger by the command, and starts it there.
async fn moves_to(world: &mut World, from: &str, to: &str) {
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());
    // The target is the settings': its address need not stand among the arguments.
    world.settings.insert("AUDITSHIELD_STORE__URL".into(), to.to_owned());
    let (code, said) = world.run(&["ledger", "migrate", "--from", from]).await;
    assert!(code == 0 && said.starts_with("OK · "), "{said}");
    discreet(&said);
    let (code, said) = world.run(&["ledger", "verify"]).await;
    assert_eq!(code, 0, "{said}");
    world.start().await;
}

/// A sale begun on one ledger is paid and delivered on the other, and a repeated purchase is still the same one.
#[tokio::test(flavor = "multi_thread")]
async fn sales_go_on_on_the_other_ledger() {
    if !is_asked_for() {
        return;
    }
    let database = Database::new().await.unwrap();
    database.open().close().await;
    let mut world = World::new(&[]).await;
    world.cinetpay.patch(&json!({"notify": {"enabled": false}})).unwrap();
    let sled = world.settings["AUDITSHIELD_STORE__URL"].clone();
    world.start().await;
    let (sold, begun) = (ask(&world, "first").await, ask(&world, "second").await);
    world.cinetpay.approve(&sold).unwrap();
    assert_eq!(world.notify(&sold).await, StatusCode::OK);
    world.until(&sold, "DELIVERED").await;

    moves_to(&mut world, &sled, &url(&database)).await;
    assert_eq!(ask(&world, "second").await, begun, "the key still stands for its order");
    world.cinetpay.approve(&begun).unwrap();
    assert_eq!(world.notify(&begun).await, StatusCode::OK);
    world.until(&begun, "DELIVERED").await;
    assert_eq!(world.notify(&sold).await, StatusCode::OK, "paid already: nothing happens");
    let (later, never) = (ask(&world, "third").await, ask(&world, "fourth").await);

    let home = format!("sled:{}", world.path("home").display());
    moves_to(&mut world, &url(&database), &home).await;
    assert_eq!(ask(&world, "third").await, later);
    world.cinetpay.approve(&later).unwrap();
    assert_eq!(world.notify(&later).await, StatusCode::OK);
    let last = world.until(&later, "DELIVERED").await;
    assert_eq!(last["status"], "PAID");
    assert_eq!(world.order(&never).await["status"], "PENDING");
    let mails = world.mailbox.messages().len();
    assert_eq!(mails, 3, "one for each sale");
    world.ends_well(&world.path("home")).await;
    let Place::Folder(store) = folder(&world.path("home")) else { unreachable!("a folder") };
    let ledger = open(&store);
    for (number, order) in (1..).zip([&sold, &begun, &later]) {
        let order = auditshield::domain::values::OrderId::parse(order).unwrap();
        assert_eq!(ledger.receipt(order).unwrap().unwrap().place, number);
    }
    ledger.close().await;
}
