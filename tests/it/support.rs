//! The real daemon in front of the simulated CinetPay and a real SMTP conversation, and the verbs of those who use it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use auditshield::app::{Bound, Daemon, Listeners};
use auditshield::config::{self, Given};
use auditshield::ports::Clock;
use auditshield::simulator::mailbox::{self, Mailbox};
use auditshield::simulator::{self, Simulator};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::process_support::notice;

pub const ADMIN_TOKEN: &str = "integration-admin-token-0123456789";
pub const FILE: &[u8] = b"The kit itself, byte for byte.\n";
/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(15);

pub struct TestApp {
    pub shop: String,
    pub admin: String,
    pub cinetpay: Simulator,
    pub mailbox: Mailbox,
    pub client: Client,
    pub folder: tempfile::TempDir,
    settings: BTreeMap<String, String>,
    clock: Clock,
    stop: CancellationToken,
    running: Option<tokio::task::JoinHandle<()>>,
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

impl TestApp {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(overrides: &[(&str, &str)]) -> Self {
        Self::by(Clock::system(), overrides).await
    }

    /// By another clock than the machine's.
    pub async fn by(clock: Clock, overrides: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kit.bin"), FILE).unwrap();
        std::fs::write(folder.path().join("catalog.toml"), include_str!("../catalog.toml")).unwrap();
        let mailbox = Mailbox::start(listener().await, mailbox::Settings::default()).unwrap();
        let options = simulator::Options { mailbox: Some(mailbox.clone()), ..simulator::Options::default() };
        let (key, site, secret) = (options.api_key.clone(), options.site_id.clone(), options.secret.clone());
        let cinetpay = simulator::start(listener().await, options).await.unwrap();
        let store = folder.path().join("store");
        let mut settings: BTreeMap<String, String> = [
            ("CINETPAY_ENV", "sandbox".to_owned()),
            ("CINETPAY_API_URL", cinetpay.base_url().to_owned()),
            ("CINETPAY_API_KEY", key),
            ("CINETPAY_SITE_ID", site),
            ("CINETPAY_WEBHOOK_SECRET", secret),
            ("AUDITSHIELD_ADMIN__TOKEN", ADMIN_TOKEN.to_owned()),
            ("AUDITSHIELD_STORE__URL", format!("sled:{}", store.display())),
            ("AUDITSHIELD_CATALOG__PATH", folder.path().join("catalog.toml").display().to_string()),
            ("AUDITSHIELD_MAIL__URL", format!("smtp://{}?tls=none", mailbox.addr())),
            ("AUDITSHIELD_MAIL__FROM", "boutique@example.com".to_owned()),
            ("AUDITSHIELD_LIMITS__BUY_PER_MINUTE", "0".to_owned()),
            ("AUDITSHIELD_SECRET_KEY", "integration-secret-key-0123456789abcdef".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        for (name, value) in overrides {
            settings.insert((*name).to_owned(), (*value).to_owned());
        }
        let client =
            Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        let mut app = Self {
            shop: String::new(),
            admin: String::new(),
            cinetpay,
            mailbox,
            client,
            folder,
            settings,
            clock,
            stop: CancellationToken::new(),
            running: None,
        };
        app.launch().await;
        app
    }

    async fn launch(&mut self) {
        let (shop, office) = (listener().await, listener().await);
        let (public, admin) = (shop.local_addr().unwrap(), office.local_addr().unwrap());
        let listeners = Listeners { public: Bound::tcp(shop).unwrap(), admin: Bound::tcp(office).unwrap() };
        let mut settings = self.settings.clone();
        settings.insert("AUDITSHIELD_SERVER__LISTEN".to_owned(), public.to_string());
        settings.insert("AUDITSHIELD_SERVER__PUBLIC_URL".to_owned(), format!("http://{public}"));
        settings.insert("AUDITSHIELD_ADMIN__LISTEN".to_owned(), admin.to_string());
        let config = config::load(&Given::only(settings)).unwrap_or_else(|problems| panic!("{problems}"));
        let (clock, metrics) = (self.clock.clone(), std::sync::Arc::new(String::new));
        let daemon = Daemon::start_by(clock, config, listeners, metrics).await.unwrap();
        self.stop = CancellationToken::new();
        let stop = self.stop.clone();
        self.running = Some(tokio::spawn(async move {
            daemon.run_until(stop.cancelled_owned()).await.unwrap();
        }));
        (self.shop, self.admin) = (format!("http://{public}"), format!("http://{admin}"));
    }

    /// SIGTERM, and a new start on the same store.
    pub async fn restart(&mut self) {
        self.end().await;
        self.launch().await;
    }

    pub async fn end(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.await.unwrap();
        }
    }

    pub async fn buy_with(&self, headers: &[(&str, &str)], body: &Value) -> Response {
        let mut request = self
            .client
            .post(format!("{}/buy/audit-kit/standard/", self.shop))
            .header("accept", "application/json")
            .json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    /// Buys, and returns the order's number.
    pub async fn buy(&self) -> String {
        let answer = self.buy_with(&[], &json!({"email": "awa@example.ci"})).await;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{body}");
        assert_eq!(
            (&body["status"], &body["amount"], &body["currency"]),
            (&json!("PENDING"), &json!(15_000), &json!("XOF"))
        );
        assert!(body["payment_url"].as_str().unwrap().starts_with(self.cinetpay.base_url()));
        body["order_id"].as_str().unwrap().to_owned()
    }

    /// A notification as CinetPay sends it, signed for real.
    pub fn notice(&self, transaction: &str, message: &str) -> (String, String) {
        let (site, secret) = (&self.settings["CINETPAY_SITE_ID"], &self.settings["CINETPAY_WEBHOOK_SECRET"]);
        notice::signed(site, secret, transaction, ["0707070707", "", message])
    }

    pub async fn callback(&self, body: impl Into<reqwest::Body>, token: Option<&str>) -> StatusCode {
        let mut request = self
            .client
            .post(format!("{}/payment/callback/", self.shop))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        if let Some(token) = token {
            request = request.header("x-token", token);
        }
        request.send().await.unwrap().status()
    }

    /// Posts a genuine notification about `transaction`.
    pub async fn notify(&self, transaction: &str) -> StatusCode {
        let (body, token) = self.notice(transaction, "SUCCES");
        self.callback(body, Some(&token)).await
    }

    pub async fn api(&self, path: &str) -> Value {
        let url = format!("{}/api/{path}", self.admin);
        self.client.get(url).bearer_auth(ADMIN_TOKEN).send().await.unwrap().json().await.unwrap()
    }

    pub async fn act(&self, order: &str, action: &str) -> Response {
        let url = format!("{}/api/orders/{order}/{action}", self.admin);
        self.client.post(url).bearer_auth(ADMIN_TOKEN).json(&json!({"note": "test"})).send().await.unwrap()
    }

    pub async fn order(&self, order: &str) -> Value {
        self.api(&format!("orders/{order}")).await
    }

    /// The kinds of the order's events.
    pub async fn kinds(&self, order: &str) -> Vec<String> {
        let order = self.order(order).await;
        order["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["kind"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Waits until the order has an event of this kind.
    pub async fn until(&self, order: &str, kind: &str) -> Value {
        let begun = Instant::now();
        loop {
            let now = self.order(order).await;
            if now["events"].as_array().is_some_and(|events| events.iter().any(|event| event["kind"] == kind))
            {
                return now;
            }
            assert!(begun.elapsed() < PATIENCE, "no {kind}: {now:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn settle(&self, transaction: &str, settings: &Value) {
        self.cinetpay.patch_transaction(transaction, settings).unwrap();
    }

    /// CinetPay says nothing of its own accord: the test is the one who notifies.
    pub fn silent(&self) {
        self.cinetpay.patch(&json!({"notify": {"enabled": false}})).unwrap();
    }

    /// The link of the first mail.
    pub async fn link(&self) -> String {
        let mails = self.mailbox.wait_for(1, PATIENCE).await;
        let text = mails.first().expect("a mail").read().text.expect("a text part");
        let start = text.find(&format!("{}/download/", self.shop)).expect("a link in the mail");
        text[start..].split_whitespace().next().unwrap().to_owned()
    }
}

/// How many of `kinds` are `kind`.
pub fn times(kinds: &[String], kind: &str) -> usize {
    kinds.iter().filter(|one| *one == kind).count()
}
