//! The handle to the one thread that writes the journal (`scribe.rs`).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::gauge;
use tokio::sync::Notify;
use tracing::error;

use super::keyfile::KeyWork;
use super::line::{FRAME_BYTES_MAX, HashText};
use super::medium::Medium;
use super::recover::Recovered;
use super::scribe::Scribe;
use super::{JournalError, LINE_BYTES_MAX, Position, QUEUE_COMMITS_MAX};
use crate::ledger::simulated::Pace;
use crate::ledger::worker::Worker;

/// The same as [`QUEUE_COMMITS_MAX`] on a simulated machine, which starts again and again.
const QUEUE_COMMITS_SIMULATED_MAX: usize = 256;

/// Called once, from the writer thread, when the process must exit.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// How the writer behaves.
#[derive(Clone)]
pub struct Settings {
    /// A segment is closed once it holds this many bytes.
    pub segment_bytes: u64,
    /// Ends the process.
    pub on_fatal: OnFatal,
}

/// A line to be written. `done` is called on the writer thread and must not block.
pub struct Entry {
    /// `"at":…,"order":…,"version":…,"events":[…]`.
    pub body: Vec<u8>,
    /// The keys that it needs and those that it destroys.
    pub keys: KeyWork,
    /// Receives the outcome, in seq order.
    pub done: Box<dyn FnOnce(Result<Written, AppendError>) + Send>,
}

/// A durable line.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// Its number.
    pub seq: u64,
    /// Where it stands.
    pub position: Position,
    /// Its hash.
    pub hash: HashText,
}

/// Why a line was not written. Except for `Fatal` it certainly was not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The disk or the quota is full.
    #[error("plus de place sur le disque / no room on the disk")]
    NoRoom,
    /// The write failed otherwise and was cut off again.
    #[error("écriture du journal impossible: {0} / journal write failed: {0}")]
    Io(String),
    /// The commit is larger than a line may be.
    #[error("écriture trop grande / commit too large")]
    TooLarge,
    /// The journal was closed.
    #[error("journal fermé / journal closed")]
    Closed,
    /// A sync failed: whether the line is durable is unknown until the restart.
    #[error("synchronisation du journal impossible / journal sync failed")]
    Fatal,
}

/// What keeps the journal from committing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Writes fail; the writer keeps trying.
    Unhealthy(AppendError),
    /// The process is about to exit.
    Fatal,
    /// Closed in order.
    Closed,
}

/// The handle to the writer thread.
pub struct Writer {
    sender: Mutex<Option<SyncSender<Message>>>,
    shared: Arc<Shared>,
    thread: Mutex<Option<Worker>>,
    /// Rings at every message, for a writer that is a task.
    bell: Option<Arc<Notify>>,
}

/// What handle and thread both see.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) last_seq: AtomicU64,
    pub(super) waiting: AtomicUsize,
    trouble: Mutex<Option<Trouble>>,
}

/// What the thread is asked.
pub(super) enum Message {
    Append(Entry),
    Ping(Box<dyn FnOnce() + Send>),
}

impl Writer {
    /// Starts the thread behind a recovered journal.
    ///
    /// # Errors
    /// IO while opening the tail or starting the thread.
    pub fn start(medium: Medium, recovered: &Recovered, settings: Settings) -> Result<Writer, JournalError> {
        Self::start_at(medium, recovered, settings, None)
    }

    /// Starts a thread, or with a pace a task of the current runtime.
    pub(crate) fn start_at(
        medium: Medium,
        recovered: &Recovered,
        settings: Settings,
        pace: Option<Pace>,
    ) -> Result<Writer, JournalError> {
        let shared = Arc::new(Shared::default());
        shared.last_seq.store(recovered.chain.next_seq - 1, Ordering::Release);
        let scribe = Scribe::open(medium, recovered, settings, Arc::clone(&shared))?;
        let room = if pace.is_some() { QUEUE_COMMITS_SIMULATED_MAX } else { QUEUE_COMMITS_MAX };
        let (sender, receiver) = sync_channel(room);
        let bell = pace.is_some().then(Arc::<Notify>::default);
        let thread = match pace.zip(bell.clone()) {
            None => Worker::thread("journal", move || scribe.run(&receiver)),
            Some((pace, bell)) => Ok(Worker::task(scribe.run_paced(receiver, bell, pace))),
        };
        let thread = Mutex::new(Some(thread.map_err(JournalError::io("thread"))?));
        gauge!("auditshield_journal_healthy").set(1.0);
        Ok(Writer { sender: Mutex::new(Some(sender)), shared, thread, bell })
    }

    /// Hands a line over. Never blocks: the caller bounds what is in flight by [`QUEUE_COMMITS_MAX`].
    pub fn append(&self, entry: Entry) {
        if entry.body.len() + FRAME_BYTES_MAX > LINE_BYTES_MAX {
            return (entry.done)(Err(AppendError::TooLarge));
        }
        self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        if let Some(Message::Append(entry)) = self.send(Message::Append(entry)) {
            self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
            (entry.done)(Err(self.refusal()));
        }
    }

    /// Calls `pong` from the writer thread, behind everything handed over before. Dropped if the thread is gone.
    pub fn ping(&self, pong: Box<dyn FnOnce() + Send>) {
        drop(self.send(Message::Ping(pong)));
    }

    /// What keeps it from committing; None if it can.
    pub fn trouble(&self) -> Option<Trouble> {
        self.shared.trouble().clone()
    }

    /// The last durable seq.
    pub fn last_seq(&self) -> u64 {
        self.shared.last_seq.load(Ordering::Acquire)
    }

    /// Lines handed over and not yet answered.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Acquire)
    }

    /// Writes what waits and ends the thread. Blocks.
    pub fn close(&self) {
        if self.shut().is_some_and(|thread| !thread.join()) {
            error!("the journal's thread had panicked");
        }
    }

    /// Takes no further message; what waits is still written. The worker, to wait for.
    pub(crate) fn shut(&self) -> Option<Worker> {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.ring();
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.notify_one();
        }
    }

    /// Gives the message back if nobody takes it.
    fn send(&self, message: Message) -> Option<Message> {
        let left = self.offer(message);
        self.ring();
        left
    }

    fn offer(&self, message: Message) -> Option<Message> {
        match &*self.sender.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Some(message),
            Some(sender) => sender.try_send(message).err().map(|error| match error {
                TrySendError::Full(message) | TrySendError::Disconnected(message) => message,
            }),
        }
    }

    fn refusal(&self) -> AppendError {
        match self.trouble() {
            Some(Trouble::Fatal) => AppendError::Fatal,
            Some(Trouble::Unhealthy(error)) => error,
            Some(Trouble::Closed) | None => AppendError::Closed,
        }
    }
}

impl Shared {
    pub(super) fn trouble(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
