//! The tables: made once whoever is first, left alone where they are newer, and verified.

use auditshield::ledger::{Ledger, OpenError};

use super::{Database, verified};
use crate::ledger::fill;

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_at_one_time_make_the_tables_once() {
    let Some(database) = Database::new().await else { return };
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let url = database.url();
        starts.spawn_blocking(move || Ledger::connect(&url).unwrap_or_else(|error| panic!("{error}")));
    }
    let nodes = starts.join_all().await;
    fill(&nodes[2]).await;
    for node in &nodes {
        assert_eq!(node.counts().0.iter().sum::<u64>(), 10);
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_newer_program_are_left_alone() {
    let Some(database) = Database::new().await else { return };
    database.open().close().await;
    database.run("update auditshield_schema set version = version + 1").await;
    let refused = Ledger::connect(&database.url()).err().expect("refused");
    let text = refused.to_string();
    assert!(matches!(refused, OpenError::Schema { found, known } if found == known + 1), "{text}");
    assert!(text.contains("installez") && text.contains("install the newer"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_may_lose_what_it_acknowledged_is_refused() {
    let Some(database) = Database::new().await else { return };
    database.alter("set synchronous_commit = off").await;
    let refused = Ledger::connect(&database.url()).err().expect("refused");
    assert!(matches!(refused, OpenError::Durability("synchronous_commit")), "{refused}");
    database.alter("reset synchronous_commit").await;
    database.open().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_died_while_it_changed_the_tables_is_followed() {
    let Some(database) = Database::new().await else { return };
    database.open().close().await;
    // As it is when the first step was made in part by a node that is no more.
    let sql = "drop table auditshield_receipts; drop table auditshield_nodes; \
               update auditshield_schema set version = 0, changed_by = 'dead', \
               changed_until = now() + interval '2 seconds'";
    database.run(sql).await;
    let ledger = database.open();
    fill(&ledger).await;
    assert!(verified(&ledger).is_sound());
    ledger.close().await;
}

#[test]
fn an_address_that_is_none_is_refused_without_being_repeated() {
    let refused = Ledger::connect("postgres://user:Tr0ub4dor@[/x").err().expect("refused");
    assert!(matches!(refused, OpenError::Address) && !refused.to_string().contains("Tr0ub4dor"), "{refused}");
    let away = Ledger::connect("postgres://user:Tr0ub4dor@127.0.0.1:1/x").err().expect("refused");
    assert!(matches!(away, OpenError::Database(_)) && !away.to_string().contains("Tr0ub4dor"), "{away}");
}

/// Whoever changes history behind the nodes' backs is found out.
#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_what_was_changed() {
    let damages = [
        "update auditshield_lines set body = overlay(body placing '\\x30'::bytea from 20) where version = 2",
        "update auditshield_lines set hash = repeat('0', 64) where version = 1",
        "delete from auditshield_lines where version = 2",
        "delete from auditshield_lines where version = 3",
        "delete from auditshield_orders where status = 'PAID'",
        "update auditshield_orders set head = repeat('0', 64)",
        "update auditshield_orders set snapshot = (select o.snapshot from auditshield_orders o order by id limit 1)",
        "delete from auditshield_receipts",
        "update auditshield_receipts set place = 2",
        "update auditshield_series set last = 7",
    ];
    for damage in damages {
        let Some(database) = Database::new().await else { return };
        let ledger = database.open();
        fill(&ledger).await;
        let report = verified(&ledger);
        assert!(report.is_sound() && report.orders == 10 && report.lines == 17, "{report:?}");
        database.run(damage).await;
        let report = verified(&ledger);
        assert!(!report.is_sound(), "not seen: {damage}");
        let personal = report.findings.iter().any(|finding| finding.contains('@'));
        assert!(!personal, "{report:?}");
        ledger.close().await;
    }
}
