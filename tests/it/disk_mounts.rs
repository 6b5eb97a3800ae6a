//! File systems that are full or read-only, at the start and while the program runs. Root and mounts are needed;
//! `tests/disk/run` fails where they are missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::StatusCode;

use crate::process_disk::{Mount, fill};
use crate::process_support::World;

/// An ext4 file system in a file, which turns read-only at its first error.
struct Image {
    folder: tempfile::TempDir,
    device: String,
}

fn ran(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

impl Image {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (image, place) = (path("image"), path("mounted"));
        std::fs::create_dir(&place).unwrap();
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(24 * 1024 * 1024).unwrap();
        let mounted = ran("mkfs.ext4", &["-q", &image])
            && ran("mount", &["-o", "loop,errors=remount-ro", &image, &place]);
        if !mounted {
            return None;
        }
        let found = Command::new("findmnt").args(["-no", "SOURCE", &place]).output().unwrap();
        let device = String::from_utf8(found.stdout).unwrap().trim().trim_start_matches("/dev/").to_owned();
        Some(Self { folder, device })
    }

    fn place(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// What the kernel does when it finds damage: no write succeeds any more.
    fn turn_read_only(&self) {
        std::fs::write(format!("/sys/fs/ext4/{}/trigger_fs_error", self.device), "a test").unwrap();
    }

    /// Checked and mounted again.
    fn repair(&self) {
        let (image, place) = (self.folder.path().join("image"), self.place());
        let (image, place) = (image.to_str().unwrap(), place.to_str().unwrap());
        assert!(ran("umount", &[place]));
        // 1: errors were corrected.
        let checked = Command::new("e2fsck").args(["-fy", image]).output().unwrap();
        assert!(matches!(checked.status.code(), Some(0 | 1)), "{checked:?}");
        assert!(ran("mount", &["-o", "loop,errors=remount-ro", image, place]));
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.place()).status();
    }
}

/// Nobody polls: what was answered 200 must be enough.
async fn world(store: &Path) -> World {
    World::silent_on(store, &[("AUDITSHIELD_VERIFY__FIRST_POLL", "1h")]).await
}

/// Starts; the exit code and what was said if it ends by itself.
async fn refused(world: &mut World) -> (i32, String) {
    world.spawn();
    let code = world.end().await.code().expect("an exit code");
    (code, world.said())
}

#[tokio::test]
async fn a_disk_that_turns_read_only_loses_nothing() {
    let Some(image) = Image::new() else {
        println!("NOT RUN: a read-only file system. This user may not mount an image (root is needed).");
        return;
    };
    let store = image.place().join("store");
    let mut world = world(&store).await;
    world.start().await;
    let mut told = Vec::new();
    for _ in 0..2 {
        let order = world.buy_and_pay().await;
        assert_eq!(world.notify(&order).await, StatusCode::OK);
        told.push(order);
    }
    let late = world.buy_and_pay().await;
    image.turn_read_only();
    // 503, or no answer from a process that ends: but no 200.
    let answered = world.try_notify(&late).await;
    assert!(
        matches!(answered, None | Some(StatusCode::SERVICE_UNAVAILABLE)),
        "{answered:?}: {}",
        world.said()
    );
    let bought = world.try_buy("awa@example.ci").await;
    assert!(matches!(bought, Err(None | Some(StatusCode::SERVICE_UNAVAILABLE))), "{bought:?}");
    if world.is_up() {
        println!("read-only while running: 503, and it stays up");
        world.kill();
    } else {
        let code = world.end().await.code();
        println!("read-only while running: it ended with {code:?}");
        assert_eq!(code, Some(1), "{}", world.said());
    }
    // A start on it says which folder, and that it is read-only.
    let (code, said) = refused(&mut world).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(store.to_str().unwrap()) && said.contains("Read-only"), "{said}");

    image.repair();
    world.start().await;
    for order in &told {
        world.until(order, "DELIVERED").await;
    }
    assert_eq!(world.notify(&late).await, StatusCode::OK, "{}", world.said());
    world.until(&late, "DELIVERED").await;
    world.ends_well(&store).await;
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_start_is_named_and_healed_by_room() {
    let Some(mount) = Mount::new() else {
        println!("NOT RUN: a full disk at the start. This user may not mount a tmpfs (root is needed).");
        return;
    };
    let store = mount.path().join("store");
    let mut world = world(&store).await;
    let filler = mount.path().join("filler");
    // Never used: not even the store's folder has room.
    fill(&filler);
    let (code, said) = refused(&mut world).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(store.to_str().unwrap()) && said.contains("No space"), "{said}");
    // In use before: an order waits, then there is no room.
    std::fs::remove_file(&filler).unwrap();
    world.start().await;
    let order = world.buy_and_pay().await;
    assert_eq!(world.notify(&order).await, StatusCode::OK);
    world.kill();
    fill(&filler);
    world.spawn();
    let begun = std::time::Instant::now();
    let ended = loop {
        if let Some(code) = world.ended_with() {
            break Some(code);
        }
        let (up, asked) = match world.client.get(format!("{}/healthz", world.shop)).send().await {
            Ok(answer) => (answer.status() == StatusCode::OK, true),
            Err(_) => (false, false),
        };
        if up && asked {
            break None;
        }
        assert!(begun.elapsed() < crate::process_support::PATIENCE, "{}", world.said());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    println!("full at the start: {}", ended.map_or("it starts".to_owned(), |code| format!("exit {code}")));
    match ended {
        Some(code) => {
            world.forget();
            assert!(code == 1 && world.said().contains("full"), "{}", world.said());
        }
        None => world.kill(),
    }
    std::fs::remove_file(&filler).unwrap();
    world.start().await;
    world.until(&order, "DELIVERED").await;
    world.ends_well(&store).await;
}
