//! A running ngrok agent's local API: which public address leads to our port.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde::Deserialize;
use url::Url;

/// The agent is on this machine.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer read, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// Nobody answers there.
    #[error(
        "{0}: aucun agent ngrok — lancez « ngrok http {1} » dans un autre terminal, ou donnez --public-url / no ngrok agent — \
         run `ngrok http {1}` in another terminal, or give --public-url"
    )]
    NoAgent(Url, u16),
    /// It answered something else than a list of tunnels.
    #[error(
        "{0}: ce n'est pas l'API d'un agent ngrok — vérifiez --ngrok / not the API of an ngrok agent — check --ngrok"
    )]
    Unreadable(Url),
    /// It has tunnels, and none over https to our port.
    #[error(
        "l'agent ngrok n'a pas de tunnel https vers le port {port} (il a : {has}) — lancez « ngrok http {port} » / the agent \
         has no https tunnel to that port — run `ngrok http {port}`"
    )]
    Elsewhere {
        /// Our port.
        port: u16,
        /// Where its tunnels lead.
        has: String,
    },
}

#[derive(Deserialize)]
struct Listing {
    tunnels: Vec<Tunnel>,
}

#[derive(Deserialize)]
struct Tunnel {
    public_url: String,
    config: Target,
}

#[derive(Deserialize)]
struct Target {
    addr: String,
}

/// The https address of the tunnel that leads to `port` of this machine.
///
/// # Errors
/// See [`TunnelError`].
pub async fn public_url(agent: &Url, port: u16) -> Result<Url, TunnelError> {
    let unreadable = || TunnelError::Unreadable(agent.clone());
    let absent = || TunnelError::NoAgent(agent.clone(), port);
    // An already installed provider serves just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT);
    let http = http.build().map_err(|_| absent())?;
    let place = agent.join("/api/tunnels").map_err(|_| unreadable())?;
    let asked = http.get(place).header("accept", "application/json").send().await;
    let mut answer = asked.map_err(|_| absent())?;
    if answer.status() != StatusCode::OK {
        return Err(unreadable());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|_| unreadable())? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(unreadable());
        }
        bytes.extend_from_slice(&chunk);
    }
    let listing: Listing = serde_json::from_slice(&bytes).map_err(|_| unreadable())?;
    chosen(&listing.tunnels, port)
}

fn chosen(tunnels: &[Tunnel], port: u16) -> Result<Url, TunnelError> {
    let found = tunnels.iter().filter(|tunnel| leads_to(&tunnel.config.addr) == Some(port));
    let mut urls = found.filter_map(|tunnel| Url::parse(&tunnel.public_url).ok());
    urls.find(|url| url.scheme() == "https").ok_or_else(|| {
        let plain = |text: &str| text.chars().filter(|c| !c.is_control()).take(100).collect::<String>();
        let has = tunnels
            .iter()
            .map(|tunnel| format!("{} → {}", plain(&tunnel.public_url), plain(&tunnel.config.addr)));
        let has = has.collect::<Vec<_>>().join(", ");
        TunnelError::Elsewhere { port, has: if has.is_empty() { "rien / none".to_owned() } else { has } }
    })
}

/// The port on this machine: agents write `8000`, `localhost:8000` or `http://localhost:8000`.
fn leads_to(addr: &str) -> Option<u16> {
    if let Ok(port) = addr.parse() {
        return Some(port);
    }
    let text = if addr.contains("://") { addr.to_owned() } else { format!("http://{addr}") };
    let url = Url::parse(&text).ok()?;
    let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]" | "0.0.0.0"));
    url.port_or_known_default().filter(|_| here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let check = |addr: &str, want: Option<u16>| assert_eq!(leads_to(addr), want, "{addr}");
        check("http://localhost:8000", Some(8000));
        check("localhost:8000", Some(8000));
        check("8000", Some(8000));
        check("https://127.0.0.1:8443", Some(8443));
        check("http://[::1]:8000", Some(8000));
        check("http://localhost", Some(80));
        check("http://10.0.0.7:8000", None);
        check("file:///srv", None);
        check("", None);
    }

    #[test]
    fn the_https_tunnel_to_our_port() {
        let check = |json: &str, want: Option<&str>| {
            let listing: Listing = serde_json::from_str(json).unwrap();
            let found = chosen(&listing.tunnels, 8000).ok();
            assert_eq!(found.as_ref().map(Url::as_str), want, "{json}");
        };
        let one = |url: &str, addr: &str| {
            format!(
                r#"{{"name":"x","public_url":"{url}","proto":"https","config":{{"addr":"{addr}","inspect":true}}}}"#
            )
        };
        let ours = one("https://a1.ngrok-free.app", "http://localhost:8000");
        let plain = one("http://a1.ngrok-free.app", "http://localhost:8000");
        let other = one("https://b2.ngrok-free.app", "http://localhost:3000");
        check(r#"{"tunnels":[],"uri":"/api/tunnels"}"#, None);
        check(&format!(r#"{{"tunnels":[{other}]}}"#), None);
        check(&format!(r#"{{"tunnels":[{plain}]}}"#), None);
        check(&format!(r#"{{"tunnels":[{other},{plain},{ours}]}}"#), Some("https://a1.ngrok-free.app/"));
    }
}
