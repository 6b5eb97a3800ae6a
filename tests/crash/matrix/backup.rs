//! Row 16, `ledger backup`: the tool dies at a named point beside a daemon that serves. The backup of before still
//! verifies and restores, and the next run completes it. It is the backup's disk whose power is cut.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use super::{How, LOOK_EVERY, SMALL_SEGMENT_BYTES, is_stopped};
use crate::disk::{self, Disk};
use crate::process_support::{PATIENCE, World};

/// Journal lines of the backup that was there before, and of the one that dies.
const LINES: [u64; 2] = [2, 4];
/// Copies go by pieces of this many bytes, so that a line takes several.
const PIECE_BYTES: &str = "50";

/// Where the tool dies, and whether each line has a segment of its own; otherwise one segment has grown.
const CASES: &[(&str, bool)] = &[
    ("backup.half_copied", false),
    // In the part that the backup has already, and behind it.
    ("backup.half_copied@3", false),
    ("backup.half_copied@20", false),
    ("backup.copied_before_sync", false),
    ("backup.placed_before_sync", false),
    ("backup.placed_before_manifest", false),
    ("backup.manifest_before_rename", false),
    ("backup.half_copied@3", true),
    ("backup.copied_before_sync@2", true),
    ("backup.placed_before_sync", true),
    ("backup.placed_before_manifest", true),
    ("backup.placed_before_manifest@2", true),
    ("backup.manifest_before_rename@2", true),
];

/// Runs a tool that must end well and gives its JSON.
async fn told(world: &World, arguments: &[&str]) -> Value {
    let (code, said) = world.run(arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {said}");
    serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{arguments:?}: {said}"))
}

/// The backup verifies where it lies and restores to a store that verifies: its lines, which are at least `least`.
async fn holds(world: &World, backup: &Path, place: &str, least: u64) -> u64 {
    let (backup, place) = (backup.to_str().unwrap(), world.path(place));
    let place = place.to_str().unwrap();
    let report = told(world, &["ledger", "verify", "--json", "--store", backup]).await;
    assert_eq!(report["sound"], true, "{report}");
    let restored = told(world, &["ledger", "restore", "--json", backup, place]).await;
    let again = told(world, &["ledger", "verify", "--json", "--store", place]).await;
    assert_eq!((&again["sound"], &again["lines"]), (&Value::Bool(true), &restored["seq"]), "{again}");
    // A segment may have been placed and not yet noted: more than is promised, never less.
    assert!(report["lines"].as_u64() >= restored["seq"].as_u64(), "{report} {restored}");
    let lines = restored["seq"].as_u64().unwrap();
    assert!(lines >= least, "{lines} lines where {least} were backed up");
    lines
}

/// Sells two lines' worth.
async fn sell(world: &World, lines: u64) {
    world.buy().await;
    let (_, said) = world.run(&["ledger", "verify", "--json"]).await;
    let report: Value = serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!(report["lines"].as_u64(), Some(lines), "{report}");
}

/// Runs the tool until it dies at the point.
async fn die(world: &World, how: How, arguments: &[&str], disk: Option<&Disk>) {
    let said = world.path("died");
    let mut tool = world.launch(arguments, &said);
    let words = || std::fs::read_to_string(&said).unwrap_or_default();
    let begun = Instant::now();
    loop {
        if how == How::Cut(disk::KINDS[0]) || how == How::Cut(disk::KINDS[1]) {
            if is_stopped(tool.id()) {
                let disk = disk.expect("a disk");
                disk.arm().cut();
                tool.kill().unwrap();
                tool.wait().unwrap();
                return disk.restore().await;
            }
        } else if let Some(end) = tool.try_wait().unwrap() {
            match how {
                How::Panic => assert_eq!(end.code(), Some(101), "{}", words()),
                How::Kill | How::Abort | How::Cut(_) => assert_eq!(end.signal(), Some(9), "{}", words()),
            }
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "no blow fell: {}", words());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn play((point, small): (&str, bool), how: How, earlier: bool) -> Result<(), String> {
    let disk = if let How::Cut(kind) = how { Some(Disk::new(kind)?) } else { None };
    let name = format!("{point} {how:?}, small segments {small}, a backup before {earlier}");
    let mut world = World::new(&[("AUDITSHIELD_VERIFY__FIRST_POLL", "1h")]).await;
    if small {
        world.settings.insert("AUDITSHIELD_CRASH_SEGMENT_BYTES".to_owned(), SMALL_SEGMENT_BYTES.to_owned());
    }
    world.start().await;
    let backup: PathBuf =
        disk.as_ref().map_or_else(|| world.path("backup"), |disk| disk.path().join("backup"));
    let arguments = ["ledger", "backup", "--json", backup.to_str().unwrap()];
    sell(&world, LINES[0]).await;
    if earlier {
        assert_eq!(told(&world, &arguments).await["seq"].as_u64(), Some(LINES[0]), "{name}");
    }
    sell(&world, LINES[1]).await;

    let at = point.find('@').unwrap_or(point.len());
    let crash = format!("{}={}{}", &point[..at], how.action(), &point[at..]);
    world.settings.insert("AUDITSHIELD_CRASH".to_owned(), crash);
    world.settings.insert("AUDITSHIELD_CRASH_COPY_BYTES".to_owned(), PIECE_BYTES.to_owned());
    die(&world, how, &arguments, disk.as_ref()).await;
    world.settings.remove("AUDITSHIELD_CRASH");

    if earlier {
        holds(&world, &backup, "restored-after", LINES[0]).await;
    }
    let next = told(&world, &arguments).await;
    assert_eq!(next["seq"].as_u64(), Some(LINES[1]), "{name}: {next}");
    assert_eq!(holds(&world, &backup, "restored-at-last", LINES[1]).await, LINES[1], "{name}");
    let original = std::fs::read_dir(world.path("store/journal")).unwrap().map(|file| file.unwrap());
    for file in original {
        let copy = std::fs::read(backup.join("journal").join(file.file_name())).unwrap();
        assert!(copy == std::fs::read(file.path()).unwrap(), "{name}: {:?} differs", file.file_name());
    }
    // The daemon never noticed.
    world.buy().await;
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{name}: {}", world.said());
    Ok(())
}

async fn column(how: How) {
    let mut blows = 0;
    for case in CASES {
        for earlier in [true, false] {
            let begun = Instant::now();
            if let Err(why) = play(*case, how, earlier).await {
                return disk::not_run(how.action(), &why);
            }
            println!(
                "row 16 {} {how:?}, small segments {}, a backup before {earlier}: {:.1} s",
                case.0,
                case.1,
                begun.elapsed().as_secs_f64()
            );
            blows += 1;
        }
    }
    println!("crash: matrix of ledger backup, {how:?}: {blows} cases, as many recoveries, 0 violations");
}

#[tokio::test]
async fn backup_killed_at_every_point() {
    column(How::Kill).await;
}

#[tokio::test]
async fn backup_panics_at_every_point() {
    column(How::Panic).await;
}

#[tokio::test]
async fn backup_power_cut_on_ext4_at_every_point() {
    column(How::Cut(disk::KINDS[0])).await;
}

#[tokio::test]
async fn backup_power_cut_on_xfs_at_every_point() {
    column(How::Cut(disk::KINDS[1])).await;
}
