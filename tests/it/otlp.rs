//! The feature `otlp`: what a collector receives of a sale. `tests/otlp/run` builds with it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpListener;
use warp::Filter;

use crate::process_support::{
    ADMIN_TOKEN, API_KEY, EMAIL, NAME, PATIENCE, PHONE, SECRET_KEY, WEBHOOK_SECRET, World,
};

/// Paths, media types and bodies that arrived.
type Received = Arc<Mutex<Vec<(String, String, Bytes)>>>;

async fn collector() -> (String, Received) {
    let received = Received::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("http://{}", listener.local_addr().unwrap());
    let keep = Arc::clone(&received);
    let route =
        warp::post().and(warp::path::full()).and(warp::header("content-type")).and(warp::body::bytes()).map(
            move |path: warp::path::FullPath, media: String, body: Bytes| {
                keep.lock().unwrap().push((path.as_str().to_owned(), media, body));
                // An empty ExportTraceServiceResponse.
                warp::reply::with_header(Vec::new(), "content-type", "application/x-protobuf")
            },
        );
    tokio::spawn(warp::serve(route).incoming(listener).run());
    (place, received)
}

fn holds(bodies: &[u8], text: &str) -> bool {
    bodies.windows(text.len()).any(|part| part == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_is_told_to_the_collector_without_what_is_personal() {
    let (place, received) = collector().await;
    let mut world = World::new(&[]).await;
    world.settings.insert("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), place);
    world.start().await;
    let order = world.buy_and_pay().await;
    world.notify(&order).await;
    world.until(&order, "DELIVERED").await;
    let mail = world.mailbox.wait_for(1, PATIENCE).await;
    let text = mail[0].read().text.unwrap();
    let link = text.split_whitespace().find(|word| word.contains("/download/")).unwrap().to_owned();
    world.client.post(&link).send().await.unwrap();
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());
    let received = received.lock().unwrap();
    assert!(!received.is_empty(), "nothing arrived: {}", world.said());
    for (path, media, _) in received.iter() {
        assert_eq!((path.as_str(), media.as_str()), ("/v1/traces", "application/x-protobuf"));
    }
    let bodies: Vec<u8> = received.iter().flat_map(|(_, _, body)| body.to_vec()).collect();
    for text in ["auditshield", "service.version", "request", "check", "open", "deliver", "download", &order]
    {
        assert!(holds(&bodies, text), "no {text}");
    }
    let token = link.trim_end_matches('/').rsplit('/').next().unwrap();
    for secret in [EMAIL, NAME, PHONE, token, ADMIN_TOKEN, API_KEY, SECRET_KEY, WEBHOOK_SECRET] {
        assert!(!holds(&bodies, secret), "{secret} left the machine");
    }
}

#[tokio::test]
async fn a_collector_that_is_not_there_holds_up_nothing() {
    let mut world = World::new(&[]).await;
    world.settings.insert("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), "http://127.0.0.1:1".to_owned());
    world.start().await;
    let order = world.buy_and_pay().await;
    world.notify(&order).await;
    world.until(&order, "DELIVERED").await;
    world.term();
    let begun = Instant::now();
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());
    assert!(begun.elapsed() < Duration::from_secs(20), "the stop waited for the collector");
}
