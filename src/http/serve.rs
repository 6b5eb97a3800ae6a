//! Connections: accepted, bounded, timed, drained. warp's own server has none of these limits.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::room::{Asked, Guest, Room, Told};

/// Most connections open at once, unless the configuration says otherwise.
pub const CONNECTIONS_MAX: usize = 1024;
/// How long a client may take to send a request's head, in seconds; also how long an idle connection is kept.
pub const HEADER_SECONDS_MAX: u64 = 10;
/// How long requests in flight may take to finish once the daemon stops, in seconds.
pub const DRAIN_SECONDS_MAX: u64 = 20;
/// Largest request head, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// How long a client that has connected may take to begin its first request once the daemon stops, in milliseconds.
const FIRST_REQUEST_MILLIS: u64 = 500;
/// At the limit with nobody to cut: how long until the next look, in milliseconds.
const FULL_PAUSE_MILLIS: u64 = 50;
/// Pause after `accept` failed (out of file descriptors, most often), in milliseconds.
const ACCEPT_PAUSE_MILLIS: u64 = 50;

/// Who is at the other end of the connection: the proxy, where there is one. A request extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Somebody at this address.
    Address(IpAddr),
    /// A process of this machine, which the unix socket's owner and mode let in: it is believed like a proxy of ours.
    Socket,
}

/// What connections come in by.
#[derive(Debug)]
pub enum Listener {
    /// An address and a port.
    Tcp(TcpListener),
    /// A socket in the file system.
    Unix(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// A connection.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// How one listener behaves.
#[derive(Debug, Clone)]
pub struct Manner {
    /// `public` or `admin`: the metric's label.
    pub name: &'static str,
    /// Most connections open at once.
    pub connections_max: usize,
    /// How long requests in flight may take to finish once `stop` is cancelled.
    pub drain: Duration,
}

impl Manner {
    /// The defaults, for the listener called `name`.
    pub fn of(name: &'static str) -> Self {
        Self { name, connections_max: CONNECTIONS_MAX, drain: Duration::from_secs(DRAIN_SECONDS_MAX) }
    }
}

/// Serves `routes` on `listener` until `stop` is cancelled and what was in flight is done, or the drain's time is up.
pub async fn serve(
    listener: impl Into<Listener>,
    routes: BoxedFilter<(Response,)>,
    manner: Manner,
    stop: CancellationToken,
) {
    let listener = listener.into();
    let seats = Arc::new(Semaphore::new(manner.connections_max));
    let room = Arc::new(Room::default());
    let mut open = JoinSet::new();
    let gauge = metrics::gauge!("auditshield_http_connections", "listener" => manner.name);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        while open.try_join_next().is_some() {}
        let Some((stream, peer)) = accepted else { continue };
        // Once the daemon stops there is none, and this one connection is served without: it was accepted.
        let seat = seat(&seats, &room, manner.name, &stop).await;
        let (guest, routes, stop, gauge) = (room.enter(), routes.clone(), stop.clone(), gauge.clone());
        open.spawn(async move {
            gauge.increment(1.0);
            match stream {
                Stream::Tcp(stream) => converse(stream, (peer, guest), routes, stop).await,
                Stream::Unix(stream) => converse(stream, (peer, guest), routes, stop).await,
            }
            gauge.decrement(1.0);
            drop(seat);
        });
    }
    drop(listener);
    let finished = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(manner.drain, finished).await.is_err() {
        tracing::warn!(
            listener = manner.name,
            open = open.len(),
            "the drain's time is up: connections are cut"
        );
        open.shutdown().await;
    }
}

/// A seat for the connection that was just accepted, taken from whoever keeps us waiting longest if there is none left.
/// Further ones wait in the kernel's backlog meanwhile. None once the daemon stops.
async fn seat(
    seats: &Arc<Semaphore>,
    room: &Room,
    listener: &'static str,
    stop: &CancellationToken,
) -> Option<OwnedSemaphorePermit> {
    loop {
        if let Ok(seat) = Arc::clone(seats).try_acquire_owned() {
            return Some(seat);
        }
        if room.make_room(Instant::now()) {
            metrics::counter!("auditshield_http_connections_cut_total", "listener" => listener).increment(1);
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            seat = Arc::clone(seats).acquire_owned() => return seat.ok(),
            () = tokio::time::sleep(Duration::from_millis(FULL_PAUSE_MILLIS)) => {}
        }
    }
}

impl Listener {
    async fn next(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Answers are small and complete: waiting for more to send only delays them.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY was refused");
                }
                Ok((Stream::Tcp(stream), Peer::Address(peer.ip())))
            }
            Self::Unix(listener) => Ok((Stream::Unix(listener.accept().await?.0), Peer::Socket)),
        }
    }
}

async fn accept(listener: &Listener) -> Option<(Stream, Peer)> {
    match listener.next().await {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            let lasting = !matches!(
                error.kind(),
                io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::Interrupted
            );
            if lasting {
                tracing::error!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MILLIS)).await;
            }
            None
        }
    }
}

/// One connection, request after request, until it ends or `stop` lets it end after the one in flight.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    (peer, guest): (Peer, Arc<Guest>),
    routes: BoxedFilter<(Response,)>,
    stop: CancellationToken,
) {
    let routes = warp::service(routes);
    let cut = guest.cut.clone();
    let begun = CancellationToken::new();
    let first = begun.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        first.cancel();
        request.extensions_mut().insert(peer);
        let guest = Arc::clone(&guest);
        let answer = routes.clone().oneshot(request.map(|body| Asked::new(body, &guest)));
        async move { answer.await.map(|answer| answer.map(|body| Told::new(body, &guest))) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEADER_SECONDS_MAX))
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = cut.cancelled() => return tracing::debug!("a connection was cut to make room"),
        () = stop.cancelled() => {
            // hyper closes a connection on which nothing was read yet. Its request may be on the way, and whoever sent it
            // could not know whether it was heard.
            let patience = tokio::time::sleep(Duration::from_millis(FIRST_REQUEST_MILLIS));
            tokio::select! {
                ended = connection.as_mut() => return told(ended),
                () = begun.cancelled() => {}
                () = patience => {}
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    told(ended);
}

/// A connection that breaks is the client's affair; its request was answered or never complete.
fn told(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
