//! `auditshield dev` beside a fake ngrok agent: the addresses it declares, and that the daemon behind them works.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use warp::Filter;

use crate::process_support::{PATIENCE, World};

const TUNNEL: &str = "https://a1b2.ngrok-free.app";

/// An agent's API, with these tunnels. Returns its address.
async fn agent(tunnels: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("http://{}", listener.local_addr().unwrap());
    let listing = json!({"tunnels": tunnels, "uri": "/api/tunnels"});
    let route = warp::path!("api" / "tunnels").map(move || warp::reply::json(&listing));
    tokio::spawn(warp::serve(route).incoming(listener).run());
    place
}

fn tunnel(url: &str, addr: &str) -> Value {
    json!({"name": "command_line", "public_url": url, "proto": "https", "config": {"addr": addr, "inspect": true}})
}

fn port(world: &World) -> String {
    world.shop.rsplit(':').next().unwrap().to_owned()
}

async fn until(what: &str, world: &World, said: &std::path::Path) -> String {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(said).unwrap_or_default();
        if text.contains(what) && world.is_ready().await {
            return text;
        }
        assert!(begun.elapsed() < PATIENCE, "{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_tunnels_address_is_declared_and_given_to_cinetpay() {
    let mut world = World::new(&[
        // What stands in the settings loses against the tunnel.
        ("CINETPAY_NOTIFY_URL", "http://127.0.0.1:1/payment/callback/"),
        ("AUDITSHIELD_SERVER__PUBLIC_URL", "http://127.0.0.1:1/"),
    ])
    .await;
    let there = agent(json!([
        tunnel("https://other.ngrok-free.app", "http://localhost:3000"),
        tunnel(TUNNEL, &format!("http://localhost:{}", port(&world))),
    ]))
    .await;
    // The test tells of the payment itself: nothing of it leaves this machine.
    world.cinetpay.patch(&json!({"notify": {"enabled": false}})).unwrap();
    world.spawn_as(&["dev", "--ngrok", &there]);
    let said = until("back office", &world, &world.path("said")).await;
    for line in [
        format!("notify URL   {TUNNEL}/payment/callback/"),
        format!("return URL         {TUNNEL}/payment/return/"),
    ] {
        assert!(said.contains(&line), "{line}\n{said}");
    }
    let order = world.buy().await;
    let asked = world.cinetpay.transaction(&order).expect("known to the simulated CinetPay").order;
    assert_eq!(asked.notify_url, format!("{TUNNEL}/payment/callback/"));
    assert!(asked.return_url.starts_with(&format!("{TUNNEL}/payment/return/")), "{}", asked.return_url);
    // The agent passes notifications on: the sale goes to its end.
    world.cinetpay.approve(&order).unwrap();
    assert_eq!(world.notify(&order).await, StatusCode::OK);
    world.until(&order, "DELIVERED").await;
    world.term();
    assert_eq!(world.end().await.code(), Some(0));
}

#[tokio::test]
async fn another_tunnel_by_its_address() {
    let mut world = World::new(&[]).await;
    world.spawn_as(&["dev", "--public-url", "https://essai.example.ci/shop"]);
    let said = until("back office", &world, &world.path("said")).await;
    assert!(said.contains("https://essai.example.ci/shop/payment/callback/"), "{said}");
}

#[tokio::test]
async fn what_is_missing_is_said_with_its_remedy() {
    let world = World::new(&[]).await;
    let nobody = "http://127.0.0.1:1";
    let elsewhere = agent(json!([tunnel(TUNNEL, "http://localhost:3000")])).await;
    let no_agent = world.cinetpay.base_url().to_owned();
    let remedy = format!("ngrok http {}", port(&world));
    for (agent, code, part) in [
        (nobody, 69, remedy.as_str()),
        (elsewhere.as_str(), 69, remedy.as_str()),
        (elsewhere.as_str(), 69, "http://localhost:3000"),
        (no_agent.as_str(), 69, "--ngrok"),
    ] {
        let (ended, said) = world.run(&["dev", "--ngrok", agent]).await;
        assert_eq!(ended, code, "{agent}: {said}");
        assert!(said.contains(part), "{agent}: no {part}: {said}");
    }
    let mut world = world;
    world.settings.insert("CINETPAY_ENV".to_owned(), "nowhere".to_owned());
    assert_eq!(world.run(&["dev"]).await.0, 78);
}
