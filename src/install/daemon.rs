//! The daemon that `keep-alive` started: whether it runs, its stop, its start.

use std::fs::{self, File, TryLockError};
use std::process::{Command, Stdio};

use super::{Account, Error};

/// A drain has twice twenty seconds, and then the ledger is synced.
const STOP_SECONDS_MAX: &str = "60";

/// Stops it and waits for its end. False where none runs.
pub(super) fn stop(account: &Account) -> Result<bool, Error> {
    let lock = account.path("run.lock");
    let held = match File::open(&lock) {
        Ok(file) => matches!(file.try_lock(), Err(TryLockError::WouldBlock)),
        Err(_) => false,
    };
    if !held {
        return Ok(false);
    }
    let pid = fs::read_to_string(account.path("pid")).unwrap_or_default().trim().to_owned();
    // A number written before a crash may be somebody else's by now: what it runs must be ours.
    let program = account.path("auditshield");
    let runs = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let ours = runs.to_string_lossy().trim_end_matches(" (deleted)") == program.to_string_lossy()
        || fs::canonicalize(&program).is_ok_and(|program| program == runs);
    if ours {
        // Already gone is as good; whether it went is what the lock says.
        let _ = Command::new("kill").args(["-TERM", &pid]).stderr(Stdio::null()).status();
    }
    let waited = Command::new("flock").args(["--wait", STOP_SECONDS_MAX]).arg(&lock).arg("true").status();
    if waited.is_ok_and(|status| status.success()) {
        Ok(true)
    } else {
        Err(Error::Runs(pid, account.prefix().to_owned()))
    }
}

/// Starts it as cron does.
pub(super) fn start(account: &Account) -> Result<(), Error> {
    let script = account.path("keep-alive");
    let status = Command::new(&script).stdin(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::File(script, std::io::Error::other(status.to_string()))),
        Err(fault) => Err(Error::File(script, fault)),
    }
}
