//! `auditshield install --user`: a plain user, a home of its own, a crontab that is a file. The daemon is really started, killed,
//! started again and taken out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::process_support::{API_KEY, PATIENCE, WEBHOOK_SECRET, World, binary, port};

/// nobody: an account without rights. Used where the test itself runs as root.
const PLAIN_USER: u32 = 65_534;

/// What a crontab command does, with a file in the home for the table. `CRONTAB_BROKEN` makes it fail as a forbidding host does.
const CRONTAB: &str = r#"#!/bin/sh
[ ! -e "$HOME/crontab-broken" ] || { echo "You (nobody) are not allowed to use this program (crontab)" >&2; exit 1; }
case "$1" in
    -l) [ -e "$HOME/table" ] || { echo "no crontab for nobody" >&2; exit 1; }; cat "$HOME/table" ;;
    -) cat >"$HOME/table" ;;
esac
"#;

/// One user of the machine.
struct User {
    /// The world of CinetPay and mail; its own daemon never starts.
    world: World,
    home: PathBuf,
    /// Where the program was unpacked.
    program: PathBuf,
    _folder: tempfile::TempDir,
}

impl Drop for User {
    fn drop(&mut self) {
        // Whatever the test came to: no daemon stays behind.
        let _ = self.auditshield(&["uninstall", "--user"]);
    }
}

impl User {
    async fn new() -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let (home, program) = (folder.path().join("home"), folder.path().join("auditshield"));
        for place in [&home, &home.join("bin")] {
            fs::create_dir(place).unwrap();
        }
        fs::copy(binary(), &program).unwrap();
        fs::write(home.join("bin/crontab"), CRONTAB).unwrap();
        for file in [&program, &home.join("bin/crontab"), &folder.path().to_owned()] {
            fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        if is_root() {
            std::os::unix::fs::chown(&home, Some(PLAIN_USER), Some(PLAIN_USER)).unwrap();
        }
        Self { world: World::new(&[]).await, home, program, _folder: folder }
    }

    fn prefix(&self) -> PathBuf {
        self.home.join("auditshield")
    }

    /// Runs a program as this user, with the little that cron gives.
    fn run(&self, program: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("HOME", &self.home).current_dir(&self.home);
        command.env("PATH", format!("{}/bin:/usr/bin:/bin", self.home.display()));
        if is_root() {
            command.uid(PLAIN_USER).gid(PLAIN_USER);
        }
        command.output().unwrap()
    }

    fn auditshield(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run(&self.program, arguments);
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said.into_owned())
    }

    fn installs(&self, arguments: &[&str]) -> String {
        let (code, said) = self.auditshield(&[&["install", "--user"], arguments].concat());
        assert_eq!(code, Some(0), "{said}");
        said
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.prefix().join(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"))
    }

    fn table(&self) -> String {
        fs::read_to_string(self.home.join("table")).unwrap_or_default()
    }

    /// Fills in `.env` as the merchant does, for the simulated CinetPay.
    fn fill_in(&self) {
        let settings = &self.world.settings;
        let env = self.read(".env");
        let kept = env.lines().filter(|line| !line.starts_with("CINETPAY_") && !line.contains("your_"));
        let mut text = kept.map(|line| format!("{line}\n")).collect::<String>();
        text += &format!("CINETPAY_API_KEY={API_KEY}\nCINETPAY_WEBHOOK_SECRET={WEBHOOK_SECRET}\n");
        for name in ["CINETPAY_ENV", "CINETPAY_API_URL", "CINETPAY_SITE_ID", "AUDITSHIELD_MAIL__URL"] {
            text += &format!("{name}={}\n", settings[name]);
        }
        text += "AUDITSHIELD_MAIL__FROM=boutique@example.com\n";
        fs::write(self.prefix().join(".env"), text).unwrap();
    }

    /// What cron does with a line of ours: the process whose number stands under the lock.
    fn cron(&self) {
        let line = self.table().lines().find(|line| line.starts_with("*/5")).expect("a line").to_owned();
        let command = line.rsplit(' ').next().unwrap().to_owned();
        assert!(self.run(Path::new("/bin/sh"), &["-c", &command]).status.success());
    }

    fn pid(&self) -> String {
        self.read("pid").trim().to_owned()
    }

    async fn ready(&self, port: u16) {
        let begun = Instant::now();
        let place = format!("http://127.0.0.1:{port}/readyz");
        while !self.world.client.get(&place).send().await.is_ok_and(|answer| answer.status() == 200) {
            assert!(begun.elapsed() < PATIENCE, "{}", self.read("log"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn kill(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

fn gone(pid: &str) -> bool {
    !Path::new("/proc").join(pid).join("exe").exists()
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn installed_kept_alive_upgraded_and_taken_out() {
    let user = User::new().await;
    let theirs = "MAILTO=awa@example.ci\n0 3 * * * /usr/bin/true\n";
    fs::write(user.home.join("table"), theirs).unwrap();
    if is_root() {
        std::os::unix::fs::chown(user.home.join("table"), Some(PLAIN_USER), Some(PLAIN_USER)).unwrap();
    }
    let port = port();
    let said = user.installs(&["--port", &port.to_string(), "--public-url", "https://pay.example.ci"]);
    assert!(said.contains("Ensuite / then:") && said.contains("@reboot"), "{said}");
    let prefix = user.prefix();
    for folder in ["", "store", "spool", "backup", "files", "web"] {
        assert_eq!(mode(&prefix.join(folder)), 0o700, "{folder}");
    }
    assert_eq!((mode(&prefix.join(".env")), mode(&prefix.join("auditshield"))), (0o600, 0o700));
    let table = user.table();
    assert!(table.starts_with(theirs) && table.matches("keep-alive").count() == 2, "{table}");
    assert!(user.read("web/.htaccess").contains(&format!("http://127.0.0.1:{port}/$1")));

    // As it stands it is refused with its reasons, and nothing listens.
    user.cron();
    let log = || fs::read_to_string(prefix.join("log")).unwrap_or_default();
    until("no reason given", || log().contains("CINETPAY_API_KEY")).await;
    user.fill_in();
    user.cron();
    user.ready(port).await;
    let first = user.pid();
    assert_eq!(fs::read_link(format!("/proc/{first}/exe")).unwrap(), prefix.join("auditshield"));

    // It runs: cron changes nothing.
    user.cron();
    user.cron();
    assert_eq!(user.pid(), first);
    // It died: cron starts it again.
    kill("-KILL", &first);
    until("still there", || gone(&first)).await;
    until("the lock outlives the daemon", || {
        user.cron();
        user.pid() != first
    })
    .await;
    user.ready(port).await;

    // The same command again is an upgrade: the daemon is another process, the merchant's files are as they were.
    let second = user.pid();
    let files = [".env", "catalog.toml", "auditshield.toml"];
    let before = files.map(|name| user.read(name));
    fs::write(prefix.join("keep-alive"), "old").unwrap();
    let said = user.installs(&[]);
    assert!(said.contains("daemon started again") && !said.contains("Ensuite"), "{said}");
    until("the same process", || user.pid() != second).await;
    assert!(gone(&second));
    user.ready(port).await;
    assert_eq!(files.map(|name| user.read(name)), before);
    assert_eq!(user.table(), table, "installing twice writes the lines once");
    assert!(
        user.read("web/.htaccess").contains(&format!("127.0.0.1:{port}/")),
        "another port than the settings'"
    );
    assert!(user.read("keep-alive").starts_with("#!/bin/sh"));

    let third = user.pid();
    let (code, said) = user.auditshield(&["uninstall", "--user"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(gone(&third), "{said}");
    assert_eq!(user.table(), theirs);
    for name in ["auditshield", "keep-alive", "web", "log", "pid"] {
        assert!(!prefix.join(name).exists(), "{name}");
    }
    assert!(user.read(".env").contains("AUDITSHIELD_SECRET_KEY=") && prefix.join("store/journal").exists());
}

#[tokio::test]
async fn a_crontab_that_cannot_be_read_is_not_written() {
    let user = User::new().await;
    fs::write(user.home.join("table"), "0 3 * * * x\n").unwrap();
    fs::write(user.home.join("crontab-broken"), "").unwrap();
    let (code, said) = user.auditshield(&["install", "--user"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not allowed") && said.contains("--no-cron"), "{said}");
    assert_eq!(user.table(), "0 3 * * * x\n");
    // Shown instead; and a table of its own is left alone.
    let said = user.installs(&["--no-cron"]);
    assert!(said.contains("@reboot") && said.contains("*/5 * * * *"), "{said}");
    assert_eq!(user.table(), "0 3 * * * x\n");
}

#[tokio::test]
async fn a_log_that_grew_is_set_aside_under_the_running_daemon() {
    let user = User::new().await;
    user.installs(&["--port", &port().to_string()]);
    let log = user.prefix().join("log");
    let long = "x".repeat(9 * 1024 * 1024);
    fs::write(&log, &long).unwrap();
    if is_root() {
        std::os::unix::fs::chown(&log, Some(PLAIN_USER), Some(PLAIN_USER)).unwrap();
    }
    user.cron();
    until("not set aside", || fs::metadata(&log).is_ok_and(|log| log.len() < 1024 * 1024)).await;
    assert_eq!(fs::metadata(user.prefix().join("log.1")).unwrap().len() as usize, long.len());
}

#[tokio::test]
async fn a_prefix_that_a_shell_would_split_is_refused() {
    let user = User::new().await;
    for prefix in ["relative", "/tmp/with space", "/tmp/with%percent"] {
        let (code, said) = user.auditshield(&["install", "--user", "--prefix", prefix]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("--prefix"), "{said}");
    }
}
