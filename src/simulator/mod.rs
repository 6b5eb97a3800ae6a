//! The offline CinetPay: the v2 API, the payment page a person can click, signed notifications, every fault we know
//! of as a switch, and a mailbox. `demo`, `simulator` and the tests run it; production code never names it.
//!
//! Why: v2 has no sandbox. Shapes follow CinetPay's documentation and captures; where nobody knows, the answer is
//! a setting. `docs/simulator.md` documents the switches and the control endpoint.

mod api;
mod control;
#[cfg(feature = "postgres")]
pub mod database;
pub mod mailbox;
mod mailbox_mime;
mod mailbox_smtp;
mod mailbox_web;
mod notify;
mod page;
mod settings;
mod sign;
mod state;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use warp::Filter;
use warp::http::{HeaderMap, Method, Response, StatusCode};

pub use settings::{
    Fault, FaultKind, Notify, Options, PendingShape, ReturnMethod, Settings, TokenShape, UnknownShape,
};
pub use sign::{FIELDS, x_token};
pub use state::{Attempt, Counts, Order, Payer, Status, Transaction, Unchanged};

use state::State;

/// Largest request body read.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Connections served at once; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 1_024;
/// Time a client has to send its request line and headers, and then its body.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Notifications and delayed changes under way at once.
const TASKS_MAX: usize = 2_048;
/// Pause after a failed accept (file descriptors out).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A whole answer.
type Reply = Response<Vec<u8>>;

/// Marks an answer that is not sent: the connection is closed instead.
#[derive(Clone, Copy, Debug)]
struct Cut;

/// A request, read.
#[derive(Debug)]
struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// What every route sees.
#[derive(Debug)]
struct Shared {
    options: Options,
    base_url: String,
    defaults: Settings,
    state: Mutex<State>,
    http: reqwest::Client,
    tasks: TaskTracker,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Shared {
    /// The state. A panic elsewhere cannot leave it half-changed in a way that matters to a simulator.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` beside the requests until it ends or the simulator stops. False when too much is under way.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> bool {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return false };
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(work).await;
            drop(permit);
        });
        true
    }
}

/// A running simulator. Dropping it stops it without waiting; [`Simulator::stop`] waits.
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    addr: SocketAddr,
}

/// Serves the simulator on `listener`. Fails on `--settings` that do not parse and on a listener without an address.
pub async fn start(listener: TcpListener, opts: Options) -> std::io::Result<Simulator> {
    let addr = listener.local_addr()?;
    let defaults = opts.to_settings().map_err(std::io::Error::other)?;
    let base_url =
        opts.public_url.clone().unwrap_or_else(|| format!("http://{}", opts.local_addr.unwrap_or(addr)));
    // An already installed provider serves just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent("CinetPay-simulator")
        .build()
        .map_err(std::io::Error::other)?;
    let shared = Arc::new(Shared {
        base_url: base_url.trim_end_matches('/').to_owned(),
        state: Mutex::new(State::new(defaults.clone())),
        defaults,
        options: opts,
        http,
        tasks: TaskTracker::new(),
        permits: Arc::new(Semaphore::new(TASKS_MAX)),
        stop: CancellationToken::new(),
    });
    let serving = Arc::clone(&shared);
    shared.tasks.spawn(async move { accept(listener, serving).await });
    Ok(Simulator { shared, addr })
}

// === impl Simulator ===

impl Simulator {
    /// `http://127.0.0.1:<port>`, without a final slash: what `CINETPAY_API_URL` takes.
    pub fn base_url(&self) -> &str {
        &self.shared.base_url
    }

    /// The bound address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The settings in force for all transactions without their own.
    pub fn settings(&self) -> Settings {
        self.shared.lock().settings.clone()
    }

    /// Lays a partial settings object over the global ones. The message names the wrong key.
    pub fn patch(&self, patch: &Value) -> Result<(), String> {
        control::patch_settings(&self.shared, object(patch)?)
    }

    /// Gives one transaction (known already or not) settings of its own.
    pub fn patch_transaction(&self, id: &str, patch: &Value) -> Result<(), String> {
        control::patch_transaction(&self.shared, id, object(patch)?)
    }

    /// What is remembered of one payment.
    pub fn transaction(&self, id: &str) -> Option<Transaction> {
        self.shared.lock().get(id).cloned()
    }

    /// All payments, oldest first.
    pub fn transactions(&self) -> Vec<Transaction> {
        self.shared.lock().list().cloned().collect()
    }

    /// The payer pays. Sends the notification.
    pub fn approve(&self, id: &str) -> Result<(), Unchanged> {
        notify::settle(&self.shared, id, Status::Accepted, None)
    }

    /// The operator refuses with `code` (600, 602, 604, 606 …). Sends the notification.
    pub fn refuse(&self, id: &str, code: &str) -> Result<(), Unchanged> {
        notify::settle(&self.shared, id, Status::Refused { code: code.to_owned() }, None)
    }

    /// The payer cancels (627). Sends the notification.
    pub fn cancel(&self, id: &str) -> Result<(), Unchanged> {
        self.refuse(id, "627")
    }

    /// The operator waits for the payer. Sends a notification only with `notify.while_pending`.
    pub fn pend(&self, id: &str) -> Result<(), Unchanged> {
        notify::settle(&self.shared, id, Status::Pending, Some(Payer::default()))
    }

    /// The link expires (625). Sends the notification.
    pub fn expire(&self, id: &str) -> Result<(), Unchanged> {
        notify::settle(&self.shared, id, Status::Expired, None)
    }

    /// Sends the notification of the present status once more. False when the transaction is unknown or too many wait.
    pub fn notify(&self, id: &str) -> bool {
        notify::announce(&self.shared, id)
    }

    /// Forgets all transactions and goes back to the settings of the start.
    pub fn reset(&self) {
        control::reset(&self.shared);
    }

    /// Closes the listener, drops open connections and waits for what was under way.
    pub async fn stop(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

fn object(value: &Value) -> Result<&Map<String, Value>, String> {
    value.as_object().ok_or_else(|| "a JSON object is expected".to_owned())
}

// === the listener ===

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let serving = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            let stop = serving.stop.clone();
            stop.run_until_cancelled(serve(stream, serving)).await;
            drop(slot);
        });
    }
}

/// One connection. Why hyper and not `warp::serve`: a cut connection and the header time-out need it.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = warp::service(routes(shared));
    let handler = hyper::service::service_fn(move |request| {
        let service = service.clone();
        async move {
            let Ok(response) = service.oneshot(request).await;
            match response.extensions().get::<Cut>() {
                Some(Cut) => Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted)),
                None => Ok(response),
            }
        }
    });
    // A connection that ends badly is the client's affair, or the fault that was asked for.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), handler)
        .await;
}

fn routes(
    shared: Arc<Shared>,
) -> impl Filter<Extract = (Reply,), Error = Infallible> + Clone + Send + Sync + 'static {
    let own = warp::method()
        .and(warp::path::full())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method, path: warp::path::FullPath, headers, body| {
            let shared = Arc::clone(&shared);
            async move {
                match read(body).await {
                    None => text(StatusCode::PAYLOAD_TOO_LARGE, "body too large or too slow"),
                    Some(body) => {
                        let path = path.as_str().to_owned();
                        route(&shared, Request { method, path, headers, body }).await
                    }
                }
            }
        });
    own.or(warp::any().map(|| text(StatusCode::BAD_REQUEST, "unreadable request"))).unify()
}

/// The body, counted by bytes read; none when it is too large, too slow or broken off.
async fn read<B, E>(body: impl futures_util::Stream<Item = Result<B, E>>) -> Option<Vec<u8>>
where
    B: warp::Buf,
{
    let mut body = std::pin::pin!(body);
    let mut held = Vec::new();
    let whole = tokio::time::timeout(READ_TIMEOUT, async {
        while let Some(chunk) = body.next().await {
            let mut chunk = chunk.ok()?;
            if held.len() + chunk.remaining() > BODY_BYTES_MAX {
                return None;
            }
            while chunk.has_remaining() {
                let part = chunk.chunk();
                held.extend_from_slice(part);
                let length = part.len();
                chunk.advance(length);
            }
        }
        Some(())
    });
    whole.await.ok()??;
    Some(held)
}

/// The one table of routes. Doubled slashes count as one: real clients send them.
async fn route(shared: &Arc<Shared>, request: Request) -> Reply {
    let path = request.path.clone();
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match (request.method.as_str(), segments.as_slice()) {
        ("POST", ["v2", "payment"]) => api::init(shared, &request).await,
        ("POST", ["v2", "payment", "check"]) => api::check(shared, &request).await,
        ("GET" | "HEAD", ["payment", token]) => page::show(shared, token),
        ("POST", ["payment", token]) => page::press(shared, token, &request),
        ("GET" | "HEAD", ["assets", name]) => page::asset(name),
        (_, ["control", rest @ ..]) => control::route(shared, rest, &request),
        ("GET" | "HEAD", ["mailbox", rest @ ..]) => {
            mailbox_web::mailbox_routes(shared.options.mailbox.as_ref(), rest)
        }
        ("GET" | "HEAD", []) => page::index(shared),
        ("GET" | "HEAD", ["healthz"]) => text(StatusCode::OK, "ok"),
        _ => json(StatusCode::NOT_FOUND, &serde_json::json!({"message": "no such page"})),
    }
}

// === answers ===

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Vec<u8>>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert("content-type", warp::http::HeaderValue::from_static(content_type));
    headers.insert("cache-control", warp::http::HeaderValue::from_static("no-store"));
    reply
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Reply {
    answer(status, "application/json", serde_json::to_vec(body).unwrap_or_default())
}

fn text(status: StatusCode, body: &str) -> Reply {
    answer(status, "text/plain; charset=utf-8", body)
}

fn html(status: StatusCode, body: String) -> Reply {
    answer(status, "text/html; charset=utf-8", body)
}

/// `2022-09-29 14:13:16`, UTC, as CinetPay writes dates.
fn now_text() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S").to_string()
}
