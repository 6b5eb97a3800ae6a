//! Each section from its texts. A section that is wrong is `None`; why is in the reader.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};
use url::Url;

use super::listen::{Listen, Misplaced};
use super::reader::{Fault, Reader};
use super::rules::{self, SECRET_BYTES_MIN, public_address, real_secret, web_address};
use super::{
    Actors, Admin, CatalogFile, Channels, Cinetpay, Config, Deliver, Download, Environment, Limits, Log,
    LogFormat, Secret, Sendfile, Server, Store, Verify, authority, catalog, mail, merchant,
};

const BYTES_PER_MIB: u64 = 1024 * 1024;
/// The ledger's ten, the main one among them, and two each for requests and for what blocks.
const THREADS_MIN: usize = 14;
/// A tebibyte of free room is more than anybody wants to keep.
const MIB_MAX: u64 = 1024 * 1024;
/// Where `auditshield simulator` listens.
const SANDBOX_API: &str = "http://127.0.0.1:8020";
/// CinetPay's checkout v2.
const PRODUCTION_API: &str = "https://api-checkout.cinetpay.com";
/// The horizon and links shorter than this would expire under the buyer's hands; tests want seconds.
const MILLISECOND: Duration = Duration::from_millis(1);

/// Every section, so that every problem is found in one go.
pub(super) fn config(reader: &Reader<'_>) -> Option<Config> {
    let environment = environment(reader);
    let production = environment == Some(Environment::Production);
    let secret_keys = reader.secrets(
        "secret_key",
        ("générez-le avec openssl rand -hex 32", "make one with openssl rand -hex 32"),
    );
    let server = server(reader, production);
    let admin = admin(reader);
    let cinetpay = cinetpay(reader, environment, server.as_ref().map(|server| &server.public_url));
    if production {
        for key in &secret_keys {
            real_secret(reader, "secret_key", key.expose(), SECRET_BYTES_MIN);
        }
        if let Some(admin) = &admin {
            for token in &admin.tokens {
                real_secret(reader, "admin.token", token.expose(), SECRET_BYTES_MIN);
            }
        }
    }
    let store = store(reader);
    let free_bytes_min = reader.number("store.free_mib_min", 0..=MIB_MAX) * BYTES_PER_MIB;
    let spool = reader.text("spool.folder").map(PathBuf::from);
    let catalog = catalog_file(reader);
    let mail = mail::read(reader, production);
    let merchant = merchant::read(reader, mail.as_ref());
    let zone = reader.parsed("merchant.utc_offset", merchant::zone).unwrap_or_default();
    let download = Download {
        ttl: reader.duration("download.ttl", MILLISECOND),
        max_downloads: reader.number("download.max_downloads", 1..=1_000),
        grant_ttl: reader.duration("download.grant_ttl", MILLISECOND),
        remind_before: Some(reader.duration("download.remind_before", Duration::ZERO))
            .filter(|before| !before.is_zero()),
        sendfile: reader.parsed("download.sendfile", sendfile).unwrap_or_default(),
    };
    let verify = verify(reader);
    let deliver = Deliver { concurrency: reader.number("deliver.concurrency", 1..=1_024) };
    let actors = Actors { seats: reader.number("actors.seats", 2..=65_536) };
    let limits = limits(reader);
    let log = log(reader);
    Some(Config {
        server: server?,
        admin: admin?,
        cinetpay: cinetpay?,
        store: store?,
        free_bytes_min,
        spool,
        catalog: catalog?,
        mail: mail?,
        merchant,
        zone,
        download,
        verify,
        deliver,
        actors,
        limits,
        secret_keys,
        log,
        warnings: Vec::new(),
        prints: BTreeMap::new(),
    })
}

fn environment(reader: &Reader<'_>) -> Option<Environment> {
    reader.parsed("cinetpay.env", |text| match text {
        "sandbox" => Ok(Environment::Sandbox),
        "production" => Ok(Environment::Production),
        _ => Err((
            format!("« {text} » est inconnu — écrivez sandbox ou production"),
            "unknown — write sandbox or production".to_owned(),
        )),
    })
}

fn server(reader: &Reader<'_>, production: bool) -> Option<Server> {
    let listen = reader.parsed("server.listen", place);
    let public_url = if production {
        reader.required(
            "server.public_url",
            ("écrivez l'adresse publique, https://…", "write the public address, https://…"),
        );
        reader.parsed("server.public_url", base_address)
    } else if reader.text("server.public_url").is_some() {
        reader.parsed("server.public_url", base_address)
    } else {
        listen.as_ref().and_then(|listen| Url::parse(&format!("{}/", listen.origin())).ok())
    };
    if let (true, Some(url)) = (production, &public_url) {
        public_address(reader, "server.public_url", url);
    }
    let allowed_origins = reader.list("server.allowed_origins", rules::origin);
    let trusted_proxies = reader.list("server.trusted_proxies", rules::network);
    let connections_max = reader.number("server.connections_max", 1..=1_000_000);
    let threads_max = reader.number("server.threads_max", THREADS_MIN..=1_024);
    Some(Server {
        listen: listen?,
        public_url: public_url?,
        allowed_origins,
        trusted_proxies,
        connections_max,
        threads_max,
    })
}

/// `[admin]`
pub(super) fn admin(reader: &Reader<'_>) -> Option<Admin> {
    let listen = reader.parsed("admin.listen", place);
    let tokens = reader.secrets(
        "admin.token",
        ("générez-le avec openssl rand -hex 24", "make one with openssl rand -hex 24"),
    );
    Some(Admin { listen: listen?, tokens: Some(tokens).filter(|tokens| !tokens.is_empty())? })
}

fn cinetpay(reader: &Reader<'_>, env: Option<Environment>, public_url: Option<&Url>) -> Option<Cinetpay> {
    let production = env == Some(Environment::Production);
    let default = if production { PRODUCTION_API } else { SANDBOX_API };
    let back_office = ("copiez-la depuis le back-office CinetPay", "copy it from CinetPay's back office");
    let or = |key: &str, default: Option<Url>| match reader.text(key) {
        Some(_) => reader.parsed(key, web_address),
        None => default,
    };
    let api_url = or("cinetpay.api_url", Url::parse(default).ok());
    let return_url = or("cinetpay.return_url", public_url.and_then(|base| base.join("payment/return/").ok()));
    let notify_url =
        or("cinetpay.notify_url", public_url.and_then(|base| base.join("payment/callback/").ok()));
    let api_key = reader.secret("cinetpay.api_key", back_office);
    let site_id = reader.required("cinetpay.site_id", back_office);
    let webhook_secrets = reader.secrets(
        "cinetpay.webhook_secret",
        ("copiez la « Secret Key » du back-office CinetPay", "copy the Secret Key of CinetPay's back office"),
    );
    if production {
        let derived = [
            ("cinetpay.api_url", &api_url),
            ("cinetpay.return_url", &return_url),
            ("cinetpay.notify_url", &notify_url),
        ];
        for (key, url) in derived {
            // One that was derived from public_url has its problem there.
            if let (Some(_), Some(url)) = (reader.text(key), url) {
                public_address(reader, key, url);
            }
        }
        if let Some(key) = &api_key {
            real_secret(reader, "cinetpay.api_key", key.expose(), 1);
        }
        for secret in &webhook_secrets {
            real_secret(reader, "cinetpay.webhook_secret", secret.expose(), 1);
        }
        real_site(reader, site_id);
    }
    let channels = reader.parsed("cinetpay.channels", channels);
    let authorities = authority::read(reader, "cinetpay.ca_file");
    let least = Duration::from_millis(10);
    Some(Cinetpay {
        connect_timeout: reader.duration("cinetpay.connect_timeout", least),
        timeout: reader.duration("cinetpay.timeout", least),
        per_second: reader.number("cinetpay.per_second", 1..=10_000),
        concurrency: reader.number("cinetpay.concurrency", 1..=4_096),
        env: env?,
        api_url: api_url?,
        authorities,
        api_key: api_key?,
        site_id: site_id?.to_owned(),
        return_url: return_url?,
        notify_url: notify_url?,
        webhook_secrets,
        channels: channels?,
    })
}

fn real_site(reader: &Reader<'_>, site_id: Option<&str>) {
    if site_id.is_some_and(|id| id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit())) {
        reader.problem(
            "cinetpay.site_id",
            "ce n'est pas un numéro de site — copiez les chiffres depuis le back-office CinetPay",
            "not a site number — copy the digits from CinetPay's back office",
        );
    }
}

/// `[store]`
pub(super) fn store(reader: &Reader<'_>) -> Option<Store> {
    reader.parsed("store.url", read_store)
}

/// A ledger's address, `sled:<folder>` or `postgres://…`.
///
/// # Errors
/// What is wrong with it, in French and in English. It may hold a password: it is not repeated.
pub fn read_store(text: &str) -> Result<Store, (String, String)> {
    match text.split_once(':') {
        Some(("sled", folder)) if !folder.trim_start_matches("//").is_empty() => {
            Ok(Store::Sled(PathBuf::from(folder.strip_prefix("//").unwrap_or(folder))))
        }
        Some(("postgres" | "postgresql", _)) if cfg!(feature = "postgres") => {
            Ok(Store::Postgres(Secret::new(text)))
        }
        Some(("postgres" | "postgresql", _)) => Err((
            "ce programme est compilé sans PostgreSQL — prenez celui de « cargo build --release --features postgres » \
             (docs/scaling.md), ou écrivez sled:<dossier>"
                .to_owned(),
            "this program was built without PostgreSQL — take the one of `cargo build --release --features postgres` \
             (docs/scaling.md), or write sled:<folder>"
                .to_owned(),
        )),
        Some(_) | None => Err((
            "ce n'est pas un registre — écrivez sled:<dossier> ou postgres://…".to_owned(),
            "not a store — write sled:<folder> or postgres://…".to_owned(),
        )),
    }
}

fn catalog_file(reader: &Reader<'_>) -> Option<CatalogFile> {
    let path = PathBuf::from(reader.text("catalog.path")?);
    match catalog::load(&path) {
        Ok(catalog) => Some(CatalogFile { path, catalog }),
        Err(faults) => {
            for (french, english) in faults {
                let shown = path.display();
                reader.problem("catalog.path", &format!("« {shown} » : {french}"), &english);
            }
            None
        }
    }
}

fn verify(reader: &Reader<'_>) -> Verify {
    let verify = Verify {
        first_poll: reader.duration("verify.first_poll", MILLISECOND),
        horizon: reader.duration("verify.horizon", MILLISECOND),
        concurrency: reader.number("verify.concurrency", 1..=4_096),
    };
    if verify.first_poll > verify.horizon {
        reader.problem(
            "verify.first_poll",
            "plus long que verify.horizon — raccourcissez-le",
            "longer than verify.horizon — shorten it",
        );
    }
    verify
}

fn limits(reader: &Reader<'_>) -> Limits {
    let rate = |key| reader.number(key, 0..=1_000_000);
    Limits {
        buy_per_minute: rate("limits.buy_per_minute"),
        status_per_minute: rate("limits.status_per_minute"),
        download_per_minute: rate("limits.download_per_minute"),
        recover_per_minute: rate("limits.recover_per_minute"),
        login_per_minute: rate("limits.login_per_minute"),
        bad_signature_per_minute: rate("limits.bad_signature_per_minute"),
    }
}

fn log(reader: &Reader<'_>) -> Log {
    let level = reader.parsed("log.level", |text| {
        // A lone word is a level: as the name of a target, a misspelt level would silence everything else.
        let lone = text.split(',').map(str::trim).filter(|part| !part.contains('='));
        let levels = lone.map(str::parse::<LevelFilter>).all(|level| level.is_ok());
        if levels && text.parse::<Targets>().is_ok() {
            return Ok(text.to_owned());
        }
        Err((
            format!("« {text} » n'est pas un niveau — écrivez error, warn, info, debug ou trace"),
            "not a level — write error, warn, info, debug or trace".to_owned(),
        ))
    });
    let format = reader.parsed("log.format", |text| match text {
        "auto" => Ok(LogFormat::Auto),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err((
            format!("« {text} » est inconnu — écrivez auto, text ou json"),
            "unknown — write auto, text or json".to_owned(),
        )),
    });
    Log { level: level.unwrap_or_else(|| "info".to_owned()), format: format.unwrap_or(LogFormat::Auto) }
}

fn sendfile(text: &str) -> Result<Sendfile, Fault> {
    match text {
        "off" => Ok(Sendfile::Daemon),
        "x-accel-redirect" => Ok(Sendfile::AccelRedirect),
        "x-sendfile" => Ok(Sendfile::Sendfile),
        _ => Err((
            format!("« {text} » est inconnu — écrivez off, x-accel-redirect (nginx) ou x-sendfile (Apache)"),
            "unknown — write off, x-accel-redirect (nginx) or x-sendfile (Apache)".to_owned(),
        )),
    }
}

fn channels(text: &str) -> Result<Channels, Fault> {
    [Channels::All, Channels::MobileMoney, Channels::CreditCard, Channels::Wallet]
        .into_iter()
        .find(|channels| channels.code() == text)
        .ok_or_else(|| {
            (
                format!("« {text} » est inconnu — écrivez ALL, MOBILE_MONEY, CREDIT_CARD ou WALLET"),
                "unknown — write ALL, MOBILE_MONEY, CREDIT_CARD or WALLET".to_owned(),
            )
        })
}

fn place(text: &str) -> Result<Listen, Fault> {
    Listen::parse(text).map_err(|why| match why {
        Misplaced::Spelling => (
            format!("« {text} » n'est pas une adresse:port — écrivez 127.0.0.1:8000, ou unix:/chemin/absolu"),
            "not an address:port — write 127.0.0.1:8000, or unix:/absolute/path".to_owned(),
        ),
        Misplaced::Relative => (
            format!("« {text} » n'est pas un chemin absolu — écrivez unix:/run/auditshield/public.sock"),
            "not an absolute path — write unix:/run/auditshield/public.sock".to_owned(),
        ),
        Misplaced::TooLong => (
            format!("« {text} » est trop long pour une socket — prenez un chemin de moins de 100 octets"),
            "too long for a socket — take a path of fewer than 100 bytes".to_owned(),
        ),
    })
}

/// A web address whose path ends with a slash, so that `join` adds to it.
fn base_address(text: &str) -> Result<Url, Fault> {
    let mut url = web_address(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err((
            format!("« {text} » a une requête ou un fragment — retirez-les"),
            "has a query or a fragment — remove it".to_owned(),
        ));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}
