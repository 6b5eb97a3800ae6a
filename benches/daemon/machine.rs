//! What /proc knows: processor time and memory of our processes, and what the machine did beside them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use crate::Outcome;

/// Above this share of all cores, what others did makes a measurement a disturbed one.
pub(crate) const FOREIGN_SHARE_MAX: f64 = 0.05;

/// The process that starts the kernel's threads.
const KTHREADD: u32 = 2;

/// Clock ticks per second in /proc.
fn ticks_per_second() -> f64 {
    static TICKS: OnceLock<f64> = OnceLock::new();
    *TICKS.get_or_init(|| {
        let asked = Command::new("getconf").arg("CLK_TCK").output().ok();
        let text = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.and_then(|text| text.parse().ok()).unwrap_or(100.0)
    })
}

pub(crate) fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1, usize::from) as f64
}

/// Processor seconds of a process so far, its threads' ends included; 0 once it is gone.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold spaces and parentheses; utime and stime are the 12th and 13th field after it.
    let fields: Vec<&str> = text.rsplit_once(") ").map_or(Vec::new(), |(_, rest)| rest.split(' ').collect());
    let ticks: f64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<f64>().ok()).sum();
    ticks / ticks_per_second()
}

/// Every process, and which one it was started by.
fn parents() -> Vec<(u32, u32)> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    names
        .filter_map(|name| name.to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, text.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?))
        })
        .collect()
}

/// A process and everything it has started.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let parents = parents();
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(parent) = all.get(at).copied() {
        all.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    all
}

/// Processor seconds of the kernel's own threads so far: they write to the disk what was asked to be synced.
fn kernel_seconds() -> f64 {
    parents().iter().filter(|(_, of)| *of == KTHREADD).map(|(pid, _)| cpu_seconds(*pid)).sum()
}

/// Kills a child and everything it has started: a server that forks would leave its workers behind.
pub(crate) fn end(child: &mut Child) {
    let workers: Vec<String> = family(child.id()).into_iter().skip(1).map(|pid| pid.to_string()).collect();
    let _ = child.kill();
    let _ = child.wait();
    if !workers.is_empty() {
        let _ = Command::new("kill").arg("-KILL").args(&workers).stderr(Stdio::null()).status();
    }
}

/// A number of /proc/<pid>/status: `VmRSS`, `VmHWM` (both in KiB), `Threads`.
pub(crate) fn status(pid: u32, name: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

/// Busy seconds of the whole machine so far. Interrupts are left out: those of the loopback are the load's own.
fn busy_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first: Vec<f64> =
        text.lines().next().unwrap_or_default().split_whitespace().filter_map(|n| n.parse().ok()).collect();
    // user, nice, system; and steal, which a neighbour on the same host takes.
    [0, 1, 2, 7].iter().filter_map(|at| first.get(*at)).sum::<f64>() / ticks_per_second()
}

/// Looks at processor time from its making on.
pub(crate) struct Watch {
    since: Instant,
    busy: f64,
    kernel: f64,
    ours: Vec<(u32, f64)>,
}

/// What a watch saw.
pub(crate) struct Elapsed {
    pub(crate) seconds: f64,
    /// Processor seconds of each process watched, in the order given.
    pub(crate) cpu: Vec<f64>,
    /// The share of all cores that went to others.
    pub(crate) foreign: f64,
}

impl Watch {
    /// Watches this process and those given.
    pub(crate) fn start(others: &[u32]) -> Self {
        let pids = others.iter().copied().chain([std::process::id()]);
        let ours = pids.map(|pid| (pid, cpu_seconds(pid))).collect();
        Self { kernel: kernel_seconds(), since: Instant::now(), busy: busy_seconds(), ours }
    }

    pub(crate) fn stop(&self) -> Elapsed {
        let seconds = self.since.elapsed().as_secs_f64();
        let busy = busy_seconds() - self.busy;
        let cpu: Vec<f64> = self.ours.iter().map(|(pid, before)| cpu_seconds(*pid) - before).collect();
        let known = cpu.iter().sum::<f64>() + (kernel_seconds() - self.kernel).max(0.0);
        let foreign = (busy - known).max(0.0) / (seconds * cores());
        Elapsed { seconds, cpu, foreign }
    }
}

/// Bytes that files below `path` occupy on the disk.
pub(crate) fn disk_bytes(path: &Path) -> Outcome<u64> {
    use std::os::unix::fs::MetadataExt;
    let about = fs::symlink_metadata(path)?;
    if !about.is_dir() {
        return Ok(about.blocks() * 512);
    }
    let mut sum = 0;
    for entry in fs::read_dir(path)? {
        sum += disk_bytes(&entry?.path())?;
    }
    Ok(sum)
}

/// Copies a folder, and waits until the copy is on the disk: its write-back must not fall into a measurement.
pub(crate) fn copy(from: &Path, to: &Path) -> Outcome<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
            fs::File::open(&to)?.sync_all()?;
        }
    }
    Ok(())
}

/// One line about where this was measured.
pub(crate) fn described() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = read("/proc/meminfo");
    let kib: f64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0);
    let release = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    format!(
        "{} cores ({}), {:.0} GiB, Linux {}, load before: {}",
        cores(),
        model.map_or("unknown", |(_, name)| name),
        kib / 1024.0 / 1024.0,
        release.trim(),
        load.split(' ').take(3).collect::<Vec<_>>().join(" "),
    )
}
