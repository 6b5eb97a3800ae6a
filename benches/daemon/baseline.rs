//! What the daemon is compared with, each in a process of its own.
//!
//! **bare**: warp, the form, the daemon's own verifier, 200; no state. **raw**: the same, and every notification is
//! appended to a log before its 200, all that wait with one write and one fdatasync: the ceiling for anything durable.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};

use auditshield::adapters::cinetpay::signature::Verifier;
use auditshield::domain::values::TransactionId;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use warp::Filter;
use warp::http::{HeaderMap, StatusCode};

use crate::Outcome;
use crate::notices::{SITE, WEBHOOK_SECRET};

/// Largest notification, as the daemon has it.
const NOTICE_BYTES_MAX: u64 = 64 * 1024;
/// One write and one sync carry at most about so many bytes, as in the daemon.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Notifications that may wait for the writer.
const QUEUE_MAX: usize = 16 * 1024;

/// One record, and who waits for it.
type Entry = (Bytes, oneshot::Sender<()>);

/// Appends to one file from one thread: what waits is written and synced together.
#[derive(Clone)]
pub(crate) struct Log(mpsc::SyncSender<Entry>);

impl Log {
    pub(crate) fn create(path: &Path) -> Outcome<Self> {
        let file = File::create(path)?;
        let (sender, entries) = mpsc::sync_channel(QUEUE_MAX);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || write(file, &entries))?;
        Ok(Self(sender))
    }

    /// Returns once `record` is durable; false if it is not.
    async fn append(&self, record: Bytes) -> bool {
        let (sender, done) = oneshot::channel();
        self.0.try_send((record, sender)).is_ok() && done.await.is_ok()
    }
}

/// Ends at the first fault: whoever waits then gets no 200.
fn write(mut file: File, entries: &mpsc::Receiver<Entry>) {
    let mut batch = Vec::with_capacity(BATCH_BYTES_MAX);
    let mut waiting = Vec::new();
    while let Ok(first) = entries.recv() {
        batch.clear();
        let mut next = Some(first);
        while let Some((record, sender)) = next {
            batch.extend_from_slice(&record);
            batch.push(b'\n');
            waiting.push(sender);
            next = if batch.len() < BATCH_BYTES_MAX { entries.try_recv().ok() } else { None };
        }
        if file.write_all(&batch).and_then(|()| file.sync_data()).is_err() {
            return;
        }
        for sender in waiting.drain(..) {
            let _ = sender.send(());
        }
    }
}

/// Whether a notification is one of ours, by the daemon's own means.
fn is_ours(verifier: &Verifier, headers: &HeaderMap, body: &[u8]) -> bool {
    let token = headers.get("x-token").map(|value| value.as_bytes());
    verifier.verify(body, token).is_ok_and(|notice| {
        let text = |name| String::from_utf8_lossy(notice.field(name)).into_owned();
        text("cpm_site_id") == SITE && TransactionId::parse(&text("cpm_trans_id")).is_ok()
    })
}

/// Serves until it is killed.
pub(crate) async fn serve(listen: SocketAddr, log: Option<Log>) -> Outcome<()> {
    let verifier = Arc::new(Verifier::new([WEBHOOK_SECRET]));
    let answer = move |headers: HeaderMap, body: Bytes| {
        let (verifier, log) = (Arc::clone(&verifier), log.clone());
        async move {
            if !is_ours(&verifier, &headers, &body) {
                return StatusCode::BAD_REQUEST;
            }
            match &log {
                Some(log) if !log.append(body).await => StatusCode::SERVICE_UNAVAILABLE,
                Some(_) | None => StatusCode::OK,
            }
        }
    };
    let route = warp::path!("payment" / "callback")
        .and(warp::post())
        .and(warp::body::content_length_limit(NOTICE_BYTES_MAX))
        .and(warp::header::headers_cloned())
        .and(warp::body::bytes())
        .then(answer);
    let listener = TcpListener::bind(listen).await?;
    warp::serve(route).incoming(listener).run().await;
    Ok(())
}
