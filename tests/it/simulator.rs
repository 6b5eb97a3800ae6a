//! The simulator seen from outside.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use auditshield::simulator::{FIELDS, Options, Simulator, Status, start, x_token};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use warp::Filter;

const PATIENCE: Duration = Duration::from_secs(10);

/// `x-token` and the form of one notification.
type Post = (Option<String>, Vec<(String, String)>);

struct Merchant {
    url: String,
    posts: Arc<Mutex<Vec<Post>>>,
}

/// A merchant that answers 200 after `failures` times 500.
async fn merchant(failures: usize) -> Merchant {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/n", listener.local_addr().unwrap());
    let posts: Arc<Mutex<Vec<Post>>> = Arc::default();
    let held = Arc::clone(&posts);
    let take = warp::post()
        .and(warp::header::optional::<String>("x-token"))
        .and(warp::body::form::<Vec<(String, String)>>())
        .map(move |token, form| {
            let mut held = held.lock().unwrap();
            held.push((token, form));
            if held.len() <= failures { 500_u16 } else { 200 }
        })
        .map(|code| warp::http::StatusCode::from_u16(code).unwrap());
    let ping = warp::get().map(|| warp::http::StatusCode::OK);
    tokio::spawn(warp::serve(take.or(ping)).incoming(listener).run());
    Merchant { url, posts }
}

impl Merchant {
    async fn wait(&self, n: usize) -> Vec<Post> {
        let all = tokio::time::timeout(PATIENCE, async {
            loop {
                let held = self.posts.lock().unwrap().clone();
                if held.len() >= n {
                    return held;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        all.await.expect("notifications in time")
    }
}

fn field<'a>(form: &'a [(String, String)], name: &str) -> &'a str {
    form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

fn values(form: &[(String, String)]) -> Vec<String> {
    FIELDS.iter().map(|name| field(form, name).to_owned()).collect()
}

async fn simulator(settings: Value) -> Simulator {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options { settings: Some(settings.to_string()), ..Options::default() };
    start(listener, options).await.unwrap()
}

pub(crate) fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

fn order(id: &str, notify_url: &str) -> Value {
    json!({
        "apikey": "simulator-api-key", "site_id": "445160", "transaction_id": id, "amount": 15000, "currency": "XOF",
        "description": "Café étoilé", "notify_url": notify_url, "return_url": "http://127.0.0.1:9/return",
        "channels": "ALL", "metadata": "user:42",
    })
}

async fn post(sim: &Simulator, path: &str, body: &Value) -> (u16, Value) {
    let reply = http().post(format!("{}{path}", sim.base_url())).json(body).send().await.unwrap();
    (reply.status().as_u16(), serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap_or(Value::Null))
}

async fn init(sim: &Simulator, id: &str, notify_url: &str) -> String {
    let (status, body) = post(sim, "/v2/payment", &order(id, notify_url)).await;
    assert_eq!((status, &body["code"]), (200, &json!("201")), "{body}");
    body["data"]["payment_url"].as_str().unwrap().to_owned()
}

async fn check(sim: &Simulator, id: &str) -> (u16, Value) {
    let body = json!({"apikey": "simulator-api-key", "site_id": "445160", "transaction_id": id});
    post(sim, "/v2/payment/check", &body).await
}

const NOWHERE: &str = "http://127.0.0.1:9/n";

#[tokio::test]
async fn init_answers_as_documented() {
    let sim = simulator(json!({"notify": {"enabled": false}})).await;
    let with = |patch: Value| {
        let mut body = order("A1", NOWHERE);
        body.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        body
    };
    let cases = [
        ("wrong key", json!({"apikey": "x"}), 400, "624"),
        ("wrong site", json!({"site_id": "1"}), 400, "624"),
        ("empty field", json!({"return_url": ""}), 400, "608"),
        ("special characters in the id", json!({"transaction_id": "A_1"}), 400, "608"),
        ("too low", json!({"amount": 95}), 400, "641"),
        ("not a multiple of 5", json!({"amount": 101}), 400, "608"),
        ("currency", json!({"currency": "EUR"}), 400, "612"),
        ("metadata object", json!({"metadata": {}}), 400, "608"),
        ("card without the customer", json!({"channels": "CREDIT_CARD"}), 400, "624"),
        ("good", json!({}), 200, "201"),
        ("re-used", json!({}), 400, "620"),
        ("amount as text", json!({"transaction_id": "A2", "amount": "100"}), 200, "201"),
    ];
    for (name, patch, status, code) in cases {
        let (got, body) = post(&sim, "//v2/payment", &with(patch)).await;
        assert_eq!((got, body["code"].as_str().unwrap_or("")), (status, code), "{name}: {body}");
        assert_eq!(body.get("data").is_some(), status == 200, "{name}");
        if status == 200 {
            assert_eq!(body["data"]["payment_token"].as_str().unwrap().len(), 110);
        }
    }
    let form = "apikey=simulator-api-key&site_id=445160&transaction_id=F1&amount=100&currency=XOF&description=d\
                &notify_url=http://a/&return_url=http://a/&channels=ALL";
    let send = || {
        let call = http().post(format!("{}/v2/payment", sim.base_url())).body(form);
        call.header("content-type", "application/x-www-form-urlencoded").send()
    };
    assert_eq!(send().await.unwrap().status(), 200);
    sim.patch(&json!({"strict_content_type": true})).unwrap();
    assert_eq!(send().await.unwrap().status(), 403);
    sim.patch(&json!({"require_user_agent": true})).unwrap();
    let (status, body) = check(&sim, "A1").await;
    assert_eq!((status, body), (403, Value::Null), "reqwest sends no User-Agent: HTML 1010");
    assert_eq!(sim.transaction("A1").unwrap().counts.init, 2);
    sim.stop().await;
}

#[tokio::test]
async fn check_tells_each_status_in_each_shape() {
    let sim = simulator(json!({"notify": {"enabled": false}})).await;
    for id in ["P", "R", "C", "E"] {
        init(&sim, id, NOWHERE).await;
    }
    let (_, waiting) = check(&sim, "P").await;
    assert_eq!((&waiting["code"], &waiting["data"]["status"]), (&json!("662"), &json!("PENDING")));
    sim.patch(&json!({"pending_shape": "waiting_for_customer"})).unwrap();
    assert_eq!(check(&sim, "P").await.1["data"]["status"], "WAITING_FOR_CUSTOMER");
    sim.patch(&json!({"pending_shape": "year2021"})).unwrap();
    let (_, old) = check(&sim, "P").await;
    assert!(old["data"].get("status").is_none() && old["data"].get("amount").is_none(), "{old}");

    sim.approve("P").unwrap();
    sim.refuse("R", "602").unwrap();
    sim.cancel("C").unwrap();
    sim.expire("E").unwrap();
    let (_, paid) = check(&sim, "P").await;
    assert_eq!(paid["message"], "SUCCES");
    assert_eq!(
        (&paid["code"], &paid["data"]["status"], &paid["data"]["amount"], &paid["data"]["currency"]),
        (&json!("00"), &json!("ACCEPTED"), &json!("15000"), &json!("XOF"))
    );
    for (id, code) in [("R", "602"), ("C", "627"), ("E", "625")] {
        let (status, body) = check(&sim, id).await;
        assert_eq!((status, &body["code"], &body["data"]["status"]), (200, &json!(code), &json!("REFUSED")));
        assert_eq!(
            (&body["data"]["operator_id"], &body["data"]["payment_date"]),
            (&Value::Null, &json!(" "))
        );
    }
    sim.patch_transaction("P", &json!({"amount_as_number": true, "accepted_amount": "100"})).unwrap();
    assert_eq!(check(&sim, "P").await.1["data"]["amount"], json!(100));
    assert!(sim.cancel("P").is_err(), "accepted is final");

    assert_eq!(check(&sim, "nobody").await.0, 404);
    for (shape, status) in [("601", 200), ("627", 200), ("624", 400)] {
        sim.patch(&json!({"unknown_shape": shape})).unwrap();
        let (got, body) = check(&sim, "nobody").await;
        assert_eq!((got, body["code"].as_str()), (status, Some(shape)));
        assert!(body.get("data").is_none());
    }
    let token = sim.transaction("P").unwrap().token;
    let by_token = json!({"apikey": "simulator-api-key", "site_id": "445160", "token": token});
    assert_eq!(post(&sim, "//v2/payment//check", &by_token).await.1["code"], "00");
    assert_eq!(sim.transaction("P").unwrap().counts.check, 6);
    sim.stop().await;
}

#[tokio::test]
async fn a_notification_is_pinged_signed_and_tried_again() {
    let merchant = merchant(1).await;
    let sim = simulator(json!({"notify": {"retry_delay_ms": 1}})).await;
    init(&sim, "N1", &merchant.url).await;
    sim.approve("N1").unwrap();
    let posts = merchant.wait(2).await;
    let (token, form) = &posts[1];
    assert_eq!(token.as_deref(), Some(x_token(b"simulator-secret-key", &values(form)).as_str()));
    let names: Vec<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, FIELDS);
    assert_eq!(
        ["cpm_trans_id", "cpm_amount", "cpm_custom", "cpm_designation", "cpm_error_message"]
            .map(|n| field(form, n)),
        ["N1", "15000", "user:42", "Café étoilé", "SUCCES"]
    );
    tokio::time::timeout(PATIENCE, async {
        while sim.transaction("N1").unwrap().counts.notify_ok < 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let counts = sim.transaction("N1").unwrap().counts;
    assert_eq!((counts.ping, counts.notify, counts.notify_ok), (2, 2, 1));
    sim.stop().await;
}

#[tokio::test]
async fn every_switch_of_the_notification_shows() {
    let merchant = merchant(0).await;
    let sim = simulator(json!({"notify": {"copies": 2, "token": "wrong", "short_form": true}})).await;
    init(&sim, "S1", &merchant.url).await;
    sim.cancel("S1").unwrap();
    let (token, form) = merchant.wait(2).await.remove(1);
    assert_eq!(form.len(), 14);
    assert!(token.is_some_and(|token| token != x_token(b"simulator-secret-key", &values(&form))));

    sim.patch(&json!({"notify": {"copies": 1, "token": "none", "short_form": false, "drop_first": 1}}))
        .unwrap();
    init(&sim, "S2", &merchant.url).await;
    sim.cancel("S2").unwrap();
    assert!(sim.notify("S2"));
    let (token, form) = merchant.wait(3).await.remove(2);
    assert_eq!((token, field(&form, "cpm_error_message")), (None, "TRANSACTION_CANCEL"));
    assert_eq!(sim.transaction("S2").unwrap().counts.dropped, 1);

    let late = json!({"late_success_ms": 1, "notify": {"token": "good", "drop_first": 0, "reorder_ms": 150}});
    sim.patch(&late).unwrap();
    init(&sim, "S3", &merchant.url).await;
    sim.refuse("S3", "600").unwrap();
    let posts = merchant.wait(5).await;
    let words: Vec<&str> = posts[3..].iter().map(|(_, form)| field(form, "cpm_error_message")).collect();
    assert_eq!(words, ["SUCCES", "PAYMENT_FAILED"], "the second overtakes the first");
    assert_eq!(sim.transaction("S3").unwrap().status, Status::Accepted);

    sim.patch(&json!({"late_success_ms": null, "notify": {"while_pending": true, "reorder_ms": 0}})).unwrap();
    init(&sim, "S4", &merchant.url).await;
    sim.pend("S4").unwrap();
    let (_, form) = merchant.wait(6).await.remove(5);
    assert_eq!(field(&form, "cpm_error_message"), "WAITING_CUSTOMER_PAYMENT");
    sim.stop().await;
}

#[tokio::test]
async fn faults_strike_the_calls_they_name() {
    let sim = simulator(json!({"notify": {"enabled": false}})).await;
    init(&sim, "X", NOWHERE).await;
    init(&sim, "Y", NOWHERE).await;
    sim.patch(&json!({"check_fault": {"kind": "throttle", "after": 1, "times": 1, "retry_after_s": 7}}))
        .unwrap();
    let codes = [check(&sim, "X").await.0, check(&sim, "X").await.0, check(&sim, "X").await.0];
    assert_eq!(codes, [200, 429, 200]);

    sim.patch(&json!({"check_fault": {"kind": "none", "after": 0, "times": null}})).unwrap();
    sim.patch_transaction("X", &json!({"check_fault": {"kind": "html502"}})).unwrap();
    assert_eq!(check(&sim, "X").await, (502, Value::Null));
    assert_eq!(check(&sim, "Y").await.0, 200, "the other transaction is unharmed");
    sim.patch_transaction("X", &json!({"check_fault": {"kind": "truncated"}})).unwrap();
    assert_eq!(check(&sim, "X").await, (200, Value::Null));

    let call = |body: Value, path: &str| {
        http()
            .post(format!("{}{path}", sim.base_url()))
            .json(&body)
            .timeout(Duration::from_millis(300))
            .send()
    };
    sim.patch(&json!({"init_fault": {"kind": "cut", "takes_effect": true, "times": 1}})).unwrap();
    let error = call(order("Z", NOWHERE), "/v2/payment").await.unwrap_err();
    assert!(!error.is_timeout(), "cut, not silent: {error}");
    assert!(sim.transaction("Z").is_some(), "the lost answer took effect");
    sim.patch(&json!({"init_fault": {"kind": "timeout", "takes_effect": false}})).unwrap();
    assert!(call(order("Q", NOWHERE), "/v2/payment").await.unwrap_err().is_timeout());
    assert!(sim.transaction("Q").is_none());
    assert!(sim.patch(&json!({"typo": 1})).is_err());
    sim.stop().await;
}

#[tokio::test]
async fn the_payer_pays_on_the_page_and_goes_back() {
    let sim = simulator(json!({"notify": {"enabled": false}, "magic_delay_ms": 1})).await;
    let cases = [
        ("B1", "action=pay&phone=0101010101", "ACCEPTED", "00"),
        ("B2", "action=pay&phone=%2B2250707070703&prefix=225", "REFUSED", "600"),
        ("B3", "action=refuse&reason=604&phone=01", "REFUSED", "604"),
        ("B4", "action=cancel", "REFUSED", "627"),
        ("B5", "action=wait&phone=01", "PENDING", "662"),
        ("B6", "action=expire", "REFUSED", "625"),
        ("B7", "action=pay&phone=07+07+07+07+06", "PENDING", "662"),
    ];
    for (id, form, status, code) in cases {
        let page = init(&sim, id, NOWHERE).await;
        let text = http().get(&page).send().await.unwrap().text().await.unwrap();
        assert!(text.contains("15\u{202f}000") && text.contains("name=\"action\" value=\"pay\""), "{id}");
        let press = http().post(&page).body(form).header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(press.send().await.unwrap().status(), 303, "{id}");
        let (_, body) = check(&sim, id).await;
        assert_eq!((&body["data"]["status"], &body["code"]), (&json!(status), &json!(code)), "{id}");
        let text = http().get(&page).send().await.unwrap().text().await.unwrap();
        assert!(
            text.contains("action=\"http://127.0.0.1:9/return\"") && text.contains("name=\"token\""),
            "{id}"
        );
        assert_eq!(
            text.contains("return.js"),
            matches!(id, "B1" | "B6"),
            "{id}: only a final outcome leaves by itself"
        );
    }
    let page = init(&sim, "B8", NOWHERE).await;
    let press = http().post(&page).body("action=pay&phone=0707070701");
    press.send().await.unwrap();
    tokio::time::timeout(PATIENCE, async {
        while sim.transaction("B8").unwrap().status != Status::Accepted {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(http().get(format!("{}/payment/none", sim.base_url())).send().await.unwrap().status(), 404);
    sim.stop().await;
}

#[tokio::test]
async fn the_control_endpoint_does_what_its_page_says() {
    let sim = simulator(json!({"notify": {"enabled": false}})).await;
    init(&sim, "K1", NOWHERE).await;
    let at = |path: &str| format!("{}/control/{path}", sim.base_url());
    let get = async |path: &str| -> Value {
        let reply = http().get(at(path)).send().await.unwrap();
        serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap()
    };
    let patched = http().patch(at("settings")).json(&json!({"check_latency_ms": 1})).send().await.unwrap();
    assert_eq!(patched.status(), 200);
    assert_eq!(get("settings").await["check_latency_ms"], 1);
    let wrong = http().put(at("settings")).json(&json!({"chek": 1})).send().await.unwrap();
    assert_eq!(wrong.status(), 400);
    let own =
        http().put(at("transactions/K1/settings")).json(&json!({"late_success_ms": 60_000})).send().await;
    assert_eq!(own.unwrap().status(), 200);
    for (verb, status, stands) in [
        ("pending", 200, "PENDING"),
        ("refuse", 200, "REFUSED"),
        ("approve", 200, "ACCEPTED"),
        ("cancel", 409, "ACCEPTED"),
        ("dance", 404, "ACCEPTED"),
    ] {
        let reply = http().post(at(&format!("transactions/K1/{verb}"))).send().await.unwrap();
        assert_eq!(reply.status(), status, "{verb}");
        assert_eq!(get("transactions/K1").await["status"], stands, "{verb}");
    }
    let list = get("transactions").await;
    assert_eq!(list["transactions"][0]["counts"]["init"], 1);
    assert_eq!(http().post(at("reset")).send().await.unwrap().status(), 200);
    assert_eq!(get("transactions").await["transactions"], json!([]));
    assert_eq!(get("settings").await["check_latency_ms"], 0);
    let huge = http().post(format!("{}/v2/payment", sim.base_url())).body(vec![b'x'; 70_000]).send().await;
    assert_eq!(huge.unwrap().status(), 413);
    sim.stop().await;
}

#[tokio::test]
async fn auto_approve_pays_without_anybody() {
    let sim = simulator(json!({"auto_approve_ms": 1})).await;
    let merchant = merchant(0).await;
    init(&sim, "O1", &merchant.url).await;
    merchant.wait(1).await;
    assert_eq!(check(&sim, "O1").await.1["code"], "00");
    sim.stop().await;
}
