//! What the merchant carries away, checked by programs that are not ours: Python's csv, docs/verify_proof.py, OpenSSL.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::contract::office;
use crate::support::{ADMIN_TOKEN, TestApp};

const NAME: &str = "=HYPERLINK(\"http://x\"); \"Awa\", Koné";
const PHONE: &str = "+2250707070707";
/// The signing key of [`TestApp`].
const SECRET_KEY: &str = "integration-secret-key-0123456789abcdef";
/// Reads a CSV file as a French spreadsheet would, and prints it as JSON.
const READ_CSV: &str = "import csv, json, sys
text = open(sys.argv[1], encoding='utf-8', newline='').read()
assert text.startswith('\\ufeff') and text.endswith('\\r\\n'), repr(text[:20])
rows = list(csv.reader(text[1:].splitlines(keepends=True), delimiter=';', strict=True))
sniffed = csv.Sniffer().sniff(text[1:].splitlines()[0], delimiters=';,\\t')
assert sniffed.delimiter == ';', sniffed.delimiter
json.dump(rows, sys.stdout)";

fn python(arguments: &[&str]) -> Output {
    Command::new("python3").arg("-B").args(arguments).output().unwrap()
}

fn verify(arguments: &[&str]) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify_proof.py");
    let done = python(&[&[script.to_str().unwrap()], arguments].concat());
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8(said).unwrap())
}

/// Packs every stream of a PDF, as other programs do when they save it.
const REPACK: &str = "import re, sys, zlib
data = open(sys.argv[1], 'rb').read()
pack = lambda found: b'stream\\n' + zlib.compress(found[1]) + b'\\nendstream'
changed = re.sub(rb'stream\\n(.*?)\\nendstream', pack, data, flags=re.S)
assert changed != data and b'auditshield-proof' not in changed
open(sys.argv[1], 'wb').write(changed)";

fn position(within: &[u8], part: &[u8]) -> usize {
    within.windows(part.len()).position(|window| window == part).unwrap()
}

async fn bytes(app: &TestApp, path: &str) -> Vec<u8> {
    let answer =
        app.client.get(format!("{}{path}", app.admin)).bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.bytes().await.unwrap().to_vec()
}

async fn get(app: &TestApp, path: &str) -> String {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let answer = office(app, "GET", path, &[("authorization", bearer.as_str())], "").await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.body
}

/// An order with a name and a telephone number, paid and delivered.
async fn sold(app: &TestApp) -> String {
    app.silent();
    let answer = app.buy_with(&[], &json!({"email": "awa@example.ci", "name": NAME, "phone": PHONE})).await;
    let order = answer.json::<Value>().await.unwrap()["order_id"].as_str().unwrap().to_owned();
    app.cinetpay.approve(&order).unwrap();
    app.notify(&order).await;
    app.until(&order, "DELIVERED").await;
    order
}

fn saved(app: &TestApp, name: &str, text: &str) -> PathBuf {
    let path = app.folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spreadsheet_reads_the_export() {
    let app = TestApp::with(&[("AUDITSHIELD_MERCHANT__UTC_OFFSET", "+01:00")]).await;
    let order = sold(&app).await;
    let waiting = app.buy().await;
    let query = "from=2020-01-01&to=2029-12-29";
    let csv = get(&app, &format!("/admin/exports/orders.csv?{query}&by=created_at")).await;
    let file = saved(&app, "export.csv", &csv);
    let done = python(&["-c", READ_CSV, file.to_str().unwrap()]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let rows: Vec<Vec<String>> = serde_json::from_slice(&done.stdout).unwrap();
    let [headings, newest, paid] = rows.as_slice() else { panic!("{rows:?}") };
    let cell = |row: &[String], heading: &str| {
        let place = headings
            .iter()
            .position(|one| one == heading)
            .unwrap_or_else(|| panic!("{heading} in {headings:?}"));
        row[place].clone()
    };
    assert_eq!(
        (cell(newest, "commande"), cell(newest, "statut"), cell(newest, "payée (UTC)")),
        (waiting, "PENDING".into(), String::new())
    );
    for (heading, want) in [
        ("commande", order.as_str()),
        ("montant", "15000"),
        ("devise", "XOF"),
        ("nom", &format!("'{NAME}")),
        ("téléphone", &format!("'{PHONE}")),
        ("e-mail", "awa@example.ci"),
    ] {
        assert_eq!(cell(paid, heading), want, "{heading}");
    }
    let shown = app.order(&order).await;
    assert_eq!(cell(paid, "payée (UTC)"), shown["paid_at"].as_str().unwrap());
    let (utc, local) = (cell(paid, "créée (UTC)"), cell(paid, "créée (local, UTC+01:00)"));
    assert_ne!(utc[11..13], local[11..13], "{utc} {local}");
    let lines = get(&app, &format!("/admin/exports/orders.jsonl?{query}")).await;
    let sales: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(sales.len(), 1, "by payment: {lines}");
    assert_eq!((&sales[0]["name"], &sales[0]["phone"]), (&NAME.into(), &PHONE.into()));
    let english = get(&app, &format!("/admin/exports/orders.csv?{query}&lang=en")).await;
    assert!(english.starts_with("\u{feff}order;transaction;status;"), "{english}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_verified_without_us_and_no_changed_byte_passes() {
    let app = TestApp::start().await;
    let order = sold(&app).await;
    let text = get(&app, &format!("/admin/orders/{order}/proof.json")).await;
    let proof = saved(&app, "proof.json", &text);
    let key = saved(&app, "key.pem", &get(&app, "/admin/proof-key.pem").await);
    let (proof_path, key_path) = (proof.to_str().unwrap(), key.to_str().unwrap());
    let journal = app.folder.path().join("store/journal");
    let all = ["--key", key_path, "--journal", journal.to_str().unwrap()];
    let (sound, said) = verify(&[&[proof_path], &all[..]].concat());
    assert!(sound && said.contains(&order) && said.contains("15000 XOF"), "{said}");
    let (sound, said) = verify(&[proof_path]);
    assert!(sound && said.contains("--key"), "{said}");

    // So is the same file inside a PDF, whatever a viewer did to the rest when it saved it anew.
    let pages = bytes(&app, &format!("/admin/orders/{order}/proof.pdf")).await;
    let paper = app.folder.path().join("proof.pdf");
    let paper_path = paper.to_str().unwrap();
    for (repacked, passes) in [(false, true), (true, true)] {
        std::fs::write(&paper, &pages).unwrap();
        if repacked {
            assert!(python(&["-c", REPACK, paper_path]).status.success());
        }
        let (sound, said) = verify(&[&[paper_path], &all[..]].concat());
        assert!(sound == passes && said.contains(&order) && said.contains("PDF"), "{repacked}: {said}");
    }
    // Nothing attached, something else, the same twice, one byte of it changed: none of them is a proof.
    let text_at = position(&pages, b"{\n  \"format\": \"auditshield-proof-1\"");
    let end = text_at + position(&pages[text_at..], b"\nendstream");
    let inside = &pages[text_at..end];
    let replaced = |with: &[u8]| [&pages[..text_at], with, &pages[end..]].concat();
    let mut bent = inside.to_vec();
    bent[inside.len() / 2] ^= 1;
    let twice = [inside, b"\nendstream\nstream\n", inside].concat();
    for (what, changed) in [
        ("nothing", replaced(b"")),
        ("a text", replaced(b"Preuve")),
        ("two", replaced(&twice)),
        ("a changed one", replaced(&bent)),
        ("a cut one", replaced(&inside[..inside.len() - 1])),
    ] {
        std::fs::write(&paper, changed).unwrap();
        let (sound, said) = verify(&[paper_path, "--key", key_path]);
        assert!(!sound && said.contains("NON"), "{what}: {said}");
    }

    // OpenSSL says the same of the same bytes.
    let (signed, signature) = (app.folder.path().join("signed"), app.folder.path().join("signature"));
    let (signed, signature) = (signed.to_str().unwrap(), signature.to_str().unwrap());
    assert!(verify(&[proof_path, "--extract", signed, signature]).0);
    let openssl = || {
        let line = [
            "pkeyutl", "-verify", "-pubin", "-inkey", key_path, "-rawin", "-in", signed, "-sigfile",
            signature,
        ];
        Command::new("openssl").args(line).output().expect("openssl").status.success()
    };
    assert!(openssl());
    std::fs::write(signed, text.replacen("15000", "15001", 1)).unwrap();
    assert!(!openssl());

    // A shop with another key may sign whatever it likes: not what this key's owner said.
    let other = TestApp::with(&[("AUDITSHIELD_SECRET_KEY", "another-secret-key-0123456789abcdef")]).await;
    let foreign = saved(&app, "other.pem", &get(&other, "/admin/proof-key.pem").await);
    assert!(!verify(&[proof_path, "--key", foreign.to_str().unwrap()]).0);

    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/papers");
    let step = std::env::var("AUDITSHIELD_TAMPER_STEP").unwrap_or_else(|_| "31".to_owned());
    for (script, more) in
        [("tamper.py", &[key_path, &step][..]), ("dishonest.py", &[journal.to_str().unwrap()])]
    {
        let script = tests.join(script);
        let done = python(&[&[script.to_str().unwrap(), proof_path], more].concat());
        let said = [done.stdout, done.stderr].concat();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&said));
        print!("{}", String::from_utf8_lossy(&said));
    }
}

/// While a key is rotated out its proofs are still believed, and new ones are signed with the new key.
#[tokio::test(flavor = "multi_thread")]
async fn both_keys_are_published_while_one_is_rotated_out() {
    let app = TestApp::with(&[(
        "AUDITSHIELD_SECRET_KEY",
        &format!("a-new-secret-key-0123456789abcdef,{SECRET_KEY}"),
    )])
    .await;
    let before = TestApp::with(&[("AUDITSHIELD_SECRET_KEY", SECRET_KEY)]).await;
    let (both, one) = (get(&app, "/admin/proof-key.pem").await, get(&before, "/admin/proof-key.pem").await);
    assert!(both.ends_with(&one) && both.len() == 2 * one.len(), "{both}");
    let order = sold(&before).await;
    let proof = saved(&app, "old.json", &get(&before, &format!("/admin/orders/{order}/proof.json")).await);
    let keys = saved(&app, "both.pem", &both);
    assert!(verify(&[proof.to_str().unwrap(), "--key", keys.to_str().unwrap()]).0);
    let new = sold(&app).await;
    let text = get(&app, &format!("/admin/orders/{new}/proof.json")).await;
    let named: Value = serde_json::from_str(&text).unwrap();
    assert!(both.lines().nth(1) == named["public_key"].as_str(), "the first key signs");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_letter_tells_the_story_and_no_secret() {
    let app = TestApp::start().await;
    app.silent();
    let answer =
        app.buy_with(&[], &json!({"email": "awa@example.ci", "name": "Awa", "phone": "0707070707"})).await;
    let order = answer.json::<Value>().await.unwrap()["order_id"].as_str().unwrap().to_owned();
    app.cinetpay.refuse(&order, "602").unwrap();
    app.notify(&order).await;
    app.until(&order, "FAILED").await;
    let letter = get(&app, &format!("/admin/orders/{order}/dossier.txt")).await;
    let journal = app.folder.path().join("store/journal/00000000000000000001.jsonl");
    let lines = std::fs::read_to_string(journal).unwrap();
    for part in [order.as_str(), "15000 XOF", "code 602", "0707••••07", "Client débité, paiement non abouti"]
    {
        assert!(letter.contains(part), "{part} in {letter}");
    }
    let entries: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(entries.len() >= 4, "{lines}");
    for entry in &entries {
        assert!(letter.contains(entry["hash"].as_str().unwrap()), "{entry} in {letter}");
        for event in entry["events"].as_array().unwrap() {
            for secret in ["payment_token", "payment_url"] {
                assert!(event[secret].as_str().is_none_or(|text| !letter.contains(text)), "{secret}");
            }
            if event["kind"] == "NOTIFIED" {
                assert!(letter.contains(event["digest"].as_str().unwrap()), "{event} in {letter}");
            }
        }
    }
    for personal in ["awa@example.ci", "Awa", "0707070707", "integration-"] {
        assert!(!letter.contains(personal), "{personal} in {letter}");
    }
}
