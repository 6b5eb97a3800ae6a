//! The payer's page ("guichet"): plain HTML and CSS that work without scripts, French first, phone first.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use warp::http::{HeaderValue, StatusCode};

use super::settings::{ReturnMethod, Settings};
use super::state::{Payer, Status, Transaction};
use super::{Reply, Request, Shared, answer, html, notify, text};

const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("return.js");
/// Longest phone number or prefix kept from the form.
const PHONE_CHARS_MAX: usize = 20;
/// Transactions shown on the index page.
const INDEX_ROWS_MAX: usize = 100;

const OPERATORS: [(&str, &str); 6] = [
    ("OM", "Orange Money"),
    ("MOMO", "MTN MoMo"),
    ("FLOOZ", "Moov Money"),
    ("WAVECI", "Wave"),
    ("TMONEYTG", "T-Money"),
    ("CARD", "Carte bancaire · Card"),
];

const REASONS: [(&str, &str); 5] = [
    ("602", "Solde insuffisant · Insufficient balance"),
    ("600", "Paiement échoué · Payment failed"),
    ("604", "Code OTP erroné · Wrong OTP code"),
    ("606", "Paramètres incorrects · Incorrect settings"),
    ("603", "Service indisponible · Service unavailable"),
];

/// `text` for HTML text and quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// A whole page of the simulator around `main`.
pub(super) fn layout(title: &str, main: &str) -> Reply {
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"fr\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
         <link rel=\"stylesheet\" href=\"/assets/page.css\">\n<link rel=\"icon\" href=\"data:,\">\n</head>\n<body>\n\
         <header><strong>Guichet de paiement</strong> <span class=\"tag\">SIMULATEUR · aucun argent réel</span></header>\n\
         <main>\n{main}\n</main>\n<footer>Simulateur hors ligne, sans lien avec CinetPay · Offline simulator</footer>\n</body>\n</html>\n",
        escape(title)
    );
    let mut reply = html(StatusCode::OK, page);
    let policy =
        "default-src 'none'; style-src 'self'; script-src 'self'; frame-src 'self'; img-src 'self' data:";
    reply.headers_mut().insert("content-security-policy", HeaderValue::from_static(policy));
    reply
}

/// `GET /assets/<name>`.
pub(super) fn asset(name: &str) -> Reply {
    match name {
        "page.css" => answer(StatusCode::OK, "text/css; charset=utf-8", CSS),
        "return.js" => answer(StatusCode::OK, "text/javascript; charset=utf-8", JS),
        _ => text(StatusCode::NOT_FOUND, "no such asset"),
    }
}

/// GET /: what is here, and the latest payments.
pub(super) fn index(shared: &Shared) -> Reply {
    let mut rows = String::new();
    {
        let state = shared.lock();
        let all: Vec<&Transaction> = state.list().collect();
        for held in all.iter().rev().take(INDEX_ROWS_MAX) {
            let (_, label) = badge(&held.status);
            let _ = write!(
                rows,
                "<li><a href=\"/payment/{}\">{}</a><span>{} {}</span><span class=\"tag\">{label}</span></li>",
                held.token,
                escape(&held.order.transaction_id),
                escape(&held.order.amount),
                escape(&held.order.currency),
            );
        }
    }
    if rows.is_empty() {
        rows.push_str("<li>Aucun paiement pour l'instant · No payment yet</li>");
    }
    let main = format!(
        "<h1>CinetPay, hors ligne</h1>\n<p>Paiements récents · Recent payments</p>\n<ul class=\"list\">{rows}</ul>\n\
         <p><a href=\"/mailbox/\">Boîte aux lettres · Mailbox</a> · <a href=\"/control/settings\">Réglages · Settings</a> · \
         <a href=\"/control/transactions\">JSON</a></p>"
    );
    layout("Simulateur CinetPay", &main)
}

/// `GET /payment/<token>`.
pub(super) fn show(shared: &Shared, token: &str) -> Reply {
    let state = shared.lock();
    let Some(held) = state.by_token(token) else { return missing() };
    let settings = state.settings_for(&held.order.transaction_id);
    let mut main = summary(held);
    if held.status != Status::Accepted && held.status != Status::Expired {
        if held.payer.is_some() {
            main.push_str(&outcome(held, &settings, 0));
        }
        main.push_str(&pay_form(&held.payer.clone().unwrap_or_default()));
    } else {
        main.push_str(&outcome(held, &settings, settings.auto_return_ms));
    }
    layout("Paiement · Payment", &main)
}

/// `POST /payment/<token>`: the payer, or the person testing, pressed a button.
pub(super) fn press(shared: &Arc<Shared>, token: &str, request: &Request) -> Reply {
    let form: HashMap<String, String> = form_urlencoded::parse(&request.body).into_owned().collect();
    let of = |name: &str| form.get(name).cloned().unwrap_or_default();
    let id = match shared.lock().by_token(token) {
        Some(held) => held.order.transaction_id.clone(),
        None => return missing(),
    };
    let method = Some(of("method")).filter(|m| OPERATORS.iter().any(|(code, _)| code == m));
    let digits =
        |text: String| text.chars().filter(char::is_ascii_digit).take(PHONE_CHARS_MAX).collect::<String>();
    let payer = Payer {
        method: method.unwrap_or_else(|| Payer::default().method),
        phone: digits(of("phone")),
        prefix: digits(of("prefix")),
    };
    let reason = Some(of("reason")).filter(|r| REASONS.iter().any(|(code, _)| code == r));
    let to = match of("action").as_str() {
        "refuse" => Status::Refused { code: reason.unwrap_or_else(|| "600".to_owned()) },
        "cancel" => Status::Refused { code: "627".to_owned() },
        "wait" => Status::Pending,
        "expire" => Status::Expired,
        _ => Status::Accepted,
    };
    // The magic numbers speak for the operator only when the payer pays.
    let by_number = if to == Status::Accepted { notify::magic(shared, &id, &payer) } else { None };
    // A second press on a settled payment changes nothing: the page it leads to says where it stands.
    let _ = by_number.unwrap_or_else(|| notify::settle(shared, &id, to, Some(payer)));
    let mut reply = text(StatusCode::SEE_OTHER, "");
    if let Ok(place) = HeaderValue::from_str(&format!("/payment/{token}")) {
        reply.headers_mut().insert("location", place);
    }
    reply
}

fn missing() -> Reply {
    let mut reply = layout(
        "Lien inconnu",
        "<h1>Lien inconnu</h1>\n<p>Ce lien de paiement n'existe pas.<br>No such payment link.</p>",
    );
    *reply.status_mut() = StatusCode::NOT_FOUND;
    reply
}

fn summary(held: &Transaction) -> String {
    format!(
        "<section class=\"card\">\n<p class=\"amount\">{} <small>{}</small></p>\n<p>{}</p>\n<p class=\"ref\">Réf. {}</p>\n</section>\n",
        escape(&grouped(&held.order.amount)),
        escape(&held.order.currency),
        escape(&held.order.description),
        escape(&held.order.transaction_id),
    )
}

/// Thousands apart, with narrow no-break spaces, as French writes them.
fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (at, c) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(c);
    }
    out
}

fn badge(status: &Status) -> (&'static str, &'static str) {
    match status {
        Status::Pending => ("wait", "En attente · Waiting"),
        Status::Accepted => ("good", "Payé · Paid"),
        Status::Refused { .. } => ("bad", "Refusé · Refused"),
        Status::Expired => ("bad", "Expiré · Expired"),
    }
}

fn outcome(held: &Transaction, settings: &Settings, auto_return_ms: u64) -> String {
    let (class, label) = badge(&held.status);
    let (code, word) = held.status.code();
    let method = match settings.return_method {
        ReturnMethod::Post => "post",
        ReturnMethod::Get => "get",
    };
    let token = if settings.return_token {
        format!("<input type=\"hidden\" name=\"token\" value=\"{}\">", held.token)
    } else {
        String::new()
    };
    let script = if auto_return_ms > 0 { "<script src=\"/assets/return.js\" defer></script>\n" } else { "" };
    format!(
        "<section class=\"card {class}\" role=\"status\">\n<h1>{label}</h1>\n<p class=\"ref\">{} {word}</p>\n\
         <form id=\"return\" method=\"{method}\" action=\"{}\" data-delay-ms=\"{auto_return_ms}\">\n\
         <input type=\"hidden\" name=\"transaction_id\" value=\"{}\">{token}\n\
         <button class=\"primary\">Retour chez le marchand<small>Return to merchant</small></button>\n</form>\n</section>\n{script}",
        escape(code),
        escape(&held.order.return_url),
        escape(&held.order.transaction_id),
    )
}

fn pay_form(payer: &Payer) -> String {
    let mut operators = String::new();
    for (code, name) in OPERATORS {
        let checked = if code == payer.method { " checked" } else { "" };
        let _ = write!(
            operators,
            "<label><input type=\"radio\" name=\"method\" value=\"{code}\"{checked}><span>{name}</span></label>"
        );
    }
    let mut reasons = String::new();
    for (code, name) in REASONS {
        let _ = write!(reasons, "<option value=\"{code}\">{code} {name}</option>");
    }
    format!(
        "<form method=\"post\" class=\"card\">\n<fieldset class=\"operators\"><legend>Moyen de paiement<small>Payment method</small></legend>{operators}</fieldset>\n\
         <div class=\"phone\"><label>Indicatif<small>Prefix</small><input name=\"prefix\" value=\"{}\" inputmode=\"numeric\" autocomplete=\"tel-country-code\"></label>\n\
         <label>Numéro de téléphone<small>Phone number</small><input name=\"phone\" value=\"{}\" inputmode=\"tel\" autocomplete=\"tel-national\"></label></div>\n\
         <button class=\"primary\" name=\"action\" value=\"pay\">Payer<small>Pay</small></button>\n\
         <details><summary>Simuler autre chose<small>Simulate something else</small></summary>\n\
         <label>Motif du refus<small>Reason of the refusal</small><select name=\"reason\">{reasons}</select></label>\n\
         <button name=\"action\" value=\"refuse\">Refuser<small>Refuse</small></button>\n\
         <button name=\"action\" value=\"cancel\">Annuler (627)<small>Cancel</small></button>\n\
         <button name=\"action\" value=\"wait\">Rester en attente<small>Stay waiting</small></button>\n\
         <button name=\"action\" value=\"expire\">Laisser expirer<small>Let it expire</small></button>\n\
         <p class=\"ref\">Numéros magiques · Magic numbers: 07 07 07 07 00 payé · 01 payé plus tard · 03 refusé · 04 refusé plus tard · 06 attend toujours</p>\n\
         </details>\n</form>\n",
        escape(&payer.prefix),
        escape(&payer.phone),
    )
}
