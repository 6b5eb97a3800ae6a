//! The ledger on a database that several daemons share. The only folder that names tokio-postgres.
//!
//! A commit is one statement ([`commit`]); an order's owner is whoever names its newest version; errands are held by
//! leases with fencing epochs ([`lease`]). docs/scaling.md tells why.
//!
//! Why a runtime of its own: the ledger's reads are called from anywhere, from threads without a runtime too, and a
//! connection must outlive whoever asked for it.

mod commit;
mod draw;
mod lease;
mod list;
mod migrate;
mod moved;
mod nodes;
mod pool;
mod promises;
mod pulse;
mod read;
mod row;
mod transfer;
mod trouble;
#[cfg(feature = "failpoints")]
mod unfenced;
mod verify;

use std::borrow::Cow;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

use super::seal::Addresses;
use super::{CommitError, Counts, Health, LedgerError, OpenError};
pub(super) use lease::Held;
pub(super) use moved::{Moved, Taken};
use pool::Pool;
pub(super) use row::Row;
pub(super) use transfer::{Mark, Stand, Stood};

/// Threads for the connections: they wait, nearly always.
const THREADS: usize = 2;
/// How long an answer to `/readyz` may wait for the database, in seconds.
const PROBE_SECONDS_MAX: u64 = 3;
/// How long connections may take to say goodbye, in seconds.
const GOODBYE_SECONDS_MAX: u64 = 5;

/// The shared ledger, as one daemon sees it.
pub struct Postgres {
    inner: Arc<Inner>,
    handle: Handle,
    /// Taken at `close`.
    runtime: Mutex<Option<Runtime>>,
}

/// What runs on the store's own runtime.
struct Inner {
    pool: Pool,
    /// This daemon, for as long as it runs: no other process has ever had this name.
    node: String,
    /// Hashes addresses. The only key that a node keeps.
    addresses: Addresses,
    pulse: pulse::Pulse,
    promises: promises::Promises,
    /// The last counts that could be read.
    counts: Mutex<Counts>,
}

impl Postgres {
    /// Connects, brings the tables up to date, and begins to be heard of.
    pub(super) fn open(url: &str) -> Result<Postgres, OpenError> {
        let store = Postgres::attach(url)?;
        let inner = Arc::clone(&store.inner);
        let work = async move {
            if inner.mark().await?.is_some_and(|mark| !mark.finished) {
                return Err(OpenError::Migrating("PostgreSQL".to_owned()));
            }
            Ok(inner.beat().await?)
        };
        wait(&store.handle, work).unwrap_or_else(|| Err(OpenError::Database("panicked".to_owned())))?;
        store.handle.spawn(pulse::beats(Arc::downgrade(&store.inner)));
        nodes::count_from_zero();
        store.handle.spawn(nodes::watches(Arc::downgrade(&store.inner)));
        tracing::info!(node = %store.inner.node, "the ledger is open");
        Ok(store)
    }

    /// Connects and brings the tables up to date, without being heard of: for whoever moves the whole ledger.
    pub(super) fn attach(url: &str) -> Result<Postgres, OpenError> {
        let thread = |error: std::io::Error| OpenError::Database(error.to_string());
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("postgres").enable_all();
        let runtime = builder.build().map_err(thread)?;
        let handle = runtime.handle().clone();
        let pool = Pool::new(url)?;
        let node = pulse::name();
        let work = async move {
            migrate::insist_on_durability(&pool).await?;
            migrate::bring_up_to_date(&pool, &node).await?;
            let addresses = migrate::addresses(&pool).await?;
            let (pulse, promises) = (pulse::Pulse::default(), promises::Promises::default());
            let counts = Mutex::default();
            Ok::<_, OpenError>(Arc::new(Inner { pool, node, addresses, pulse, promises, counts }))
        };
        let opened = wait(&handle, work).unwrap_or_else(|| Err(OpenError::Database("panicked".to_owned())));
        match opened {
            Ok(inner) => Ok(Postgres { inner, handle, runtime: Mutex::new(Some(runtime)) }),
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Does `work` on the store's runtime, for a caller that has one of its own.
    async fn run<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        if self.is_closed() {
            return None;
        }
        self.handle.spawn(work(Arc::clone(&self.inner))).await.ok()
    }

    /// The same for a caller that may block.
    fn block<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Result<T, LedgerError>
    where
        F: Future<Output = Result<T, trouble::Trouble>> + Send + 'static,
        T: Send + 'static,
    {
        if self.is_closed() {
            return Err(LedgerError::Closed);
        }
        let answer = wait(&self.handle, work(Arc::clone(&self.inner)));
        Ok(answer.ok_or(LedgerError::Closed)??)
    }

    fn is_closed(&self) -> bool {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    pub(super) fn health(&self) -> Health {
        let reason = if self.is_closed() {
            Some("the ledger is closed".to_owned())
        } else {
            self.inner.pulse.trouble()
        };
        Health {
            can_commit: reason.is_none(),
            reason,
            last_seq: 0,
            applied_seq: 0,
            index_in_doubt: false,
            queue_depth: self.inner.pool.waiting(),
        }
    }

    /// How far the database's clock is ahead of this machine's, in milliseconds.
    pub(super) fn skew_millis(&self) -> i64 {
        self.inner.pulse.skew_millis()
    }

    pub(super) async fn probe(&self) -> Result<(), CommitError> {
        let wait = Duration::from_secs(PROBE_SECONDS_MAX);
        let asked = self.run(|inner| async move {
            let beaten = tokio::time::timeout(wait, inner.beat()).await;
            if beaten.is_err() {
                inner.pool.let_go();
            }
            beaten
        });
        match asked.await {
            None => Err(CommitError::Closed),
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(trouble))) => Err(CommitError::Io(trouble.to_string())),
            Some(Err(_)) => Err(CommitError::Io("the database does not answer".to_owned())),
        }
    }

    pub(super) async fn close(&self) {
        self.leave().await;
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(runtime) = runtime else { return };
        self.inner.pool.close();
        let goodbye = Duration::from_secs(GOODBYE_SECONDS_MAX);
        if tokio::task::spawn_blocking(move || runtime.shutdown_timeout(goodbye)).await.is_err() {
            tracing::warn!("the database's connections did not end in order; nothing depends on it");
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

/// The statement as it is sent: as it stands, but for a test that wants to see what its comparisons are for.
fn sent(sql: &'static str) -> Cow<'static, str> {
    failpoint_choice!("UNFENCED", unfenced::without_comparisons(sql), Cow::Borrowed(sql))
}

/// Waits in this thread for work done on `handle`. None if it panicked, or its runtime ended.
fn wait<T: Send + 'static>(handle: &Handle, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let (done, answer) = mpsc::sync_channel(1);
    handle.spawn(async move {
        // Nobody waits any more.
        let _ = done.send(work.await);
    });
    let receive = || answer.recv().ok();
    match Handle::try_current().map(|current| current.runtime_flavor()) {
        // The other tasks of this thread go on in another one meanwhile.
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(receive),
        _ => receive(),
    }
}
