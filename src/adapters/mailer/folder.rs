//! Mails as files, for a shop that is tried out without a mail server.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::letter::Mail;
use crate::ports::Posted;

/// Tells the unfinished files of this process apart.
static UNFINISHED: AtomicU64 = AtomicU64::new(0);

/// Writes the mail whole or not at all. A repeated mail replaces its equal.
pub(super) async fn keep(folder: &Path, mail: &Mail) -> Posted {
    let (folder, name, raw) = (folder.to_owned(), format!("{}.eml", mail.name), mail.raw.clone());
    match tokio::task::spawn_blocking(move || write(&folder, &name, &raw)).await {
        Ok(Ok(())) => Posted::Accepted,
        Ok(Err(error)) => Posted::Unavailable { reason: format!("FILE {:?}", error.kind()) },
        Err(_) => Posted::Unavailable { reason: "FILE".to_owned() },
    }
}

fn write(folder: &Path, name: &str, raw: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let number = UNFINISHED.fetch_add(1, Ordering::Relaxed);
    let unfinished = folder.join(format!(".{name}.{}.{number}.tmp", std::process::id()));
    let written = create(&unfinished).and_then(|mut file| {
        file.write_all(raw)?;
        file.sync_all()
    });
    let kept = written.and_then(|()| fs::rename(&unfinished, folder.join(name)));
    if kept.is_err() {
        // What is left of it is of no use; that it may stay is no second error.
        let _ = fs::remove_file(&unfinished);
    }
    kept
}

/// A link to a paid file: nobody but the owner reads it.
fn create(path: &PathBuf) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
