//! Two versions of the tables: nodes of the older program go on while a newer one changes the tables under them, and after
//! it. `tests/golden/postgres/<version>` keeps the statements of the program that knew the tables up to that version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use auditshield::domain::event::{Decision, Event};
use auditshield::domain::values::Email;
use auditshield::ledger::{CommitError, Ledger};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row};

use super::{Database, verified};
use crate::ledger::{at, checked, commit, created, id, initiated, paid};
use crate::process_support::PATIENCE;

/// Orders that the older program takes before the tables change, and after.
const ORDERS: i64 = 6;

type Value<'a> = &'a (dyn ToSql + Sync);

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/postgres")
}

/// The statements of the program that knew the tables up to `version`, by name.
fn statements(version: i64) -> BTreeMap<String, String> {
    let folder = golden().join(version.to_string());
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let statement = |path: PathBuf| {
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap())
    };
    files.map(statement).collect()
}

async fn client(database: &Database) -> Client {
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The version that the tables have.
async fn version(database: &Database) -> i64 {
    client(database).await.query_one("select version from auditshield_schema", &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_earlier_programs_say_is_understood_by_the_newest_tables() {
    let Some(database) = Database::new().await else { return };
    database.open().close().await;
    let newest = version(&database).await;
    assert!(newest > 1, "there is no earlier program yet");
    let client = client(&database).await;
    for version in 1..newest {
        let known = statements(version);
        assert!(known.len() > 20, "tests/golden/postgres/{version}: its statements are to be kept");
        for (name, sql) in known {
            if let Err(error) = client.prepare(&sql).await {
                panic!("version {version}, {name}: {error}");
            }
        }
    }
}

/// What an order and its newest line are in the tables: what the older program would write.
struct Written {
    order: Row,
    line: Row,
    key: Option<Row>,
}

impl Written {
    /// Copied from where a ledger of today wrote it.
    async fn by(model: &Client, number: i64) -> Written {
        let id = id(number).bytes().to_vec();
        let order = "select version, head, snapshot, status, due_ms, created_ms, email_hash, tx_hash, stalled \
                     from auditshield_orders where id = $1";
        let line =
            "select operation, body from auditshield_lines where order_id = $1 order by version desc limit 1";
        let key = "select slot, record from auditshield_order_keys where order_id = $1";
        Written {
            order: model.query_one(order, &[&id]).await.unwrap(),
            line: model.query_one(line, &[&id]).await.unwrap(),
            key: model.query_opt(key, &[&id]).await.unwrap(),
        }
    }
}

/// A node of the program that knew the first version of the tables: its own statements, prepared once, on one connection.
struct OldNode {
    client: Client,
    known: BTreeMap<String, tokio_postgres::Statement>,
    /// A ledger of today in another database, which makes the bytes that this node writes.
    model: Ledger,
    source: Client,
    node: String,
}

impl OldNode {
    /// Makes the tables as they were, and goes to work.
    async fn start(database: &Database, model: &Database) -> OldNode {
        let first = statements(1);
        let (client, ledger, source) = (client(database).await, model.open(), client(model).await);
        let step = include_str!("../../../src/ledger/postgres/migrations/0001.sql");
        for sql in [&first["schema_make"], &first["schema_first"], step] {
            client.batch_execute(sql).await.unwrap();
        }
        client.batch_execute("update auditshield_schema set version = 1").await.unwrap();
        let own = "select order_id, slot, record from auditshield_order_keys where slot = 0";
        let own = source.query_one(own, &[]).await.unwrap();
        let (order, record): (Vec<u8>, Vec<u8>) = (own.get(0), own.get(2));
        let copied = "insert into auditshield_order_keys (order_id, slot, record) values ($1, 0, $2)";
        client.execute(copied, &[&order, &record]).await.unwrap();
        // A server whose default is another one is not what is tried here: this node does not repeat.
        client.batch_execute("set default_transaction_isolation = 'read committed'").await.unwrap();
        let mut known = BTreeMap::new();
        for (name, sql) in first {
            known.insert(name, client.prepare(&sql).await.unwrap());
        }
        OldNode { client, known, model: ledger, source, node: "an-older-node".to_owned() }
    }

    async fn changed(&self, name: &str, values: &[Value<'_>]) -> u64 {
        self.client.execute(&self.known[name], values).await.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    async fn asked(&self, name: &str, values: &[Value<'_>]) -> Vec<Row> {
        self.client.query(&self.known[name], values).await.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Takes an order.
    async fn create(&self, number: i64) {
        commit(&self.model, number, &[created(number)]).await;
        let Written { order, line, key } = Written::by(&self.source, number).await;
        let key = key.expect("a key");
        let (id, slots, records) =
            (id(number).bytes().to_vec(), vec![key.get::<_, i64>(0)], vec![key.get::<_, Vec<u8>>(1)]);
        let (head, snapshot, status): (String, Vec<u8>, String) = (order.get(1), order.get(2), order.get(3));
        let (due, at, email): (Option<i64>, i64, Option<Vec<u8>>) =
            (order.get(4), order.get(5), order.get(6));
        let (operation, body): (Vec<u8>, Vec<u8>) = (line.get(0), line.get(1));
        let (name, fingerprint, replaced) = (format!("{number:064x}"), "f", None::<Vec<u8>>);
        let values: [Value<'_>; 15] = [
            &id,
            &head,
            &snapshot,
            &status,
            &due,
            &at,
            &email,
            &self.node,
            &operation,
            &body,
            &slots,
            &records,
            &name,
            &fingerprint,
            &replaced,
        ];
        assert_eq!(self.changed("create_keyed", &values).await, 1);
    }

    /// Goes on with an order; pays it where that is what happened.
    async fn go_on(&self, number: i64, events: &[Event]) {
        let before = Written::by(&self.source, number).await.order;
        commit(&self.model, number, events).await;
        let Written { order, line, .. } = Written::by(&self.source, number).await;
        let (id, version, head): (_, i64, String) =
            (id(number).bytes().to_vec(), before.get(0), before.get(1));
        let (next, snapshot, status): (String, Vec<u8>, String) = (order.get(1), order.get(2), order.get(3));
        let (due, email): (Option<i64>, Option<Vec<u8>>) = (order.get(4), order.get(6));
        let (tx, stalled): (Option<Vec<u8>>, bool) = (order.get(7), order.get(8));
        let (operation, body, epoch): (Vec<u8>, Vec<u8>, Option<i64>) = (line.get(0), line.get(1), None);
        let mut values: Vec<Value<'_>> = vec![
            &id, &version, &head, &next, &snapshot, &status, &due, &email, &tx, &stalled, &self.node, &epoch,
            &operation, &body,
        ];
        let receipt = "select year, hour, currency, amount from auditshield_receipts where order_id = $1";
        let receipt = self.source.query_opt(receipt, &[&id]).await.unwrap();
        let Some(receipt) =
            receipt.filter(|_| events.iter().any(|event| matches!(event, Event::Paid { .. })))
        else {
            assert_eq!(self.changed("commit", &values).await, 1);
            // What was read before is no base any more.
            assert_eq!(self.changed("commit", &values).await, 0);
            return;
        };
        let (year, hour): (i64, i64) = (receipt.get(0), receipt.get(1));
        let (currency, amount): (String, i64) = (receipt.get(2), receipt.get(3));
        values.extend([&year as Value<'_>, &hour, &currency, &amount]);
        assert_eq!(self.changed("commit_paid", &values).await, 1);
    }

    /// One order from its beginning to its payment, with what a node asks in between.
    async fn sell(&self, number: i64) {
        self.create(number).await;
        self.go_on(number, &[initiated(number)]).await;
        let order = id(number).bytes().to_vec();
        let (two, long) = (2_i64, 60_000_f64);
        let lease = self.asked("lease", &[&order, &two, &self.node, &long]).await;
        let epoch: i64 = lease.first().expect("a lease").get(0);
        assert_eq!(self.changed("release", &[&order, &epoch, &self.node]).await, 1);
        self.go_on(number, &[checked(), paid(number)]).await;
        let orders = vec![order.clone()];
        assert_eq!(self.asked("orders", &[&orders]).await.len(), 1);
        assert_eq!(self.asked("lines", &[&orders]).await.len(), 3);
        let (far, limit) = (at(1_000_000).millis(), 1000_i64);
        let due = self.asked("due", &[&far, &self.node, &far, &limit]).await;
        assert!(due.iter().any(|row| row.get::<_, Vec<u8>>(1) == order));
        let program = "0.0.1";
        self.asked("pulse", &[&self.node, &program, &1_i64]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_the_older_program_go_on_while_the_tables_change() {
    let (Some(database), Some(model)) = (Database::new().await, Database::new().await) else { return };
    let old = OldNode::start(&database, &model).await;
    for number in 0..ORDERS {
        old.sell(number).await;
    }
    assert_eq!(version(&database).await, 1);
    // The older node sells without a pause; meanwhile a node of today starts, and changes the tables under it.
    let changed = Arc::new(AtomicBool::new(false));
    let (url, done) = (database.url(), Arc::clone(&changed));
    let start = tokio::task::spawn_blocking(move || {
        let ledger = Ledger::connect(&url).unwrap_or_else(|error| panic!("{error}"));
        done.store(true, Ordering::SeqCst);
        ledger
    });
    let (mut number, mut after) = (ORDERS, 0);
    while after < ORDERS {
        after += i64::from(changed.load(Ordering::SeqCst));
        old.sell(number).await;
        number += 1;
    }
    let new = start.await.unwrap();
    assert!(version(&database).await > 1);

    // Each goes on with what the other one wrote, and sees what it must.
    for order in [0, number - 1] {
        assert_eq!(new.load(id(order)).unwrap(), old.model.load(id(order)).unwrap(), "{order}");
        assert_eq!(new.history(id(order)).unwrap(), old.model.history(id(order)).unwrap(), "{order}");
        let address = Email::parse(&format!("buyer{order}@example.ci")).unwrap();
        assert_eq!(
            new.mentions(&address).unwrap(),
            [id(order)],
            "whatever the older program wrote is looked through"
        );
        let by = Decision { by: "Awa".into(), note: "seen".into() };
        commit(&new, order, &[Event::Note { by, resend: None, buyer: None }]).await;
        let lines = old.asked("lines", &[&vec![id(order).bytes().to_vec()]]).await;
        assert_eq!(lines.len(), 4);
    }
    commit(&new, number, &[created(number)]).await;
    let stale = new.commit(id(number), None, &[created(number)], at(1)).await;
    assert!(matches!(stale, Err(CommitError::Conflict)), "{stale:?}");
    let report = verified(&new);
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.orders, u64::try_from(number).unwrap() + 1);
    println!("{number} orders by the older program, {after} of them on the newer tables");
    new.close().await;
    old.model.close().await;
}

/// A copy that takes hours holds every table: whoever wants to change one waits for it, and the others do not wait behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_holds_is_waited_for_and_nobody_stands_still() {
    let (Some(database), Some(model)) = (Database::new().await, Database::new().await) else { return };
    let old = OldNode::start(&database, &model).await;
    old.sell(0).await;
    let copier = client(&database).await;
    copier.batch_execute("begin; select count(*) from auditshield_lines").await.unwrap();
    let url = database.url();
    let start = tokio::task::spawn_blocking(move || Ledger::connect(&url));
    // It has the row of the tables' version once it tries.
    let held = "select 1 from auditshield_schema where changed_by is not null";
    let begun = Instant::now();
    while old.client.query(held, &[]).await.unwrap().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "it does not try");
    }
    for number in 1..=ORDERS {
        old.sell(number).await;
    }
    assert!(!start.is_finished() && version(&database).await == 1);
    copier.batch_execute("commit").await.unwrap();
    let new = start.await.unwrap().unwrap_or_else(|error| panic!("{error}"));
    assert!(version(&database).await > 1 && verified(&new).is_sound());
    new.close().await;
    old.model.close().await;
}
