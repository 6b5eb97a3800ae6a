//! The spool: notifications that `config/cpanel/notify.php` kept while this daemon was down. Each is heard as if it had
//! come by itself, and its file removed once it is durable; one whose removal a crash prevents is a duplicate later.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::http::{self, Deps, Ingested};

/// Between two looks into the folder, in seconds.
const LOOK_SECONDS: u64 = 1;
/// Largest file: a notification of 64 KiB in base64, and its frame.
const FILE_BYTES_MAX: u64 = 128 * 1024;
/// Files read in one look, so that the metric tells the truth now and then.
const FILES_MAX: usize = 500;
/// Notifications that cannot be committed now, in one look, after which the others wait too.
const LATER_MAX: usize = 8;
/// What notify.php calls a whole file.
const WHOLE: &str = "json";
/// Below the spool: what nobody signed with a secret of ours. A person looks at it.
const REFUSED: &str = "refused";
/// The format of the files.
const VERSION: u32 = 1;

/// A kept notification, as it came.
#[derive(Deserialize)]
struct Kept {
    v: u32,
    x_token: String,
    body: String,
}

/// Hears what is in `folder`, now and whenever something new is, until `stop`.
pub(super) async fn ingest(folder: PathBuf, deps: Arc<Deps>, stop: CancellationToken) {
    loop {
        if let Err(error) = empty(&folder, &deps, &stop).await {
            tracing::error!(%error, folder = %folder.display(), "the spool cannot be read");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(LOOK_SECONDS)) => {}
        }
    }
}

async fn empty(folder: &Path, deps: &Deps, stop: &CancellationToken) -> io::Result<()> {
    let files = waiting(folder)?;
    let gauge = metrics::gauge!("auditshield_spool_waiting");
    gauge.set(files.len() as f64);
    let count = |outcome| metrics::counter!("auditshield_spool_total", "outcome" => outcome).increment(1);
    let mut later = 0;
    for path in files.iter().take(FILES_MAX) {
        if stop.is_cancelled() {
            return Ok(());
        }
        let Some((body, token)) = read(path) else {
            tracing::error!(file = %path.display(), "a file in the spool is no notification");
            count("unreadable");
            set_aside(folder, path)?;
            continue;
        };
        match http::ingest(deps, &body, &token).await {
            Ingested::Done => {
                count("heard");
                fs::remove_file(path)?;
            }
            Ingested::Refused => {
                count("refused");
                set_aside(folder, path)?;
            }
            // What cannot be committed now can be later. One order whose actor keeps failing must not hold up the others;
            // when several in one look fare so, it is the disk or the load, and the rest would fare no better.
            Ingested::Later => {
                later += 1;
                if later >= LATER_MAX {
                    return Ok(());
                }
                continue;
            }
        }
        gauge.decrement(1.0);
    }
    Ok(())
}

/// Whole files, the oldest first: their names begin with the time. A folder that is not there yet is empty.
fn waiting(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        // A link may lead anywhere: only files.
        if entry.file_type()?.is_file() && entry.path().extension().is_some_and(|kind| kind == WHOLE) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut text = Vec::new();
    fs::File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut text).ok()?;
    let kept = serde_json::from_slice::<Kept>(&text).ok().filter(|kept| kept.v == VERSION)?;
    Some((STANDARD.decode(kept.body).ok()?, kept.x_token.into_bytes()))
}

/// Kept for a person: a wrong secret in the settings must not cost real notifications.
fn set_aside(folder: &Path, path: &Path) -> io::Result<()> {
    let refused = folder.join(REFUSED);
    fs::create_dir_all(&refused)?;
    fs::rename(path, refused.join(path.file_name().unwrap_or_default()))
}
