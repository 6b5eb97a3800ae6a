//! The conversation with the mail server (RFC 5321), over lettre's connections.
//!
//! Why not lettre's own pool: it takes back a connection whose conversation was given up half-way (a
//! time-out), so that the next mail would read answers meant for the last one; and its error does not
//! tell at which step a mail was refused, which decides between the buyer's address and our settings.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
#[expect(deprecated, reason = "see Smtp::open")]
use lettre::transport::smtp::client::AsyncNetworkStream;
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use tokio::sync::Semaphore;

use super::bounded::Bounded;
use super::letter::Mail;
use super::{PostmanError, SmtpServer, Tls};
use crate::ports::Posted;

/// An idle connection older than this is not used again: servers and routers in between forget it.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// For the answer that shows an idle connection to be alive.
const PROBE_MAX: Duration = Duration::from_secs(2);
/// Mails over one connection: servers close it after some number, often 100.
const MAILS_PER_CONNECTION_MAX: u32 = 50;
/// Authentication ways, best first (RFC 4616; LOGIN for old servers).
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
/// The server wants a login, or another one (RFC 4954, 6): our settings, whatever the step.
const LOGIN_CODES: [&str; 4] = ["530", "534", "535", "538"];
/// The server is about to close the connection (RFC 5321, 3.8).
const CLOSING_CODE: &str = "421";

/// How far a mail came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Connection, greeting, EHLO, STARTTLS, AUTH.
    Opening,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// DATA, before the text.
    Data,
    /// The text, the final dot and the answer to it.
    Dot,
}

/// What went wrong, and where.
#[derive(Debug)]
struct Failure {
    step: Step,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    /// The server answered no: the code, and the enhanced status where given.
    Answer { code: String, reason: String, permanent: bool },
    /// No answer, or none that can be read.
    Lost(&'static str),
}

impl Failure {
    fn new(step: Step, error: &Error) -> Self {
        let fault = match error.status() {
            Some(code) => {
                let code = code.to_string();
                let reason = match enhanced(error) {
                    Some(status) => format!("{code} {status}"),
                    None => code.clone(),
                };
                Fault::Answer { code, reason, permanent: error.is_permanent() }
            }
            None if error.is_timeout() => Fault::Lost("TIMEOUT"),
            None if error.is_tls() => Fault::Lost("TLS"),
            None if error.is_client() => Fault::Lost("UNSUPPORTED"),
            None => Fault::Lost("NETWORK"),
        };
        Self { step, fault }
    }

    /// Whether another connection may do better, and this mail has surely not been taken on this one.
    fn is_about_the_connection(&self) -> bool {
        let closing = match &self.fault {
            Fault::Answer { code, .. } => code == CLOSING_CODE,
            Fault::Lost(_) => true,
        };
        closing && self.step != Step::Dot
    }

    /// Whether another server may be asked: this one has surely not taken the mail, and what is wrong is wrong with it
    /// or with us, not with the recipient or the text.
    fn is_about_the_server(&self) -> bool {
        matches!(self.step, Step::Opening | Step::Sender) || self.is_about_the_connection()
    }

    /// Whether the conversation can go on after it: the server answered, and stays.
    fn leaves_order(&self) -> bool {
        matches!(&self.fault, Fault::Answer { code, .. } if code != CLOSING_CODE)
    }

    /// Only a refusal of this recipient or this text is for good. One before that is about us: a login,
    /// the sender's address, a block list. A person repairs it while the mail waits.
    fn verdict(self) -> Posted {
        let about_the_mail = matches!(self.step, Step::Recipient | Step::Data | Step::Dot);
        match self.fault {
            Fault::Answer { code, reason, permanent: true }
                if about_the_mail && !LOGIN_CODES.contains(&code.as_str()) =>
            {
                Posted::Refused { reason }
            }
            Fault::Answer { reason, .. } => Posted::Unavailable { reason },
            Fault::Lost(reason) => Posted::Unavailable { reason: reason.to_owned() },
        }
    }
}

/// `5.1.1` of an answer's text (RFC 3463), and nothing else of it: the rest may name the address.
fn enhanced(error: &Error) -> Option<String> {
    let text = std::error::Error::source(error)?.to_string();
    let status = text.split_whitespace().next()?;
    let mut parts = status.split('.');
    let class = parts.next()?;
    let number = |part: Option<&str>| {
        part.is_some_and(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
    };
    let sound = matches!(class, "4" | "5") && number(parts.next()) && number(parts.next());
    (sound && parts.next().is_none()).then(|| status.to_owned())
}

/// How a mail fared at a server.
pub(super) struct Handed {
    /// Its final word.
    pub(super) posted: Posted,
    /// Whether another server may be tried.
    pub(super) elsewhere: bool,
}

/// How we speak to mail servers.
pub(super) struct Manner {
    /// The envelope's sender.
    pub(super) sender: Address,
    /// Our name.
    pub(super) hello: String,
    /// For one mail.
    pub(super) timeout: Duration,
    /// Connections at once.
    pub(super) connections_max: u32,
}

/// An open connection and how much it has carried.
struct Line {
    connection: AsyncSmtpConnection,
    mails: u32,
    idle_since: Instant,
}

/// The mail server, and the connections open to it.
pub(super) struct Smtp {
    host: String,
    port: u16,
    tls: Tls,
    /// None without TLS.
    tls_parameters: Option<TlsParameters>,
    login: Option<Credentials>,
    sender: Address,
    hello: ClientId,
    timeout: Duration,
    /// Bounds the connections in use, and with them the idle ones.
    permits: Semaphore,
    idle: Mutex<Vec<Line>>,
    idle_max: usize,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Smtp {
    pub(super) fn new(server: SmtpServer, manner: &Manner) -> Result<Self, PostmanError> {
        // An address in brackets, as a URL writes it, is bare to the resolver.
        let host = server.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls_parameters = match server.tls {
            Tls::None => None,
            Tls::Implicit | Tls::Required | Tls::Opportunistic => {
                // Someone else may have installed one already: that one is as good.
                let _ = rustls::crypto::ring::default_provider().install_default();
                Some(parameters(&host, server.authorities.as_deref())?)
            }
        };
        let idle_max =
            usize::try_from(manner.connections_max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Ok(Self {
            host,
            port: server.port,
            tls: server.tls,
            tls_parameters,
            login: server.login.map(|(user, password)| Credentials::new(user, password)),
            sender: manner.sender.clone(),
            hello: ClientId::Domain(manner.hello.clone()),
            timeout: manner.timeout,
            permits: Semaphore::new(idle_max),
            idle: Mutex::default(),
            idle_max,
        })
    }

    /// Hands the mail over and waits for the final word. Given up half-way, the connection is closed.
    pub(super) async fn deliver(&self, mail: &Mail) -> Handed {
        let spoken = AtomicBool::new(false);
        let work = Box::pin(self.hand_over(mail, &spoken));
        match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(())) => {
                tracing::debug!(order = %mail.order, server = self.host, "the mail server took a mail");
                Handed { posted: Posted::Accepted, elsewhere: false }
            }
            Ok(Err(failure)) => {
                let (order, step, fault) = (mail.order, failure.step, &failure.fault);
                tracing::debug!(%order, ?step, ?fault, "the mail server did not take a mail");
                Handed { elsewhere: failure.is_about_the_server(), posted: failure.verdict() }
            }
            // Once the text was on its way it may have been taken.
            Err(_) => {
                let spoken = spoken.load(Ordering::Relaxed);
                tracing::debug!(order = %mail.order, server = self.host, spoken, "the mail server did not answer in time");
                let posted = Posted::Unavailable { reason: "TIMEOUT".to_owned() };
                Handed { posted, elsewhere: !spoken }
            }
        }
    }

    /// The conversation as far as the login, then a polite end. `Err` is the code, or our word for the fault.
    pub(super) async fn greet(&self) -> Result<(), String> {
        let opened = tokio::time::timeout(self.timeout, Box::pin(self.open())).await;
        let mut line = match opened.map_err(|_| "TIMEOUT".to_owned())? {
            Ok(line) => line,
            Err(Failure { fault: Fault::Answer { reason, .. }, .. }) => return Err(reason),
            Err(Failure { fault: Fault::Lost(reason), .. }) => return Err(reason.to_owned()),
        };
        // Everything that was to be learnt has been.
        let _ = tokio::time::timeout(PROBE_MAX, line.connection.quit()).await;
        Ok(())
    }

    /// `spoken` becomes true before the text is sent.
    async fn hand_over(&self, mail: &Mail, spoken: &AtomicBool) -> Result<(), Failure> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        if let Some(line) = self.idle_line().await {
            match self.mail_over(line, mail, spoken).await {
                Err(failure) if failure.is_about_the_connection() => {}
                done => return done,
            }
        }
        let line = self.open().await?;
        self.mail_over(line, mail, spoken).await
    }

    /// One mail; the connection is kept for the next if the conversation is still in order.
    async fn mail_over(&self, mut line: Line, mail: &Mail, spoken: &AtomicBool) -> Result<(), Failure> {
        let done = self.converse(&mut line.connection, mail, spoken).await;
        line.mails += 1;
        if done.as_ref().err().is_none_or(Failure::leaves_order) && line.mails < MAILS_PER_CONNECTION_MAX {
            line.idle_since = Instant::now();
            let mut idle = self.lock();
            idle.retain(|line| line.idle_since.elapsed() < IDLE_MAX);
            if idle.len() < self.idle_max {
                idle.push(line);
            }
        }
        done
    }

    async fn converse(
        &self,
        connection: &mut AsyncSmtpConnection,
        mail: &Mail,
        spoken: &AtomicBool,
    ) -> Result<(), Failure> {
        let at = |step| move |error: Error| Failure::new(step, &error);
        let sender = MailFrom::new(Some(self.sender.clone()), Vec::new());
        connection.command(sender).await.map_err(at(Step::Sender))?;
        let recipient = Rcpt::new(mail.to.clone(), Vec::new());
        connection.command(recipient).await.map_err(at(Step::Recipient))?;
        connection.command(Data).await.map_err(at(Step::Data))?;
        spoken.store(true, Ordering::Relaxed);
        let message = connection.message(&mail.raw);
        let answer = failpoint_during!("mail.dot_before_answer", message).await.map_err(at(Step::Dot))?;
        // 354 here would be a server out of step; only 250 makes the mail its own.
        if answer.has_code(250) {
            Ok(())
        } else {
            Err(Failure { step: Step::Dot, fault: Fault::Lost("UNREADABLE") })
        }
    }

    /// An idle connection that just answered. RSET also ends what a refused mail left behind.
    async fn idle_line(&self) -> Option<Line> {
        loop {
            let mut line = self.lock().pop()?;
            if line.idle_since.elapsed() >= IDLE_MAX {
                continue;
            }
            let probe = tokio::time::timeout(PROBE_MAX, line.connection.command(Rset)).await;
            if probe.is_ok_and(|answer| answer.is_ok_and(|answer| answer.has_code(250))) {
                return Some(line);
            }
        }
    }

    async fn open(&self) -> Result<Line, Failure> {
        let at = |error: Error| Failure::new(Step::Opening, &error);
        let wrapped = self.tls_parameters.clone().filter(|_| self.tls == Tls::Implicit);
        let server = (self.host.as_str(), self.port);
        #[expect(deprecated, reason = "lettre has no other way to implicit TLS over a stream of ours")]
        let stream = AsyncNetworkStream::connect_tokio1(server, Some(self.timeout), wrapped, None);
        let stream = Box::new(Bounded::new(stream.await.map_err(at)?));
        let opening = AsyncSmtpConnection::connect_with_transport(stream, &self.hello);
        let mut connection = opening.await.map_err(at)?;
        let upgrade = match self.tls {
            Tls::Required => true,
            Tls::Opportunistic => connection.can_starttls(),
            Tls::Implicit | Tls::None => false,
        };
        if let Some(parameters) = self.tls_parameters.clone().filter(|_| upgrade) {
            connection.starttls(parameters, &self.hello).await.map_err(at)?;
        }
        if let Some(login) = &self.login {
            if self.tls == Tls::Opportunistic && !connection.is_encrypted() && !is_this_machine(&self.host) {
                // Whoever strips STARTTLS from the greeting would get the password.
                return Err(Failure { step: Step::Opening, fault: Fault::Lost("NO_TLS") });
            }
            connection.auth(&MECHANISMS, login).await.map_err(at)?;
        }
        Ok(Line { connection, mails: 0, idle_since: Instant::now() })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's name must be on its certificate, and the system or the operator must believe its issuer.
fn parameters(host: &str, authorities: Option<&[u8]>) -> Result<TlsParameters, PostmanError> {
    let refuse = |error: Error| PostmanError::Tls(error.to_string());
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(pem) = authorities {
        builder = builder.add_root_certificate(Certificate::from_pem(pem).map_err(refuse)?);
    }
    builder.build().map_err(refuse)
}

pub(super) fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
