//! The configuration: any file is read or refused in whole sentences that never hold a secret.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use auditshield::config::{Given, load};
use libfuzzer_sys::fuzz_target;

const API_KEY: &str = "canary-7Q1-api-key-that-nobody-prints";
const SIGNING_KEY: &str = "canary-8Q2-signing-key-that-nobody-prints";
const WEBHOOK: &str = "canary-9Q3-webhook-secret-that-nobody-prints";
/// Longest line said about one problem, in bytes, for one byte of input.
const LINE_BYTES_MAX: usize = 4 * 1024;

const CATALOG: &str = "[[product]]\nslug = \"kit\"\nname = \"Kit\"\n[[product.tier]]\nid = \"one\"\nname = \"One\"\n\
                       price = 15000\ncurrency = \"XOF\"\nfile = \"kit.pdf\"\n";

/// One folder per process, in memory where there is such a place.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let base = PathBuf::from("/dev/shm");
    let base = if base.is_dir() { base } else { std::env::temp_dir() };
    let folder = base.join(format!("auditshield-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("kit.pdf"), "%PDF").expect("a file");
    folder
});

// Three parts, parted by `\0`: auditshield.toml, the dotenv file, catalog.toml. A part that is empty is a good one.
fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |byte| *byte == 0);
    let toml = [format!("secret_key = \"{SIGNING_KEY}\"\n").as_bytes(), parts.next().unwrap_or_default()].concat();
    let dotenv = parts.next().unwrap_or_default();
    let catalog = parts.next().filter(|text| !text.is_empty()).unwrap_or(CATALOG.as_bytes());
    let path = |name: &str| FOLDER.join(name);
    fs::write(path("auditshield.toml"), toml).expect("write");
    fs::write(path("env"), dotenv).expect("write");
    fs::write(path("catalog.toml"), catalog).expect("write");
    let mut given = Given::only([
        ("AUDITSHIELD_ADMIN__TOKEN", "an admin token for the test"),
        ("AUDITSHIELD_CATALOG__PATH", &path("catalog.toml").display().to_string()),
        ("CINETPAY_API_KEY", API_KEY),
        ("CINETPAY_SITE_ID", "445160"),
        ("CINETPAY_WEBHOOK_SECRET", WEBHOOK),
    ]);
    given.file = Some(path("auditshield.toml"));
    given.env_file = Some(path("env"));
    match load(&given) {
        Ok(config) => {
            assert!(!config.catalog.catalog.products.is_empty(), "a shop sells something");
            for product in &config.catalog.catalog.products {
                for tier in &product.tiers {
                    assert!(tier.file.is_absolute() && tier.file.is_file(), "what is sold exists");
                    assert!(product.slug.bytes().all(|byte| byte.is_ascii_graphic()), "{}", product.slug);
                    let found = config.catalog.catalog.find(&product.slug, &tier.id);
                    assert!(found.is_some_and(|(_, same)| same.price == tier.price), "each is found by its name");
                }
            }
            assert!(config.server.public_url.path().ends_with('/'));
            assert!(!config.cinetpay.site_id.is_empty() && !config.cinetpay.webhook_secrets.is_empty());
            assert!(config.verify.first_poll <= config.verify.horizon);
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                let line = problem.to_string();
                assert!(!line.contains(['\n', '\r']), "one line each: {line:?}");
                assert!(line.len() <= LINE_BYTES_MAX + 8 * input.len(), "{} bytes", line.len());
                for secret in [API_KEY, SIGNING_KEY, WEBHOOK] {
                    assert!(!line.contains(secret), "a secret was printed: {line}");
                }
            }
        }
    }
});
