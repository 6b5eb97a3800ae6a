//! Configuration and adapters, made into what actors and routes need.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Error, Metrics};
use crate::actors::{Orders, Parts, Settings};
use crate::adapters::cinetpay::client::{self, Client};
use crate::adapters::cinetpay::signature::{Rejection, Verifier};
use crate::adapters::cinetpay::trial;
use crate::adapters::keyed_hash::KeyedHash;
use crate::adapters::limits::{ClientLimiter, client_behind_socket, client_ip, is_trusted};
use crate::adapters::mailer::{self, Postman};
use crate::adapters::proof_key::ProofKey;
use crate::adapters::token::{DownloadClaim, Links, TokenError};
use crate::config::{self, Config};
use crate::domain::catalog::Catalog;
use crate::domain::values::{OrderId, TransactionId};
use crate::http::{
    self, AdminToken, BadToken, Deps, Gate, Gates, Heard, Peer, ProofSeal, Readiness, Seals, Unheard,
};
use crate::ledger::Ledger;
use crate::ports::{Clock, Current, Permits};

/// Beside the catalogue: the folder whose files a proxy may send.
const FILES: &str = "files";
/// Payment pages being opened at one time.
const OPEN_MAX: usize = 128;

/// Signs and reads links.
pub(super) fn links(config: &Config) -> Arc<Links> {
    let keys: Vec<&[u8]> = config.secret_keys.iter().map(|key| key.bytes()).collect();
    let (current, previous) = keys.split_first().map_or((&[][..], &[][..]), |(first, rest)| (*first, rest));
    Arc::new(Links::new(current, previous.iter().copied()))
}

/// What the actors work with.
pub(super) fn parts(config: &Config, ledger: Ledger, clock: Clock, live: &Live) -> Result<Parts, Error> {
    let provider = Client::new(client::Settings {
        api_url: config.cinetpay.api_url.clone(),
        authorities: config.cinetpay.authorities.as_ref().map(|own| own.pem.clone()),
        api_key: config.cinetpay.api_key.expose().to_owned(),
        site_id: config.cinetpay.site_id.clone(),
        notify_url: config.cinetpay.notify_url.to_string(),
        return_url: config.cinetpay.return_url.clone(),
        channels: config.cinetpay.channels.code().to_owned(),
        connect_timeout: config.cinetpay.connect_timeout,
        timeout: config.cinetpay.timeout,
        per_second: config.cinetpay.per_second,
        concurrency: config.cinetpay.concurrency,
    })
    .map_err(|why| Error::Adapter(why.to_string()))?;
    Ok(Parts {
        ledger,
        provider: Arc::new(provider.sharing(live.permits.clone())),
        mailer: Arc::new(live.postman.clone()),
        catalog: live.catalog.clone(),
        policy: config.policy(),
        clock,
        settings: settings(config),
    })
}

fn settings(config: &Config) -> Settings {
    Settings {
        seats: config.actors.seats,
        verify_max: config.verify.concurrency,
        open_max: OPEN_MAX.min(config.actors.seats / 4),
        deliver_max: config.deliver.concurrency,
        // A verifier may ask, open and ask again; every single call has its own time-out.
        errand_time: config.cinetpay.timeout.saturating_mul(4).max(config.mail.timeout.saturating_mul(2)),
        ..Settings::default()
    }
}

/// The postman of these settings; links begin with `public_url`. A mail that it takes under a lease leaves before that is over.
pub(super) fn postman(
    config: &Config,
    links: &Arc<Links>,
    permits: Option<Arc<dyn Permits>>,
) -> Result<Postman, Error> {
    let postman = Postman::new(mailer::Settings::from(config), Arc::clone(links))
        .map_err(|why| Error::Adapter(why.to_string()))?;
    let shared = permits.map(|permits| (permits, settings(config).lease_time()));
    Ok(postman.sharing(config.mail.per_hour, shared))
}

/// What SIGHUP replaces.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) catalog: Current<Catalog>,
    pub(super) postman: Current<Postman>,
    pub(super) limiters: Limiters,
    /// Not replaced: whatever replaces the postman draws from here too.
    pub(super) permits: Option<Arc<dyn Permits>>,
}

impl Live {
    pub(super) fn new(
        config: &Config,
        links: &Arc<Links>,
        permits: Option<Arc<dyn Permits>>,
    ) -> Result<Self, Error> {
        Ok(Self {
            catalog: Current::new(config.catalog.catalog.clone()),
            postman: Current::new(postman(config, links, permits.clone())?),
            limiters: Limiters::new(config),
            permits,
        })
    }
}

/// Inbound rate limits.
#[derive(Clone)]
pub(super) struct Limiters {
    buy: Current<ClientLimiter>,
    unsigned: Current<ClientLimiter>,
    status: Current<ClientLimiter>,
    download: Current<ClientLimiter>,
    recover: Current<ClientLimiter>,
    login: Current<ClientLimiter>,
}

impl Limiters {
    pub(super) fn new(config: &Config) -> Self {
        let [buy, unsigned, status, download, recover, login] =
            rates(config.limits).map(|n| Current::new(ClientLimiter::per_minute(n)));
        Self { buy, unsigned, status, download, recover, login }
    }

    /// Takes over the rates that changed. The others keep their memory of who asked how often.
    pub(super) fn replace(&self, before: config::Limits, next: config::Limits) {
        let changes = rates(before).into_iter().zip(rates(next));
        for ((_, limiter), (before, next)) in self.all().into_iter().zip(changes) {
            if before != next {
                limiter.replace(ClientLimiter::per_minute(next));
            }
        }
    }

    /// Forgets clients that were quiet, round after round, until `stop`.
    pub(super) async fn housekeeping(self, every: Duration, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            for (_, limiter) in self.all() {
                limiter.now().tick();
            }
        }
    }

    /// Each with the label of its metric.
    fn all(&self) -> [(&'static str, &Current<ClientLimiter>); 6] {
        [
            ("buy", &self.buy),
            ("bad_signature", &self.unsigned),
            ("status", &self.status),
            ("download", &self.download),
            ("recover", &self.recover),
            ("login", &self.login),
        ]
    }
}

/// The rates, in the order of [`Limiters::all`].
fn rates(limits: config::Limits) -> [u32; 6] {
    [
        limits.buy_per_minute,
        limits.bad_signature_per_minute,
        limits.status_per_minute,
        limits.download_per_minute,
        limits.recover_per_minute,
        limits.login_per_minute,
    ]
}

fn gate(limiter: &Current<ClientLimiter>) -> Gate {
    let limiter = limiter.clone();
    Arc::new(move |client: IpAddr| limiter.now().check(client).map_err(|wait| wait.0))
}

/// What was built before the routes.
pub(super) struct Built {
    pub(super) orders: Orders,
    pub(super) ledger: Ledger,
    pub(super) clock: Clock,
    pub(super) links: Arc<Links>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) metrics: Metrics,
}

/// What the routes need.
pub(super) fn deps(config: &Config, built: Built, live: &Live) -> Deps {
    let limiters = &live.limiters;
    let proxies = config.server.trusted_proxies.clone();
    Deps {
        orders: built.orders,
        ledger: built.ledger,
        catalog: live.catalog.clone(),
        seals: seals(config, built.links, built.clock.clone()),
        clock: built.clock,
        site_id: config.cinetpay.site_id.clone(),
        gates: Gates {
            proxied: {
                let proxies = proxies.clone();
                Arc::new(move |peer| match peer {
                    Peer::Address(peer) => is_trusted(peer, &proxies),
                    Peer::Socket => true,
                })
            },
            client: Arc::new(move |headers, peer| match peer {
                Peer::Address(peer) => client_ip(peer, headers, &proxies),
                Peer::Socket => client_behind_socket(headers, &proxies),
            }),
            buy: gate(&limiters.buy),
            unsigned: gate(&limiters.unsigned),
            status: gate(&limiters.status),
            download: gate(&limiters.download),
            recover: gate(&limiters.recover),
            login: gate(&limiters.login),
        },
        settings: crate::http::Settings {
            allowed_origins: config.server.allowed_origins.clone(),
            free_bytes_min: config.free_bytes_min,
            merchant: Arc::new(config.merchant.clone()),
            zone: config.zone,
            secure: config.server.public_url.scheme() == "https",
            sendfile: config.download.sendfile,
            files_root: config.catalog.path.with_file_name(FILES),
            policy: config.policy(),
        },
        admin_token: AdminToken::new(config.admin.tokens.iter().map(|token| token.expose().to_owned())),
        readiness: built.readiness,
        metrics: built.metrics,
    }
}

fn seals(config: &Config, links: Arc<Links>, clock: Clock) -> Seals {
    let verifier = Verifier::new(config.cinetpay.webhook_secrets.iter().map(|secret| secret.bytes()));
    let grant_seconds = config.download.grant_ttl.as_secs();
    let keyed = |key: &[u8]| -> http::KeyedHash {
        let hash = KeyedHash::new(key);
        Arc::new(move |bytes| hash.hex(bytes))
    };
    Seals {
        notice: Arc::new(move |body, token| {
            let verified = verifier.verify(body, token).map_err(|why| match why {
                Rejection::MissingToken => Unheard::Missing,
                Rejection::BadToken => Unheard::Signature,
                Rejection::Unreadable => Unheard::Form,
            })?;
            let text = |name| String::from_utf8_lossy(verified.field(name)).into_owned();
            let transaction = text("cpm_trans_id");
            Ok(Heard {
                site_id: text("cpm_site_id"),
                transaction: TransactionId::parse(&transaction).ok(),
                trial: trial::number(&transaction).map(ToOwned::to_owned),
                digest: verified.digest(),
            })
        }),
        token: {
            let (links, clock) = (Arc::clone(&links), clock.clone());
            Arc::new(move |token| claimed(links.read_download(token, seconds(&clock))))
        },
        grant: {
            let (links, clock) = (Arc::clone(&links), clock.clone());
            Arc::new(move |order, link, n| links.grant_token(&order.to_string(), link, n, seconds(&clock)))
        },
        granted: {
            let (links, clock) = (Arc::clone(&links), clock.clone());
            Arc::new(move |token| {
                let claim = links.read_grant(token, seconds(&clock), grant_seconds).map_err(bad)?;
                Ok((OrderId::parse(&claim.order).map_err(|_| BadToken::Forged)?, claim.link))
            })
        },
        order: {
            let (links, clock) = (Arc::clone(&links), clock.clone());
            Arc::new(move |token| claimed(links.read_order(token, seconds(&clock))))
        },
        browser: {
            let (links, clock) = (Arc::clone(&links), clock.clone());
            Arc::new(move |token| claimed(links.read_browser(token, seconds(&clock))))
        },
        sign_browser: Arc::new(move |order| links.browser_token(&order.to_string(), seconds(&clock))),
        hash: keyed(config.secret_keys.first().map_or(&[][..], |key| key.bytes())),
        former_hashes: config.secret_keys.iter().skip(1).map(|key| keyed(key.bytes())).collect(),
        proof: proof(config),
    }
}

/// Proofs are signed with the first key; those that the other one signed are still to be verified.
fn proof(config: &Config) -> ProofSeal {
    let keys = config.secret_keys.iter().map(|key| ProofKey::derive(key.bytes()).public());
    let public =
        keys.map(|key| http::ProofKey { pem: key.pem(), der: key.der, fingerprint: key.fingerprint });
    let key = ProofKey::derive(config.secret_keys.first().map_or(&[][..], |key| key.bytes()));
    ProofSeal { sign: Arc::new(move |bytes| key.sign(bytes)), public: public.collect() }
}

fn seconds(clock: &Clock) -> u64 {
    u64::try_from(clock.now().seconds()).unwrap_or(0)
}

/// The order and the link that a token names.
fn claimed(read: Result<DownloadClaim, TokenError>) -> Result<(OrderId, u32), BadToken> {
    let claim = read.map_err(bad)?;
    Ok((OrderId::parse(&claim.order).map_err(|_| BadToken::Forged)?, claim.link))
}

fn bad(why: TokenError) -> BadToken {
    match why {
        TokenError::Forged | TokenError::Future => BadToken::Forged,
        TokenError::Expired => BadToken::Expired,
    }
}

/// Renders the metrics, after reading the gauges that nobody pushes.
pub(super) fn scrape(ledger: Ledger, limiters: Limiters, render: Metrics) -> Metrics {
    Arc::new(move || {
        for (status, count) in ledger.counts().iter() {
            metrics::gauge!("auditshield_orders", "status" => status).set(count as f64);
        }
        let oldest = ledger.oldest_pending().ok().flatten();
        let age = oldest.map_or(Duration::ZERO, |at| Clock::system().now().since(at));
        metrics::gauge!("auditshield_oldest_pending_seconds").set(age.as_secs_f64());
        for (limit, limiter) in limiters.all() {
            metrics::gauge!("auditshield_clients_remembered", "limit" => limit)
                .set(limiter.now().clients() as f64);
        }
        let health = ledger.health();
        metrics::gauge!("auditshield_ledger_can_commit").set(f64::from(u8::from(health.can_commit)));
        // Both as they are now: an index that stopped being written pushes nothing.
        let lag = health.last_seq.saturating_sub(health.applied_seq);
        metrics::gauge!("auditshield_index_lag").set(lag as f64);
        if let Some(age) = ledger.pulse_age() {
            metrics::gauge!("auditshield_pulse_age_seconds").set(age.as_secs_f64());
        }
        if let Ok(free) = ledger.free_bytes() {
            metrics::gauge!("auditshield_store_free_bytes").set(free as f64);
        }
        render()
    })
}
