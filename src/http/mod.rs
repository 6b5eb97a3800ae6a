//! The two faces to the world: the public listener and the admin listener. The only folder, with simulator/, that
//! names warp.
//!
//! A request becomes a `call::Call`, one `match` on its path finds its route, and whatever goes wrong becomes a
//! `answer::Problem`: the one table from refusal to status code and body.

mod admin;
mod answer;
mod asked;
mod assets;
mod buy;
mod call;
mod callback;
mod claims;
mod cors;
mod download;
mod file;
mod hand_over;
mod language;
mod markdown;
mod meter;
mod multipart;
mod ops;
mod order;
mod pages;
mod payment_return;
pub mod range;
mod recover;
mod refusals;
mod room;
pub mod serve;
mod shop;
mod status;
#[cfg(test)]
mod tests;
mod trail;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use subtle::{Choice, ConstantTimeEq};
use tokio::time::Instant;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::HeaderMap;
use warp::http::header::CACHE_CONTROL;
use warp::reply::Response;

use crate::actors::Orders;
use crate::config::Sendfile;
use crate::domain::calendar::Zone;
use crate::domain::catalog::Catalog;
use crate::domain::merchant::Merchant;
use crate::domain::payment::Payment;
use crate::domain::schedule::Policy;
use crate::domain::values::{OrderId, Timestamp, TransactionId};
use crate::ledger::Ledger;
use crate::ports::{Clock, Current};
use answer::Problem;
use call::Call;
pub use callback::{Ingested, ingest};
pub use ops::Readiness;
pub use serve::{Listener, Peer};

/// A rate limit: `Err` holds the seconds until the client may try again.
pub type Gate = Arc<dyn Fn(IpAddr) -> Result<(), u64> + Send + Sync>;
/// Verifies and reads a notification: raw body and `x-token`.
pub type ReadNotice = Arc<dyn Fn(&[u8], Option<&[u8]>) -> Result<Heard, Unheard> + Send + Sync>;
/// Reads a signed address: the order and its link's number.
pub type ReadToken = Arc<dyn Fn(&str) -> Result<(OrderId, u32), BadToken> + Send + Sync>;
/// Signs the address of a download: the order, its link's number, which of the link's downloads.
pub type SignGrant = Arc<dyn Fn(OrderId, u32, u32) -> String + Send + Sync>;

/// Signs the cookie of the browser that bought.
pub type SignBrowser = Arc<dyn Fn(OrderId) -> String + Send + Sync>;
/// Signs a proof of sale: 128 hex digits.
pub type SignProof = Arc<dyn Fn(&[u8]) -> String + Send + Sync>;
/// A keyed hash, in hex.
pub type KeyedHash = Arc<dyn Fn(&[u8]) -> String + Send + Sync>;
/// Finds the client's address: the connection's peer, or what a trusted proxy says of it.
pub type FindClient = Arc<dyn Fn(&HeaderMap, Peer) -> IpAddr + Send + Sync>;

/// Everything the routes need. Why closures: the adapters know the cryptography and the limits, and nothing here
/// may name them.
pub struct Deps {
    /// The orders.
    pub orders: Orders,
    /// The ledger, to read.
    pub ledger: Ledger,
    /// What is for sale.
    pub catalog: Current<Catalog>,
    /// The time of day.
    pub clock: Clock,
    /// The merchant's site id at CinetPay.
    pub site_id: String,
    /// Signatures, tokens, hashes.
    pub seals: Seals,
    /// Rate limits by client address.
    pub gates: Gates,
    /// What the operator chose.
    pub settings: Settings,
    /// Opens the admin listener.
    pub admin_token: AdminToken,
    /// Whether the daemon is stopping.
    pub readiness: Arc<Readiness>,
    /// Renders the metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// What the keys can do, without the keys.
pub struct Seals {
    /// Verifies and reads a notification: raw body and `x-token`.
    pub notice: ReadNotice,
    /// Reads a mailed link's token.
    pub token: ReadToken,
    /// Signs the address of a started download.
    pub grant: SignGrant,
    /// Reads it again, while it may be resumed. It outlives the link's expiry on purpose.
    pub granted: ReadToken,
    /// Reads the token of an order's page in a mail.
    pub order: ReadToken,
    /// Reads the cookie of the browser that bought.
    pub browser: ReadToken,
    /// Signs it.
    pub sign_browser: SignBrowser,
    /// A keyed hash (HMAC-SHA256 with a key of its own, in hex): idempotency keys and sessions.
    pub hash: KeyedHash,
    /// The same under the signing keys that are being rotated out: what was hashed before is still recognised.
    pub former_hashes: Vec<KeyedHash>,
    /// Proofs of sale.
    pub proof: ProofSeal,
}

/// What signs and verifies proofs of sale.
pub struct ProofSeal {
    /// Signs with the key in use.
    pub sign: SignProof,
    /// The public keys: the one in use first, then the one being rotated out.
    pub public: Vec<ProofKey>,
}

/// A public key (Ed25519).
#[derive(Debug, Clone)]
pub struct ProofKey {
    /// DER in base64.
    pub der: String,
    /// PEM.
    pub pem: String,
    /// What people compare.
    pub fingerprint: String,
}

/// A notification with a valid signature.
#[derive(Debug, Clone)]
pub struct Heard {
    /// `cpm_site_id`, as sent.
    pub site_id: String,
    /// `cpm_trans_id`, if it is one of our numbers.
    pub transaction: Option<TransactionId>,
    /// The verified signature.
    pub digest: [u8; 32],
    /// The number of a trial by `auditshield doctor`, if it is one.
    pub trial: Option<String>,
}

/// Why a notification is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unheard {
    /// No signature.
    Missing,
    /// A wrong one.
    Signature,
    /// Not a readable form.
    Form,
}

/// Why a token opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadToken {
    /// Not from us, or not whole.
    Forged,
    /// Ours, but its time is over.
    Expired,
}

/// Rate limits by client.
pub struct Gates {
    /// Who the client is: the connection's peer, or what a trusted proxy says of it.
    pub client: FindClient,
    /// Whether a connection comes from a trusted proxy.
    pub proxied: Arc<dyn Fn(Peer) -> bool + Send + Sync>,
    /// Purchases.
    pub buy: Gate,
    /// Notifications without a valid signature. Valid ones are never limited.
    pub unsigned: Gate,
    /// Looks at an order's standing.
    pub status: Gate,
    /// Everything about a download but its file, and an order's page.
    pub download: Gate,
    /// Mails that a buyer asks for.
    pub recover: Gate,
    /// Tries to log in.
    pub login: Gate,
}

/// What the operator chose.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Origins whose scripts may buy with `fetch()`, such as `https://shop.example`.
    pub allowed_origins: Vec<String>,
    /// Free bytes on the store's disk below which no orders are taken; 0 = no limit.
    pub free_bytes_min: u64,
    /// Who sells.
    pub merchant: Arc<Merchant>,
    /// The merchant's clock.
    pub zone: Zone,
    /// Whether the world reaches us over https: then cookies never travel without it.
    pub secure: bool,
    /// Who sends a file's bytes.
    pub sendfile: Sendfile,
    /// The folder `files` beside the catalogue: a proxy sends nothing from outside it.
    pub files_root: PathBuf,
    /// Times and counts: whether a refused order may be tried again.
    pub policy: Policy,
}

/// The admin token, or two while one is rotated out. It cannot be printed.
#[derive(Clone)]
pub struct AdminToken(Vec<String>);

impl AdminToken {
    /// From the configuration.
    pub fn new(texts: impl IntoIterator<Item = String>) -> Self {
        Self(texts.into_iter().filter(|text| !text.is_empty()).collect())
    }
    /// Compares with each in constant time; an empty token opens nothing.
    pub(crate) fn is(&self, given: &str) -> bool {
        let right = |text: &String| text.as_bytes().ct_eq(given.as_bytes());
        self.0.iter().map(right).fold(Choice::from(0), |any, one| any | one).into()
    }
}

/// The public listener's state.
pub(crate) struct Site {
    pub(crate) deps: Arc<Deps>,
    pub(crate) claims: claims::Claims,
    pub(crate) streams: Arc<tokio::sync::Semaphore>,
    /// What it answers.
    pub(crate) meter: meter::Meter,
}

impl Deps {
    /// An order's committed state.
    pub(crate) fn load(&self, id: OrderId) -> Result<Option<Payment>, Problem> {
        self.ledger.load(id).map_err(|error| {
            tracing::error!(order = %id, %error, "the order could not be read");
            Problem::unavailable()
        })
    }
    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
    /// Lets a client through, or says when to come back.
    pub(crate) fn pass(&self, gate: &Gate, call: &Call) -> Result<(), Problem> {
        let Some(peer) = call.peer else { return Ok(()) };
        let client = (self.gates.client)(&call.headers, peer);
        gate(client).map_err(|seconds| Problem::too_many(u32::try_from(seconds).unwrap_or(u32::MAX)))
    }
}

/// The public listener's routes.
pub fn public_routes(deps: &Arc<Deps>) -> BoxedFilter<(Response,)> {
    let site = Arc::new(Site {
        deps: Arc::clone(deps),
        claims: claims::Claims::default(),
        streams: Arc::new(tokio::sync::Semaphore::new(status::STREAMS_MAX)),
        meter: meter::Meter::of("public"),
    });
    call::calls()
        .then(move |mut call: Call| {
            let site = Arc::clone(&site);
            call.merchant = Arc::clone(&site.deps.settings.merchant);
            // Boxed: one route's future must not make every connection as large as the largest of them.
            Box::pin(trail::follow("public", call, async move |call| {
                let since = Instant::now();
                let chosen = language::chosen(&call);
                let mut answer = public(&site, call).await;
                language::remember(&site.deps, chosen, &mut answer);
                site.meter.answered(since, &answer);
                answer
            }))
        })
        .boxed()
}

async fn public(site: &Arc<Site>, call: Call) -> Response {
    let post = call.method == warp::http::Method::POST;
    match call.route().as_slice() {
        [] if call.looks() => shop::get(site, &call),
        ["buy", _, _] => buy::route(site, call).await,
        ["payment", "return"] if post || call.looks() => payment_return::show(site, call).await,
        ["payment", "callback"] if call.looks() => answer::text(warp::http::StatusCode::OK, "OK"),
        ["payment", "callback"] if post => callback::hear(site, call).await,
        ["payment", "status", _] if call.looks() => status::get(site, &call),
        ["payment", "status", _] if call.method == warp::http::Method::OPTIONS => {
            cors::preflight(&site.deps, &call)
        }
        ["download", "file", _] if call.looks() => file::get(site, &call).await,
        ["download", _] if call.looks() => download::landing(site, &call),
        ["download", _] if post => download::start(site, &call).await,
        ["commande", "lien", _] if call.looks() => order::enter(site, &call),
        ["commande", _] if call.looks() => order::show(site, &call),
        ["commande", _, "recu"] if call.looks() => order::receipt::page(site, &call),
        ["commande", _, "recu.pdf"] if call.looks() => order::receipt::pdf(site, &call),
        ["commande", _, "payer" | "telecharger" | "renvoyer" | "adresse"] if post => {
            order::acts::act(site, call).await
        }
        ["achats"] if call.looks() => recover::form(&call),
        ["achats"] if post => recover::ask(site, call).await,
        ["pictures", slug] if call.looks() => shop::picture(site, &call, slug),
        ["assets", name] if call.looks() => assets::get(&call, name),
        ["healthz"] if call.looks() => ops::healthy(),
        ["readyz"] if call.looks() => ops::ready(&site.deps).await,
        ["robots.txt"] if call.looks() => robots(),
        ["payment", "status", _] => Problem::method("GET, HEAD, OPTIONS").answer(&call),
        ["commande", _, "payer" | "telecharger" | "renvoyer" | "adresse"] => {
            Problem::method("POST").answer(&call)
        }
        ["commande", _]
        | ["commande", _, "recu" | "recu.pdf"]
        | ["commande", "lien", _]
        | ["pictures", _] => Problem::method("GET, HEAD").answer(&call),
        [] | ["assets", _] | ["healthz" | "readyz" | "robots.txt"] => {
            Problem::method("GET, HEAD").answer(&call)
        }
        ["download", "file", _] => Problem::method("GET, HEAD").answer(&call),
        ["payment", "return" | "callback"] | ["download", _] | ["achats"] => {
            Problem::method("GET, HEAD, POST").answer(&call)
        }
        _ => Problem::not_found().answer(&call),
    }
}

/// Search engines have nothing to look for in links and orders.
fn robots() -> Response {
    let mut answer = answer::text(
        warp::http::StatusCode::OK,
        "User-agent: *\nDisallow: /download/\nDisallow: /payment/\nDisallow: /commande/\nDisallow: /achats/\n",
    );
    answer::set(&mut answer, CACHE_CONTROL, "public, max-age=86400");
    answer
}

/// The admin listener's routes.
pub fn admin_routes(deps: &Arc<Deps>) -> BoxedFilter<(Response,)> {
    let office = Arc::new(admin::Office::new(Arc::clone(deps)));
    let meter = Arc::new(meter::Meter::of("admin"));
    call::calls()
        .then(move |mut call: Call| {
            let (office, meter) = (Arc::clone(&office), Arc::clone(&meter));
            call.merchant = Arc::clone(&office.deps().settings.merchant);
            Box::pin(trail::follow("admin", call, async move |call| {
                let since = Instant::now();
                let chosen = language::chosen(&call);
                let mut answer = admin::route(&office, call).await;
                language::remember(office.deps(), chosen, &mut answer);
                meter.answered(since, &answer);
                answer
            }))
        })
        .boxed()
}
