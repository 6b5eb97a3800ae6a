//! The receipt: one page, in French.

use super::paper::{self, About, Face, INK, MUTED, Paper, RED};
use crate::domain::merchant::Merchant;
use crate::domain::receipt::Receipt;
use crate::domain::values::Lang;
use crate::domain::{numerals, words};

/// Lines of one text; a longer one is cut, so that everything stays on one page.
const LINES_MAX: usize = 3;

/// What the file is called where it is kept.
pub fn file_name(receipt: &Receipt) -> String {
    format!("recu-{}.pdf", receipt.number)
}

/// The receipt that `merchant` gives.
pub fn pdf(receipt: &Receipt, merchant: &Merchant) -> Vec<u8> {
    let title = format!("Reçu n° {}", receipt.number);
    let about = About { title: &title, author: &merchant.name, lang: Lang::Fr, made_at: receipt.paid_at };
    paper::pdf(drawn(receipt, merchant), &about, None)
}

fn drawn(receipt: &Receipt, merchant: &Merchant) -> Paper {
    let mut page = Paper::cutting(LINES_MAX);
    paper::seller(&mut page, merchant);
    page.down(26.0);
    page.paragraph(&format!("Reçu n° {}", receipt.number), (Face::Bold, 22.0), INK);
    page.down(2.0);
    page.paragraph(
        &format!("Payé le {}", words::moment(receipt.paid_at, Lang::Fr)),
        (Face::Regular, 11.0),
        MUTED,
    );
    if receipt.refunded {
        page.down(8.0);
        page.paragraph("Cette commande a été remboursée.", (Face::Bold, 12.0), RED);
    }
    page.down(18.0);
    let buyer = receipt.buyer.name.as_ref().map(|name| name.expose()).unwrap_or_default();
    let order = receipt.order.to_string();
    // Our own number stands for one that the operator did not give.
    let own = receipt.transaction.starts_with(&order);
    for (label, value) in [
        ("Client", buyer),
        ("E-mail", receipt.buyer.email.expose()),
        ("Produit", &receipt.product),
        ("Formule", &receipt.tier),
        ("Moyen de paiement", words::operator(&receipt.method)),
        (if own { "Transaction CinetPay" } else { "Transaction de l’opérateur" }, &receipt.transaction),
        ("Commande", &order),
    ] {
        if !value.is_empty() {
            page.row(label, value);
        }
    }
    page.down(16.0);
    page.total("Montant payé", &words::amount(receipt.price, Lang::Fr));
    page.down(14.0);
    let spelled = numerals::amount_in_french(receipt.price);
    let closing = format!("Arrêté le présent reçu à la somme suivante\u{a0}: {spelled}.");
    page.paragraph(&closing, (Face::Regular, 11.0), INK);
    page.foot("Les reçus d’une année se suivent sans interruption, dans l’ordre des paiements.");
    page
}

#[cfg(test)]
mod tests;
