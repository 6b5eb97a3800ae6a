//! What production refuses: placeholders, addresses without TLS, hosts that the world cannot reach.

use std::net::IpAddr;

use url::{Host, Url};

use super::reader::{Fault, Reader};

/// Beginnings of texts that stand in a template, not in a back office.
const PLACEHOLDER_STARTS: [&str; 12] = [
    "changeme",
    "change_me",
    "change-me",
    "xxx",
    "your_",
    "your-",
    "test",
    "dummy",
    "example",
    "placeholder",
    "todo",
    "<",
];
/// Fewest bytes of a secret that we sign or authenticate with, in production.
pub(super) const SECRET_BYTES_MIN: usize = 16;

/// An http or https address without user, query or fragment surprises.
pub(super) fn web_address(text: &str) -> Result<Url, Fault> {
    match Url::parse(text) {
        Ok(url)
            if matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none() =>
        {
            Ok(url)
        }
        Ok(_) | Err(_) => Err((
            format!("« {text} » n'est pas une adresse — écrivez https://hôte/chemin"),
            "not an address — write https://host/path".to_owned(),
        )),
    }
}

/// Whether a text is a template's, not a value.
pub(super) fn is_placeholder(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    let mut bytes = text.bytes();
    let first = bytes.next();
    PLACEHOLDER_STARTS.iter().any(|start| text.starts_with(start)) || bytes.all(|byte| Some(byte) == first)
}

/// Whether only this machine or this network can reach the host.
pub fn is_local(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            !name.contains('.')
                || [".localhost", ".local", ".internal", ".lan", ".test", ".invalid", ".example"]
                    .iter()
                    .any(|end| name.ends_with(end))
        }
        Host::Ipv4(address) => {
            let [a, b, ..] = address.octets();
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || a == 0
                || (a == 100 && (64..128).contains(&b))
        }
        Host::Ipv6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_local(&Host::Ipv4(mapped)),
            None => {
                let first = address.segments()[0];
                address.is_loopback()
                    || address.is_unspecified()
                    || first & 0xFE00 == 0xFC00
                    || first & 0xFFC0 == 0xFE80
            }
        },
    }
}

/// Whether the host is this machine.
pub(super) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Production: TLS, and a host that CinetPay and the buyers can reach.
pub(super) fn public_address(reader: &Reader<'_>, key: &str, url: &Url) {
    if url.scheme() != "https" {
        reader.problem(
            key,
            &format!("« {url} » n'est pas chiffrée — en production, écrivez https://"),
            "not encrypted — in production, write https://",
        );
    }
    if url.host().is_none_or(|host| is_local(&host)) {
        reader.problem(
            key,
            &format!("« {url} » est une adresse locale — en production, donnez une adresse publique"),
            "a local address — in production, give one that the internet can reach",
        );
    }
}

/// Production: a real value, and long enough where we sign with it.
pub(super) fn real_secret(reader: &Reader<'_>, key: &str, text: &str, bytes_min: usize) {
    if is_placeholder(text) {
        reader.problem(
            key,
            "valeur d'exemple — en production, mettez la vraie",
            "a placeholder — in production, put the real value",
        );
    } else if text.len() < bytes_min {
        reader.problem(
            key,
            &format!("moins de {bytes_min} octets — en production, générez-en un avec openssl rand -hex 32"),
            &format!("shorter than {bytes_min} bytes — in production, make one with openssl rand -hex 32"),
        );
    }
}

/// The address of the proxy or network: `10.0.0.0/8`, or one address.
pub(super) fn network(text: &str) -> Result<ipnet::IpNet, Fault> {
    text.parse().or_else(|_| text.parse::<IpAddr>().map(ipnet::IpNet::from)).map_err(|_| {
        (
            format!("« {text} » n'est ni une adresse ni un réseau — écrivez 127.0.0.1 ou 10.0.0.0/8"),
            "neither an address nor a network — write 127.0.0.1 or 10.0.0.0/8".to_owned(),
        )
    })
}

/// A web origin, spelled as browsers send it.
pub(super) fn origin(text: &str) -> Result<String, Fault> {
    let url = web_address(text)?;
    if url.path() == "/" && url.query().is_none() && url.fragment().is_none() {
        Ok(url.origin().ascii_serialization())
    } else {
        Err((
            format!("« {text} » n'est pas une origine — écrivez https://hôte, sans chemin"),
            "not an origin — write https://host, without a path".to_owned(),
        ))
    }
}
