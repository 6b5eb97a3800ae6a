//! The configuration: defaults ← file ← credentials and secret files ← environment ← `--env-file`, parsed once into
//! typed sections. Every problem is found and said before any socket opens.
//!
//! Why no configuration crate: each value has to keep its variable's name and the file it came from until the last
//! check, because the message to the merchant names both; and a secret's text must not reach an error message.

mod authority;
mod catalog;
mod listen;
mod mail;
mod merchant;
mod problem;
mod reader;
mod rules;
mod secret;
mod sections;
mod sources;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::domain::calendar::Zone;
use crate::domain::catalog::Catalog;
use crate::domain::merchant::Merchant;
use crate::domain::schedule::Policy;

pub use authority::Authorities;
pub use listen::Listen;
pub use mail::{Mail, Route, SmtpServer, Tls};
pub use problem::{Problem, Problems};
pub use rules::is_local;
pub use secret::Secret;
pub use sections::read_store;
pub use sources::{DEFAULTS, FILE_DEFAULT, Given, keys, name_of};

/// Everything the daemon is told, checked. It has no `Debug`: it holds secrets.
pub struct Config {
    /// The public listener.
    pub server: Server,
    /// The admin listener.
    pub admin: Admin,
    /// CinetPay.
    pub cinetpay: Cinetpay,
    /// Where the journal lives.
    pub store: Store,
    /// Free bytes on the store's disk below which no orders are taken; 0 = no limit.
    pub free_bytes_min: u64,
    /// Where notifications wait that came while the daemon was down.
    pub spool: Option<PathBuf>,
    /// What is for sale.
    pub catalog: CatalogFile,
    /// The mail server.
    pub mail: Mail,
    /// The links.
    pub download: Download,
    /// The polling.
    pub verify: Verify,
    /// The couriers.
    pub deliver: Deliver,
    /// The order actors.
    pub actors: Actors,
    /// Who sells.
    pub merchant: Merchant,
    /// The merchant's clock, in exports and letters.
    pub zone: Zone,
    /// The rates per client.
    pub limits: Limits,
    /// One or two; the first signs links, both are believed.
    pub secret_keys: Vec<Secret>,
    /// The log.
    pub log: Log,
    /// Not wrong, but worth a line in the log at start.
    pub warnings: Vec<Problem>,
    /// What every key was set to, as a hash: two configurations are compared by it without keeping the secrets' texts.
    prints: BTreeMap<String, u64>,
}

/// `[server]`
pub struct Server {
    /// Where to listen.
    pub listen: Listen,
    /// How the world reaches it; its path ends with `/`.
    pub public_url: Url,
    /// Origins whose scripts may post to `/buy/`, as browsers spell them.
    pub allowed_origins: Vec<String>,
    /// Proxies whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections at once.
    pub connections_max: usize,
    /// Threads of the process, the ledger's included.
    pub threads_max: usize,
}

/// `[admin]`
pub struct Admin {
    /// Where to listen.
    pub listen: Listen,
    /// The bearer token; of two, our own tools use the first, and both open.
    pub tokens: Vec<Secret>,
}

/// Which CinetPay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// The simulator, or an account for trials.
    Sandbox,
    /// Real money.
    Production,
}

/// `[cinetpay]`
pub struct Cinetpay {
    /// Sandbox or production.
    pub env: Environment,
    /// The API's base address.
    pub api_url: Url,
    /// Believed beside the system's authorities.
    pub authorities: Option<Authorities>,
    /// `apikey`
    pub api_key: Secret,
    /// `site_id`, digits; compared with each notification's `cpm_site_id`.
    pub site_id: String,
    /// Where buyers come back to.
    pub return_url: Url,
    /// Where notifications go.
    pub notify_url: Url,
    /// One or two; either verifies a notification.
    pub webhook_secrets: Vec<Secret>,
    /// What the payment page offers.
    pub channels: Channels,
    /// To connect.
    pub connect_timeout: Duration,
    /// For a whole question and answer.
    pub timeout: Duration,
    /// Questions per second.
    pub per_second: u32,
    /// Questions open at once.
    pub concurrency: usize,
}

/// What the payment page offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// Everything.
    All,
    /// Mobile money.
    MobileMoney,
    /// Cards.
    CreditCard,
    /// Wallets.
    Wallet,
}

impl Channels {
    /// CinetPay's word.
    pub const fn code(self) -> &'static str {
        match self {
            Self::All => "ALL",
            Self::MobileMoney => "MOBILE_MONEY",
            Self::CreditCard => "CREDIT_CARD",
            Self::Wallet => "WALLET",
        }
    }
}

/// `[store]`
#[derive(Clone, PartialEq, Eq)]
pub enum Store {
    /// The embedded ledger in this folder.
    Sled(PathBuf),
    /// A PostgreSQL database that several daemons may share. Only in a build with the feature `postgres`.
    Postgres(Secret),
}

/// As it may be shown: an address of a database may hold a password.
impl std::fmt::Display for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sled(folder) => write!(f, "sled:{}", folder.display()),
            Self::Postgres(_) => f.write_str("postgres"),
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// `[catalog]`
pub struct CatalogFile {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub catalog: Catalog,
}

/// `[download]`
pub struct Download {
    /// How long a link lives.
    pub ttl: Duration,
    /// How many downloads it allows.
    pub max_downloads: u32,
    /// How long a started download may be resumed.
    pub grant_ttl: Duration,
    /// How long before its end an unused link is reminded of; none = never.
    pub remind_before: Option<Duration>,
    /// Who sends the file's bytes.
    pub sendfile: Sendfile,
}

/// Who sends a file's bytes once the daemon has allowed it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sendfile {
    /// The daemon.
    #[default]
    Daemon,
    /// nginx, told by `X-Accel-Redirect`.
    AccelRedirect,
    /// Apache with mod_xsendfile, told by `X-Sendfile`.
    Sendfile,
}

/// `[verify]`
pub struct Verify {
    /// From the opened page to the first look.
    pub first_poll: Duration,
    /// From the order to giving up.
    pub horizon: Duration,
    /// Orders asked about at once.
    pub concurrency: usize,
}

/// `[deliver]`
pub struct Deliver {
    /// Mails under way at once.
    pub concurrency: usize,
}

/// `[actors]`
pub struct Actors {
    /// Orders active at once.
    pub seats: usize,
}

/// `[limits]`, per client address and minute; 0 = unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `POST /buy/`
    pub buy_per_minute: u32,
    /// `GET /payment/status/`
    pub status_per_minute: u32,
    /// Everything under `/download/`.
    pub download_per_minute: u32,
    /// Mails that a buyer asks for: purchases found again, a link sent again, an address corrected.
    pub recover_per_minute: u32,
    /// Admin logins.
    pub login_per_minute: u32,
    /// Notifications with a bad signature.
    pub bad_signature_per_minute: u32,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A level, or a filter of `tracing-subscriber`.
    pub level: String,
    /// Text or JSON.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Sections and keys that a running daemon takes over on SIGHUP. Everything else needs a restart.
const RELOADED: [&str; 4] = ["catalog.", "limits.", "log.level", "mail."];
/// Kept until a restart all the same: errands were given their time by it.
const NOT_RELOADED: &str = "mail.timeout";

impl Config {
    /// The variables that differ in `next` and that a running daemon cannot take over.
    pub fn needs_restart(&self, next: &Config) -> Vec<String> {
        let keys = self.prints.keys().chain(next.prints.keys()).collect::<BTreeSet<_>>();
        let reloaded = |key: &str| key != NOT_RELOADED && RELOADED.iter().any(|start| key.starts_with(start));
        let differs = |key: &&&String| self.prints.get(**key) != next.prints.get(**key);
        keys.iter().filter(differs).filter(|key| !reloaded(key)).map(|key| name_of(key)).collect()
    }
    /// What the domain wants to know.
    pub fn policy(&self) -> Policy {
        Policy {
            first_poll: self.verify.first_poll,
            horizon: self.verify.horizon,
            link_ttl: self.download.ttl,
            max_downloads: self.download.max_downloads,
            remind_before: self.download.remind_before,
        }
    }
}

/// Reads and checks everything, the catalogue and its files included.
///
/// # Errors
/// Every problem at once.
pub fn load(given: &Given) -> Result<Config, Problems> {
    let mut problems = Vec::new();
    let values = sources::gather(given, &mut problems);
    let reader = reader::Reader::new(&values, problems);
    let config = sections::config(&reader);
    let problems = reader.finish();
    match config {
        Some(mut config) if problems.is_empty() => {
            config.prints = values.prints();
            config.warnings = values.warnings;
            Ok(config)
        }
        Some(_) | None => Err(Problems(problems)),
    }
}

/// Reads `[admin]` only: for commands that talk to a running daemon.
///
/// # Errors
/// Every problem of that section, and of the files.
pub fn load_admin(given: &Given) -> Result<Admin, Problems> {
    load_part(given, sections::admin)
}

/// Reads `[store]` only: for commands that work on the ledger itself.
///
/// # Errors
/// Every problem of that section, and of the files.
pub fn load_store(given: &Given) -> Result<Store, Problems> {
    load_part(given, sections::store)
}

fn load_part<T>(given: &Given, part: fn(&reader::Reader<'_>) -> Option<T>) -> Result<T, Problems> {
    let mut problems = Vec::new();
    let values = sources::gather(given, &mut problems);
    let reader = reader::Reader::new(&values, problems);
    let part = part(&reader);
    let problems = reader.finish();
    part.filter(|_| problems.is_empty()).ok_or(Problems(problems))
}
