//! Mail: whether the server takes it, and whether the world will believe it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Finding, Patient};
use crate::adapters::dns::{self, DnsError};
use crate::adapters::mailer::{self, Postman};
use crate::adapters::token::Links;
use crate::config::Route;
use crate::domain::values::OrderId;
use crate::ports::Posted;

pub(super) async fn examine(patient: &Patient) -> Vec<Finding> {
    let mut findings = server(patient).await;
    findings.extend(records(patient).await);
    findings
}

async fn server(patient: &Patient) -> Vec<Finding> {
    if let Route::File(folder) = &patient.config.mail.route {
        let folder = folder.display();
        return vec![Finding::note(
            "mail",
            format!("les courriels sont gardés dans « {folder} », aucun n'est envoyé"),
            format!("mails are kept in {folder}, none is sent"),
        )];
    }
    let links = Arc::new(Links::new(&[], std::iter::empty()));
    let postman = match Postman::new(mailer::Settings::from(&patient.config), links) {
        Ok(postman) => postman,
        Err(error) => {
            return vec![Finding::failure(
                "mail",
                format!("AUDITSHIELD_MAIL__* : {error}"),
                error.to_string(),
            )];
        }
    };
    if let Err(code) = postman.greet().await {
        let (fr, en) = remedy(&code);
        return vec![Finding::failure(
            "mail",
            format!("le serveur de courriel refuse ou se tait ({code}) — {fr}"),
            format!("the mail server refuses or is silent ({code}) — {en}"),
        )];
    }
    let mut findings =
        vec![Finding::good("mail", "connexion et identifiants acceptés", "connection and login accepted")];
    match postman.greet_fallback().await {
        None => {}
        Some(Ok(())) => findings.push(Finding::good(
            "mail-fallback",
            "second serveur : connexion et identifiants acceptés",
            "second server: connection and login accepted",
        )),
        Some(Err(code)) => findings.push(Finding::warning(
            "mail-fallback",
            format!("le second serveur refuse ou se tait ({code}) — vérifiez AUDITSHIELD_MAIL__FALLBACK_URL"),
            format!("the second server refuses or is silent ({code}) — check AUDITSHIELD_MAIL__FALLBACK_URL"),
        )),
    }
    match &patient.trial_to {
        None => findings.push(Finding::note(
            "mail-trial",
            "aucun courriel d'essai envoyé — --test-mail votre@adresse",
            "no trial mail sent — --test-mail your@address",
        )),
        Some(to) => {
            let order = OrderId::new(patient.clock.now(), rand::random());
            findings.push(match postman.trial(order, to).await {
                Posted::Accepted => Finding::good(
                    "mail-trial",
                    "courriel d'essai remis au serveur : vérifiez qu'il arrive, et pas parmi les indésirables",
                    "trial mail handed to the server: see that it arrives, and not among the spam",
                ),
                Posted::Refused { reason } | Posted::Unavailable { reason } => Finding::failure(
                    "mail-trial",
                    format!("courriel d'essai refusé ({reason}) — vérifiez AUDITSHIELD_MAIL__FROM"),
                    format!("trial mail refused ({reason}) — check AUDITSHIELD_MAIL__FROM"),
                ),
            });
        }
    }
    findings
}

fn remedy(code: &str) -> (&'static str, &'static str) {
    match code {
        "TLS" => (
            "certificat refusé : le nom de AUDITSHIELD_MAIL__URL doit être celui du certificat",
            "certificate refused: the name in AUDITSHIELD_MAIL__URL must be the certificate's",
        ),
        "TIMEOUT" | "NETWORK" => (
            "vérifiez hôte et port dans AUDITSHIELD_MAIL__URL ; le port 25 sortant est souvent fermé, essayez 587 ou 465",
            "check host and port in AUDITSHIELD_MAIL__URL; outbound port 25 is often closed, try 587 or 465",
        ),
        code if code.starts_with("53") => (
            "utilisateur ou mot de passe de AUDITSHIELD_MAIL__URL : recopiez-les (@ : / s'écrivent %40 %3A %2F)",
            "user or password in AUDITSHIELD_MAIL__URL: copy them again (@ : / are written %40 %3A %2F)",
        ),
        _ => ("voyez avec l'hébergeur du courriel", "ask the mail provider"),
    }
}

async fn records(patient: &Patient) -> Vec<Finding> {
    let domain =
        patient.config.mail.from.expose().rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    let Some(resolver) = patient.resolver else {
        return vec![Finding::note("dns", "pas de résolveur DNS trouvé", "no DNS resolver was found")];
    };
    let found = async {
        let mut findings = vec![spf(&domain, &dns::texts(resolver, &domain).await?)];
        findings.push(dmarc(&domain, &policy(resolver, &domain).await?));
        findings.push(dkim(patient, resolver, &domain).await?);
        Ok::<_, DnsError>(findings)
    };
    found.await.unwrap_or_else(|error| {
        vec![Finding::warning(
            "dns",
            format!("les enregistrements de {domain} n'ont pas pu être lus ({error}) — réessayez"),
            format!("the records of {domain} could not be read ({error}) — try again"),
        )]
    })
}

fn spf(domain: &str, texts: &[String]) -> Finding {
    let records: Vec<&String> =
        texts.iter().filter(|text| text.as_str() == "v=spf1" || text.starts_with("v=spf1 ")).collect();
    match records.as_slice() {
        [] => Finding::warning(
            "spf",
            format!(
                "{domain} n'a pas de SPF : les liens finiront parmi les indésirables — publiez le TXT que donne votre hébergeur de courriel"
            ),
            format!(
                "{domain} has no SPF: links will end among the spam — publish the TXT record of your mail provider"
            ),
        ),
        [record] if record.split(' ').any(|term| term.eq_ignore_ascii_case("+all")) => Finding::warning(
            "spf",
            format!("le SPF de {domain} autorise tout le monde (+all) — remplacez par ~all ou -all"),
            format!("the SPF of {domain} allows everybody (+all) — write ~all or -all"),
        ),
        [_] => {
            Finding::good("spf", format!("SPF publié pour {domain}"), format!("SPF published for {domain}"))
        }
        [_, ..] => Finding::warning(
            "spf",
            format!("{domain} a plusieurs SPF : aucun ne compte (RFC 7208) — gardez-en un"),
            format!("{domain} has several SPF records: none counts (RFC 7208) — keep one"),
        ),
    }
}

/// The DMARC records of the domain, or of the nearest one above it.
async fn policy(resolver: SocketAddr, domain: &str) -> Result<Vec<String>, DnsError> {
    let mut above = domain;
    loop {
        let mut texts = dns::texts(resolver, &format!("_dmarc.{above}")).await?;
        texts.retain(|text| text.starts_with("v=DMARC1"));
        match above.split_once('.') {
            Some((_, rest)) if texts.is_empty() && rest.contains('.') => above = rest,
            _ => return Ok(texts),
        }
    }
}

fn dmarc(domain: &str, texts: &[String]) -> Finding {
    match texts {
        [_] => Finding::good(
            "dmarc",
            format!("DMARC publié pour {domain}"),
            format!("DMARC published for {domain}"),
        ),
        _ => Finding::warning(
            "dmarc",
            format!("{domain} n'a pas un DMARC — publiez en TXT sous _dmarc.{domain} : v=DMARC1; p=none"),
            format!(
                "{domain} does not have one DMARC record — publish a TXT under _dmarc.{domain}: v=DMARC1; p=none"
            ),
        ),
    }
}

/// A key's name is the provider's choice: the usual ones are tried.
async fn dkim(patient: &Patient, resolver: SocketAddr, domain: &str) -> Result<Finding, DnsError> {
    for selector in &patient.dkim_selectors {
        let texts = dns::texts(resolver, &format!("{selector}._domainkey.{domain}")).await?;
        if texts.iter().any(|text| text.contains("p=") && !text.contains("p=;") && !text.ends_with("p=")) {
            return Ok(Finding::good(
                "dkim",
                format!("clé DKIM « {selector} » publiée pour {domain}"),
                format!("DKIM key `{selector}` published for {domain}"),
            ));
        }
    }
    Ok(Finding::warning(
        "dkim",
        format!(
            "aucune clé DKIM trouvée pour {domain} sous les noms habituels — activez DKIM chez l'hébergeur du courriel, ou \
                 donnez son nom : --dkim-selector NOM"
        ),
        format!(
            "no DKIM key found for {domain} under the usual names — switch DKIM on at the mail provider, or name it: \
                 --dkim-selector NAME"
        ),
    ))
}
