//! The mail section.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::Url;

use super::authority::{self, Authorities};
use super::reader::{Fault, Reader};
use super::rules;
use super::secret::Secret;
use crate::domain::values::{Email, Name};

/// Where the delivery mails go.
pub struct Mail {
    /// The server, or a folder.
    pub route: Route,
    /// The sender's address.
    pub from: Email,
    /// The sender's name.
    pub from_name: Name,
    /// Where answers go, if not to the sender.
    pub reply_to: Option<Email>,
    /// Where servers send back what they cannot deliver, if not to the sender.
    pub bounce_to: Option<Email>,
    /// The server that stands in where the first cannot be reached.
    pub fallback: Option<SmtpServer>,
    /// Mails that may leave in an hour; zero for no limit.
    pub per_hour: u32,
    /// Whether the mail with the link brings the receipt along.
    pub attach_receipt: bool,
    /// For one mail, from connecting to the final word.
    pub timeout: Duration,
    /// Connections kept to the server.
    pub connections_max: u32,
    /// Believed beside the system's authorities.
    pub authorities: Option<Authorities>,
}

/// How mails leave.
pub enum Route {
    /// Over SMTP.
    Smtp(SmtpServer),
    /// As files in a folder: sandbox only.
    File(PathBuf),
}

/// A mail server.
pub struct SmtpServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the conversation is protected.
    pub tls: Tls,
    /// User and password, if it wants them.
    pub login: Option<(String, Secret)>,
}

/// How a conversation with a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not at all: this machine, or `?tls=none`.
    None,
    /// STARTTLS where the server offers it.
    Opportunistic,
    /// STARTTLS or no mail.
    StartTls,
    /// TLS from the first byte (`smtps://`).
    Implicit,
}

pub(super) fn read(reader: &Reader<'_>, production: bool) -> Option<Mail> {
    let remedy = ("écrivez smtp://utilisateur:motdepasse@hôte:587", "write smtp://user:password@host:587");
    let route = if production && reader.required("mail.url", remedy).is_none() {
        None
    } else if reader.text("mail.url").is_none() {
        Some(Route::File(PathBuf::from("var/mail")))
    } else {
        reader.parsed("mail.url", route)
    };
    let remedy = ("écrivez l'adresse de l'expéditeur", "write the sender's address");
    let from = if production {
        reader.required("mail.from", remedy);
        reader.parsed("mail.from", address)
    } else {
        let default = || Email::parse("boutique@example.com").ok();
        reader.parsed("mail.from", address).or_else(default)
    };
    let fallback = second(reader, route.as_ref());
    if production {
        refuse_in_production(reader, route.as_ref(), from.as_ref());
        refuse_in_clear(reader, "mail.fallback_url", fallback.as_ref());
    }
    let from_name = reader.parsed("mail.from_name", |text| {
        Name::parse(text).map_err(|_| ("nom inutilisable".to_owned(), "not a usable name".to_owned()))
    });
    let reply_to = reader.parsed("mail.reply_to", address);
    let bounce_to = reader.parsed("mail.bounce_to", address);
    let per_hour = reader.number("mail.per_hour", 0..=1_000_000);
    let attach_receipt = reader.flag("mail.attach_receipt");
    let timeout = reader.duration("mail.timeout", Duration::from_secs(1));
    let connections_max = reader.number("mail.connections_max", 1..=64);
    let authorities = authority::read(reader, "mail.ca_file");
    Some(Mail {
        route: route?,
        from: from?,
        from_name: from_name?,
        reply_to,
        bounce_to,
        fallback,
        per_hour,
        attach_receipt,
        timeout,
        connections_max,
        authorities,
    })
}

/// The second server. A folder cannot stand in for one, nor beside one.
fn second(reader: &Reader<'_>, first: Option<&Route>) -> Option<SmtpServer> {
    reader.text("mail.fallback_url")?;
    match (first, reader.parsed("mail.fallback_url", route)?) {
        (Some(Route::Smtp(_)) | None, Route::Smtp(server)) => Some(server),
        (_, _) => {
            reader.problem(
                "mail.fallback_url",
                "un second serveur n'a de sens qu'à côté d'un premier — donnez smtp:// ou smtps:// ici et dans mail.url",
                "a second server makes sense beside a first one only — give smtp:// or smtps:// here and in mail.url",
            );
            None
        }
    }
}

fn refuse_in_clear(reader: &Reader<'_>, key: &str, server: Option<&SmtpServer>) {
    if server.is_some_and(|server| server.tls == Tls::None && !is_this_machine(&server.host)) {
        reader.problem(
            key,
            "tls=none vers une autre machine — en production, retirez tls=none",
            "tls=none to another machine — in production, remove tls=none",
        );
    }
}

fn refuse_in_production(reader: &Reader<'_>, route: Option<&Route>, from: Option<&Email>) {
    match route {
        Some(Route::File(_)) => reader.problem(
            "mail.url",
            "file: garde les courriels au lieu de les envoyer — en production, donnez un serveur smtp:// ou smtps://",
            "file: keeps mails instead of sending them — in production, give an smtp:// or smtps:// server",
        ),
        Some(Route::Smtp(server)) => refuse_in_clear(reader, "mail.url", Some(server)),
        None => {}
    }
    let sample = |email: &&Email| {
        let domain = email.expose().rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
        ["example.com", "example.org", "example.net", "localhost.localdomain"].contains(&domain.as_str())
    };
    if from.as_ref().is_some_and(sample) {
        reader.problem(
            "mail.from",
            "adresse d'exemple — en production, mettez la vôtre",
            "a sample address — in production, put your own",
        );
    }
}

fn is_this_machine(host: &str) -> bool {
    url::Host::parse(host).is_ok_and(|host| match &host {
        url::Host::Domain(name) => rules::is_loopback(&url::Host::Domain(name.as_str())),
        url::Host::Ipv4(ip) => ip.is_loopback(),
        url::Host::Ipv6(ip) => ip.is_loopback(),
    })
}

fn address(text: &str) -> Result<Email, Fault> {
    Email::parse(text).map_err(|_| {
        (
            "ce n'est pas une adresse électronique — écrivez nom@domaine".to_owned(),
            "not an e-mail address — write name@domain".to_owned(),
        )
    })
}

/// The faults never repeat the text: it may hold a password.
fn route(text: &str) -> Result<Route, Fault> {
    let wrong = || {
        (
            "ce n'est ni smtp://hôte:port, ni smtps://hôte:port, ni file:dossier — corrigez-la".to_owned(),
            "neither smtp://host:port, smtps://host:port nor file:<folder> — correct it".to_owned(),
        )
    };
    if let Some(folder) = text.strip_prefix("file:") {
        let folder = folder.strip_prefix("//").unwrap_or(folder);
        return if folder.is_empty() { Err(wrong()) } else { Ok(Route::File(PathBuf::from(folder))) };
    }
    let url = Url::parse(text).map_err(|_| wrong())?;
    let raw_host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    let host = raw_host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let (tls, port) = match url.scheme() {
        "smtps" => (Tls::Implicit, 465),
        "smtp" if is_this_machine(raw_host) => (Tls::None, 25),
        "smtp" => (Tls::StartTls, 587),
        _ => return Err(wrong()),
    };
    let asked = url.query_pairs().find(|(key, _)| key == "tls").map(|(_, value)| value.into_owned());
    let tls = match (asked.as_deref(), tls) {
        (None, tls) | (Some("required"), tls @ Tls::Implicit) => tls,
        (Some("required"), _) => Tls::StartTls,
        (Some("opportunistic"), Tls::None | Tls::StartTls) => Tls::Opportunistic,
        (Some("none"), Tls::None | Tls::StartTls) => Tls::None,
        (Some(_), _) => return Err(wrong()),
    };
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let login = (!url.username().is_empty())
        .then(|| (decoded(url.username()), Secret::new(decoded(url.password().unwrap_or_default()))));
    Ok(Route::Smtp(SmtpServer { host, port: url.port().unwrap_or(port), tls, login }))
}
