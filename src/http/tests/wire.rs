//! What only a real connection shows: limits, chunked bodies, the drain.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::http::serve::{Manner, serve};

/// Long enough for a loaded machine, in seconds.
const PATIENCE_SECONDS: u64 = 20;

struct Line {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

async fn listen(stage: &Stage, connections_max: usize) -> Line {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let manner = Manner { connections_max, drain: Duration::from_millis(300), ..Manner::of("public") };
    let served = tokio::spawn(serve(listener, stage.public.clone(), manner, stop.clone()));
    Line { address, stop, served }
}

async fn talk(address: std::net::SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(PATIENCE_SECONDS), stream.read_to_end(&mut answer));
    read.await.expect("an answer in time").unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_chunked_notification_is_read() {
    let stage = stage().await;
    let line = listen(&stage, 8).await;
    let order = stage.bought().await;
    let body = format!("445160 {order}");
    let request = format!(
        "POST /payment/callback/ HTTP/1.1\r\nhost: x\r\nx-token: good\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let answer = talk(line.address, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nOK"), "{answer}");
    let head = talk(line.address, b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn at_the_limit_who_keeps_us_waiting_goes_and_who_takes_an_answer_stays() {
    const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let stage = stage().await;
    let line = listen(&stage, 1).await;
    let order = stage.bought().await;
    let waiting: [&[u8]; 5] = [
        b"",
        b"GET / HTTP/1.1\r\nhost: ",
        b"POST /payment/callback/ HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx",
        b"POST /nothing/ HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
    ];
    for begun in waiting {
        let mut first = TcpStream::connect(line.address).await.unwrap();
        first.write_all(begun).await.unwrap();
        let shown = String::from_utf8_lossy(begun);
        assert!(talk(line.address, HEALTH).await.starts_with("HTTP/1.1 200"), "after {shown:?}");
        let mut rest = Vec::new();
        let cut = first.read_to_end(&mut rest);
        let cut = tokio::time::timeout(Duration::from_secs(PATIENCE_SECONDS), cut).await;
        assert!(cut.is_ok(), "{shown:?} was cut");
    }
    let mut first = TcpStream::connect(line.address).await.unwrap();
    let live =
        format!("GET /payment/status/{order}/ HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n");
    first.write_all(live.as_bytes()).await.unwrap();
    let mut some = [0; 12];
    first.read_exact(&mut some).await.unwrap();
    assert_eq!(&some, b"HTTP/1.1 200");
    let second = tokio::spawn(talk(line.address, HEALTH));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!second.is_finished(), "the only seat is taken by an answer under way");
    drop(first);
    assert!(second.await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_drain_has_an_end() {
    let stage = stage().await;
    let line = listen(&stage, 1).await;
    // A request that never ends does not hold the daemon back for longer than the drain lasts.
    let mut slow = TcpStream::connect(line.address).await.unwrap();
    slow.write_all(b"POST /payment/callback/ HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    line.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(PATIENCE_SECONDS), line.served).await;
    assert!(ended.is_ok());
    assert!(TcpStream::connect(line.address).await.is_err(), "nobody listens after the drain");
}

#[tokio::test]
async fn a_slow_head_is_cut() {
    let stage = stage().await;
    let line = listen(&stage, 8).await;
    let answer = talk(line.address, b"GET / HTTP/1.1\r\nhost: ").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}
