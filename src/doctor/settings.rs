//! What can be said of the settings without asking anybody.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Finding, Patient};
use crate::config::{self, Environment, FILE_DEFAULT, is_local, name_of};

/// Groups and others have no business with a secret.
const OTHERS: u32 = 0o077;
/// Part of the name of CinetPay's own hosts.
const CINETPAY_HOST: &str = "cinetpay.com";
/// Folders that a web server usually hands out.
const WEB_ROOTS: [&str; 6] = ["/var/www/", "/public_html/", "/htdocs/", "/httpdocs/", "/www/", "/wwwroot/"];

/// Keys and variables whose value is a secret.
const SECRET_KEYS: [&str; 8] = [
    "secret_key",
    "token",
    "api_key",
    "webhook_secret",
    "AUDITSHIELD_SECRET_KEY",
    "AUDITSHIELD_ADMIN__TOKEN",
    "CINETPAY_API_KEY",
    "CINETPAY_WEBHOOK_SECRET",
];
/// Those whose value holds one when it names a user.
const MAIL_KEYS: [&str; 2] = ["url", "AUDITSHIELD_MAIL__URL"];

pub(super) fn examine(patient: &Patient) -> Vec<Finding> {
    let mut findings = vec![environment(patient)];
    findings.extend(keys(patient));
    findings.extend(modes(patient));
    findings.push(addresses(patient));
    findings.extend(catalog(patient));
    findings
}

fn environment(patient: &Patient) -> Finding {
    let cinetpay = &patient.config.cinetpay;
    let real = cinetpay.api_url.host_str().is_some_and(|host| host.ends_with(CINETPAY_HOST));
    match (cinetpay.env, real) {
        (Environment::Production, true) => Finding::good(
            "environment",
            "production, chez CinetPay : de l'argent réel",
            "production, at CinetPay: real money",
        ),
        (Environment::Production, false) => Finding::warning(
            "environment",
            "production, mais CINETPAY_API_URL n'est pas un hôte de cinetpay.com — retirez CINETPAY_API_URL",
            "production, but CINETPAY_API_URL is no host of cinetpay.com — remove CINETPAY_API_URL",
        ),
        (Environment::Sandbox, true) => Finding::warning(
            "environment",
            "sandbox, mais CINETPAY_API_URL est le vrai CinetPay : de l'argent réel sans les contrôles de production — \
             mettez CINETPAY_ENV=production",
            "sandbox, but CINETPAY_API_URL is the real CinetPay: real money without production's checks — set \
             CINETPAY_ENV=production",
        ),
        (Environment::Sandbox, false) if patient.go_live => Finding::failure(
            "environment",
            "sandbox : rien n'est encaissé — mettez CINETPAY_ENV=production et les clés du back-office",
            "sandbox: no money is collected — set CINETPAY_ENV=production and the back office's keys",
        ),
        (Environment::Sandbox, false) => {
            Finding::note("environment", "sandbox : rien n'est encaissé", "sandbox: no money is collected")
        }
    }
}

/// Keys that were pasted into each other's place. Their texts are never shown.
fn keys(patient: &Patient) -> Vec<Finding> {
    let cinetpay = &patient.config.cinetpay;
    let api_key = cinetpay.api_key.expose();
    let mut findings = Vec::new();
    if cinetpay.webhook_secrets.iter().any(|secret| secret.expose() == api_key) {
        findings.push(Finding::failure(
            "keys",
            "CINETPAY_WEBHOOK_SECRET est la clé d'API — copiez la « Secret Key » du back-office, c'est une autre valeur",
            "CINETPAY_WEBHOOK_SECRET is the API key — copy the back office's Secret Key, which is another value",
        ));
    }
    if api_key == cinetpay.site_id {
        findings.push(Finding::failure(
            "keys",
            "CINETPAY_API_KEY est le numéro de site — copiez la clé d'API du back-office",
            "CINETPAY_API_KEY is the site id — copy the back office's API key",
        ));
    }
    if !cinetpay.site_id.bytes().all(|byte| byte.is_ascii_digit()) {
        findings.push(Finding::failure(
            "keys",
            "CINETPAY_SITE_ID n'est pas un nombre — copiez les chiffres du back-office",
            "CINETPAY_SITE_ID is not a number — copy the back office's digits",
        ));
    }
    let ours = patient.config.secret_keys.iter().chain(&patient.config.admin.tokens);
    let theirs: Vec<&str> = cinetpay.webhook_secrets.iter().map(|secret| secret.expose()).collect();
    if ours.into_iter().any(|secret| theirs.contains(&secret.expose()) || secret.expose() == api_key) {
        findings.push(Finding::warning(
            "keys",
            "AUDITSHIELD_SECRET_KEY ou AUDITSHIELD_ADMIN__TOKEN est aussi une clé de CinetPay — générez-en une : openssl \
             rand -hex 32",
            "AUDITSHIELD_SECRET_KEY or AUDITSHIELD_ADMIN__TOKEN is one of CinetPay's keys, too — make one: openssl rand \
             -hex 32",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::good("keys", "clés de forme plausible", "the keys look plausible"));
    }
    findings
}

/// Files with secrets in them.
fn modes(patient: &Patient) -> Vec<Finding> {
    let given = &patient.given;
    // Only what stands for a setting of ours: SSL_CERT_FILE and our own ca_file name what everybody may read.
    let known: BTreeSet<String> = config::keys().iter().map(|key| name_of(key)).collect();
    let ours = |name: &str| name.strip_suffix("_FILE").is_some_and(|name| known.contains(name));
    let secrets = given.env.iter().filter(|(name, _)| ours(name));
    let secrets = secrets.map(|(_, path)| PathBuf::from(path));
    let default = || given.look_for_file.then(|| PathBuf::from(FILE_DEFAULT));
    let settings = given.env_file.clone().into_iter().chain(given.file.clone().or_else(default));
    // A file of settings is nobody's secret until one is written into it.
    let settings =
        settings.filter(|path| std::fs::read_to_string(path).is_ok_and(|text| holds_secret(&text)));
    let mut findings: Vec<Finding> =
        secrets.chain(settings).filter_map(|path| open_to_others(&path)).collect();
    findings.extend(credentials(patient));
    if findings.is_empty() {
        findings.push(Finding::good(
            "secret-files",
            "aucun fichier de secrets lisible par d'autres",
            "no file with secrets that others may read",
        ));
    }
    findings
}

/// The folder of credentials. Only what everybody may read is told of: where systemd made it, the bits of the group are
/// an access list's, and lead no other account in.
fn credentials(patient: &Patient) -> Vec<Finding> {
    let Some(folder) = patient.given.env.get("CREDENTIALS_DIRECTORY").map(PathBuf::from) else {
        return Vec::new();
    };
    let everybody = |path: &Path, bit: u32| {
        std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & bit != 0)
    };
    if !everybody(&folder, 0o001) {
        return Vec::new();
    }
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let open = entries.map(|entry| entry.path()).filter(|path| path.is_file() && everybody(path, 0o004));
    open.filter_map(|path| open_to_others(&path)).collect()
}

fn open_to_others(path: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    if mode & OTHERS == 0 {
        return None;
    }
    let shown = path.display();
    Some(Finding::failure(
        "secret-files",
        format!("« {shown} » contient des secrets et d'autres comptes peuvent le lire — chmod 600 {shown}"),
        format!("{shown} holds secrets and other accounts may read it — chmod 600 {shown}"),
    ))
}

/// Whether a secret has a value in this text, TOML or dotenv.
fn holds_secret(text: &str) -> bool {
    let secret = |line: &str| {
        let (key, value) = line.trim().trim_start_matches("export ").split_once('=').unwrap_or_default();
        let (key, value) = (key.trim(), value.trim());
        let mail = MAIL_KEYS.contains(&key) && value.contains('@');
        (SECRET_KEYS.contains(&key) || mail) && !matches!(value, "" | "\"\"" | "''")
    };
    text.lines().any(secret)
}

fn addresses(patient: &Patient) -> Finding {
    let cinetpay = &patient.config.cinetpay;
    for (name, url) in [
        ("CINETPAY_NOTIFY_URL", &cinetpay.notify_url),
        ("CINETPAY_RETURN_URL", &cinetpay.return_url),
        ("AUDITSHIELD_SERVER__PUBLIC_URL", &patient.config.server.public_url),
    ] {
        let local = url.host().is_none_or(|host| is_local(&host));
        if url.scheme() == "https" && !local {
            continue;
        }
        let fr = format!(
            "{name} n'est pas une adresse https que le monde atteint ({url}) — mettez https://votre-domaine/…"
        );
        let en =
            format!("{name} is no https address that the world reaches ({url}) — put https://your-domain/…");
        let serious = patient.go_live || cinetpay.env == Environment::Production;
        return if serious {
            Finding::failure("addresses", fr, en)
        } else {
            Finding::note("addresses", fr, en)
        };
    }
    Finding::good("addresses", "adresses publiques en https", "public addresses, https")
}

/// The files of the catalogue were found readable when the settings were read. Here: whether the web hands them out.
fn catalog(patient: &Patient) -> Vec<Finding> {
    let tiers = patient.config.catalog.catalog.products.iter().flat_map(|product| &product.tiers);
    let mut findings = Vec::new();
    for tier in tiers {
        let path = std::fs::canonicalize(&tier.file).unwrap_or_else(|_| tier.file.clone());
        let shown = path.display();
        let text = path.to_string_lossy();
        if std::fs::File::open(&path).is_err() {
            findings.push(Finding::failure(
                "catalogue",
                format!("« {shown} » est vendu et ne peut pas être lu — corrigez le chemin ou les droits"),
                format!("{shown} is sold and cannot be read — correct the path or the permissions"),
            ));
        } else if WEB_ROOTS.iter().any(|root| text.contains(root)) {
            findings.push(Finding::failure(
                "catalogue",
                format!("« {shown} » est dans un dossier que le serveur web distribue à tous — déplacez-le hors de là"),
                format!("{shown} is in a folder that the web server hands out to everybody — move it elsewhere"),
            ));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good(
            "catalogue",
            "fichiers vendus lisibles, hors du web",
            "files for sale readable, and out of the web's reach",
        ));
    }
    findings
}
