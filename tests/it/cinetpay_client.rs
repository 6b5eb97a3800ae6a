//! The CinetPay client against the offline CinetPay, which is strict about content type and User-Agent.

use std::time::Duration;

use auditshield::adapters::cinetpay::client::{Client, Settings};
use auditshield::domain::input::Verdict;
use auditshield::domain::values::{Buyer, Currency, Email, Lang, Money, Timestamp};
use auditshield::domain::values::{OrderId, TransactionId};
use auditshield::ports::{OpenRequest, Opened, Provider};
use auditshield::simulator::{Options, Simulator, start};
use serde_json::json;
use tokio::net::TcpListener;
use url::Url;

async fn simulator() -> Simulator {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options { strict_content_type: true, require_user_agent: true, ..Options::default() };
    start(listener, options).await.unwrap()
}

fn client(simulator: &Simulator, api_key: &str) -> Client {
    Client::new(Settings {
        api_url: Url::parse(simulator.base_url()).unwrap(),
        authorities: None,
        api_key: api_key.to_owned(),
        site_id: "445160".to_owned(),
        notify_url: "http://127.0.0.1:9/notify".to_owned(),
        return_url: Url::parse("http://127.0.0.1:9/return").unwrap(),
        channels: "ALL".to_owned(),
        connect_timeout: Duration::from_secs(2),
        timeout: Duration::from_secs(2),
        per_second: 100,
        concurrency: 8,
    })
    .unwrap()
}

fn good(simulator: &Simulator) -> Client {
    client(simulator, &Options::default().api_key)
}

fn order(chance: u128, price: Money) -> OpenRequest {
    let id = OrderId::new(Timestamp::from_millis(1_700_000_000_000), chance);
    OpenRequest {
        transaction: TransactionId::parse(&id.to_string()).unwrap(),
        price,
        description: "Kit d'audit #1 / Pro".to_owned(),
        buyer: Buyer {
            email: Email::parse("aicha@example.com").unwrap(),
            name: None,
            phone: None,
            lang: Lang::Fr,
        },
    }
}

fn francs() -> Money {
    Money::price(15_000, Currency::Xof).unwrap()
}

#[tokio::test]
async fn a_page_is_opened_and_its_payment_seen() {
    let simulator = simulator().await;
    let client = good(&simulator);
    for (chance, price) in [(1, francs()), (2, Money::price(1300, Currency::Usd).unwrap())] {
        simulator.patch(&json!({"min_amount": 1})).unwrap();
        let asked = order(chance, price);
        let id = asked.transaction.to_string();
        let Opened::Page { payment_url, payment_token } = client.open(asked.clone()).await else {
            panic!("no page for {id}")
        };
        assert!(payment_url.starts_with(simulator.base_url()) && payment_url.ends_with(&payment_token));
        let held = simulator.transaction(&id).unwrap();
        assert_eq!(held.order.return_url, format!("http://127.0.0.1:9/return?order={id}"));

        let pending = client.check(asked.transaction).await;
        assert_eq!(pending, Verdict::Pending { code: "662".to_owned() });
        simulator.approve(&id).unwrap();
        for as_number in [false, true] {
            simulator.patch(&json!({"amount_as_number": as_number})).unwrap();
            let Verdict::Accepted(paid) = client.check(asked.transaction).await else {
                panic!("{id} is not paid")
            };
            assert!(paid.claimed.is(price), "{:?}", paid.claimed);
        }
    }
}

#[tokio::test]
async fn refusals_are_told_apart_from_doubts() {
    let simulator = simulator().await;
    let client = good(&simulator);
    let asked = order(3, francs());
    let stranger = client.check(asked.transaction).await;
    assert!(matches!(stranger, Verdict::Unknown { answered: true, .. }), "{stranger:?}");
    assert!(matches!(client.open(asked.clone()).await, Opened::Page { .. }));
    let again = client.open(asked.clone()).await;
    assert!(matches!(&again, Opened::Ambiguous { reason } if reason.contains("620")), "{again:?}");
    simulator.refuse(&asked.transaction.to_string(), "602").unwrap();
    assert_eq!(client.check(asked.transaction).await, Verdict::Refused { code: "602".to_owned() });

    let stranger = self::client(&simulator, "not the key");
    let refused = stranger.open(order(4, francs())).await;
    assert!(matches!(&refused, Opened::Refused { reason } if reason.contains("624")), "{refused:?}");
    let unknown = stranger.check(asked.transaction).await;
    assert!(
        matches!(&unknown, Verdict::Unknown { code, answered: false, .. } if code == "624"),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn every_fault_leaves_doubt_and_the_page_can_be_found_by_check() {
    let simulator = simulator().await;
    for (chance, kind) in [(10, "timeout"), (11, "cut"), (12, "html502"), (13, "truncated"), (14, "error500")]
    {
        // A client each: five faults in a row would open the breaker.
        let client = good(&simulator);
        let fault = json!({"kind": kind, "takes_effect": true, "times": 1});
        simulator.patch(&json!({"init_fault": fault, "check_fault": {"kind": kind, "times": 1}})).unwrap();
        let asked = order(chance, francs());
        let opened = client.open(asked.clone()).await;
        assert!(matches!(opened, Opened::Ambiguous { .. }), "{kind}: {opened:?}");
        let checked = client.check(asked.transaction).await;
        assert!(matches!(checked, Verdict::Unknown { answered: false, .. }), "{kind}: {checked:?}");
        assert_eq!(
            client.check(asked.transaction).await,
            Verdict::Pending { code: "662".to_owned() },
            "{kind}"
        );
    }
    let throttle = json!({"kind": "throttle", "retry_after_s": 3});
    simulator.patch(&json!({"check_fault": throttle, "init_fault": throttle})).unwrap();
    let client = good(&simulator);
    let asked = order(20, francs());
    assert!(matches!(client.open(asked.clone()).await, Opened::Refused { .. }));
    let checked = client.check(asked.transaction).await;
    let patience = Some(Duration::from_secs(3));
    assert!(
        matches!(checked, Verdict::Unknown { retry_after, .. } if retry_after == patience),
        "{checked:?}"
    );
}

#[tokio::test]
async fn every_call_is_counted() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let simulator = simulator().await;
    let client = good(&simulator);
    let asked = order(30, francs());
    client.open(asked.clone()).await;
    client.check(asked.transaction).await;
    simulator.patch(&json!({"init_fault": {"kind": "html502"}})).unwrap();
    for chance in 31..36 {
        client.open(order(chance, francs())).await;
    }
    let Verdict::Unknown { answered: false, .. } = client.check(asked.transaction).await else {
        panic!("five faults in a row open the breaker")
    };
    let shown = handle.render();
    for line in [
        "auditshield_checks_total{verdict=\"pending\"} 1",
        "auditshield_checks_total{verdict=\"unknown\"} 1",
        "auditshield_check_seconds_count 1",
        "auditshield_inits_total{outcome=\"page\"} 1",
        "auditshield_inits_total{outcome=\"ambiguous\"} 5",
        "auditshield_breaker_open 1",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
}
