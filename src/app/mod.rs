//! The only place that knows everything: build, run, drain.

mod ages;
mod demo;
#[cfg(feature = "postgres")]
mod demo_nodes;
mod demo_once;
mod permits;
mod reload;
mod sockets;
mod spool;
mod watchdog;
mod wiring;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::{
    self,
    unix::{Signal, SignalKind},
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::actors::{Orders, Running};
use crate::adapters::systemd::{self, Inherited, Supervisor};
use crate::config::{Config, Given, Listen, Store};
use crate::domain::values::Timestamp;
use crate::http;
use crate::ledger::{Ledger, OpenError, OpenOptions};
use crate::ports::Clock;

pub use demo::{DemoOptions, demo};
pub use sockets::{Bound, Listeners};

/// How long seats may take to become quiet once the daemon stops, in seconds.
const QUIET_SECONDS_MAX: u64 = 20;
/// Between two rounds of housekeeping, in seconds.
const HOUSEKEEPING_SECONDS: u64 = 60;

/// Why the daemon does not start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger does not open.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// An address cannot be listened on.
    #[error("L'adresse {0} ne peut pas être écoutée: {1} / cannot listen on {0}: {1}")]
    Listen(Listen, std::io::Error),
    /// A socket was handed over that is neither listener.
    #[error(
        "La socket {0} transmise par systemd n'est ni « public » ni « admin » : corrigez FileDescriptorName= ou \
         ListenStream= dans l'unité .socket / the socket {0} handed over by systemd is neither `public` nor `admin`: \
         correct FileDescriptorName= or ListenStream= in the socket unit"
    )]
    Stray(Listen),
    /// An adapter refuses its settings.
    #[error("{0}")]
    Adapter(String),
    /// The actors do not start.
    #[error("the actors do not start: {0}")]
    Actors(#[from] crate::actors::StartError),
    /// An actor that must never end has ended.
    #[error("an actor that must never end has ended")]
    Ended,
    /// A step of the demonstration failed.
    #[error("{0}")]
    Demo(String),
    /// The demonstration needs what is not installed, or not compiled in.
    #[error("{0}")]
    Lacking(String),
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Error {
    /// Whether a setting is to blame, and a restart would fail the same way.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Stray(_)
                | Self::Ledger(
                    OpenError::Address
                        | OpenError::Durability(_)
                        | OpenError::Migrating(_)
                        | OpenError::Schema { .. }
                )
        )
    }
    /// Whether something outside is in the way: a port, the store's lock.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Listen(..) | Self::Lacking(_) | Self::Ledger(OpenError::InUse(_) | OpenError::Database(_))
        )
    }
}

/// Renders the metrics.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// A running daemon.
pub struct Daemon {
    /// Where the shop listens.
    pub public: Listen,
    /// Where the admin listens.
    pub admin: Listen,
    orders: Orders,
    ledger: Ledger,
    running: Running,
    readiness: Arc<http::Readiness>,
    /// Until somebody attends to it.
    reloader: Option<reload::Reloader>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Sockets in the file system: removed once nobody listens at them any more.
    _own: [Option<sockets::Own>; 2],
}

impl Daemon {
    /// Opens the ledger, starts the actors and both listeners.
    pub async fn start(config: Config, listeners: Listeners, metrics: Metrics) -> Result<Self, Error> {
        Self::start_by(Clock::system(), config, listeners, metrics).await
    }

    /// The same by another clock, for whoever wants to see what the daemon does when time jumps.
    pub async fn start_by(
        clock: Clock,
        config: Config,
        listeners: Listeners,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let (ledger, folder) = open(&config.store)?;
        let clock = agreed(&ledger, clock);
        let Listeners { public: Bound { listener: shop, place: public, own }, admin: office } = listeners;
        let (admin, own) = (office.place, [own, office.own]);
        ledger.introduce(&public.to_string());
        let links = wiring::links(&config);
        let live = wiring::Live::new(&config, &links, permits::of(&ledger))?;
        let parts = wiring::parts(&config, ledger.clone(), clock.clone(), &live)?;
        let (orders, running) = Orders::start(parts).await?;
        let readiness = Arc::new(http::Readiness::default());
        let stop = CancellationToken::new();
        let deps = Arc::new(wiring::deps(
            &config,
            wiring::Built {
                orders: orders.clone(),
                ledger: ledger.clone(),
                clock,
                links: Arc::clone(&links),
                readiness: Arc::clone(&readiness),
                metrics: wiring::scrape(ledger.clone(), live.limiters.clone(), metrics),
            },
            &live,
        ));
        let tasks = TaskTracker::new();
        let manner = |name| http::serve::Manner {
            connections_max: config.server.connections_max,
            ..http::serve::Manner::of(name)
        };
        tasks.spawn(http::serve::serve(shop, http::public_routes(&deps), manner("public"), stop.clone()));
        tasks.spawn(http::serve::serve(
            office.listener,
            http::admin_routes(&deps),
            manner("admin"),
            stop.clone(),
        ));
        tasks.spawn(ages::watch(ledger.clone(), folder, deps.clock.clone(), stop.clone()));
        if let Some(folder) = &config.spool {
            tasks.spawn(spool::ingest(folder.clone(), Arc::clone(&deps), stop.clone()));
        }
        tasks.spawn(
            live.limiters.clone().housekeeping(Duration::from_secs(HOUSEKEEPING_SECONDS), stop.clone()),
        );
        tasks.close();
        tracing::info!(%public, %admin, store = %config.store, "listening");
        let reloader = Some(reload::Reloader::new(live, links, config));
        Ok(Self { public, admin, orders, ledger, running, readiness, reloader, stop, tasks, _own: own })
    }

    /// Does what the service manager may ask of a daemon that stands: reloads at `hangup` from `given`, signs of life. Tells
    /// it that everything stands.
    fn attend(&mut self, given: Given, hangup: Signal, supervisor: &Arc<Supervisor>) {
        if let Some(reloader) = self.reloader.take() {
            let (supervisor, stop) = (Arc::clone(supervisor), self.stop.clone());
            self.tasks.spawn(reload::reloads(reloader, given, hangup, supervisor, stop));
        }
        if let Some(pulse) = supervisor.pulse() {
            let (orders, ledger) = (self.orders.clone(), self.ledger.clone());
            let (supervisor, stop) = (Arc::clone(supervisor), self.stop.clone());
            let answers = move || watchdog::answers(orders.clone(), ledger.clone());
            self.tasks.spawn(watchdog::feed(supervisor, pulse, answers, stop));
        }
        supervisor.ready(&format!("{} · admin {}", self.public, self.admin));
    }

    /// Runs until `signal`, then drains: no new connections, what is in flight ends, seats become quiet, the ledger
    /// closes. An error when an actor that must never end has ended.
    pub async fn run_until(mut self, signal: impl Future<Output = ()>) -> Result<(), Error> {
        let asked = tokio::select! {
            () = signal => true,
            () = self.running.ended() => false,
        };
        tracing::info!("stopping: finishing what is in flight");
        self.readiness.drain();
        self.stop.cancel();
        failpoint!("drain.begun");
        self.tasks.wait().await;
        let quiet = self.orders.drain(Duration::from_secs(QUIET_SECONDS_MAX)).await;
        failpoint!("drain.before_close");
        self.ledger.close().await;
        tracing::info!(quiet, "stopped");
        if asked { Ok(()) } else { Err(Error::Ended) }
    }
}

/// Opens the ledger, and names its folder if it has one.
fn open(store: &Store) -> Result<(Ledger, Option<PathBuf>), OpenError> {
    match store {
        Store::Sled(folder) => Ok((open_folder(folder)?, Some(folder.clone()))),
        #[cfg(feature = "postgres")]
        Store::Postgres(url) => Ok((Ledger::connect(url.expose())?, None)),
        // The settings refuse such an address in this build.
        #[cfg(not(feature = "postgres"))]
        Store::Postgres(_) => Err(OpenError::Address),
    }
}

/// The time that all nodes go by: this machine's, corrected by what the ledger says of it.
fn agreed(ledger: &Ledger, clock: Clock) -> Clock {
    if !ledger.is_shared() {
        return clock;
    }
    let ledger = ledger.clone();
    Clock::new(move || Timestamp::from_millis(clock.now().millis().saturating_add(ledger.skew_millis())))
}

/// Opens the ledger in a folder. A disk that fails later ends the process.
fn open_folder(folder: &std::path::Path) -> Result<Ledger, OpenError> {
    Ledger::open(OpenOptions::new(folder, |why| {
        tracing::error!(why, "ending, to start again from what is durable");
        // Nothing may be assumed after a failed sync or of a damaged index, and nothing more may be acknowledged.
        #[expect(
            clippy::disallowed_methods,
            reason = "a failed sync: a drain would acknowledge what may be lost"
        )]
        std::process::exit(1);
    }))
}

/// `auditshield serve`: runs until SIGTERM or SIGINT, reloads at SIGHUP. `given` is where `config` came from.
pub async fn serve(config: Config, given: Given, inherited: Vec<Inherited>) -> Result<(), Error> {
    let metrics = recorder()?;
    let supervisor = Arc::new(Supervisor::from_env(|name| given.env.get(name).cloned())?);
    let listeners = Listeners::take(&config, inherited).await?;
    let signal = shutdown_signal()?;
    let hangup = signal::unix::signal(SignalKind::hangup())?;
    let mut daemon = Daemon::start(config, listeners, metrics).await?;
    daemon.attend(given, hangup, &supervisor);
    daemon
        .run_until(async move {
            signal.await;
            supervisor.stopping();
        })
        .await
}

/// The sockets that the service manager keeps for us. Call it once, before anything opens.
///
/// # Errors
/// One of them is no listening TCP socket.
pub fn inherited(given: &Given) -> Result<Vec<Inherited>, Error> {
    Ok(systemd::inherited(|name| given.env.get(name).cloned())?)
}

/// Counts from here on, and renders what was counted.
fn recorder() -> Result<Metrics, Error> {
    let handle = crate::telemetry::metrics().map_err(|why| Error::Adapter(why.to_string()))?;
    Ok(Arc::new(move || handle.render() + &crate::telemetry::process::render()))
}

/// Completes at the first SIGTERM or SIGINT. Fails if the system does not let us listen for them.
pub fn shutdown_signal() -> Result<impl Future<Output = ()> + Send, Error> {
    let (mut term, mut int) =
        (signal::unix::signal(SignalKind::terminate())?, signal::unix::signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}
