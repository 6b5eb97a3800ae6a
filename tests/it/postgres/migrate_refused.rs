//! `ledger migrate`: what would do harm is refused, and leaves both sides as they are.

use auditshield::ledger::{Ledger, OpenError};
use serde_json::{Value, json};

use super::Database;
use super::migrated::{PASSWORD, at_url, discreet, folder, moved, run, tangle, url};
use crate::ledger::{commit, created, open};
use crate::process_support::World;

/// A refusal leaves both sides as they are.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_do_harm_is_refused() {
    let (Some(full), Some(empty), Some(newer)) =
        (Database::new().await, Database::new().await, Database::new().await)
    else {
        return;
    };
    let world = World::new(&[]).await;
    let ledger = full.open();
    commit(&ledger, 1, &[created(1)]).await;
    for database in [&empty, &newer] {
        database.open().close().await;
    }
    newer.run("update auditshield_schema set version = version + 1").await;
    let store = world.path("store");
    let busy = open(&store);
    commit(&busy, 2, &[created(2)]).await;
    let sled = |name: &str| format!("sled:{}", world.path(name).display());
    std::fs::create_dir(world.path("mine")).unwrap();
    std::fs::write(world.path("mine/mine.txt"), "mine").unwrap();
    let check = async |from: &str, to: &str, code: i32, word: &str| {
        let (got, said) = run(&world, from, to).await;
        assert!(got == code && said.contains(word), "{got}, not {code} and {word}: {said}");
    };
    check(&sled("store"), &url(&empty), 69, "in use by another auditshield").await;
    busy.close().await;
    check(&url(&full), &sled("new"), 69, "1 daemon(s) were heard of").await;
    check(&sled("store"), &url(&full), 69, "1 daemon(s) were heard of").await;
    ledger.close().await;
    check(&sled("store"), &url(&full), 1, "is not empty").await;
    check(&url(&full), &sled("store"), 1, "is not empty").await;
    check(&url(&full), &sled("mine"), 1, "is not empty").await;
    check(&sled("store"), &url(&newer), 78, "newer program").await;
    check(&url(&newer), &sled("new"), 78, "newer program").await;
    check(&sled("store"), &sled("new"), 2, "the other a database").await;
    check(&sled("missing"), &url(&empty), 1, "missing").await;
    check("ftp:x", &url(&empty), 2, "--from: not a store").await;
    check(&sled("store"), "postgres://[/x", 78, "unreadable").await;
    let away = format!("postgres://u:{PASSWORD}@127.0.0.1:1/x");
    check(&sled("store"), &away, 69, "does not answer").await;
    assert_eq!(std::fs::read(world.path("mine/mine.txt")).unwrap(), b"mine");
    // A damaged source, whichever it is.
    let segment = store.join("journal/00000000000000000001.jsonl");
    let sound = std::fs::read(&segment).unwrap();
    let mut bytes = sound.clone();
    bytes[200] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    check(&sled("store"), &url(&empty), 1, "source is not sound (").await;
    std::fs::write(&segment, &sound).unwrap();
    full.run("update auditshield_orders set head = repeat('0', 64)").await;
    check(&url(&full), &sled("new"), 1, "source is not sound (").await;
    for database in [&full, &empty] {
        assert_eq!(database.rows("select 1 from auditshield_migration").await.len(), 0);
    }
    assert_eq!(run(&world, &sled("store"), &url(&empty)).await.0, 0, "and then it goes");
}

/// Half of a migration is nobody's ledger; and it is gone on with by its own source only.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_finished_target_is_refused_by_every_daemon() {
    let Some(database) = Database::new().await else { return };
    let mut world = World::new(&[]).await;
    let ledger = open(&world.path("store"));
    tangle(&ledger).await;
    ledger.close().await;
    let root = world.path("");
    let sled = |name: &str| format!("sled:{}", root.join(name).display());
    let (code, said) = run(&world, &sled("store"), &url(&database)).await;
    assert_eq!(code, 0, "{said}");
    // As it is when it was killed with one order on its way.
    let victim = "(select id from auditshield_orders order by id desc limit 1)";
    for table in ["keys", "receipts", "lines", "order_keys"] {
        database.run(&format!("delete from auditshield_{table} where order_id = {victim}")).await;
    }
    let half = format!(
        "delete from auditshield_orders where id = {victim}; delete from auditshield_series; \
                        update auditshield_migration set finished_at = null"
    );
    database.run(&half).await;
    let refused = Ledger::connect(&database.url()).err().expect("refused");
    assert!(matches!(refused, OpenError::Migrating(_)), "{refused}");
    world.settings.insert("AUDITSHIELD_STORE__URL".into(), url(&database));
    let (code, said) = world.run(&["serve"]).await;
    discreet(&said);
    assert!(
        code == 78 && said.contains("n'est pas terminée") && said.contains("it goes on"),
        "{code}: {said}"
    );
    let (code, said) = run(&world, &url(&database), &sled("new")).await;
    assert!(code == 78 && said.contains("is not finished"), "{code}: {said}");
    std::fs::create_dir_all(world.path("other/journal")).unwrap();
    let (code, said) = run(&world, &sled("other"), &url(&database)).await;
    assert!(code == 1 && said.contains("another source"), "{code}: {said}");
    // Its own source, which has gone on since.
    let ledger = open(&world.path("store"));
    commit(&ledger, 91, &[created(91)]).await;
    let (orders, lines) = (ledger.counts().0.iter().sum::<u64>(), ledger.health().last_seq);
    ledger.close().await;
    let (code, said) = run(&world, &sled("store"), &url(&database)).await;
    assert!(code == 1 && said.contains("has changed"), "{code}: {said}");
    let emptied = ["migration", "keys", "receipts", "lines", "order_keys", "orders", "series"];
    for table in emptied {
        database.run(&format!("delete from auditshield_{table}")).await;
    }
    let (code, said) = run(&world, &sled("store"), &url(&database)).await;
    let done: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &done["orders"], &done["lines"]), (0, &json!(orders), &json!(lines)), "{said}");
}

/// A target that is not what it should be is never taken for finished.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_on_the_way_is_noticed() {
    let store = tempfile::tempdir().unwrap();
    let ledger = open(store.path());
    tangle(&ledger).await;
    ledger.close().await;
    let changes = [
        ("update auditshield_orders set due_ms = due_ms + 1 where due_ms is not null", "due"),
        ("update auditshield_orders set status = 'FAILED' where status = 'CREATED'", "status"),
        ("delete from auditshield_keys", "idempotency"),
        ("update auditshield_lines set hash = repeat('0', 64) where version = 2", "not sound"),
        ("delete from auditshield_receipts where year = 2024", "not sound"),
    ];
    for (change, word) in changes {
        let Some(database) = Database::new().await else { return };
        moved(&folder(store.path()), &at_url(&database)).unwrap();
        database.run(&format!("update auditshield_migration set finished_at = null; {change}")).await;
        let said = moved(&folder(store.path()), &at_url(&database)).unwrap_err().to_string();
        assert!(said.contains(word), "{change}: {said}");
        let refused = Ledger::connect(&database.url()).err().expect("refused");
        assert!(matches!(refused, OpenError::Migrating(_)), "{refused}");
    }
}
