//! The program as a child process: exit codes, what it prints where, and that it opens nothing when a setting is wrong.
//!
//! `AUDITSHIELD_BINARY` names another build of it, the release binary for one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should panic")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

const SANDBOX: [(&str, &str); 5] = [
    ("AUDITSHIELD_SECRET_KEY", "k"),
    ("AUDITSHIELD_ADMIN__TOKEN", "t"),
    ("CINETPAY_API_KEY", "a"),
    ("CINETPAY_SITE_ID", "445160"),
    ("CINETPAY_WEBHOOK_SECRET", "w"),
];

/// A folder with `config/catalog.toml`, as `serve` expects it where it is started.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    std::fs::create_dir_all(folder.path().join("config/files")).unwrap();
    for file in ["catalog.toml", "files/audit-kit.jpg", "files/audit-kit.md", "files/audit-kit-apercu.md"] {
        std::fs::copy(shipped.join(file), folder.path().join("config").join(file)).unwrap();
    }
    folder
}

fn run(folder: &Path, env: &[(&str, &str)], line: &str) -> Output {
    let binary =
        std::env::var("AUDITSHIELD_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_auditshield").to_owned());
    Command::new(binary)
        .args(line.split_whitespace())
        .current_dir(folder)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs it, expects the exit code, gives stdout and stderr.
fn expect(env: &[(&str, &str)], line: &str, code: i32) -> (String, String) {
    let output = run(folder().path(), env, line);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{line}\n{out}\n{err}");
    assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "colours without a terminal: {line}");
    (out, err)
}

fn with(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    SANDBOX.iter().chain(changes).copied().collect()
}

#[test]
fn usage_is_2() {
    for line in ["", "fly", "serve --fast", "orders show", "orders show 12", "demo --port x"] {
        let (out, err) = expect(&[], line, 2);
        assert!(out.is_empty() && !err.is_empty(), "{line}");
    }
    assert!(expect(&[], "--help", 0).0.contains("auditshield demo"));
    assert!(expect(&[], "--version", 0).0.starts_with("auditshield "));
}

#[test]
fn every_missing_setting_has_a_line_and_78() {
    let (out, err) = expect(&[], "serve", 78);
    assert_eq!(out, "");
    let names: Vec<&str> = err.lines().map(|line| line.split(':').next().unwrap_or_default()).collect();
    let wanted = [
        "AUDITSHIELD_SECRET_KEY",
        "AUDITSHIELD_ADMIN__TOKEN",
        "CINETPAY_API_KEY",
        "CINETPAY_SITE_ID",
        "CINETPAY_WEBHOOK_SECRET",
    ];
    assert_eq!(names, wanted, "{err}");
}

#[test]
fn an_authority_that_cannot_be_read_has_a_line_and_78() {
    for name in ["AUDITSHIELD_CINETPAY__CA_FILE", "AUDITSHIELD_MAIL__CA_FILE"] {
        for file in ["/nowhere/ca.pem", "config/catalog.toml", "config"] {
            let (_, err) = expect(&with(&[(name, file)]), "serve", 78);
            assert!(err.lines().count() == 1 && err.starts_with(&format!("{name}: ")), "{file}: {err}");
        }
    }
}

#[test]
fn nothing_opens_when_a_setting_is_wrong() {
    // The port is taken: had it tried to listen, the answer would be 69.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut env = with(&[("CINETPAY_ENV", "production")]);
    env.push(("AUDITSHIELD_SERVER__LISTEN", &address));
    let folder = folder();
    let output = run(folder.path(), &env, "serve");
    assert_eq!(output.status.code(), Some(78), "{}", text(&output.stderr));
    assert!(!folder.path().join("var").exists(), "the store was made all the same");
}

#[test]
fn a_configuration_is_checked() {
    let (out, err) = expect(&with(&[]), "config check", 0);
    assert!(out.starts_with("OK") && err.is_empty(), "{out}{err}");
    let (out, _) = expect(&with(&[]), "config check --json", 0);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["valid"], true);
    assert_eq!(value["cinetpay_env"], "sandbox");
    let (out, err) = expect(&with(&[("AUDITSHIELD_DOWNLOAD__TTL", "3 moons")]), "config check --json", 78);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["problems"][0]["name"], "AUDITSHIELD_DOWNLOAD__TTL");
    assert_eq!(err.lines().count(), 1, "{err}");
    let (out, _) = expect(&[], "config defaults", 0);
    assert!(out.contains("[server]") && out.contains("listen = \"127.0.0.1:8000\""));
}

#[test]
fn what_is_out_of_reach_is_69() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let env = [("AUDITSHIELD_ADMIN__TOKEN", "t"), ("AUDITSHIELD_ADMIN__LISTEN", nobody.as_str())];
    let (_, err) = expect(&env, "orders list", 69);
    assert!(err.contains(&nobody), "{err}");
    expect(&[], "ledger verify", 69);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    expect(&[], &format!("simulator --listen {address}"), 69);
    let mut env = with(&[]);
    env.push(("AUDITSHIELD_SERVER__LISTEN", &address));
    expect(&env, "serve", 69);
}

#[test]
fn a_secret_is_never_printed() {
    let secret = "c0rrect-horse-battery";
    let env: Vec<(&str, &str)> = SANDBOX.iter().map(|(name, _)| (*name, secret)).collect();
    for line in ["config check", "config check --json"] {
        let (out, err) = expect(&env, line, 0);
        assert!(!out.contains(secret) && !err.contains(secret), "{line}: {out}{err}");
    }
}

/// Also where the usage is what is wrong: a number of nodes that nobody could run.
#[test]
fn a_build_without_postgresql_says_so_when_it_is_asked_for_it() {
    for line in ["demo --nodes 0", "demo --nodes 10", "demo --nodes three"] {
        expect(&[], line, 2);
    }
    if cfg!(feature = "postgres") {
        return;
    }
    for line in ["demo --nodes 3 --once", "ledger migrate --from sled:a --to postgres://b/c"] {
        let (out, err) = expect(&[], line, 69);
        assert!(out.is_empty() && err.starts_with("ce programme est compilé sans PostgreSQL"), "{err}");
        assert!(err.contains("this program was built without PostgreSQL"), "{err}");
    }
}
