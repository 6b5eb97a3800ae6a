//! Each line is a case. No test reads this process's environment.

mod properties;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

/// A folder with a catalogue that is right.
struct Shop(tempfile::TempDir);

impl Shop {
    fn new() -> Self {
        let shop = Self(tempfile::tempdir().expect("temporary folder"));
        shop.write("kit.bin", "%PDF");
        shop.write("catalog.toml", CATALOG);
        shop
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).expect("write");
        self.path(name).display().to_string()
    }
    fn base(&self) -> BTreeMap<String, String> {
        let catalog = self.path("catalog.toml").display().to_string();
        [
            ("AUDITSHIELD_SECRET_KEY", "k"),
            ("AUDITSHIELD_ADMIN__TOKEN", "t"),
            ("AUDITSHIELD_CATALOG__PATH", catalog.as_str()),
            ("CINETPAY_API_KEY", "a"),
            ("CINETPAY_SITE_ID", "445160"),
            ("CINETPAY_WEBHOOK_SECRET", "w"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
    fn given(&self, changes: &[(&str, &str)]) -> Given {
        let mut env = self.base();
        env.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Given::only(env)
    }
    fn load(&self, changes: &[(&str, &str)]) -> Result<Config, Problems> {
        load(&self.given(changes))
    }
}

const CATALOG: &str = include_str!("../../tests/catalog.toml");

const PRODUCTION: [(&str, &str); 10] = [
    ("CINETPAY_ENV", "production"),
    ("CINETPAY_API_KEY", "1837465925f3c8e1a0b2c3d4.00112233"),
    ("CINETPAY_SITE_ID", "445160"),
    ("CINETPAY_WEBHOOK_SECRET", "8842736455f0a9b8c7d6e5f4"),
    ("AUDITSHIELD_SECRET_KEY", "2f8d8f0ac7f6e5d4c3b2a1908f7e6d5c"),
    ("AUDITSHIELD_ADMIN__TOKEN", "c0ffee00c0ffee11c0ffee22"),
    ("AUDITSHIELD_SERVER__PUBLIC_URL", "https://pay.boutique.ci"),
    ("AUDITSHIELD_MAIL__URL", "smtp://u:p@mail.boutique.ci"),
    ("AUDITSHIELD_MAIL__FROM", "ventes@boutique.ci"),
    ("AUDITSHIELD_STORE__URL", "sled:/var/lib/auditshield"),
];

#[test]
fn every_default_is_read_and_right() {
    let mut problems = Vec::new();
    let shop = Shop::new();
    let values = sources::gather(&shop.given(&[]), &mut problems);
    let reader = reader::Reader::new(&values, problems);
    assert!(sections::config(&reader).is_some());
    assert_eq!(
        reader.keys_read(),
        keys(),
        "a key of config/auditshield.toml that nothing reads, or the reverse"
    );
    assert_eq!(reader.finish(), []);
}

#[test]
fn defaults_are_the_contracts() {
    let config = Shop::new().load(&[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8001");
    assert_eq!(config.server.public_url.as_str(), "http://127.0.0.1:8000/");
    assert_eq!(config.cinetpay.api_url.as_str(), "http://127.0.0.1:8020/");
    assert_eq!(config.cinetpay.return_url.as_str(), "http://127.0.0.1:8000/payment/return/");
    assert_eq!(config.cinetpay.notify_url.as_str(), "http://127.0.0.1:8000/payment/callback/");
    assert_eq!(config.policy(), Policy::default());
    assert_eq!(config.store, Store::Sled("var/store".into()));
    assert_eq!(config.catalog.catalog.products.len(), 1);
    assert!(matches!(config.mail.route, Route::File(_)));
}

/// One variable changed, then `NAME` of the only problem, or "" for none.
fn check(base: &[(&str, &str)], name: &str, value: &str, want: &str) {
    let mut changes = base.to_vec();
    changes.push((name, value));
    let got = match Shop::new().load(&changes) {
        Ok(_) => String::new(),
        Err(Problems(problems)) => {
            for problem in &problems {
                let line = problem.to_string();
                assert!(!line.contains('\n') && line.contains(" — ") && line.contains(" / "), "{line}");
            }
            problems.into_iter().map(|problem| problem.name).collect::<Vec<_>>().join(" ")
        }
    };
    assert_eq!(got, want, "{name}={value}");
}

#[test]
fn wrong_values_are_named() {
    let wrong = |name: &str, value: &str| check(&[], name, value, name);
    let right = |name: &str, value: &str| check(&[], name, value, "");
    for required in [
        "CINETPAY_API_KEY",
        "CINETPAY_SITE_ID",
        "CINETPAY_WEBHOOK_SECRET",
        "AUDITSHIELD_SECRET_KEY",
        "AUDITSHIELD_ADMIN__TOKEN",
    ] {
        wrong(required, "");
        wrong(required, "  ");
    }
    right("CINETPAY_WEBHOOK_SECRET", "old, new");
    wrong("CINETPAY_WEBHOOK_SECRET", "a,b,c");
    wrong("AUDITSHIELD_SECRET_KEY", "a,");
    wrong("CINETPAY_ENV", "prod");
    wrong("CINETPAY_API_URL", "ftp://x.ci");
    wrong("AUDITSHIELD_SERVER__LISTEN", "8000");
    right("AUDITSHIELD_SERVER__LISTEN", "[::1]:0");
    right("AUDITSHIELD_SERVER__LISTEN", "localhost:8000");
    wrong("AUDITSHIELD_SERVER__TRUSTED_PROXIES", "127.0.0.1,proxy");
    right("AUDITSHIELD_SERVER__TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8, ::1");
    wrong("AUDITSHIELD_SERVER__ALLOWED_ORIGINS", "https://shop.ci/path");
    wrong("AUDITSHIELD_SERVER__ALLOWED_ORIGINS", "*");
    right("AUDITSHIELD_SERVER__ALLOWED_ORIGINS", "https://shop.ci,http://localhost:3000");
    if !cfg!(feature = "postgres") {
        wrong("AUDITSHIELD_STORE__URL", "postgres://u:p@db/x");
    }
    wrong("AUDITSHIELD_STORE__URL", "/var/lib/x");
    wrong("AUDITSHIELD_CATALOG__PATH", "/nowhere/catalog.toml");
    wrong("AUDITSHIELD_MAIL__URL", "mailto:x");
    wrong("AUDITSHIELD_MAIL__URL", "smtp://");
    wrong("AUDITSHIELD_MAIL__URL", "smtp://h?tls=maybe");
    wrong("AUDITSHIELD_MAIL__FROM", "nobody");
    wrong("AUDITSHIELD_DOWNLOAD__TTL", "72");
    wrong("AUDITSHIELD_DOWNLOAD__TTL", "400 days");
    right("AUDITSHIELD_DOWNLOAD__TTL", "2s");
    wrong("AUDITSHIELD_DOWNLOAD__MAX_DOWNLOADS", "0");
    wrong("AUDITSHIELD_VERIFY__FIRST_POLL", "soon");
    wrong("AUDITSHIELD_VERIFY__FIRST_POLL", "100h");
    wrong("AUDITSHIELD_LIMITS__BUY_PER_MINUTE", "-1");
    right("AUDITSHIELD_LIMITS__BUY_PER_MINUTE", "0");
    wrong("AUDITSHIELD_LOG", "loud=very=much");
    wrong("AUDITSHIELD_LOG", "verbose");
    right("AUDITSHIELD_LOG", "info,auditshield::actors=debug");
    wrong("AUDITSHIELD_SERVER__LISTEM", "127.0.0.1:1");
    right("AUDITSHIELD_PYTHON", "/usr/bin/python3");
}

#[test]
fn authorities_are_read_or_named() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["ca.example".to_owned()]).expect("a name");
    let pem = params.self_signed(&key).expect("a certificate").pem();
    let shop = Shop::new();
    let (broken, long) = (pem.replace("MII", "AAA"), format!("{pem}{}", " ".repeat(1024 * 1024)));
    let cut = pem.split_at(pem.len() / 2).0;
    for name in ["AUDITSHIELD_CINETPAY__CA_FILE", "AUDITSHIELD_MAIL__CA_FILE"] {
        for base in [&[][..], &PRODUCTION[..]] {
            check(base, name, &shop.write("ca.pem", &pem), "");
            check(base, name, &shop.write("two.pem", &format!("# ours\n{pem}\n{pem}")), "");
            check(base, name, "/nowhere/ca.pem", name);
            check(base, name, &shop.0.path().display().to_string(), name);
            for wrong in ["", "no certificate", &broken, &long, cut, &key.serialize_pem()] {
                check(base, name, &shop.write("wrong.pem", wrong), name);
            }
        }
    }
    let config = shop.load(&[("AUDITSHIELD_MAIL__CA_FILE", &shop.write("ca.pem", &pem))]);
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.mail.authorities, Some(Authorities { pem: pem.into_bytes() }));
    assert_eq!(config.cinetpay.authorities, None);
}

#[test]
fn production_refuses_what_cannot_work() {
    let wrong = |name: &str, value: &str| check(&PRODUCTION, name, value, name);
    let right = |name: &str, value: &str| check(&PRODUCTION, name, value, "");
    right("CINETPAY_ENV", "production");
    for placeholder in
        ["changeme", "ChangeMe123456789", "xxx", "your_api_key", "test_secret_key", "000000", "<key>"]
    {
        wrong("CINETPAY_API_KEY", placeholder);
        wrong("CINETPAY_WEBHOOK_SECRET", placeholder);
        wrong("AUDITSHIELD_ADMIN__TOKEN", placeholder);
        wrong("AUDITSHIELD_SECRET_KEY", placeholder);
    }
    wrong("CINETPAY_SITE_ID", "your_site_id");
    wrong("AUDITSHIELD_SECRET_KEY", "short");
    for bad in ["http://pay.ci", "https://shop", "https://pay.local"] {
        wrong("CINETPAY_API_URL", bad);
    }
    for local in ["localhost", "127.0.0.1", "10.1.2.3", "192.168.1.1", "172.20.0.1", "169.254.1.1", "0.0.0.0"]
    {
        wrong("CINETPAY_NOTIFY_URL", &format!("https://{local}/payment/callback/"));
    }
    for local in ["[::1]", "[fd00::1]", "[fe80::1]", "[::ffff:127.0.0.1]", "100.64.0.1", "a.localhost"] {
        wrong("CINETPAY_RETURN_URL", &format!("https://{local}/"));
    }
    right("CINETPAY_RETURN_URL", "https://[2c0f:f248::1]/x");
    right("CINETPAY_RETURN_URL", "https://41.207.1.1/x");
    wrong("AUDITSHIELD_SERVER__PUBLIC_URL", "");
    wrong("AUDITSHIELD_SERVER__PUBLIC_URL", "http://pay.boutique.ci");
    wrong("AUDITSHIELD_MAIL__URL", "");
    wrong("AUDITSHIELD_MAIL__URL", "file:/tmp/mail");
    wrong("AUDITSHIELD_MAIL__URL", "smtp://mail.boutique.ci?tls=none");
    right("AUDITSHIELD_MAIL__URL", "smtp://127.0.0.1:587");
    wrong("AUDITSHIELD_MAIL__FALLBACK_URL", "smtp://mail.boutique.ci?tls=none");
    wrong("AUDITSHIELD_MAIL__FALLBACK_URL", "file:/tmp/mail");
    right("AUDITSHIELD_MAIL__FALLBACK_URL", "smtps://u:p@relay.boutique.ci");
    wrong("AUDITSHIELD_MAIL__FROM", "");
    wrong("AUDITSHIELD_MAIL__FROM", "x@example.com");
}

#[test]
fn later_layers_win() {
    let shop = Shop::new();
    let mut given = shop.given(&[]);
    let seats = |given: &Given| load(given).map(|config| config.actors.seats).map_err(|p| p.to_string());
    assert_eq!(seats(&given), Ok(512));
    given.file = Some(shop.write("a.toml", "[actors]\nseats = 11").into());
    assert_eq!(seats(&given), Ok(11));
    shop.write("AUDITSHIELD_ACTORS__SEATS", "12\n");
    given.env.insert("CREDENTIALS_DIRECTORY".to_owned(), shop.0.path().display().to_string());
    assert_eq!(seats(&given), Ok(12));
    given.env.insert("AUDITSHIELD_ACTORS__SEATS_FILE".to_owned(), shop.write("seats", "13\n"));
    assert_eq!(seats(&given), Ok(13));
    given.env.insert("AUDITSHIELD_ACTORS__SEATS".to_owned(), "14".to_owned());
    assert_eq!(seats(&given), Ok(14));
    given.env_file = Some(shop.write("x.env", "# shop\nexport AUDITSHIELD_ACTORS__SEATS='15'\n").into());
    assert_eq!(seats(&given), Ok(15));
    given.env.insert("AUDITSHIELD_ACTORS__SEATS".to_owned(), String::new());
    given.env_file = None;
    assert_eq!(seats(&given), Ok(13), "an empty variable does not hide the layer below");
}

#[test]
fn broken_layers_are_named() {
    let shop = Shop::new();
    let names = |given: &Given| match load(given) {
        Ok(_) => Vec::new(),
        Err(Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
    };
    let starts = |given: &Given, want: &str| {
        let lines = names(given);
        assert!(lines.len() == 1 && lines.iter().all(|line| line.starts_with(want)), "{want}: {lines:?}");
        lines.into_iter().next().unwrap_or_default()
    };
    let with_file = |text: &str| Given { file: Some(shop.write("c.toml", text).into()), ..shop.given(&[]) };
    let line = starts(&with_file("[server]\nlisen = \"127.0.0.1:1\""), "server.lisen: ");
    assert!(line.contains("server.listen") && line.contains("c.toml"), "{line}");
    let line = starts(&with_file("[cinetpay]\napi_key = s3cr3t-value"), "--config: ");
    assert!(line.contains("line 2") && !line.contains("s3cr3t"), "{line}");
    let line = starts(&with_file("[actors]\nseats = 1"), "AUDITSHIELD_ACTORS__SEATS: ");
    assert!(line.contains("c.toml"), "{line}");
    starts(&Given { file: Some("/nowhere".into()), ..shop.given(&[]) }, "--config: ");
    starts(&Given { env_file: Some("/nowhere".into()), ..shop.given(&[]) }, "--env-file: ");
    starts(&shop.given(&[("CINETPAY_API_KEY_FILE", "/nowhere")]), "CINETPAY_API_KEY_FILE: ");
}

#[test]
fn no_secret_stands_in_a_problem() {
    let secret = "Tr0ub4dor";
    for name in keys().iter().map(|key| name_of(key)) {
        for value in [secret.to_owned(), format!("{secret},{secret},{secret}"), format!("smtp://u:{secret}@")]
        {
            if let Err(problems) = Shop::new().load(&[(&name, &value)]) {
                let named_openly = !["KEY", "TOKEN", "SECRET", "MAIL__URL", "STORE__URL"]
                    .iter()
                    .any(|part| name.contains(part));
                assert!(named_openly || !problems.to_string().contains(secret), "{problems}");
            }
        }
    }
}

#[test]
fn mail_addresses() {
    let check = |url: &str, want: (&str, u16, Tls, Option<&str>)| {
        let config = Shop::new().load(&[("AUDITSHIELD_MAIL__URL", url)]).unwrap_or_else(|p| panic!("{p}"));
        let Route::Smtp(server) = config.mail.route else { panic!("{url}") };
        let login = server.login.map(|(user, password)| format!("{user}:{}", password.expose()));
        assert_eq!((server.host.as_str(), server.port, server.tls, login.as_deref()), want, "{url}");
    };
    check("smtp://127.0.0.1:2525", ("127.0.0.1", 2525, Tls::None, None));
    check("smtp://localhost", ("localhost", 25, Tls::None, None));
    check("smtp://[::1]:25", ("::1", 25, Tls::None, None));
    check("smtp://u%40x.ci:p%3A@mail.x.ci", ("mail.x.ci", 587, Tls::StartTls, Some("u@x.ci:p:")));
    check("smtps://mail.x.ci", ("mail.x.ci", 465, Tls::Implicit, None));
    check("smtp://mail.x.ci:25?tls=opportunistic", ("mail.x.ci", 25, Tls::Opportunistic, None));
}

#[test]
fn catalogues() {
    let check = |from: &str, to: &str, want: usize| {
        let shop = Shop::new();
        fs::create_dir(shop.path("folder")).expect("folder");
        std::os::unix::fs::symlink(shop.path("kit.bin"), shop.path("link.pdf")).expect("link");
        std::os::unix::fs::symlink("/etc", shop.path("etc")).expect("link");
        assert!(CATALOG.contains(from), "{from}");
        shop.write("catalog.toml", &CATALOG.replace(from, to));
        let faults = shop.load(&[]).err().map_or(0, |Problems(problems)| problems.len());
        assert_eq!(faults, want, "{from} → {to}");
    };
    check("audit-kit", "guide-2", 0);
    check("audit-kit", "Audit", 1);
    check("audit-kit", "-a", 1);
    check("audit-kit", "../x", 1);
    check("audit-kit", "", 1);
    check("15000", "15001", 1);
    check("15000", "95", 1);
    check("15000", "-5", 1);
    check("15000", "15.5", 1);
    check("XOF", "EUR", 1);
    check("XOF", "usd", 0);
    check("kit.bin", "./kit.bin", 0);
    check("kit.bin", "../kit.bin", 1);
    check("kit.bin", "/etc/hostname", 1);
    check("kit.bin", "missing.pdf", 1);
    check("kit.bin", "folder", 1);
    check("kit.bin", "link.pdf", 1);
    check("kit.bin", "etc/hostname", 1);
    check("name = \"Standard\"", "name = \"\"", 1);
    check("name = \"Standard\"", "nom = \"Standard\"", 1);
    let shop = Shop::new();
    let all = |text: &str| {
        shop.write("catalog.toml", text);
        shop.load(&[]).err().map_or(0, |Problems(problems)| problems.len())
    };
    assert_eq!(all(&format!("{CATALOG}{CATALOG}")), 1, "a slug twice");
    assert_eq!(all(""), 1, "nothing for sale");
    assert_eq!(all("[[product]]\nslug = \"a\"\nname = \"A\""), 1, "no price");
    assert_eq!(all("[[product]]\nslug = \"A B\"\nname = \"\""), 3, "every fault at once");
}

#[test]
fn the_shipped_catalogue_is_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/catalog.toml");
    let config = Shop::new().load(&[("AUDITSHIELD_CATALOG__PATH", &path.display().to_string())]);
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    let (_, tier) = config.catalog.catalog.find("audit-kit", "standard").expect("the contract's product");
    assert_eq!(
        (tier.price.decimal().as_str(), config.download.ttl),
        ("15000", Duration::from_secs(72 * 3600))
    );
}
