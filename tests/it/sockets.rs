//! Listeners in the file system: the shop and the admin over unix sockets, from bind to removal.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::process_support::{ADMIN_TOKEN, EMAIL, PATIENCE, WEBHOOK_SECRET, World, notice};

/// A daemon with both listeners in the file system, and clients for them.
struct Street {
    world: World,
    shop: Client,
    public: PathBuf,
    admin: PathBuf,
}

fn client(socket: &Path) -> Client {
    // One request on each connection: a kept one that the daemon closes is the client's to try again.
    let client = Client::builder().unix_socket(socket).pool_max_idle_per_host(0).timeout(PATIENCE);
    client.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

impl Street {
    async fn new() -> Self {
        let mut world = World::new(&[("AUDITSHIELD_SERVER__PUBLIC_URL", "http://shop.example/")]).await;
        let (public, admin) = (world.path("public.sock"), world.path("admin.sock"));
        for (name, path) in [("AUDITSHIELD_SERVER__LISTEN", &public), ("AUDITSHIELD_ADMIN__LISTEN", &admin)] {
            world.settings.insert(name.to_owned(), format!("unix:{}", path.display()));
        }
        let shop = client(&public);
        Self { world, shop, public, admin }
    }

    async fn start(&mut self) {
        self.world.spawn();
        let begun = Instant::now();
        while !self.is_ready().await {
            assert!(begun.elapsed() < PATIENCE && self.world.is_up(), "{}", self.world.said());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    async fn is_ready(&self) -> bool {
        let asked = self.shop.get("http://shop/readyz").send().await;
        asked.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    async fn buy(&self) -> String {
        let request =
            self.shop.post("http://shop/buy/audit-kit/standard/").header("accept", "application/json");
        let answer = request.json(&json!({"email": EMAIL})).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        answer.json::<Value>().await.unwrap()["order_id"].as_str().unwrap().to_owned()
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_sale_and_the_command_line_over_unix_sockets() {
    let mut street = Street::new().await;
    street.start().await;
    assert_eq!((mode(&street.public), mode(&street.admin)), (0o660, 0o660));
    let order = street.buy().await;
    street.world.cinetpay.approve(&order).unwrap();
    let (form, token) = notice(&order);
    let told = street.shop.post("http://shop/payment/callback/").header("x-token", token);
    let told =
        told.header("content-type", "application/x-www-form-urlencoded").body(form).send().await.unwrap();
    assert_eq!(told.status(), StatusCode::OK);
    street.world.mailbox.wait_for(1, PATIENCE).await;
    let api = client(&street.admin).get(format!("http://admin/api/orders/{order}")).bearer_auth(ADMIN_TOKEN);
    let seen: Value = api.send().await.unwrap().json().await.unwrap();
    assert_eq!(seen["status"], "PAID");
    let (code, said) = street.world.run(&["orders", "show", &order]).await;
    assert!(code == 0 && said.contains("PAID"), "{code}: {said}");
    let (_, said) = street.world.run(&["doctor", "--json"]).await;
    let findings: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let daemon =
        findings["findings"].as_array().unwrap().iter().find(|one| one["check"] == "daemon").unwrap();
    assert_eq!(daemon["severity"], "good", "{daemon}");
    street.world.term();
    assert_eq!(street.world.end().await.code(), Some(0), "{}", street.world.said());
    assert!(!street.public.exists() && !street.admin.exists(), "the sockets are still there");
}

#[tokio::test]
async fn a_killed_daemons_sockets_are_replaced_and_a_living_ones_are_not() {
    let mut street = Street::new().await;
    street.start().await;
    street.world.kill();
    assert!(std::fs::symlink_metadata(&street.public).unwrap().file_type().is_socket(), "nothing is left");
    street.start().await;
    street.buy().await;
    // A second one, with a store of its own.
    let settings = street.world.settings.clone();
    let store = format!("sled:{}", street.world.path("another-store").display());
    street.world.settings.insert("AUDITSHIELD_STORE__URL".to_owned(), store);
    let (code, said) = street.world.run(&["serve"]).await;
    assert!(code == 69 && said.contains("public.sock"), "{code}: {said}");
    street.world.settings = settings;
    assert!(street.is_ready().await, "the first one lost its socket");
    street.world.term();
    assert_eq!(street.world.end().await.code(), Some(0));
    std::fs::write(&street.public, "a merchant's file").unwrap();
    let (code, said) = street.world.run(&["serve"]).await;
    assert!(code == 69 && said.contains("no socket stands there"), "{code}: {said}");
    assert_eq!(std::fs::read_to_string(&street.public).unwrap(), "a merchant's file");
}

#[tokio::test]
async fn what_a_neighbour_says_of_its_clients_is_believed() {
    use auditshield::adapters::cinetpay::trial;
    let mut street = Street::new().await;
    street.start().await;
    let site = street.world.settings["CINETPAY_SITE_ID"].clone();
    for (number, header, client) in [
        ("1", None, "127.0.0.1"),
        ("2", Some(("x-forwarded-for", "41.207.1.2")), "41.207.1.2"),
        ("3", Some(("x-forwarded-for", "6.6.6.6, 41.207.1.2")), "41.207.1.2"),
        ("4", Some(("forwarded", "for=41.207.1.3")), "41.207.1.3"),
        ("5", Some(("x-forwarded-for", "nonsense")), "127.0.0.1"),
    ] {
        let (form, token) = trial::notification(&site, number, WEBHOOK_SECRET.as_bytes());
        let mut request = street.shop.post("http://shop/payment/callback/").header("x-token", token);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let echo: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(echo["client"], client, "{header:?}");
    }
}

#[tokio::test]
async fn a_place_that_is_none_is_a_wrong_setting() {
    let mut world = World::new(&[]).await;
    for (place, word) in
        [("unix:relative.sock", "unix:/"), ("unix:", "unix:/"), ("/run/x.sock", "127.0.0.1:8000")]
    {
        world.settings.insert("AUDITSHIELD_SERVER__LISTEN".to_owned(), place.to_owned());
        let (code, said) = world.run(&["serve"]).await;
        assert!(
            code == 78 && said.contains("AUDITSHIELD_SERVER__LISTEN") && said.contains(word),
            "{place}: {said}"
        );
    }
}

#[tokio::test]
async fn the_service_managers_socket_stays_and_queues_while_the_daemon_restarts() {
    let mut street = Street::new().await;
    let holder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/hold_sockets.py");
    let notified = street.world.path("notified");
    let words = [&holder, &street.public, &street.admin, &notified].map(|path| path.display().to_string());
    street.world.wrapper = ["python3".to_owned()].into_iter().chain(words).chain(["--".to_owned()]).collect();
    street.start().await;
    let before = std::fs::symlink_metadata(&street.public).unwrap();
    for _ in 0..3 {
        street.buy().await;
        street.world.signal("-USR1");
        // Connections that arrive meanwhile wait in the socket.
        street.buy().await;
    }
    use std::os::unix::fs::MetadataExt;
    let after = std::fs::symlink_metadata(&street.public).unwrap();
    assert_eq!((after.dev(), after.ino()), (before.dev(), before.ino()), "another socket took its place");
    let told = std::fs::read_to_string(&notified).unwrap();
    assert!(told.lines().filter(|line| *line == "STOPPING=1").count() == 3, "{told}");
    street.world.term();
    assert_eq!(street.world.end().await.code(), Some(0), "{}", street.world.said());
    assert!(street.public.exists(), "it is the service manager's, and stays");
}
