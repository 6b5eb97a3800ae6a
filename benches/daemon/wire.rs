//! The load: requests made beforehand, over connections that stay open, from one thread.
//!
//! It shares the cores with what it measures, so it does as little as it can: one write and one read per request, no
//! HTTP library, and of an answer only the status and the length are read.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use auditshield::domain::values::OrderId;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::{Fault, Outcome, notices};

/// Longest latency told apart, in microseconds.
const MICROS_MAX: u64 = 60_000_000;
/// Room for one answer, in bytes. More is thrown away as it comes.
const ANSWER_BYTES: usize = 16 * 1024;
/// How long one answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Whole requests, one after the other in one block.
#[derive(Default)]
pub(crate) struct Requests {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Requests {
    /// One notification of each of these orders.
    pub(crate) fn notices(path: &str, orders: impl Iterator<Item = OrderId>) -> Self {
        let mut made = Self::default();
        for order in orders {
            let (form, token) = notices::notice(&order.to_string());
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: bench\r\nuser-agent: CinetPay\r\naccept: */*\r\nx-token: {token}\r\n\
                 content-type: application/x-www-form-urlencoded\r\n"
            );
            made.push(&head, form.as_bytes());
        }
        made
    }

    pub(crate) fn push(&mut self, head: &str, body: &[u8]) {
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        self.bytes.extend_from_slice(body);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The first few of them.
    pub(crate) fn first(&self, count: usize) -> Self {
        let ends = self.ends[..count].to_vec();
        Self { bytes: self.bytes[..ends[count - 1]].to_vec(), ends }
    }

    /// Request `n`; after the last comes the first again.
    fn get(&self, n: usize) -> &[u8] {
        let n = n % self.ends.len();
        let start = n.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[n]]
    }
}

/// When requests are sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// As soon as the connection is free: closed loop.
    Closed,
    /// So many per second, whatever the answers do; latency counts from the moment at which a request should have
    /// been sent: open loop.
    PerSecond(f64),
}

/// What a load has seen.
pub(crate) struct Seen {
    pub(crate) answered: u64,
    pub(crate) seconds: f64,
    /// In microseconds.
    pub(crate) latency: Histogram<u64>,
    /// Connections that the server closed and that were opened anew.
    pub(crate) reopened: u64,
}

impl Seen {
    pub(crate) fn rate(&self) -> f64 {
        self.answered as f64 / self.seconds
    }
}

/// One connection, and its answers.
pub(crate) struct Conn {
    target: SocketAddr,
    stream: TcpStream,
    answer: Vec<u8>,
    reopened: u64,
}

impl Conn {
    pub(crate) async fn open(target: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        Ok(Self { target, stream, answer: vec![0; ANSWER_BYTES], reopened: 0 })
    }

    /// One question and its whole answer: the status. A server may close a connection between two requests.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Outcome<u16> {
        if let Ok((status, open)) = self.try_ask(request).await {
            if !open {
                self.reopen().await?;
            }
            return Ok(status);
        }
        self.reopen().await?;
        let (status, open) = self.try_ask(request).await?;
        if !open {
            self.reopen().await?;
        }
        Ok(status)
    }

    async fn reopen(&mut self) -> Outcome<()> {
        let fresh = Self::open(self.target).await?;
        (self.stream, self.reopened) = (fresh.stream, self.reopened + 1);
        Ok(())
    }

    async fn try_ask(&mut self, request: &[u8]) -> Outcome<(u16, bool)> {
        self.stream.write_all(request).await?;
        let mut held = 0;
        let head = loop {
            held += self.more(held).await?;
            if let Some(head) = Head::read(&self.answer[..held]) {
                break head;
            }
            if held == self.answer.len() {
                return Err("an answer's head is too long".into());
            }
        };
        let mut missing = head.bytes.saturating_sub(held);
        while missing > 0 {
            missing = missing.saturating_sub(self.more(0).await?);
        }
        Ok((head.status, head.stays_open))
    }

    async fn more(&mut self, held: usize) -> Outcome<usize> {
        match self.stream.read(&mut self.answer[held..]).await? {
            0 => Err("the connection was closed".into()),
            count => Ok(count),
        }
    }

    /// Asks, and gives status and body as text. For small answers, beside the load.
    pub(crate) async fn fetch(&mut self, request: &[u8]) -> Outcome<(u16, String)> {
        self.stream.write_all(request).await?;
        let mut whole = Vec::new();
        loop {
            let count = self.more(0).await?;
            whole.extend_from_slice(&self.answer[..count]);
            if let Some(head) = Head::read(&whole)
                && whole.len() >= head.bytes
            {
                return Ok((head.status, String::from_utf8_lossy(&whole).into_owned()));
            }
        }
    }
}

/// What an answer's head says.
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Head and body together.
    pub(crate) bytes: usize,
    stays_open: bool,
}

impl Head {
    /// None until the head is there.
    pub(crate) fn read(answer: &[u8]) -> Option<Self> {
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let mut lines = answer[..end].split(|byte| *byte == b'\n');
        let status = std::str::from_utf8(lines.next()?.get(9..12)?).ok()?.parse().ok()?;
        let (mut length, mut stays_open) = (0, true);
        for line in lines {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                length = std::str::from_utf8(value).ok()?.parse().ok()?;
            } else if name.eq_ignore_ascii_case(b"connection") {
                stays_open = !value.eq_ignore_ascii_case(b"close");
            }
        }
        Some(Self { status, bytes: end + 4 + length, stays_open })
    }
}

/// What the connections of one load share.
struct Shared {
    requests: Rc<Requests>,
    next: Cell<usize>,
    last: usize,
    pace: Pace,
    begun: Instant,
    latency: RefCell<Histogram<u64>>,
    fault: RefCell<Option<Fault>>,
}

/// A number of open connections.
pub(crate) struct Load {
    target: SocketAddr,
    conns: Vec<Conn>,
}

impl Load {
    pub(crate) async fn open(target: SocketAddr, connections: usize) -> Outcome<Self> {
        let mut conns = Vec::with_capacity(connections);
        for _ in 0..connections {
            conns.push(Conn::open(target).await?);
        }
        Ok(Self { target, conns })
    }

    /// Sends requests number `first` to `first + count - 1`. Anything but a 200 is a fault: what refuses work is not fast.
    pub(crate) async fn send(
        &mut self,
        requests: &Rc<Requests>,
        first: usize,
        count: usize,
        pace: Pace,
    ) -> Outcome<Seen> {
        let shared = Rc::new(Shared {
            requests: Rc::clone(requests),
            next: Cell::new(first),
            last: first + count,
            pace,
            begun: Instant::now(),
            latency: RefCell::new(Histogram::new_with_bounds(1, MICROS_MAX, 3)?),
            fault: RefCell::default(),
        });
        let local = LocalSet::new();
        let tasks: Vec<_> = std::mem::take(&mut self.conns)
            .into_iter()
            .map(|conn| local.spawn_local(converse(conn, Rc::clone(&shared), first)))
            .collect();
        let mut reopened = 0;
        for task in tasks {
            let conn = local.run_until(task).await?;
            reopened += conn.reopened;
            self.conns.push(conn);
        }
        let seconds = shared.begun.elapsed().as_secs_f64();
        let latency = shared.latency.borrow().clone();
        match shared.fault.take() {
            Some(fault) => Err(format!("{}: {fault}", self.target).into()),
            None => Ok(Seen { answered: latency.len(), seconds, latency, reopened }),
        }
    }
}

async fn converse(mut conn: Conn, shared: Rc<Shared>, first: usize) -> Conn {
    loop {
        let n = shared.next.get();
        if n >= shared.last || shared.fault.borrow().is_some() {
            return conn;
        }
        shared.next.set(n + 1);
        let since = match shared.pace {
            Pace::Closed => Instant::now(),
            Pace::PerSecond(rate) => {
                let due = shared.begun + Duration::from_secs_f64((n - first) as f64 / rate);
                tokio::time::sleep_until(due.into()).await;
                due
            }
        };
        let asked = conn.ask(shared.requests.get(n));
        let fault = match tokio::time::timeout(ANSWER_WAIT, asked).await {
            Ok(Ok(200)) => None,
            Ok(Ok(status)) => Some(format!("request {n} was answered {status}").into()),
            Ok(Err(fault)) => Some(fault),
            Err(_) => Some(format!("request {n} was not answered within {ANSWER_WAIT:?}").into()),
        };
        if let Some(fault) = fault {
            shared.fault.replace(Some(fault));
            return conn;
        }
        let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(MICROS_MAX);
        shared.latency.borrow_mut().saturating_record(micros.max(1));
    }
}
