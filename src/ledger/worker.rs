//! Something that runs beside the callers: a thread of the daemon, or a task of the simulation.

use std::future::Future;
use std::io;
use std::thread;

/// A running worker.
pub(crate) enum Worker {
    /// A thread of its own.
    Thread(thread::JoinHandle<()>),
    /// A task of a simulated daemon.
    Task(tokio::task::JoinHandle<()>),
}

impl Worker {
    /// Starts a thread.
    pub(crate) fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        thread::Builder::new().name(name.into()).spawn(run).map(Worker::Thread)
    }

    /// Starts a task of the current runtime.
    pub(crate) fn task(run: impl Future<Output = ()> + Send + 'static) -> Self {
        Worker::Task(tokio::spawn(run))
    }

    /// Waits for a thread; a task is let go of, because its runtime cannot be waited for from within. False: it
    /// panicked.
    pub(crate) fn join(self) -> bool {
        match self {
            Worker::Thread(thread) => thread.join().is_ok(),
            Worker::Task(_) => true,
        }
    }

    /// Waits for a task as a task; a thread is joined. False: it panicked.
    pub(crate) async fn ended(self) -> bool {
        match self {
            Worker::Thread(thread) => thread.join().is_ok(),
            Worker::Task(task) => task.await.is_ok(),
        }
    }
}
