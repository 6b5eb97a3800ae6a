//! The program as a child process, in front of a simulated CinetPay and a mailbox that outlive it.
//!
//! `AUDITSHIELD_BIN` or `AUDITSHIELD_BINARY` names another build of it, the release binary for one.

// By path: tests/crash takes this file in by its path too.
#[path = "dice.rs"]
mod dice;
#[path = "notice.rs"]
pub(crate) mod notice;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener as Port;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use auditshield::simulator::mailbox::{self, Mailbox};
use auditshield::simulator::{self, Simulator};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const ADMIN_TOKEN: &str = "process-admin-token-0123456789";
pub(crate) const SECRET_KEY: &str = "process-secret-key-0123456789abcdef";
pub(crate) const API_KEY: &str = "process-api-key-0123456789";
pub(crate) const WEBHOOK_SECRET: &str = "process-webhook-secret-0123456789";
pub(crate) const EMAIL: &str = "adjoua.kouame@example.ci";
pub(crate) const NAME: &str = "Adjoua Kouamé";
pub(crate) const PHONE: &str = "0505123456";
/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long one question whether the daemon is ready may take.
const READY_WAIT: Duration = Duration::from_secs(5);
/// Mails kept by the mailbox of a storm.
const MAILS_MAX: usize = 100_000;

pub(crate) use dice::Dice;

/// The program under test.
pub(crate) fn binary() -> PathBuf {
    let named = ["AUDITSHIELD_BIN", "AUDITSHIELD_BINARY"].iter().find_map(std::env::var_os);
    named.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_auditshield")), PathBuf::from)
}

/// A free port outside the range from which the system takes those of outgoing connections: it stays free in between.
pub(crate) fn port() -> u16 {
    let mut dice = Dice::new();
    let taken = |port: u16| Port::bind(("127.0.0.1", port)).is_err();
    let mut tried = (0..100).map(|_| 20_000 + u16::try_from(dice.below(10_000)).unwrap());
    tried.find(|port| !taken(*port)).expect("a free port")
}

/// The outside world of one daemon, and the daemon when it runs.
pub(crate) struct World {
    pub(crate) shop: String,
    pub(crate) admin: String,
    pub(crate) cinetpay: Simulator,
    pub(crate) mailbox: Mailbox,
    pub(crate) client: Client,
    pub(crate) settings: BTreeMap<String, String>,
    /// A command that runs the daemon, such as strace with its arguments; empty for none.
    pub(crate) wrapper: Vec<String>,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl World {
    pub(crate) async fn new(overrides: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::write(path.join("kit.bin"), "The kit itself.\n").unwrap();
        std::fs::write(path.join("catalog.toml"), include_str!("../catalog.toml")).unwrap();
        let bounds = mailbox::Settings { mails_max: MAILS_MAX, ..mailbox::Settings::default() };
        let mailbox = Mailbox::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), bounds).unwrap();
        let mut options =
            simulator::Options { mailbox: Some(mailbox.clone()), ..simulator::Options::default() };
        (options.api_key, options.secret) = (API_KEY.to_owned(), WEBHOOK_SECRET.to_owned());
        let site = options.site_id.clone();
        let cinetpay =
            simulator::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), options).await.unwrap();
        let (shop, admin) = (format!("127.0.0.1:{}", port()), format!("127.0.0.1:{}", port()));
        let mut settings: BTreeMap<String, String> = [
            ("CINETPAY_ENV", "sandbox".to_owned()),
            ("CINETPAY_API_URL", cinetpay.base_url().to_owned()),
            ("CINETPAY_API_KEY", API_KEY.to_owned()),
            ("CINETPAY_SITE_ID", site),
            ("CINETPAY_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
            ("AUDITSHIELD_SERVER__LISTEN", shop.clone()),
            ("AUDITSHIELD_ADMIN__LISTEN", admin.clone()),
            ("AUDITSHIELD_ADMIN__TOKEN", ADMIN_TOKEN.to_owned()),
            ("AUDITSHIELD_STORE__URL", format!("sled:{}", path.join("store").display())),
            ("AUDITSHIELD_CATALOG__PATH", path.join("catalog.toml").display().to_string()),
            ("AUDITSHIELD_MAIL__URL", format!("smtp://{}?tls=none", mailbox.addr())),
            ("AUDITSHIELD_MAIL__FROM", "boutique@example.com".to_owned()),
            ("AUDITSHIELD_LIMITS__BUY_PER_MINUTE", "0".to_owned()),
            // Tests on small disks want to see them full.
            ("AUDITSHIELD_STORE__FREE_MIB_MIN", "0".to_owned()),
            ("AUDITSHIELD_SECRET_KEY", SECRET_KEY.to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        settings.extend(overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .no_proxy()
            .build()
            .unwrap();
        let (shop, admin) = (format!("http://{shop}"), format!("http://{admin}"));
        Self { shop, admin, cinetpay, mailbox, client, settings, wrapper: Vec::new(), folder, child: None }
    }

    /// The same with its store in `store`, and a CinetPay that says nothing of its own accord.
    pub(crate) async fn silent_on(store: &Path, overrides: &[(&str, &str)]) -> Self {
        let url = format!("sled:{}", store.display());
        let world = Self::new(&[&[("AUDITSHIELD_STORE__URL", url.as_str())], overrides].concat()).await;
        world.cinetpay.patch(&json!({"notify": {"enabled": false}})).unwrap();
        world
    }

    /// Ends as it should when asked to, and its journal is sound.
    pub(crate) async fn ends_well(&mut self, store: &Path) {
        assert!(!self.said().contains("panicked: "), "{}", self.said());
        self.term();
        assert_eq!(self.end().await.code(), Some(0), "{}", self.said());
        self.verify_journal(store).await;
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the program with these arguments; everything it says goes into the file `said`.
    pub(crate) fn launch(&self, arguments: &[&str], said: &Path) -> Child {
        let file = File::options().append(true).create(true).open(said).unwrap();
        let program: Vec<std::ffi::OsString> =
            self.wrapper.iter().map(Into::into).chain([binary().into_os_string()]).collect();
        Command::new(&program[0])
            .args(&program[1..])
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(&self.settings)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap()
    }

    /// Runs the program to its end: exit code, and what it said.
    pub(crate) async fn run(&self, arguments: &[&str]) -> (i32, String) {
        let file = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        let mut child = self.launch(arguments, file.path());
        let status = ended(&mut child).await;
        (status.code().expect("an exit code"), std::fs::read_to_string(file.path()).unwrap())
    }

    /// Starts the daemon, without waiting for it.
    pub(crate) fn spawn(&mut self) {
        self.spawn_as(&["serve"]);
    }

    /// The same by another command.
    pub(crate) fn spawn_as(&mut self, arguments: &[&str]) {
        assert!(self.child.is_none(), "it runs already");
        self.child = Some(self.launch(arguments, &self.path("said")));
    }

    /// Starts the daemon and waits until it is ready.
    pub(crate) async fn start(&mut self) {
        self.spawn();
        self.ready().await;
    }

    pub(crate) async fn ready(&mut self) {
        let begun = Instant::now();
        while !self.is_ready().await {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "{ended:?}: {}", self.said());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let asked = self.client.get(format!("{}/readyz", self.shop)).timeout(READY_WAIT).send().await;
        if asked.as_ref().is_err_and(reqwest::Error::is_timeout) {
            println!("/readyz did not answer within {READY_WAIT:?}");
        }
        asked.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// The daemon's resident memory, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.as_ref().unwrap().id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM: says it, and returns at once.
    pub(crate) fn term(&self) {
        self.signal("-TERM");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends a signal, as kill(1) spells it.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.pid().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Waits for the end that SIGTERM asked for.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        ended(&mut child).await
    }

    pub(crate) fn is_up(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// The exit code, if the daemon has ended by itself; a signal's end is -1.
    pub(crate) fn ended_with(&mut self) -> Option<i32> {
        let status = self.child.as_mut().unwrap().try_wait().unwrap()?;
        Some(status.code().unwrap_or(-1))
    }

    /// Whether it ends within the usual patience.
    pub(crate) async fn ends(&mut self) -> bool {
        let begun = Instant::now();
        while self.ended_with().is_none() {
            if begun.elapsed() > PATIENCE {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }

    /// The threads of a daemon that hangs, and the system call each is in.
    pub(crate) fn threads(&self) -> String {
        let folder = format!("/proc/{}/task", self.child.as_ref().unwrap().id());
        let tasks = std::fs::read_dir(folder).unwrap().map(|task| task.unwrap().path());
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        tasks.map(|task| format!("{} {}\n", read(task.join("comm")), read(task.join("syscall")))).collect()
    }

    /// Lets go of a daemon that has ended.
    pub(crate) fn forget(&mut self) {
        self.child.take().unwrap().wait().unwrap();
    }

    /// Everything all daemons of this world have said.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.path("said")).unwrap_or_default()
    }

    /// Buys; the order's number when the answer was 201, else the status, or none without an answer.
    pub(crate) async fn try_buy(&self, email: &str) -> Result<String, Option<StatusCode>> {
        let request = self
            .client
            .post(format!("{}/buy/audit-kit/standard/", self.shop))
            .header("accept", "application/json")
            .json(&json!({"email": email, "name": NAME}));
        let answer = request.send().await.map_err(|_| None)?;
        let status = answer.status();
        let body: Value = answer.json().await.map_err(|_| None)?;
        if status == StatusCode::CREATED {
            Ok(body["order_id"].as_str().unwrap().to_owned())
        } else {
            Err(Some(status))
        }
    }

    pub(crate) async fn buy(&self) -> String {
        self.try_buy(EMAIL).await.unwrap_or_else(|why| panic!("{why:?}: {}", self.said()))
    }

    /// Buys, and pays: CinetPay accepts.
    pub(crate) async fn buy_and_pay(&self) -> String {
        let order = self.buy().await;
        self.cinetpay.approve(&order).unwrap();
        order
    }

    /// Posts a genuine notification about `transaction`.
    pub(crate) async fn notify(&self, transaction: &str) -> StatusCode {
        self.try_notify(transaction).await.unwrap()
    }

    /// The same; none without an answer.
    pub(crate) async fn try_notify(&self, transaction: &str) -> Option<StatusCode> {
        let (form, token) = notice(transaction);
        let request = self.client.post(format!("{}/payment/callback/", self.shop)).header("x-token", token);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        request.send().await.ok().map(|answer| answer.status())
    }

    pub(crate) async fn get(&self, url: &str) -> (StatusCode, String) {
        let answer = self.client.get(url).bearer_auth(ADMIN_TOKEN).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    pub(crate) async fn order(&self, order: &str) -> Value {
        let (status, body) = self.get(&format!("{}/api/orders/{order}", self.admin)).await;
        assert_eq!(status, StatusCode::OK, "{order}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Waits until the order has an event of this kind.
    pub(crate) async fn until(&self, order: &str, kind: &str) -> Value {
        let begun = Instant::now();
        loop {
            let now = self.order(order).await;
            if times(&now, kind) > 0 {
                return now;
            }
            assert!(begun.elapsed() < PATIENCE, "no {kind}: {now:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn metrics(&self) -> String {
        self.get(&format!("{}/metrics", self.admin)).await.1
    }

    /// The journal is sound to the Python script and to the program itself.
    pub(crate) async fn verify_journal(&self, store: &Path) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify_journal.py");
        let checked = Command::new("python3").arg(script).arg(store.join("journal")).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let (code, said) = self.run(&["ledger", "verify"]).await;
        assert_eq!(code, 0, "{said}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How many of the order's events are of this kind.
pub(crate) fn times(order: &Value, kind: &str) -> usize {
    order["events"].as_array().unwrap().iter().filter(|event| event["kind"] == kind).count()
}

async fn ended(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("it did not end");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A notification as CinetPay sends it, signed for real: form and `x-token`.
pub(crate) fn notice(transaction: &str) -> (String, String) {
    notice_saying(transaction, "")
}

/// The same with these words in `cpm_custom`: another notification of the same transaction.
pub(crate) fn notice_saying(transaction: &str, custom: &str) -> (String, String) {
    let site = simulator::Options::default().site_id;
    notice::signed(&site, WEBHOOK_SECRET, transaction, [PHONE, custom, "SUCCES"])
}

/// Whether programs may be started that `cargo test` alone does not ask for: PHP, proxies, Prometheus, strace. `tests/run`
/// and the scripts beside the tests install them and set the variable; then a missing one is a failure.
pub(crate) fn has_tools(runner: &str) -> bool {
    let set = std::env::var_os("AUDITSHIELD_TOOLS").is_some();
    if !set {
        println!("not run: it needs programs that {runner} installs");
    }
    set
}
