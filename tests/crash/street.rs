//! Everybody who wants something of the daemon at the same time: buyers, CinetPay, downloaders, the admin.
//!
//! Each of them goes on through every blow, asks with a time-out, and notes what it was answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auditshield::simulator::mailbox::Mailbox;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::process_support::{ADMIN_TOKEN, Dice, World, notice_saying};
use crate::told::{Letter, Told};

/// How long one question may take. A daemon that is alive and silent for longer is a finding, and is counted.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Between two questions of one person.
const PAUSE: Duration = Duration::from_millis(15);
/// A buyer who gets no payment page gives up after so many tries, and buys anew.
const TRIES_MAX: u32 = 100;
/// Different notifications of one order. An order remembers a bounded number, and so many must fit beside CinetPay's own.
const NOTICES_MAX: u64 = 6;
/// How often the mailbox is emptied.
const POST_EVERY: Duration = Duration::from_millis(150);
/// The last letter of an order's number says who takes an interest in it, so that no two contradict each other.
const LETTERS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What happens to an order after its delivery.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Refunded,
    Revoked,
    Resent,
    Verified,
    Downloaded,
}

fn fate(order: &str) -> Fate {
    let place = order.chars().last().and_then(|last| LETTERS.find(last)).unwrap_or(0);
    match place % 8 {
        0 => Fate::Refunded,
        1 => Fate::Revoked,
        2 | 3 => Fate::Resent,
        4 => Fate::Verified,
        _ => Fate::Downloaded,
    }
}

/// What all of them share.
#[derive(Clone)]
pub(crate) struct Street {
    client: Client,
    shop: String,
    admin: String,
    cinetpay: String,
    mailbox: Mailbox,
    pub(crate) told: Arc<Told>,
    /// Mails that arrived.
    pub(crate) mails: Arc<Mutex<Vec<Letter>>>,
    /// The mailed link of each order.
    links: Arc<Mutex<BTreeMap<String, String>>>,
    over: Arc<AtomicBool>,
    /// While the daemon is stopped on purpose, silence is no finding.
    pub(crate) held: Arc<AtomicBool>,
    /// Between a power cut and the death of the process: a machine without power answers nobody, so nothing that is
    /// heard now counts. (A sync that the cut interrupts may come back as if it had been done.)
    pub(crate) dark: Arc<AtomicBool>,
    seed: Arc<AtomicU64>,
}

impl Street {
    pub(crate) fn of(world: &World, dice: &mut Dice) -> Self {
        let client =
            Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(ANSWER_MAX).no_proxy();
        Self {
            client: client.build().unwrap(),
            shop: world.shop.clone(),
            admin: world.admin.clone(),
            cinetpay: world.cinetpay.base_url().to_owned(),
            mailbox: world.mailbox.clone(),
            told: Arc::default(),
            mails: Arc::default(),
            links: Arc::default(),
            over: Arc::default(),
            held: Arc::default(),
            dark: Arc::default(),
            seed: Arc::new(AtomicU64::new(dice.below(u64::from(u32::MAX)))),
        }
    }

    /// Sends all of them out.
    pub(crate) fn open(&self, buyers: usize) -> Vec<(&'static str, tokio::task::JoinHandle<()>)> {
        let mut people = Vec::new();
        for number in 0..buyers {
            people.push(("a buyer", tokio::spawn(self.clone().buyer(number))));
        }
        for _ in 0..2 {
            people.push(("CinetPay", tokio::spawn(self.clone().repeater())));
            people.push(("a downloader", tokio::spawn(self.clone().downloader())));
        }
        people.push(("the admin", tokio::spawn(self.clone().clerk())));
        people.push(("the postman", tokio::spawn(self.clone().postman())));
        people
    }

    /// Sends all of them home.
    pub(crate) fn close(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn dice(&self) -> Dice {
        Dice::of(self.seed.fetch_add(1, Ordering::Relaxed))
    }

    /// The answer, if there is one.
    async fn ask(&self, what: &str, request: RequestBuilder) -> Option<Response> {
        // Who began to wait while the daemon was stopped may have knocked in vain and be waiting to knock again.
        let held = self.held.load(Ordering::Relaxed);
        match request.send().await {
            Ok(answer) => (!self.dark.load(Ordering::Relaxed)).then_some(answer),
            Err(error) => {
                if error.is_timeout() && !held && !self.held.load(Ordering::Relaxed) {
                    println!("crash: {what}: no answer within {ANSWER_MAX:?}");
                    self.told.lock().late += 1;
                }
                None
            }
        }
    }

    /// One POST of a purchase; the order's number if it was answered 201.
    async fn purchase(&self, email: &str, key: Option<&str>) -> Option<String> {
        let request = self.client.post(format!("{}/buy/audit-kit/standard/", self.shop));
        let request = request.header("accept", "application/json").json(&json!({"email": email}));
        let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
        let answer = self.ask("a purchase", request).await?;
        let status = answer.status();
        if status.is_client_error() {
            self.told.break_(format!("a purchase was answered {status}"));
        }
        if status != StatusCode::CREATED {
            return None;
        }
        let body: Value = answer.json().await.ok()?;
        let order = body["order_id"].as_str()?.to_owned();
        let mut told = self.told.lock();
        if told.bought.insert(order.clone(), email.to_owned()).is_none() {
            told.recent.push(order.clone());
        }
        Some(order)
    }

    /// Buys and buys. Two purchases of three carry a key: they are repeated until they succeed, and twice more at once.
    async fn buyer(self, number: usize) {
        for round in 0_u64.. {
            if self.is_over() {
                return;
            }
            let email = format!("b{number}.{round}@example.ci");
            if round % 3 == 0 {
                self.purchase(&email, None).await;
            } else {
                self.insist(&email, &format!("key-{number}-{round}")).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn insist(&self, email: &str, key: &str) {
        for _ in 0..TRIES_MAX {
            if self.is_over() {
                return;
            }
            let Some(order) = self.purchase(email, Some(key)).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let (one, other) = tokio::join!(self.purchase(email, Some(key)), self.purchase(email, Some(key)));
            for again in [one, other].into_iter().flatten().filter(|again| *again != order) {
                self.told.break_(format!("{order}: the same key made {again}"));
            }
            return;
        }
    }

    /// An order that was bought, the newer the likelier.
    fn bought(&self, dice: &mut Dice) -> Option<String> {
        let told = self.told.lock();
        let last = told.recent.len().checked_sub(1)?;
        let back = dice.below(60).min(last as u64);
        told.recent.get(last - usize::try_from(back).ok()?).cloned()
    }

    /// CinetPay once more: genuine notifications of accepted payments, two at once.
    async fn repeater(self) {
        let mut dice = self.dice();
        while !self.is_over() {
            tokio::time::sleep(PAUSE).await;
            let Some(order) = self.bought(&mut dice) else { continue };
            let known = self.client.get(format!("{}/control/transactions/{order}", self.cinetpay));
            let Some(known) = self.ask("the simulator", known).await else { continue };
            let known: Value = known.json().await.unwrap_or_default();
            // Only of a payment that was accepted before does a 200 promise a delivery.
            if known["status"] != "ACCEPTED" {
                continue;
            }
            let words = format!("again {}", dice.below(NOTICES_MAX));
            tokio::join!(self.notify(&order, &words), self.notify(&order, &words));
        }
    }

    async fn notify(&self, order: &str, words: &str) {
        let (form, token) = notice_saying(order, words);
        let request = self.client.post(format!("{}/payment/callback/", self.shop)).header("x-token", token);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let Some(answer) = self.ask("a notification", request).await else { return };
        match answer.status() {
            StatusCode::OK => {
                let mut told = self.told.lock();
                told.notified.entry(order.to_owned()).or_default().insert(words.to_owned());
            }
            StatusCode::SERVICE_UNAVAILABLE => {}
            other => self.told.break_(format!("{order}: a genuine notification was answered {other}")),
        }
    }

    /// Reads the mail as it comes: what arrived, and the links in it.
    async fn postman(self) {
        let mut last = 0;
        loop {
            let ending = self.is_over();
            for mail in self.mailbox.messages_after(last) {
                last = mail.number;
                let read = mail.read();
                let text = read.text.unwrap_or_default();
                let start = text.find(&format!("{}/download/", self.shop));
                let link = start.and_then(|start| text[start..].split_whitespace().next()).map(str::to_owned);
                let dark = self.told.lock().mailed_dark.contains(&mail.number);
                let letter = Letter { id: read.message_id, to: mail.to, raw: mail.raw, dark };
                match link {
                    Some(link) => drop(self.links.lock().unwrap().insert(letter.order().to_owned(), link)),
                    None => self.told.break_(format!("{}: a mail without a link", letter.id)),
                }
                self.mails.lock().unwrap().push(letter);
            }
            if ending {
                return;
            }
            tokio::time::sleep(POST_EVERY).await;
        }
    }

    /// The mails that came after the street was closed.
    pub(crate) async fn collect(&self) {
        self.mails.lock().unwrap().clear();
        self.clone().postman().await;
    }

    /// One delivered order and its link.
    fn delivered(&self, dice: &mut Dice, wanted: fn(Fate) -> bool) -> Option<(String, String)> {
        let links = self.links.lock().unwrap();
        let mine: Vec<_> = links.iter().rev().filter(|(order, _)| wanted(fate(order))).take(40).collect();
        let place = usize::try_from(dice.below(mine.len().max(1) as u64)).ok()?;
        mine.get(place).map(|(order, link)| ((*order).clone(), (*link).clone()))
    }

    async fn downloader(self) {
        let mut dice = self.dice();
        while !self.is_over() {
            tokio::time::sleep(PAUSE).await;
            let wanted = |fate| matches!(fate, Fate::Refunded | Fate::Revoked | Fate::Downloaded);
            let Some((order, link)) = self.delivered(&mut dice, wanted) else { continue };
            self.ask("the link's page", self.client.get(&link)).await;
            tokio::join!(self.download(&order, &link), self.download(&order, &link));
        }
    }

    fn is_withdrawn(&self, order: &str) -> bool {
        let told = self.told.lock();
        told.refunded.contains(order) || told.revoked.contains(order)
    }

    /// Starts one download and fetches the file, whole and in part.
    async fn download(&self, order: &str, link: &str) {
        let withdrawn = self.is_withdrawn(order);
        let Some(pressed) = self.ask("a download's start", self.client.post(link)).await else { return };
        if pressed.status() != StatusCode::SEE_OTHER {
            return;
        }
        if withdrawn {
            self.told.break_(format!("{order}: a download of a withdrawn link was started"));
        }
        *self.told.lock().started.entry(order.to_owned()).or_default() += 1;
        let place =
            pressed.headers().get("location").and_then(|place| place.to_str().ok()).unwrap_or_default();
        let Ok(place) = reqwest::Url::parse(link).and_then(|link| link.join(place)) else { return };
        for range in [None, Some("bytes=4-6")] {
            let withdrawn = self.is_withdrawn(order);
            let request = self.client.get(place.clone());
            let request = range.into_iter().fold(request, |request, range| request.header("range", range));
            let Some(file) = self.ask("a file", request).await else { continue };
            let (status, wanted) = (file.status(), if range.is_some() { "kit" } else { "The kit itself.\n" });
            let body = file.text().await;
            if status.is_success() && (withdrawn || body.is_ok_and(|body| body != wanted)) {
                self.told.break_(format!("{order}: {status} for a file, withdrawn: {withdrawn}"));
            }
        }
    }

    /// The admin acts on delivered orders: each by its fate.
    async fn clerk(self) {
        let mut dice = self.dice();
        while !self.is_over() {
            tokio::time::sleep(PAUSE).await;
            let wanted = |fate| fate != Fate::Downloaded;
            let Some((order, _)) = self.delivered(&mut dice, wanted) else { continue };
            let act = match fate(&order) {
                Fate::Refunded => "refund",
                Fate::Revoked => "revoke",
                Fate::Resent => "resend",
                Fate::Verified | Fate::Downloaded => "verify",
            };
            let request = self.client.post(format!("{}/api/orders/{order}/{act}", self.admin));
            let Some(answer) = self.ask(act, request.bearer_auth(ADMIN_TOKEN)).await else { continue };
            if answer.status() != StatusCode::OK {
                continue;
            }
            let mut told = self.told.lock();
            match fate(&order) {
                Fate::Refunded => drop(told.refunded.insert(order)),
                Fate::Revoked => drop(told.revoked.insert(order)),
                Fate::Resent => *told.resent.entry(order).or_default() += 1,
                Fate::Verified | Fate::Downloaded => {}
            }
        }
    }
}
