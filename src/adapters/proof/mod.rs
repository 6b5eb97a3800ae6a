//! The proof of sale as pages for a reader, with the signed file attached: the PDF alone can be verified.

use super::paper::{self, About, Attached, Face, INK, MUTED, Paper, RED};
use crate::domain::evidence::Entry;
use crate::domain::payment::Status;
use crate::domain::proof::{Material, signature};
use crate::domain::sheet::Row;
use crate::domain::values::{Lang, OrderId};
use crate::domain::words;

/// Type sizes, in points: a heading, running text, numbers that are compared.
const HEADING: f32 = 13.0;
const TEXT: f32 = 9.5;
const DIGITS: f32 = 8.0;
/// A journal line's head, its first words and its hash are not parted, in points.
const TOGETHER: f32 = 44.0;
/// What stands between two paragraphs, in points.
const GAP: f32 = 7.0;

/// A proof and what is printed of it.
pub struct Printed<'a> {
    /// What was proved.
    pub material: &'a Material<'a>,
    /// What each of its journal lines says in words, in the same order.
    pub told: &'a [Vec<String>],
    /// The signed file.
    pub signed: &'a str,
    /// What people compare the key by.
    pub fingerprint: &'a str,
    /// The language of the pages.
    pub lang: Lang,
}

/// What the file is called where it is kept; `ending` is `json` for the signed file alone.
pub fn file_name(order: OrderId, ending: &str) -> String {
    format!("preuve-{order}.{ending}")
}

/// The pages, the signed file attached.
pub fn pdf(printed: &Printed<'_>) -> Vec<u8> {
    let (order, by) = (printed.material.payment.id, printed.material.merchant);
    let title = format!("{} {order}", printed.say("Preuve de vente", "Proof of sale"));
    let about = About { title: &title, author: &by.name, lang: printed.lang, made_at: printed.material.now };
    let name = file_name(order, "json");
    let file = Attached { name: &name, media: "application/json", bytes: printed.signed.as_bytes() };
    paper::pdf(printed.drawn(&title), &about, Some(&file))
}

impl Printed<'_> {
    fn say<'a>(&self, fr: &'a str, en: &'a str) -> &'a str {
        match self.lang {
            Lang::Fr => fr,
            Lang::En => en,
        }
    }

    fn drawn(&self, title: &str) -> Paper {
        let mut paper = Paper::flowing();
        paper.foot(title);
        paper::seller(&mut paper, self.material.merchant);
        paper.down(22.0);
        paper.paragraph(self.say("Preuve de vente", "Proof of sale"), (Face::Bold, 22.0), INK);
        paper.down(2.0);
        let made = self.material.zone.clock(self.material.now);
        let made = format!("{} {made} ({})", self.say("Établie le", "Made on"), self.material.zone);
        paper.paragraph(&made, (Face::Regular, 11.0), MUTED);
        if let Status::Refunded(_) = self.material.payment.status {
            paper.down(8.0);
            let refunded = self.say("Cette commande a été remboursée.", "This order was refunded.");
            paper.paragraph(refunded, (Face::Bold, 12.0), RED);
        }
        paper.down(12.0);
        self.facts(&mut paper);
        self.journal(&mut paper);
        self.verification(&mut paper);
        paper
    }

    fn facts(&self, paper: &mut Paper) {
        let (material, row) = (self.material, Row::of(self.material.payment, self.material.zone));
        let local = |clock: &str| format!("{clock} ({})", material.zone);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        for (fr, en, value) in [
            ("Commande", "Order", row.order_id.to_string()),
            ("Transaction CinetPay", "CinetPay transaction", row.transaction_id.clone()),
            ("Site CinetPay", "CinetPay site", material.site_id.to_owned()),
            ("Produit", "Product", format!("{} · {}", row.product, row.tier)),
            ("Acheteur", "Buyer", text(&row.name)),
            ("E-mail", "E-mail", row.email.clone()),
            ("Téléphone", "Telephone", text(&row.phone)),
            ("Passée le", "Taken on", local(&row.created_local)),
            ("Payée le", "Paid on", local(&text(&row.paid_local))),
            ("Opérateur", "Operator", text(&row.operator)),
            ("Numéro de l’opérateur", "Operator’s number", text(&row.provider_tx_id)),
        ] {
            if !value.is_empty() {
                paper.row(self.say(fr, en), &value);
            }
        }
        paper.down(14.0);
        let amount = words::amount(material.payment.price, self.lang);
        paper.total(self.say("Montant payé", "Amount paid"), &amount);
    }

    fn journal(&self, paper: &mut Paper) {
        let entries = self.material.entries;
        let heading = match self.lang {
            Lang::Fr => format!("Journal de la commande\u{a0}: {} lignes", entries.len()),
            Lang::En => format!("The order’s journal: {} lines", entries.len()),
        };
        self.heading(paper, &heading);
        for (entry, told) in entries.iter().zip(self.told) {
            self.entry(paper, entry, told);
        }
    }

    fn entry(&self, paper: &mut Paper, entry: &Entry, told: &[String]) {
        paper.down(GAP);
        paper.room(TOGETHER);
        let head = format!("{} {} · {} · {}", self.say("Ligne", "Line"), entry.seq, entry.at, entry.kinds());
        paper.paragraph(&head, (Face::Bold, TEXT), INK);
        for words in told {
            paper.paragraph(words, (Face::Regular, TEXT), INK);
        }
        paper.paragraph(&entry.hash, (Face::Mono, DIGITS), INK);
    }

    /// How a reader who trusts nobody goes on from here.
    fn verification(&self, paper: &mut Paper) {
        let order = self.material.payment.id;
        let (file, own) = (file_name(order, "json"), file_name(order, "pdf"));
        self.heading(paper, self.say("Vérifier cette preuve", "To verify this proof"));
        let (fr, en) = (
            format!(
                "Le fichier signé {file} est joint à ce PDF (le trombone de votre lecteur). Lui seul fait foi\u{a0}: ces pages en sont une copie de lecture. Le script verify_proof.py, livré avec AuditShield, vérifie ce PDF ou le fichier joint, avec Python 3 seul\u{a0}:"
            ),
            format!(
                "The signed file {file} is attached to this PDF (your reader’s paper clip). It alone counts: these pages are a copy for reading. The script verify_proof.py, which comes with AuditShield, verifies this PDF or the attached file, with Python 3 alone:"
            ),
        );
        self.text(paper, self.say(&fr, &en));
        self.digits(paper, &format!("python3 verify_proof.py {own} --key boutique.pem"));
        let fr = "Demandez la clé publique (boutique.pem) au vendeur par un autre chemin que ce document. Elle doit être celle-ci (Ed25519, DER en base64), d’empreinte\u{a0}:";
        let en = "Ask the seller for the public key (boutique.pem) on another way than this document. It must be this one (Ed25519, DER in base64), with the fingerprint:";
        self.text(paper, self.say(fr, en));
        self.digits(paper, self.fingerprint);
        self.digits(paper, self.material.public_key);
        let (fr, en) =
            ("Signature des octets du fichier joint\u{a0}:", "Signature of the attached file’s bytes:");
        self.text(paper, self.say(fr, en));
        self.digits(paper, signature(self.signed));
        let fr = "L’empreinte de chaque ligne du journal couvre celle de la ligne précédente\u{a0}: aucune ne change sans que toutes les suivantes changent. Ce document contient les données de l’acheteur.";
        let en = "The hash of each journal line covers the one before it: none changes unless all that follow change. This document holds the buyer’s data.";
        self.text(paper, self.say(fr, en));
    }

    fn heading(&self, paper: &mut Paper, text: &str) {
        paper.down(20.0);
        paper.room(TOGETHER + HEADING);
        paper.paragraph(text, (Face::Bold, HEADING), INK);
    }

    fn text(&self, paper: &mut Paper, text: &str) {
        paper.down(GAP);
        paper.paragraph(text, (Face::Regular, TEXT), INK);
    }

    fn digits(&self, paper: &mut Paper, text: &str) {
        paper.down(3.0);
        paper.paragraph(text, (Face::Mono, DIGITS), INK);
    }
}

#[cfg(test)]
mod tests;
