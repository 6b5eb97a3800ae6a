//! Changes of status and the notifications they cause: a ping, then a signed form, as often and as late as the settings say.

use std::sync::Arc;
use std::time::Duration;

use super::settings::{Notify, Settings, TokenShape};
use super::sign::{FIELDS, derived_hex, x_token};
use super::state::{Attempt, Payer, Status, Transaction, Unchanged};
use super::{Shared, now_text};

/// Copies of one notification at most, whatever the settings say.
const COPIES_MAX: u32 = 100;
/// Tries of one copy at most.
const TRIES_MAX: u32 = 100;
/// Length of the form's opaque `signature` field, in hex characters.
const SIGNATURE_CHARS: usize = 68;

/// One notification, built when the status changed: a late one tells what was true then.
struct Letter {
    id: String,
    url: String,
    fields: Vec<(&'static str, String)>,
    token: Option<String>,
    message: String,
}

/// Moves a payment and tells the merchant. Schedules the late success when the settings ask for one.
pub(super) fn settle(
    shared: &Arc<Shared>,
    id: &str,
    to: Status,
    payer: Option<Payer>,
) -> Result<(), Unchanged> {
    let settings = {
        let mut state = shared.lock();
        state.settle(id, to.clone(), payer, now_text())?;
        state.settings_for(id)
    };
    if to != Status::Pending || settings.notify.while_pending {
        announce(shared, id);
    }
    if let (Status::Refused { .. }, Some(millis)) = (&to, settings.late_success_ms) {
        later(shared, id, millis, Status::Accepted);
    }
    Ok(())
}

/// Approves by itself when the settings ask for it.
pub(super) fn schedule_auto(shared: &Arc<Shared>, id: &str, settings: &Settings) {
    if let Some(millis) = settings.auto_approve_ms {
        later(shared, id, millis, Status::Accepted);
    }
}

/// The magic numbers: what the operator answers to this phone. None for any other number.
pub(super) fn magic(shared: &Arc<Shared>, id: &str, payer: &Payer) -> Option<Result<(), Unchanged>> {
    let settings = shared.lock().settings_for(id);
    let digits: String = payer.phone.chars().filter(char::is_ascii_digit).collect();
    let last =
        digits.strip_prefix(&payer.prefix).filter(|rest| rest.len() == 10).unwrap_or(&digits).to_owned();
    let failed = Status::Refused { code: "600".to_owned() };
    let (now, then) = match last.as_str() {
        _ if !settings.magic => return None,
        "0707070700" => (Status::Accepted, None),
        "0707070701" => (Status::Pending, Some(Status::Accepted)),
        "0707070703" => (failed, None),
        "0707070704" => (Status::Pending, Some(failed)),
        "0707070706" => (Status::Pending, None),
        _ => return None,
    };
    let done = settle(shared, id, now, Some(payer.clone()));
    if let Some(then) = then {
        later(shared, id, settings.magic_delay_ms, then);
    }
    Some(done)
}

fn later(shared: &Arc<Shared>, id: &str, millis: u64, to: Status) {
    let (again, id) = (Arc::clone(shared), id.to_owned());
    shared.spawn(async move {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        // Somebody may have settled it in the meantime: then there is nothing to do.
        let _ = settle(&again, &id, to, None);
    });
}

/// Sends the notification of the present status. False when the payment is unknown, or too much is under way.
pub(super) fn announce(shared: &Arc<Shared>, id: &str) -> bool {
    let (letter, how, wait) = {
        let mut state = shared.lock();
        let settings = state.settings_for(id);
        let how = settings.notify.clone();
        let Some(held) = state.get_mut(id) else { return false };
        if !how.enabled {
            return true;
        }
        held.counts.announced += 1;
        if held.counts.announced <= how.drop_first {
            held.counts.dropped += 1;
            return true;
        }
        let odd = !held.counts.announced.is_multiple_of(2);
        let wait = how.delay_ms.saturating_add(if odd { how.reorder_ms } else { 0 });
        (letter(shared, held, &settings), how, wait)
    };
    let worker = Arc::clone(shared);
    let sent = shared.spawn(async move {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        for _ in 0..how.copies.min(COPIES_MAX) {
            deliver(&worker, &letter, &how).await;
        }
    });
    if !sent && let Some(held) = shared.lock().get_mut(id) {
        held.counts.dropped += 1;
    }
    sent
}

fn letter(shared: &Shared, held: &Transaction, settings: &Settings) -> Letter {
    let (_, message) = held.status.code();
    let accepted = held.status == Status::Accepted;
    let order = &held.order;
    let payer = held.payer.clone().unwrap_or_default();
    let amount = settings.accepted_amount.as_ref().filter(|_| accepted).unwrap_or(&order.amount);
    let currency = settings.accepted_currency.as_ref().filter(|_| accepted).unwrap_or(&order.currency);
    let values = [
        shared.options.site_id.clone(),
        order.transaction_id.clone(),
        held.created_at.clone(),
        amount.clone(),
        currency.clone(),
        derived_hex(&format!("signature:{}", held.token), SIGNATURE_CHARS),
        payer.method,
        payer.phone,
        payer.prefix,
        order.lang.clone(),
        "V4".to_owned(),
        "SINGLE".to_owned(),
        "PAYMENT".to_owned(),
        order.metadata.clone().unwrap_or_default(),
        order.description.clone(),
        message.to_owned(),
    ];
    let short = settings.notify.short_form;
    let fields: Vec<(&'static str, String)> = FIELDS
        .into_iter()
        .zip(values)
        .filter(|(name, _)| !(short && matches!(*name, "cpm_custom" | "cpm_error_message")))
        .collect();
    let signed: Vec<String> = fields.iter().map(|(_, value)| value.clone()).collect();
    let token = match settings.notify.token {
        TokenShape::Good => Some(x_token(shared.options.secret.as_bytes(), &signed)),
        TokenShape::Wrong => Some(x_token(b"not the secret", &signed)),
        TokenShape::None => None,
    };
    Letter {
        id: order.transaction_id.clone(),
        url: order.notify_url.clone(),
        fields,
        token,
        message: message.to_owned(),
    }
}

/// One copy: ping, POST, and again while the answer is not 2xx.
async fn deliver(shared: &Shared, letter: &Letter, how: &Notify) {
    let limit = Duration::from_millis(how.timeout_ms);
    for attempt in 0..=how.retries.min(TRIES_MAX) {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(how.retry_delay_ms)).await;
        }
        if how.ping {
            let http_status = status(shared.http.get(&letter.url).timeout(limit)).await;
            let record = Attempt { method: "GET", http_status, message: String::new() };
            shared.lock().record(&letter.id, record);
        }
        let mut post = shared.http.post(&letter.url).timeout(limit).form(&letter.fields);
        if let Some(token) = &letter.token {
            post = post.header("x-token", token);
        }
        let http_status = status(post).await;
        let record = Attempt { method: "POST", http_status, message: letter.message.clone() };
        shared.lock().record(&letter.id, record);
        if http_status.is_some_and(|code| (200..300).contains(&code)) {
            return;
        }
    }
}

async fn status(request: reqwest::RequestBuilder) -> Option<u16> {
    request.send().await.ok().map(|reply| reply.status().as_u16())
}
