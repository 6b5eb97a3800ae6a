//! « Client débité mais échec »: the whole letter to CinetPay's merchant support, in French as they are. Facts alone,
//! each with its time, and nothing secret: no key, no payment page's address, no buyer's name or e-mail address.

use std::fmt::Write;

use super::calendar::Zone;
use super::event::Event;
use super::evidence::Entry;
use super::merchant::Merchant;
use super::payment::{Payment, Status};
use super::values::{Attempt, ERASED, Lang, Phone, Timestamp, TransactionId};
use super::words;

/// Where the letter goes (CinetPay's documentation).
pub const SUPPORT: &str = "support.marchands@cinetpay.com";
/// Digits of a telephone number that stay legible: its beginning names country and operator.
const DIGITS_SHOWN: (usize, usize) = (4, 2);
/// Shortest number of which the beginning stays legible.
const DIGITS_LONG: usize = 9;

/// What the letter is about.
pub struct Case<'a> {
    /// The order.
    pub payment: &'a Payment,
    /// Its journal lines, oldest first.
    pub entries: &'a [Entry],
    /// The merchant's site id at CinetPay.
    pub site_id: &'a str,
    /// Who writes.
    pub merchant: &'a Merchant,
    /// The merchant's clock.
    pub zone: Zone,
    /// When it is written.
    pub now: Timestamp,
}

/// The letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dossier {
    /// Its subject, one line.
    pub subject: String,
    /// Its text.
    pub body: String,
}

/// The parts of the letter that tell what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Attempts,
    Notices,
    Checks,
    Decisions,
}

impl Part {
    /// In their order, with their headings.
    const ALL: [(Self, &str); 4] = [
        (Self::Attempts, "Tentatives (pages de paiement demandées à /v2/payment)"),
        (Self::Notices, "Notifications reçues (signature x-token vérifiée)"),
        (Self::Checks, "Vérifications faites (/v2/payment/check)"),
        (Self::Decisions, "Décisions de notre système"),
    ];
}

impl Dossier {
    /// Both as one text: the subject's line, an empty one, the letter.
    pub fn text(&self) -> String {
        format!("Objet : {}\n\n{}", self.subject, self.body)
    }
}

impl Case<'_> {
    /// Writes the letter.
    pub fn write(&self) -> Dossier {
        let newest = self.transaction(self.concerned());
        let subject =
            format!("Client débité, paiement non abouti : transaction {newest}, site {}", self.site_id);
        let mut body = self.request();
        self.order(&mut body);
        for (part, heading) in Part::ALL {
            section(&mut body, heading, self.lines(part));
        }
        let hashes = self
            .entries
            .iter()
            .map(|entry| format!("ligne {}, {}, {} :\n  {}", entry.seq, entry.at, entry.kinds(), entry.hash));
        section(&mut body, "Empreintes de notre journal (SHA-256, chaînées, vérifiables)", hashes.collect());
        let by = self.merchant;
        let signed = [&by.name, &by.address, &by.contact, &by.identifiers];
        let signed: Vec<&str> =
            signed.into_iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
        let _ = write!(
            body,
            "\nDossier établi le {}. {}\n\nCordialement,\n{}\n",
            self.time(self.now),
            self.clock(),
            signed.join("\n")
        );
        Dossier { subject: firm(&subject), body: firm(&body) }
    }

    /// What is said, and what is asked.
    fn request(&self) -> String {
        let standing = match &self.payment.status {
            Status::Created(_) => "Aucune page de paiement n’a été confirmée chez nous pour cette commande.".to_owned(),
            Status::Pending { .. } => "Votre service nous répond encore que le paiement est en attente.".to_owned(),
            Status::Failed { code, .. } => format!("Votre service nous a répondu que le paiement est refusé (code {code})."),
            Status::Expired { .. } => "Aucun verdict ne nous est parvenu dans le délai, et la commande a expiré.".to_owned(),
            Status::Review { .. } => {
                "Votre service annonce un paiement, mais d’un montant ou d’une devise qui ne sont pas ceux de la commande."
                    .to_owned()
            }
            Status::Paid(_) => {
                "Une tentative de cette commande est acceptée chez nous ; le client signale un débit de plus.".to_owned()
            }
            Status::Refunded(_) => {
                "Cette commande a été acceptée, puis notée comme remboursée ; le client signale un débit de plus.".to_owned()
            }
        };
        format!(
            "Bonjour,\n\nUn client nous dit avoir été débité pour la commande ci-dessous. {standing}\n\n\
             Merci de vérifier auprès de l’opérateur et de nous indiquer :\n\
             1. si le client a été débité, de quel montant, à quelle date et sous quel numéro de l’opérateur ;\n\
             2. si la transaction est en fait acceptée : nous la relisons par /v2/payment/check dès que son statut change ;\n\
             3. sinon, si et quand le client est remboursé.\n"
        )
    }

    fn order(&self, out: &mut String) {
        let payment = self.payment;
        let tried: Vec<String> = payment
            .attempt
            .newest_first()
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .map(|one| self.transaction(one))
            .collect();
        let money = format!(
            "{} ({} {})",
            words::amount(payment.price, Lang::Fr),
            payment.price.decimal(),
            payment.price.currency()
        );
        let unknown = if payment.buyer.is_erased() { ERASED } else { "non communiqué à notre boutique" };
        let phone = payment.buyer.phone.as_ref().map_or_else(|| unknown.to_owned(), masked);
        let sale = payment.sale();
        let (method, number) = match &payment.status {
            Status::Review { payment_method, provider_tx_id, .. } => {
                (payment_method.as_deref(), provider_tx_id.as_deref())
            }
            Status::Created(_)
            | Status::Pending { .. }
            | Status::Paid(_)
            | Status::Failed { .. }
            | Status::Expired { .. }
            | Status::Refunded(_) => (
                sale.and_then(|sale| sale.payment_method.as_deref()),
                sale.and_then(|sale| sale.provider_tx_id.as_deref()),
            ),
        };
        let method = method.map_or("non communiqué par votre service".to_owned(), |code| {
            match words::operator(code) {
                name if name == code => code.to_owned(),
                name => format!("{name} ({code})"),
            }
        });
        out.push_str("\nCommande\n");
        for (label, text) in [
            ("Numéro de commande (le nôtre)", payment.id.to_string()),
            ("Identifiant du site (cpm_site_id)", self.site_id.to_owned()),
            ("Transactions (cpm_trans_id)", tried.join(", ")),
            ("Montant attendu", money),
            ("Commande passée", self.time(payment.created_at)),
            ("Statut chez nous", payment.status_name().to_owned()),
            (
                "Payée (vérifiée par nous)",
                sale.map_or_else(|| "non".to_owned(), |sale| self.time(sale.paid_at)),
            ),
            ("Opérateur", method),
            ("Numéro de l’opérateur", number.unwrap_or("non communiqué par votre service").to_owned()),
            ("Téléphone du client (masqué)", phone),
        ] {
            let _ = writeln!(out, "- {label} : {text}");
        }
        if payment.buyer.phone.is_some() {
            out.push_str("Le numéro complet vous est donné sur demande.\n");
        }
    }

    /// The attempt that the letter is about: the one under review, else the newest.
    fn concerned(&self) -> Attempt {
        match &self.payment.status {
            Status::Review { attempt, .. } => *attempt,
            Status::Created(_)
            | Status::Pending { .. }
            | Status::Paid(_)
            | Status::Failed { .. }
            | Status::Expired { .. }
            | Status::Refunded(_) => self.payment.attempt,
        }
    }

    /// What the events say that belongs to this part of the letter.
    fn lines(&self, part: Part) -> Vec<String> {
        let told = self.entries.iter().flat_map(|entry| {
            let at = self.time(entry.at);
            let told = entry.events.iter().filter_map(|event| self.tell(event));
            told.filter(|(of, _)| *of == part).map(|(_, words)| format!("{at} : {words}")).collect::<Vec<_>>()
        });
        told.collect()
    }

    /// An event in words, and the part of the letter that it belongs to; CinetPay has no part in the others.
    fn tell(&self, event: &Event) -> Option<(Part, String)> {
        Some(match event {
            Event::Initiated { attempt, .. } => {
                (Part::Attempts, format!("{} ouverte", self.transaction(*attempt)))
            }
            Event::InitFailed { attempt, reason, ambiguous, .. } => {
                let unsure = if *ambiguous { ", réponse incertaine" } else { "" };
                let reason = one_line(reason);
                let words =
                    format!("{} non ouverte (réponse : {reason}{unsure})", self.transaction(*attempt));
                (Part::Attempts, words)
            }
            Event::Notified { attempt, digest } => {
                (Part::Notices, format!("{}, empreinte {digest}", self.transaction(*attempt)))
            }
            Event::Checked { attempt, verdict, code, .. } => {
                let (said, code) = (answered(verdict), one_line(code));
                (Part::Checks, format!("{}, réponse {said}, code {code}", self.transaction(*attempt)))
            }
            Event::Paid { attempt, approved, .. } => {
                let by = if approved.is_some() { ", approuvée par une personne" } else { "" };
                (Part::Decisions, format!("{} payée{by}", self.transaction(*attempt)))
            }
            Event::Failed { attempt, code, .. } => {
                let code = one_line(code);
                (Part::Decisions, format!("{} refusée, code {code}", self.transaction(*attempt)))
            }
            Event::Review { attempt, claimed, .. } => {
                let amount = claimed.amount.map_or_else(|| "absent".to_owned(), |units| units.to_string());
                let currency = claimed.currency.map_or("absente", |currency| currency.code());
                let said = format!("montant annoncé {amount}, devise {currency}");
                (Part::Decisions, format!("{} à examiner, {said}", self.transaction(*attempt)))
            }
            Event::Expired {} => (Part::Decisions, "commande expirée sans verdict".to_owned()),
            Event::Refunded { .. } => (Part::Decisions, "remboursement noté".to_owned()),
            Event::Created { .. }
            | Event::MailFailed { .. }
            | Event::Delivered { .. }
            | Event::Downloaded { .. }
            | Event::Resent { .. }
            | Event::Reminded { .. }
            | Event::ReminderFailed { .. }
            | Event::Revoked { .. }
            | Event::Note { .. }
            | Event::Erased { .. } => return None,
        })
    }

    fn transaction(&self, attempt: Attempt) -> String {
        TransactionId { order: self.payment.id, attempt }.to_string()
    }

    /// In UTC, and on the merchant's clock where it shows something else.
    fn time(&self, at: Timestamp) -> String {
        let utc = Zone::UTC.clock(at);
        match self.zone {
            Zone::UTC => format!("{utc} UTC"),
            zone => format!("{utc} UTC ({} heure locale)", zone.clock(at)),
        }
    }

    /// Which clocks these are.
    fn clock(&self) -> String {
        match self.zone {
            Zone::UTC => "Les heures sont en UTC, qui est aussi notre heure locale.".to_owned(),
            zone => format!("Les heures sont en UTC ; notre heure locale est {zone}."),
        }
    }
}

/// A check's verdict, as CinetPay's support would say it.
fn answered(verdict: &str) -> &str {
    match verdict {
        "accepted" => "acceptée",
        "mismatch" => "acceptée, mais montant ou devise différents",
        "refused" => "refusée",
        "pending" => "en attente",
        "unknown" => "sans verdict",
        "overtaken" => "dépassée par une notification plus récente",
        other => other,
    }
}

fn section(out: &mut String, heading: &str, lines: Vec<String>) {
    let _ = write!(out, "\n{heading}\n");
    if lines.is_empty() {
        out.push_str("aucune\n");
    }
    for line in lines {
        let _ = writeln!(out, "- {line}");
    }
}

/// No line breaks before a French colon or semicolon.
fn firm(text: &str) -> String {
    text.replace(" :", "\u{a0}:").replace(" ;", "\u{a0};")
}

/// A text of another program must not begin a line of ours.
fn one_line(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

/// `0707070707` is `0707••••07`: enough to find the debit by, not enough to call.
fn masked(phone: &Phone) -> String {
    let text = phone.expose();
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let (first, last) = DIGITS_SHOWN;
    let first = if digits >= DIGITS_LONG { first } else { 0 };
    let mut place = 0;
    let hidden = |one: char| {
        if !one.is_ascii_digit() {
            return one;
        }
        place += 1;
        if place <= first || place > digits - last { one } else { '•' }
    };
    text.chars().map(hidden).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telephone_numbers_are_masked() {
        let check = |text: &str, shown: &str| assert_eq!(masked(&Phone::parse(text).unwrap()), shown);
        check("0707070707", "0707••••07");
        check("+2250707080907", "+2250•••••••07");
        check("123456", "••••56");
    }
}
