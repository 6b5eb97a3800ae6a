//! The routes with the real ledger and the real actors behind them; CinetPay and the mail server are scripted.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use warp::http::{Response as Http, StatusCode};
use warp::test::{RequestBuilder, request};

use super::*;
use crate::actors::{Parts, Running};
use crate::domain::catalog::{Picture, Product, Tier};
use crate::domain::input::{Acceptance, Verdict};
use crate::domain::schedule::Policy;
use crate::domain::values::{Attempt, Claimed, Currency, Money};
use crate::ledger::OpenOptions;
use crate::ports::{Letter, Mailer, OpenRequest, Opened, PortFuture, Posted, Provider};

/// The text that the file on sale holds.
const FILE: &[u8] = b"0123456789";
const TOKEN: &str = "an admin token of some length";

/// A scripted CinetPay and mail server.
#[derive(Default)]
struct World {
    closed: AtomicBool,
    paid: Mutex<HashSet<OrderId>>,
    /// Payment pages that CinetPay refused, and its code.
    refused: Mutex<HashMap<TransactionId, &'static str>>,
    opened: AtomicU64,
    /// The amount that CinetPay says was paid; 0 stands for the price.
    paid_amount: AtomicU64,
    /// The operator's transaction number and means of payment, in CinetPay's words.
    operator: Mutex<Option<(String, String)>>,
    /// Addresses that the mail server refuses for good.
    unmailable: Mutex<HashSet<String>>,
}

impl Provider for World {
    fn open(&self, request: OpenRequest) -> PortFuture<'_, Opened> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let closed = self.closed.load(Ordering::Relaxed);
        Box::pin(async move {
            if closed {
                return Opened::Refused { reason: "624".to_owned() };
            }
            let payment_url = format!("https://pay.example/{}", request.transaction);
            Opened::Page { payment_url, payment_token: "t".to_owned() }
        })
    }
    fn check(&self, transaction: TransactionId) -> PortFuture<'_, Verdict> {
        let paid = self.paid.lock().unwrap().contains(&transaction.order);
        let refused = self.refused.lock().unwrap().get(&transaction).copied();
        let amount = self.paid_amount.load(Ordering::Relaxed);
        let (number, method) =
            self.operator.lock().unwrap().clone().unwrap_or_else(|| ("MP1".to_owned(), "OM".to_owned()));
        Box::pin(async move {
            if let Some(code) = refused {
                return Verdict::Refused { code: code.to_owned() };
            }
            if !paid {
                return Verdict::Pending { code: "662".to_owned() };
            }
            let amount = if amount == 0 { 15_000 } else { amount };
            Verdict::Accepted(Acceptance {
                claimed: Claimed { amount: Some(amount), currency: Some(Currency::Xof) },
                provider_tx_id: Some(number),
                payment_method: Some(method),
            })
        })
    }
}

impl Mailer for World {
    fn send(&self, letter: Letter) -> PortFuture<'_, Posted> {
        let refused = self.unmailable.lock().unwrap().contains(letter.buyer.email.expose());
        Box::pin(async move {
            if refused { Posted::Refused { reason: "550".to_owned() } } else { Posted::Accepted }
        })
    }
}

struct Stage {
    world: Arc<World>,
    public: BoxedFilter<(Response,)>,
    admin: BoxedFilter<(Response,)>,
    deps: Arc<Deps>,
    _running: Running,
    _folder: tempfile::TempDir,
}

/// `<kind>:<order>:<link>` stands for a signed token.
fn read_token(kind: &'static str) -> ReadToken {
    Arc::new(move |text: &str| {
        let mut parts = text.split(':');
        let right = parts.next() == Some(kind);
        let order = parts.next().and_then(|text| OrderId::parse(text).ok());
        let link = parts.next().and_then(|text| text.parse().ok());
        if right { order.zip(link).ok_or(BadToken::Forged) } else { Err(BadToken::Forged) }
    })
}

fn seals() -> Seals {
    let key = ProofKey { der: "KEY".to_owned(), pem: "PEM\n".to_owned(), fingerprint: "print".to_owned() };
    Seals {
        proof: ProofSeal { sign: Arc::new(|_| "ab".repeat(64)), public: vec![key] },
        // `x-token: good` signs a body `<site id> <transaction>`.
        notice: Arc::new(|body, token| {
            let text = std::str::from_utf8(body).map_err(|_| Unheard::Form)?;
            let (site, transaction) = text.split_once(' ').ok_or(Unheard::Form)?;
            match token {
                None => Err(Unheard::Missing),
                Some(b"good") => Ok(Heard {
                    site_id: site.to_owned(),
                    transaction: TransactionId::parse(transaction).ok(),
                    digest: [7; 32],
                    trial: None,
                }),
                Some(_) => Err(Unheard::Signature),
            }
        }),
        token: read_token("mail"),
        grant: Arc::new(|order, link, _| format!("file:{order}:{link}")),
        granted: read_token("file"),
        order: read_token("order"),
        browser: read_token("browser"),
        sign_browser: Arc::new(|order| format!("browser:{order}:0")),
        hash: Arc::new(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        former_hashes: Vec::new(),
    }
}

async fn stage() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kit d’audit.pdf");
    std::fs::write(&file, FILE).unwrap();
    let price = Money::price(15_000, Currency::Xof).unwrap();
    let tier = Tier { id: "standard".into(), name: "Standard".into(), price, file };
    let product = Product {
        slug: "audit-kit".into(),
        name: "Kit d’audit".into(),
        description: "Un *kit*.\n\n- complet".into(),
        picture: Picture::recognise(b"\xff\xd8\xffpicture".to_vec()),
        tiers: vec![tier],
    };
    let catalog = Current::new(Catalog { products: vec![product] });
    let ledger = Ledger::open(OpenOptions::new(folder.path().join("store"), |_| {})).unwrap();
    let world = Arc::new(World::default());
    let parts = Parts {
        ledger: ledger.clone(),
        provider: world.clone(),
        mailer: world.clone(),
        catalog: catalog.clone(),
        policy: Policy { max_downloads: 2, ..Policy::default() },
        clock: Clock::system(),
        settings: crate::actors::Settings {
            seats: 16,
            verify_max: 2,
            open_max: 4,
            deliver_max: 2,
            ..Default::default()
        },
    };
    let (orders, running) = Orders::start(parts).await.unwrap();
    let open: Gate = Arc::new(|_| Ok(()));
    let deps = Arc::new(Deps {
        orders,
        ledger,
        catalog,
        clock: Clock::system(),
        site_id: "445160".to_owned(),
        seals: seals(),
        gates: Gates {
            client: Arc::new(|_, peer| match peer {
                Peer::Address(address) => address,
                Peer::Socket => IpAddr::from([127, 0, 0, 1]),
            }),
            proxied: Arc::new(|_| false),
            // The client 10.0.0.9 buys too much.
            buy: Arc::new(|ip| if ip == IpAddr::from([10, 0, 0, 9]) { Err(7) } else { Ok(()) }),
            unsigned: Arc::clone(&open),
            status: Arc::clone(&open),
            download: Arc::clone(&open),
            recover: Arc::clone(&open),
            login: open,
        },
        settings: Settings {
            allowed_origins: vec!["https://shop.example".to_owned()],
            merchant: Arc::new(Merchant { name: "Boutique d’Élodie".to_owned(), ..Merchant::default() }),
            ..Settings::default()
        },
        admin_token: AdminToken::new([TOKEN.to_owned()]),
        readiness: Arc::default(),
        metrics: Arc::new(|| "auditshield_up 1\n".to_owned()),
    });
    Stage {
        world,
        public: public_routes(&deps),
        admin: admin_routes(&deps),
        deps,
        _running: running,
        _folder: folder,
    }
}

fn post(path: &str) -> RequestBuilder {
    request().method("POST").path(path)
}

fn buy(email: &str) -> RequestBuilder {
    post("/buy/audit-kit/standard/")
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .body(format!("{{\"email\":\"{email}\"}}"))
}

fn header<'a>(answer: &'a Http<Bytes>, name: &str) -> &'a str {
    answer.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

fn json(answer: &Http<Bytes>) -> serde_json::Value {
    serde_json::from_slice(answer.body()).unwrap()
}

fn text(answer: &Http<Bytes>) -> &str {
    std::str::from_utf8(answer.body()).unwrap()
}

impl Stage {
    async fn get(&self, path: &str) -> Http<Bytes> {
        request().path(path).header("accept", "text/html").reply(&self.public).await
    }
    async fn bought(&self) -> OrderId {
        let answer = buy("awa@example.ci").reply(&self.public).await;
        assert_eq!(answer.status(), StatusCode::CREATED, "{}", text(&answer));
        OrderId::parse(json(&answer)["order_id"].as_str().unwrap()).unwrap()
    }
    /// An order paid and delivered.
    async fn sold(&self) -> OrderId {
        let order = self.bought().await;
        self.world.paid.lock().unwrap().insert(order);
        let answer = self.notify(&format!("445160 {order}"), Some("good")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        for _ in 0..200 {
            let paid = self.deps.load(order).unwrap().unwrap();
            if paid.sale().is_some_and(|sale| sale.delivered_at.is_some()) {
                return order;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("not delivered");
    }
    /// An order whose first payment page was refused with this code.
    async fn refused(&self, code: &'static str) -> OrderId {
        let order = self.bought().await;
        let first = TransactionId { order, attempt: Attempt::FIRST };
        self.world.refused.lock().unwrap().insert(first, code);
        self.deps.orders.submit(order, crate::domain::input::Input::Verify).await.unwrap();
        assert_eq!(self.deps.load(order).unwrap().unwrap().status_name(), "FAILED");
        order
    }
    /// An order in this status, CREATED and EXPIRED excepted.
    async fn with_status(&self, status: &str) -> OrderId {
        let order = match status {
            "PENDING" => self.bought().await,
            "FAILED" => self.refused("627").await,
            "REVIEW" => {
                let order = self.bought().await;
                self.world.paid.lock().unwrap().insert(order);
                self.world.paid_amount.store(100, Ordering::Relaxed);
                self.deps.orders.submit(order, crate::domain::input::Input::Verify).await.unwrap();
                self.world.paid_amount.store(0, Ordering::Relaxed);
                order
            }
            "REFUNDED" => {
                let order = self.sold().await;
                let by = crate::domain::event::Decision { by: "admin".into(), note: "x".into() };
                self.deps.orders.submit(order, crate::domain::input::Input::Refund(by)).await.unwrap();
                order
            }
            _ => self.sold().await,
        };
        assert_eq!(self.deps.load(order).unwrap().unwrap().status_name(), status);
        order
    }
    async fn notify(&self, body: &str, token: Option<&str>) -> Http<Bytes> {
        let call = post("/payment/callback/").body(body);
        let call = if let Some(token) = token { call.header("x-token", token) } else { call };
        call.reply(&self.public).await
    }
    async fn api(&self, method: &str, path: &str, body: &str) -> Http<Bytes> {
        let call = request().method(method).path(path).header("authorization", format!("Bearer {TOKEN}"));
        call.body(body).reply(&self.admin).await
    }
}

mod admin_acts;
mod admin_pages;
mod admin_side;
mod buying;
mod downloading;
mod finding;
mod ordering;
mod papers;
mod secrecy;
mod wire;
