//! Connections: their address, TLS, time-outs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::{Hook, Manager, ManagerConfig, Object, RecyclingMethod, Runtime};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::trouble::Trouble;
use crate::ledger::OpenError;

const WAIT: &str = include_str!("sql/schema_wait.sql");
const WAIT_NO_MORE: &str = include_str!("sql/schema_wait_no_more.sql");

/// Connections of one daemon. With three daemons well below PostgreSQL's usual hundred.
const CONNECTIONS_MAX: usize = 24;
/// The database ends a statement that takes longer.
const STATEMENT_SECONDS_MAX: u64 = 5;
/// We stop waiting for one after this long: longer than the database itself would.
const ANSWER_SECONDS_MAX: u64 = 8;
/// How long a connection may take.
const CONNECT_SECONDS_MAX: u64 = 5;
/// How long a statement waits for a free connection.
const FREE_SECONDS_MAX: u64 = 5;
/// How often a statement is tried that others are in the way of.
const TRIES_MAX: usize = 5;
/// Longest wait between two of these tries.
const AGAIN_MILLIS_MAX: u64 = 20;
/// A dead peer is noticed after about this long.
const SILENCE_SECONDS_MAX: u64 = 10;

/// One value that is sent beside a statement.
pub(super) type Value<'a> = &'a (dyn ToSql + Sync);
/// All of them, in order.
pub(super) type Values<'a> = &'a [Value<'a>];

/// The connections of one daemon.
pub(super) struct Pool {
    connections: deadpool_postgres::Pool,
    /// A connection was made since somebody asked: it may lead to another server than the ones before.
    anew: Arc<AtomicBool>,
}

impl Pool {
    /// Reads the address; connects to nothing yet.
    pub(super) fn new(url: &str) -> Result<Pool, OpenError> {
        let mut config: Config = url.parse().map_err(|_| OpenError::Address)?;
        if config.get_ssl_mode() == SslMode::Prefer && !url.contains("sslmode=") && is_far(&config) {
            config.ssl_mode(SslMode::Require);
        }
        let limit = format!("-c statement_timeout={}", STATEMENT_SECONDS_MAX * 1000);
        let options = [config.get_options().unwrap_or_default(), &limit].join(" ");
        config.options(options.trim());
        config.application_name("auditshield");
        // The first server may be the one whose machine is gone: the next must have its turn within the same time.
        let hosts = u32::try_from(config.get_hosts().len().max(1)).unwrap_or(u32::MAX);
        config.connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX) / hosts);
        if hosts > 1 {
            // A standby answers too, and takes nothing.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config.tcp_user_timeout(Duration::from_secs(SILENCE_SECONDS_MAX));
        config.keepalives_idle(Duration::from_secs(SILENCE_SECONDS_MAX));
        config.keepalives_interval(Duration::from_secs(SILENCE_SECONDS_MAX));
        config.keepalives_retries(1);
        let recycling_method = RecyclingMethod::Fast;
        let manner = ManagerConfig { recycling_method };
        let manager = match config.get_ssl_mode() {
            SslMode::Disable => Manager::from_config(config, NoTls, manner),
            _ => Manager::from_config(config, MakeRustlsConnect::new(tls()?), manner),
        };
        let anew = Arc::new(AtomicBool::new(false));
        let made = Arc::clone(&anew);
        let connections = deadpool_postgres::Pool::builder(manager)
            .post_create(Hook::sync_fn(move |_, _| {
                made.store(true, Ordering::Release);
                Ok(())
            }))
            .max_size(CONNECTIONS_MAX)
            .wait_timeout(Some(Duration::from_secs(FREE_SECONDS_MAX)))
            .create_timeout(Some(Duration::from_secs(CONNECT_SECONDS_MAX)))
            .runtime(Runtime::Tokio1)
            .build();
        let connections = connections.map_err(|error| OpenError::Database(error.to_string()))?;
        Ok(Pool { connections, anew })
    }

    /// As if a connection had been made.
    pub(super) fn doubt(&self) {
        self.anew.store(true, Ordering::Release);
    }

    /// Whether a connection was made since this was last asked.
    pub(super) fn is_anew(&self) -> bool {
        self.anew.swap(false, Ordering::AcqRel)
    }

    /// How many wait for a connection.
    pub(super) fn waiting(&self) -> usize {
        self.connections.status().waiting
    }

    pub(super) fn close(&self) {
        self.connections.close();
    }

    /// The rows of a statement; sent again where others were in its way. An error after it was sent is [`Trouble::Unsure`]
    /// unless the database says otherwise.
    pub(super) async fn rows(
        &self,
        sql: &str,
        values: Values<'_>,
    ) -> Result<Vec<tokio_postgres::Row>, Trouble> {
        for _ in 1..TRIES_MAX {
            match self.ask(sql, values).await {
                Err(Trouble::Again(_)) => step_aside().await,
                outcome => return outcome,
            }
        }
        self.ask(sql, values).await
    }

    async fn ask(&self, sql: &str, values: Values<'_>) -> Result<Vec<tokio_postgres::Row>, Trouble> {
        let client = self.connections.get().await?;
        let answer = async { client.query(&client.prepare_cached(sql).await?, values).await };
        let answer = timed(answer).await;
        self.settled(client, answer)
    }

    /// How many rows a statement changed; sent again as [`Pool::rows`] does.
    pub(super) async fn count(&self, sql: &str, values: Values<'_>) -> Result<u64, Trouble> {
        for _ in 1..TRIES_MAX {
            match self.change(sql, values).await {
                Err(Trouble::Again(_)) => step_aside().await,
                outcome => return outcome,
            }
        }
        self.change(sql, values).await
    }

    async fn change(&self, sql: &str, values: Values<'_>) -> Result<u64, Trouble> {
        let client = self.connections.get().await?;
        let answer = async { client.execute(&client.prepare_cached(sql).await?, values).await };
        let answer = timed(answer).await;
        self.settled(client, answer)
    }

    /// A statement that makes tables: not prepared, without values. It waits for others for a moment only, since theirs wait
    /// behind it; then it is [`Trouble::Again`].
    pub(super) async fn make(&self, sql: &str) -> Result<(), Trouble> {
        let client = self.connections.get().await?;
        let answer = async {
            client.batch_execute(WAIT).await?;
            client.batch_execute(sql).await?;
            client.batch_execute(WAIT_NO_MORE).await
        };
        let answer = tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS_MAX), answer).await;
        match answer {
            // This connection would go on waiting no longer than that.
            Ok(Err(error)) => {
                drop(Object::take(client));
                Err(Trouble::of(&error))
            }
            answer => self.settled(client, answer),
        }
    }

    /// Lets go of every connection that nobody uses. Where one does not answer, its server may be gone without a word, and
    /// each of the others would keep somebody waiting before it is found out.
    pub(super) fn let_go(&self) {
        self.connections.retain(|_, _| false);
    }

    /// The answer; a connection that did not give one is not used again.
    fn settled<T>(
        &self,
        client: Object,
        answer: Result<Result<T, tokio_postgres::Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, Trouble> {
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let trouble = Trouble::of(&error);
                if matches!(trouble, Trouble::Unsure(_)) {
                    drop(Object::take(client));
                }
                Err(trouble)
            }
            Err(_) => {
                drop(Object::take(client));
                self.let_go();
                Err(Trouble::Unsure("the database did not answer in time".to_owned()))
            }
        }
    }
}

/// The answer, unless it takes too long; what it took is measured either way.
async fn timed<T>(answer: impl Future<Output = T>) -> Result<T, tokio::time::error::Elapsed> {
    let begun = Instant::now();
    let answer = tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS_MAX), answer).await;
    metrics::histogram!("auditshield_database_round_trip_seconds").record(begun.elapsed().as_secs_f64());
    answer
}

/// Lets the others through.
async fn step_aside() {
    tokio::time::sleep(Duration::from_millis(rand::random_range(1..=AGAIN_MILLIS_MAX))).await;
}

/// Whether a password would leave this machine.
fn is_far(config: &Config) -> bool {
    config.get_hosts().iter().any(|host| match host {
        Host::Unix(_) => false,
        Host::Tcp(name) => !matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
    })
}

/// Certificates are verified, always: by the system's authorities, or those of `SSL_CERT_FILE`.
fn tls() -> Result<rustls::ClientConfig, OpenError> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| OpenError::Database(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> bool {
        is_far(&url.parse().unwrap())
    }

    #[test]
    fn a_password_leaves_the_machine_only_over_tls() {
        assert!(mode("postgres://u:p@db.example/x"));
        assert!(mode("postgres://u:p@10.0.0.7/x"));
        assert!(!mode("postgres://u:p@127.0.0.1:5433/x"));
        assert!(!mode("postgres://u@localhost/x"));
        assert!(!mode("postgres:///x?host=/run/postgresql"));
    }
}
