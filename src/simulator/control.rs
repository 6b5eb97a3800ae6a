//! The control endpoint: settings, transactions and their outcomes, mails. Documented in docs/simulator.md.

use std::sync::Arc;

use serde_json::{Map, Value, json as j};
use warp::http::StatusCode;

use super::settings::merge;
use super::state::{OVERRIDES_MAX, Status, Unchanged};
use super::{Reply, Request, Shared, json, mailbox_web, notify};

/// Everything below /control/.
pub(super) fn route(shared: &Arc<Shared>, segments: &[&str], request: &Request) -> Reply {
    match (request.method.as_str(), segments) {
        ("GET", ["settings"]) => json(StatusCode::OK, &shared.lock().settings),
        ("PUT" | "PATCH", ["settings"]) => change_settings(shared, request),
        ("GET", ["transactions"]) => list(shared),
        ("GET", ["transactions", id]) => one(shared, id),
        ("GET", ["transactions", id, "settings"]) => json(StatusCode::OK, &shared.lock().settings_for(id)),
        ("PUT" | "PATCH", ["transactions", id, "settings"]) => override_settings(shared, id, request),
        ("DELETE", ["transactions", id, "settings"]) => {
            let mut state = shared.lock();
            state.overrides.remove(*id);
            state.rearm(id);
            done()
        }
        ("POST", ["transactions", id, verb]) => outcome(shared, id, verb, request),
        ("POST", ["reset"]) => {
            reset(shared);
            done()
        }
        ("GET", ["mails"]) => mailbox_web::list(shared.options.mailbox.as_ref()),
        ("DELETE", ["mails"]) => {
            if let Some(mailbox) = &shared.options.mailbox {
                mailbox.clear();
            }
            done()
        }
        ("PUT" | "PATCH", ["mails", "fault"]) => {
            mailbox_web::set_fault(shared.options.mailbox.as_ref(), &request.body)
        }
        _ => refuse(StatusCode::NOT_FOUND, "no such control"),
    }
}

/// Lays `patch` over the global settings and starts the fault counters again.
pub(super) fn patch_settings(shared: &Shared, patch: &Map<String, Value>) -> Result<(), String> {
    let mut state = shared.lock();
    state.settings = state.settings.patched(patch)?;
    state.rearm("");
    Ok(())
}

/// Lays `patch` over one transaction's own settings, after trying it.
pub(super) fn patch_transaction(shared: &Shared, id: &str, patch: &Map<String, Value>) -> Result<(), String> {
    let mut state = shared.lock();
    if state.overrides.len() >= OVERRIDES_MAX && !state.overrides.contains_key(id) {
        return Err(format!("more than {OVERRIDES_MAX} transactions with settings of their own"));
    }
    let mut merged = state.overrides.get(id).cloned().unwrap_or_default();
    merge(&mut merged, patch);
    state.settings.patched(&merged)?;
    state.overrides.insert(id.to_owned(), merged);
    state.rearm(id);
    Ok(())
}

/// Back to the start: no transactions, no mails, the settings of the flags.
pub(super) fn reset(shared: &Shared) {
    shared.lock().reset(shared.defaults.clone());
    if let Some(mailbox) = &shared.options.mailbox {
        mailbox.clear();
        mailbox.set_fault(None);
    }
}

fn change_settings(shared: &Shared, request: &Request) -> Reply {
    let Some(patch) = body(request) else {
        return refuse(StatusCode::BAD_REQUEST, "a JSON object is expected");
    };
    if request.method == "PUT" {
        // PUT states the whole: what it leaves out goes back to the settings of the start.
        match shared.defaults.patched(&patch) {
            Ok(settings) => {
                let mut state = shared.lock();
                state.settings = settings;
                state.rearm("");
            }
            Err(message) => return refuse(StatusCode::BAD_REQUEST, &message),
        }
    } else if let Err(message) = patch_settings(shared, &patch) {
        return refuse(StatusCode::BAD_REQUEST, &message);
    }
    json(StatusCode::OK, &shared.lock().settings)
}

fn override_settings(shared: &Shared, id: &str, request: &Request) -> Reply {
    let Some(patch) = body(request) else {
        return refuse(StatusCode::BAD_REQUEST, "a JSON object is expected");
    };
    // PUT replaces; a refused one leaves the old settings in force.
    let before = if request.method == "PUT" { shared.lock().overrides.remove(id) } else { None };
    let tried = patch_transaction(shared, id, &patch);
    if let (Err(_), Some(before)) = (&tried, before) {
        shared.lock().overrides.insert(id.to_owned(), before);
    }
    match tried {
        Ok(()) => json(StatusCode::OK, &shared.lock().settings_for(id)),
        Err(message) => refuse(StatusCode::BAD_REQUEST, &message),
    }
}

fn list(shared: &Shared) -> Reply {
    let state = shared.lock();
    let transactions: Vec<_> = state.list().collect();
    json(StatusCode::OK, &j!({"transactions": transactions, "strangers": state.strangers}))
}

fn one(shared: &Shared, id: &str) -> Reply {
    match shared.lock().get(id) {
        Some(held) => json(StatusCode::OK, held),
        None => refuse(StatusCode::NOT_FOUND, "no such transaction"),
    }
}

/// `POST /control/transactions/<id>/<verb>`; `refuse` takes `{"code":"602"}`.
fn outcome(shared: &Arc<Shared>, id: &str, verb: &str, request: &Request) -> Reply {
    let code = body(request).and_then(|map| map.get("code").and_then(Value::as_str).map(str::to_owned));
    let to = match verb {
        "approve" => Status::Accepted,
        "refuse" => Status::Refused { code: code.unwrap_or_else(|| "600".to_owned()) },
        "cancel" => Status::Refused { code: "627".to_owned() },
        "pending" => Status::Pending,
        "expire" => Status::Expired,
        "notify" if shared.lock().get(id).is_none() => {
            return refuse(StatusCode::NOT_FOUND, "no such transaction");
        }
        "notify" if notify::announce(shared, id) => return json(StatusCode::ACCEPTED, &j!({"ok": true})),
        "notify" => return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many notifications under way"),
        _ => return refuse(StatusCode::NOT_FOUND, "no such outcome"),
    };
    match notify::settle(shared, id, to, Some(shared.lock_payer(id))) {
        Ok(()) | Err(Unchanged::Same) => one(shared, id),
        Err(Unchanged::Unknown) => refuse(StatusCode::NOT_FOUND, "no such transaction"),
        Err(Unchanged::Final) => refuse(StatusCode::CONFLICT, "an accepted payment stays accepted"),
    }
}

impl Shared {
    /// Who pays when nobody used the page: the last payer, or the default one.
    fn lock_payer(&self, id: &str) -> super::Payer {
        self.lock().get(id).and_then(|held| held.payer.clone()).unwrap_or_default()
    }
}

/// The body as an object; an empty body counts as none.
fn body(request: &Request) -> Option<Map<String, Value>> {
    serde_json::from_slice(&request.body).ok()
}

fn done() -> Reply {
    json(StatusCode::OK, &j!({"ok": true}))
}

fn refuse(status: StatusCode, message: &str) -> Reply {
    json(status, &j!({"message": message}))
}
