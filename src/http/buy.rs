//! `/buy/<slug>/<tier>/`: the purchase page and the purchase.

use std::sync::Arc;

use serde_json::json;
use warp::http::header::{HeaderMap, HeaderName, VARY};
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::answer::{self, Problem};
use super::call::{self, Call, Fields};
use super::pages::{self, Frame};
use super::{Site, cors, money};
use crate::actors::{AskError, Receipt};
use crate::domain::catalog::{Product, Tier};
use crate::domain::decide::Refusal;
use crate::domain::event::Request;
use crate::domain::input::{Input, Purchase};
use crate::domain::values::{Buyer, Email, Name, OrderId, Phone};

/// Largest purchase form, in bytes.
const FORM_BYTES_MAX: usize = 16 * 1024;
/// Longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// How often a purchase is handed to an order that another request is just making.
const SUBMITS_MAX: u32 = 3;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Every method of the address.
pub(crate) async fn route(site: &Arc<Site>, mut call: Call) -> Response {
    let deps = Arc::clone(&site.deps);
    let catalog = deps.catalog.now();
    let found = match call.route().as_slice() {
        [_, slug, tier] => {
            call::decoded(slug).zip(call::decoded(tier)).and_then(|(slug, tier)| catalog.find(&slug, &tier))
        }
        _ => None,
    };
    let Some((product, tier)) = found else {
        let problem = Problem::new(StatusCode::NOT_FOUND, "unknown-product")
            .explained("Ce produit n’est pas en vente ici.", "This product is not for sale here.");
        let answer = if call.looks() { problem.answer_page(&call) } else { problem.answer(&call) };
        return cors::open(&deps, &call, answer);
    };
    if call.looks() {
        return form(&call, product, tier, &Fields::default(), None);
    }
    if call.method == Method::OPTIONS {
        return cors::preflight(&deps, &call);
    }
    if call.method != Method::POST {
        return Problem::method("GET, HEAD, POST, OPTIONS").answer(&call);
    }
    let answer = post(site, &mut call, product, tier).await;
    cors::open(&deps, &call, answer)
}

/// The purchase page, with what was typed and what is wrong with it.
fn form(call: &Call, product: &Product, tier: &Tier, typed: &Fields, problem: Option<&Problem>) -> Response {
    let lang = typed.get("lang").and_then(call::lang_named).unwrap_or_else(|| call.lang());
    let page = pages::Buy {
        frame: Frame::new(lang),
        product: &product.name,
        description: &product.description,
        tier: &tier.name,
        price: money::amount(tier.price),
        email: typed.get("email").unwrap_or_default(),
        name: typed.get("name").unwrap_or_default(),
        phone: typed.get("phone").unwrap_or_default(),
        wrong: problem.and_then(|problem| problem.field).unwrap_or_default(),
        message: problem.map(|problem| problem.text(lang)).unwrap_or_default(),
    };
    let answer = answer::purchase_page(StatusCode::OK, &page);
    match problem {
        Some(problem) => problem.finish(answer),
        None => answer,
    }
}

async fn post(site: &Arc<Site>, call: &mut Call, product: &Product, tier: &Tier) -> Response {
    if let Err(problem) = site.deps.pass(&site.deps.gates.buy, call) {
        return problem.answer(call);
    }
    if let Err(problem) = room(site) {
        return problem.answer(call);
    }
    let fields = match fields(call).await {
        Ok(fields) => fields,
        Err(problem) => return problem.answer(call),
    };
    let bought = match buyer(call, &fields) {
        Ok(buyer) => buy(site, call, product, tier, buyer).await,
        Err(problem) => Err(problem),
    };
    match bought {
        Ok(receipt) => bill(call, &receipt),
        Err(problem) if call.accepts_html() => form(call, product, tier, &fields, Some(&problem)),
        Err(problem) => problem.answer(call),
    }
}

/// Refuses new orders while the disk runs full: what is left is for what was already sold.
fn room(site: &Site) -> Result<(), Problem> {
    let least = site.deps.settings.free_bytes_min;
    if least == 0 {
        return Ok(());
    }
    // A disk that cannot be asked is the journal's to judge, not ours.
    match site.deps.ledger.free_bytes() {
        Ok(free) if free < least => {
            tracing::debug!(free, least, "no orders are taken: the disk runs full");
            Err(Problem::unavailable())
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The body's fields, from a form or from JSON.
async fn fields(call: &mut Call) -> Result<Fields, Problem> {
    let media = call.content_type();
    let body = call.body(FORM_BYTES_MAX).await?;
    match media.as_deref() {
        Some("application/json") => Fields::parse_json(&body).ok_or_else(|| {
            Problem::bad_request("Le corps n’est pas un objet JSON.", "The body is not a JSON object.")
        }),
        None | Some("application/x-www-form-urlencoded") => Fields::parse(&body)
            .ok_or_else(|| Problem::bad_request("Le formulaire est illisible.", "The form is unreadable.")),
        Some(_) => Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type")
            .explained("Envoyez un formulaire ou du JSON.", "Send a form or JSON.")),
    }
}

/// Who buys; the problem names the field that is wrong.
fn buyer(call: &Call, fields: &Fields) -> Result<Buyer, Problem> {
    let email = Email::parse(fields.get("email").unwrap_or_default()).map_err(|_| {
        Problem::field("email", "Indiquez une adresse e-mail valable.", "Give a valid e-mail address.")
    })?;
    let name = fields.get("name").map(Name::parse).transpose().map_err(|_| {
        Problem::field("name", "Ce nom est trop long ou illisible.", "This name is too long or unreadable.")
    })?;
    let phone = fields.get("phone").map(Phone::parse).transpose().map_err(|_| {
        Problem::field(
            "phone",
            "Ce numéro de téléphone n’est pas valable.",
            "This telephone number is not valid.",
        )
    })?;
    let lang = match fields.get("lang") {
        Some(text) => call::lang_named(text)
            .ok_or_else(|| Problem::field("lang", "La langue est fr ou en.", "The language is fr or en."))?,
        None => call.lang(),
    };
    Ok(Buyer { email, name, phone, lang })
}

async fn buy(
    site: &Site,
    call: &Call,
    product: &Product,
    tier: &Tier,
    buyer: Buyer,
) -> Result<Receipt, Problem> {
    let deps = &site.deps;
    let now = deps.now();
    let fresh = || OrderId::new(now, rand::random());
    let mut order = fresh();
    let request = request(site, call, product, tier, &buyer)?;
    if let Some(asked) = &request {
        let known = deps.ledger.find_key(&asked.key, now).map_err(|error| {
            tracing::error!(%error, "an idempotency key could not be looked up");
            Problem::unavailable()
        })?;
        let (owner, fingerprint) = known.unwrap_or_else(|| {
            let claim = site.claims.claim(&asked.key, &asked.fingerprint, order, now);
            (claim.order, claim.fingerprint)
        });
        if fingerprint != asked.fingerprint {
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused").explained(
                "Cette clé d’idempotence a déjà servi à une autre demande.",
                "This idempotency key was used for another request.",
            ));
        }
        order = owner;
    }
    let key = request.as_ref().map(|request| (request.key.clone(), request.fingerprint.clone()));
    let purchase =
        Purchase { product: product.slug.clone(), tier: tier.id.clone(), price: tier.price, buyer, request };
    let mut bought = submit(site, order, purchase.clone()).await;
    // No page of that order was ever shown, and none will be: the key stands for another order from here on. Without
    // this its buyer could not buy for a day.
    if let (Err(AskError::Refused(Refusal::Spent)), Some((key, fingerprint))) = (&bought, key) {
        let spent = order;
        order = site.claims.replace(&key, spent, &fingerprint, fresh(), now).order;
        tracing::warn!(%spent, %order, "no payment page can be opened for an order any more: another takes its place");
        bought = submit(site, order, purchase).await;
    }
    bought.map_err(|error| without_page(order, error))
}

/// Why there is no payment page to go to.
fn without_page(order: OrderId, error: AskError) -> Problem {
    if !matches!(error, AskError::Refused(_)) {
        tracing::warn!(%order, ?error, "a purchase got no payment page");
    }
    match error {
        // The order is taken; it is the payment page that did not open in time.
        AskError::Late => AskError::NotOpened(String::new()).into(),
        error => error.into(),
    }
}

/// Buys, or goes on with the order where the same request made it already. Whoever comes second to the order's
/// actor is told that it exists, so that simultaneous repeats never make two.
async fn submit(site: &Site, order: OrderId, purchase: Purchase) -> Result<Receipt, AskError> {
    let orders = &site.deps.orders;
    match orders.submit(order, Input::Buy(Box::new(purchase))).await {
        Err(AskError::Refused(Refusal::Exists)) => repeat(site, order).await,
        outcome => outcome,
    }
}

async fn repeat(site: &Site, order: OrderId) -> Result<Receipt, AskError> {
    let mut outcome = site.deps.orders.submit(order, Input::Repeat).await;
    // Busy and Gone pass quickly, and the buyer's order exists: worth a second knock.
    for _ in 1..SUBMITS_MAX {
        if !matches!(outcome, Err(AskError::Gone)) {
            break;
        }
        outcome = site.deps.orders.submit(order, Input::Repeat).await;
    }
    outcome
}

/// What the `Idempotency-Key` stands for, hashed: neither the key nor the buyer's data is stored with it.
fn request(
    site: &Site,
    call: &Call,
    product: &Product,
    tier: &Tier,
    buyer: &Buyer,
) -> Result<Option<Request>, Problem> {
    let Some(key) = idempotency_key(&call.headers)? else { return Ok(None) };
    let asked = json!([
        product.slug,
        tier.id,
        buyer.email.expose(),
        buyer.name.as_ref().map(Name::expose),
        buyer.phone.as_ref().map(Phone::expose),
    ]);
    let hash = &site.deps.seals.hash;
    Ok(Some(Request {
        key: hash(format!("idempotency-key\n{key}").as_bytes()),
        fingerprint: hash(format!("purchase\n{asked}").as_bytes()),
    }))
}

/// The key as sent: one header of 1 to 255 ASCII characters. Two of them would leave a guess which one was meant.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(header) = lines.next() else { return Ok(None) };
    let key = header.to_str().ok().map(str::trim).filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()));
    match (key, lines.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(Problem::field(
            "Idempotency-Key",
            "La clé d’idempotence doit compter de 1 à 255 caractères ASCII, une seule fois.",
            "The idempotency key must have 1 to 255 ASCII characters, once.",
        )),
    }
}

/// The way to the payment page.
fn bill(call: &Call, receipt: &Receipt) -> Response {
    let payment = &receipt.payment;
    let json_body = call.content_type().as_deref() == Some("application/json") && !call.accepts_html();
    let Some(url) = &payment.payment_url else {
        let problem: Problem = AskError::NotOpened(String::new()).into();
        return problem.answer(call);
    };
    if call.accepts_json() || json_body {
        let body = json!({
            "order_id": payment.id,
            "status": payment.status_name(),
            "amount": payment.price.amount(),
            "currency": payment.price.currency(),
            "payment_url": url,
        });
        return answer::json(StatusCode::CREATED, &body);
    }
    let mut answer = match payment.sale() {
        // Paid already: another look at the payment page could only confuse.
        Some(_) => answer::see_other(&format!("/payment/return/?transaction_id={}", payment.id)),
        None => answer::see_other(url),
    };
    answer::set(&mut answer, VARY, "Accept");
    answer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use warp::http::header::HeaderValue;

    use super::*;

    proptest! {
        #[test]
        fn a_key_is_short_text_and_alone(keys in prop::collection::vec(prop_oneof![
            "[ -~]{0,20}".prop_map(String::into_bytes),
            "[!-~]{250,260}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..30),
        ], 0..3)) {
            let mut headers = HeaderMap::new();
            for value in keys.iter().filter_map(|key| HeaderValue::from_bytes(key).ok()) {
                headers.append(IDEMPOTENCY_KEY, value);
            }
            let sent: Vec<&[u8]> = headers.get_all(IDEMPOTENCY_KEY).iter().map(HeaderValue::as_bytes).collect();
            let plain = |key: &[u8]| key.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
            match (idempotency_key(&headers), sent.as_slice()) {
                (Ok(None), []) => {}
                (Ok(Some(key)), [one]) => {
                    prop_assert!(plain(one) && key.as_bytes() == one.trim_ascii() && (1..=KEY_BYTES_MAX).contains(&key.len()));
                }
                (Err(_), [one]) => prop_assert!(!plain(one) || !(1..=KEY_BYTES_MAX).contains(&one.trim_ascii().len())),
                (Err(_), [_, _, ..]) => {}
                (outcome, _) => prop_assert!(false, "{outcome:?} of {sent:?}"),
            }
        }

        #[test]
        fn ordinary_keys_are_taken(key in "[!-~]{1,255}") {
            let headers = HeaderMap::from_iter([(IDEMPOTENCY_KEY, HeaderValue::from_str(&key).unwrap())]);
            prop_assert_eq!(idempotency_key(&headers).unwrap(), Some(key.as_str()));
        }
    }
}
