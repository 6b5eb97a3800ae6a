//! A client of our own admin API, for the command line.

mod papers;

use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::config::{Admin, Secret};
use crate::domain::values::OrderId;

/// For a whole question and answer: `verify` waits for CinetPay.
const TIMEOUT: Duration = Duration::from_secs(60);
/// For a question that reads the whole journal.
const SCAN_TIMEOUT: Duration = Duration::from_secs(600);
/// Largest answer read, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most of an error's text that is shown, in characters.
const DETAIL_CHARS_MAX: usize = 500;

/// Talks to a running daemon.
pub struct AdminApi {
    http: Client,
    base: String,
    token: Secret,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No daemon listens there.
    #[error("{0}: le service ne répond pas — lancez auditshield serve / no answer — is the daemon running?")]
    Unreachable(String),
    /// It cannot take the order now.
    #[error("le service est occupé ({0}) — réessayez / the daemon is busy — try again")]
    Busy(String),
    /// It does not know our token.
    #[error(
        "AUDITSHIELD_ADMIN__TOKEN: refusé par le service — mettez le même des deux côtés / refused by the daemon — use the same on both sides"
    )]
    Denied,
    /// It said no.
    #[error("{status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its reason.
        detail: String,
    },
    /// What it sends cannot be kept.
    #[error("« {0} » — la copie est incomplète / the copy is incomplete")]
    Output(std::io::Error),
    /// It answered something that is not JSON, or too much of it, or broke off.
    #[error("réponse illisible du service / unreadable answer from the daemon")]
    Unreadable,
}

impl AdminApi {
    /// A client for the listener and token of `[admin]`.
    ///
    /// # Errors
    /// [`ApiError::Unreachable`] when the HTTP client cannot be built.
    pub fn new(admin: &Admin) -> Result<Self, ApiError> {
        // An already installed provider serves just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = admin.listen.origin();
        let mut http = Client::builder();
        if let Some(socket) = admin.listen.socket() {
            http = http.unix_socket(socket);
        }
        let http = http
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|_| ApiError::Unreachable(base.clone()))?;
        // The newest, where one is being rotated out. There always is one.
        let token = admin.tokens.first().cloned().unwrap_or_else(|| Secret::new(""));
        Ok(Self { http, base, token })
    }

    /// One page of orders, newest first: those that the filters, by their names in the query, let through.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn list(&self, filters: &[(&str, &str)]) -> Result<Value, ApiError> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(filters).finish();
        self.answer(self.http.get(format!("{}/api/orders?{query}", self.base))).await
    }

    /// One order with its history.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn show(&self, id: OrderId) -> Result<Value, ApiError> {
        self.answer(self.http.get(format!("{}/api/orders/{id}", self.base))).await
    }

    /// Has something done to an order: verify, resend, address, approve, reject, refund or revoke; `wish` has the members
    /// `by`, `note` and `email`, as far as they are wanted.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn act(&self, id: OrderId, verb: &str, wish: &Value) -> Result<Value, ApiError> {
        let request = self.http.post(format!("{}/api/orders/{id}/{verb}", self.base));
        self.answer(request.json(wish)).await
    }

    /// What is stored about an address (`export`), or its erasure (`erase`); `wish` has `email` and what else the verb
    /// takes.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn privacy(&self, verb: &str, wish: &Value) -> Result<Value, ApiError> {
        let request = self.http.post(format!("{}/api/privacy/{verb}", self.base)).timeout(SCAN_TIMEOUT);
        self.answer(request.json(wish)).await
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, ApiError> {
        let request = request.bearer_auth(self.token.expose()).header("accept", "application/json");
        let mut answer = request.send().await.map_err(|_| ApiError::Unreachable(self.base.clone()))?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| ApiError::Unreadable)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(ApiError::Unreadable);
            }
            bytes.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|_| ApiError::Unreadable);
        }
        Err(ApiError::told(status, &bytes))
    }
}

impl ApiError {
    /// What problem details say.
    fn told(status: StatusCode, bytes: &[u8]) -> Self {
        let problem: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
        let detail = ["detail", "title", "error"]
            .iter()
            .find_map(|key| problem[key].as_str())
            .unwrap_or_else(|| status.canonical_reason().unwrap_or_default())
            .chars()
            .filter(|c| !c.is_control())
            .take(DETAIL_CHARS_MAX)
            .collect();
        match status {
            StatusCode::UNAUTHORIZED => Self::Denied,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Self::Busy(detail),
            other => Self::Refused { status: other.as_u16(), detail },
        }
    }
}
