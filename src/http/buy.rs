//! `/buy/<slug>/<tier>/`: the purchase page and the purchase.

use std::sync::Arc;

use serde_json::json;
use warp::http::header::{SET_COOKIE, VARY};
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::answer::{self, Problem};
use super::asked::{Asked, Known, idempotency_key};
use super::call::{self, Call, Fields};
use super::pages::{self, Frame};
use super::{Deps, Site, cors, language, markdown, order, shop};
use crate::actors::{AskError, Receipt};
use crate::domain::catalog::{Product, Tier};
use crate::domain::decide::Refusal;
use crate::domain::input::{Input, Purchase};
use crate::domain::values::{Buyer, Email, Name, OrderId, Phone};
use crate::domain::{slips, words};

/// Largest purchase form, in bytes.
const FORM_BYTES_MAX: usize = 16 * 1024;
/// The cookie of a visit to the purchase pages.
const VISIT_COOKIE: &str = "visite";
/// How long a visit lasts, in days: as long as an idempotency key.
const VISIT_DAYS_MAX: u64 = 1;
/// How often a purchase is handed to an order that another request is just making.
const SUBMITS_MAX: u32 = 3;

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
        return form(&deps, &call, (product, tier), &Fields::default(), &Remark::None);
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

/// What the purchase page remarks on what was typed.
enum Remark {
    None,
    /// Something is wrong with it.
    Wrong(Problem),
    /// This address was probably meant. The purchase goes on with either.
    Meant(Email),
}

/// The purchase page, with what was typed.
fn form(
    deps: &Deps,
    call: &Call,
    (product, tier): (&Product, &Tier),
    typed: &Fields,
    remark: &Remark,
) -> Response {
    let lang = typed.get("lang").and_then(call::lang_named).unwrap_or_else(|| call.lang());
    let (problem, meant) = match remark {
        Remark::None => (None, ""),
        Remark::Wrong(problem) => (Some(problem), ""),
        Remark::Meant(email) => (None, email.expose()),
    };
    let visit = call.cookies(VISIT_COOKIE).find(|text| is_chance(text));
    let known = form_request(typed).or(visit).map(str::to_owned);
    let request = known.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    let page = pages::Buy {
        frame: Frame::in_lang(call, lang),
        product: &product.name,
        description: markdown::page(&product.description),
        picture: shop::picture_address(product),
        tier: &tier.name,
        price: words::amount(tier.price, lang),
        meant,
        request: request.clone(),
        email: typed_email(typed),
        name: typed.get("name").unwrap_or_default(),
        phone: typed.get("phone").unwrap_or_default(),
        wrong: problem.and_then(|problem| problem.field).unwrap_or_default(),
        message: problem.map(|problem| problem.text(lang)).unwrap_or_default(),
    };
    let mut answer = answer::purchase_page(StatusCode::OK, &page);
    if visit.is_none() {
        visiting(deps, &mut answer, &request, VISIT_DAYS_MAX);
    }
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
        Ok(buyer) => match slip(call, &fields, &buyer.email) {
            Some(meant) => return form(&site.deps, call, (product, tier), &fields, &Remark::Meant(meant)),
            None => buy(site, call, product, tier, (&fields, buyer)).await,
        },
        Err(problem) => Err(problem),
    };
    match bought {
        Ok(receipt) => bill(site, call, &receipt),
        Err(problem) if call.accepts_html() => {
            form(&site.deps, call, (product, tier), &fields, &Remark::Wrong(problem))
        }
        Err(problem) => problem.answer(call),
    }
}

/// The address that was probably meant, where a person may be asked and was not yet.
fn slip(call: &Call, fields: &Fields, email: &Email) -> Option<Email> {
    let kept = fields.get("checked") == Some(email.expose());
    // Only our own form can ask back: it is the one that names its request.
    let ours = call.accepts_html() && form_request(fields).is_some();
    if ours && !kept { slips::suggestion(email) } else { None }
}

/// The address typed, or the one suggested and taken.
fn typed_email(fields: &Fields) -> &str {
    fields.taken_or_typed("email").unwrap_or_default()
}

/// What our form calls its purchase: 32 digits of chance, the same however often it is sent.
fn form_request(fields: &Fields) -> Option<&str> {
    fields.get("request").filter(|text| is_chance(text))
}

fn is_chance(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Has the browser remember its visit: whoever goes back from the payment page and buys once more goes on with the same
/// order. Zero days end the visit.
fn visiting(deps: &Deps, answer: &mut Response, request: &str, days: u64) {
    if let Some(value) = language::cookie(deps, VISIT_COOKIE, request, "/buy/", days) {
        answer.headers_mut().append(SET_COOKIE, value);
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
    let email = Email::parse(typed_email(fields)).map_err(|_| {
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
    (fields, buyer): (&Fields, Buyer),
) -> Result<Receipt, Problem> {
    let deps = &site.deps;
    let now = deps.now();
    let fresh = || OrderId::new(now, rand::random());
    let mut order = fresh();
    let seals = &deps.seals;
    let (asked, again) = match idempotency_key(&call.headers)? {
        Some(key) => (Some(Asked::by_key(seals, key, (product, tier), &buyer)), Input::Repeat),
        // A form sent twice, or sent again after a refusal, goes on with the order that it made.
        None => {
            let by_form = |chance| Asked::by_form(seals, chance, (product, tier), &buyer);
            (form_request(fields).map(by_form), Input::Retry)
        }
    };
    if let Some(asked) = &asked {
        let known = asked.known(&deps.ledger, now).map_err(|error| {
            tracing::error!(%error, "an idempotency key could not be looked up");
            Problem::unavailable()
        })?;
        let Known { order: owner, is_same } = known.unwrap_or_else(|| asked.claim(&site.claims, order, now));
        if !is_same {
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused").explained(
                "Cette clé d’idempotence a déjà servi à une autre demande.",
                "This idempotency key was used for another request.",
            ));
        }
        order = owner;
    }
    let request = asked.map(Asked::into_request);
    let key = request.as_ref().map(|request| (request.key.clone(), request.fingerprint.clone()));
    let purchase =
        Purchase { product: product.slug.clone(), tier: tier.id.clone(), price: tier.price, buyer, request };
    let mut bought = submit(site, order, purchase.clone(), again.clone()).await;
    // No page of that order was ever shown, and none will be: the key stands for another order from here on. Without
    // this its buyer could not buy for a day.
    if let (Err(AskError::Refused(Refusal::Spent)), Some((key, fingerprint))) = (&bought, key) {
        let spent = order;
        order = site.claims.replace(&key, spent, &fingerprint, fresh(), now).order;
        tracing::warn!(%spent, %order, "no payment page can be opened for an order any more: another takes its place");
        bought = submit(site, order, purchase, again).await;
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
async fn submit(site: &Site, order: OrderId, purchase: Purchase, again: Input) -> Result<Receipt, AskError> {
    let orders = &site.deps.orders;
    match orders.submit(order, Input::Buy(Box::new(purchase))).await {
        Err(AskError::Refused(Refusal::Exists)) => repeat(site, order, again).await,
        outcome => outcome,
    }
}

async fn repeat(site: &Site, order: OrderId, again: Input) -> Result<Receipt, AskError> {
    let mut outcome = site.deps.orders.submit(order, again.clone()).await;
    // Busy and Gone pass quickly, and the buyer's order exists: worth a second knock.
    for _ in 1..SUBMITS_MAX {
        if !matches!(outcome, Err(AskError::Gone)) {
            break;
        }
        outcome = site.deps.orders.submit(order, again.clone()).await;
    }
    outcome
}

/// The way to the payment page.
fn bill(site: &Site, call: &Call, receipt: &Receipt) -> Response {
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
        Some(_) => answer::see_other(&format!("/commande/{}/", payment.id)),
        None => answer::see_other(url),
    };
    answer::set(&mut answer, VARY, "Accept");
    order::remember(&site.deps, &mut answer, payment.id);
    if payment.sale().is_some() {
        // Shown what was bought already; whoever buys now means another one.
        visiting(&site.deps, &mut answer, "", 0);
    }
    answer
}
