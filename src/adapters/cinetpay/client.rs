//! The checkout v2 client: asks for payment pages and for the fate of transactions.
//!
//! Why the outcome of a call is told so finely: "never sent" and "sent, no answer" look alike to a
//! program and differ by a customer's money. Whatever may have reached CinetPay is never called unsent.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::RETRY_AFTER;
use reqwest::{Response, redirect, retry};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use super::breaker::{Breaker, Pass};
use super::request::Merchant;
use super::turns::Turns;
use super::{answer, request, verdict};
use crate::domain::input::Verdict;
use crate::domain::values::TransactionId;
use crate::ports::{OpenRequest, Opened, Permits, PortFuture, Provider, REQUEST_ID, RequestId};

/// Longest answer read, in bytes. The real ones have under 1 KiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// A pooled connection idle for longer is dropped: a server that closes it as we write leaves us in doubt.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// CinetPay's front door refuses calls without one (HTML error 1010).
const USER_AGENT: &str = concat!("auditshield/", env!("CARGO_PKG_VERSION"));

/// Counts checks by `verdict`: accepted, refused, pending, unknown.
const CHECKS: &str = "auditshield_checks_total";
/// Seconds from sending a check to its verdict, waiting for our own limits not included.
const CHECK_SECONDS: &str = "auditshield_check_seconds";
/// Counts inits by `outcome`: page, refused, ambiguous, not_sent.
const INITS: &str = "auditshield_inits_total";
/// 1 while calls are held back because CinetPay is down.
const BREAKER_OPEN: &str = "auditshield_breaker_open";

/// Where CinetPay is, who we are there, and how hard we may press.
#[derive(Clone)]
pub struct Settings {
    /// Base address; `https`, or `http` for a simulator.
    pub api_url: Url,
    /// PEM certificates of authorities believed beside the system's.
    pub authorities: Option<Vec<u8>>,
    /// `apikey`. Never logged.
    pub api_key: String,
    /// `site_id`, digits.
    pub site_id: String,
    /// Where CinetPay posts notifications.
    pub notify_url: String,
    /// Where the buyer comes back to; `order=<id>` is added to its query.
    pub return_url: Url,
    /// ALL, MOBILE_MONEY, CREDIT_CARD or WALLET.
    pub channels: String,
    /// For DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// For a whole call, the connection included; and, before it, for the wait for our own limits.
    pub timeout: Duration,
    /// Calls begun in one second, by all nodes together where they share; zero counts as one.
    pub per_second: u32,
    /// Calls under way at once; zero counts as one.
    pub concurrency: usize,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("api_url", &self.api_url.as_str())
            .field("site_id", &self.site_id)
            .field("channels", &self.channels)
            .field("timeout", &self.timeout)
            .field("per_second", &self.per_second)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

/// Why there is no client. Fatal at start.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The base address is not one that calls can be sent to.
    #[error("the CinetPay address must be an http or https URL with a host")]
    Address,
    /// No TLS: usually the machine has no certificate authorities.
    #[error("the HTTPS client cannot be set up: {0}")]
    Setup(#[source] reqwest::Error),
}

/// A client of one merchant account. Shared behind an `Arc`.
pub struct Client {
    settings: Settings,
    init_url: Url,
    check_url: Url,
    http: reqwest::Client,
    turns: Turns,
    slots: Semaphore,
    breaker: Mutex<Breaker>,
    started: Instant,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.settings).finish()
    }
}

/// An answer read to its end.
struct Answer {
    status: u16,
    body: Vec<u8>,
    retry_after: Option<Duration>,
}

/// No answer.
enum Fault {
    /// Not one byte of the request left.
    NotSent(String),
    /// The request may have arrived.
    Lost(String),
}

impl Client {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// An address that is not http(s), or no TLS on this machine.
    pub fn new(settings: Settings) -> Result<Self, ClientError> {
        // The provider is the whole process's; another part may have installed the same one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let api_url = &settings.api_url;
        if !matches!(api_url.scheme(), "http" | "https") || !api_url.has_host() {
            return Err(ClientError::Address);
        }
        let own = settings.authorities.as_deref().unwrap_or_default();
        let own = reqwest::Certificate::from_pem_bundle(own).map_err(ClientError::Setup)?;
        let http = reqwest::Client::builder()
            .tls_certs_merge(own)
            .user_agent(USER_AGENT)
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .pool_idle_timeout(IDLE_MAX)
            .https_only(api_url.scheme() == "https")
            // A redirected POST would carry the key elsewhere, a proxy of the environment likewise; and a
            // repeated init might open a second page.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .retry(retry::never())
            .build()
            .map_err(ClientError::Setup)?;
        metrics::gauge!(BREAKER_OPEN).set(0.0);
        Ok(Self {
            init_url: endpoint(api_url, &["v2", "payment"])?,
            check_url: endpoint(api_url, &["v2", "payment", "check"])?,
            http,
            turns: Turns::own(settings.per_second),
            slots: Semaphore::new(settings.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            breaker: Mutex::default(),
            started: Instant::now(),
            settings,
        })
    }

    /// The same, with its calls per second drawn from where other nodes draw theirs; no such place: its own.
    #[must_use]
    pub fn sharing(self, permits: Option<Arc<dyn Permits>>) -> Self {
        let Some(permits) = permits else { return self };
        Self { turns: Turns::shared(self.settings.per_second, permits), ..self }
    }

    fn merchant(&self) -> Merchant<'_> {
        Merchant {
            api_key: &self.settings.api_key,
            site_id: &self.settings.site_id,
            notify_url: &self.settings.notify_url,
            return_url: &self.settings.return_url,
            channels: &self.settings.channels,
        }
    }

    async fn ask_open(&self, asked: OpenRequest) -> Opened {
        let body = request::init(&self.merchant(), &asked);
        let plain_http = self.settings.api_url.scheme() == "http";
        let opened = match self.call(&self.init_url, &body).await {
            Ok(answer) => answer::opened(answer.status, &answer.body, plain_http),
            Err(Fault::NotSent(reason)) => Opened::NotSent { reason },
            Err(Fault::Lost(reason)) => Opened::Ambiguous { reason },
        };
        let opened = self.without_key(opened);
        let (outcome, reason) = match &opened {
            Opened::Page { .. } => ("page", None),
            Opened::Refused { reason } => ("refused", Some(reason)),
            Opened::Ambiguous { reason } => ("ambiguous", Some(reason)),
            Opened::NotSent { reason } => ("not_sent", Some(reason)),
        };
        metrics::counter!(INITS, "outcome" => outcome).increment(1);
        if let Some(reason) = reason {
            let TransactionId { order, attempt } = asked.transaction;
            tracing::warn!(%order, attempt = attempt.number(), outcome, reason, "no payment page");
        }
        opened
    }

    async fn ask_check(&self, transaction: TransactionId) -> Verdict {
        let body = request::check(&self.merchant(), transaction);
        let verdict = match self.call(&self.check_url, &body).await {
            Ok(Answer { body, .. }) if verdict::is_astray(&body, transaction, &self.settings.site_id) => {
                Verdict::Unknown { code: "OTHER TRANSACTION".to_owned(), answered: false, retry_after: None }
            }
            Ok(answer) => verdict::classify(answer.status, &answer.body, answer.retry_after),
            Err(Fault::NotSent(code) | Fault::Lost(code)) => {
                Verdict::Unknown { code, answered: false, retry_after: None }
            }
        };
        let word = match &verdict {
            Verdict::Accepted(_) => "accepted",
            Verdict::Refused { .. } => "refused",
            Verdict::Pending { .. } => "pending",
            Verdict::Unknown { code, .. } => {
                let attempt = transaction.attempt.number();
                tracing::warn!(order = %transaction.order, attempt, code, "no verdict");
                "unknown"
            }
        };
        metrics::counter!(CHECKS, "verdict" => word).increment(1);
        verdict
    }

    /// One call: our own limits, the breaker, then the network.
    async fn call(&self, url: &Url, body: &Value) -> Result<Answer, Fault> {
        let waited = tokio::time::timeout(self.settings.timeout, self.turn()).await;
        let slot = waited.map_err(|_| Fault::NotSent("too many calls to CinetPay under way".to_owned()))?;
        // Asked last: a probe's leave must not be spent waiting.
        let pass = self.with_breaker(|breaker, now| breaker.admit(now));
        let pass = pass.ok_or_else(|| Fault::NotSent("CinetPay is down, calls are paused".to_owned()))?;
        let sent = Instant::now();
        let outcome = self.exchange(url, body).await;
        if *url == self.check_url {
            metrics::histogram!(CHECK_SECONDS).record(sent.elapsed().as_secs_f64());
        }
        drop(slot);
        self.report(pass, &outcome);
        outcome
    }

    /// A place among the calls under way, then a place in this second.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, so there always is a permit.
        let slot = self.slots.acquire().await.ok();
        self.turns.next().await;
        slot
    }

    async fn exchange(&self, url: &Url, body: &Value) -> Result<Answer, Fault> {
        let mut request = self.http.post(url.clone()).json(body);
        if let Some(id) = RequestId::current() {
            request = request.header(REQUEST_ID, id.as_str());
        }
        let mut response = request.send().await.map_err(fault)?;
        failpoint!("init.sent_before_answer" if *url == self.init_url);
        failpoint!("check.sent_before_answer" if *url == self.check_url);
        let status = response.status().as_u16();
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|text| answer::retry_after(text, SystemTime::now()));
        let body = read(&mut response).await?;
        Ok(Answer { status, body, retry_after })
    }

    /// Tells the breaker. A refusal or a 429 is a CinetPay that works; a 5xx or nonsense is not.
    fn report(&self, pass: Pass, outcome: &Result<Answer, Fault>) {
        let sense = match outcome {
            Err(_) => false,
            Ok(answer) if (200..300).contains(&answer.status) => {
                answer::json::<serde::de::IgnoredAny>(&answer.body).is_some()
            }
            Ok(answer) => answer.status < 500,
        };
        self.with_breaker(|breaker, now| {
            let was_open = breaker.is_open();
            if sense {
                breaker.succeeded(pass)
            } else {
                breaker.failed(pass, now)
            }
            if was_open != breaker.is_open() {
                metrics::gauge!(BREAKER_OPEN).set(if was_open { 0.0 } else { 1.0 });
                tracing::warn!(open = !was_open, "calls to CinetPay paused or resumed");
            }
        });
    }

    fn with_breaker<T>(&self, then: impl FnOnce(&mut Breaker, Duration) -> T) -> T {
        // The breaker holds counters only, which no panic leaves half written.
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        then(&mut breaker, self.started.elapsed())
    }

    /// CinetPay's descriptions may quote the request, and reasons are logged and stored.
    fn without_key(&self, opened: Opened) -> Opened {
        let key = self.settings.api_key.as_str();
        let hide = |reason: String| if key.is_empty() { reason } else { reason.replace(key, "…") };
        match opened {
            Opened::Page { .. } => opened,
            Opened::Refused { reason } => Opened::Refused { reason: hide(reason) },
            Opened::Ambiguous { reason } => Opened::Ambiguous { reason: hide(reason) },
            Opened::NotSent { reason } => Opened::NotSent { reason: hide(reason) },
        }
    }
}

impl Provider for Client {
    fn open(&self, request: OpenRequest) -> PortFuture<'_, Opened> {
        Box::pin(self.ask_open(request))
    }

    fn check(&self, transaction: TransactionId) -> PortFuture<'_, Verdict> {
        Box::pin(self.ask_check(transaction))
    }
}

/// The base address with `path` after whatever path it has.
fn endpoint(base: &Url, path: &[&str]) -> Result<Url, ClientError> {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().map_err(|()| ClientError::Address)?.pop_if_empty().extend(path);
    Ok(url)
}

/// The body to its end, bounded by bytes read and not by what a header says.
async fn read(response: &mut Response) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(fault)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Fault::Lost("the answer is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Only a failed connection is surely unsent: DNS, TCP or the TLS handshake.
fn fault(error: reqwest::Error) -> Fault {
    let cause = root_cause(&error);
    match () {
        () if error.is_connect() || error.is_builder() => {
            Fault::NotSent(answer::one_line(&format!("no connection to CinetPay: {cause}")))
        }
        () if error.is_timeout() => Fault::Lost("CinetPay did not answer in time".to_owned()),
        () => Fault::Lost(answer::one_line(&format!("CinetPay's answer was cut: {cause}"))),
    }
}

/// The last of an error's causes: the outer ones say the same with the address in between.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
