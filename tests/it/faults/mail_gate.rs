//! Between the daemon and the mailbox: a mail server with TLS, that fails at any verb to a script.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// What the client waits for, or has just said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Banner,
    Ehlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// The text and the final dot.
    Dot,
}

/// Every verb, in the order of a conversation.
pub(crate) const VERBS: [Verb; 8] =
    [Verb::Banner, Verb::Ehlo, Verb::StartTls, Verb::Auth, Verb::Mail, Verb::Rcpt, Verb::Data, Verb::Dot];

/// What happens at a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// This code, and the mail server never hears the command. 421 closes.
    Reply(u16),
    /// The connection ends without an answer; the mail server never hears the command.
    Drop,
    /// The mail server hears it and answers; the connection ends before the client knows.
    DropAfter,
    /// These bytes, and then silence.
    Say(&'static str),
    /// Bytes without a line's end, without end.
    Endless,
    /// Nothing, for as long as anyone waits.
    Silence,
    /// EHLO does not offer STARTTLS.
    Strip,
    /// More in clear behind the answer to STARTTLS: the answers to all that follows.
    Smuggle,
}

/// How the conversation is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Implicit,
    StartTls,
}

pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    addr: SocketAddr,
    way: Way,
    state: Mutex<State>,
}

struct State {
    upstream: Option<SocketAddr>,
    tls: Arc<ServerConfig>,
    fault: Option<(Verb, Act)>,
    /// Ends the connections of today.
    open: CancellationToken,
    struck: usize,
    /// Commands heard in clear, EHLO and STARTTLS apart.
    in_clear: Vec<String>,
}

impl Gate {
    pub(crate) async fn start(way: Way, tls: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let open = CancellationToken::new();
        let state = State { upstream: None, tls, fault: None, open, struck: 0, in_clear: Vec::new() };
        let inner = Arc::new(Inner { addr, way, state: Mutex::new(state) });
        let serving = Arc::downgrade(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Some(inner) = serving.upgrade() else { return };
                let open = inner.state.lock().unwrap().open.clone();
                tokio::spawn(async move { open.run_until_cancelled(meet(inner, stream)).await });
            }
        });
        Self(inner)
    }

    pub(crate) fn to(&self, upstream: SocketAddr) {
        self.0.state.lock().unwrap().upstream = Some(upstream);
    }

    /// `scheme://user:password@localhost:port`
    pub(crate) fn url(&self) -> String {
        let (scheme, query) = match self.0.way {
            Way::Implicit => ("smtps", ""),
            Way::StartTls => ("smtp", "?tls=required"),
        };
        format!("{scheme}://user:password@localhost:{}{query}", self.0.addr.port())
    }

    /// Ends every connection; the next ones meet this, or nothing.
    pub(crate) fn set(&self, fault: Option<(Verb, Act)>) {
        let mut state = self.0.state.lock().unwrap();
        (state.fault, state.struck) = (fault, 0);
        std::mem::take(&mut state.open).cancel();
    }

    /// The certificate of the next connections.
    pub(crate) fn show(&self, tls: Arc<ServerConfig>) {
        self.set(None);
        self.0.state.lock().unwrap().tls = tls;
    }

    pub(crate) fn struck(&self) -> usize {
        self.0.state.lock().unwrap().struck
    }

    pub(crate) fn in_clear(&self) -> Vec<String> {
        self.0.state.lock().unwrap().in_clear.clone()
    }
}

impl Inner {
    /// The fault at this verb, if it is the one.
    fn strike(&self, verb: Verb) -> Option<Act> {
        let mut state = self.state.lock().unwrap();
        let (_, act) = state.fault.filter(|(at, _)| *at == verb)?;
        state.struck += 1;
        Some(act)
    }
}

type Stop = std::io::Error;

fn over() -> Stop {
    Stop::other("over")
}

/// One connection. Errors end it: whoever broke it knows.
async fn meet(inner: Arc<Inner>, stream: TcpStream) {
    let _ = match inner.way {
        Way::Implicit => encrypted(&inner, stream, true).await,
        Way::StartTls => clear(&inner, stream).await,
    };
}

async fn encrypted(inner: &Inner, stream: TcpStream, greets: bool) -> Result<(), Stop> {
    let (tls, upstream) = {
        let state = inner.state.lock().unwrap();
        (Arc::clone(&state.tls), state.upstream.expect("an upstream"))
    };
    let accepted = TlsAcceptor::from(tls).accept(stream).await;
    if accepted.is_err() {
        inner.state.lock().unwrap().struck += 1;
    }
    let mut client = BufReader::new(accepted?);
    let mut server = BufReader::new(TcpStream::connect(upstream).await?);
    let banner = answer(&mut server).await?;
    if greets {
        give(inner, &mut client, Verb::Banner, &banner).await?;
    }
    relay(inner, &mut client, &mut server).await
}

/// The part before STARTTLS, which the gate holds alone.
async fn clear(inner: &Inner, stream: TcpStream) -> Result<(), Stop> {
    let mut client = BufReader::new(stream);
    give(inner, &mut client, Verb::Banner, "220 gate ESMTP\r\n").await?;
    loop {
        let line = line(&mut client).await?;
        match line.split([' ', '\r']).next().unwrap_or_default() {
            "EHLO" if inner.strike(Verb::Ehlo) == Some(Act::Strip) => {
                say(&mut client, "250-gate\r\n250 8BITMIME\r\n").await?
            }
            "EHLO" => {
                give(inner, &mut client, Verb::Ehlo, "250-gate\r\n250-STARTTLS\r\n250 8BITMIME\r\n").await?
            }
            "STARTTLS" if inner.strike(Verb::StartTls) == Some(Act::Smuggle) => {
                let smuggled =
                    "250-x\r\n250 AUTH PLAIN\r\n235 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n";
                say(&mut client, &format!("220 go\r\n{smuggled}")).await?;
                return encrypted(inner, client.into_inner(), false).await;
            }
            "STARTTLS" => {
                give(inner, &mut client, Verb::StartTls, "220 go\r\n").await?;
                return encrypted(inner, client.into_inner(), false).await;
            }
            "QUIT" => return Ok(()),
            _ => {
                inner.state.lock().unwrap().in_clear.push(line);
                say(&mut client, "530 5.7.0 Must issue a STARTTLS command first\r\n").await?;
            }
        }
    }
}

/// Command by command, each with its answer.
async fn relay(
    inner: &Inner,
    client: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>,
    server: &mut BufReader<TcpStream>,
) -> Result<(), Stop> {
    loop {
        let command = line(client).await?;
        let verb = match command.split([' ', '\r']).next().unwrap_or_default() {
            "EHLO" => Some(Verb::Ehlo),
            "AUTH" => Some(Verb::Auth),
            "MAIL" => Some(Verb::Mail),
            "RCPT" => Some(Verb::Rcpt),
            "DATA" => Some(Verb::Data),
            _ => None,
        };
        let fault = verb.and_then(|verb| inner.strike(verb));
        if let Some(act) = fault.filter(|act| *act != Act::DropAfter) {
            perform(client, act).await?;
            continue;
        }
        say(server.get_mut(), &command).await?;
        let reply = answer(server).await?;
        if fault.is_some() {
            return Err(over());
        }
        say(client, &reply).await?;
        if reply.starts_with("354") {
            text(inner, client, server).await?;
        }
    }
}

/// The text to its final dot, and the answer to it.
async fn text(
    inner: &Inner,
    client: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>,
    server: &mut BufReader<TcpStream>,
) -> Result<(), Stop> {
    let mut text = String::new();
    while !text.ends_with("\r\n.\r\n") {
        text.push_str(&line(client).await?);
    }
    let fault = inner.strike(Verb::Dot);
    if let Some(act) = fault.filter(|act| *act != Act::DropAfter) {
        return perform(client, act).await;
    }
    say(server.get_mut(), &text).await?;
    let reply = answer(server).await?;
    if fault.is_some() {
        return Err(over());
    }
    say(client, &reply).await
}

/// Gives this answer, or lets the verb's fault happen.
async fn give(
    inner: &Inner,
    client: &mut (impl AsyncWrite + Unpin),
    verb: Verb,
    reply: &str,
) -> Result<(), Stop> {
    let fault = inner.state.lock().unwrap().fault.filter(|(at, _)| *at == verb);
    let Some((_, act)) = fault else { return say(client, reply).await };
    if verb == Verb::Banner {
        // The others were counted when the command came.
        inner.strike(verb);
    }
    perform(client, act).await
}

async fn perform(client: &mut (impl AsyncWrite + Unpin), act: Act) -> Result<(), Stop> {
    match act {
        Act::Reply(code) => {
            say(client, &format!("{code} {}.0.0 Scripted fault\r\n", code / 100)).await?;
            if code == 421 { Err(over()) } else { Ok(()) }
        }
        Act::Drop | Act::DropAfter => Err(over()),
        Act::Say(text) => {
            say(client, text).await?;
            std::future::pending().await
        }
        Act::Endless => loop {
            say(client, &"250 and on and on ".repeat(1_000)).await?;
        },
        Act::Silence => std::future::pending().await,
        Act::Strip | Act::Smuggle => unreachable!("at EHLO and STARTTLS only"),
    }
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> Result<(), Stop> {
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await
}

async fn line(stream: &mut BufReader<impl AsyncRead + Unpin>) -> Result<String, Stop> {
    let mut line = String::new();
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_line(&mut line)).await??;
    if read == 0 { Err(over()) } else { Ok(line) }
}

/// A whole answer: its last line has a space behind the code.
async fn answer(server: &mut BufReader<TcpStream>) -> Result<String, Stop> {
    let mut answer = String::new();
    loop {
        let line = line(server).await?;
        answer.push_str(&line);
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(answer);
        }
    }
}
