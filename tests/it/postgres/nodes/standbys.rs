//! What the database says of its standbys, and what `doctor` makes of it.

use auditshield::ledger::Ledger;
use auditshield::ledger::cluster::Replication;

use crate::postgres::failover::Pair;
use crate::postgres::is_asked_for;
use crate::process_support::World;

/// Severity and English words of `doctor`'s look at the replication.
async fn doctor(url: &str) -> (String, String) {
    let world = World::new(&[("AUDITSHIELD_STORE__URL", url)]).await;
    let (_, said) = world.run(&["doctor", "--json"]).await;
    let json = &said[said.find(['[', '{']).expect("JSON")..];
    let told: serde_json::Value = serde_json::from_str(json).unwrap_or_else(|why| panic!("{why}: {said}"));
    let findings = told["findings"].as_array().or(told.as_array()).expect("findings");
    let about = |name| findings.iter().find(|finding| finding["check"] == name).expect(name);
    assert_eq!(about("database")["severity"], "good", "{said}");
    let text = |name: &str| about("replication")[name].as_str().unwrap().to_owned();
    (text("severity"), text("en"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asynchronous_replication_is_a_warning_and_synchronous_is_good() {
    if !is_asked_for() {
        return;
    }
    let pair = Pair::new().await;
    let url = pair.database.url();
    let replication = async |url: &str| Ledger::survey(url).await.unwrap().replication;
    assert_eq!(replication(&url).await, Replication::Asynchronous);
    let (severity, en) = doctor(&url).await;
    assert!(severity == "warning" && en.contains("synchronous_standby_names"), "{severity}: {en}");
    // Nothing was made by looking.
    assert!(
        pair.database.rows("select 1 from pg_tables where tablename like 'auditshield%'").await.is_empty()
    );

    pair.be_synchronous().await;
    assert_eq!(replication(&url).await, Replication::Synchronous);
    assert_eq!(doctor(&url).await.0, "good");

    // A role that may not see the others' state says that it may not.
    pair.database.run("create role blind login password 'blind'").await;
    let (_, rest) = url.split_once('@').unwrap();
    let blind = format!("postgres://blind:blind@{rest}");
    assert_eq!(replication(&blind).await, Replication::Hidden);
    let (severity, en) = doctor(&blind).await;
    assert!(severity == "note" && en.contains("pg_read_all_stats"), "{severity}: {en}");
    // Nor may a question that is refused altogether be in the way of the others.
    pair.database.run("revoke select on pg_stat_replication from public").await;
    let survey = Ledger::survey(&blind).await.unwrap();
    assert_eq!(survey.replication, Replication::Unknown);
    assert!(survey.version.is_some(), "{survey:?}");

    // A standby is found out, too.
    let standby = pair.standby_url();
    let world = World::new(&[("AUDITSHIELD_STORE__URL", &standby)]).await;
    let (_, said) = world.run(&["doctor"]).await;
    assert!(said.contains("nothing can be written there"), "{said}");
}
