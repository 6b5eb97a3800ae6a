//! `auditshield ledger …` beside a daemon under load: what is copied, exported and verified is what was committed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use auditshield::ledger;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::ledger::{commit, created, open};
use crate::process_support::World;

/// Buyers at work while the tools run.
const BUYERS: usize = 3;
/// Orders before the tools are first used.
const ORDERS_MIN: usize = 20;

/// Runs a command that must end well and gives its JSON.
async fn told(world: &World, arguments: &[&str]) -> Value {
    let (code, said) = world.run(arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {said}");
    serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{arguments:?}: {said}"))
}

/// The lines of an export by their seq.
async fn exported(world: &World, arguments: &[&str]) -> BTreeMap<u64, Value> {
    let (code, said) = world.run(&[&["ledger", "export"], arguments].concat()).await;
    assert_eq!(code, 0, "{said}");
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["seq"].as_u64().unwrap(), line)).collect()
}

fn segments(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder.join("journal")).unwrap().map(|file| file.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())).collect()
}

/// Buys without a pause; the orders that were answered 201.
fn load(world: &World, over: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<Vec<String>>> {
    let buyer = |number: usize| {
        let (shop, client, over) = (world.shop.clone(), world.client.clone(), Arc::clone(over));
        tokio::spawn(async move {
            let mut orders = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let body = json!({"email": format!("buyer{number}@example.ci")});
                let asked = client.post(format!("{shop}/buy/audit-kit/standard/")).json(&body);
                let answer = asked.header("accept", "application/json").send().await.unwrap();
                if answer.status() == StatusCode::CREATED {
                    let body: Value = answer.json().await.unwrap();
                    orders.push(body["order_id"].as_str().unwrap().to_owned());
                }
            }
            orders
        })
    };
    (0..BUYERS).map(buyer).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tool_round_trips_under_load() {
    let limits = [("AUDITSHIELD_LIMITS__BUY_PER_MINUTE", "0"), ("AUDITSHIELD_CINETPAY__PER_SECOND", "1000")];
    let mut world = World::new(&limits).await;
    world.cinetpay.patch(&json!({"auto_approve_ms": 15})).unwrap();
    world.start().await;
    for _ in 0..ORDERS_MIN {
        world.buy().await;
    }
    let backup = world.path("backup");
    let backup = backup.to_str().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let buyers = load(&world, &over);

    let mut seq = 0;
    for round in 0..4 {
        let copied = told(&world, &["ledger", "backup", "--json", backup]).await;
        assert!(copied["seq"].as_u64().unwrap() > seq, "round {round}: {copied}");
        seq = copied["seq"].as_u64().unwrap();
        // The backup is a journal like any other.
        let report = told(&world, &["ledger", "verify", "--json", "--store", backup]).await;
        assert_eq!((&report["sound"], report["lines"].as_u64()), (&json!(true), Some(seq)), "{report}");
        assert_eq!(report["head"], copied["hash"]);
    }
    let report = told(&world, &["ledger", "verify", "--json"]).await;
    assert_eq!((&report["sound"], &report["index_compared"]), (&json!(true), &json!(false)), "{report}");
    let (code, said) = world.run(&["ledger", "rebuild"]).await;
    assert_eq!(code, 69, "{said}");
    let live = exported(&world, &[]).await;
    let place = world.path("restored");
    let restored = told(&world, &["ledger", "restore", "--json", backup, place.to_str().unwrap()]).await;
    assert_eq!(restored["seq"].as_u64(), Some(seq));

    over.store(true, Ordering::Relaxed);
    let mut bought = Vec::new();
    for buyer in buyers {
        bought.extend(buyer.await.unwrap());
    }
    assert!(bought.len() > ORDERS_MIN, "no load: {}", bought.len());
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());

    // What was exported while it was written is what stands there in the end, and the copy is its beginning.
    let all = exported(&world, &[]).await;
    assert!(live.len() as u64 >= seq && live.iter().all(|(seq, line)| all[seq] == *line));
    let copy = exported(&world, &["--store", place.to_str().unwrap()]).await;
    assert_eq!(copy.len() as u64, seq);
    assert!(copy.iter().all(|(seq, line)| all[seq] == *line));
    let one = exported(&world, &["--order", &bought[0]]).await;
    assert!(!one.is_empty() && one.values().all(|line| line["order"] == *bought[0]), "{one:?}");

    let last = told(&world, &["ledger", "backup", "--json", backup]).await;
    assert_eq!(last["seq"].as_u64(), Some(all.len() as u64));
    let again = told(&world, &["ledger", "backup", "--json", backup]).await;
    assert_eq!((&again["new_bytes"], &again["seq"]), (&json!(0), &last["seq"]), "nothing is copied twice");
    assert_eq!(segments(Path::new(backup)), segments(&world.path("store")));

    // The restored store serves, and its first start makes the index.
    world.settings.insert("AUDITSHIELD_STORE__URL".into(), format!("sled:{}", place.display()));
    world.start().await;
    let order = copy.values().next().unwrap()["order"].as_str().unwrap().to_owned();
    world.order(&order).await;
    world.buy().await;
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());
    let report = told(&world, &["ledger", "verify", "--json"]).await;
    assert_eq!((&report["sound"], &report["index_compared"]), (&json!(true), &json!(true)), "{report}");
    let rebuilt = told(&world, &["ledger", "rebuild", "--json"]).await;
    assert_eq!(rebuilt["seq"], report["lines"]);
    // It has gone another way than the store it came from.
    let (code, said) = world.run(&["ledger", "backup", backup]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("00000000000000000001.jsonl") || said.contains("ledger restore"), "{said}");
    assert_eq!(segments(Path::new(backup)), segments(&world.path("store")), "the backup is untouched");
}

#[tokio::test]
async fn tools_refuse_what_would_do_harm() {
    let world = World::new(&[]).await;
    let path = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let other = path("other");
    std::fs::create_dir(world.path("other")).unwrap();
    std::fs::write(world.path("other").join("mine.txt"), "mine").unwrap();
    std::fs::create_dir_all(world.path("store/journal")).unwrap();
    std::fs::create_dir(world.path("halfway")).unwrap();
    std::fs::create_dir(world.path("halfway/journal.restoring")).unwrap();
    let (store, halfway, missing) = (path("store"), path("halfway"), path("missing"));
    let inside = path("store/backup");
    let cases: [(&[&str], i32, &str); 12] = [
        (&["ledger", "verify", "--store", &missing], 69, "AUDITSHIELD_STORE__URL"),
        (&["ledger", "rebuild", "--store", &missing], 69, "AUDITSHIELD_STORE__URL"),
        (&["ledger", "export", "--store", &missing], 69, "AUDITSHIELD_STORE__URL"),
        (&["ledger", "backup", "--store", &missing, "b"], 69, "AUDITSHIELD_STORE__URL"),
        (&["ledger", "restore", &missing, "r"], 69, "AUDITSHIELD_STORE__URL"),
        (&["ledger", "backup", "--store", &store, &other], 1, "backup.json"),
        (&["ledger", "backup", "--store", &store, &inside], 1, "within one another"),
        (&["ledger", "restore", &other, "r"], 1, "backup.json"),
        (&["ledger", "verify", "--store", &halfway], 1, "ledger restore"),
        (&["ledger", "rebuild", "--store", &halfway], 1, "ledger restore"),
        (&["ledger", "export", "--order", "nonsense"], 2, "01JD0QZ6Y3V9K2M4N6P8R0S2T4"),
        (&["ledger", "export", "--store", &store, "--output", &other], 1, "choose another file"),
    ];
    for (arguments, code, words) in cases {
        let (got, said) = world.run(arguments).await;
        assert_eq!(got, code, "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert_eq!(std::fs::read(world.path("other").join("mine.txt")).unwrap(), b"mine");
    let (code, said) = world.run(&["ledger", "backup", "--store", &store, &path("empty")]).await;
    assert_eq!(code, 0, "an empty journal has an empty backup: {said}");
    let (code, said) = world.run(&["ledger", "restore", &path("empty"), &other]).await;
    assert!(code == 1 && said.contains("not empty"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_belongs_to_one_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (store, target) = (path("store"), path("backup"));
    let more = async |store: &Path, numbers: std::ops::Range<i64>| {
        let ledger = open(store);
        for number in numbers {
            commit(&ledger, number, &[created(number)]).await;
        }
        ledger.close().await;
    };
    more(&store, 0..5).await;
    ledger::backup(&store, &target, &mut |_| ()).unwrap();
    let twin = path("twin");
    ledger::restore(&target, &twin, &mut |_| ()).unwrap();
    more(&store, 5..8).await;
    ledger::backup(&store, &target, &mut |_| ()).unwrap();
    let before = segments(&target);
    let refused = |store: &Path| {
        let said = ledger::backup(store, &target, &mut |_| ()).unwrap_err().to_string();
        assert_eq!(segments(&target), before, "{said}");
        said
    };
    // The twin has lost lines, then gone another way, less far and further than the backup.
    let said = refused(&twin);
    assert!(
        said.contains("line 5 ") && said.contains("line 8:") && said.contains("ledger restore"),
        "{said}"
    );
    for (numbers, words) in [(20..22, "lost writes"), (22..30, "line 8 (byte ")] {
        more(&twin, numbers).await;
        let said = refused(&twin);
        assert!(said.contains(words), "{said}");
    }
    // A journal that was never the same one.
    let other = path("other");
    more(&other, 40..60).await;
    let said = refused(&other);
    assert!(said.contains("line 1 (byte 0 ") && said.contains("00000000000000000001.jsonl"), "{said}");
}
