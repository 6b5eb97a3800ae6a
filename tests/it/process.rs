//! The program as its operator meets it: signals, exit codes, what it says, what it counts.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process_support::{
    ADMIN_TOKEN, API_KEY, EMAIL, NAME, PATIENCE, PHONE, SECRET_KEY, WEBHOOK_SECRET, World, notice,
};

/// One order: bought, paid, told, delivered. Returns its number and the mailed link.
async fn sale(world: &World) -> (String, String) {
    let before = world.mailbox.messages().len();
    let request = world.client.post(format!("{}/buy/audit-kit/standard/", world.shop));
    let body = json!({"email": EMAIL, "name": NAME, "phone": PHONE});
    let answer = request.header("accept", "application/json").json(&body).send().await.unwrap();
    let body: Value = answer.json().await.unwrap();
    let order = body["order_id"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
    world.cinetpay.approve(&order).unwrap();
    world.until(&order, "DELIVERED").await;
    let mails = world.mailbox.wait_for(before + 1, PATIENCE).await;
    let text = mails.last().unwrap().read().text.unwrap();
    let start = text.find(&format!("{}/download/", world.shop)).expect("a link");
    (order, text[start..].split_whitespace().next().unwrap().to_owned())
}

/// A download as a buyer's browser does it: the page, then the file.
async fn download(world: &World, link: &str) -> String {
    let page = world.client.get(link).header("accept", "text/html").send().await.unwrap();
    assert_eq!(page.status(), 200);
    let pressed = world.client.post(link).send().await.unwrap();
    let place = pressed.headers().get("location").expect("the file's place").to_str().unwrap();
    let place = reqwest::Url::parse(link).unwrap().join(place).unwrap();
    let file = world.client.get(place.clone()).send().await.unwrap();
    assert_eq!(file.status(), 200);
    assert_eq!(file.text().await.unwrap(), "The kit itself.\n");
    place.to_string()
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight_and_exits_0() {
    let mut world = World::new(&[]).await;
    world.start().await;
    let order = world.buy().await;
    world.cinetpay.patch(&json!({"check_latency_ms": 700, "init_latency_ms": 700})).unwrap();
    world.cinetpay.approve(&order).unwrap();
    world.until(&order, "NOTIFIED").await;
    // A purchase in flight when the signal comes is answered all the same.
    let (bought, ()) = tokio::join!(world.try_buy(EMAIL), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.term();
    });
    let bought = bought.unwrap_or_else(|why| panic!("{why:?}: {}", world.said()));
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());
    assert!(world.said().contains("\"quiet\":true"), "{}", world.said());
    world.start().await;
    assert_eq!(world.order(&bought).await["status"], "PENDING");
    world.until(&order, "DELIVERED").await;
    world.term();
    assert_eq!(world.end().await.code(), Some(0));
    world.verify_journal(&world.path("store")).await;
}

#[tokio::test]
async fn a_second_daemon_on_the_same_store_is_refused() {
    let mut world = World::new(&[]).await;
    world.start().await;
    world.settings.insert("AUDITSHIELD_SERVER__LISTEN".to_owned(), "127.0.0.1:0".to_owned());
    world.settings.insert("AUDITSHIELD_ADMIN__LISTEN".to_owned(), "127.0.0.1:0".to_owned());
    let (code, said) = world.run(&["serve"]).await;
    assert_eq!(code, 69, "{said}");
    assert!(
        said.contains("in use by another") && said.contains(&world.path("store").display().to_string()),
        "{said}"
    );
    assert!(world.is_up());
    let order = world.buy().await;
    assert_eq!(world.order(&order).await["status"], "PENDING");
}

#[tokio::test]
async fn a_taken_port_is_69_and_a_wrong_setting_78_before_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for listen in ["AUDITSHIELD_SERVER__LISTEN", "AUDITSHIELD_ADMIN__LISTEN"] {
        let mut world = World::new(&[(listen, &address)]).await;
        let (code, said) = world.run(&["serve"]).await;
        assert_eq!(code, 69, "{said}");
        assert!(said.contains(&address), "{said}");
        // The setting is judged first: else the port's 69 would be the answer.
        for (name, text) in [
            ("AUDITSHIELD_DOWNLOAD__TTL", "three moons"),
            ("CINETPAY_API_KEY", ""),
            ("AUDITSHIELD_LOG", "verbose"),
            ("AUDITSHIELD_CATALOG__PATH", "nowhere.toml"),
        ] {
            let before = world.settings.insert(name.to_owned(), text.to_owned());
            let (code, said) = world.run(&["serve"]).await;
            assert_eq!(code, 78, "{name}: {said}");
            assert!(said.contains(name), "{name}: {said}");
            match before {
                Some(before) => world.settings.insert(name.to_owned(), before),
                None => world.settings.remove(name),
            };
        }
        assert!(!world.path("store").exists(), "a store was made all the same");
    }
}

#[tokio::test]
async fn nothing_private_is_ever_said() {
    for level in ["info", "debug"] {
        let mut world = World::new(&[("AUDITSHIELD_LOG", level)]).await;
        world.start().await;
        let (order, link) = sale(&world).await;
        let place = download(&world, &link).await;
        let (_, token) = notice(&order);
        assert_eq!(world.notify(&order).await, 200);
        let mut hidden = vec![EMAIL, "adjoua", NAME, "Kouam", PHONE, "0707070707", API_KEY, WEBHOOK_SECRET];
        hidden.extend([SECRET_KEY, ADMIN_TOKEN, token.as_str()]);
        let secrets = |url: &str| url.rsplit('/').find(|part| !part.is_empty()).unwrap().to_owned();
        let (link_token, file_token) = (secrets(&link), secrets(&place));
        hidden.extend([link_token.as_str(), file_token.as_str()]);
        misfortunes(&world, &order, &link).await;
        let (_, shown) = world.run(&["orders", "show", &order]).await;
        assert!(!shown.contains(ADMIN_TOKEN));
        corrected(&world, &order).await;
        hidden.push(CORRECTED);
        world.term();
        assert_eq!(world.end().await.code(), Some(0));
        let said = world.said();
        for secret in hidden {
            assert!(!said.to_lowercase().contains(&secret.to_lowercase()), "{secret} was said: {said}");
        }
        every_line_is_json_with_its_order(&said, &order);
    }
}

/// The address after a person corrected it.
const CORRECTED: &str = "aya.corrigee@example.ci";

/// The command line corrects an address, with a reason, and the dashboard finds the order by it.
async fn corrected(world: &World, order: &str) {
    let (code, said) = world.run(&["orders", "address", order, CORRECTED]).await;
    assert_eq!(code, 2, "without a reason: {said}");
    let reason = ["--note", "faute de frappe", "--by", "Awa"];
    let (code, said) = world.run(&[&["orders", "address", order, CORRECTED][..], &reason].concat()).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(CORRECTED) && said.contains("faute de frappe") && said.contains("Awa"), "{said}");
    let search = world.client.post(format!("{}/admin/orders/", world.admin)).bearer_auth(ADMIN_TOKEN);
    let page = search.form(&[("q", CORRECTED)]).send().await.unwrap().text().await.unwrap();
    assert!(page.contains(order), "{page}");
}

/// Everything that makes a daemon complain: the mail server, CinetPay, forged notifications, wrong requests.
async fn misfortunes(world: &World, order: &str, link: &str) {
    use auditshield::simulator::mailbox::{Fault, Step};
    for step in [Step::Rcpt, Step::Dot] {
        world.mailbox.set_fault(Some(Fault { times: Some(1), ..Fault::reply(step, 550) }));
        let again = format!("{}/api/orders/{order}/resend", world.admin);
        let asked = world.client.post(again).bearer_auth(ADMIN_TOKEN).json(&json!({"note": NAME}));
        asked.send().await.unwrap();
    }
    world.mailbox.set_fault(None);
    let pending = world.buy().await;
    let broken = json!({"check_fault": {"kind": "html502"}, "init_fault": {"kind": "error500"}});
    world.cinetpay.patch(&broken).unwrap();
    assert!(world.try_buy(EMAIL).await.is_err(), "a page although CinetPay is broken");
    assert_eq!(world.notify(&pending).await, 200);
    let callback = format!("{}/payment/callback/", world.shop);
    for (name, value) in [("x-token", "0".repeat(64)), ("x-other", "1".to_owned())] {
        let form = [("cpm_trans_id", order), ("cel_phone_num", PHONE), ("cpm_site_id", "445160")];
        world.client.post(&callback).header(name, value).form(&form).send().await.unwrap();
    }
    world.client.get(format!("{link}x")).send().await.unwrap();
    world.client.get(format!("{}/api/orders", world.admin)).bearer_auth("wrong").send().await.unwrap();
}

fn every_line_is_json_with_its_order(said: &str, order: &str) {
    let mut of_the_order = 0;
    for line in said.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        if line.to_string().contains(order) || line["message"] == "event" {
            // A line of its own, or one from within an errand, whose span names it.
            let named = line["order"].as_str().or(line["span"]["order"].as_str());
            let named = named.unwrap_or_else(|| panic!("no order: {line}"));
            of_the_order += usize::from(named == order);
        }
    }
    assert!(of_the_order >= 5, "the order's story is told: {said}");
}

/// A family's values, summed over those of its series that have all these labels.
fn value(metrics: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| line.rsplit_once(' '));
    let mine = series.filter(|(series, _)| {
        series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label))
    });
    mine.map(|(_, value)| value.parse::<f64>().unwrap()).reduce(|one, other| one + other)
}

#[tokio::test]
async fn a_sale_is_counted() {
    let mut world = World::new(&[]).await;
    world.cinetpay.patch(&json!({"notify": {"copies": 2}})).unwrap();
    world.start().await;
    let (order, link) = sale(&world).await;
    download(&world, &link).await;
    world.until(&order, "DOWNLOADED").await;
    let waiting = world.buy().await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let callback = format!("{}/payment/callback/", world.shop);
    assert_eq!(world.client.post(callback).body("a=b").send().await.unwrap().status(), 400);
    let metrics = world.metrics().await;
    let is = |name: &str, labels: &[&str], wanted: f64| {
        let found = value(&metrics, name, labels);
        assert_eq!(found, Some(wanted), "{name} {labels:?}\n{metrics}");
    };
    is("auditshield_webhooks_total", &["outcome=\"accepted\""], 1.0);
    is("auditshield_webhooks_total", &["outcome=\"duplicate\""], 1.0);
    is("auditshield_webhooks_total", &["outcome=\"unsigned\""], 1.0);
    is("auditshield_checks_total", &["verdict=\"accepted\""], 1.0);
    is("auditshield_check_seconds_count", &[], 1.0);
    is("auditshield_inits_total", &[], 2.0);
    is("auditshield_mails_total", &["outcome=\"accepted\""], 1.0);
    is("auditshield_downloads_total", &["outcome=\"started\""], 1.0);
    is("auditshield_orders", &["status=\"PAID\""], 1.0);
    is("auditshield_orders", &["status=\"PENDING\""], 1.0);
    is("auditshield_orders", &["status=\"REVIEW\""], 0.0);
    is("auditshield_journal_queue_depth", &[], 0.0);
    is("auditshield_journal_healthy", &[], 1.0);
    is("auditshield_ledger_can_commit", &[], 1.0);
    is("auditshield_actor_restarts_total", &[], 0.0);
    is("auditshield_asks_refused_total", &[], 0.0);
    is("auditshield_http_requests_total", &["listener=\"public\"", "class=\"4xx\""], 1.0);
    is("auditshield_build_info", &["version="], 1.0);
    let commits = value(&metrics, "auditshield_journal_commits_total", &["outcome=\"ok\""]).unwrap();
    let (health, body) = world.get(&format!("{}/api/orders/{waiting}", world.admin)).await;
    assert_eq!(health, 200, "{body}");
    assert!(commits >= 5.0, "{metrics}");
    let batches = value(&metrics, "auditshield_journal_batch_size_count", &[]).unwrap();
    is("auditshield_journal_batch_size_sum", &[], commits);
    is("auditshield_journal_sync_seconds_count", &[], batches);
    let age = value(&metrics, "auditshield_oldest_pending_seconds", &[]).unwrap();
    assert!((1.0..60.0).contains(&age), "{age}");
    let seated = value(&metrics, "auditshield_actors_seated", &[]).unwrap();
    assert!((0.0..=2.0).contains(&seated), "{seated}");
    for (kind, name, _) in auditshield::telemetry::METRICS {
        assert!(name.starts_with("auditshield_"), "{kind:?} {name}");
    }
    let strays = metrics.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    // Beside ours, the process itself in the names that every Prometheus client library gives it.
    let own = ["auditshield_", "process_"];
    let strays = strays.filter(|line| !own.iter().any(|start| line.starts_with(start)));
    assert_eq!(strays.count(), 0, "{metrics}");
    assert_eq!(metrics.lines().filter(|line| line.starts_with("process_")).count(), 7, "{metrics}");
}

#[tokio::test]
async fn the_shipped_example_is_valid() {
    let mut world = World::new(&[]).await;
    world.settings.clear();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let to = world.path("config");
    std::fs::create_dir_all(to.join("files")).unwrap();
    for folder in ["", "files"] {
        for file in std::fs::read_dir(shipped.join(folder)).unwrap().map(Result::unwrap) {
            if file.file_type().unwrap().is_file() {
                std::fs::copy(file.path(), to.join(folder).join(file.file_name())).unwrap();
            }
        }
    }
    let (code, said) = world.run(&["config", "check", "--env-file", "config/env.sandbox.example"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("OK"), "{said}");
    // The production example is a form to fill in: it is refused, and says what is missing.
    let (code, said) = world.run(&["config", "check", "--env-file", "config/env.production.example"]).await;
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("AUDITSHIELD_SECRET_KEY") && said.contains("CINETPAY_API_KEY"), "{said}");
    assert!(!to.join("../var").exists());
}
