//! The crontab's block and the skeleton, without an account.

use std::path::Path;

use super::cron::{lines, with, without};
use super::settings::{Place, env, htaccess, listening};
use super::{Account, Crontab, Wanted};

fn account() -> Account {
    Account::at(Path::new("/home/awa/auditshield")).unwrap()
}

#[test]
fn prefixes() {
    let check = |path: &str, ok: bool| assert_eq!(Account::at(Path::new(path)).is_ok(), ok, "{path}");
    check("/home/awa/auditshield", true);
    check("/home/é/a.b-c_d+1", true);
    // cron ends a command at a percent sign; a shell and Apache split at a space.
    for path in
        ["", "auditshield", "/", "/home/a b", "/home/%", "/home/a;b", "/home/$x", "/home/a'b", "/home/a\nb"]
    {
        check(path, false);
    }
}

#[test]
fn the_block_is_there_once_and_nothing_else_is_touched() {
    let account = account();
    let block = with("", &account);
    assert_eq!(block.lines().count(), 2 + lines(&account).lines().count());
    let theirs = "MAILTO=awa@example.ci\n0 3 * * * /home/awa/other\n";
    let check = |table: &str, want: &str| {
        assert_eq!(without(table, &account), want, "{table}");
        let once = with(table, &account);
        assert_eq!(once, with(&once, &account), "a second time changes nothing: {table}");
        assert_eq!(once.matches("@reboot").count(), 1, "{once}");
    };
    check("", "");
    check(theirs, theirs);
    check(&block, "");
    check(&format!("{theirs}{block}"), theirs);
    check(&format!("{block}{theirs}"), theirs);
    check(&format!("{theirs}{block}{block}{theirs}"), &format!("{theirs}{theirs}"));
    assert_eq!(with("0 3 * * * x", &account), format!("0 3 * * * x\n{block}"), "a last line without its end");
    // Another installation of the same user.
    let other = Account::at(Path::new("/home/awa/second")).unwrap();
    assert_eq!(without(&with(&block, &other), &account), with("", &other));
}

#[test]
fn a_block_without_its_end_swallows_nothing() {
    let account = account();
    let begin = with("", &account).lines().next().unwrap().to_owned();
    let table = format!("{begin}\n0 3 * * * /home/awa/other\n");
    assert_eq!(without(&table, &account), table);
}

#[test]
fn the_skeleton_names_this_account_and_has_secrets_of_its_own() {
    let wanted = Wanted {
        public_url: Some("https://pay.example.ci/".to_owned()),
        port: None,
        crontab: Crontab::Shown,
    };
    let one = env(&account(), &wanted, 8200);
    for line in [
        "CINETPAY_ENV=production",
        "CINETPAY_API_KEY=your_api_key",
        "AUDITSHIELD_SERVER__PUBLIC_URL=https://pay.example.ci/",
        "AUDITSHIELD_SERVER__LISTEN=127.0.0.1:8200",
        "AUDITSHIELD_ADMIN__LISTEN=127.0.0.1:8201",
        "AUDITSHIELD_SERVER__TRUSTED_PROXIES=127.0.0.1",
        "AUDITSHIELD_STORE__URL=sled:/home/awa/auditshield/store",
        "AUDITSHIELD_CATALOG__PATH=/home/awa/auditshield/catalog.toml",
        "AUDITSHIELD_SPOOL__FOLDER=/home/awa/auditshield/spool",
    ] {
        assert_eq!(one.lines().filter(|known| *known == line).count(), 1, "{line}\n{one}");
    }
    let secrets = |text: &str| -> Vec<String> {
        let secret = |line: &&str| line.starts_with("AUDITSHIELD_SECRET_KEY=") || line.contains("__TOKEN=");
        text.lines().filter(secret).map(ToOwned::to_owned).collect()
    };
    let (first, second) = (secrets(&one), secrets(&env(&account(), &wanted, 8200)));
    assert_eq!(first.len(), 2);
    assert!(first.iter().all(|line| line.len() > 64 && !second.contains(line)));
    let rules = htaccess(&account(), &Place::Port(8200));
    assert!(rules.starts_with("SetEnv AUDITSHIELD_UPSTREAM http://127.0.0.1:8200/payment/callback/\n"));
    assert!(rules.contains("http://127.0.0.1:8200/$1") && !rules.contains(":8000"), "{rules}");
    let rules = htaccess(&account(), &Place::Socket("/home/awa/auditshield/public.sock".to_owned()));
    assert!(rules.starts_with("SetEnv AUDITSHIELD_UPSTREAM unix:/home/awa/auditshield/public.sock\n"));
    assert!(rules.contains(" unix:/home/awa/auditshield/public.sock|http://localhost/$1 ["), "{rules}");
    for (line, place) in [
        ("AUDITSHIELD_SERVER__LISTEN=127.0.0.1:8200", Some(Place::Port(8200))),
        ("A=1\nAUDITSHIELD_SERVER__LISTEN=\"unix:/a b.sock\"\n", Some(Place::Socket("/a b.sock".to_owned()))),
        ("AUDITSHIELD_ADMIN__LISTEN=127.0.0.1:8201", None),
    ] {
        assert_eq!(listening(line), place, "{line}");
    }
}
