//! `ledger backup` and `ledger restore` killed at every file operation: what is left is never worse than before, and
//! the next run completes it. `tests/disk/run` runs it; alone it needs `AUDITSHIELD_DISK`.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use auditshield::ledger::{self, BackupError, Ledger, OpenError, OpenOptions};

use crate::damage::copy_folder;
use crate::disk_faults::strace;
use crate::ledger::{commit, created, fill};
use crate::process_support::binary;

/// What a tool does to files.
const CALLS: &[&str] = &["openat", "write,pwrite64", "fsync,fdatasync", "rename", "mkdir", "ftruncate"];
/// No run makes so many calls of one kind.
const CALLS_MAX: u32 = 500;
/// Small segments: several are closed, one is open.
const SEGMENT_BYTES: u64 = 3_000;

fn open(store: &Path) -> Ledger {
    let options = OpenOptions::new(store, |reason: &str| panic!("fatal: {reason}"));
    Ledger::open(OpenOptions { segment_bytes: SEGMENT_BYTES, ..options }).unwrap()
}

/// Runs a tool that is killed as it enters its n-th call; false if it had no n-th call and ended well.
fn killed(arguments: &[&str], calls: &str, n: u32) -> bool {
    let inject = format!("inject={calls}:signal=KILL:when={n}");
    let mut tool = Command::new(strace().expect("strace: tests/disk/run installs it"));
    tool.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &inject]);
    let ended = tool.arg(binary()).args(arguments).output().unwrap();
    // strace dies of what its child died of.
    if ended.status.signal() == Some(9) {
        return true;
    }
    assert!(ended.status.success(), "{calls} {n}: {}", String::from_utf8_lossy(&ended.stderr));
    false
}

fn lines(store: &Path) -> u64 {
    let report = ledger::verify(store, &mut |_| ()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    report.lines
}

/// Calls `each` with a fresh folder for every n-th call of every kind, until a run is not killed any more.
fn every_call(
    folder: &Path,
    arguments: &dyn Fn(&Path) -> Vec<String>,
    before: &dyn Fn(&Path),
    each: &dyn Fn(&Path),
) -> u32 {
    let mut runs = 0;
    for calls in CALLS {
        let place = |n: u32| -> PathBuf { folder.join(format!("{}-{n}", calls.replace(',', "-"))) };
        let tried = (1..=CALLS_MAX).find(|&n| {
            let place = place(n);
            before(&place);
            let arguments = arguments(&place);
            let over = !killed(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), calls, n);
            each(&place);
            over
        });
        let tried = tried.unwrap_or_else(|| panic!("{calls}: never ran out of calls")) - 1;
        println!("killed at {calls}: {tried} runs, every n");
        runs += tried;
    }
    runs
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_killed_at_every_file_operation() {
    if std::env::var_os("AUDITSHIELD_DISK").is_none() {
        println!("NOT RUN: tools killed at every file operation. tests/disk/run runs them.");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (store, old) = (path("store"), path("old"));
    let ledger = open(&store);
    fill(&ledger).await;
    ledger.close().await;
    ledger::backup(&store, &old, &mut |_| ()).unwrap();
    let before = lines(&old);
    let ledger = open(&store);
    for number in 100..120 {
        commit(&ledger, number, &[created(number)]).await;
    }
    ledger.close().await;
    let all = lines(&store);

    let backup = |place: &Path| {
        ["ledger", "backup", "--store", &text(&store), &text(place)].map(str::to_owned).to_vec()
    };
    let finish = |place: &Path| {
        assert_eq!(ledger::backup(&store, place, &mut |_| ()).unwrap().seq, all);
        assert_eq!(lines(place), all);
    };
    fs::create_dir(path("first")).unwrap();
    let first = every_call(&path("first"), &backup, &|_| (), &finish);
    fs::create_dir(path("second")).unwrap();
    let second = every_call(&path("second"), &backup, &|place| copy_folder(&old, place), &|place| {
        assert!(lines(place) >= before, "the backup lost lines");
        finish(place);
    });

    let whole = path("whole");
    finish(&whole);
    fs::create_dir(path("restored")).unwrap();
    let restore =
        |place: &Path| ["ledger", "restore", &text(&whole), &text(place)].map(str::to_owned).to_vec();
    let restored = every_call(&path("restored"), &restore, &|_| (), &|place| {
        if place.join("journal").exists() {
            // The journal appears as a whole or not at all.
            assert_eq!(lines(place), all);
            let again = ledger::restore(&whole, place, &mut |_| ());
            assert!(matches!(again, Err(BackupError::NotEmpty(_))), "{again:?}");
            return;
        }
        if place.join("journal.restoring").exists() {
            let refused = Ledger::open(OpenOptions::new(place, |_: &str| ())).err().expect("refused");
            assert!(matches!(refused, OpenError::Restoring(_)), "{refused}");
        }
        assert_eq!(ledger::restore(&whole, place, &mut |_| ()).unwrap().seq, all);
        assert_eq!(lines(place), all);
    });
    println!("{first} first backups, {second} later backups and {restored} restorations were killed");
}
