//! The process itself in Prometheus' standard names, read from `/proc` at each scrape.
//!
//! Why written here and not through the recorder: seconds of processor time are a counter with a fraction, and the facade's
//! counters are whole numbers.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// Ticks in a second, in `/proc/<pid>/stat`: fixed by the kernel's interface on every machine that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// When the process began to count. Why not the kernel's word for its start: that needs `/proc/stat`, which the unit's
/// sandbox hides (`ProcSubset=pid`).
static BEGUN: OnceLock<SystemTime> = OnceLock::new();

/// Counting begins: once, at the start.
pub(super) fn begin() {
    BEGUN.get_or_init(SystemTime::now);
}

/// What a scrape is told of this process.
pub fn render() -> String {
    let begun = BEGUN.get_or_init(SystemTime::now).duration_since(UNIX_EPOCH).unwrap_or_default();
    text(Path::new("/proc/self"), begun.as_secs_f64())
}

/// What cannot be read is left out: a wrong number is worse than none.
fn text(own: &Path, begun: f64) -> String {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let (stat, status) = (read(&own.join("stat")), read(&own.join("status")));
    let kib = |name| field(&status, name).map(|kib| kib * 1024.0);
    let open = fs::read_dir(own.join("fd")).ok().map(|entries| entries.count() as f64);
    let mut out = String::new();
    let mut tell = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            // Writing to a text cannot fail.
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
    };
    let cpu = seconds(&stat, UTIME).zip(seconds(&stat, STIME)).map(|(user, system)| user + system);
    tell("process_cpu_seconds_total", "counter", "Processor time, user and system, in seconds.", cpu);
    tell("process_resident_memory_bytes", "gauge", "Resident memory.", kib("VmRSS:"));
    tell("process_virtual_memory_bytes", "gauge", "Virtual memory.", kib("VmSize:"));
    tell("process_open_fds", "gauge", "Open file descriptors.", open);
    tell(
        "process_max_fds",
        "gauge",
        "Most file descriptors that may be open.",
        fds_max(&read(&own.join("limits"))),
    );
    tell("process_start_time_seconds", "gauge", "When the process started, as a Unix time.", Some(begun));
    tell("process_threads", "gauge", "Threads.", field(&status, "Threads:"));
    out
}

/// Fields of `/proc/<pid>/stat`, counted from the one after the program's name, which may hold anything: see proc(5).
const UTIME: usize = 11;
const STIME: usize = 12;

/// A field of `/proc/<pid>/stat` that counts ticks.
fn seconds(stat: &str, index: usize) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: f64 = fields.split_whitespace().nth(index)?.parse().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

/// The first number on the line that begins with `name`.
fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// The soft limit, which is the one that hurts. None where there is no limit.
fn fds_max(limits: &str) -> Option<f64> {
    field(limits, "Max open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processs_files_are_read_whatever_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path();
        fs::create_dir_all(own.join("fd")).unwrap();
        for fd in ["0", "1", "7"] {
            fs::write(own.join("fd").join(fd), "").unwrap();
        }
        let stat = "7 (a ) 9 (x) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 14 0 12345 1000 10 18446744073709551615";
        fs::write(own.join("stat"), stat).unwrap();
        fs::write(own.join("status"), "Name:\ta\nVmSize:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t14\n")
            .unwrap();
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        fs::write(own.join("limits"), limits).unwrap();
        let text = text(own, 1_700_000_123.45);
        for (name, value) in [
            ("process_cpu_seconds_total", "3"),
            ("process_resident_memory_bytes", "1048576"),
            ("process_virtual_memory_bytes", "2097152"),
            ("process_open_fds", "3"),
            ("process_max_fds", "1024"),
            ("process_start_time_seconds", "1700000123.45"),
            ("process_threads", "14"),
        ] {
            assert!(text.contains(&format!("\n{name} {value}\n")), "{name} {value}: {text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let text = text(Path::new("/nowhere"), 1.0);
        assert_eq!(text.matches("# TYPE").count(), 1, "{text}");
        assert_eq!(
            fds_max("Max open files            unlimited            unlimited            files\n"),
            None
        );
    }

    #[test]
    fn this_process_knows_itself() {
        let text = render();
        assert_eq!(text.matches("# TYPE process_").count(), 7, "{text}");
    }
}
