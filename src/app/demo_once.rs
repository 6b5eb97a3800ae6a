//! `auditshield demo --once`: the whole main job, as a buyer would do it, with each step printed. Anything that does not
//! happen is an error.

use std::path::Path;
use std::time::Duration;

use super::Error;
use super::demo::KIT;
use crate::adapters::browser::{Answer, Browser};
use crate::domain::values::OrderId;
use crate::ledger::{Ledger, OpenOptions};
use crate::simulator::{Simulator, mailbox::Mailbox};

/// How long one step may take, in seconds.
const STEP_SECONDS_MAX: u64 = 20;

/// Where it happens.
pub(super) struct Scene<'a> {
    /// The shop's address, as its mails write it.
    pub(super) shop: &'a str,
    /// Where the purchase is sent: to the shop, or to one node of it.
    pub(super) till: &'a str,
    pub(super) simulator: &'a Simulator,
    pub(super) mailbox: &'a Mailbox,
}

/// What may happen to the shop, and what is said of it.
pub(super) type Interlude<'a> = dyn FnMut(&mut dyn FnMut(&str)) -> Result<(), Error> + 'a;

/// Buys, pays, receives, downloads. Returns the order's number. The interlude comes once the order is taken, before it is
/// paid.
pub(super) async fn run(
    scene: &Scene<'_>,
    say: &mut dyn FnMut(&str),
    interlude: &mut Interlude<'_>,
) -> Result<String, Error> {
    let Scene { shop, till, simulator, mailbox } = scene;
    let browser = Browser::new().map_err(Error::Demo)?;
    let page = get(&browser, &format!("{shop}/")).await?;
    expect(page.status == 200, "the shop answers 200")?;
    say("1  boutique / shop                    200");

    let fields = [("email", "acheteuse@example.ci"), ("name", "Awa Koné"), ("phone", "0700000000")];
    let bought =
        browser.post(&format!("{till}/buy/audit-kit/standard/"), &fields).await.map_err(Error::Demo)?;
    let pay = location(&bought, "the purchase leads to a payment page")?;
    say("2  achat / purchase                   303 → CinetPay");
    expect(get(&browser, &pay).await?.status == 200, "the payment page opens")?;
    let order = simulator.transactions().first().map(|one| one.order.transaction_id.clone());
    let order = order.ok_or_else(|| Error::Demo("CinetPay knows no transaction".to_owned()))?;
    say(&format!("3  page de paiement / payment page    200   {order}"));

    let waiting = get(&browser, &format!("{shop}/payment/return/?order={order}")).await?;
    expect(waiting.text().contains("Retour reçu, en attente de confirmation"), "the return page waits")?;
    expect(mailbox.messages().is_empty(), "nothing is delivered before the payment is confirmed")?;
    say("4  retour / return                    « Retour reçu, en attente de confirmation… »");

    interlude(say)?;
    simulator.approve(&order).map_err(|_| Error::Demo("the simulator refuses to approve".to_owned()))?;
    say("5  paiement approuvé / approved       webhook → check → PAID");
    let mails = mailbox.wait_for(1, Duration::from_secs(STEP_SECONDS_MAX)).await;
    let mail = mails.first().ok_or_else(|| Error::Demo("no mail arrived".to_owned()))?;
    let mail = mail.read();
    let text = mail.text.unwrap_or_default();
    let link = link_of(&text, shop).ok_or_else(|| Error::Demo("the mail holds no link".to_owned()))?;
    say(&format!("6  e-mail                             {}", mail.subject));

    expect(get(&browser, &link).await?.status == 200, "the link's page opens and spends nothing")?;
    let started = browser.post(&link, &[]).await.map_err(Error::Demo)?;
    let file = get(&browser, &location(&started, "the button starts the download")?).await?;
    expect(file.status == 200 && file.body == KIT, "the downloaded file is the product, byte for byte")?;
    say(&format!("7  téléchargement / download          200   {} octets / bytes", file.body.len()));
    Ok(order)
}

/// Verifies the closed ledger and prints the order's journal.
pub(super) fn prove(store: &Path, order: &str, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let report = crate::ledger::verify(store, &mut |_| {})?;
    expect(report.is_sound(), "the journal verifies")?;
    history(&Ledger::open(OpenOptions::new(store, |_| {}))?, order, say)
}

/// Prints the order's history from a ledger that was verified: everything happened, and what happens once did.
pub(super) fn history(ledger: &Ledger, order: &str, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    say("8  journal                            vérifié / verified");
    let order = OrderId::parse(order).map_err(|why| Error::Demo(why.to_string()))?;
    let lines = ledger.history(order).map_err(|why| Error::Demo(why.to_string()))?;
    let mut kinds = Vec::new();
    for line in &lines {
        for event in &line.events {
            kinds.push(event.kind());
            say(&format!("   {:>3}  {}  {}", line.seq, line.at, event.kind()));
        }
    }
    for wanted in ["CREATED", "INITIATED", "NOTIFIED", "CHECKED", "PAID", "DELIVERED", "DOWNLOADED"] {
        let times = kinds.iter().filter(|kind| **kind == wanted).count();
        let once = times == 1 || (times > 1 && matches!(wanted, "NOTIFIED" | "CHECKED"));
        expect(once, &format!("{wanted} happened ({times} times)"))?;
    }
    Ok(())
}

async fn get(browser: &Browser, url: &str) -> Result<Answer, Error> {
    browser.get(url).await.map_err(Error::Demo)
}

fn location(answer: &Answer, what: &str) -> Result<String, Error> {
    let found = answer.location.clone().filter(|_| answer.status == 303);
    found.ok_or_else(|| Error::Demo(format!("not so: {what} (status {})", answer.status)))
}

fn expect(holds: bool, what: &str) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Demo(format!("not so: {what}"))) }
}

/// The first download link of a mail's text.
fn link_of(text: &str, shop: &str) -> Option<String> {
    let start = text.find(&format!("{shop}/download/"))?;
    text.get(start..)?.split_whitespace().next().map(str::to_owned)
}
