//! The user's crontab: a block of ours between two marks, and nothing else of it touched.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{Account, Error};

/// What is ours in the crontab. The backup is a copy on the same machine: fetch it from another one.
pub(super) fn lines(account: &Account) -> String {
    let prefix = account.prefix().display();
    format!(
        "@reboot {prefix}/keep-alive\n*/5 * * * * {prefix}/keep-alive\n7 * * * * {prefix}/auditshield ledger backup --store \
         {prefix}/store {prefix}/backup >/dev/null\n"
    )
}

fn marks(account: &Account) -> (String, String) {
    let prefix = account.prefix().display();
    (format!("# AuditShield {prefix}: begin"), format!("# AuditShield {prefix}: end"))
}

/// The table with our lines in it, once.
pub(super) fn with(table: &str, account: &Account) -> String {
    let (begin, end) = marks(account);
    let mut table = without(table, account);
    if !table.is_empty() && !table.ends_with('\n') {
        table.push('\n');
    }
    format!("{table}{begin}\n{}{end}\n", lines(account))
}

/// The table without our lines.
pub(super) fn without(table: &str, account: &Account) -> String {
    let (begin, end) = marks(account);
    // Why look for the end first: a block whose end somebody deleted must not swallow what follows it.
    let lines: Vec<&str> = table.split_inclusive('\n').collect();
    let mut kept = String::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let rest = lines.get(at + 1..).unwrap_or_default();
        let closed = rest.iter().position(|line| line.trim_end() == end);
        match closed.filter(|_| line.trim_end() == begin) {
            Some(length) => at += length + 2,
            None => {
                kept.push_str(line);
                at += 1;
            }
        }
    }
    kept
}

/// Reads the crontab, changes it, writes it back where it differs.
pub(super) fn edit(change: impl FnOnce(&str) -> String) -> Result<(), Error> {
    let table = read()?;
    let next = change(&table);
    if next == table { Ok(()) } else { write(&next) }
}

/// Invariant: a table that could not be read is not taken for an empty one, or writing it back would lose it.
fn read() -> Result<String, Error> {
    let output = Command::new("crontab").arg("-l").env("LC_ALL", "C").output().map_err(failed)?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(failed);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("no crontab for") { Ok(String::new()) } else { Err(failed(said.trim())) }
}

fn write(table: &str) -> Result<(), Error> {
    let mut child = Command::new("crontab")
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(table.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() { Ok(()) } else { Err(failed(String::from_utf8_lossy(&output.stderr).trim())) }
}

fn failed(why: impl ToString) -> Error {
    Error::Crontab(why.to_string())
}
