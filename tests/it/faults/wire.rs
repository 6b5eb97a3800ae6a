//! Between the daemon and the simulated CinetPay: passes calls on, or lets a scripted fault happen instead.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// The two calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Init,
    Check,
}

/// What happens to a call.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Nobody listens.
    Refuse,
    /// Accepted and read, never answered.
    Mute,
    /// Closed before the request was read.
    Slam,
    /// These bytes, then the end.
    Say(String),
    /// These bytes, one a second.
    Drip(String),
    /// These bytes, then ones without end.
    Flood(String),
    /// The real answer, this much later.
    Late(Duration),
    /// The real answer's head, and half of its body.
    Half,
    /// The real answer, its connection kept open by promise and closed in silence.
    Idle,
    /// The real answer in HTTP/1.0, ended by the connection's end.
    Old,
    /// The real answer, called something else.
    Called(&'static str),
    /// The real answer with `.0` replaced by `.1`.
    Replaced(&'static str, &'static str),
    /// Another certificate, another answer: the TLS handshake is the fault.
    Show(Arc<ServerConfig>),
}

/// What the daemon is told to call.
pub(crate) struct Wire(Arc<Inner>);

struct Inner {
    addr: SocketAddr,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    upstream: Option<SocketAddr>,
    fault: Option<(Call, Act)>,
    /// Check answers, by transaction, instead of the simulator's.
    answers: HashMap<String, String>,
    tls: Option<Arc<ServerConfig>>,
    listening: CancellationToken,
    /// Calls that met the fault.
    struck: usize,
}

impl Wire {
    /// Listens, with TLS if there is a configuration for it.
    pub(crate) async fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let wire = Self(Arc::new(Inner { addr, state: Mutex::new(State { tls, ..State::default() }) }));
        wire.listen(listener);
        wire
    }

    /// Passes calls on to this simulator.
    pub(crate) fn to(&self, upstream: SocketAddr) {
        self.0.state.lock().unwrap().upstream = Some(upstream);
    }

    pub(crate) fn url(&self) -> String {
        let secure = self.0.state.lock().unwrap().tls.is_some();
        if secure {
            format!("https://localhost:{}", self.0.addr.port())
        } else {
            format!("http://{}", self.0.addr)
        }
    }

    /// From now on, every such call meets this.
    pub(crate) fn set(&self, call: Call, act: Act) {
        let mut state = self.0.state.lock().unwrap();
        if matches!(act, Act::Refuse | Act::Show(_)) {
            // Pooled connections end too.
            state.listening.cancel();
        }
        if let Act::Show(tls) = &act {
            state.tls = Some(Arc::clone(tls));
        }
        state.struck = 0;
        state.fault = Some((call, act));
    }

    /// The check of this transaction is answered with this body.
    pub(crate) fn answer(&self, transaction: &str, body: &str) {
        self.0.state.lock().unwrap().answers.insert(transaction.to_owned(), body.to_owned());
    }

    /// Calls that met the fault since it was set.
    pub(crate) fn struck(&self) -> usize {
        self.0.state.lock().unwrap().struck
    }

    /// Listens again after [`Act::Refuse`] or [`Act::Show`], with this certificate if one is given.
    pub(crate) async fn mend(&self, tls: Option<Arc<ServerConfig>>) {
        let gone = {
            let mut state = self.0.state.lock().unwrap();
            state.fault = None;
            state.listening.cancel();
            if tls.is_some() {
                state.tls = tls;
            }
            self.0.addr
        };
        self.listen(bound_again(gone).await);
    }

    /// Another certificate, on the same port.
    pub(crate) async fn show(&self, tls: Arc<ServerConfig>) {
        self.set(Call::Check, Act::Show(tls));
        self.listen(bound_again(self.0.addr).await);
    }

    fn listen(&self, listener: TcpListener) {
        let listening = CancellationToken::new();
        self.0.state.lock().unwrap().listening = listening.clone();
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = listening.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let (stream, _) = accepted.unwrap();
                let (inner, listening) = (Arc::clone(&inner), listening.clone());
                tokio::spawn(async move { listening.run_until_cancelled(meet(inner, stream)).await });
            }
        });
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.0.state.lock().unwrap().listening.cancel();
    }
}

/// Binds the address as soon as its last listener is gone.
pub(crate) async fn bound_again(addr: SocketAddr) -> TcpListener {
    for _ in 0..1_000 {
        if let Ok(listener) = TcpListener::bind(addr).await {
            return listener;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{addr} stays taken");
}

async fn meet(inner: Arc<Inner>, stream: TcpStream) {
    let tls = inner.state.lock().unwrap().tls.clone();
    match tls {
        None => converse(&inner, stream).await,
        Some(tls) => match TlsAcceptor::from(tls).accept(stream).await {
            Ok(stream) => converse(&inner, stream).await,
            Err(_) => inner.state.lock().unwrap().struck += 1,
        },
    }
}

/// Calls on one connection, until it ends; whatever breaks is the daemon's affair.
async fn converse(inner: &Inner, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    loop {
        let fault = || inner.state.lock().unwrap().fault.clone();
        if let Some((_, Act::Slam)) = fault() {
            inner.state.lock().unwrap().struck += 1;
            return;
        }
        let Some((head, body)) = request(&mut stream).await else { return };
        // Asked only now: a kept connection has waited here since before the fault.
        let fault = fault();
        let call = if head.contains("/payment/check ") { Call::Check } else { Call::Init };
        let act = fault.filter(|(struck, _)| *struck == call).map(|(_, act)| act);
        if let Some(act) = act {
            inner.state.lock().unwrap().struck += 1;
            return perform(inner, &mut stream, (&head, &body), act).await;
        }
        let (status, answer) = pass(inner, call, &head, &body).await;
        if say(&mut stream, &http("1.1", &status, "application/json", &answer)).await.is_err() {
            return;
        }
    }
}

async fn perform(
    inner: &Inner,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    (head, body): (&str, &str),
    act: Act,
) {
    let call = if head.contains("/payment/check ") { Call::Check } else { Call::Init };
    let real = async || pass(inner, call, head, body).await;
    // Whether the daemon still listens is what most faults are about.
    let _ = match act {
        Act::Refuse | Act::Slam | Act::Show(_) => Ok(()),
        Act::Mute => std::future::pending().await,
        Act::Say(text) => say(stream, &text).await,
        Act::Drip(text) => drip(stream, &text).await,
        Act::Flood(head) => flood(stream, &head).await,
        Act::Late(wait) => {
            let (status, answer) = real().await;
            tokio::time::sleep(wait).await;
            say(stream, &http("1.1", &status, "application/json", &answer)).await
        }
        Act::Half => {
            let (status, answer) = real().await;
            let whole = http("1.1", &status, "application/json", &answer);
            say(stream, &whole[..whole.len() - answer.len() / 2]).await
        }
        Act::Idle => {
            let (status, answer) = real().await;
            say(stream, &http("1.1", &status, "application/json", &answer)).await
        }
        Act::Old => {
            let (status, answer) = real().await;
            say(stream, &format!("HTTP/1.0 {status}\r\ncontent-type: application/json\r\n\r\n{answer}")).await
        }
        Act::Called(kind) => {
            let (status, answer) = real().await;
            say(stream, &http("1.1", &status, kind, &answer)).await
        }
        Act::Replaced(from, to) => {
            let (status, answer) = real().await;
            assert!(answer.contains(from), "{from} in {answer}");
            say(stream, &http("1.1", &status, "application/json", &answer.replace(from, to))).await
        }
    };
    let _ = stream.shutdown().await;
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> std::io::Result<()> {
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await
}

async fn drip(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> std::io::Result<()> {
    for byte in text.bytes() {
        stream.write_all(&[byte]).await?;
        stream.flush().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn flood(stream: &mut (impl AsyncWrite + Unpin), head: &str) -> std::io::Result<()> {
    say(stream, head).await?;
    loop {
        stream.write_all(&[b' '; 16 * 1024]).await?;
    }
}

/// An answer with its length.
pub(crate) fn http(version: &str, status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/{version} {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// One request: head and body.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, String)> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, &mut read).await?;
    };
    let head = String::from_utf8(read[..end].to_vec()).ok()?.to_ascii_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: "))?.trim().parse::<usize>().ok()?;
    while read.len() < end + length {
        more(stream, &mut read).await?;
    }
    Some((head, String::from_utf8(read[end..end + length].to_vec()).ok()?))
}

async fn more(stream: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>) -> Option<()> {
    let length = stream.read_buf(read).await.ok()?;
    (length > 0).then_some(())
}

/// The simulator's answer: status line and body. Over TLS its pages are called https, as CinetPay's are.
async fn pass(inner: &Inner, call: Call, head: &str, body: &str) -> (String, String) {
    let asked: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let (upstream, secure, scripted) = {
        let state = inner.state.lock().unwrap();
        let transaction = asked["transaction_id"].as_str().unwrap_or_default();
        let scripted = state.answers.get(transaction).filter(|_| call == Call::Check).cloned();
        (state.upstream.expect("an upstream"), state.tls.is_some(), scripted)
    };
    if let Some(scripted) = scripted {
        return ("200 OK".to_owned(), scripted);
    }
    let path = head.split(' ').nth(1).unwrap_or_default();
    let length = body.len();
    let asked = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nuser-agent: wire\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(upstream).await.unwrap();
    say(&mut stream, &asked).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head.lines().next().unwrap_or_default().trim_start_matches("HTTP/1.1 ").to_owned();
    let body = if secure { body.replace("\"http://", "\"https://") } else { body.to_owned() };
    (status, body)
}
