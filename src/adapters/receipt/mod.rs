//! The receipt as a PDF (ISO 32000-1), one page of A4, in French. Equal receipts make equal bytes: no clock, no chance.
//!
//! Why the standard fonts: every reader has them or their twins, they know all of French, and a receipt stays below five
//! kilobytes, which matters on 2G.

mod metrics;
mod page;
mod winansi;

use pdf_writer::{Date, Name, Pdf, Rect, Ref, TextStr};

use crate::domain::merchant::Merchant;
use crate::domain::receipt::Receipt;
use crate::domain::values::{Lang, Timestamp};
use crate::domain::{numerals, words};
use metrics::Face;
use page::{HEIGHT, INK, MUTED, Page, RED, WIDTH};

/// What the file is called where it is kept.
pub fn file_name(receipt: &Receipt) -> String {
    format!("recu-{}.pdf", receipt.number)
}

/// The receipt that `merchant` gives.
pub fn pdf(receipt: &Receipt, merchant: &Merchant) -> Vec<u8> {
    let ids = [1, 2, 3, 4, 5, 6, 7].map(Ref::new);
    let [catalog, pages, page, regular, bold, content, info] = ids;
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(pages).lang(TextStr("fr"));
    let title = format!("Reçu n° {}", receipt.number);
    let mut described = pdf.document_info(info);
    described.title(TextStr(&title)).author(TextStr(&merchant.name));
    if let Some(date) = date(receipt.paid_at) {
        described.creation_date(date);
    }
    drop(described);
    pdf.pages(pages).kids([page]).count(1);
    let mut sheet = pdf.page(page);
    sheet.media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT)).parent(pages).contents(content);
    let mut resources = sheet.resources();
    let mut fonts = resources.fonts();
    fonts.pair(page::font(Face::Regular), regular).pair(page::font(Face::Bold), bold);
    drop(fonts);
    drop(resources);
    drop(sheet);
    for (id, name) in [(regular, "Helvetica"), (bold, "Helvetica-Bold")] {
        pdf.type1_font(id).base_font(Name(name.as_bytes())).encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    pdf.stream(content, &drawn(receipt, merchant));
    pdf.finish()
}

fn date(at: Timestamp) -> Option<Date> {
    let text = at.to_string();
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<u8>().ok();
    let date = Date::new(text.get(0..4)?.parse().ok()?).month(part(5, 7)?).day(part(8, 10)?);
    Some(
        date.hour(part(11, 13)?)
            .minute(part(14, 16)?)
            .second(part(17, 19)?)
            .utc_offset_hour(0)
            .utc_offset_minute(0),
    )
}

fn drawn(receipt: &Receipt, merchant: &Merchant) -> Vec<u8> {
    let mut page = Page::new();
    seller(&mut page, merchant);
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
    page.finish()
}

/// Who sells, at the head.
fn seller(page: &mut Page, merchant: &Merchant) {
    page.paragraph(&merchant.name, (Face::Bold, 14.0), INK);
    for line in [&merchant.address, &merchant.contact, &merchant.identifiers] {
        if !line.is_empty() {
            page.down(1.0);
            page.paragraph(line, (Face::Regular, 9.5), MUTED);
        }
    }
    page.down(12.0);
    page.rule();
}

#[cfg(test)]
mod tests;
