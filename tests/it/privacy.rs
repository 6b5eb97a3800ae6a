//! `auditshield privacy`: what is stored about a person is told; once erased it is in no file any more, and everything
//! else is as before.

use std::path::{Path, PathBuf};

use auditshield::ledger;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use crate::process_support::{EMAIL, NAME, World};

const NOTE: &str = "rappelée au téléphone, très contrariée";
const OTHER: &str = "koffi@example.ci";
/// Where the first key stands in the key file: behind the file's own record.
const FIRST_KEY: std::ops::Range<usize> = 64 + 16..64 + 48;

/// Every file below these folders.
fn files(folders: &[&Path]) -> Vec<(PathBuf, Vec<u8>)> {
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| folder.to_path_buf()).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                found.push((path.clone(), std::fs::read(path).unwrap()))
            }
        }
    }
    found
}

pub(crate) fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A text as it stands, without capitals, in hex, and in base64 at each of its three alignments.
pub(crate) fn disguises(text: &str) -> Vec<Vec<u8>> {
    let mut found = vec![text.into(), text.to_lowercase().into(), hex::encode(text).into()];
    for skip in 0..3 {
        let coded = STANDARD_NO_PAD.encode([&b"xy"[..skip.min(2)], text.as_bytes()].concat());
        found.push(coded.as_bytes()[4.min(4 * skip)..coded.len() - 2].to_vec());
    }
    found
}

/// No file tells the text in any disguise.
fn nowhere(folders: &[&Path], text: &str) {
    for (path, bytes) in files(folders) {
        for secret in disguises(text) {
            assert!(
                !holds(&bytes, &secret),
                "{text} ({}) in {}",
                String::from_utf8_lossy(&secret),
                path.display()
            );
        }
    }
}

pub(crate) async fn ran(world: &World, arguments: &[&str], wanted: i32) -> String {
    let (code, said) = world.run(arguments).await;
    assert_eq!(code, wanted, "{arguments:?}: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_and_erased_and_nothing_else_is_lost() {
    let mut world = World::new(&[]).await;
    let (store, backup) = (world.path("store"), world.path("backup"));
    let (held, target) = (backup.join("journal/orders.keys"), backup.to_str().unwrap().to_owned());
    world.start().await;
    let order = world.buy_and_pay().await;
    let other = world.try_buy(OTHER).await.unwrap();
    world.until(&order, "DELIVERED").await;
    ran(&world, &["orders", "refund", &order, "--note", NOTE], 0).await;
    ran(&world, &["ledger", "backup", &target], 0).await;
    for text in [EMAIL, NAME, NOTE, OTHER] {
        nowhere(&[&store, &backup], text);
    }
    let first = std::fs::read(&held).unwrap()[FIRST_KEY].to_vec();

    let told = ran(&world, &["privacy", "export", &EMAIL.to_uppercase()], 0).await;
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), 1);
    let text = told[0].to_string();
    assert_eq!(told[0]["order"]["order_id"], order);
    assert!(
        text.contains(EMAIL) && text.contains(NAME) && text.contains(NOTE) && !text.contains(OTHER),
        "{text}"
    );

    // Asked without a terminal and without --yes: told what would be lost, and nothing is.
    let plan = ran(&world, &["privacy", "erase", EMAIL], 1).await;
    assert!(plan.contains("à effacer/to erase") && plan.contains("name on the receipt"), "{plan}");
    assert_eq!(world.order(&order).await["email"], EMAIL);
    let (was, export) = (world.order(&order).await, ran(&world, &["ledger", "export"], 0).await);

    let done = ran(&world, &["privacy", "erase", EMAIL, "--yes", "--json"], 0).await;
    let done: Value = serde_json::from_str(&done).unwrap();
    assert_eq!((&done["erased"], &done["kept"]), (&json!(1), &json!(0)), "{done}");
    let now = world.order(&order).await;
    assert_eq!((&now["email"], &now["delivery"]["revoked"]), (&json!("effacé"), &json!(true)));
    for member in ["status", "amount", "currency", "product", "provider_tx_id", "paid_at", "created_at"] {
        assert_eq!(was[member], now[member], "{member}");
    }
    assert!(!now.to_string().contains(NAME) && !now.to_string().contains(NOTE), "{now}");
    assert_eq!(world.order(&other).await["email"], OTHER, "somebody else");
    assert_eq!(ran(&world, &["privacy", "export", EMAIL], 0).await.lines().count(), 1, "nothing is stored");
    let list: Value =
        serde_json::from_str(&ran(&world, &["orders", "list", "--q", EMAIL, "--json"], 0).await).unwrap();
    assert_eq!(list["orders"], json!([]));

    // The key is in no file of the store, and in none of the backup once the next one was made.
    for (path, bytes) in files(&[&store]) {
        assert!(!holds(&bytes, &first), "the key is in {}", path.display());
    }
    let older = world.path("older.keys");
    std::fs::copy(&held, &older).unwrap();
    ran(&world, &["ledger", "backup", &target], 0).await;
    for (path, bytes) in files(&[&store, &backup]) {
        assert!(!holds(&bytes, &first), "the key is in {}", path.display());
    }

    // Papers of an erased order.
    let proof = ran(&world, &["orders", "proof", &order], 0).await;
    assert!(proof.contains("effacé") && !proof.contains(EMAIL), "{proof}");
    let letter = ran(&world, &["orders", "dossier", &order], 0).await;
    assert!(letter.contains("effacé") && !letter.contains(EMAIL), "{letter}");
    let (status, receipt) = world.get(&format!("{}/admin/orders/{order}/receipt.pdf", world.admin)).await;
    assert!(!receipt.contains(EMAIL), "{status}");

    // Stopped: the chain, the index, a rebuild, a restoration with a key file that is older than the erasure.
    world.ends_well(&store).await;
    let checked: Value =
        serde_json::from_str(&ran(&world, &["ledger", "verify", "--json"], 0).await).unwrap();
    assert_eq!((&checked["index_compared"], &checked["erased"]), (&json!(true), &json!(1)), "{checked}");
    let after = ran(&world, &["ledger", "export"], 0).await;
    assert_eq!(after.lines().count(), export.lines().count() + 1, "one ERASED");
    assert!(after.contains(OTHER) && !after.contains(EMAIL) && after.contains("\"erased\":true"), "{after}");
    ran(&world, &["ledger", "rebuild"], 0).await;
    ran(&world, &["ledger", "verify"], 0).await;
    std::fs::copy(&older, &held).unwrap();
    let place = world.path("restored");
    ran(&world, &["ledger", "restore", &target, place.to_str().unwrap()], 0).await;
    assert!(
        !holds(&std::fs::read(place.join("journal/orders.keys")).unwrap(), &first),
        "destroyed once more"
    );
    let report = ledger::verify(&place, &mut |_| ()).unwrap();
    assert!(report.is_sound() && report.erased == 1, "{:?}", report.findings);
    for text in [EMAIL, NAME, NOTE] {
        nowhere(&[&store, &place], text);
    }
}

/// An order whose file is still to be sent is kept, and said so; by force its mail is not sent any more.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_owed_is_kept_unless_forced() {
    let mut world = World::new(&[]).await;
    let refuse =
        auditshield::simulator::mailbox::Fault::reply(auditshield::simulator::mailbox::Step::Rcpt, 451);
    world.mailbox.set_fault(Some(refuse));
    world.start().await;
    let order = world.buy_and_pay().await;
    world.until(&order, "MAIL_FAILED").await;
    let kept = ran(&world, &["privacy", "erase", EMAIL, "--yes"], 1).await;
    assert!(kept.contains("gardée/kept: delivery-owed"), "{kept}");
    assert_eq!(world.order(&order).await["email"], EMAIL);
    let forced = ran(&world, &["privacy", "erase", EMAIL, "--yes", "--force"], 0).await;
    assert!(forced.contains("effacée/erased"), "{forced}");
    world.mailbox.set_fault(None);
    let now = world.order(&order).await;
    assert_eq!(
        (&now["delivery"]["status"], &now["delivery"]["reason"]),
        (&json!("stalled"), &json!("ERASED"))
    );
    for (act, body) in [("resend", json!({"note": "x"})), ("address", json!({"note": "x", "email": OTHER}))] {
        let url = format!("{}/api/orders/{order}/{act}", world.admin);
        let asked = world.client.post(url).bearer_auth(crate::process_support::ADMIN_TOKEN).json(&body);
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 409, "{act}");
        assert!(answer.text().await.unwrap().contains("erased"), "{act}");
    }
    let wrong = ran(&world, &["privacy", "erase", "not-an-address", "--yes"], 1).await;
    assert!(wrong.contains("400"), "{wrong}");
    let store = world.path("store");
    world.ends_well(&store).await;
    assert_eq!(world.mailbox.messages().len(), 0, "nothing was sent");
}
