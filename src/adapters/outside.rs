//! The web as a stranger sees it: plain requests that follow nothing and believe nothing. For `doctor`.

use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, DATE};
use url::Url;

use crate::config::Listen;

/// For one request and its answer, in seconds.
const ANSWER_SECONDS_MAX: u64 = 15;
/// What is read of an answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Asks.
pub struct Outside(reqwest::Client);

/// What came back.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The status code.
    pub status: u16,
    /// The `Date` header.
    pub date: Option<SystemTime>,
    /// The body's beginning.
    pub body: Vec<u8>,
}

impl Outside {
    /// `authorities`: PEM certificates believed beside the system's.
    ///
    /// # Errors
    /// No TLS on this machine, or certificates that cannot be read.
    pub fn new(authorities: Option<&[u8]>) -> Result<Self, String> {
        // Another part of the program may have installed it: the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let own = reqwest::Certificate::from_pem_bundle(authorities.unwrap_or_default());
        let client = reqwest::Client::builder()
            .tls_certs_merge(own.map_err(|why| why.to_string())?)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(ANSWER_SECONDS_MAX))
            .user_agent(concat!("auditshield-doctor/", env!("CARGO_PKG_VERSION")))
            .build();
        client.map(Self).map_err(|why| why.to_string())
    }

    /// Asks a daemon on this machine, whatever the address says.
    ///
    /// # Errors
    /// No TLS on this machine: the client is the same.
    pub fn inside(listen: &Listen) -> Result<Self, String> {
        let Some(socket) = listen.socket() else { return Self::new(None) };
        // Another part of the program may have installed it: the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .unix_socket(socket)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(ANSWER_SECONDS_MAX))
            .build();
        client.map(Self).map_err(|why| why.to_string())
    }

    /// GET, with this bearer token if there is one.
    ///
    /// # Errors
    /// No answer; why, in a few words, without the address.
    pub async fn get(&self, url: &str, token: Option<&str>) -> Result<Seen, String> {
        let mut request = self.0.get(url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        read(request).await
    }

    /// POST of a form with its `x-token`.
    ///
    /// # Errors
    /// As [`Outside::get`].
    pub async fn notify(&self, url: &Url, form: String, token: &str) -> Result<Seen, String> {
        let form_type = "application/x-www-form-urlencoded";
        read(self.0.post(url.clone()).header(CONTENT_TYPE, form_type).header("x-token", token).body(form))
            .await
    }

    /// POST of JSON.
    ///
    /// # Errors
    /// As [`Outside::get`].
    pub async fn post(&self, url: &Url, body: &serde_json::Value) -> Result<Seen, String> {
        read(self.0.post(url.clone()).json(body)).await
    }
}

async fn read(request: reqwest::RequestBuilder) -> Result<Seen, String> {
    let fault = |error: reqwest::Error| {
        let error = error.without_url();
        // The innermost cause says what happened: "connection refused", "certificate expired".
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        cause.to_string()
    };
    let mut answer = request.send().await.map_err(fault)?;
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(fault)? {
        let room = ANSWER_BYTES_MAX - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if body.len() >= ANSWER_BYTES_MAX {
            break;
        }
    }
    Ok(Seen { status, date, body })
}
