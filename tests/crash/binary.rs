//! The program that is sold holds no crash point: none of their names, nothing of the crate behind them.

use std::path::Path;
use std::process::Command;

use crate::process_support::binary;

/// Texts that stand in every build with the feature, beside the points' own names.
const MARKS: [&str; 3] = ["AUDITSHIELD_CRASH", "fail-0.5", "crash point"];

/// The names in the sources: what the macros `failpoint!` and its sisters are given.
fn names() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let text = std::fs::read_to_string(&entry).unwrap_or_default();
            for macro_name in ["failpoint!(\"", "failpoint_during!(\""] {
                let after = text.split(macro_name).skip(1);
                found.extend(after.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
            }
        }
    }
    found
}

/// Which of these texts the program holds.
fn found(texts: &[&str]) -> String {
    let mut grep = Command::new("grep");
    grep.args(["-a", "-o", "-F"]);
    for text in texts {
        grep.args(["-e", text]);
    }
    let output = grep.arg(binary()).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "grep: {}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_binary_holds_no_crash_point() {
    let names = names();
    assert!(names.len() >= 17, "the points were not found: {names:?}");
    let marks = names.iter().map(String::as_str).chain(MARKS);
    let found = found(&marks.collect::<Vec<_>>());
    assert!(found.is_empty(), "{}: {found}", binary().display());
    // The search can find: this text is in every build.
    assert!(!self::found(&["CINETPAY_API_KEY"]).is_empty());
}
