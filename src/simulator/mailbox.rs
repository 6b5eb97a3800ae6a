//! The mailbox: a small real SMTP server that keeps mails in memory, with faults at every step of the conversation.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::mailbox_smtp;

/// Mail sessions served at once.
const SESSIONS_MAX: usize = 128;
/// Pause after a failed accept (file descriptors out).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds of a mailbox.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Mails kept; beyond it the oldest is forgotten.
    pub mails_max: usize,
    /// Largest mail taken, in bytes; beyond it 552.
    pub mail_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { mails_max: 500, mail_bytes_max: 1024 * 1024 }
    }
}

/// One mail as it came.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Counts from 1 over the mailbox's life.
    pub number: u64,
    /// Envelope sender.
    pub from: String,
    /// Envelope recipients.
    pub to: Vec<String>,
    /// Headers and body after dot-unstuffing, with CRLF.
    pub raw: Vec<u8>,
}

impl Mail {
    /// Its subject and its parts, decoded.
    pub fn read(&self) -> Readable {
        super::mailbox_mime::read(&self.raw)
    }
}

pub use super::mailbox_mime::Readable;

/// A step of the conversation, where a fault can strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The greeting.
    Connect,
    /// EHLO or HELO.
    Ehlo,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA, before the text.
    Data,
    /// After the final dot.
    Dot,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Where.
    pub step: Step,
    /// Reply with this code (421, 450, 451, 550, 552 …) instead; absent: see `drop`.
    #[serde(default)]
    pub code: Option<u16>,
    /// Close the connection without a reply. After the final dot the mail may have been kept: see `keep`.
    #[serde(default)]
    pub drop: bool,
    /// At `dot`: keep the mail although the sender hears of a failure.
    #[serde(default)]
    pub keep: bool,
    /// Milliseconds before the reply, or before the fault.
    #[serde(default)]
    pub latency_ms: u64,
    /// How many times it strikes; absent: always.
    #[serde(default)]
    pub times: Option<u64>,
    /// It ends this many milliseconds after it was set; absent: never.
    #[serde(default)]
    pub for_ms: Option<u64>,
}

impl Fault {
    /// Replies `code` at `step`, always.
    pub fn reply(step: Step, code: u16) -> Self {
        Fault { step, code: Some(code), drop: false, keep: false, latency_ms: 0, times: None, for_ms: None }
    }

    /// Closes the connection at `step`, always.
    pub fn dropped(step: Step) -> Self {
        Fault { drop: true, code: None, ..Fault::reply(step, 0) }
    }
}

#[derive(Debug, Default)]
struct Held {
    mails: VecDeque<Mail>,
    received: u64,
    fault: Option<(Fault, Instant)>,
}

#[derive(Debug)]
pub(super) struct Inner {
    addr: SocketAddr,
    pub(super) settings: Settings,
    held: Mutex<Held>,
    count: watch::Sender<usize>,
    pub(super) stop: CancellationToken,
}

/// A running mailbox; clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Mailbox(Arc<Inner>);

impl Mailbox {
    /// Serves SMTP on `listener` until [`Mailbox::stop`]. Fails on a listener without an address.
    pub fn start(listener: TcpListener, settings: Settings) -> std::io::Result<Mailbox> {
        let inner = Inner {
            addr: listener.local_addr()?,
            settings,
            held: Mutex::default(),
            count: watch::Sender::new(0),
            stop: CancellationToken::new(),
        };
        let mailbox = Mailbox(Arc::new(inner));
        let serving = mailbox.clone();
        tokio::spawn(async move { accept(listener, serving).await });
        Ok(mailbox)
    }

    /// Where SMTP listens.
    pub fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// The mails held, oldest first.
    pub fn messages(&self) -> Vec<Mail> {
        self.lock().mails.iter().cloned().collect()
    }

    /// The mails held that came after number `number`, oldest first.
    pub fn messages_after(&self, number: u64) -> Vec<Mail> {
        self.lock().mails.iter().filter(|mail| mail.number > number).cloned().collect()
    }

    /// Waits until `n` mails are held; gives what is held then, or at the time-out.
    pub async fn wait_for(&self, n: usize, timeout: Duration) -> Vec<Mail> {
        let mut count = self.0.count.subscribe();
        // A time-out is an answer too: the caller looks at how many there are.
        let _ = tokio::time::timeout(timeout, count.wait_for(|held| *held >= n)).await;
        self.messages()
    }

    /// Sets or lifts the fault.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.lock().fault = fault.map(|fault| (fault, Instant::now()));
    }

    /// The fault in force, if any.
    pub fn fault(&self) -> Option<Fault> {
        self.lock().fault.as_ref().map(|(fault, _)| fault.clone())
    }

    /// Forgets all mails.
    pub fn clear(&self) {
        self.lock().mails.clear();
        self.0.count.send_replace(0);
    }

    /// Closes the listener and every session.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(super) fn keep(&self, from: String, to: Vec<String>, raw: Vec<u8>) {
        let mut held = self.lock();
        held.received += 1;
        let number = held.received;
        if held.mails.len() >= self.0.settings.mails_max {
            held.mails.pop_front();
        }
        held.mails.push_back(Mail { number, from, to, raw });
        self.0.count.send_replace(held.mails.len());
    }

    /// The fault that strikes at `step` now. Counts it.
    pub(super) fn strike(&self, step: Step) -> Option<Fault> {
        let mut held = self.lock();
        let (fault, since) = held.fault.as_mut()?;
        let over = fault.for_ms.is_some_and(|limit| since.elapsed() >= Duration::from_millis(limit));
        if over || fault.step != step || fault.times == Some(0) {
            return None;
        }
        fault.times = fault.times.map(|left| left - 1);
        Some(fault.clone())
    }
}

async fn accept(listener: TcpListener, mailbox: Mailbox) {
    let slots = Arc::new(Semaphore::new(SESSIONS_MAX));
    let stop = mailbox.0.stop.clone();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let session = mailbox.clone();
        tokio::spawn(async move {
            let stop = session.inner().stop.clone();
            // A session that ends badly is the sender's affair, or the fault that was asked for.
            let _ = stop.run_until_cancelled(mailbox_smtp::converse(stream, session)).await;
            drop(slot);
        });
    }
}
