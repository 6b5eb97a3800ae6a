//! `auditshield demo --nodes 3 --once`: the node that took the order is killed, the others go on, and nothing is left
//! running.

use std::process::Command;

use super::is_asked_for;
use crate::process_support::binary;

#[test]
fn the_demonstration_outlives_a_node() {
    if !is_asked_for() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // The server's owner must be able to enter it.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let output = Command::new(binary())
        .args(["demo", "--nodes", "3", "--once"])
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {said}\n{complained}", output.status);
    for words in
        ["3 nœuds / nodes", "kill -9", "téléchargement / download", "vérifié / verified", "DOWNLOADED"]
    {
        assert!(said.contains(words), "no {words}: {said}");
    }
    let kill = said.find("kill -9").unwrap();
    assert!(kill < said.find("paiement approuvé").unwrap(), "killed after the payment: {said}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let folder = folder.path().display().to_string();
    let running = Command::new("pgrep").args(["-f", &folder]).output().unwrap();
    assert!(running.stdout.is_empty(), "still running: {}", String::from_utf8_lossy(&running.stdout));
    print!("{said}");
}
