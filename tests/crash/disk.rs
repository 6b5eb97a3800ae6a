//! A file system of its own whose power can fail: ext4 or xfs in an image, mounted through a loop device.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `EXT4_IOC_SHUTDOWN`, which is `XFS_IOC_GOINGDOWN`; 2 drops the log's unwritten part, as a failing supply does. It
/// waits for a line first, so that nothing but the call itself lies between the word and the deed.
/// Why Python: an ioctl is unsafe code in Rust, and this crate forbids it.
const SHUTDOWN: &str = "import fcntl, os, struct, sys\n\
    disk, off = os.open(sys.argv[1], os.O_RDONLY), struct.pack('I', 2)\n\
    print('ready', flush=True)\n\
    sys.stdin.readline()\n\
    fcntl.ioctl(disk, 0x8004587D, off)";
/// The smallest image that mkfs.xfs accepts, and some room. Sparse: it costs what is written.
const IMAGE_BYTES: u64 = 400 * 1024 * 1024;
/// The system may hold on to a mount for a moment after its last process died.
const UNMOUNT_MAX: Duration = Duration::from_secs(10);

/// The file systems that can be cut here.
pub(crate) const KINDS: [&str; 2] = ["ext4", "xfs"];

/// Taken away with the value.
pub(crate) struct Disk {
    folder: tempfile::TempDir,
    kind: &'static str,
}

impl Disk {
    /// Made and mounted; or why this machine cannot.
    pub(crate) fn new(kind: &'static str) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|why| why.to_string())?;
        let disk = Self { folder, kind };
        let image = std::fs::File::create(disk.image()).and_then(|file| file.set_len(IMAGE_BYTES));
        image.and_then(|()| std::fs::create_dir(disk.path())).map_err(|why| why.to_string())?;
        let quiet = if kind == "ext4" { "-qF" } else { "-qf" };
        run(Command::new(format!("mkfs.{kind}")).arg(quiet).arg(disk.image()))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount(&self) -> Result<(), String> {
        let mut command = Command::new("mount");
        run(command.args(["-t", self.kind, "-o", "loop"]).arg(self.image()).arg(self.path()))
    }

    /// Brings a hand to the switch.
    pub(crate) fn arm(&self) -> Switch {
        let mut command = Command::new("python3");
        let command = command.args(["-c", SHUTDOWN]).arg(self.path()).stdin(Stdio::piped());
        let mut hand = command.stdout(Stdio::piped()).spawn().expect("python3");
        let mut word = String::new();
        BufReader::new(hand.stdout.take().unwrap()).read_line(&mut word).unwrap();
        assert_eq!(word, "ready\n", "the switch is not at hand");
        Switch(hand)
    }

    /// The power is back: the file system replays its own log. Nobody may be using it.
    pub(crate) async fn restore(&self) {
        let begun = Instant::now();
        while let Err(why) = run(Command::new("umount").arg(self.path())) {
            assert!(begun.elapsed() < UNMOUNT_MAX, "{why}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.mount().expect("the file system comes back");
    }
}

/// What cuts the power.
pub(crate) struct Switch(Child);

impl Switch {
    /// The power fails: from here on nothing is written, and what was not synced is lost.
    pub(crate) fn cut(mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(self.0.wait().unwrap().success(), "the power does not fail");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|why| format!("{}: {why}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output
        .status
        .success()
        .then_some(())
        .ok_or_else(|| format!("{}: {said}", command.get_program().display()))
}

/// Makes the store believe that the machine restarted, which a cut of a loop device alone does not: the kernel's
/// boot id stays, and the daemon compares it.
pub(crate) fn note_restart(store: &Path) {
    let marker = store.join("index.state");
    if let Ok(text) = std::fs::read_to_string(&marker)
        && let Some((_, word)) = text.split_once(' ')
    {
        std::fs::write(marker, format!("another-boot {word}")).expect("the marker is writable");
    }
}

/// Says loudly that power cuts are not part of this run.
pub(crate) fn not_run(kind: &str, why: &str) {
    println!("crash: NOT RUN: power cuts on {kind}. Root, mkfs.{kind} and loop mounts are needed: {why}");
}
