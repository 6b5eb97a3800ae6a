//! Exports, comparisons, letters and proofs, over the admin listener.

use std::io::Write;
use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::Value;

use super::{ANSWER_BYTES_MAX, AdminApi, ApiError};
use crate::domain::values::OrderId;

/// For a whole export: a million orders over a slow line.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3600);

impl AdminApi {
    /// Writes the orders of a period to `out` as they come. `query` holds `from`, `to`, `by` and `lang`.
    ///
    /// # Errors
    /// See [`ApiError`]; what was written then is a part only.
    pub async fn export(
        &self,
        ending: &str,
        query: &[(&str, &str)],
        out: &mut dyn Write,
    ) -> Result<(), ApiError> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let request = self.http.get(format!("{}/admin/exports/orders.{ending}?{query}", self.base));
        self.copy(request.timeout(EXPORT_TIMEOUT), out).await
    }

    /// Compares CinetPay's export with the orders.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn settle(&self, file: Vec<u8>, query: &[(&str, &str)]) -> Result<Value, ApiError> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let request = self.http.post(format!("{}/admin/settlement/?{query}", self.base));
        self.answer(request.header("content-type", "text/csv").timeout(EXPORT_TIMEOUT).body(file)).await
    }

    /// The letter to CinetPay's support: `{to, subject, body}`.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn dossier(&self, id: OrderId) -> Result<Value, ApiError> {
        self.answer(self.http.get(format!("{}/admin/orders/{id}/dossier/", self.base))).await
    }

    /// Writes an order's signed proof to `out`, byte for byte: `json`, or `pdf` in this language with the file attached.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn proof(
        &self,
        id: OrderId,
        ending: &str,
        lang: &str,
        out: &mut dyn Write,
    ) -> Result<(), ApiError> {
        let address = format!("{}/admin/orders/{id}/proof.{ending}?lang={lang}", self.base);
        self.copy(self.http.get(address), out).await
    }

    /// Writes the public keys of proofs to `out`, PEM, the one in use first.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn proof_keys(&self, out: &mut dyn Write) -> Result<(), ApiError> {
        self.copy(self.http.get(format!("{}/admin/proof-key.pem", self.base)), out).await
    }

    async fn copy(&self, request: RequestBuilder, out: &mut dyn Write) -> Result<(), ApiError> {
        let request = request.bearer_auth(self.token.expose()).header("accept", "application/json");
        let mut answer = request.send().await.map_err(|_| ApiError::Unreachable(self.base.clone()))?;
        let status = answer.status();
        let mut told = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| ApiError::Unreadable)? {
            if status.is_success() {
                out.write_all(&chunk).map_err(ApiError::Output)?;
            } else if told.len() + chunk.len() <= ANSWER_BYTES_MAX {
                told.extend_from_slice(&chunk);
            }
        }
        if status.is_success() {
            out.flush().map_err(ApiError::Output)
        } else {
            Err(ApiError::told(status, &told))
        }
    }
}
