//! `orders export | settle | dossier | proof`: the program beside a running daemon.

use crate::process_support::{EMAIL, World};

/// The day after tomorrow's century is far enough.
const ALWAYS: [&str; 4] = ["--from", "2020-01-01", "--to", "2029-12-29"];

#[tokio::test(flavor = "multi_thread")]
async fn the_same_papers_from_a_shell() {
    let mut world = World::new(&[]).await;
    world.start().await;
    let order = world.buy_and_pay().await;
    world.notify(&order).await;
    let paid = world.until(&order, "DELIVERED").await;
    let run = async |line: &[&str]| world.run(&[&["orders"], line].concat()).await;

    let (code, csv) = run(&[&["export"], &ALWAYS[..]].concat()).await;
    assert!(code == 0 && csv.contains(&order) && csv.contains(EMAIL), "{csv}");
    let (code, lines) = run(&[&["export", "--format", "jsonl"], &ALWAYS[..]].concat()).await;
    let line: serde_json::Value = serde_json::from_str(lines.trim_end()).unwrap();
    assert!(code == 0 && line["paid_at"] == paid["paid_at"], "{lines}");
    let (code, english) = run(&[&["export", "--lang", "en"], &ALWAYS[..]].concat()).await;
    assert!(code == 0 && english.contains("order;transaction"), "{english}");

    // A file appears once, whole, for its owner only.
    let file = [&["export", "--output", "export.csv"], &ALWAYS[..]].concat();
    assert_eq!(run(&file).await, (0, String::new()));
    let kept = world.path("export.csv");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), csv);
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&kept).unwrap().permissions()) & 0o777,
        0o600
    );
    assert_eq!(run(&file).await.0, 1, "it is never overwritten");
    let nothing = ["proof", "01JD0QZ6Y3V9K2M4N6P8R0S2T4", "--output", "nothing.json"];
    assert_eq!(run(&nothing).await.0, 1);
    assert!(!world.path("nothing.json").exists() && !world.path("nothing.json.partial").exists());

    let settle = async |text: &str, more: &[&str]| {
        std::fs::write(world.path("releve.csv"), text).unwrap();
        run(&[&["settle", "releve.csv"], more].concat()).await
    };
    let row = |amount: &str| {
        format!("Identifiant transaction;Montant;Devise;Statut\n{order};{amount};XOF;ACCEPTED\n")
    };
    let (code, said) = settle(&row("15 000"), &ALWAYS).await;
    assert!(code == 0 && said.starts_with("OK · 1 "), "{said}");
    let (code, said) = settle(&row("14 000"), &ALWAYS).await;
    assert!(code == 1 && said.contains("Montants différents") && said.contains(&order), "{said}");
    let (code, said) = settle(&row("14 000"), &[&ALWAYS[..], &["--json"]].concat()).await;
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(code == 1 && report["findings"]["amounts"]["count"] == 1, "{said}");
    assert_eq!(settle("nom;prix\n1;2\n", &ALWAYS).await.0, 65);
    assert_eq!(settle(&row("15000"), &[]).await.0, 65, "no dates, no period");
    assert_eq!(run(&["settle", "missing.csv"]).await.0, 65);

    let (code, letter) = run(&["dossier", &order]).await;
    assert!(code == 0 && letter.contains("Objet : Client débité") && !letter.contains(EMAIL), "{letter}");
    let (code, letter) = run(&["dossier", &order, "--json"]).await;
    let letter: serde_json::Value = serde_json::from_str(&letter).unwrap();
    assert!(code == 0 && letter["to"] == "support.marchands@cinetpay.com", "{letter}");

    assert_eq!(run(&["proof", &order, "--output", "proof.json"]).await.0, 0);
    assert_eq!(run(&["proof", "--public-key", "--output", "key.pem"]).await.0, 0);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify_proof.py");
    let mut checked = std::process::Command::new("python3");
    checked.args(["-B", script]).arg(world.path("proof.json")).arg("--key").arg(world.path("key.pem"));
    assert!(checked.status().unwrap().success());
    for lang in ["fr", "en"] {
        let name = format!("proof-{lang}.pdf");
        let line = ["proof", &order, "--format", "pdf", "--lang", lang, "--output", &name];
        assert_eq!(run(&line).await, (0, String::new()));
        let pages = std::fs::read(world.path(&name)).unwrap();
        let says = |text: &[u8]| pages.windows(text.len()).any(|part| part == text);
        assert_eq!(
            (says(b"(Preuve de vente) Tj"), says(b"(Proof of sale) Tj")),
            (lang == "fr", lang == "en")
        );
        let mut checked = std::process::Command::new("python3");
        checked.args(["-B", script]).arg(world.path(&name)).arg("--key").arg(world.path("key.pem"));
        assert!(checked.status().unwrap().success());
    }
    let receipt = format!("{}-000001", &paid["paid_at"].as_str().unwrap()[..4]);
    let (code, listed) = run(&["list", "--q", &receipt]).await;
    assert!(code == 0 && listed.contains(&order) && listed.contains("15\u{202f}000\u{202f}FCFA"), "{listed}");
}
