//! A buyer's order page over HTTP against the real daemon: purchases found again, another try, and what the log keeps.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tracing::subscriber::set_default;

use super::{Answer, BUY, FORM, HTML, JSON, office, shop};
use crate::faults::Shifted;
use crate::support::{ADMIN_TOKEN, TestApp, times};

/// How long a mail may take.
const MAIL_SECONDS_MAX: u64 = 15;

async fn send(app: &TestApp, path: &str, cookie: &str, body: &str) -> Answer {
    shop(app, "POST", path, &[HTML, FORM, ("cookie", cookie)], body.to_owned()).await
}

/// The form's value of this name.
fn field<'a>(page: &'a str, name: &str) -> &'a str {
    let start = format!("name=\"{name}\" value=\"");
    page.split_once(&start)
        .and_then(|(_, rest)| rest.split('"').next())
        .unwrap_or_else(|| panic!("{name} in {page}"))
}

/// Buys as a browser does; gives the order and the cookie that opens it.
async fn bought(app: &TestApp, body: &str) -> (String, String) {
    let answer = send(app, BUY, "", body).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    let path = answer.header("set-cookie").split("Path=/commande/").nth(1).unwrap();
    (path.split(';').next().unwrap().to_owned(), cookie)
}

/// Links go to the address that the order has, whoever asks, and not twice in ten minutes.
#[tokio::test(flavor = "multi_thread")]
async fn purchases_are_found_again_by_their_address_alone() {
    let shifted = Shifted::default();
    let app = TestApp::by(shifted.clock(), &[]).await;
    let (order, _) = bought(&app, "email=awa%40example.ci").await;
    app.cinetpay.approve(&order).unwrap();
    app.until(&order, "DELIVERED").await;
    app.buy().await;
    let ask = async |email: &str| send(&app, "/achats/", "", &format!("email={email}")).await;
    let soon = ask("awa%40example.ci").await;
    let nobody = ask("nobody%40example.ci").await;
    assert_eq!(soon.is_page(200), nobody.is_page(200));
    assert_eq!(app.mailbox.messages().len(), 1, "a mail was sent a moment ago");
    // Long after the link's end: what was paid can still be fetched.
    shifted.forward(Duration::from_secs(30 * 24 * 3600));
    let later = ask("AWA%40example.ci").await;
    assert_eq!(later.body, soon.body);
    let mails = app.mailbox.wait_for(2, Duration::from_secs(MAIL_SECONDS_MAX)).await;
    assert_eq!(mails.len(), 2, "one paid order, one mail; the unpaid one has none");
    let read = mails[1].read();
    assert_eq!(mails[1].to, ["awa@example.ci"]);
    let text = read.text.unwrap();
    let link = text.split_whitespace().find(|word| word.contains("/download/")).unwrap();
    let landing = shop(&app, "GET", link.strip_prefix(&app.shop).unwrap(), &[HTML], "").await;
    landing.is_page(200);
    let way = text.split_whitespace().find(|word| word.contains("/commande/lien/")).unwrap();
    let entered = shop(&app, "GET", way.strip_prefix(&app.shop).unwrap(), &[HTML], "").await;
    assert_eq!((entered.status, entered.header("location")), (303, format!("/commande/{order}/").as_str()));
    let cookie = entered.header("set-cookie").split(';').next().unwrap();
    let page = shop(&app, "GET", &format!("/commande/{order}/"), &[HTML, ("cookie", cookie)], "").await;
    assert!(page.is_page(200).contains("/telecharger/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_mails_is_limited() {
    let app = TestApp::with(&[("AUDITSHIELD_LIMITS__RECOVER_PER_MINUTE", "1")]).await;
    send(&app, "/achats/", "", "email=awa%40example.ci").await.is_page(200);
    let refused = send(&app, "/achats/", "", "email=awa%40example.ci").await;
    refused.is_page(429);
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
}

/// Every refusal that CinetPay documents is told in words, and the order goes on under its own number.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_in_words_and_tried_again() {
    let app = TestApp::start().await;
    for (code, french, english) in [
        ("602", "Le solde", "The balance"),
        ("604", "Le code saisi", "The code was wrong"),
        ("606", "Orange Money a refusé", "Orange Money refused"),
        ("627", "Le paiement a été annulé", "The payment was cancelled"),
        ("804", "momentanément indisponible", "unavailable for a moment"),
        ("807", "un plafond", "a ceiling"),
        ("808", "un plafond", "a ceiling"),
        ("809", "un plafond", "a ceiling"),
        ("810", "un plafond", "a ceiling"),
        ("811", "un plafond", "a ceiling"),
        ("812", "un plafond", "a ceiling"),
    ] {
        let mailed = app.mailbox.messages().len();
        let (order, cookie) = bought(&app, "email=awa%40example.ci").await;
        app.cinetpay.refuse(&order, code).unwrap();
        app.until(&order, "FAILED").await;
        for (lang, words) in [("fr", french), ("en", english)] {
            let path = format!("/payment/return/?transaction_id={order}&lang={lang}");
            let page = shop(&app, "GET", &path, &[HTML], "").await;
            let shown =
                page.is_page(200).split("<span data-code=").find(|part| part.contains(words)).unwrap();
            assert!(!shown.contains("hidden"), "{code}: {shown}");
        }
        assert_eq!(app.mailbox.messages().len(), mailed, "{code}: a refusal mails nobody");
        let again = send(&app, &format!("/commande/{order}/payer/"), &cookie, "").await;
        assert!(again.header("location").starts_with(app.cinetpay.base_url()), "{code}: {}", again.body);
        let second = format!("{order}R2");
        app.cinetpay.approve(&second).unwrap();
        app.until(&order, "DELIVERED").await;
        let kinds = app.kinds(&order).await;
        assert_eq!((times(&kinds, "PAID"), times(&kinds, "INITIATED")), (1, 2), "{code}");
    }
}

/// Gathers what is logged on this thread.
#[derive(Clone, Default)]
struct Gathered(Arc<Mutex<Vec<u8>>>);

impl Write for Gathered {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The whole life of an order, at the most talkative level. On one thread, so that all of it is heard.
#[tokio::test]
async fn the_log_names_nobody_and_opens_nothing() {
    let log = Gathered::default();
    let writer = log.clone();
    let talkative = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // Where there is one subscriber only, tracing asks the thread that comes to a place first, and remembers for all of
    // them that nobody listens there. With a second one it asks both.
    let _beside = tracing::Dispatch::new(tracing_subscriber::registry());
    let listening = set_default(talkative);
    let app = TestApp::start().await;
    let (order, cookie) =
        bought(&app, "email=sekou.awa%40example.ci&name=Awa+Sekou&phone=%2B2250700000042").await;
    app.cinetpay.refuse(&order, "602").unwrap();
    app.until(&order, "FAILED").await;
    send(&app, &format!("/commande/{order}/payer/"), &cookie, "").await;
    app.cinetpay.approve(&format!("{order}R2")).unwrap();
    app.until(&order, "DELIVERED").await;
    let link = app.link().await;
    let page = shop(&app, "GET", &format!("/commande/{order}/"), &[HTML, ("cookie", &cookie)], "").await;
    let proof = field(page.is_page(200), "proof").to_owned();
    send(&app, "/achats/", "", "email=sekou.awa%40example.ci").await;
    let body = format!("proof={proof}&email=sekou.aya%40example.ci");
    assert_eq!(send(&app, &format!("/commande/{order}/adresse/"), &cookie, &body).await.status, 303);
    app.mailbox.wait_for(2, Duration::from_secs(MAIL_SECONDS_MAX)).await;
    app.until(&order, "RESENT").await;
    send(&app, &format!("/commande/{order}/telecharger/"), &cookie, &format!("proof={proof}")).await;
    shop(&app, "GET", link.strip_prefix(&app.shop).unwrap(), &[HTML], "").await.is_page(410);
    assert_eq!(app.order(&order).await["email"], json!("sekou.aya@example.ci"));
    administered(&app, &order).await;
    drop(listening);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let ours: Vec<&str> = log.lines().filter(|line| line.contains("auditshield")).collect();
    assert!(
        ours.iter().filter(|line| line.contains(&order)).count() > 5,
        "nothing was heard: {}",
        ours.len()
    );
    let token = link.trim_end_matches('/').rsplit('/').next().unwrap();
    let secrets = ["sekou", "Sekou", "0700000042", &proof, token, cookie.split('=').nth(1).unwrap()];
    for line in ours {
        assert!(secrets.iter().all(|secret| !line.contains(secret)), "{line}");
    }
}

/// What a merchant does with a buyer's data: looks for it, carries it away, corrects it.
async fn administered(app: &TestApp, order: &str) {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let days = "from=2020-01-01&to=2029-12-29";
    let act = json!({"email": "sekou.awa@example.ci", "note": "mistyped", "by": "Kofi"}).to_string();
    for (method, path, kind, body) in [
        ("POST", "/admin/orders/".to_owned(), FORM, "q=sekou.aya%40example.ci".to_owned()),
        ("GET", "/api/orders?q=sekou.aya%40example.ci".to_owned(), JSON, String::new()),
        ("GET", format!("/admin/exports/orders.csv?{days}"), HTML, String::new()),
        ("GET", format!("/admin/orders/{order}/proof.pdf"), HTML, String::new()),
        ("POST", format!("/api/orders/{order}/address"), ("content-type", "application/json"), act),
    ] {
        let answer = office(app, method, &path, &[("authorization", &bearer), kind], body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
}

/// One page of an order was paid otherwise, another one rightly: the right money is seen although a person was asked.
#[tokio::test(flavor = "multi_thread")]
async fn the_right_payment_ends_a_review_of_another_page() {
    let app = TestApp::start().await;
    let (order, cookie) = bought(&app, "email=awa%40example.ci").await;
    app.cinetpay.refuse(&order, "627").unwrap();
    app.until(&order, "FAILED").await;
    send(&app, &format!("/commande/{order}/payer/"), &cookie, "").await;
    let second = format!("{order}R2");
    app.settle(&second, &json!({"accepted_amount": "100"}));
    app.cinetpay.approve(&second).unwrap();
    app.until(&order, "REVIEW").await;
    app.cinetpay.approve(&order).unwrap();
    app.until(&order, "DELIVERED").await;
    assert_eq!(times(&app.kinds(&order).await, "PAID"), 1);
}
