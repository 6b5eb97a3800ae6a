//! `doctor`: every check sees what is well, and what is not.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use auditshield::doctor::Finding;
use auditshield::doctor::Severity::{self, Configuration, Failure, Good, Note, Warning};
use auditshield::domain::values::Email;
use serde_json::{Value, json};

use crate::doctor_fakes::{Examination, mail_server_that_refuses_logins, resolver, rewriting, web};
use crate::process_support::{EMAIL, PATIENCE, SECRET_KEY, WEBHOOK_SECRET, World};

/// One line of a table: the settings that differ, the check, how bad, and a word of what it says.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, Severity, &'a str);

async fn check(world: &World, cases: &[Case<'_>]) {
    for (changes, name, want, word) in cases {
        let (severity, said) = Examination::of(world, changes).says(name).await;
        assert_eq!(severity, *want, "{changes:?} {name}: {said}");
        assert!(said.contains(word), "{changes:?} {name}: no `{word}` in {said}");
    }
}

#[tokio::test]
async fn a_sound_installation_is_good_and_a_stopped_daemon_is_not() {
    let mut world = World::new(&[]).await;
    world.start().await;
    world.buy().await;
    let findings = Examination::of(&world, &[]).findings().await;
    // How much room this machine has is not the installation's.
    let counts = |finding: &&Finding| finding.severity > Note && finding.check != "disk-room";
    let worse: Vec<_> = findings.iter().filter(counts).collect();
    let names: Vec<_> = worse.iter().map(|finding| finding.check).collect();
    assert_eq!(names, ["backup"], "{worse:#?}");
    for finding in &findings {
        for secret in [SECRET_KEY, WEBHOOK_SECRET] {
            assert!(!finding.fr.contains(secret) && !finding.en.contains(secret), "{finding:?}");
        }
    }
    let trials = "auditshield_webhooks_total{outcome=\"trial\"} 1";
    assert!(world.metrics().await.contains(trials), "the trial notification did not arrive");
    world.kill();
    check(
        &world,
        &[
            (&[], "daemon", Failure, "systemctl start"),
            (&[], "notify-ping", Failure, "no answer"),
            (&[], "notification", Failure, "no answer"),
            (&[], "return", Failure, "CINETPAY_RETURN_URL"),
            (&[], "journal", Good, "1 orders"),
        ],
    )
    .await;
}

#[tokio::test]
async fn whatever_stands_before_the_notify_address_is_found_out() {
    let mut world = World::new(&[]).await;
    world.start().await;
    let at = |address: std::net::SocketAddr| format!("http://{address}/payment/callback/");
    for (place, word) in [
        (at(web(403, "", "Forbidden by ModSecurity").await), "ModSecurity"),
        (at(web(301, "location: https://elsewhere/\r\n", "").await), "redirect"),
        (at(web(404, "", "").await), "CINETPAY_NOTIFY_URL"),
        (at(web(405, "", "").await), "CINETPAY_NOTIFY_URL"),
        (at(web(400, "", "").await), "x-token"),
        (at(web(502, "", "").await), "does not reach"),
        (at(web(200, "", "<html>Welcome</html>").await), "CDN"),
        (at(web(200, "", "{\"trial\":\"1\",\"site\":true,\"body_hash\":\"\",\"client\":null}").await), "CDN"),
    ] {
        check(&world, &[(&[("CINETPAY_NOTIFY_URL", &place)], "notification", Failure, word)]).await;
    }
    let shop = world.shop.trim_start_matches("http://").to_owned();
    for (rewrite, want, word) in [
        ((|body| body) as fn(String) -> String, Good, "as it was sent"),
        // Decodes to the same: the signature holds, and something touched it all the same.
        (|body| body.replace('+', "%20"), Failure, "arrived changed"),
        (|body| body.replace("caf%C3%A9", "cafe"), Failure, "x-token"),
        (|body| body.replace("%26", ""), Failure, "x-token"),
    ] {
        let place = at(rewriting(shop.clone(), rewrite).await);
        check(&world, &[(&[("CINETPAY_NOTIFY_URL", &place)], "notification", want, word)]).await;
    }
    // The daemon runs with other keys than the ones examined.
    let other = [("CINETPAY_WEBHOOK_SECRET", "another-secret-0123456789")];
    check(&world, &[(&other, "notification", Failure, "Secret Key")]).await;
    let other = [("AUDITSHIELD_SECRET_KEY", "another-secret-0123456789")];
    check(&world, &[(&other, "notification", Failure, "other settings")]).await;
}

#[tokio::test]
async fn keys_environments_and_addresses() {
    let world = World::new(&[]).await;
    let site = world.settings["CINETPAY_SITE_ID"].clone();
    let real = "https://api-checkout.cinetpay.com.invalid.cinetpay.com";
    check(
        &world,
        &[
            (&[], "keys", Good, ""),
            (&[("CINETPAY_API_KEY", WEBHOOK_SECRET)], "keys", Failure, "Secret Key"),
            (&[("CINETPAY_API_KEY", &site)], "keys", Failure, "site id"),
            (&[("CINETPAY_SITE_ID", "my-shop")], "keys", Failure, "CINETPAY_SITE_ID"),
            (&[("AUDITSHIELD_SECRET_KEY", WEBHOOK_SECRET)], "keys", Warning, "openssl"),
            (&[], "environment", Note, "sandbox"),
            (&[("CINETPAY_API_URL", real)], "environment", Warning, "CINETPAY_ENV=production"),
            (&[], "addresses", Note, "https"),
            (&[("CINETPAY_NOTIFY_URL", "http://shop.example.ci/")], "addresses", Note, "CINETPAY_NOTIFY_URL"),
        ],
    )
    .await;
    let mut live = Examination::of(&world, &[]);
    live.patient.go_live = true;
    assert_eq!(live.says("environment").await.0, Failure);
    assert_eq!(live.says("addresses").await.0, Failure);
    let https = [
        ("CINETPAY_NOTIFY_URL", "https://shop.invalid.ci/n/"),
        ("CINETPAY_RETURN_URL", "https://shop.invalid.ci/r/"),
        ("AUDITSHIELD_SERVER__PUBLIC_URL", "https://shop.invalid.ci/"),
    ];
    check(&world, &[(&https, "addresses", Good, "https")]).await;
}

#[tokio::test]
async fn files_with_secrets_and_files_for_sale() {
    let world = World::new(&[]).await;
    let (named, dotenv, toml) = (world.path("named"), world.path("env"), world.path("settings.toml"));
    std::fs::write(&named, "0123456789").unwrap();
    std::fs::set_permissions(&named, PermissionsExt::from_mode(0o600)).unwrap();
    let variable = named.display().to_string();
    for (path, mode, text, want) in [
        (&toml, 0o600, "secret_key = \"0123456789\"\n", Good),
        (&toml, 0o644, "secret_key = \"\"\n[server]\nlisten = \"127.0.0.1:0\"\n", Good),
        (&toml, 0o644, "secret_key = \"0123456789\"\n", Failure),
        (&toml, 0o640, "[mail]\nurl = \"smtp://user:password@host\"\n", Failure),
        (&dotenv, 0o644, "AUDITSHIELD_LOG=info\nCINETPAY_API_KEY=\n", Good),
        (&dotenv, 0o644, "AUDITSHIELD_LOG=info\nexport CINETPAY_API_KEY=0123456789\n", Failure),
        (&dotenv, 0o604, "AUDITSHIELD_MAIL__URL=smtp://user:password@host\n", Failure),
        (&dotenv, 0o600, "CINETPAY_API_KEY=0123456789\n", Good),
        (&named, 0o600, "0123456789", Good),
        (&named, 0o644, "0123456789", Failure),
    ] {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let mut examination = Examination::of(&world, &[("AUDITSHIELD_SECRET_KEY_FILE", &variable)]);
        let given = &mut examination.patient.given;
        (given.file, given.env_file) = (Some(toml.clone()), Some(dotenv.clone()));
        let (severity, said) = examination.says("secret-files").await;
        assert_eq!(severity, want, "{mode:o} {text}: {said}");
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }
    let web_root = world.path("public_html");
    std::fs::create_dir(&web_root).unwrap();
    std::fs::copy(world.path("kit.bin"), web_root.join("kit.bin")).unwrap();
    let catalog = std::fs::read_to_string(world.path("catalog.toml")).unwrap();
    std::fs::write(world.path("other.toml"), catalog.replace("kit.bin", "public_html/kit.bin")).unwrap();
    let other = world.path("other.toml").display().to_string();
    check(&world, &[(&[], "catalogue", Good, "")]).await;
    check(&world, &[(&[("AUDITSHIELD_CATALOG__PATH", &other)], "catalogue", Failure, "hands out")]).await;
    let examination = Examination::of(&world, &[]);
    std::fs::remove_file(world.path("kit.bin")).unwrap();
    assert_eq!(examination.says("catalogue").await.0, Failure);
}

#[tokio::test]
async fn cinetpays_answers_and_clock() {
    let world = World::new(&[]).await;
    let now = |ahead: i64| {
        let at = SystemTime::now() + Duration::from_secs(86_400) + Duration::from_secs_f64(0.5);
        let at = at - Duration::from_secs(u64::try_from(86_400 - ahead).unwrap());
        format!("date: {}\r\n", httpdate::fmt_http_date(at))
    };
    for (status, body, want, word) in [
        (404, "{\"code\":\"601\"}", Good, "601"),
        (400, "{\"code\":\"609\"}", Failure, "CINETPAY_API_KEY"),
        (400, "{\"code\":\"613\"}", Failure, "CINETPAY_SITE_ID"),
        (400, "{\"code\":\"624\"}", Failure, "CINETPAY_API_KEY"),
        (429, "{\"code\":\"429\"}", Warning, "429"),
        (502, "<html>", Failure, "502"),
        (200, "<html>", Failure, "CINETPAY_API_URL"),
    ] {
        let place = format!("http://{}", web(status, &now(0), body).await);
        check(&world, &[(&[("CINETPAY_API_URL", &place)], "cinetpay", want, word)]).await;
    }
    for (ahead, want) in
        [(0, Good), (-20, Good), (45, Warning), (-45, Warning), (400, Failure), (-400, Failure)]
    {
        let place = format!("http://{}", web(404, &now(ahead), "{\"code\":\"601\"}").await);
        check(&world, &[(&[("CINETPAY_API_URL", &place)], "clock", want, "")]).await;
    }
    let mute = format!("http://{}", web(404, "", "{\"code\":\"601\"}").await);
    check(&world, &[(&[("CINETPAY_API_URL", &mute)], "clock", Note, "")]).await;
    check(&world, &[(&[("CINETPAY_API_URL", "http://127.0.0.1:1")], "cinetpay", Failure, "https")]).await;
    // The simulator knows keys as CinetPay does.
    check(&world, &[(&[], "cinetpay", Good, "")]).await;
    check(&world, &[(&[("CINETPAY_API_KEY", "a-wrong-one")], "cinetpay", Failure, "CINETPAY_API_KEY")]).await;
}

#[tokio::test]
async fn the_mail_server_and_a_trial_mail() {
    let world = World::new(&[]).await;
    let closed = mail_server_that_refuses_logins().await;
    let refused = format!("smtp://user:secret-password@{closed}?tls=none");
    let not_tls = format!("smtps://{}", world.mailbox.addr());
    let second = format!("smtp://{}", world.mailbox.addr());
    check(
        &world,
        &[
            (&[], "mail", Good, "login accepted"),
            (&[("AUDITSHIELD_MAIL__URL", "file:mails")], "mail", Note, "kept"),
            (&[("AUDITSHIELD_MAIL__URL", "smtp://127.0.0.1:1")], "mail", Failure, "587"),
            (&[("AUDITSHIELD_MAIL__URL", &refused)], "mail", Failure, "password"),
            (&[("AUDITSHIELD_MAIL__URL", &not_tls)], "mail", Failure, "the mail server"),
            (&[("AUDITSHIELD_MAIL__FALLBACK_URL", &second)], "mail-fallback", Good, "second server"),
            (&[("AUDITSHIELD_MAIL__FALLBACK_URL", &refused)], "mail-fallback", Warning, "FALLBACK_URL"),
        ],
    )
    .await;
    let mut examination = Examination::of(&world, &[]);
    assert_eq!(examination.says("mail-trial").await.0, Note);
    examination.patient.trial_to = Some(Email::parse(EMAIL).unwrap());
    assert_eq!(examination.says("mail-trial").await.0, Good);
    let mails = world.mailbox.wait_for(1, PATIENCE).await;
    assert!(mails[0].read().text.unwrap().contains("les courriels de votre boutique arrivent"));
}

#[tokio::test]
async fn spf_dmarc_and_dkim() {
    let world = World::new(&[]).await;
    let from = [("AUDITSHIELD_MAIL__FROM", "ventes@boutique.awa.ci")];
    let home = "boutique.awa.ci";
    let spf = (home, "v=spf1 include:mail.ci -all");
    let dmarc = ("_dmarc.boutique.awa.ci", "v=DMARC1; p=none");
    let dkim = ("default._domainkey.boutique.awa.ci", "v=DKIM1; p=MIGf");
    type Row<'a> = (&'a [(&'a str, &'a str)], [Severity; 3]);
    let rows: &[Row<'_>] = &[
        (&[spf, dmarc, dkim], [Good, Good, Good]),
        (&[], [Warning, Warning, Warning]),
        (
            &[(home, "google-site-verification=x"), spf, ("_dmarc.awa.ci", "v=DMARC1; p=reject"), dkim],
            [Good; 3],
        ),
        (&[(home, "v=spf1 +all"), dmarc, dkim], [Warning, Good, Good]),
        (&[spf, (home, "v=spf1 -all"), dmarc, dmarc, dkim], [Warning, Warning, Good]),
        (&[spf, dmarc, (dkim.0, "v=DKIM1; p=")], [Good, Good, Warning]),
        (&[(home, "v=spf10"), dmarc, dkim], [Warning, Good, Good]),
    ];
    for (records, want) in rows {
        let mut examination = Examination::of(&world, &from);
        examination.patient.resolver = Some(resolver(records).await);
        for (check, want) in ["spf", "dmarc", "dkim"].iter().zip(want) {
            let (severity, said) = examination.says(check).await;
            assert_eq!(severity, *want, "{records:?} {check}: {said}");
        }
    }
    let mut broken = Examination::of(&world, &[("AUDITSHIELD_MAIL__FROM", "a@x.broken")]);
    broken.patient.resolver = Some(resolver(&[]).await);
    assert_eq!(broken.says("dns").await.0, Warning);
    broken.patient.resolver = None;
    assert_eq!(broken.says("dns").await.0, Note);
}

#[tokio::test]
async fn copies_limits_and_a_damaged_journal() {
    let mut world = World::new(&[]).await;
    world.start().await;
    world.buy().await;
    world.kill();
    let mut examination = Examination::of(&world, &[]);
    assert_eq!(examination.says("backup").await.0, Warning);
    let target = world.path("backup").display().to_string();
    let (code, said) = world.run(&["ledger", "backup", &target]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(examination.says("backup").await.0, Good);
    let manifest = std::fs::File::options().append(true).open(world.path("backup/backup.json")).unwrap();
    manifest.set_modified(SystemTime::now() - Duration::from_secs(28 * 3600)).unwrap();
    assert_eq!(examination.says("backup").await.0, Warning);

    for (limits, want) in [
        ("Max open files            256                  4096                 files\n", Warning),
        ("Max open files            16384                16384                files\n", Good),
        ("Max open files            unlimited            unlimited            files\n", Good),
        ("Max processes             1                    1                    processes\n", Note),
    ] {
        std::fs::write(world.path("limits"), limits).unwrap();
        examination.patient.limits = world.path("limits");
        assert_eq!(examination.says("open-files").await.0, want, "{limits}");
    }

    let segment = world.path("store/journal").join(format!("{:020}.jsonl", 1));
    let text = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, text.replacen("15000", "15001", 1)).unwrap();
    assert_eq!(examination.says("journal").await.0, Failure);
    std::fs::remove_dir_all(world.path("store")).unwrap();
    assert_eq!(examination.says("journal").await.0, Note);
}

#[tokio::test]
async fn the_running_daemons_limit_counts_and_not_the_shells() {
    let mut world = World::new(&[]).await;
    world.wrapper = ["sh", "-c", "ulimit -n 300 && exec \"$@\"", "sh"].map(ToOwned::to_owned).to_vec();
    world.start().await;
    let mut examination = Examination::of(&world, &[]);
    std::fs::write(
        world.path("limits"),
        "Max open files            16384                16384                files\n",
    )
    .unwrap();
    examination.patient.limits = world.path("limits");
    let (severity, said) = examination.says("open-files").await;
    assert!(severity == Warning && said.contains("300 open files at most for the daemon"), "{said}");
    world.kill();
    let (severity, said) = examination.says("open-files").await;
    assert!(severity == Good && said.contains("this account"), "{said}");
}

#[tokio::test]
async fn certificates_are_no_secrets() {
    let world = World::new(&[]).await;
    let file = world.path("authorities.pem");
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let place = file.display().to_string();
    let both = [("SSL_CERT_FILE", place.as_str()), ("SOMEBODY_ELSES_FILE", &place)];
    check(&world, &[(&both, "secret-files", Good, "")]).await;
}

#[tokio::test]
async fn credentials_that_everybody_may_read() {
    let world = World::new(&[]).await;
    let folder = world.path("credentials");
    std::fs::create_dir(&folder).unwrap();
    let key = folder.join("AUDITSHIELD_SECRET_KEY");
    std::fs::write(&key, "0123456789").unwrap();
    let place = folder.display().to_string();
    for (outer, inner, want) in [
        (0o755, 0o644, Failure),
        (0o755, 0o600, Good),
        (0o700, 0o644, Good),
        // As systemd makes them: the group's bits are an access list's.
        (0o550, 0o440, Good),
    ] {
        std::fs::set_permissions(&key, PermissionsExt::from_mode(inner)).unwrap();
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(outer)).unwrap();
        let examination = Examination::of(&world, &[("CREDENTIALS_DIRECTORY", &place)]);
        let (severity, said) = examination.says("secret-files").await;
        assert_eq!(severity, want, "{outer:o} {inner:o}: {said}");
    }
}

#[tokio::test]
async fn orders_paid_in_silence_are_a_warning_until_a_notification_comes() {
    let mut world = World::new(&[("AUDITSHIELD_VERIFY__FIRST_POLL", "50ms")]).await;
    world.start().await;
    world.cinetpay.patch(&json!({"notify": {"enabled": false}})).unwrap();
    let silence = async |world: &World| {
        let findings = Examination::of(world, &[]).findings().await;
        findings.iter().any(|finding| finding.check == "silence")
    };
    for sold in 1..=3 {
        assert!(!silence(&world).await, "after {} sales", sold - 1);
        let order = world.buy().await;
        world.cinetpay.approve(&order).unwrap();
        world.until(&order, "PAID").await;
    }
    assert!(silence(&world).await, "{}", world.metrics().await);
    assert!(world.said().contains("no notification arrives"), "{}", world.said());
    assert!(world.metrics().await.contains("auditshield_paid_total{heard=\"polling\"} 3"));
    let order = world.buy().await;
    assert_eq!(world.notify(&order).await, 200);
    assert!(!silence(&world).await);
}

#[tokio::test]
async fn exit_codes_and_json() {
    let mut world = World::new(&[]).await;
    world.start().await;
    let (code, said) = world.run(&["doctor", "--json"]).await;
    let report: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((code, &report["worst"]), (0, &json!("warning")), "{said}");
    let (code, said) = world.run(&["doctor", "--go-live"]).await;
    assert_eq!(code, 1, "{said}");
    let french = said.find("rien n'est encaissé").expect("the French line");
    assert!(french < said.find("no money is collected").expect("the English line"), "{said}");
    world.settings.insert("CINETPAY_ENV".to_owned(), "production".to_owned());
    world.settings.insert("CINETPAY_API_KEY".to_owned(), "your_api_key".to_owned());
    let (code, said) = world.run(&["doctor", "--json"]).await;
    let report: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((code, &report["worst"]), (78, &json!("configuration")), "{said}");
    assert_eq!(report["worst"], serde_json::to_value(Configuration).unwrap());
    assert!(said.contains("CINETPAY_API_KEY : valeur d'exemple"), "{said}");
    assert_eq!(world.run(&["doctor"]).await.0, 78);
}
