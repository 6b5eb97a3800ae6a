//! Download tokens against PyPI's itsdangerous itself: it reads ours, we read its own.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use auditshield::adapters::token::{DownloadClaim, Links, TokenError};
use serde_json::{Value, json};

/// A Python interpreter that has itsdangerous; without it there is nothing to compare with.
const INTERPRETER: &str = "AUDITSHIELD_PYTHON";
const SECRET: &str = "clé de test, 32 octets au moins !";
const ORDER: &str = "01JD0QZ6Y3V9K2M4N6P8R0S2T4";

fn ask(interpreter: &str, question: &Value) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/itsdangerous_check.py");
    let mut python = Command::new(interpreter)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter starts");
    python.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "the script failed: {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn python_reads_ours_and_we_read_its_own() {
    let Ok(interpreter) = std::env::var(INTERPRETER) else {
        eprintln!("nothing compared: {INTERPRETER} names no Python interpreter with itsdangerous");
        return;
    };
    let links = Links::new(SECRET, []);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let long = "CMD".repeat(100);
    let plain = links.download_token(ORDER, 2, now);
    let compressed = links.download_token(&long, 1, now);
    assert!(!plain.starts_with('.') && compressed.starts_with('.'), "one token of each kind");
    let question = json!({
        "secret": SECRET,
        "tokens": {
            "plain": plain,
            "compressed": compressed,
            "old": links.download_token(ORDER, 2, now - 7200),
            "forged": plain.replacen('e', "f", 1),
            "grant": links.grant_token(ORDER, 2, 1, now),
            "foreign": Links::new("another", []).download_token(ORDER, 2, now),
        },
        "payloads": {
            "plain": {"order_id": ORDER},
            "both": {"order_id": ORDER, "link": 3},
            "compressed": {"order_id": ORDER, "link": 2, "note": "a".repeat(200)},
            "accents": {"order_id": "Aïcha", "link": 1},
        },
    });
    let answer = ask(&interpreter, &question);

    let read = &answer["read"];
    assert_eq!(read["plain"], json!({"payload": {"order_id": ORDER, "link": 2}, "timestamp": now}));
    assert_eq!(read["compressed"], json!({"payload": {"order_id": long, "link": 1}, "timestamp": now}));
    assert_eq!(read["old"], json!({"error": "SignatureExpired"}));
    for name in ["forged", "grant", "foreign"] {
        assert_eq!(read[name], json!({"error": "BadTimeSignature"}), "{name}");
    }

    let later = answer["now"].as_u64().unwrap() + 1;
    let expected =
        [("plain", ORDER, 1), ("both", ORDER, 3), ("compressed", ORDER, 2), ("accents", "Aïcha", 1)];
    for (name, order, link) in expected {
        let token = answer["made"][name].as_str().unwrap();
        assert_eq!(token.starts_with('.'), name == "compressed", "{name}");
        let DownloadClaim { order: named, link: number, issued_at } =
            links.read_download(token, later).expect(name);
        assert_eq!((named.as_str(), number), (order, link), "{name}");
        assert!((now..=later).contains(&issued_at), "{name}");
        assert_eq!(Links::new("another", []).read_download(token, later), Err(TokenError::Forged), "{name}");
    }
}
