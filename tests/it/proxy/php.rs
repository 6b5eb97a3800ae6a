//! notify.php as an account has it: under Apache, reached through .htaccess, run by PHP as a CGI. `tests/cpanel/run` installs both.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// What an account's Apache has beside the modules of the proxies.
pub(super) const MODULES: [&str; 5] = ["mime", "alias", "actions", "cgid", "env"];

/// Puts notify.php into the web root and PHP into the server's configuration. Returns the account's first lines in .htaccess,
/// as docs/cpanel.md has them.
pub(super) fn add(world: &World, root: &Path, main: &mut String) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/cpanel/notify.php");
    std::fs::copy(script, root.join("notify.php")).unwrap();
    *main += &format!(
        "TypesConfig /dev/null\nScriptSock {}\nScriptAlias /cgi-bin/php /usr/bin/php-cgi\nAddHandler php-script .php\nAction php-script /cgi-bin/php\n\
         <Directory /usr/bin>\nRequire all granted\n</Directory>\n",
        world.path("cgisock").display()
    );
    format!(
        "SetEnv AUDITSHIELD_UPSTREAM {}\nSetEnv AUDITSHIELD_SPOOL {}\n",
        sockets::notified(world),
        world.path("spool").display()
    )
}

/// The notifications kept.
fn kept(world: &World) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(world.path("spool")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

#[tokio::test]
async fn an_accounts_apache_hands_notifications_over_and_keeps_them() {
    if !has_tools("tests/cpanel/run") {
        return;
    }
    for over in [Over::Port, Over::Socket] {
        println!("{over:?}");
        handed_over_and_kept(Street::raised(Kind::Php, "off", over).await).await;
    }
}

async fn handed_over_and_kept(mut street: Street) {
    // Body, signature and the buyer's own address arrive as they were sent, through Apache, PHP and the daemon.
    arrives_as_sent(&street).await;
    let heard = street.buy().await;
    street.world.cinetpay.approve(&heard).unwrap();
    let (form, token) = notice_saying(&heard, "Café étoilé & 100 %");
    assert_eq!(street.notify(form.clone(), &token).await.status(), StatusCode::OK);
    street.world.until(&heard, "DELIVERED").await;
    // The daemon's own word about a forged one.
    assert_eq!(street.notify(form, &"0".repeat(64)).await.status(), StatusCode::BAD_REQUEST);
    assert!(kept(&street.world).is_empty(), "kept although it was heard");

    let waiting = street.buy().await;
    street.world.cinetpay.approve(&waiting).unwrap();
    street.world.kill();
    let (form, token) = notice_saying(&waiting, "Café étoilé & 100 %");
    assert_eq!(street.notify(form, &token).await.status(), StatusCode::OK);
    let files = kept(&street.world);
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // CinetPay's look at the address is answered, and pages are not.
    for (path, is_up) in [("/payment/callback/", true), ("/notify.php", true), ("/", false)] {
        let answer = street.client.get(street.at(path)).send().await.unwrap();
        assert_eq!(answer.status().is_success(), is_up, "{path}: {}", answer.status());
    }
    street.world.start().await;
    let order = street.world.until(&waiting, "DELIVERED").await;
    assert_eq!(crate::process_support::times(&order, "NOTIFIED"), 1, "{order:#}");
    let begun = Instant::now();
    while !kept(&street.world).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the spool is not emptied");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
