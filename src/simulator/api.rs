//! Init and check, with the shapes of CinetPay's documentation and captures.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json as j};
use warp::http::{HeaderValue, StatusCode};

use super::settings::{Fault, FaultKind, PendingShape, Settings, UnknownShape};
use super::state::{Counts, Order, Status, Transaction, word};
use super::{Cut, Reply, Request, Shared, answer, html, json, notify, now_text};

/// Longest black hole of a time-out fault; clients give up long before.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// Longest transaction id taken.
const ID_CHARS_MAX: usize = 100;
/// Characters CinetPay forbids in a transaction id.
const ID_FORBIDDEN: &[char] = &['#', ',', '/', '$', '_', '&'];
/// Characters CinetPay forbids in a description.
const DESCRIPTION_FORBIDDEN: &[char] = &['#', '/', '$', '_', '&'];
const CURRENCIES: [&str; 5] = ["XOF", "XAF", "CDF", "GNF", "USD"];
const CHANNELS: [&str; 4] = ["ALL", "MOBILE_MONEY", "CREDIT_CARD", "WALLET"];
const REQUIRED: [&str; 8] = [
    "transaction_id",
    "amount",
    "currency",
    "description",
    "notify_url",
    "return_url",
    "channels",
    "site_id",
];
/// All nine go with a card payment.
const CARD_FIELDS: [&str; 9] = [
    "customer_name",
    "customer_surname",
    "customer_email",
    "customer_phone_number",
    "customer_address",
    "customer_city",
    "customer_country",
    "customer_state",
    "customer_zip_code",
];

/// A refusal of the API: HTTP status, code, description.
struct Refusal(StatusCode, String, String);

impl Refusal {
    fn bad(code: &str, description: impl Into<String>) -> Self {
        Refusal(StatusCode::BAD_REQUEST, code.to_owned(), description.into())
    }

    fn reply(&self) -> Reply {
        let Refusal(status, code, description) = self;
        let body = j!({"code": code, "message": word(code), "description": description, "api_response_id": response_id()});
        json(*status, &body)
    }
}

/// POST /v2/payment.
pub(super) async fn init(shared: &Arc<Shared>, request: &Request) -> Reply {
    let fields = fields(request);
    let id = field(&fields, "transaction_id");
    let (settings, fault) = take_hit(shared, &id, "init_fault");
    pause(settings.init_latency_ms).await;
    if let Some(reply) = front_door(&settings, request) {
        return reply;
    }
    match fault {
        Some(fault) => {
            let whole = if fault.takes_effect {
                opened(shared, &settings, &fields)
            } else {
                Refusal::bad("600", "").reply()
            };
            harmed(&fault, whole).await
        }
        None => opened(shared, &settings, &fields),
    }
}

/// POST /v2/payment/check.
pub(super) async fn check(shared: &Arc<Shared>, request: &Request) -> Reply {
    let fields = fields(request);
    let id = checked_id(shared, &fields);
    let (settings, fault) = take_hit(shared, &id, "check_fault");
    {
        let mut state = shared.lock();
        match state.get_mut(&id) {
            Some(held) => held.counts.check += 1,
            None => state.strangers.check += 1,
        }
    }
    pause(settings.check_latency_ms).await;
    if let Some(reply) = front_door(&settings, request) {
        return reply;
    }
    let whole = match credentials(shared, &settings, &fields) {
        Err(refusal) => refusal.reply(),
        Ok(()) => match shared.lock().get(&id) {
            Some(held) => json(StatusCode::OK, &verdict(held, &settings)),
            None => unknown(&settings),
        },
    };
    match fault {
        Some(fault) => harmed(&fault, whole).await,
        None => whole,
    }
}

/// The settings for this call, and its fault when the present one strikes.
fn take_hit(shared: &Shared, id: &str, endpoint: &'static str) -> (Settings, Option<Fault>) {
    let mut state = shared.lock();
    let settings = state.settings_for(id);
    let hit = state.hit(id, endpoint);
    let fault = if endpoint == "init_fault" { &settings.init_fault } else { &settings.check_fault };
    let fault = fault.strikes(hit).then(|| fault.clone());
    (settings, fault)
}

async fn pause(millis: u64) {
    if millis > 0 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

/// What stands in front of the API: Cloudflare, and the strict content type.
fn front_door(settings: &Settings, request: &Request) -> Option<Reply> {
    if settings.require_user_agent && !request.headers.contains_key("user-agent") {
        let page = "<!DOCTYPE html><html><head><title>Access denied | CinetPay</title></head><body><h1>Error 1010</h1>\
                    <p>The owner of this website has banned your access based on your browser's signature.</p></body></html>";
        return Some(html(StatusCode::FORBIDDEN, page.to_owned()));
    }
    if settings.strict_content_type && !content_type(request).starts_with("application/json") {
        return Some(
            Refusal(StatusCode::FORBIDDEN, "403".to_owned(), "content type must be JSON".to_owned()).reply(),
        );
    }
    None
}

fn content_type(request: &Request) -> String {
    let value = request.headers.get("content-type").and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_ascii_lowercase()
}

/// The body's fields, from JSON or a form. Unreadable bodies have none.
fn fields(request: &Request) -> HashMap<String, Value> {
    if content_type(request).starts_with("application/x-www-form-urlencoded") {
        let pairs = form_urlencoded::parse(&request.body);
        return pairs.map(|(key, value)| (key.into_owned(), Value::String(value.into_owned()))).collect();
    }
    serde_json::from_slice(&request.body).unwrap_or_default()
}

/// A field as text; numbers are taken as written, everything else counts as absent.
fn field(fields: &HashMap<String, Value>, name: &str) -> String {
    match fields.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => String::new(),
    }
}

fn credentials(shared: &Shared, settings: &Settings, fields: &HashMap<String, Value>) -> Result<(), Refusal> {
    if field(fields, "apikey") != shared.options.api_key {
        return Err(Refusal::bad(&settings.bad_key_code, "An error occurred while processing the request"));
    }
    if field(fields, "site_id") != shared.options.site_id {
        return Err(Refusal::bad(&settings.bad_site_code, "The site_id is not valid"));
    }
    Ok(())
}

fn opened(shared: &Arc<Shared>, settings: &Settings, fields: &HashMap<String, Value>) -> Reply {
    match open(shared, settings, fields) {
        Ok(token) => json(
            StatusCode::OK,
            &j!({
                "code": "201",
                "message": "CREATED",
                "description": "Transaction created with success",
                "data": {"payment_token": token, "payment_url": format!("{}/payment/{token}", shared.base_url)},
                "api_response_id": response_id(),
            }),
        ),
        Err(refusal) => refusal.reply(),
    }
}

fn open(
    shared: &Arc<Shared>,
    settings: &Settings,
    fields: &HashMap<String, Value>,
) -> Result<String, Refusal> {
    let id = field(fields, "transaction_id");
    {
        let mut state = shared.lock();
        match state.get_mut(&id) {
            Some(held) => held.counts.init += 1,
            None => state.strangers = Counts { init: state.strangers.init + 1, ..state.strangers },
        }
    }
    credentials(shared, settings, fields)?;
    let order = order(settings, fields)?;
    let token = {
        let mut state = shared.lock();
        if state.get(&id).is_some() {
            return Err(Refusal::bad(&settings.reused_code, "transaction_id already used"));
        }
        // Saturating: a reset may have come in between.
        state.strangers.init = state.strangers.init.saturating_sub(1);
        state.open(order, &shared.options.site_id, now_text())
    };
    notify::schedule_auto(shared, &id, settings);
    Ok(token)
}

/// The order init describes, or what is wrong with it, in the order CinetPay checks.
fn order(settings: &Settings, fields: &HashMap<String, Value>) -> Result<Order, Refusal> {
    for name in REQUIRED {
        if field(fields, name).is_empty() {
            return Err(Refusal::bad("608", format!("{name} is required")));
        }
    }
    let of = |name: &str| field(fields, name);
    let id = of("transaction_id");
    if id.len() > ID_CHARS_MAX || id.contains(ID_FORBIDDEN) {
        return Err(Refusal::bad("608", "transaction_id has special characters or is too long"));
    }
    if of("description").contains(DESCRIPTION_FORBIDDEN) {
        return Err(Refusal::bad("608", "description has special characters"));
    }
    let currency = of("currency");
    if !CURRENCIES.contains(&currency.as_str()) {
        return Err(Refusal::bad("612", "currency is not valid"));
    }
    if !CHANNELS.contains(&of("channels").as_str()) {
        return Err(Refusal::bad("608", "channels must be ALL, MOBILE_MONEY, CREDIT_CARD or WALLET"));
    }
    if of("channels") == "CREDIT_CARD" && CARD_FIELDS.iter().any(|name| of(name).is_empty()) {
        return Err(Refusal::bad("624", "customer fields are required for a card"));
    }
    if matches!(fields.get("metadata"), Some(Value::Object(_) | Value::Array(_))) {
        return Err(Refusal::bad("608", "metadata must be a string"));
    }
    let amount = amount(settings, &of("amount"), &currency)?;
    for name in ["notify_url", "return_url"] {
        if url::Url::parse(&of(name)).is_err() {
            return Err(Refusal::bad("608", format!("{name} must be an URL")));
        }
    }
    let lang = if of("lang").eq_ignore_ascii_case("en") { "en" } else { "fr" };
    Ok(Order {
        transaction_id: id,
        amount,
        currency,
        description: of("description"),
        metadata: Some(of("metadata")).filter(|text| !text.is_empty()),
        notify_url: of("notify_url"),
        return_url: of("return_url"),
        lang: lang.to_owned(),
        channels: of("channels"),
    })
}

fn amount(settings: &Settings, text: &str, currency: &str) -> Result<String, Refusal> {
    let Ok(amount) = text.parse::<u64>() else {
        return Err(Refusal::bad("608", "amount must be an integer"));
    };
    if currency != "USD" && !amount.is_multiple_of(5) {
        return Err(Refusal::bad("608", "amount must be a multiple of 5"));
    }
    if currency != "USD" && amount < settings.min_amount {
        return Err(Refusal::bad("641", format!("minimum amount is {} {currency}", settings.min_amount)));
    }
    Ok(amount.to_string())
}

/// The id a check names: directly, or by its payment token as some clients do.
fn checked_id(shared: &Shared, fields: &HashMap<String, Value>) -> String {
    let id = field(fields, "transaction_id");
    if !id.is_empty() {
        return id;
    }
    let state = shared.lock();
    let by_token = |name| state.by_token(&field(fields, name)).map(|held| held.order.transaction_id.clone());
    by_token("token").or_else(|| by_token("payment_token")).unwrap_or_default()
}

/// What check says of a known payment.
fn verdict(held: &Transaction, settings: &Settings) -> Value {
    let (code, message) = held.status.code();
    let accepted = held.status == Status::Accepted;
    let amount = settings.accepted_amount.as_ref().filter(|_| accepted).unwrap_or(&held.order.amount);
    let currency = settings.accepted_currency.as_ref().filter(|_| accepted).unwrap_or(&held.order.currency);
    let amount = match amount.parse::<u64>() {
        Ok(number) if settings.amount_as_number => j!(number),
        Ok(_) | Err(_) => j!(amount),
    };
    let (code, message, word) = match (&held.status, settings.pending_shape) {
        (Status::Accepted, _) => (code, message, "ACCEPTED"),
        (Status::Refused { .. } | Status::Expired, _) => (code, message, "REFUSED"),
        (Status::Pending, PendingShape::WaitingForCustomer) => {
            ("623", "WAITING_CUSTOMER_TO_VALIDATE", "WAITING_FOR_CUSTOMER")
        }
        (Status::Pending, PendingShape::Pending | PendingShape::Year2021) => (code, message, "PENDING"),
    };
    let funds = if matches!(held.status, Status::Pending) { Value::Null } else { j!(held.created_at) };
    let mut data = j!({
        "amount": amount,
        "currency": currency,
        "status": word,
        "payment_method": held.payer.as_ref().map(|payer| &payer.method),
        "description": held.order.description,
        "metadata": held.order.metadata,
        "operator_id": held.operator_id,
        // One single space while there is no date: so it was captured.
        "payment_date": held.paid_at.as_deref().unwrap_or(" "),
        "fund_availability_date": funds,
    });
    if matches!(held.status, Status::Pending)
        && settings.pending_shape == PendingShape::Year2021
        && let Value::Object(data) = &mut data
    {
        for name in ["amount", "currency", "status"] {
            data.remove(name);
        }
    }
    j!({"code": code, "message": message, "data": data, "api_response_id": response_id()})
}

fn unknown(settings: &Settings) -> Reply {
    let (status, code) = match settings.unknown_shape {
        UnknownShape::NotFound => (StatusCode::NOT_FOUND, "404"),
        UnknownShape::Code601 => (StatusCode::OK, "601"),
        UnknownShape::Code627 => (StatusCode::OK, "627"),
        UnknownShape::Code624 => (StatusCode::BAD_REQUEST, "624"),
    };
    Refusal(status, code.to_owned(), "Transaction not found".to_owned()).reply()
}

/// The answer after the fault went over it.
async fn harmed(fault: &Fault, whole: Reply) -> Reply {
    match fault.kind {
        FaultKind::None => whole,
        FaultKind::Timeout => {
            tokio::time::sleep(SILENCE_MAX).await;
            cut()
        }
        FaultKind::Cut => cut(),
        FaultKind::Html502 => html(
            StatusCode::BAD_GATEWAY,
            "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
                .to_owned(),
        ),
        FaultKind::Truncated => {
            let body = whole.into_body();
            answer(StatusCode::OK, "application/json", body.get(..body.len() / 2).unwrap_or_default())
        }
        FaultKind::Throttle => {
            let mut reply =
                Refusal(StatusCode::TOO_MANY_REQUESTS, "429".to_owned(), "Too many requests".to_owned())
                    .reply();
            if let Some(seconds) = fault.retry_after_s {
                reply.headers_mut().insert("retry-after", HeaderValue::from(seconds));
            }
            reply
        }
        FaultKind::Error500 => {
            Refusal(StatusCode::INTERNAL_SERVER_ERROR, "624".to_owned(), "Internal error".to_owned()).reply()
        }
    }
}

fn cut() -> Reply {
    let mut reply = Reply::default();
    reply.extensions_mut().insert(Cut);
    reply
}

/// Seconds and ten-thousandths, as in captures.
fn response_id() -> String {
    let now = jiff::Timestamp::now();
    format!("{}.{:04}", now.as_second(), now.subsec_nanosecond() / 100_000)
}
