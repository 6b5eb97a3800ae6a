//! The processes that are measured, and those that play the world around them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::notices::{API_KEY, SITE, WEBHOOK_SECRET};
use crate::wire::Conn;
use crate::{Outcome, machine};

pub(crate) const SECRET_KEY: &str = "bench-secret-key-0123456789abcdef";
const ADMIN_TOKEN: &str = "bench-admin-token-0123456789";
/// How long a process may take to serve, or to end.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks whether it does. Start-up times are told apart no finer than this.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A free address. Outside the range that the system takes outgoing connections' ports from, so that it stays free.
pub(crate) fn address() -> Outcome<SocketAddr> {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 9_000)?;
    for _ in 0..9_000 {
        let port = 21_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 9_000;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return Ok(listener.local_addr()?);
        }
    }
    Err("no free port".into())
}

/// A running process that listens. It ends with this value.
pub(crate) struct Running {
    child: Child,
    pub(crate) listen: SocketAddr,
    /// From its start to its first right answer.
    pub(crate) ready_after: Duration,
    said: PathBuf,
}

impl Running {
    /// Starts it, and waits until `GET path` is answered with 200. What it says goes into the file `said`.
    pub(crate) async fn start(
        mut command: Command,
        listen: SocketAddr,
        path: &str,
        said: &Path,
    ) -> Outcome<Self> {
        let file = File::create(said)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let begun = Instant::now();
        let child = command.spawn().map_err(|why| format!("{command:?}: {why}"))?;
        let mut running = Self { child, listen, ready_after: Duration::ZERO, said: said.to_owned() };
        let question = format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n");
        loop {
            if let Ok(mut conn) = Conn::open(listen).await
                && conn.fetch(question.as_bytes()).await.is_ok_and(|(status, _)| status < 500)
            {
                running.ready_after = begun.elapsed();
                return Ok(running);
            }
            if running.child.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                return Err(format!("{command:?} does not serve: {}", running.words()).into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last of what it said.
    pub(crate) fn words(&self) -> String {
        let text = std::fs::read_to_string(&self.said).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// SIGTERM, and its end.
    pub(crate) async fn end(mut self) -> Outcome<()> {
        Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > PATIENCE {
                return Err(format!("it does not end: {}", self.words()).into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        machine::end(&mut self.child);
    }
}

/// This program once more, as one part of the benchmark.
pub(crate) fn part(arguments: &[&str]) -> Outcome<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    Ok(command)
}

/// The simulated CinetPay and its mailbox.
pub(crate) struct World {
    child: Child,
    pub(crate) cinetpay: SocketAddr,
    pub(crate) smtp: SocketAddr,
}

impl World {
    /// Waits until every payment of it is made.
    pub(crate) fn start(born: i64, orders: usize) -> Outcome<Self> {
        let (cinetpay, smtp) = (address()?, address()?);
        let (born, orders) = (born.to_string(), orders.to_string());
        let mut child = part(&["cinetpay", &cinetpay.to_string(), &smtp.to_string(), &born, &orders])?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or("no output")?;
        let world = Self { child, cinetpay, smtp };
        BufReader::new(out).read_line(&mut line)?;
        if line.trim() == "ready" { Ok(world) } else { Err("the simulated CinetPay does not serve".into()) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The daemon of a release build, its world and its settings.
pub(crate) struct Daemon {
    pub(crate) running: Running,
    admin: SocketAddr,
}

impl Daemon {
    /// Starts it on `store`. Everything that is not named here or in `overrides` is as shipped.
    pub(crate) async fn start(
        binary: &Path,
        folder: &Path,
        store: &Path,
        world: &World,
        overrides: &[(&str, &str)],
    ) -> Outcome<Self> {
        let (listen, admin) = (address()?, address()?);
        let mut command = Command::new(binary);
        command.arg("serve").current_dir(folder).env_clear().envs([
            ("CINETPAY_ENV", "sandbox".to_owned()),
            ("CINETPAY_API_URL", format!("http://{}", world.cinetpay)),
            ("CINETPAY_API_KEY", API_KEY.to_owned()),
            ("CINETPAY_SITE_ID", SITE.to_owned()),
            ("CINETPAY_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
            ("AUDITSHIELD_SERVER__LISTEN", listen.to_string()),
            ("AUDITSHIELD_ADMIN__LISTEN", admin.to_string()),
            ("AUDITSHIELD_ADMIN__TOKEN", ADMIN_TOKEN.to_owned()),
            ("AUDITSHIELD_STORE__URL", format!("sled:{}", store.display())),
            ("AUDITSHIELD_CATALOG__PATH", folder.join("catalog.toml").display().to_string()),
            ("AUDITSHIELD_MAIL__URL", format!("smtp://{}?tls=none", world.smtp)),
            ("AUDITSHIELD_MAIL__FROM", "boutique@example.com".to_owned()),
            ("AUDITSHIELD_SECRET_KEY", SECRET_KEY.to_owned()),
        ]);
        command.envs(overrides.iter().copied());
        let running = Running::start(command, listen, "/readyz", &folder.join("said")).await?;
        Ok(Self { running, admin })
    }

    /// The sum of a metric over all series that hold `label`.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> Outcome<f64> {
        let question = "GET /metrics HTTP/1.1\r\nhost: bench\r\n\r\n";
        let (_, text) = Conn::open(self.admin).await?.fetch(question.as_bytes()).await?;
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        Ok(lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }

    /// Waits until a metric has reached `count`.
    pub(crate) async fn until(&self, name: &str, label: &str, count: f64) -> Outcome<()> {
        let begun = Instant::now();
        while self.metric(name, label).await? < count {
            if begun.elapsed() > PATIENCE {
                return Err(format!("{name} {label} does not reach {count}: {}", self.running.words()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// The shop that the daemon sells for: one file.
pub(crate) fn make_shop(folder: &Path) -> Outcome<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("kit.bin"), "The kit itself.\n")?;
    let catalog = "[[product]]\nslug = \"audit-kit\"\nname = \"Kit d'audit\"\n\
         [[product.tier]]\nid = \"standard\"\nname = \"Standard\"\nprice = 15000\ncurrency = \"XOF\"\nfile = \"kit.bin\"\n";
    Ok(std::fs::write(folder.join("catalog.toml"), catalog)?)
}
