//! An order's journal as a story: what happened, in plain words, with the stored line behind each.

use super::acts::claimed_words;
use super::desk::Desk;
use super::view;
use crate::domain::event::{Decision, Event, Resend};
use crate::domain::evidence::Entry;
use crate::domain::payment::Payment;
use crate::domain::values::Attempt;
use crate::domain::wishes::BUYER;
use crate::domain::words;
use crate::http::refusals::{REASONS, line_of};
use crate::ledger::Line;

/// One happening.
pub(super) struct Moment {
    /// When.
    pub(super) at: String,
    /// Its kind, as the journal has it.
    pub(super) kind: &'static str,
    /// What happened.
    pub(super) words: String,
    /// Who did it and why, where a person did.
    pub(super) by: String,
    /// `good`, `bad`, or nothing.
    pub(super) tone: &'static str,
    /// The line in the journal.
    pub(super) seq: u64,
    /// What it holds.
    pub(super) raw: String,
}

/// The story of an order, oldest first.
pub(super) fn of(desk: &Desk, payment: &Payment, lines: &[Line]) -> Vec<Moment> {
    let moment = |line: &Line, event: &Event| Moment {
        at: desk.moment(line.at),
        kind: event.kind(),
        words: words_for(desk, payment, event),
        by: person(event).map(|by| signed(desk, by)).unwrap_or_default(),
        tone: tone(event),
        seq: line.seq,
        raw: serde_json::to_string_pretty(&view::detail(event)).unwrap_or_default(),
    };
    lines.iter().flat_map(|line| line.events.iter().map(|event| moment(line, event))).collect()
}

/// What a journal line says, a sentence for each event, with who did it and why.
pub(super) fn told(desk: &Desk, payment: &Payment, entry: &Entry) -> Vec<String> {
    let sentence = |event: &Event| {
        let words = words_for(desk, payment, event);
        match person(event) {
            Some(by) => format!("{words} {}", signed(desk, by)),
            None => words,
        }
    };
    entry.events.iter().map(sentence).collect()
}

/// What happened, in a sentence.
fn words_for(desk: &Desk, payment: &Payment, event: &Event) -> String {
    payment_words(desk, payment, event)
        .or_else(|| delivery_words(desk, event))
        .unwrap_or_else(|| event.kind().to_owned())
}

/// What happened to the payment.
fn payment_words(desk: &Desk, payment: &Payment, event: &Event) -> Option<String> {
    let (fr, en) = match event {
        Event::Created { product, tier, price, .. } => {
            let price = words::amount(*price, desk.lang());
            (
                format!("Commande passée : {product} · {tier}, {price}."),
                format!("Ordered: {product} · {tier}, {price}."),
            )
        }
        Event::Initiated { attempt, .. } => (
            format!("CinetPay a ouvert la page de paiement{}.", nth(*attempt, "essai")),
            format!("CinetPay opened the payment page{}.", nth(*attempt, "try")),
        ),
        Event::InitFailed { reason, .. } => (
            format!("CinetPay n’a pas ouvert de page de paiement ({reason})."),
            format!("CinetPay did not open a payment page ({reason})."),
        ),
        Event::Notified { .. } => (
            "Notification reçue de CinetPay, signature vérifiée.".to_owned(),
            "Notification from CinetPay, its signature verified.".to_owned(),
        ),
        Event::Checked { verdict, code, .. } => checked(verdict, code),
        Event::Paid { approved: Some(_), .. } => (
            "Paiement approuvé à la main ; lien créé.".to_owned(),
            "Payment approved by a person; link made.".to_owned(),
        ),
        Event::Paid { approved: None, payment_method, .. } => {
            let by = payment_method
                .as_deref()
                .map(|code| format!(" ({})", words::operator(code)))
                .unwrap_or_default();
            (
                format!("Payée{by} : montant et monnaie vérifiés, lien créé."),
                format!("Paid{by}: amount and currency verified, link made."),
            )
        }
        Event::Failed { rejected: Some(_), .. } => {
            ("Paiement rejeté à la main.".to_owned(), "Payment rejected by a person.".to_owned())
        }
        Event::Failed { code, rejected: None, .. } => {
            let (fr, en) = refusal(code);
            (
                format!("Paiement refusé, code {code}. L’acheteur lit : « {fr} »"),
                format!("Payment refused, code {code}. The buyer reads: “{en}”"),
            )
        }
        Event::Review { claimed, .. } => {
            let (paid, price) = (claimed_words(desk, *claimed), words::amount(payment.price, desk.lang()));
            (
                format!("À décider : payé {paid} au lieu de {price}."),
                format!("To decide: {paid} was paid instead of {price}."),
            )
        }
        Event::Expired {} => (
            "Délai passé sans paiement ; une réponse tardive compte encore.".to_owned(),
            "Time ran out without a payment; a late answer still counts.".to_owned(),
        ),
        Event::MailFailed { .. }
        | Event::Delivered { .. }
        | Event::Downloaded { .. }
        | Event::Resent { .. }
        | Event::Reminded { .. }
        | Event::ReminderFailed { .. }
        | Event::Revoked { .. }
        | Event::Refunded { .. }
        | Event::Note { .. }
        | Event::Erased { .. } => return None,
    };
    Some(desk.say(&fr, &en).to_owned())
}

fn checked(verdict: &str, code: &str) -> (String, String) {
    let (fr, en) = match verdict {
        "accepted" => ("accepté", "accepted"),
        "mismatch" => (
            "accepté, mais un autre montant ou une autre monnaie",
            "accepted, but another amount or currency",
        ),
        "refused" => ("refusé", "refused"),
        "pending" => ("l’acheteur n’a pas encore validé", "the buyer has not confirmed yet"),
        "overtaken" => {
            ("réponse dépassée par une notification plus récente", "answer overtaken by a newer notification")
        }
        _ => ("pas de réponse utilisable", "no usable answer"),
    };
    (format!("CinetPay interrogé : {fr} (code {code})."), format!("CinetPay was asked: {en} (code {code})."))
}

/// What happened to the delivery.
fn delivery_words(desk: &Desk, event: &Event) -> Option<String> {
    let (fr, en) = match event {
        Event::MailFailed { reason, next_at: Some(at) } => {
            let at = desk.moment(*at);
            (
                format!("E-mail pas parti ({reason}) ; nouvel essai le {at}."),
                format!("Mail not sent ({reason}); another try on {at}."),
            )
        }
        Event::MailFailed { reason, next_at: None } => (
            format!("E-mail refusé pour de bon ({reason}) : à vous de voir."),
            format!("Mail refused for good ({reason}): it is up to you."),
        ),
        Event::Delivered { .. } => {
            ("E-mail remis au serveur de messagerie.".to_owned(), "Mail taken by the mail server.".to_owned())
        }
        Event::Downloaded { number, .. } => {
            (format!("Téléchargement n° {number} commencé."), format!("Download no. {number} started."))
        }
        Event::Resent { .. } => {
            ("E-mail remis une fois de plus.".to_owned(), "Mail taken once more.".to_owned())
        }
        Event::Reminded { .. } => (
            "Rappel envoyé : le lien expire bientôt et n’a pas servi.".to_owned(),
            "Reminder sent: the link ends soon and was not used.".to_owned(),
        ),
        Event::ReminderFailed { reason, .. } => {
            (format!("Rappel pas parti ({reason})."), format!("Reminder not sent ({reason})."))
        }
        Event::Revoked { .. } => ("Lien désactivé.".to_owned(), "Link withdrawn.".to_owned()),
        Event::Refunded { .. } => {
            ("Remboursement noté, lien désactivé.".to_owned(), "Refund recorded, link withdrawn.".to_owned())
        }
        Event::Note { resend, buyer, .. } => noted(resend.as_ref(), buyer.is_some()),
        Event::Erased { by } => (
            format!("Données personnelles effacées par {by}, pour toujours. Lien désactivé."),
            format!("Personal data erased by {by}, for good. Link withdrawn."),
        ),
        Event::Created { .. }
        | Event::Initiated { .. }
        | Event::InitFailed { .. }
        | Event::Notified { .. }
        | Event::Checked { .. }
        | Event::Paid { .. }
        | Event::Failed { .. }
        | Event::Review { .. }
        | Event::Expired {} => return None,
    };
    Some(desk.say(&fr, &en).to_owned())
}

fn noted(resend: Option<&Resend>, readdressed: bool) -> (String, String) {
    let (fr, en) = match (readdressed, resend) {
        (true, Some(_)) => (
            "Adresse corrigée : l’ancien lien ne marche plus, un autre part.",
            "Address corrected: the old link is dead, another one is on its way.",
        ),
        (true, None) => ("Adresse corrigée.", "Address corrected."),
        (false, Some(_)) => ("E-mail demandé de nouveau.", "The mail was asked for again."),
        (false, None) => ("Note.", "Note."),
    };
    (fr.to_owned(), en.to_owned())
}

/// ` (essai 2)` from the second on.
fn nth(attempt: Attempt, word: &str) -> String {
    match attempt.number() {
        1 => String::new(),
        number => format!(" ({word} {number})"),
    }
}

/// What the buyer reads of a refusal.
fn refusal(code: &str) -> (&'static str, &'static str) {
    let line = line_of(code);
    REASONS.iter().find(|(codes, ..)| *codes == line).map_or(("", ""), |(_, fr, en)| (fr, en))
}

/// Who did it, where it was a person.
fn person(event: &Event) -> Option<&Decision> {
    match event {
        Event::Paid { approved: by, .. } | Event::Failed { rejected: by, .. } => by.as_ref(),
        Event::Revoked { by, .. } | Event::Refunded { by } | Event::Note { by, .. } => Some(by),
        Event::Created { .. }
        | Event::Initiated { .. }
        | Event::InitFailed { .. }
        | Event::Notified { .. }
        | Event::Checked { .. }
        | Event::Review { .. }
        | Event::Expired {}
        | Event::MailFailed { .. }
        | Event::Delivered { .. }
        | Event::Downloaded { .. }
        | Event::Resent { .. }
        | Event::Reminded { .. }
        | Event::ReminderFailed { .. }
        | Event::Erased { .. } => None,
    }
}

/// A buyer's own wishes need no reason: what they asked for is said already.
fn signed(desk: &Desk, by: &Decision) -> String {
    match (by.by.as_str(), by.note.as_str()) {
        (BUYER, _) => desk.say("L’acheteur", "The buyer").to_owned(),
        (name, "") => name.to_owned(),
        (name, note) => format!("{name} : « {note} »"),
    }
}

fn tone(event: &Event) -> &'static str {
    match event {
        Event::Paid { .. } | Event::Delivered { .. } | Event::Resent { .. } => "good",
        Event::InitFailed { .. }
        | Event::Failed { .. }
        | Event::Review { .. }
        | Event::Expired {}
        | Event::MailFailed { .. }
        | Event::Revoked { .. }
        | Event::Refunded { .. }
        | Event::Erased { .. } => "bad",
        Event::Created { .. }
        | Event::Initiated { .. }
        | Event::Notified { .. }
        | Event::Checked { .. }
        | Event::Downloaded { .. }
        | Event::Reminded { .. }
        | Event::ReminderFailed { .. }
        | Event::Note { .. } => "",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use warp::http::header::COOKIE;
    use warp::http::{HeaderMap, HeaderValue, Method};

    use super::*;
    use crate::domain::event::Stored;
    use crate::domain::values::{OrderId, Timestamp};
    use crate::http::call::Call;

    fn desk(lang: &'static str) -> Desk {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static(lang));
        Desk::outside(&Call::of(Method::GET, headers))
    }

    /// The golden journal has every kind of event.
    fn golden() -> Vec<Line> {
        let text = include_str!("../../../tests/golden/v1/journal.jsonl");
        let event = |stored: &serde_json::Value| {
            serde_json::from_value::<Stored>(stored.clone()).map(|stored| stored.event).unwrap()
        };
        let line = |(seq, text): (usize, &str)| {
            let line: serde_json::Value = serde_json::from_str(text).unwrap();
            let events = line["events"].as_array().unwrap().iter().map(event).collect();
            Line { seq: seq as u64, at: Timestamp::from_millis(0), version: 1, events }
        };
        text.lines().enumerate().map(line).collect()
    }

    #[test]
    fn every_event_is_told_in_both_languages() {
        let lines = golden();
        let id = OrderId::new(Timestamp::from_millis(0), 7);
        let payment = Payment::evolve(None, id, &lines[0].events, lines[0].at).unwrap();
        let (french, english) =
            (of(&desk("lang=fr"), &payment, &lines), of(&desk("lang=en"), &payment, &lines));
        let kinds: BTreeSet<&str> = french.iter().map(|moment| moment.kind).collect();
        assert_eq!(kinds.len(), 16, "{kinds:?}");
        for (fr, en) in french.iter().zip(&english) {
            assert!(
                fr.words.ends_with(['.', '»']) && en.words.ends_with(['.', '”']),
                "{}: {}",
                fr.kind,
                fr.words
            );
            assert!(fr.words == "Note." || fr.words != en.words, "{}: {}", fr.kind, fr.words);
            let raw: serde_json::Value = serde_json::from_str(&fr.raw).unwrap();
            assert!(raw.is_object() && raw.get("payment_token").is_none(), "{}", fr.raw);
        }
    }

    #[test]
    fn a_story_names_codes_amounts_and_people() {
        let lines = golden();
        let id = OrderId::new(Timestamp::from_millis(0), 7);
        let payment = Payment::evolve(None, id, &lines[0].events, lines[0].at).unwrap();
        let told = of(&desk("lang=fr"), &payment, &lines);
        let check = |kind: &str, words: &str, by: &str| {
            let plain = |text: &str| text.replace(['\u{202f}', '\u{a0}'], " ");
            let found = told.iter().any(|one| one.kind == kind && plain(&one.words) == words && one.by == by);
            assert!(found, "{kind}: {words} ({by})");
        };
        check("CREATED", "Commande passée : audit-kit · standard, 15 000 FCFA.", "");
        check("PAID", "Payée (Orange Money) : montant et monnaie vérifiés, lien créé.", "");
        check("FAILED", "Paiement refusé, code 627. L’acheteur lit : « Le paiement a été annulé. »", "");
        check("REVIEW", "À décider : payé 100 FCFA au lieu de 15 000 FCFA.", "");
        check("REVOKED", "Lien désactivé.", "Koffi : « forwarded »");
        check("NOTE", "E-mail demandé de nouveau.", "admin : « lost the mail »");
        check("MAIL_FAILED", "E-mail refusé pour de bon (451 4.7.1) : à vous de voir.", "");
    }
}
