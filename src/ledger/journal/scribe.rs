//! The one thread that writes the journal: takes what waits, writes once, syncs once, answers all.
//!
//! Invariant: after a sync or a cut that failed nothing may be assumed about the disk. Nothing is acknowledged any
//! more, `on_fatal` is called, and the process must exit and replay.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::keyfile::KeyFile;
use super::line::{FRAME_BYTES_MAX, GENESIS, HashText, encode};
use super::medium::{Medium, Segment};
use super::recover::Recovered;
use super::writer::{AppendError, Entry, Message, OnFatal, Settings, Shared, Trouble, Written};
use super::{BATCH_BYTES_MAX, JournalError, Position};
use crate::ledger::simulated::Pace;

/// While unhealthy, the disk is tried this often even without commits.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Room that a probe must find, in bytes.
const PROBE_BYTES: usize = 64 * 1024;

struct Tail {
    first: u64,
    len: u64,
    segment: Segment,
}

/// What the thread owns.
pub(super) struct Scribe {
    medium: Medium,
    settings: Settings,
    tail: Option<Tail>,
    keys: KeyFile,
    next_seq: u64,
    prev: HashText,
    /// The lines of one write; kept for its allocation.
    bytes: Vec<u8>,
    /// When the disk was last found wanting.
    tried: Instant,
    shared: Arc<Shared>,
}

/// How a write ended.
pub(super) enum Failure {
    /// It was cut off again; the next one may succeed.
    Undone(AppendError),
    /// Nothing may be assumed.
    Fatal(String),
}

impl Scribe {
    /// Opens the tail of a recovered journal.
    pub(super) fn open(
        medium: Medium,
        recovered: &Recovered,
        settings: Settings,
        shared: Arc<Shared>,
    ) -> Result<Scribe, JournalError> {
        let chain = recovered.chain;
        let open = |(first, len)| {
            let segment = medium.open_append(first).map_err(JournalError::io(medium.path(first)))?;
            Ok::<_, JournalError>(Tail { first, len, segment })
        };
        let tail = recovered.tail.map(open).transpose()?;
        let prev = chain.prev.unwrap_or(GENESIS);
        Ok(Scribe {
            medium,
            settings,
            tail,
            keys: KeyFile::default(),
            next_seq: chain.next_seq,
            prev,
            bytes: Vec::new(),
            tried: Instant::now(),
            shared,
        })
    }

    /// Serves until every handle is gone or the disk turned out fatal.
    pub(super) fn run(mut self, receiver: &Receiver<Message>) {
        let alarm = PanicAlarm(Arc::clone(&self.shared), Arc::clone(&self.settings.on_fatal));
        let mut entries = Vec::new();
        while let Some(first) = self.next(receiver) {
            let mut pings = Vec::new();
            collect(first, receiver, BATCH_BYTES_MAX, &mut entries, &mut pings);
            if !entries.is_empty() && !self.commit(&mut entries) {
                return;
            }
            pings.into_iter().for_each(|pong| pong());
        }
        self.ended(alarm);
    }

    /// The same as [`Scribe::run`] as a task: between write and sync passes the time that the machine takes for it.
    pub(super) async fn run_paced(mut self, receiver: Receiver<Message>, bell: Arc<Notify>, pace: Pace) {
        let alarm = PanicAlarm(Arc::clone(&self.shared), Arc::clone(&self.settings.on_fatal));
        let mut entries = Vec::new();
        loop {
            let first = match receiver.try_recv() {
                Ok(first) => first,
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) if self.shared.trouble().is_none() => {
                    bell.notified().await;
                    continue;
                }
                Err(TryRecvError::Empty) => {
                    if tokio::time::timeout(PROBE_EVERY, bell.notified()).await.is_err() && !self.try_again()
                    {
                        break;
                    }
                    continue;
                }
            };
            let mut pings = Vec::new();
            collect(first, &receiver, pace.batch_bytes, &mut entries, &mut pings);
            if !entries.is_empty() {
                let mut written = Vec::with_capacity(entries.len());
                let mut outcome = self.write(&entries, &mut written);
                if outcome.is_ok() {
                    tokio::time::sleep((pace.sync)()).await;
                    outcome = self.sync(&entries, &written);
                }
                if !self.answer(&mut entries, written, outcome) {
                    return;
                }
            }
            pings.into_iter().for_each(|pong| pong());
        }
        self.ended(alarm);
    }

    fn ended(&self, alarm: PanicAlarm) {
        self.shared.trouble().get_or_insert(Trouble::Closed);
        drop(alarm);
    }

    /// The next message; None when every handle is gone or the disk turned out fatal.
    fn next(&mut self, receiver: &Receiver<Message>) -> Option<Message> {
        loop {
            if self.shared.trouble().is_none() {
                return receiver.recv().ok();
            }
            // By the clock and not by silence: whoever asks several times a second whether we are ready again would
            // otherwise keep us from finding out.
            let left = PROBE_EVERY.saturating_sub(self.tried.elapsed());
            if left.is_zero() {
                if !self.try_again() {
                    return None;
                }
                continue;
            }
            match receiver.recv_timeout(left) {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Probes the disk and remembers how it is. False ends the thread.
    fn try_again(&mut self) -> bool {
        match self.probe() {
            Ok(()) => self.healthy(),
            Err(Failure::Undone(error)) => self.unhealthy(error),
            Err(Failure::Fatal(reason)) => {
                self.fatal(&reason);
                return false;
            }
        }
        true
    }

    /// Writes, syncs and answers. False ends the thread.
    fn commit(&mut self, entries: &mut Vec<Entry>) -> bool {
        let mut written = Vec::with_capacity(entries.len());
        let outcome = self.write(entries, &mut written).and_then(|()| self.sync(entries, &written));
        self.answer(entries, written, outcome)
    }

    /// Tells every caller how its line fared. False ends the thread.
    fn answer(
        &mut self,
        entries: &mut Vec<Entry>,
        written: Vec<Written>,
        outcome: Result<(), Failure>,
    ) -> bool {
        let count = entries.len();
        self.shared.waiting.fetch_sub(count, Ordering::AcqRel);
        gauge!("auditshield_journal_queue_depth").set(self.shared.waiting.load(Ordering::Acquire) as f64);
        let label = match &outcome {
            Ok(()) => "ok",
            Err(Failure::Undone(AppendError::NoRoom)) => "no_room",
            Err(Failure::Undone(_)) => "io",
            Err(Failure::Fatal(_)) => "fatal",
        };
        counter!("auditshield_journal_commits_total", "outcome" => label).increment(count as u64);
        match outcome {
            Ok(()) => {
                histogram!("auditshield_journal_batch_size").record(count as f64);
                self.healthy();
                self.shared.last_seq.store(self.next_seq - 1, Ordering::Release);
                entries.drain(..).zip(written).for_each(|(entry, line)| (entry.done)(Ok(line)));
                true
            }
            Err(Failure::Undone(error)) => {
                self.unhealthy(error.clone());
                entries.drain(..).for_each(|entry| (entry.done)(Err(error.clone())));
                true
            }
            Err(Failure::Fatal(reason)) => {
                self.fatal(&reason);
                entries.drain(..).for_each(|entry| (entry.done)(Err(AppendError::Fatal)));
                false
            }
        }
    }

    /// Hands the lines to the system in one write; they count only once [`Scribe::sync`] has returned.
    fn write(&mut self, entries: &[Entry], written: &mut Vec<Written>) -> Result<(), Failure> {
        self.keys.store(&self.medium, entries)?;
        let batch = self.next_seq;
        let tail = match self.tail.take() {
            Some(tail) if tail.len < self.settings.segment_bytes || tail.first == batch => tail,
            full => match self.segment(batch) {
                Ok(tail) => tail,
                Err(failure) => {
                    self.tail = full;
                    return Err(failure);
                }
            },
        };
        let tail = self.tail.insert(tail);
        self.bytes.clear();
        let (mut seq, mut prev) = (batch, self.prev);
        for entry in entries {
            let start = self.bytes.len();
            prev = encode(&mut self.bytes, seq, &prev, batch, &entry.body);
            let len = u32::try_from(self.bytes.len() - start - 1).unwrap_or(u32::MAX);
            let position = Position { segment: tail.first, offset: tail.len + start as u64, len };
            written.push(Written { seq, position, hash: prev });
            seq += 1;
        }
        #[cfg(feature = "failpoints")]
        tail.tear(&self.bytes);
        if let Err(error) = tail.segment.write_all_at(&self.bytes, tail.len) {
            return Err(tail.undo(&error));
        }
        Ok(())
    }

    /// Makes what was just written durable, and goes on behind it.
    fn sync(&mut self, entries: &[Entry], written: &[Written]) -> Result<(), Failure> {
        let (Some(tail), Some(last)) = (&mut self.tail, written.last()) else { return Ok(()) };
        failpoint!("journal.appended_before_sync");
        let began = Instant::now();
        tail.segment.sync().map_err(|error| Failure::Fatal(format!("fdatasync: {error}")))?;
        histogram!("auditshield_journal_sync_seconds").record(began.elapsed().as_secs_f64());
        tail.len += self.bytes.len() as u64;
        (self.next_seq, self.prev) = (last.seq + 1, last.hash);
        self.keys.destroy(&self.medium, entries)
    }

    fn segment(&self, first: u64) -> Result<Tail, Failure> {
        let segment = self.medium.create(first).map_err(|error| Failure::Undone(outcome_of(&error)))?;
        failpoint!("journal.segment_before_sync");
        self.medium
            .sync_entries()
            .map_err(|error| Failure::Fatal(format!("fsync of the folder: {error}")))?;
        Ok(Tail { first, len: 0, segment })
    }

    /// Tries whether there is room: writes zeros behind the last line and takes them away again.
    fn probe(&mut self) -> Result<(), Failure> {
        let tail = match self.tail.take() {
            Some(tail) => tail,
            None => self.segment(self.next_seq)?,
        };
        let tail = self.tail.insert(tail);
        let tried = tail.segment.write_all_at(&[0; PROBE_BYTES], tail.len);
        let undone = tail.undo(&tried.as_ref().err().map_or_else(|| io::Error::other("probe"), clone_kind));
        match (tried, undone) {
            (_, Failure::Fatal(reason)) => Err(Failure::Fatal(reason)),
            (Err(error), Failure::Undone(_)) => Err(Failure::Undone(outcome_of(&error))),
            (Ok(()), Failure::Undone(_)) => Ok(()),
        }
    }

    fn healthy(&self) {
        if self.shared.trouble().take().is_some() {
            info!("the journal can commit again");
            gauge!("auditshield_journal_healthy").set(1.0);
        }
    }

    fn unhealthy(&mut self, error: AppendError) {
        self.tried = Instant::now();
        let before = self.shared.trouble().replace(Trouble::Unhealthy(error.clone()));
        if before.is_none() {
            warn!(%error, "the journal cannot commit; nothing was acknowledged, trying again every second");
            gauge!("auditshield_journal_healthy").set(0.0);
        }
    }

    fn fatal(&self, reason: &str) {
        error!(
            reason,
            "the journal's disk failed: nothing is acknowledged any more, the process must restart"
        );
        declare_fatal(&self.shared, &self.settings.on_fatal, reason);
    }
}

impl Tail {
    /// Half of a write, durable, before the whole of it: what a cut in the middle of a line may leave.
    #[cfg(feature = "failpoints")]
    fn tear(&self, bytes: &[u8]) {
        let torn = self.segment.write_all_at(&bytes[..bytes.len() / 2], self.len);
        if torn.and_then(|()| self.segment.sync()).is_ok() {
            failpoint!("journal.half_written");
        }
    }

    /// Cuts a failed write off, durably: a commit answered "did not happen" must not reappear after a crash.
    fn undo(&self, error: &io::Error) -> Failure {
        let cut = match self.segment.size() {
            Ok(len) if len == self.len => return Failure::Undone(outcome_of(error)),
            Ok(_) => self.segment.truncate(self.len).and_then(|()| self.segment.sync()),
            Err(error) => Err(error),
        };
        match cut {
            Ok(()) => Failure::Undone(outcome_of(error)),
            Err(cut) => Failure::Fatal(format!("write: {error}; cutting it off: {cut}")),
        }
    }
}

fn clone_kind(error: &io::Error) -> io::Error {
    error.kind().into()
}

pub(super) fn outcome_of(error: &io::Error) -> AppendError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::NoRoom,
        _ => AppendError::Io(error.to_string()),
    }
}

/// Takes what waits, up to the batch's size.
fn collect(
    first: Message,
    receiver: &Receiver<Message>,
    batch_bytes: usize,
    entries: &mut Vec<Entry>,
    pings: &mut Vec<Box<dyn FnOnce() + Send>>,
) {
    let mut message = Ok(first);
    let mut bytes = 0;
    loop {
        match message {
            Ok(Message::Append(entry)) => {
                bytes += entry.body.len() + FRAME_BYTES_MAX;
                entries.push(entry);
            }
            Ok(Message::Ping(pong)) => pings.push(pong),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
        }
        if bytes >= batch_bytes {
            return;
        }
        message = receiver.try_recv();
    }
}

fn declare_fatal(shared: &Shared, on_fatal: &OnFatal, reason: &str) {
    *shared.trouble() = Some(Trouble::Fatal);
    gauge!("auditshield_journal_healthy").set(0.0);
    on_fatal(reason);
}

/// A panic of the thread is as fatal as a failed sync: the fate of the lines in its hands is unknown.
struct PanicAlarm(Arc<Shared>, OnFatal);

impl Drop for PanicAlarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            declare_fatal(&self.0, &self.1, "the journal's thread panicked");
        }
    }
}
