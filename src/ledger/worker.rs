//! Something that runs beside the callers: a thread of the daemon, or a task of the simulation.

use std::future::Future;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// A running worker.
pub(crate) enum Worker {
    /// A thread of its own, and what tells that it has ended.
    Thread(thread::JoinHandle<()>, Receiver<()>),
    /// A task of a simulated daemon.
    Task(tokio::task::JoinHandle<()>),
}

impl Worker {
    /// Starts a thread.
    pub(crate) fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (ends, ended) = channel();
        let run = move || {
            let _ends: Sender<()> = ends;
            run();
        };
        let handle = thread::Builder::new().name(name.into()).spawn(run)?;
        Ok(Worker::Thread(handle, ended))
    }

    /// Starts a task of the current runtime.
    pub(crate) fn task(run: impl Future<Output = ()> + Send + 'static) -> Self {
        Worker::Task(tokio::spawn(run))
    }

    /// Waits for a thread; a task is let go of, because its runtime cannot be waited for from within. False: it
    /// panicked.
    pub(crate) fn join(self) -> bool {
        match self {
            Worker::Thread(thread, _) => thread.join().is_ok(),
            Worker::Task(_) => true,
        }
    }

    /// As [`Worker::join`], for so long at the most. None: it has not ended, and is left to itself.
    pub(crate) fn join_within(self, limit: Duration) -> Option<bool> {
        match &self {
            Worker::Thread(_, ended) if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) => None,
            Worker::Thread(..) | Worker::Task(_) => Some(self.join()),
        }
    }

    /// Waits for a task as a task; a thread is joined. False: it panicked.
    pub(crate) async fn ended(self) -> bool {
        match self {
            Worker::Thread(thread, _) => thread.join().is_ok(),
            Worker::Task(task) => task.await.is_ok(),
        }
    }
}
