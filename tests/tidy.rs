//! The house rules that a machine can check, as data. A failure names the edge that broke them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use auditshield::config::{keys, name_of};
use auditshield::telemetry::METRICS;

/// Which modules (first name after `crate::`) a module may name; a longer path allows only what is below it.
const EDGES: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "app",
            "adapters::admin_api",
            "adapters::ngrok",
            "config",
            "doctor",
            "domain",
            "install",
            "ledger",
            "ports",
            "simulator",
            "telemetry",
        ],
    ),
    ("doctor", &["adapters", "config", "domain", "ledger", "ports", "telemetry"]),
    ("install", &["config"]),
    ("app", &["http", "actors", "ledger", "adapters", "ports", "domain", "simulator", "config", "telemetry"]),
    (
        "http",
        &[
            "actors",
            "adapters::cinetpay::signature",
            "adapters::limits",
            "adapters::proof",
            "adapters::receipt",
            "adapters::token",
            "ledger",
            "ports",
            "domain",
            "config",
            "telemetry",
        ],
    ),
    ("actors", &["ledger", "ports", "domain"]),
    ("ledger", &["domain"]),
    ("adapters", &["ports", "domain", "config", "telemetry"]),
    ("simulator", &["adapters::cinetpay::signature", "domain"]),
    ("ports", &["domain"]),
    ("telemetry", &["config", "ledger", "ports"]),
    ("config", &["domain"]),
    ("domain", &[]),
    ("failpoint", &[]),
];

/// Where a third-party crate may be named: folders and files below `src/`.
const OWNERS: &[(&str, &[&str])] = &[
    ("warp", &["http/", "simulator/"]),
    ("hyper", &["http/", "simulator/"]),
    ("hyper_util", &["http/", "simulator/"]),
    ("ractor", &["actors/"]),
    ("sled", &["ledger/"]),
    ("crossbeam_epoch", &["ledger/"]),
    ("rustix", &["failpoint.rs", "ledger/"]),
    ("tokio_postgres", &["ledger/postgres/"]),
    ("tokio_postgres_rustls", &["ledger/postgres/"]),
    ("deadpool_postgres", &["ledger/postgres/"]),
    ("rustls_native_certs", &["ledger/postgres/"]),
    ("postcard", &["ledger/"]),
    ("reqwest", &["adapters/", "simulator/mod.rs", "simulator/notify.rs"]),
    ("lettre", &["adapters/"]),
    ("pdf_writer", &["adapters/"]),
    ("hmac", &["adapters/", "simulator/sign.rs"]),
    ("ring", &["adapters/", "ledger/seal/"]),
    ("sha2", &["adapters/", "ledger/", "simulator/sign.rs"]),
    ("governor", &["adapters/"]),
    ("listenfd", &["adapters/"]),
    ("pulldown_cmark", &["http/"]),
    ("askama", &["http/", "adapters/"]),
    ("clap", &["cli/", "simulator/settings.rs"]),
    ("clap_complete", &["cli/"]),
    ("clap_mangen", &["cli/"]),
    ("comfy_table", &["cli/"]),
    ("indicatif", &["cli/"]),
    ("anstream", &["cli/", "app.rs", "app/"]),
    ("toml", &["config/"]),
    ("dotenvy", &["config/"]),
    ("ipnet", &["config/", "adapters/"]),
    ("metrics_exporter_prometheus", &["telemetry.rs", "app.rs", "app/", "http/"]),
    ("opentelemetry", &["telemetry/"]),
    ("opentelemetry_otlp", &["telemetry/"]),
    ("opentelemetry_sdk", &["telemetry/"]),
    ("tracing_opentelemetry", &["telemetry/"]),
    ("tracing_subscriber", &["telemetry.rs", "telemetry/", "config/"]),
    ("fail", &["failpoint.rs"]),
    ("rustls", &["adapters/", "config/", "simulator/", "app.rs", "app/", "telemetry/", "ledger/postgres/"]),
];

/// Longest file, in lines.
const FILE_LINES_MAX: usize = 400;
/// The files that are measured.
const MEASURED: &[&str] = &["rs", "py", "js", "mjs", "sh", "html"];
/// Folders that are looked into.
const FOLDERS: &[&str] =
    &["src", "tests", "examples", "benches", "docs", "config", "systemd", "packaging", "fuzz/fuzz_targets"];
/// Marks of unfinished work. Split, so that this file does not hold them.
const UNFINISHED: &[(&str, &str)] = &[
    ("TO", "DO"),
    ("FIX", "ME"),
    ("todo", "!("),
    ("unimplemented", "!("),
    ("#[ig", "nore"),
    ("should_", "panic"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder: its path from the root, and its text (empty if it is not text).
fn files(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("entry").path();
            // What npm installed is not ours to judge.
            if path.file_name().is_some_and(|name| name == "node_modules") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root()).expect("below the root").display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found
}

/// The program's own code. Its tests may name both sides of an edge: they are what brings them together.
fn sources() -> Vec<(String, String)> {
    let is_test = |name: &str| name.ends_with("/tests.rs") || name.contains("/tests/");
    let mut found = files("src");
    found.retain(|(name, _)| name.ends_with(".rs") && !is_test(name));
    assert!(found.len() > 20, "the sources were not found");
    for (_, text) in &mut found {
        // A module of tests stands last in its file; clippy sees to that.
        if let Some(at) = text.find("\n#[cfg(test)]\nmod tests {") {
            text.truncate(at);
        }
    }
    found
}

/// The sources without the unit tests, which may reach for whatever plays the other side.
fn shipped() -> Vec<(String, String)> {
    sources().into_iter().filter(|(name, _)| !name.contains("tests")).collect()
}

/// `src/http/buy.rs` is of `http`, `src/app.rs` of `app`.
fn module(name: &str) -> &str {
    let below = name.strip_prefix("src/").unwrap_or(name);
    below.split('/').next().unwrap_or(below).trim_end_matches(".rs")
}

/// The text with comment lines blanked, line for line.
fn code(text: &str) -> String {
    let keep = |line: &&str| !line.trim_start().starts_with("//");
    text.lines().map(|line| Some(line).filter(keep).unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The paths that follow `root::`, with their lines; `root::{a, b::c}`, over several lines too, gives both.
fn paths_after(text: &str, root: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(root) {
        let before = text[..at].chars().next_back();
        let number = text[..at].matches('\n').count() + 1;
        if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '$')) {
            continue;
        }
        let rest = &text[at + root.len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                let names = group.split('}').next().unwrap_or_default().split(',');
                found.extend(names.map(|name| (number, head(name))));
            }
            None => found.push((number, head(rest))),
        }
    }
    found.retain(|(_, path)| !path.is_empty());
    found
}

fn head(text: &str) -> String {
    text.trim().chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect()
}

fn allowed(module: &str, path: &str, edges: &[&str]) -> bool {
    let below =
        |edge: &str| path.strip_prefix(edge).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
    below(module) || edges.iter().any(|edge| below(edge))
}

fn none(what: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{what}\n  {}", broken.join("\n  "));
}

#[test]
fn modules_name_only_their_right_hand_side() {
    let known: BTreeSet<&str> = EDGES.iter().map(|(module, _)| *module).collect();
    let mut broken = Vec::new();
    for (file, text) in shipped() {
        let module = module(&file);
        if module == "lib" {
            continue;
        }
        let Some((_, edges)) = EDGES.iter().find(|(name, _)| *name == module) else {
            broken.push(format!("{file}: `{module}` has no line in EDGES"));
            continue;
        };
        let names = if module == "main" { "auditshield::" } else { "crate::" };
        for (line, path) in paths_after(&code(&text), names) {
            let first = path.split(':').next().unwrap_or_default();
            if known.contains(first) && !allowed(module, &path, edges) {
                broken.push(format!("{file}:{line}: {module} → {path}; it may name {edges:?}"));
            }
        }
    }
    none("a module names one that it must not know:", &broken);
}

#[test]
fn third_party_names_stay_with_their_owners() {
    let mut broken = Vec::new();
    for (file, text) in shipped() {
        let below = file.strip_prefix("src/").unwrap_or(&file);
        let code = code(&text);
        for (name, owners) in OWNERS {
            if owners.iter().any(|owner| below.starts_with(owner)) {
                continue;
            }
            for (line, path) in paths_after(&code, &format!("{name}::")) {
                broken.push(format!("{file}:{line}: {name}::{path}; its owners are {owners:?}"));
            }
            if code.contains(&format!("use {name};")) {
                broken.push(format!("{file}: {name}; its owners are {owners:?}"));
            }
        }
    }
    none("a crate is named outside its folder:", &broken);
}

#[test]
fn files_fit_a_reader() {
    let mut broken = Vec::new();
    for (file, text) in FOLDERS.iter().flat_map(|folder| files(folder)) {
        let extension = Path::new(&file).extension().and_then(|e| e.to_str()).unwrap_or_default();
        let lines = text.lines().count();
        if MEASURED.contains(&extension) && lines > FILE_LINES_MAX {
            broken.push(format!("{file}: {lines} lines"));
        }
    }
    none(&format!("longer than {FILE_LINES_MAX} lines:"), &broken);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut broken = Vec::new();
    for (file, text) in ["src", "tests"].iter().flat_map(|folder| files(folder)) {
        for (index, line) in text.lines().enumerate() {
            for (a, b) in UNFINISHED {
                let mark = format!("{a}{b}");
                if line.contains(&mark) {
                    broken.push(format!("{file}:{}: {mark}", index + 1));
                }
            }
        }
    }
    none("unfinished:", &broken);
}

#[test]
fn a_panic_reaches_its_supervisor() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let flat: String = manifest.split_whitespace().collect();
    assert!(!flat.contains("panic=\"abort\""), "with aborting panics no supervisor sees one");
    assert!(
        flat.contains("panic=\"unwind\"") && flat.contains("overflow-checks=true"),
        "the release profile"
    );
}

#[test]
fn every_dependency_says_why() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let mut section = "";
    let mut before = "";
    let mut broken = Vec::new();
    let mut explained = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]")
            && !line.starts_with('#')
            && let Some((name, _)) = line.split_once('=')
        {
            let name = name.trim();
            if line.contains(" # ") || before.starts_with('#') {
                explained.insert(name);
            } else if !explained.contains(name) {
                broken.push(name.to_owned());
            }
        }
        before = line;
    }
    assert!(explained.len() > 10, "the dependencies were not found");
    none("a dependency without a reason (on its line, or on the one above):", &broken);
}

#[test]
fn every_setting_is_documented() {
    let mut docs = fs::read_to_string(root().join("README.md")).expect("README.md");
    docs.extend(files("docs").into_iter().filter(|(file, _)| file.ends_with(".md")).map(|(_, text)| text));
    let missing: Vec<String> =
        keys().iter().map(|key| name_of(key)).filter(|name| !docs.contains(&format!("`{name}`"))).collect();
    none("a variable that neither README.md nor docs/ mentions:", &missing);
}

/// Texts that begin like a metric and are none.
const NOT_METRICS: &[&str] = &["auditshield_", "auditshield_session"];

#[test]
fn every_metric_is_described() {
    let known: BTreeSet<&str> = METRICS.iter().map(|(_, name, _)| *name).collect();
    let mut broken = Vec::new();
    for (file, text) in sources() {
        for (index, line) in code(&text).lines().enumerate() {
            for text in line.split('"').skip(1).step_by(2) {
                let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
                let metric = plain && text.starts_with("auditshield_") && !NOT_METRICS.contains(&text);
                if metric && !known.contains(text) {
                    broken.push(format!("{file}:{}: {text}", index + 1));
                }
            }
        }
    }
    none("a metric without a line in telemetry::METRICS:", &broken);
}

#[test]
fn the_checks_can_fail() {
    let check = |text: &str, want: &[(usize, &str)]| {
        let got = paths_after(text, "crate::");
        let got: Vec<_> = got.iter().map(|(line, path)| (*line, path.as_str())).collect();
        assert_eq!(got, want, "{text}");
    };
    check("use crate::ledger::Ledger;", &[(1, "ledger::Ledger")]);
    check("\nuse crate::{\n    http,\n    domain::values,\n};", &[(2, "http"), (2, "domain::values")]);
    check("let x = mycrate::ledger();", &[]);
    check("f(crate::app::Error, crate::http::X)", &[(1, "app::Error"), (1, "http::X")]);
    check(&code("// crate::app\nx\ncrate::app::y"), &[(3, "app::y")]);
    assert!(paths_after("let db: sled::Db = x;", "sled::").len() == 1);
    assert!(paths_after("\"sled:var/store\"", "sled::").is_empty());
    assert!(allowed("http", "adapters::token::Links", &["adapters::token"]));
    assert!(!allowed("http", "adapters::tokens", &["adapters::token"]));
    assert!(!allowed("domain", "ledger::Ledger", &[]));
    assert_eq!(module("src/http/admin/mod.rs"), "http");
    assert_eq!(module("src/app.rs"), "app");
}
