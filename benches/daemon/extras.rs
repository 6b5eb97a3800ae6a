//! What is not requests per second: starts, memory at rest, disk, the binary, and a large download.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Instant;

use auditshield::adapters::token::Links;
use auditshield::ports::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::child::{self, Daemon};
use crate::rounds::{Bench, REST, remove};
use crate::sheet::Sheet;
use crate::stock::{self, Kind};
use crate::wire::{Conn, Head, Load, Pace, Requests};
use crate::{Outcome, machine, peers};

/// Read at one time during a download, in bytes.
const PIECE_BYTES: usize = 256 * 1024;
/// The sold file is written in pieces of so many bytes, of a pattern that no file system leaves out.
const PATTERN_BYTES: usize = 1024 * 1024;

/// A store with so many complete orders, made once and kept. It is started on and ended cleanly before it is used, so
/// that an index that belongs to another boot of the machine is made anew beforehand.
pub(crate) async fn full_store(bench: &Bench, shelf: &Path, orders: u64) -> Outcome<PathBuf> {
    let store = shelf.join(format!("full-{}-{orders}", env!("CARGO_PKG_VERSION")));
    if !store.exists() {
        println!("making a store of {orders} orders");
        let unfinished = shelf.join("unfinished");
        remove(&unfinished)?;
        stock::add(&unfinished, Kind::Complete, orders).await?;
        std::fs::rename(&unfinished, &store)?;
    }
    bench.daemon(&store, &[]).await?.running.end().await?;
    Ok(store)
}

/// How many bytes of disk an order takes over its whole life.
pub(crate) fn disk(sheet: &mut Sheet, store: &Path, orders: u64) -> Outcome<()> {
    let (journal, index) =
        (machine::disk_bytes(&store.join("journal"))?, machine::disk_bytes(&store.join("index"))?);
    sheet.put("disk/journal", journal as f64 / orders as f64);
    sheet.put("disk/index", index as f64 / orders as f64);
    sheet.put("disk/order", machine::disk_bytes(store)? as f64 / orders as f64 / 1024.0);
    Ok(())
}

/// One start on `store`, from spawn to /readyz; then a clean stop. With an empty store, memory at rest too.
pub(crate) async fn start(bench: &Bench, sheet: &mut Sheet, name: &str, store: &Path) -> Outcome<()> {
    let daemon = bench.daemon(store, &[]).await?;
    let pid = daemon.running.pid();
    let millis = daemon.running.ready_after.as_secs_f64() * 1000.0;
    sheet.put(format!("ready/{name}"), millis);
    tokio::time::sleep(REST).await;
    let idle = machine::status(pid, "VmRSS") / 1024.0;
    println!("  {:22} {millis:8.1} ms to ready  {idle:.1} MiB at rest", format!("start/{name}"));
    if name == "empty" {
        sheet.put("idle/rss", idle);
        sheet.put("idle/threads", machine::status(pid, "Threads"));
    }
    daemon.running.end().await
}

/// The size of the daemon's program without symbols.
pub(crate) fn binary(bench: &Bench, sheet: &mut Sheet) -> Outcome<()> {
    let stripped = bench.folder.join("stripped");
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(&bench.binary).status()?;
    if !strip.success() {
        return Err("strip failed".into());
    }
    sheet.put("binary/mb", std::fs::metadata(&stripped)?.len() as f64 / 1e6);
    Ok(std::fs::remove_file(&stripped)?)
}

/// Writes the file that is sold, and reads it once: what is measured is the way out of the page cache.
pub(crate) fn make_file(folder: &Path, mib: usize) -> Outcome<()> {
    let pattern: Vec<u8> = (0..PATTERN_BYTES).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut file = std::fs::File::create(folder.join("kit.bin"))?;
    for _ in 0..mib {
        file.write_all(&pattern)?;
    }
    Ok(file.sync_all()?)
}

/// One download over one connection from the daemon, and one from nginx with sendfile.
pub(crate) async fn download(bench: &Bench, sheet: &mut Sheet) -> Outcome<()> {
    let store = bench.folder.join("store");
    remove(&store)?;
    machine::copy(&bench.few, &store)?;
    let daemon = bench.daemon(&store, &[]).await?;
    let place = buy(bench, &daemon).await?;
    fetch(bench, sheet, "daemon", &[daemon.running.pid()], daemon.running.listen, &place).await?;
    drop(daemon);
    if !Path::new("/usr/sbin/nginx").exists() {
        println!("  no nginx: run benches/peers/install");
        return Ok(());
    }
    let nginx = peers::nginx(&bench.folder, "/catalog.toml").await?;
    fetch(bench, sheet, "nginx", &nginx.pids(), nginx.front.listen, "/kit.bin").await
}

/// Sells one order, starts its download, and gives the file's address.
async fn buy(bench: &Bench, daemon: &Daemon) -> Outcome<String> {
    let mut load = Load::open(daemon.running.listen, 1).await?;
    load.send(&bench.requests, 0, 1, Pace::Closed).await?;
    daemon.until("auditshield_events_total", "\"DELIVERED\"", 1.0).await?;
    let order = Kind::Open(bench.born).order_id(0).to_string();
    let now = u64::try_from(Clock::system().now().seconds())?;
    let token = Links::new(child::SECRET_KEY, []).download_token(&order, 1, now);
    let press = format!("POST /download/{token}/ HTTP/1.1\r\nhost: bench\r\ncontent-length: 0\r\n\r\n");
    let (status, answer) = Conn::open(daemon.running.listen).await?.fetch(press.as_bytes()).await?;
    let place = answer.lines().find_map(|line| line.strip_prefix("location: "));
    Ok(place.ok_or(format!("no download: {status}"))?.trim().to_owned())
}

async fn fetch(
    bench: &Bench,
    sheet: &mut Sheet,
    name: &str,
    pids: &[u32],
    target: std::net::SocketAddr,
    place: &str,
) -> Outcome<()> {
    let watch = machine::Watch::start(&[pids, &[bench.world.pid()]].concat());
    let begun = Instant::now();
    let mut stream = TcpStream::connect(target).await?;
    let question = format!("GET {place} HTTP/1.1\r\nhost: bench\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut piece = vec![0; PIECE_BYTES];
    let (mut held, mut whole) = (0, None);
    while whole.is_none_or(|bytes| held < bytes) {
        let count = stream.read(&mut piece[if whole.is_none() { held } else { 0 }..]).await?;
        if count == 0 {
            return Err(format!("{name}: the download broke off after {held} bytes").into());
        }
        held += count;
        if whole.is_none()
            && let Some(head) = Head::read(&piece[..held])
        {
            if head.status != 200 {
                return Err(format!("{name}: the download was answered {}", head.status).into());
            }
            whole = Some(head.bytes);
        }
    }
    let rate = held as f64 / 1024.0 / 1024.0 / begun.elapsed().as_secs_f64();
    let elapsed = watch.stop();
    let cpu: f64 = elapsed.cpu.iter().take(pids.len()).sum();
    sheet.put(format!("download/{name}"), rate);
    sheet.put(format!("download/{name}/cpu"), cpu * 1e3 / (held as f64 / 1024.0 / 1024.0 / 1024.0));
    sheet.disturbed(&format!("download/{name}"), elapsed.foreign);
    println!(
        "  {:22} {rate:8.0} MiB/s  others {:4.1} %",
        format!("download/{name}"),
        elapsed.foreign * 100.0
    );
    Ok(())
}

/// A copy of a full store with open orders beside the complete ones: `slice` for each round. Gives its notifications.
pub(crate) async fn million(bench: &mut Bench, full: &Path, rounds: usize, slice: usize) -> Outcome<()> {
    let store = bench.folder.join("million");
    machine::copy(full, &store)?;
    let orders = (rounds * slice) as u64;
    stock::add(&store, Kind::Open(bench.born), orders).await?;
    let ids = (0..orders).map(|number| Kind::Open(bench.born).order_id(number));
    let requests = Rc::new(Requests::notices(peers::PATH, ids));
    bench.million = Some(crate::rounds::Million { store, requests, slice });
    Ok(())
}
