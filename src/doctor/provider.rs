//! CinetPay: reachable, our credentials accepted, our clocks in step.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{Finding, Patient};
use crate::adapters::outside::{Outside, Seen};
use crate::domain::values::OrderId;

/// A difference that is more than the network's, in seconds.
const SKEW_SECONDS_NOTICED: u64 = 30;
/// A difference with which certificates and links begin to fail, in seconds.
const SKEW_SECONDS_MAX: u64 = 300;

pub(super) async fn examine(patient: &Patient) -> Vec<Finding> {
    let cinetpay = &patient.config.cinetpay;
    let mut url = cinetpay.api_url.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["v2", "payment", "check"]);
    }
    // A number that no order has: nothing is learnt of any payment, and nothing is changed.
    let transaction = OrderId::new(patient.clock.now(), rand::random()).to_string();
    let body = json!({
        "apikey": cinetpay.api_key.expose(),
        "site_id": cinetpay.site_id,
        "transaction_id": transaction,
    });
    let authorities = cinetpay.authorities.as_ref().map(|own| own.pem.as_slice());
    let seen = match Outside::new(authorities) {
        Ok(outside) => outside.post(&url, &body).await,
        Err(error) => Err(error),
    };
    match seen {
        Ok(seen) => [Some(credentials(&seen)), skew(patient, &seen)].into_iter().flatten().collect(),
        Err(error) => vec![Finding::failure(
            "cinetpay",
            format!("CinetPay ne répond pas ({error}) — vérifiez la sortie https vers {}", cinetpay.api_url),
            format!("CinetPay does not answer ({error}) — check outbound https to {}", cinetpay.api_url),
        )],
    }
}

fn credentials(seen: &Seen) -> Finding {
    let answer = serde_json::from_slice::<serde_json::Value>(&seen.body).unwrap_or_default();
    let code = match &answer["code"] {
        serde_json::Value::String(code) => code.clone(),
        other => other.to_string(),
    };
    let refused = |name: &str| {
        Finding::failure(
            "cinetpay",
            format!("CinetPay refuse {name} (code {code}) — recopiez la valeur du back-office"),
            format!("CinetPay refuses {name} (code {code}) — copy the value from the back office again"),
        )
    };
    match (code.as_str(), seen.status) {
        ("609", _) => refused("CINETPAY_API_KEY"),
        ("613", _) => refused("CINETPAY_SITE_ID"),
        // What a bad key really gets.
        ("624", _) => refused("CINETPAY_API_KEY / CINETPAY_SITE_ID"),
        ("429", _) | (_, 429) => Finding::warning(
            "cinetpay",
            "CinetPay demande de patienter (429) — réessayez dans quelques minutes",
            "CinetPay asks for patience (429) — try again in some minutes",
        ),
        (code, status) if status >= 500 || code == "null" => Finding::failure(
            "cinetpay",
            format!(
                "CinetPay, ou un intermédiaire, répond {status} sans code — réessayez ; sinon vérifiez CINETPAY_API_URL"
            ),
            format!(
                "CinetPay, or something in between, answers {status} without a code — try again; else check CINETPAY_API_URL"
            ),
        ),
        (code, _) => Finding::good(
            "cinetpay",
            format!("CinetPay répond et ne refuse pas les clés (code {code})"),
            format!("CinetPay answers and does not refuse the keys (code {code})"),
        ),
    }
}

fn skew(patient: &Patient, seen: &Seen) -> Option<Finding> {
    let ours = UNIX_EPOCH + Duration::from_secs(u64::try_from(patient.clock.now().seconds()).ok()?);
    let Some(theirs) = seen.date else {
        return Some(Finding::note(
            "clock",
            "CinetPay ne donne pas l'heure",
            "CinetPay does not tell the time",
        ));
    };
    let apart = |a: SystemTime, b: SystemTime| a.duration_since(b).unwrap_or_else(|early| early.duration());
    let seconds = apart(ours, theirs).as_secs();
    let fr = format!("l'horloge diffère de celle de CinetPay de {seconds} s — timedatectl set-ntp true");
    let en = format!("the clock differs from CinetPay's by {seconds} s — timedatectl set-ntp true");
    Some(match seconds {
        0..SKEW_SECONDS_NOTICED => {
            Finding::good("clock", "horloge en accord avec CinetPay", "the clock agrees with CinetPay's")
        }
        SKEW_SECONDS_NOTICED..SKEW_SECONDS_MAX => Finding::warning("clock", fr, en),
        _ => Finding::failure("clock", fr, en),
    })
}
