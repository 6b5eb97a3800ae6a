//! The same proxies and configurations with a unix socket between them and the daemon, as the configurations' first lines say.

use super::*;

/// Tells the daemon to listen in the file system.
pub(super) fn listen(world: &mut World) {
    let place = format!("unix:{}", socket(world).display());
    world.settings.insert("AUDITSHIELD_SERVER__LISTEN".to_owned(), place);
    // The socket's mode is what lets the proxy in.
    world.settings.remove("AUDITSHIELD_SERVER__TRUSTED_PROXIES");
}

fn socket(world: &World) -> PathBuf {
    world.path("public.sock")
}

/// Whether the daemon of this world listens there.
fn is_socket(world: &World) -> bool {
    world.settings["AUDITSHIELD_SERVER__LISTEN"].starts_with("unix:")
}

/// What stands for the daemon in this shipped file, and what to put there.
pub(super) fn upstream(world: &World, file: &str) -> (&'static str, String) {
    let place = socket(world).display().to_string();
    match (is_socket(world), file) {
        (false, _) => ("127.0.0.1:8000", world.settings["AUDITSHIELD_SERVER__LISTEN"].clone()),
        (true, "nginx/auditshield.conf") => ("http://127.0.0.1:8000;", format!("http://unix:{place};")),
        (true, _) => ("http://127.0.0.1:8000/", format!("unix:{place}|http://localhost/")),
    }
}

/// Where notify.php finds the daemon.
pub(super) fn notified(world: &World) -> String {
    if is_socket(world) {
        format!("unix:{}", socket(world).display())
    } else {
        format!("{}/payment/callback/", world.shop)
    }
}

#[tokio::test]
async fn every_proxy_over_a_unix_socket() {
    if !has_tools("tests/proxy/run") {
        return;
    }
    for kind in [Kind::Nginx, Kind::Apache, Kind::Htaccess] {
        println!("{kind:?}");
        let street = Street::raised(kind, "off", Over::Socket).await;
        whole_way(street, kind).await;
    }
}

#[tokio::test]
async fn nginxs_id_of_a_request_is_the_daemons() {
    if !has_tools("tests/proxy/run") {
        return;
    }
    let street = Street::new(Kind::Nginx).await;
    let asked = street.client.get(street.at("/healthz")).header("x-request-id", "somebody-elses");
    let id = asked.send().await.unwrap().headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_ne!(id, "somebody-elses");
    let begun = Instant::now();
    while !street.written().contains(&id) {
        assert!(begun.elapsed() < PATIENCE, "{id} is not in nginx's log: {}", street.written());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
