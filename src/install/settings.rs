//! The skeleton of settings, catalogue and web pages. What is there already is kept.

use std::net::{Ipv4Addr, TcpListener};

use super::{Account, Error, Say, Wanted};
use crate::config::DEFAULTS;

const ENV: &str = include_str!("../../config/env.production.example");
const CATALOG: &str = include_str!("../../config/catalog.toml");
const HTACCESS: &str = include_str!("../../config/apache/htaccess");
/// The sample that the catalogue names.
const FILES: [(&str, &[u8]); 3] = [
    ("files/audit-kit.md", include_bytes!("../../config/files/audit-kit.md")),
    ("files/audit-kit-apercu.md", include_bytes!("../../config/files/audit-kit-apercu.md")),
    ("files/audit-kit.jpg", include_bytes!("../../config/files/audit-kit.jpg")),
];
/// Where the search for a free pair of ports begins, and how many pairs it tries.
const PORT_FIRST: u16 = 8000;
const PAIRS_MAX: u16 = 500;

/// Writes what is missing. True where the settings are new, so that somebody has to fill them in.
pub(super) fn write(account: &Account, wanted: &Wanted, say: Say<'_>) -> Result<bool, Error> {
    let existing = std::fs::read_to_string(account.path(".env")).ok();
    // The web server's side must name the place that the daemon's settings name, not a new one.
    let (fresh, place) = match existing.as_deref().and_then(listening) {
        Some(place) => (false, place),
        None => {
            let port = wanted.port.map_or_else(free_pair, Ok)?;
            (account.put_new(".env", env(account, wanted, port).as_bytes())?, Place::Port(port))
        }
    };
    account.put_new("auditshield.toml", DEFAULTS.as_bytes())?;
    if account.put_new("catalog.toml", CATALOG.as_bytes())? {
        for (name, bytes) in FILES {
            account.put_new(name, bytes)?;
        }
    }
    account.replace("web/.htaccess", htaccess(account, &place).as_bytes(), 0o644)?;
    let told = if fresh { "écrits / written" } else { "conservés / kept" };
    say(&format!("réglages / settings      {}: {told}", account.path(".env").display()));
    Ok(fresh)
}

/// Where the web server finds the daemon.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A port on loopback.
    Port(u16),
    /// A unix socket's path.
    Socket(String),
}

/// What `AUDITSHIELD_SERVER__LISTEN` says in a dotenv file.
pub(super) fn listening(env: &str) -> Option<Place> {
    let mut lines = env.lines().filter_map(|line| line.trim().strip_prefix("AUDITSHIELD_SERVER__LISTEN="));
    let text = lines.next_back()?.trim_matches(['"', '\'']);
    match text.strip_prefix("unix:") {
        Some(path) => Some(Place::Socket(path.to_owned())),
        None => text.rsplit_once(':')?.1.parse().ok().map(Place::Port),
    }
}

fn free_pair() -> Result<u16, Error> {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut pairs = (0..PAIRS_MAX).map(|n| PORT_FIRST + 2 * n);
    pairs.find(|port| free(*port) && free(port + 1)).ok_or(Error::NoPort)
}

/// The shipped example with this account's places in it, and secrets of its own.
pub(super) fn env(account: &Account, wanted: &Wanted, port: u16) -> String {
    let path = |name: &str| account.path(name).display().to_string();
    let secret = || hex::encode(rand::random::<[u8; 32]>());
    let mut values = vec![
        ("AUDITSHIELD_SERVER__LISTEN", format!("127.0.0.1:{port}")),
        ("AUDITSHIELD_ADMIN__LISTEN", format!("127.0.0.1:{}", port + 1)),
        ("AUDITSHIELD_SECRET_KEY", secret()),
        ("AUDITSHIELD_ADMIN__TOKEN", secret()),
        ("AUDITSHIELD_STORE__URL", format!("sled:{}", path("store"))),
        ("AUDITSHIELD_CATALOG__PATH", path("catalog.toml")),
        ("AUDITSHIELD_SPOOL__FOLDER", path("spool")),
    ];
    if let Some(url) = &wanted.public_url {
        values.push(("AUDITSHIELD_SERVER__PUBLIC_URL", url.clone()));
    }
    let mut text =
        String::from("# Made by `auditshield install --user`. For the owner alone: it holds secrets.\n");
    for line in ENV.lines().skip_while(|line| line.starts_with('#')) {
        let known = line.split_once('=').and_then(|(name, _)| values.iter().position(|(n, _)| *n == name));
        match known.map(|at| values.swap_remove(at)) {
            Some((name, value)) => text += &format!("{name}={value}\n"),
            None => text += &format!("{line}\n"),
        }
    }
    values.iter().for_each(|(name, value)| text += &format!("{name}={value}\n"));
    text
}

/// The shipped file for this place, and where notify.php finds daemon and spool.
pub(super) fn htaccess(account: &Account, place: &Place) -> String {
    let (upstream, notified) = match place {
        Place::Port(port) => {
            let at = format!("http://127.0.0.1:{port}/");
            (at.clone(), format!("{at}payment/callback/"))
        }
        Place::Socket(path) => (format!("unix:{path}|http://localhost/"), format!("unix:{path}")),
    };
    let rules = HTACCESS.replace("http://127.0.0.1:8000/", &upstream);
    let spool = account.path("spool");
    format!("SetEnv AUDITSHIELD_UPSTREAM {notified}\nSetEnv AUDITSHIELD_SPOOL {}\n{rules}", spool.display())
}
