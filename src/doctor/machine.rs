//! The machine below: room, the disk's honesty and speed, limits, copies, the journal.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Finding, Patient};
use crate::config::Store;
use crate::ledger;
use crate::telemetry::gauge;

/// Free room below which a sale may soon find the disk full: a tenth of it.
const FREE_SHARE_MIN: u64 = 10;
/// Syncs that are timed; the one in the middle counts.
const SYNCS: usize = 15;
/// A sync beyond this makes buyers wait: every sale needs several.
const SYNC_MILLIS_SLOW: u64 = 100;
/// One below this never reached a disk: a cache without a battery, or a file system in memory.
const SYNC_MICROS_SUSPECT: u64 = 20;
/// Descriptors beside the connections: segments, index, mail, CinetPay.
const DESCRIPTORS_BESIDE: u64 = 256;
/// A copy older than this is not from the hourly timer.
const BACKUP_HOURS_MAX: u64 = 26;
const SECONDS_PER_HOUR: u64 = 3600;

pub(super) fn examine(patient: &Patient, metrics: Option<&str>) -> Vec<Finding> {
    match &patient.config.store {
        Store::Sled(store) => {
            vec![room(store), speed(store), descriptors(patient, metrics), backup(patient), journal(store)]
        }
        // Disk, copies and history are the database's.
        Store::Postgres(_) => vec![descriptors(patient, metrics)],
    }
}

/// The folder, or the nearest one above it that is there already.
fn standing(folder: &Path) -> PathBuf {
    let above = folder.ancestors().find(|above| above.is_dir());
    above.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

fn room(store: &Path) -> Finding {
    match ledger::room(&standing(store)) {
        Ok((free, all)) if is_scarce(free, all) => Finding::warning(
            "disk-room",
            format!(
                "il reste moins d'un dixième du disque du registre ({} Mio) — faites de la place",
                free >> 20
            ),
            format!("less than a tenth of the store's disk is free ({} MiB) — make room", free >> 20),
        ),
        Ok((free, _)) => Finding::good(
            "disk-room",
            format!("{} Mio libres sur le disque du registre", free >> 20),
            format!("{} MiB free on the store's disk", free >> 20),
        ),
        Err(error) => Finding::failure(
            "disk-room",
            format!("le disque du registre ne répond pas ({error}) — vérifiez AUDITSHIELD_STORE__URL"),
            format!("the store's disk does not answer ({error}) — check AUDITSHIELD_STORE__URL"),
        ),
    }
}

fn is_scarce(free: u64, all: u64) -> bool {
    free < all / FREE_SHARE_MIN
}

fn speed(store: &Path) -> Finding {
    let folder = standing(store);
    match sync_time(&folder) {
        Err(error) => Finding::failure(
            "disk-sync",
            format!(
                "« {} » : écriture impossible ({error}) — lancez doctor avec le compte du service",
                folder.display()
            ),
            format!("{}: cannot write ({error}) — run doctor as the daemon's user", folder.display()),
        ),
        Ok(time) => judge_sync(time),
    }
}

fn judge_sync(time: Duration) -> Finding {
    let shown = format!("{:.2} ms", time.as_secs_f64() * 1000.0);
    if time > Duration::from_millis(SYNC_MILLIS_SLOW) {
        Finding::warning(
            "disk-sync",
            format!(
                "le disque met {shown} à garantir une écriture : les ventes attendent — changez de disque ou d'offre"
            ),
            format!("the disk takes {shown} to make a write safe: sales wait — get another disk or plan"),
        )
    } else if time < Duration::from_micros(SYNC_MICROS_SUSPECT) {
        Finding::warning(
            "disk-sync",
            format!(
                "une écriture « garantie » en {shown} n'a pas atteint de disque (mémoire ou cache) — changez de disque"
            ),
            format!(
                "a write made safe in {shown} reached no disk (memory, or a cache) — put the store elsewhere"
            ),
        )
    } else {
        Finding::good("disk-sync", format!("fdatasync : {shown}"), format!("fdatasync: {shown}"))
    }
}

fn sync_time(folder: &Path) -> std::io::Result<Duration> {
    let path = folder.join(format!(".doctor-{}", std::process::id()));
    let timed = || {
        let mut file = File::options().write(true).create_new(true).open(&path)?;
        let mut times = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            let begun = Instant::now();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            times.push(begun.elapsed());
        }
        times.sort();
        Ok(times.get(SYNCS / 2).copied().unwrap_or_default())
    };
    let timed = timed();
    // A file that was never made cannot be removed either.
    let _ = fs::remove_file(&path);
    timed
}

/// The running daemon's own limit, where it tells; a shell's is another one than its unit's.
fn descriptors(patient: &Patient, metrics: Option<&str>) -> Finding {
    let wanted = patient.config.server.connections_max as u64 * 2 + DESCRIPTORS_BESIDE;
    let text = fs::read_to_string(&patient.limits).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|rest| rest.split_whitespace().next());
    let of_daemon = metrics.and_then(|text| gauge(text, "process_max_fds"));
    let (whose, owner) = match of_daemon {
        Some(_) => ("le service", "the daemon"),
        None => ("ce compte", "this account"),
    };
    let soft = of_daemon.map(|limit| limit.to_string()).or(soft.map(ToOwned::to_owned));
    match soft.as_deref().map(str::parse::<u64>) {
        Some(Ok(limit)) if limit < wanted => Finding::warning(
            "open-files",
            format!(
                "{limit} fichiers ouverts au plus pour {whose}, il en faut {wanted} — LimitNOFILE={wanted} dans l'unité, ou \
                 ulimit -n"
            ),
            format!(
                "{limit} open files at most for {owner}, {wanted} are wanted — LimitNOFILE={wanted} in the unit, or \
                 ulimit -n"
            ),
        ),
        Some(Ok(limit)) => Finding::good(
            "open-files",
            format!("{limit} fichiers ouverts au plus pour {whose}"),
            format!("{limit} open files at most for {owner}"),
        ),
        Some(Err(_)) => {
            Finding::good("open-files", "fichiers ouverts : sans limite", "open files: unlimited")
        }
        None => {
            Finding::note("open-files", "limite des fichiers ouverts inconnue", "limit on open files unknown")
        }
    }
}

fn backup(patient: &Patient) -> Finding {
    let folder = patient.backup.display();
    let made = fs::metadata(patient.backup.join("backup.json")).and_then(|about| about.modified());
    let remedy = "systemctl enable --now auditshield-backup.timer";
    let Ok(made) = made else {
        return Finding::warning(
            "backup",
            format!(
                "aucune copie du journal dans « {folder} » — {remedy}, ou --backup DOSSIER si elle est ailleurs"
            ),
            format!("no copy of the journal in {folder} — {remedy}, or --backup FOLDER if it is elsewhere"),
        );
    };
    let now = u64::try_from(patient.clock.now().seconds()).unwrap_or(0);
    let made = made.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let hours = now.saturating_sub(made) / SECONDS_PER_HOUR;
    if hours > BACKUP_HOURS_MAX {
        return Finding::warning(
            "backup",
            format!("la dernière copie du journal a {hours} heures — {remedy}"),
            format!("the last copy of the journal is {hours} hours old — {remedy}"),
        );
    }
    Finding::good(
        "backup",
        format!("copie du journal : {hours} h"),
        format!("copy of the journal: {hours} h old"),
    )
}

fn journal(store: &Path) -> Finding {
    if !store.join("journal").is_dir() {
        return Finding::note("journal", "pas encore de journal", "no journal yet");
    }
    match ledger::verify(store, &mut |_| {}) {
        Ok(report) if report.is_sound() => Finding::good(
            "journal",
            format!("{} lignes vérifiées, {} commandes", report.lines, report.orders),
            format!("{} lines verified, {} orders", report.lines, report.orders),
        ),
        Ok(report) => Finding::failure(
            "journal",
            format!("{} anomalies — auditshield ledger verify les montre", report.findings.len()),
            format!("{} findings — auditshield ledger verify shows them", report.findings.len()),
        ),
        Err(error) => {
            Finding::failure("journal", format!("illisible — {error}"), format!("cannot be read — {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn less_than_a_tenth_is_scarce() {
        for (free, all, want) in [(9, 100, true), (10, 100, false), (0, 100, true), (0, 0, false)] {
            assert_eq!(is_scarce(free, all), want, "{free} of {all}");
        }
    }

    #[test]
    fn a_sync_is_slow_suspect_or_good() {
        for (micros, want) in [
            (5, Severity::Warning),
            (20, Severity::Good),
            (3_000, Severity::Good),
            (100_000, Severity::Good),
            (100_001, Severity::Warning),
        ] {
            assert_eq!(judge_sync(Duration::from_micros(micros)).severity, want, "{micros} µs");
        }
    }
}
