//! The other side of a sale in a process of its own: the simulated CinetPay, and a mailbox.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use auditshield::simulator::mailbox::{self, Mailbox};
use auditshield::simulator::{self, Options};
use serde_json::json;
use tokio::net::TcpListener;

use crate::Outcome;
use crate::notices::{API_KEY, SITE, WEBHOOK_SECRET};
use crate::stock::Kind;
use crate::wire::{Load, Pace, Requests};

/// The simulator remembers so many payments.
pub(crate) const PAYMENTS_MAX: usize = 10_000;
/// Mails kept by the mailbox: it is a sink here.
const MAILS_MAX: usize = 100;
/// How long all sales of one turn may take.
pub(crate) const SALES_WAIT: Duration = Duration::from_secs(120);
/// Payments opened at one time.
const OPENERS: usize = 16;

/// Serves until it is killed. The first `orders` orders taken since `born` are paid.
pub(crate) async fn serve(listen: SocketAddr, smtp: SocketAddr, born: i64, orders: usize) -> Outcome<()> {
    let bounds = mailbox::Settings { mails_max: MAILS_MAX, ..mailbox::Settings::default() };
    let _mailbox = Mailbox::start(TcpListener::bind(smtp).await?, bounds)?;
    let options = Options {
        site_id: SITE.to_owned(),
        api_key: API_KEY.to_owned(),
        secret: WEBHOOK_SECRET.to_owned(),
        settings: Some(json!({"notify": {"enabled": false}}).to_string()),
        ..Options::default()
    };
    let cinetpay = simulator::start(TcpListener::bind(listen).await?, options).await?;
    let ids: Vec<String> =
        (0..orders as u64).map(|number| Kind::Open(born).order_id(number).to_string()).collect();
    let mut requests = Requests::default();
    for id in &ids {
        let body = json!({
            "apikey": API_KEY, "site_id": SITE, "transaction_id": id, "amount": 15_000, "currency": "XOF",
            "description": "Kit d'audit", "notify_url": "http://127.0.0.1/", "return_url": "http://127.0.0.1/",
            "channels": "ALL",
        });
        let head = "POST /v2/payment HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n";
        requests.push(head, body.to_string().as_bytes());
    }
    let mut load = Load::open(listen, OPENERS).await?;
    load.send(&Rc::new(requests), 0, orders, Pace::Closed).await?;
    for id in &ids {
        cinetpay.approve(id).map_err(|why| format!("{id}: {why:?}"))?;
    }
    println!("ready");
    std::future::pending().await
}
