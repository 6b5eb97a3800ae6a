//! What is personal, in tables that several nodes share: sealed in each of them, gone for every node once one has erased
//! it, and never taken for erased where a key is only missing.

use auditshield::domain::event::{Decision, Event};
use auditshield::ledger::{CommitError, Ledger, LedgerError, Lost, OpenError};
use serde_json::{Value, json};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::{Database, verified};
use crate::ledger::{at, commit, created, fill, id};
use crate::privacy::{disguises, holds, ran};
use crate::process_support::{EMAIL, NAME, World};

const REASON: &str = "rang three times about it";
/// Where the key itself stands in a record.
const KEY: std::ops::Range<usize> = 16..48;

fn note(text: &str) -> Event {
    let by = Decision { by: "Awa".into(), note: text.into() };
    Event::Note { by, resend: None, buyer: None }
}

fn erased() -> Event {
    Event::Erased { by: "admin".into() }
}

/// The first column of each row, as text.
async fn asked(database: &Database, sql: &str) -> Vec<String> {
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let rows = client.simple_query(sql).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
    let text =
        |row| if let SimpleQueryMessage::Row(row) = row { row.get(0).map(str::to_owned) } else { None };
    rows.into_iter().filter_map(text).collect()
}

/// Everything in every table: the text of each row, and the bytes that stand in it in hex.
async fn contents(database: &Database) -> Vec<u8> {
    let mut found = Vec::new();
    let tables = asked(
        database,
        "select table_name from information_schema.tables where table_name like 'auditshield_%'",
    );
    for table in tables.await {
        for row in asked(database, &format!("select t::text from {table} t")).await {
            for part in row.split("\\x").skip(1) {
                let digits = part.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(part.len());
                found.extend(hex::decode(&part[..digits]).unwrap());
                found.push(0);
            }
            found.extend(row.into_bytes());
        }
    }
    found
}

/// The records of an order's keys.
async fn records(database: &Database, number: i64) -> Vec<Vec<u8>> {
    let whose = hex::encode(id(number).bytes());
    let sql = format!(
        "select encode(record, 'hex') from auditshield_order_keys where order_id = '\\x{whose}' order by slot"
    );
    asked(database, &sql).await.iter().map(|text| hex::decode(text).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_table_tells_who_bought() {
    let Some(database) = Database::new().await else { return };
    let ledger = database.open();
    fill(&ledger).await;
    commit(&ledger, 9, &[note(REASON)]).await;
    let stored = contents(&database).await;
    for text in ["Buyer9@example.ci", "Buyer0@example.ci", REASON] {
        for secret in disguises(text) {
            assert!(!holds(&stored, &secret), "{text}: {}", String::from_utf8_lossy(&secret));
        }
    }
    // The search itself works: what is not personal is found.
    assert!(holds(&stored, b"MP9") && holds(&stored, b"audit-kit"));
    ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_erases_no_node_knows_any_more() {
    let Some(database) = Database::new().await else { return };
    let (one, other) = (database.open(), database.open());
    fill(&one).await;
    commit(&one, 9, &[note(REASON)]).await;
    let held = other.newest(id(9)).await.unwrap();
    assert_eq!(held.as_ref().unwrap().payment().buyer.email.expose(), "Buyer9@example.ci");
    let record = records(&database, 9).await.remove(0);
    assert!(holds(&contents(&database).await, &record[KEY]), "the key is there, to be looked for");

    commit(&one, 9, &[erased()]).await;
    // What the other node read before is no base any more: nothing can be sealed with the key that it saw.
    let late = other.commit(id(9), held.as_ref(), &[note(REASON)], at(10)).await;
    assert!(matches!(late, Err(CommitError::Conflict)), "{late:?}");
    let now = other.newest(id(9)).await.unwrap().unwrap();
    assert!(now.payment().buyer.is_erased());
    let said = format!("{:?}", (other.history(id(9)).unwrap(), other.load(id(9)).unwrap()));
    assert!(!said.contains(REASON) && !said.contains("Buyer9"), "{said}");
    assert!(!holds(&contents(&database).await, &record[KEY]), "the key is still in a table");
    let hashed = "select id::text from auditshield_orders where email_hash is null";
    assert_eq!(asked(&database, hashed).await, [format!("\\x{}", hex::encode(id(9).bytes()))]);
    assert!(verified(&other).is_sound());

    // An older copy of the table is put back: found, and cured by erasing once more.
    let whose = hex::encode(id(9).bytes());
    let older = format!(
        "update auditshield_order_keys set record = '\\x{}' where order_id = '\\x{whose}'",
        hex::encode(&record)
    );
    database.run(&older).await;
    let report = verified(&other);
    assert!(!report.is_sound() && report.findings[0].contains("is still there"), "{report:?}");
    commit(&other, 9, &[erased()]).await;
    assert!(verified(&one).is_sound());
    assert!(!holds(&contents(&database).await, &record[KEY]), "destroyed once more");
    one.close().await;
    other.close().await;
}

/// Two nodes of which one erases while the other commits: whoever is second decides again, and nothing is left that a
/// destroyed key would have to open.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_and_other_commits_meet_in_any_order() {
    let Some(database) = Database::new().await else { return };
    let nodes = [database.open(), database.open()];
    commit(&nodes[0], 1, &[created(1)]).await;
    commit(&nodes[0], 1, &[Event::Expired {}]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for (turn, node) in nodes.iter().enumerate() {
        let node = node.clone();
        tasks.spawn(async move {
            let mut done = 0;
            while done < 20 {
                let base = node.newest(id(1)).await.unwrap();
                let event = if turn == 0 { erased() } else { note(REASON) };
                match node.commit(id(1), base.as_ref(), &[event], at(2)).await {
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
    let history = nodes[1].history(id(1)).unwrap();
    assert_eq!(history.len(), 42);
    let last = history.iter().rposition(|line| line.events.contains(&erased())).unwrap();
    let known = history.iter().position(|line| line.events.contains(&note(REASON))).unwrap_or(history.len());
    assert!(known > last, "a reason from before the last erasure: version {known} of {last}");
    let report = verified(&nodes[0]);
    assert!(report.is_sound() && report.erased == 1, "{report:?}");
}

fn is_lost<T: std::fmt::Debug>(outcome: Result<T, LedgerError>) -> String {
    match outcome {
        Err(LedgerError::Lost(lost @ Lost::Row { .. })) => lost.to_string(),
        outcome => panic!("{outcome:?}"),
    }
}

/// A key that is missing, damaged or another order's is said to be lost: of its order alone, and never an erasure.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_key_is_no_erasure_and_in_nobodys_way() {
    let whose = hex::encode(id(3).bytes());
    let damages = [
        format!("delete from auditshield_order_keys where order_id = '\\x{whose}'"),
        format!("update auditshield_order_keys set record = '\\x00' where order_id = '\\x{whose}'"),
        format!(
            "update auditshield_order_keys set record = overlay(record placing '\\xff00ff'::bytea from 30) where \
             order_id = '\\x{whose}'"
        ),
        format!(
            "update auditshield_order_keys set record = (select record from auditshield_order_keys where order_id = \
             '\\x{}') where order_id = '\\x{whose}'",
            hex::encode(id(4).bytes())
        ),
    ];
    for damage in damages {
        let Some(database) = Database::new().await else { return };
        let ledger = database.open();
        fill(&ledger).await;
        let base = ledger.standing(id(3)).unwrap();
        database.run(&damage).await;
        let text = is_lost(ledger.load(id(3)));
        assert!(text.contains("auditshield_order_keys") && text.contains(&id(3).to_string()), "{text}");
        is_lost(ledger.history(id(3)));
        let personal = ledger.commit(id(3), base.as_ref(), &[note(REASON)], at(4)).await;
        assert!(matches!(personal, Err(CommitError::Read(LedgerError::Lost(_)))), "{personal:?}");
        let erasure = ledger.commit(id(3), base.as_ref(), &[erased()], at(4)).await;
        assert!(matches!(erasure, Err(CommitError::Read(LedgerError::Lost(_)))), "{erasure:?}");
        let ahead = ledger.ahead([id(3), id(4)].into_iter()).await.unwrap();
        assert!(ahead.standing(id(3)).is_none() && ahead.standing(id(4)).is_some(), "{damage}");
        commit(&ledger, 4, &[note(REASON)]).await;
        let report = verified(&ledger);
        assert!(!report.is_sound() && report.erased == 0, "{report:?}");
        assert!(report.findings.iter().all(|finding| !finding.contains('@')), "{report:?}");
        ledger.close().await;
    }
}

/// Without the key of the addresses nobody would be found any more: it is made once, and missed if it goes.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_the_addresses_is_never_made_a_second_time() {
    let Some(database) = Database::new().await else { return };
    let ledger = database.open();
    fill(&ledger).await;
    ledger.close().await;
    database.run("delete from auditshield_order_keys where slot = 0").await;
    for _ in 0..2 {
        let refused = Ledger::connect(&database.url()).err().expect("refused");
        let text = refused.to_string();
        assert!(
            matches!(refused, OpenError::Database(_)) && text.contains("auditshield_order_keys"),
            "{text}"
        );
    }
}

/// The whole way: bought at one node, told and erased through another.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_and_erased_at_any_node() {
    let Some(database) = Database::new().await else { return };
    let outside = World::new(&[]).await;
    let url = database.url();
    let settings = [
        ("AUDITSHIELD_STORE__URL", url.as_str()),
        ("CINETPAY_API_URL", outside.cinetpay.base_url()),
        ("AUDITSHIELD_MAIL__URL", outside.settings["AUDITSHIELD_MAIL__URL"].as_str()),
        ("AUDITSHIELD_VERIFY__FIRST_POLL", "1s"),
    ];
    let (mut one, mut other) = (World::new(&settings).await, World::new(&settings).await);
    one.start().await;
    other.start().await;
    let order = one.buy().await;
    outside.cinetpay.approve(&order).unwrap();
    one.until(&order, "DELIVERED").await;
    ran(&one, &["orders", "refund", &order, "--note", REASON], 0).await;
    let told = ran(&other, &["privacy", "export", &EMAIL.to_uppercase()], 0).await;
    for text in [EMAIL, NAME, REASON, order.as_str()] {
        assert!(told.contains(text), "{text}: {told}");
    }
    let done = ran(&other, &["privacy", "erase", EMAIL, "--yes", "--json"], 0).await;
    let done: Value = serde_json::from_str(&done).unwrap();
    assert_eq!((&done["erased"], &done["kept"]), (&json!(1), &json!(0)), "{done}");
    for node in [&one, &other] {
        let now = node.order(&order).await;
        assert_eq!((&now["email"], &now["delivery"]["revoked"]), (&json!("effacé"), &json!(true)));
        let text = now.to_string();
        assert!([EMAIL, NAME, REASON].iter().all(|gone| !text.contains(gone)), "{text}");
        let list = ran(node, &["orders", "list", "--q", EMAIL, "--json"], 0).await;
        assert_eq!(serde_json::from_str::<Value>(&list).unwrap()["orders"], json!([]));
        assert_eq!(ran(node, &["privacy", "export", EMAIL], 0).await.lines().count(), 1, "nothing is stored");
    }
    let stored = contents(&database).await;
    for secret in [EMAIL, NAME, REASON].into_iter().flat_map(disguises) {
        assert!(!holds(&stored, &secret), "{}", String::from_utf8_lossy(&secret));
    }
    for node in [&mut one, &mut other] {
        node.term();
        assert_eq!(node.end().await.code(), Some(0), "{}", node.said());
        assert!(!node.said().contains(EMAIL), "{}", node.said());
    }
    let checked = ran(&one, &["ledger", "verify", "--json"], 0).await;
    assert_eq!(serde_json::from_str::<Value>(&checked).unwrap()["erased"], json!(1), "{checked}");
}
