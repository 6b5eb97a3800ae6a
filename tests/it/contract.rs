//! The outside contract, line by line, over HTTP against the real daemon: other programs are written against it.

mod admin;
mod buyer;
mod callback;
mod download;
mod order_page;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::support::TestApp;

pub(crate) const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
pub(crate) const JSON: (&str, &str) = ("accept", "application/json");
pub(crate) const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
pub(crate) const BUY: &str = "/buy/audit-kit/standard/";

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
    /// The answer is problem details with this status code (RFC 9457).
    pub(crate) fn is_problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let details = self.json();
        assert_eq!(details["status"], status);
        for key in ["type", "title", "detail"] {
            assert!(details[key].as_str().is_some_and(|text| !text.is_empty()), "{key} in {details}");
        }
        details
    }
    /// The answer is a whole page with this status code and its security headers.
    pub(crate) fn is_page(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), "text/html; charset=utf-8");
        let policy = self.header("content-security-policy");
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action"] {
            assert!(policy.contains(part), "{part} in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(self.header("x-content-type-options"), "nosniff");
        assert_eq!(self.header("x-frame-options"), "DENY");
        assert_eq!(self.header("cache-control"), "no-store");
        assert!(["no-referrer", "same-origin"].contains(&self.header("referrer-policy")));
        assert!(!self.body.contains("<script>") && !self.body.contains(" style="), "nothing inline");
        assert!(self.body.starts_with("<!doctype html>") && self.body.contains("</html>"));
        &self.body
    }
}

/// Asks, and reads the whole answer.
pub(crate) async fn ask(
    app: &TestApp,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = app.client.request(method, url).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer { status, headers, body: answer.text().await.unwrap() }
}

/// Asks the public listener.
pub(crate) async fn shop(
    app: &TestApp,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Answer {
    ask(app, method, &format!("{}{path}", app.shop), headers, body).await
}

/// Asks the admin listener.
pub(crate) async fn office(
    app: &TestApp,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Answer {
    ask(app, method, &format!("{}{path}", app.admin), headers, body).await
}

/// The names of an object's members, in alphabetical order.
pub(crate) fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_with_and_without_its_trailing_slash() {
    let app = TestApp::start().await;
    let order = app.buy().await;
    let status = format!("/payment/status/{order}");
    for path in
        ["/buy/audit-kit/standard", "/payment/return", "/payment/callback", &status, "/healthz", "/readyz"]
    {
        for slash in ["", "/"] {
            for method in ["GET", "HEAD"] {
                let answer = shop(&app, method, &format!("{path}{slash}"), &[], "").await;
                assert_eq!(answer.status, 200, "{method} {path}{slash}");
                assert_eq!(answer.body.is_empty(), method == "HEAD", "{method} {path}{slash}");
            }
        }
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        for slash in ["", "/"] {
            assert_eq!(
                office(&app, "GET", &format!("{path}{slash}"), &[], "").await.status,
                200,
                "{path}{slash}"
            );
        }
    }
    let bought = shop(&app, "POST", "/buy/audit-kit/standard", &[JSON, FORM], "email=awa%40example.ci").await;
    assert_eq!(bought.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_addresses_and_wrong_methods_are_said_as_asked() {
    let app = TestApp::start().await;
    shop(&app, "GET", "/nothing/here", &[JSON], "").await.is_problem(404);
    shop(&app, "GET", "/nothing/here", &[HTML], "").await.is_page(404);
    for (method, path) in
        [("PUT", BUY), ("DELETE", "/payment/callback/"), ("POST", "/healthz"), ("PATCH", "/")]
    {
        let answer = shop(&app, method, path, &[JSON], "").await;
        answer.is_problem(405);
        assert!(answer.header("allow").contains("GET"), "{method} {path}");
    }
    // What belongs to the admin listener is not on the public one.
    for path in ["/metrics", "/api/orders", "/admin/"] {
        assert_eq!(shop(&app, "GET", path, &[], "").await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listeners_say_that_they_live_and_are_ready() {
    let app = TestApp::start().await;
    for base in [&app.shop, &app.admin] {
        let healthy = ask(&app, "GET", &format!("{base}/healthz"), &[], "").await;
        assert_eq!((healthy.status, healthy.json()), (200, json!({"status": "ok"})));
        let ready = ask(&app, "GET", &format!("{base}/readyz"), &[], "").await;
        assert_eq!((ready.status, ready.json()), (200, json!({"status": "ready"})));
    }
}
