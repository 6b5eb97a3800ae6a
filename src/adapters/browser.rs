//! A buyer's browser for the demonstration: follows nothing by itself, bounded, times out.

use std::time::Duration;

use url::Url;

/// How long one request may take, in seconds.
const REQUEST_SECONDS_MAX: u64 = 30;

/// A browser that shows every redirect.
pub struct Browser(reqwest::Client);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Where a redirect leads, made absolute.
    pub location: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Browser {
    /// A browser.
    pub fn new() -> Result<Self, String> {
        // Another part of the program may have installed it: the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(REQUEST_SECONDS_MAX))
            .user_agent(concat!("auditshield-demo/", env!("CARGO_PKG_VERSION")))
            .build();
        client.map(Self).map_err(|why| why.to_string())
    }

    /// GET.
    pub async fn get(&self, url: &str) -> Result<Answer, String> {
        Self::read(url, self.0.get(url).header("accept", "text/html").send().await).await
    }

    /// POST of a form.
    pub async fn post(&self, url: &str, fields: &[(&str, &str)]) -> Result<Answer, String> {
        Self::read(url, self.0.post(url).header("accept", "text/html").form(fields).send().await).await
    }

    async fn read(url: &str, answer: reqwest::Result<reqwest::Response>) -> Result<Answer, String> {
        let answer = answer.map_err(|why| why.to_string())?;
        let status = answer.status().as_u16();
        let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
        let location = location.and_then(|to| Url::parse(url).ok()?.join(to).ok()).map(String::from);
        let body = answer.bytes().await.map_err(|why| why.to_string())?.to_vec();
        Ok(Answer { status, location, body })
    }
}
