//! The ledger's SQL is of the kind that CockroachDB and YugabyteDB document as supported. Neither was run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::fs;
use std::path::Path;

/// What must not be named, and why not.
const BANNED: &[(&str, &str)] = &[
    ("advisory", "CockroachDB's advisory locks do nothing"),
    ("listen", "CockroachDB has no LISTEN; YugabyteDB's is young"),
    ("notify", "CockroachDB has no NOTIFY; YugabyteDB's is young"),
    ("serial", "CockroachDB's SERIAL is no sequence, and a sequence has gaps anyway"),
    ("bigserial", "as SERIAL"),
    ("generated", "identity columns are sequences"),
    ("nextval", "a sequence has gaps"),
    ("sequence", "a sequence has gaps"),
    ("trigger", "CockroachDB got triggers late, with limits"),
    ("function", "functions of ours differ from engine to engine"),
    ("procedure", "as functions"),
    ("do", "anonymous blocks differ from engine to engine"),
    ("plpgsql", "as functions"),
    ("extension", "not to be had everywhere"),
    ("lock", "LOCK TABLE is not supported by CockroachDB"),
    ("cursor", "limited in CockroachDB"),
    ("unlogged", "not everywhere, and nothing of ours may be lost"),
    ("inherits", "not supported by either"),
    ("exclude", "not supported by CockroachDB"),
    ("deferrable", "not supported by CockroachDB"),
    ("temporary", "experimental in CockroachDB"),
    ("ctid", "PostgreSQL's own"),
    ("xmin", "PostgreSQL's own"),
    ("merge", "not supported by CockroachDB"),
    ("begin", "a transaction stays open while a daemon thinks"),
    ("references", "an order is not locked for its lines"),
    ("concurrently", "not a statement that may be repeated"),
];

/// Words that stand for something else in one place.
const ALLOWED: &[(&str, &str)] = &[("do", "on conflict"), ("lock", "for update skip locked")];

/// The statements of a file, in lower case, without comments.
fn statements(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let code = code.join("\n").to_lowercase();
    code.split(';').map(str::trim).filter(|one| !one.is_empty()).map(ToOwned::to_owned).collect()
}

fn words(statement: &str) -> impl Iterator<Item = &str> {
    statement.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The tables that a statement changes, in order.
fn changed(statement: &str) -> Vec<&str> {
    let words: Vec<&str> = words(statement).collect();
    let after = |at: usize| match words[at..] {
        ["insert" | "delete", "into" | "from", table, ..] => Some(table),
        ["update", table, ..] if table != "set" && at.checked_sub(1).is_none_or(|at| words[at] != "do") => {
            Some(table)
        }
        _ => None,
    };
    (0..words.len()).filter_map(after).collect()
}

/// What is wrong with a statement.
fn faults(statement: &str) -> Vec<String> {
    let mut found = Vec::new();
    for word in words(statement) {
        let banned =
            BANNED.iter().find(|(name, _)| *name == word || word.contains("advisory") && *name == "advisory");
        let allowed = ALLOWED.iter().any(|(name, beside)| *name == word && statement.contains(beside));
        if let Some((name, why)) = banned.filter(|_| !allowed) {
            found.push(format!("`{name}`: {why}"));
        }
    }
    let tables = changed(statement);
    let mut once = tables.clone();
    once.sort_unstable();
    once.dedup();
    if once.len() < tables.len() {
        found.push(format!(
            "a table is changed twice in one statement, which CockroachDB refuses: {tables:?}"
        ));
    }
    let (inserts, guards) =
        (statement.matches("insert into").count(), statement.matches("from moved").count());
    if statement.contains("with moved") && (guards == 0 || inserts == 0) {
        found.push("nothing depends on the row that was moved".to_owned());
    }
    // `select 'now'::timestamp` and the like are the node's business, or the session's.
    for time in ["localtime", "current_timestamp", "current_date"] {
        if statement.contains(time) {
            found.push(format!("`{time}`: the database's time is now() and clock_timestamp()"));
        }
    }
    found
}

#[test]
fn statements_stay_within_what_all_three_engines_document() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ledger/postgres");
    let mut seen = 0;
    let mut broken = Vec::new();
    for folder in ["sql", "migrations"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let statements = statements(&fs::read_to_string(&path).unwrap());
            if folder == "sql" && statements.len() != 1 {
                broken.push(format!("{name}: {} statements; a prepared one is alone", statements.len()));
            }
            for statement in statements {
                seen += 1;
                broken.extend(faults(&statement).into_iter().map(|fault| format!("{name}: {fault}")));
            }
        }
    }
    assert!(seen > 30, "the statements were not found");
    assert!(broken.is_empty(), "\n  {}", broken.join("\n  "));
}

#[test]
fn no_statement_hides_in_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ledger/postgres");
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for verb in ["\"select ", "\"insert ", "\"update ", "\"delete ", "\"with ", "\"create "] {
                assert!(!text.to_lowercase().contains(verb), "{}: {verb}", path.display());
            }
        }
    }
}

#[test]
fn the_lint_can_fail() {
    let clean = |text: &str| statements(text).iter().all(|statement| faults(statement).is_empty());
    assert!(clean("-- listen\nselect 1"));
    assert!(clean("insert into a (x) values (1) on conflict (x) do nothing"));
    assert!(clean("with m as (update a set x = 1 returning x) insert into b select x from m"));
    assert!(!clean("select pg_try_advisory_lock(1)"));
    assert!(!clean("LISTEN orders"));
    assert!(!clean("do $$ begin end $$"));
    assert!(!clean("create table t (id serial)"));
    assert!(!clean("with m as (update a set x = 1 returning x) insert into a select x from m"));
    assert!(!clean("with moved as (update a set x = 1 returning x) insert into b select 1"));
    assert!(!clean("select current_timestamp"));
}
