//! A full disk under the real program: nothing is acknowledged, the process stays up, and it goes on once there is room.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::process_support::{PATIENCE, World};

/// Orders that wait for their notification: enough to use up what room is left in the journal's last page.
const ORDERS: usize = 40;

/// A small file system of its own, taken away with the value.
pub(crate) struct Mount(tempfile::TempDir);

impl Mount {
    /// None where this user may not mount.
    pub(crate) fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["-t", "tmpfs", "-o", "size=16m", "auditshield-test"];
        let mounted = Command::new("mount").args(arguments).arg(folder.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Writes until there is no room.
pub(crate) fn fill(file: &Path) {
    let mut file = std::fs::File::create(file).unwrap();
    for size in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let Some(mount) = Mount::new() else {
        println!("NOT RUN: a full disk. This user may not mount a tmpfs (root is needed).");
        return;
    };
    let store = mount.0.path().join("store");
    let mut world = World::silent_on(&store, &[]).await;
    world.start().await;
    let mut orders = Vec::new();
    for _ in 0..ORDERS {
        let order = world.buy_and_pay().await;
        orders.push(order);
    }
    let filler = mount.0.path().join("filler");
    fill(&filler);
    let mut told = Vec::new();
    let refused = loop {
        let order = orders.pop().expect("a full disk refuses at last");
        match world.notify(&order).await {
            StatusCode::OK => told.push(order),
            other => {
                assert_eq!(other, StatusCode::SERVICE_UNAVAILABLE, "{}", world.said());
                break order;
            }
        }
    };
    let bought = world.try_buy("awa@example.ci").await;
    assert_eq!(bought, Err(Some(StatusCode::SERVICE_UNAVAILABLE)));
    let (status, body) = world.get(&format!("{}/readyz", world.shop)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert!(body["reason"].as_str().is_some_and(|reason| reason.len() > 5), "{body}");
    assert_eq!(world.get(&format!("{}/healthz", world.shop)).await.0, StatusCode::OK);
    // A short line may still fit into the last page and be a sign of health, for a moment.
    let begun = std::time::Instant::now();
    let metrics = loop {
        let metrics = world.metrics().await;
        let told = ["ledger_can_commit 0", "journal_healthy 0"];
        if told.iter().all(|one| metrics.contains(&format!("\nauditshield_{one}\n"))) {
            break metrics;
        }
        assert!(begun.elapsed() < PATIENCE, "{metrics}");
    };
    assert!(metrics.contains("auditshield_webhooks_total{outcome=\"unavailable\"} 1"), "{metrics}");
    assert_eq!(world.order(&refused).await["status"], "PENDING");
    // Some time on a full disk: the index must not end the process either.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(world.is_up(), "{}", world.said());

    std::fs::remove_file(filler).unwrap();
    recovered(&mut world, &refused).await;
    told.push(refused);
    for order in &told {
        world.until(order, "DELIVERED").await;
    }
    assert!(world.metrics().await.contains("\nauditshield_ledger_can_commit 1\n"));
    world.ends_well(&store).await;
}

/// Until this notification is answered 200 and indexed. sled keeps the error of a full disk for good: if it came across it,
/// the process ends once there is room, and its service manager starts it anew.
async fn recovered(world: &mut World, order: &str) {
    let begun = std::time::Instant::now();
    let mut answered = false;
    loop {
        if let Some(code) = world.ended_with() {
            assert_eq!(code, 1, "{}", world.said());
            assert!(world.said().contains("restarting to rebuild it"), "{}", world.said());
            world.forget();
            world.start().await;
            answered = false;
        }
        answered = answered || world.try_notify(order).await == Some(StatusCode::OK);
        // It may end between two questions.
        let token = &world.settings["AUDITSHIELD_ADMIN__TOKEN"];
        let asked = world.client.get(format!("{}/metrics", world.admin)).bearer_auth(token);
        let metrics = match asked.send().await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        if answered && metrics.contains("\nauditshield_index_lag 0\n") {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{metrics} {}", world.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn below_the_watermark_nothing_is_sold_and_what_was_sold_is_finished() {
    let Some(mount) = Mount::new() else {
        println!("NOT RUN: the free-space watermark. This user may not mount a tmpfs (root is needed).");
        return;
    };
    let store = mount.0.path().join("store");
    let mut world = World::silent_on(&store, &[("AUDITSHIELD_STORE__FREE_MIB_MIN", "8")]).await;
    world.start().await;
    let order = world.buy_and_pay().await;
    let filler = mount.0.path().join("filler");
    std::fs::write(&filler, vec![b'x'; 10 * 1024 * 1024]).unwrap();
    assert_eq!(world.try_buy("awa@example.ci").await, Err(Some(StatusCode::SERVICE_UNAVAILABLE)));
    assert_eq!(world.notify(&order).await, StatusCode::OK, "{}", world.said());
    world.until(&order, "DELIVERED").await;
    assert_eq!(world.get(&format!("{}/readyz", world.shop)).await.0, StatusCode::OK);
    let metrics = world.metrics().await;
    let free = metrics.lines().find_map(|line| line.strip_prefix("auditshield_store_free_bytes "));
    let free: f64 = free.expect("the gauge").parse().unwrap();
    assert!(free > 0.0 && free < 8.0 * 1024.0 * 1024.0, "{free}");
    std::fs::remove_file(filler).unwrap();
    world.buy().await;
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());
}
