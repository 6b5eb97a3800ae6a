//! Every switch of the simulator as data: global values, and partial JSON objects laid over them for one transaction.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How the simulator starts: credentials and the switches one wants on the command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Site id that calls must carry.
    #[arg(long, default_value = "445160")]
    pub site_id: String,
    /// API key that calls must carry.
    #[arg(long, default_value = "simulator-api-key")]
    pub api_key: String,
    /// Secret Key that signs notifications.
    #[arg(long, default_value = "simulator-secret-key")]
    pub secret: String,
    /// Address put in `payment_url` instead of the listener's own, for a simulator behind a tunnel.
    #[arg(long)]
    pub public_url: Option<String>,
    /// Wait before each answer of init, e.g. `200ms`.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "0s")]
    pub init_latency: Duration,
    /// Wait before each answer of check, e.g. `500ms`.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "0s")]
    pub check_latency: Duration,
    /// Magic phone numbers (…0700 paid, …0701 later paid, …0703 refused, …0704 later refused, …0706 waits for ever).
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub magic: bool,
    /// Approve every payment by itself, this long after its init.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub auto_approve: Option<Duration>,
    /// After a refusal, accept the same transaction this much later.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub late_success: Option<Duration>,
    /// Wait before each notification.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "0s")]
    pub notify_delay: Duration,
    /// How many times each notification is sent.
    #[arg(long, default_value_t = 1)]
    pub notify_copies: u32,
    /// Answer 403 to a body that is not JSON.
    #[arg(long)]
    pub strict_content_type: bool,
    /// Answer HTML error 1010 to a call without a User-Agent.
    #[arg(long)]
    pub require_user_agent: bool,
    /// Any further settings as a JSON object, e.g. `{"check_fault":{"kind":"html502","times":3}}`.
    #[arg(long, value_name = "JSON")]
    pub settings: Option<String>,
    /// The mailbox shown at /mailbox/ and listed by /control/mails.
    #[arg(skip)]
    pub mailbox: Option<super::mailbox::Mailbox>,
    /// Address the listener is reached at, when it differs from the one it is bound to.
    #[arg(skip)]
    pub local_addr: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            site_id: "445160".to_owned(),
            api_key: "simulator-api-key".to_owned(),
            secret: "simulator-secret-key".to_owned(),
            public_url: None,
            init_latency: Duration::ZERO,
            check_latency: Duration::ZERO,
            magic: true,
            auto_approve: None,
            late_success: None,
            notify_delay: Duration::ZERO,
            notify_copies: 1,
            strict_content_type: false,
            require_user_agent: false,
            settings: None,
            mailbox: None,
            local_addr: None,
        }
    }
}

impl Options {
    /// The settings the flags describe. The message names what is wrong with `--settings`.
    pub fn to_settings(&self) -> Result<Settings, String> {
        let base = Settings {
            init_latency_ms: millis(self.init_latency),
            check_latency_ms: millis(self.check_latency),
            magic: self.magic,
            auto_approve_ms: self.auto_approve.map(millis),
            late_success_ms: self.late_success.map(millis),
            strict_content_type: self.strict_content_type,
            require_user_agent: self.require_user_agent,
            notify: Notify {
                delay_ms: millis(self.notify_delay),
                copies: self.notify_copies,
                ..Notify::default()
            },
            ..Settings::default()
        };
        match &self.settings {
            None => Ok(base),
            Some(text) => {
                let patch = serde_json::from_str(text)
                    .map_err(|e| format!("--settings is not a JSON object: {e}"))?;
                base.patched(&patch)
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Every switch. `GET /control/settings` shows this object; a transaction may carry a partial one of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// 403 for a body that is not `application/json`.
    pub strict_content_type: bool,
    /// HTML error 1010 without a `User-Agent`.
    pub require_user_agent: bool,
    /// Code for a wrong `apikey`: 624 as captured, 609 as documented.
    pub bad_key_code: String,
    /// Code for a wrong `site_id`: 624, or 613.
    pub bad_site_code: String,
    /// Code for a re-used `transaction_id`; the real one is not known.
    pub reused_code: String,
    /// Smallest amount, in the currency's unit.
    pub min_amount: u64,
    /// Milliseconds before an answer of init.
    pub init_latency_ms: u64,
    /// Milliseconds before an answer of check.
    pub check_latency_ms: u64,
    /// What goes wrong with init.
    pub init_fault: Fault,
    /// What goes wrong with check.
    pub check_fault: Fault,
    /// `data.amount` of check as a JSON number.
    pub amount_as_number: bool,
    /// Another amount in check and notification of an accepted payment.
    pub accepted_amount: Option<String>,
    /// Another currency in check and notification of an accepted payment.
    pub accepted_currency: Option<String>,
    /// What check says before the payment.
    pub pending_shape: PendingShape,
    /// What check says of a transaction it does not know.
    pub unknown_shape: UnknownShape,
    /// Magic phone numbers on the payer's page.
    pub magic: bool,
    /// Milliseconds between "pending" and the outcome of magic numbers 701 and 704.
    pub magic_delay_ms: u64,
    /// Approve each payment this many milliseconds after its init.
    pub auto_approve_ms: Option<u64>,
    /// After a refusal, accept this many milliseconds later.
    pub late_success_ms: Option<u64>,
    /// How the buyer comes back.
    pub return_method: ReturnMethod,
    /// Whether the return carries `token`.
    pub return_token: bool,
    /// Milliseconds before the outcome page goes back by itself; 0: only the button does.
    pub auto_return_ms: u64,
    /// Notifications.
    pub notify: Notify,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            strict_content_type: false,
            require_user_agent: false,
            bad_key_code: "624".to_owned(),
            bad_site_code: "624".to_owned(),
            reused_code: "620".to_owned(),
            min_amount: 100,
            init_latency_ms: 0,
            check_latency_ms: 0,
            init_fault: Fault::default(),
            check_fault: Fault::default(),
            amount_as_number: false,
            accepted_amount: None,
            accepted_currency: None,
            pending_shape: PendingShape::Pending,
            unknown_shape: UnknownShape::NotFound,
            magic: true,
            magic_delay_ms: 2_000,
            auto_approve_ms: None,
            late_success_ms: None,
            return_method: ReturnMethod::Post,
            return_token: true,
            auto_return_ms: 4_000,
            notify: Notify::default(),
        }
    }
}

impl Settings {
    /// These settings with `patch` laid over them, objects merged key by key. The message names the wrong key.
    pub fn patched(&self, patch: &Map<String, Value>) -> Result<Settings, String> {
        let mut value = serde_json::to_value(self).map_err(|e| e.to_string())?;
        if let Value::Object(object) = &mut value {
            merge(object, patch);
        }
        serde_json::from_value(value).map_err(|e| e.to_string())
    }
}

/// Lays `patch` over `base`. Objects are merged, everything else replaces. Depth is bounded by serde_json's own limit.
pub(super) fn merge(base: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, new) in patch {
        match (base.get_mut(key), new) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            _ => {
                base.insert(key.clone(), new.clone());
            }
        }
    }
}

/// One fault of an endpoint: what, and for which of the calls since it was set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// What happens.
    pub kind: FaultKind,
    /// Calls that pass unharmed first ("429 after N").
    pub after: u64,
    /// Calls harmed after those; absent: all.
    pub times: Option<u64>,
    /// Whether the call takes effect although its answer is harmed (init only).
    pub takes_effect: bool,
    /// Seconds in `Retry-After` of a 429; absent: no header.
    pub retry_after_s: Option<u64>,
}

impl Default for Fault {
    fn default() -> Self {
        Fault { kind: FaultKind::None, after: 0, times: None, takes_effect: false, retry_after_s: Some(2) }
    }
}

impl Fault {
    /// Whether the call number `hit` (from 0, since the fault was set) is harmed.
    pub fn strikes(&self, hit: u64) -> bool {
        self.kind != FaultKind::None
            && hit >= self.after
            && self.times.is_none_or(|times| hit - self.after < times)
    }
}

/// What a fault does to the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// Nothing.
    None,
    /// No answer at all: the connection stays open and silent.
    Timeout,
    /// The connection is closed without an answer.
    Cut,
    /// An HTML page with status 502.
    Html502,
    /// A JSON page cut in the middle, status 200.
    Truncated,
    /// 429 TOO_MANY_REQUEST.
    Throttle,
    /// 500 with a JSON body that has no `data`.
    Error500,
}

/// What check says while nobody paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PendingShape {
    /// 662 with status PENDING.
    Pending,
    /// 623 with status WAITING_FOR_CUSTOMER.
    WaitingForCustomer,
    /// 662 as in 2021: `data` without amount, currency and status.
    Year2021,
}

/// What check says of an unknown transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnknownShape {
    /// HTTP 404 without `data`.
    #[serde(rename = "404")]
    NotFound,
    /// HTTP 200, code 601, no `data`.
    #[serde(rename = "601")]
    Code601,
    /// HTTP 200, code 627, no `data`.
    #[serde(rename = "627")]
    Code627,
    /// HTTP 400, code 624, no `data`.
    #[serde(rename = "624")]
    Code624,
}

/// How the page goes back to the merchant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReturnMethod {
    /// Cross-site form POST, as the real page does.
    Post,
    /// Query parameters.
    Get,
}

/// Switches of the notifications.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notify {
    /// Whether notifications are sent at all.
    pub enabled: bool,
    /// GET before each POST.
    pub ping: bool,
    /// Milliseconds to wait first.
    pub delay_ms: u64,
    /// How many times each is sent.
    pub copies: u32,
    /// Each odd notification (1st, 3rd, …) of a transaction waits this much longer, so the next one overtakes it.
    pub reorder_ms: u64,
    /// The first so many notifications of a transaction are lost.
    pub drop_first: u64,
    /// Notify also when the payment goes to "pending", as push operators do.
    pub while_pending: bool,
    /// What `x-token` holds.
    pub token: TokenShape,
    /// Leave `cpm_custom` and `cpm_error_message` out, as one capture does.
    pub short_form: bool,
    /// Tries after the first when the answer is not 2xx.
    pub retries: u32,
    /// Milliseconds between tries.
    pub retry_delay_ms: u64,
    /// Milliseconds to wait for an answer.
    pub timeout_ms: u64,
}

impl Default for Notify {
    fn default() -> Self {
        Notify {
            enabled: true,
            ping: true,
            delay_ms: 0,
            copies: 1,
            reorder_ms: 0,
            drop_first: 0,
            while_pending: false,
            token: TokenShape::Good,
            short_form: false,
            retries: 3,
            retry_delay_ms: 1_000,
            timeout_ms: 10_000,
        }
    }
}

/// What `x-token` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenShape {
    /// The right HMAC.
    Good,
    /// An HMAC made with another secret.
    Wrong,
    /// No header.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn flags_and_defaults_agree() {
        let parse =
            |line: &str| <Command as clap::Parser>::try_parse_from(line.split(' ')).map(|c| c.options);
        let plain = parse("x").expect("flags that parse");
        assert_eq!(format!("{plain:?}"), format!("{:?}", Options::default()));
        assert_eq!(plain.to_settings(), Ok(Settings::default()));
        let set = parse("x --check-latency 500ms --magic false --settings {\"min_amount\":5}")
            .expect("flags that parse");
        let set = set.to_settings().expect("flags that parse");
        assert_eq!((set.check_latency_ms, set.magic, set.min_amount), (500, false, 5));
        assert!(parse("x --settings nonsense").expect("flags that parse").to_settings().is_err());
    }
}
