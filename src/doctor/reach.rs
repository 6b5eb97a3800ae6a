//! From outside in: the addresses that buyers and CinetPay use, asked the way they ask.

use serde::Deserialize;

use super::{Finding, Patient};
use crate::adapters::cinetpay::trial;
use crate::adapters::keyed_hash::KeyedHash;
use crate::adapters::outside::{Outside, Seen};
use crate::config::is_local;
use crate::telemetry::gauge;

const OK: u16 = 200;
/// Orders paid in a row without a notification that are no coincidence; as the daemon's own warning.
const UNHEARD_MAX: f64 = 3.0;

/// What the daemon says of a trial notification.
#[derive(Deserialize)]
struct Echo {
    trial: String,
    site: bool,
    body_hash: String,
    client: Option<std::net::IpAddr>,
}

/// What the running daemon counts; none where none answers.
pub(super) async fn metrics(patient: &Patient) -> Option<String> {
    let listen = &patient.config.admin.listen;
    let seen = Outside::inside(listen).ok()?.get(&format!("{}/metrics", listen.origin()), None).await.ok()?;
    Some(String::from_utf8_lossy(&seen.body).into_owned())
}

pub(super) async fn examine(patient: &Patient, metrics: Option<&str>) -> Vec<Finding> {
    let listen = &patient.config.admin.listen;
    let clients = Outside::new(None).and_then(|outside| Ok((outside, Outside::inside(listen)?)));
    let (outside, inside) = match clients {
        Ok(clients) => clients,
        Err(error) => {
            return vec![Finding::failure(
                "tls",
                format!(
                    "HTTPS impossible depuis cette machine ({error}) — installez le paquet ca-certificates"
                ),
                format!("no HTTPS from this machine ({error}) — install the package ca-certificates"),
            )];
        }
    };
    let mut findings = daemon(patient, &inside, metrics).await;
    findings.push(ping(patient, &outside).await);
    findings.extend(notification(patient, &outside).await);
    findings.push(back(patient, &outside).await);
    findings
}

/// Whether it runs, and what it says of itself.
async fn daemon(patient: &Patient, inside: &Outside, metrics: Option<&str>) -> Vec<Finding> {
    let (place, base) = (&patient.config.admin.listen, patient.config.admin.listen.origin());
    let ready = match inside.get(&format!("{base}/readyz"), None).await {
        Ok(Seen { status: OK, .. }) => {
            Finding::good("daemon", "le service tourne et peut écrire", "the daemon runs and can commit")
        }
        Ok(Seen { status, body, .. }) => {
            let reason = String::from_utf8_lossy(&body).into_owned();
            Finding::failure(
                "daemon",
                format!(
                    "le service tourne mais n'est pas prêt ({status}) : {reason} — journalctl -u auditshield"
                ),
                format!("the daemon runs and is not ready ({status}): {reason} — journalctl -u auditshield"),
            )
        }
        Err(error) => Finding::failure(
            "daemon",
            format!("le service ne répond pas sur {place} ({error}) — systemctl start auditshield"),
            format!("the daemon does not answer at {place} ({error}) — systemctl start auditshield"),
        ),
    };
    let unheard = metrics.and_then(|text| gauge(text, "auditshield_paid_unheard"));
    let silence = unheard.filter(|run| *run >= UNHEARD_MAX).map(|run| {
        Finding::warning(
            "silence",
            format!(
                "{run} commandes payées de suite sans aucune notification : seule l'interrogation les a trouvées — \
                 déclarez {} dans le back-office CinetPay, et voyez « notification » ci-dessous",
                patient.config.cinetpay.notify_url
            ),
            format!(
                "{run} orders in a row were paid and no notification came: only polling found them — declare {} in \
                 CinetPay's back office, and see `notification` below",
                patient.config.cinetpay.notify_url
            ),
        )
    });
    [Some(ready), silence].into_iter().flatten().collect()
}

/// CinetPay asks with GET before it posts.
async fn ping(patient: &Patient, outside: &Outside) -> Finding {
    let url = &patient.config.cinetpay.notify_url;
    match outside.get(url.as_str(), None).await {
        Ok(Seen { status: OK, .. }) => {
            Finding::good("notify-ping", format!("GET {url} : 200"), format!("GET {url}: 200"))
        }
        Ok(Seen { status, .. }) => Finding::failure(
            "notify-ping",
            format!("GET {url} répond {status} au lieu de 200 — {}", hint_fr(status)),
            format!("GET {url} answers {status} instead of 200 — {}", hint_en(status)),
        ),
        Err(error) => Finding::failure(
            "notify-ping",
            format!("GET {url} : pas de réponse ({error}) — vérifiez DNS, pare-feu, certificat et proxy"),
            format!("GET {url}: no answer ({error}) — check DNS, firewall, certificate and proxy"),
        ),
    }
}

/// A signed notification about no order, with a number of its own: what arrives is compared with what was sent.
async fn notification(patient: &Patient, outside: &Outside) -> Vec<Finding> {
    let cinetpay = &patient.config.cinetpay;
    let url = &cinetpay.notify_url;
    let number = format!("{:032x}", rand::random::<u128>());
    let secret = cinetpay.webhook_secrets.first().map_or(&[][..], |secret| secret.bytes());
    let (form, token) = trial::notification(&cinetpay.site_id, &number, secret);
    let key = patient.config.secret_keys.first().map_or(&[][..], |key| key.bytes());
    let hash = KeyedHash::new(key).hex(form.as_bytes());
    let bad = |fr: String, en: String| vec![Finding::failure("notification", fr, en)];
    let seen = match outside.notify(url, form, &token).await {
        Ok(seen) => seen,
        Err(error) => {
            return bad(
                format!("POST {url} : pas de réponse ({error}) — vérifiez pare-feu, ModSecurity et proxy"),
                format!("POST {url}: no answer ({error}) — check firewall, ModSecurity and proxy"),
            );
        }
    };
    if seen.status != OK {
        let status = seen.status;
        return bad(
            format!("une notification signée reçoit {status} au lieu de 200 — {}", hint_fr(status)),
            format!("a signed notification is answered {status} instead of 200 — {}", hint_en(status)),
        );
    }
    let echo = serde_json::from_slice::<Echo>(&seen.body).ok().filter(|echo| echo.trial == number);
    let Some(echo) = echo else {
        return bad(
            format!(
                "{url} répond 200, mais ce n'est pas AuditShield qui a répondu : une page d'accueil, un cache, un \
                     CDN — faites suivre cette adresse au service sans cache"
            ),
            format!(
                "{url} answers 200, and it was not AuditShield that answered: a landing page, a cache, a CDN — \
                     pass this address to the daemon, uncached"
            ),
        );
    };
    if !echo.site || echo.body_hash != hash {
        return bad(
            "la notification est arrivée modifiée, ou à un service avec d'autres réglages — désactivez la réécriture \
             (ModSecurity, CDN) pour cette adresse, et redémarrez le service après un changement de clés"
                .to_owned(),
            "the notification arrived changed, or at a daemon with other settings — switch rewriting (ModSecurity, CDN) \
             off for this address, and restart the daemon after a change of keys"
                .to_owned(),
        );
    }
    let arrived = Finding::good(
        "notification",
        "une notification signée arrive intacte",
        "a signed notification arrives as it was sent",
    );
    vec![arrived, proxy(url, echo.client)]
}

/// Behind a proxy that is not trusted every client has the proxy's address: one limit for all of them.
fn proxy(url: &url::Url, client: Option<std::net::IpAddr>) -> Finding {
    let public = url.host().is_some_and(|host| !is_local(&host));
    let local = client.is_none_or(|client| match client {
        std::net::IpAddr::V4(ip) => is_local(&url::Host::Ipv4(ip)),
        std::net::IpAddr::V6(ip) => is_local(&url::Host::Ipv6(ip)),
    });
    let shown = client.map_or_else(|| "?".to_owned(), |client| client.to_string());
    if public && local {
        return Finding::warning(
            "proxy",
            format!(
                "tous les clients ont l'adresse du proxy ({shown}), et partagent une seule limite — \
                 AUDITSHIELD_SERVER__TRUSTED_PROXIES={shown}, et X-Forwarded-For dans le proxy"
            ),
            format!(
                "all clients have the proxy's address ({shown}), and share one limit — \
                 AUDITSHIELD_SERVER__TRUSTED_PROXIES={shown}, and X-Forwarded-For in the proxy"
            ),
        );
    }
    Finding::good(
        "proxy",
        format!("adresse du client vue : {shown}"),
        format!("the client's address as seen: {shown}"),
    )
}

async fn back(patient: &Patient, outside: &Outside) -> Finding {
    let url = &patient.config.cinetpay.return_url;
    match outside.get(url.as_str(), None).await {
        // 404 is the page's own word for "no order named"; a merchant's page of his own may say anything but 5xx.
        Ok(Seen { status, .. }) if status < 500 && status != 403 => {
            Finding::good("return", format!("GET {url} : {status}"), format!("GET {url}: {status}"))
        }
        Ok(Seen { status, .. }) => Finding::failure(
            "return",
            format!("l'adresse de retour {url} répond {status} — {}", hint_fr(status)),
            format!("the return address {url} answers {status} — {}", hint_en(status)),
        ),
        Err(error) => Finding::failure(
            "return",
            format!("l'adresse de retour {url} ne répond pas ({error}) — vérifiez CINETPAY_RETURN_URL"),
            format!("the return address {url} does not answer ({error}) — check CINETPAY_RETURN_URL"),
        ),
    }
}

/// What a status code says about what stands in the way.
fn hint_fr(status: u16) -> &'static str {
    match status {
        300..=399 => {
            "une redirection : CinetPay ne la suit pas ; mettez l'adresse finale dans CINETPAY_NOTIFY_URL"
        }
        400 => {
            "la signature n'a pas été reconnue : corps ou en-tête x-token modifié en route, ou autre Secret Key"
        }
        401 | 403 => "un pare-feu, ModSecurity ou un CDN bloque ; ajoutez une exception pour cette adresse",
        404 | 405 => "ce chemin n'arrive pas au service ; corrigez le proxy ou CINETPAY_NOTIFY_URL",
        502..=504 => "le proxy n'atteint pas le service ; démarrez-le, vérifiez le port",
        _ => "voyez le journal du proxy et du service",
    }
}

fn hint_en(status: u16) -> &'static str {
    match status {
        300..=399 => {
            "a redirect: CinetPay does not follow it; put the final address into CINETPAY_NOTIFY_URL"
        }
        400 => {
            "the signature was not recognised: body or x-token header changed on the way, or another Secret Key"
        }
        401 | 403 => "a firewall, ModSecurity or a CDN blocks; make an exception for this address",
        404 | 405 => "this path does not arrive at the daemon; correct the proxy or CINETPAY_NOTIFY_URL",
        502..=504 => "the proxy does not reach the daemon; start it, check the port",
        _ => "see the proxy's log and the daemon's",
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn a_proxy_is_told_from_its_clients() {
        for (url, client, want) in [
            ("https://pay.boutique.ci/", Some("127.0.0.1"), Severity::Warning),
            ("https://pay.boutique.ci/", Some("10.0.0.7"), Severity::Warning),
            ("https://pay.boutique.ci/", None, Severity::Warning),
            ("https://pay.boutique.ci/", Some("41.207.1.2"), Severity::Good),
            ("https://pay.boutique.ci/", Some("2a01:4f8::1"), Severity::Good),
            ("http://127.0.0.1:8000/", Some("127.0.0.1"), Severity::Good),
        ] {
            let client_ip = client.map(|ip| ip.parse().unwrap());
            let found = proxy(&url.parse().unwrap(), client_ip);
            assert_eq!(found.severity, want, "{url} {client:?}");
        }
    }
}
