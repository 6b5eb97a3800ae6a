//! Configuration and adapters, made into what actors and routes need.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Error, Metrics};
use crate::actors::{Orders, Parts, Settings};
use crate::adapters::cinetpay::client::{self, Client};
use crate::adapters::cinetpay::signature::{Rejection, Verifier};
use crate::adapters::keyed_hash::KeyedHash;
use crate::adapters::limits::{ClientLimiter, client_ip};
use crate::adapters::mailer::{self, Postman};
use crate::adapters::token::{DownloadClaim, Links, TokenError};
use crate::config::{self, Config};
use crate::domain::values::{OrderId, TransactionId};
use crate::http::{AdminToken, BadToken, Deps, Gate, Gates, Heard, Readiness, Seals, Unheard};
use crate::ledger::Ledger;
use crate::ports::Clock;

/// Payment pages being opened at one time.
const OPEN_MAX: usize = 128;

/// Signs and reads links.
pub(super) fn links(config: &Config) -> Arc<Links> {
    let keys: Vec<&[u8]> = config.secret_keys.iter().map(|key| key.bytes()).collect();
    let (current, previous) = keys.split_first().map_or((&[][..], &[][..]), |(first, rest)| (*first, rest));
    Arc::new(Links::new(current, previous.iter().copied()))
}

/// What the actors work with.
pub(super) fn parts(
    config: &Config,
    ledger: Ledger,
    clock: Clock,
    links: &Arc<Links>,
) -> Result<Parts, Error> {
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
    let mailer = Postman::new(mail_settings(config), Arc::clone(links))
        .map_err(|why| Error::Adapter(why.to_string()))?;
    Ok(Parts {
        ledger,
        provider: Arc::new(provider),
        mailer: Arc::new(mailer),
        catalog: Arc::new(config.catalog.catalog.clone()),
        policy: config.policy(),
        clock,
        settings: Settings {
            seats: config.actors.seats,
            verify_max: config.verify.concurrency,
            open_max: OPEN_MAX.min(config.actors.seats / 4),
            deliver_max: config.deliver.concurrency,
            // A verifier may ask, open and ask again; every single call has its own time-out.
            errand_time: config.cinetpay.timeout.saturating_mul(4).max(config.mail.timeout.saturating_mul(2)),
            ..Settings::default()
        },
    })
}

fn mail_settings(config: &Config) -> mailer::Settings {
    let route = match &config.mail.route {
        config::Route::File(folder) => mailer::Route::File(folder.clone()),
        config::Route::Smtp(server) => mailer::Route::Smtp(mailer::SmtpServer {
            host: server.host.clone(),
            port: server.port,
            tls: match server.tls {
                config::Tls::None => mailer::Tls::None,
                config::Tls::Opportunistic => mailer::Tls::Opportunistic,
                config::Tls::StartTls => mailer::Tls::Required,
                config::Tls::Implicit => mailer::Tls::Implicit,
            },
            login: server.login.as_ref().map(|(user, password)| (user.clone(), password.expose().to_owned())),
            authorities: config.mail.authorities.as_ref().map(|own| own.pem.clone()),
        }),
    };
    mailer::Settings {
        route,
        from: config.mail.from.clone(),
        from_name: config.mail.from_name.expose().to_owned(),
        merchant: config.merchant.clone(),
        reply_to: config.mail.reply_to.clone(),
        public_url: config.server.public_url.clone(),
        timeout: config.mail.timeout,
        connections_max: config.mail.connections_max,
    }
}

/// Inbound rate limits.
#[derive(Clone)]
pub(super) struct Limiters {
    buy: Arc<ClientLimiter>,
    unsigned: Arc<ClientLimiter>,
    status: Arc<ClientLimiter>,
    download: Arc<ClientLimiter>,
    recover: Arc<ClientLimiter>,
    login: Arc<ClientLimiter>,
}

impl Limiters {
    pub(super) fn new(config: &Config) -> Self {
        let per_minute = |n| Arc::new(ClientLimiter::per_minute(n));
        Self {
            buy: per_minute(config.limits.buy_per_minute),
            unsigned: per_minute(config.limits.bad_signature_per_minute),
            status: per_minute(config.limits.status_per_minute),
            download: per_minute(config.limits.download_per_minute),
            recover: per_minute(config.limits.recover_per_minute),
            login: per_minute(config.limits.login_per_minute),
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
                limiter.tick();
            }
        }
    }

    /// Each with the label of its metric.
    fn all(&self) -> [(&'static str, &ClientLimiter); 6] {
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

fn gate(limiter: &Arc<ClientLimiter>) -> Gate {
    let limiter = Arc::clone(limiter);
    Arc::new(move |client: IpAddr| limiter.check(client).map_err(|wait| wait.0))
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
pub(super) fn deps(config: &Config, built: Built, limiters: &Limiters) -> Deps {
    let proxies = config.server.trusted_proxies.clone();
    Deps {
        orders: built.orders,
        ledger: built.ledger,
        catalog: Arc::new(config.catalog.catalog.clone()),
        seals: seals(config, built.links, built.clock.clone()),
        clock: built.clock,
        site_id: config.cinetpay.site_id.clone(),
        gates: Gates {
            client: Arc::new(move |headers, peer| client_ip(peer, headers, &proxies)),
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
            secure: config.server.public_url.scheme() == "https",
            policy: config.policy(),
        },
        admin_token: AdminToken::new(config.admin.token.expose().to_owned()),
        readiness: built.readiness,
        metrics: built.metrics,
    }
}

fn seals(config: &Config, links: Arc<Links>, clock: Clock) -> Seals {
    let verifier = Verifier::new(config.cinetpay.webhook_secrets.iter().map(|secret| secret.bytes()));
    let grant_seconds = config.download.grant_ttl.as_secs();
    let hash = KeyedHash::new(config.secret_keys.first().map_or(&[][..], |key| key.bytes()));
    Seals {
        notice: Arc::new(move |body, token| {
            let verified = verifier.verify(body, token).map_err(|why| match why {
                Rejection::MissingToken => Unheard::Missing,
                Rejection::BadToken => Unheard::Signature,
                Rejection::Unreadable => Unheard::Form,
            })?;
            let text = |name| String::from_utf8_lossy(verified.field(name)).into_owned();
            Ok(Heard {
                site_id: text("cpm_site_id"),
                transaction: TransactionId::parse(&text("cpm_trans_id")).ok(),
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
        hash: Arc::new(move |bytes| hash.hex(bytes)),
    }
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
            metrics::gauge!("auditshield_clients_remembered", "limit" => limit).set(limiter.clients() as f64);
        }
        let health = ledger.health();
        metrics::gauge!("auditshield_ledger_can_commit").set(f64::from(u8::from(health.can_commit)));
        // Both as they are now: an index that stopped being written pushes nothing.
        let lag = health.last_seq.saturating_sub(health.applied_seq);
        metrics::gauge!("auditshield_index_lag").set(lag as f64);
        if let Ok(free) = ledger.free_bytes() {
            metrics::gauge!("auditshield_store_free_bytes").set(free as f64);
        }
        render()
    })
}
