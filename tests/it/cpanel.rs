//! The spool shim: PHP at the notify address, the daemon up, down and back. `tests/cpanel/run` installs PHP.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;

use crate::process_support::{PATIENCE, World, has_tools, notice, port, times};

/// Notifications sent while the daemon is down.
const NOTIFICATIONS: usize = 100;
/// At one time.
const AT_ONCE: usize = 8;

/// PHP's own server with notify.php at every address.
struct Php {
    child: Child,
    address: String,
}

impl Php {
    /// `wrapper`: a command that runs it.
    async fn start(world: &World, wrapper: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/cpanel/notify.php");
        let address = format!("127.0.0.1:{}", port());
        let words: Vec<&str> = wrapper.iter().copied().chain(["php"]).collect();
        let child = Command::new(words[0])
            .args(&words[1..])
            .args(["-d", "log_errors=1", "-S", &address])
            .arg(script)
            .env("AUDITSHIELD_UPSTREAM", format!("{}/payment/callback/", world.shop))
            .env("AUDITSHIELD_SPOOL", spool(world))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(world.path("php")).unwrap())
            .spawn()
            .expect("PHP; tests/cpanel/run installs it");
        let begun = Instant::now();
        while TcpStream::connect(&address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "PHP does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self { child, address }
    }

    async fn post(&self, world: &World, form: String, token: &str) -> StatusCode {
        let request = world.client.post(format!("http://{}/notify.php", self.address));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.header("x-token", token).body(form).send().await.unwrap().status()
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spool(world: &World) -> PathBuf {
    world.path("spool")
}

/// The files in the spool, or in a folder below it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A world with a spool in which nothing but notifications finds payments.
async fn world() -> World {
    let mut world = World::new(&[("AUDITSHIELD_VERIFY__FIRST_POLL", "24h")]).await;
    let folder = spool(&world).display().to_string();
    world.settings.insert("AUDITSHIELD_SPOOL__FOLDER".to_owned(), folder);
    world.cinetpay.patch(&json!({"notify": {"enabled": false}})).unwrap();
    world
}

#[tokio::test]
async fn a_hundred_notifications_to_a_stopped_daemon_are_all_verified() {
    if !has_tools("tests/cpanel/run") {
        return;
    }
    use futures_util::StreamExt;
    let mut world = world().await;
    world.start().await;
    let mut orders = Vec::new();
    for _ in 0..NOTIFICATIONS {
        orders.push(world.buy().await);
    }
    world.term();
    assert_eq!(world.end().await.code(), Some(0));
    let php = Php::start(&world, &[]).await;
    for order in &orders {
        world.cinetpay.approve(order).unwrap();
    }
    let sent = futures_util::stream::iter(&orders).map(async |order| {
        let (form, token) = notice(order);
        php.post(&world, form, &token).await
    });
    let answers: Vec<StatusCode> = sent.buffer_unordered(AT_ONCE).collect().await;
    assert_eq!(answers, vec![StatusCode::OK; NOTIFICATIONS]);
    assert_eq!(files(&spool(&world)).len(), NOTIFICATIONS);
    world.start().await;
    for order in &orders {
        let now = world.until(order, "DELIVERED").await;
        assert_eq!(["NOTIFIED", "PAID", "DELIVERED"].map(|kind| times(&now, kind)), [1, 1, 1], "{now:#}");
    }
    until("the spool is not emptied", || files(&spool(&world)).is_empty()).await;
    let metrics = world.metrics().await;
    let heard = format!("auditshield_spool_total{{outcome=\"heard\"}} {NOTIFICATIONS}");
    assert!(metrics.contains(&heard) && metrics.contains("auditshield_spool_waiting 0"), "{metrics}");
}

#[tokio::test]
async fn up_it_passes_on_and_down_it_keeps_only_what_may_be_signed() {
    if !has_tools("tests/cpanel/run") {
        return;
    }
    let mut world = world().await;
    let php = Php::start(&world, &[]).await;
    world.start().await;
    let order = world.buy().await;
    world.cinetpay.approve(&order).unwrap();
    let (form, token) = notice(&order);
    let forged = "0".repeat(64);
    assert_eq!(php.post(&world, form.clone(), &token).await, 200);
    world.until(&order, "DELIVERED").await;
    assert_eq!(php.post(&world, form.clone(), &forged).await, 400, "the daemon's own word");
    assert!(files(&spool(&world)).is_empty());

    world.term();
    world.end().await;
    let ping = format!("http://{}/notify.php", php.address);
    assert_eq!(world.client.get(&ping).send().await.unwrap().status(), 200);
    assert_eq!(world.client.put(&ping).send().await.unwrap().status(), 405);
    assert_eq!(php.post(&world, form.clone(), "").await, 400);
    assert_eq!(php.post(&world, form.clone(), "not hexadecimal").await, 400);
    assert_eq!(php.post(&world, "x=".repeat(40_000), &token).await, 413);
    assert!(files(&spool(&world)).is_empty());
    // It may be signed: that is the daemon's to judge.
    assert_eq!(php.post(&world, form.clone(), &forged).await, 200);
    assert_eq!(php.post(&world, form, &token).await, 200);
    use std::os::unix::fs::PermissionsExt;
    for path in files(&spool(&world)) {
        assert_eq!(
            path.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "it names the buyer's telephone"
        );
    }
    std::fs::write(spool(&world).join("half.new"), "{").unwrap();
    std::fs::write(spool(&world).join("rubbish.json"), "{}").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", spool(&world).join("link.json")).unwrap();
    world.start().await;
    let aside = spool(&world).join("refused");
    until("not set aside", || files(&aside).len() == 2).await;
    // What notify.php has not finished is left alone, and so is what is no file.
    until("not emptied", || files(&spool(&world)).iter().all(|path| !path.ends_with("rubbish.json"))).await;
    assert!(spool(&world).join("half.new").exists() && spool(&world).join("link.json").exists());
    let order = world.order(&order).await;
    assert_eq!(["NOTIFIED", "PAID"].map(|kind| times(&order, kind)), [1, 1], "{order:#}");
}

#[tokio::test]
async fn what_cannot_be_committed_now_is_kept_and_read_while_the_daemon_runs() {
    if !has_tools("tests/cpanel/run") {
        return;
    }
    let mut world = world().await;
    world.start().await;
    let order = world.buy().await;
    world.cinetpay.approve(&order).unwrap();
    world.signal("-STOP");
    // Five seconds without an answer: as good as none.
    let php = Php::start(&world, &[]).await;
    let (form, token) = notice(&order);
    assert_eq!(php.post(&world, form, &token).await, 200);
    assert_eq!(files(&spool(&world)).len(), 1);
    world.signal("-CONT");
    // Kept and, once it wakes, heard over the network, too: one of them is a duplicate.
    let order = world.until(&order, "DELIVERED").await;
    assert_eq!(times(&order, "NOTIFIED"), 1, "{order:#}");
    until("the spool is not emptied", || files(&spool(&world)).is_empty()).await;
}

#[tokio::test]
async fn two_hundred_is_answered_after_the_syncs() {
    if !has_tools("tests/cpanel/run") {
        return;
    }
    let world = world().await;
    let trace = world.path("trace").display().to_string();
    // -D: the child is PHP, and strace ends with it.
    let wrapper = ["strace", "-D", "-f", "-o", &trace, "-e", "trace=fsync,rename,sendto"];
    let php = Php::start(&world, &wrapper).await;
    let (form, token) = notice("01KA3M5W6K8Y2Q4Z7X9B1C3D5E");
    assert_eq!(php.post(&world, form, &token).await, 200);
    drop(php);
    let text = || std::fs::read_to_string(&trace).unwrap_or_default();
    until("the trace is not finished", || text().contains("+++ killed")).await;
    let trace = text();
    let calls = trace.lines().filter_map(|line| line.split_whitespace().nth(1)?.split('(').next());
    let calls: Vec<&str> = calls.filter(|call| ["fsync", "rename", "sendto"].contains(call)).collect();
    // Head and body of the answer may go in one piece or in two.
    assert!(calls.starts_with(&["fsync", "rename", "fsync", "sendto"]), "{trace}");
}

#[tokio::test]
async fn a_full_disk_leaves_the_spool_as_it_is() {
    if !has_tools("tests/cpanel/run") {
        return;
    }
    use base64::Engine;
    let mut world = world().await;
    world.start().await;
    let mut orders = Vec::new();
    for _ in 0..3 {
        orders.push(world.buy().await);
    }
    world.term();
    assert_eq!(world.end().await.code(), Some(0));
    std::fs::create_dir(spool(&world)).unwrap();
    for (number, order) in orders.iter().enumerate() {
        world.cinetpay.approve(order).unwrap();
        let (form, token) = notice(order);
        let body = base64::engine::general_purpose::STANDARD.encode(form);
        let kept = json!({"v": 1, "x_token": token, "body": body}).to_string();
        std::fs::write(spool(&world).join(format!("{number}.json")), kept).unwrap();
    }
    let journal = world.path(&format!("store/journal/{:020}.jsonl", 1)).display().to_string();
    let full = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-P",
        &journal,
        "-e",
        "inject=pwrite64:error=ENOSPC",
    ];
    world.wrapper = full.map(ToOwned::to_owned).to_vec();
    world.spawn();
    until("nothing was tried", || world.said().matches("could not be committed").count() >= 2).await;
    assert_eq!(files(&spool(&world)).len(), 3, "{}", world.said());
    assert!(files(&spool(&world).join("refused")).is_empty());
    world.kill();
    world.wrapper.clear();
    world.start().await;
    for order in &orders {
        world.until(order, "DELIVERED").await;
    }
    until("the spool is not emptied", || files(&spool(&world)).is_empty()).await;
}
