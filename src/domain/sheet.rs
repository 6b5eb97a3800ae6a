//! Orders as rows, for accounts and other programs: CSV for a spreadsheet, the same members for JSON Lines.

use serde::Serialize;

use super::calendar::Zone;
use super::payment::{Mail, Payment, Status};
use super::values::{Currency, Lang, OrderId, Timestamp, TransactionId};
use super::words;

/// What a CSV file begins with: without it Excel takes UTF-8 for its own code page.
pub const BOM: &str = "\u{feff}";
/// Why a semicolon: Excel takes the list separator of its system's language, which in French is this one, and
/// LibreOffice tries it unasked. A first line `sep=;` would spare an English Excel one question, but Excel then no
/// longer reads the mark above, and every accent breaks.
const SEPARATOR: char = ';';
const LINE_END: &str = "\r\n";
/// Digits that a spreadsheet still shows as they are; of longer numbers it keeps fifteen and shows an exponent.
const DIGITS_PLAIN_MAX: usize = 11;

/// One order. The names are those of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The order.
    pub order_id: OrderId,
    /// What CinetPay calls `transaction_id`: of the attempt that was paid, else of the newest one.
    pub transaction_id: String,
    /// Its status.
    pub status: &'static str,
    /// The product's slug.
    pub product: String,
    /// The tier's id.
    pub tier: String,
    /// Whole units; cents for USD.
    pub amount: u64,
    /// ISO 4217.
    pub currency: Currency,
    /// When it was taken.
    pub created_at: Timestamp,
    /// The same on the merchant's clock.
    pub created_local: String,
    /// When the payment was verified.
    pub paid_at: Option<Timestamp>,
    /// The same on the merchant's clock.
    pub paid_local: Option<String>,
    /// The operator's transaction number.
    pub provider_tx_id: Option<String>,
    /// CinetPay's code: OM, MOMO, FLOOZ, CARD …
    pub payment_method: Option<String>,
    /// What people call it.
    pub operator: Option<String>,
    /// Where the link went.
    pub email: String,
    /// As typed.
    pub name: Option<String>,
    /// As typed.
    pub phone: Option<String>,
    /// `none`, `owed`, `sent` or `stalled`.
    pub delivery: &'static str,
    /// When the mail server took the first mail.
    pub delivered_at: Option<Timestamp>,
    /// Downloads begun with the newest link.
    pub downloads: u32,
}

/// Headings in French and in English, in the order of [`Row::fields`].
const HEADINGS: [(&str, &str); 20] = [
    ("commande", "order"),
    ("transaction", "transaction"),
    ("statut", "status"),
    ("produit", "product"),
    ("formule", "tier"),
    ("montant", "amount"),
    ("devise", "currency"),
    ("créée (UTC)", "created (UTC)"),
    ("créée", "created"),
    ("payée (UTC)", "paid (UTC)"),
    ("payée", "paid"),
    ("n° opérateur", "operator's number"),
    ("moyen", "method"),
    ("opérateur", "operator"),
    ("e-mail", "e-mail"),
    ("nom", "name"),
    ("téléphone", "telephone"),
    ("envoi", "delivery"),
    ("livrée (UTC)", "delivered (UTC)"),
    ("téléchargements", "downloads"),
];

/// A cell: what we write ourselves stands as it is, what others wrote is made harmless.
enum Cell {
    /// A number, a date, a word of ours.
    Plain(String),
    /// A text from elsewhere.
    Foreign(String),
}

impl Row {
    /// The order as it stands.
    pub fn of(payment: &Payment, zone: Zone) -> Self {
        let sale = payment.sale();
        let (attempt, number, method) = match &payment.status {
            Status::Paid(sale) | Status::Refunded(sale) => {
                (sale.attempt, sale.provider_tx_id.clone(), sale.payment_method.clone())
            }
            Status::Review { attempt, provider_tx_id, payment_method, .. } => {
                (*attempt, provider_tx_id.clone(), payment_method.clone())
            }
            Status::Created(_) | Status::Pending { .. } | Status::Failed { .. } | Status::Expired { .. } => {
                (payment.attempt, None, None)
            }
        };
        let text = |text: &str| text.to_owned();
        Self {
            order_id: payment.id,
            transaction_id: TransactionId { order: payment.id, attempt }.to_string(),
            status: payment.status_name(),
            product: payment.product.clone(),
            tier: payment.tier.clone(),
            amount: payment.price.amount(),
            currency: payment.price.currency(),
            created_at: payment.created_at,
            created_local: zone.clock(payment.created_at),
            paid_at: sale.map(|sale| sale.paid_at),
            paid_local: sale.map(|sale| zone.clock(sale.paid_at)),
            provider_tx_id: number,
            operator: method.as_deref().map(words::operator).map(text),
            payment_method: method,
            email: text(payment.buyer.email.expose()),
            name: payment.buyer.name.as_ref().map(|name| text(name.expose())),
            phone: payment.buyer.phone.as_ref().map(|phone| text(phone.expose())),
            delivery: sale.map_or("none", |sale| match sale.mail {
                Mail::Owed { .. } => "owed",
                Mail::Sent { .. } => "sent",
                Mail::Stalled { .. } => "stalled",
            }),
            delivered_at: sale.and_then(|sale| sale.delivered_at),
            downloads: sale.map_or(0, |sale| sale.link.downloads),
        }
    }

    fn fields(&self) -> [Cell; HEADINGS.len()] {
        let plain = |text: &dyn ToString| Cell::Plain(text.to_string());
        let maybe = |text: Option<String>| Cell::Plain(text.unwrap_or_default());
        let foreign = |text: &Option<String>| Cell::Foreign(text.clone().unwrap_or_default());
        [
            plain(&self.order_id),
            plain(&self.transaction_id),
            plain(&self.status),
            Cell::Foreign(self.product.clone()),
            Cell::Foreign(self.tier.clone()),
            plain(&self.amount),
            plain(&self.currency),
            plain(&self.created_at),
            plain(&self.created_local),
            maybe(self.paid_at.map(|at| at.to_string())),
            maybe(self.paid_local.clone()),
            foreign(&self.provider_tx_id),
            foreign(&self.payment_method),
            foreign(&self.operator),
            Cell::Foreign(self.email.clone()),
            foreign(&self.name),
            foreign(&self.phone),
            plain(&self.delivery),
            maybe(self.delivered_at.map(|at| at.to_string())),
            plain(&self.downloads),
        ]
    }

    /// Appends the order's line of CSV.
    pub fn write_csv(&self, out: &mut String) {
        let cells = self.fields().into_iter().map(|cell| match cell {
            Cell::Plain(text) => text,
            Cell::Foreign(text) => harmless(text),
        });
        write_line(out, cells);
    }
}

/// The first line of a CSV file, its byte order mark included. The clock of the local columns is named in them.
pub fn write_headings(out: &mut String, lang: Lang, zone: Zone) {
    out.push_str(BOM);
    let cells = HEADINGS.iter().map(|(fr, en)| {
        let heading = match lang {
            Lang::Fr => *fr,
            Lang::En => *en,
        };
        match *fr {
            "créée" | "payée" => format!("{heading} (local, {zone})"),
            _ => heading.to_owned(),
        }
    });
    write_line(out, cells);
}

/// A text that a spreadsheet would run as a formula, or take for a number and round, gets an apostrophe in front.
/// (OWASP, CSV Injection. Whoever needs the text itself takes JSON Lines.)
fn harmless(text: String) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let rounded = digits && (text.len() > DIGITS_PLAIN_MAX || (text.len() > 1 && text.starts_with('0')));
    if formula || rounded { format!("'{text}") } else { text }
}

fn write_line(out: &mut String, cells: impl Iterator<Item = String>) {
    for (place, cell) in cells.enumerate() {
        if place > 0 {
            out.push(SEPARATOR);
        }
        // Comma and tab too: LibreOffice takes all three for separators unless told otherwise.
        if cell.contains([SEPARATOR, ',', '\t', '"', '\r', '\n']) {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(&cell);
        }
    }
    out.push_str(LINE_END);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_run_nothing_and_keep_their_digits() {
        let check = |text: &str, cell: &str| assert_eq!(harmless(text.to_owned()), cell, "{text:?}");
        check("", "");
        check("Awa Koné", "Awa Koné");
        check("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")");
        check("+2250707070707", "'+2250707070707");
        check("-1+1", "'-1+1");
        check("@SUM(A1)", "'@SUM(A1)");
        check("\tx", "'\tx");
        check("\rx", "'\rx");
        check("0707070707", "'0707070707");
        check("123456789012345678", "'123456789012345678");
        check("12345678901", "12345678901");
        check("0", "0");
        check("MP220915.2257.A76307", "MP220915.2257.A76307");
    }

    #[test]
    fn cells_that_hold_a_separator_are_quoted() {
        let check = |cells: &[&str], line: &str| {
            let mut out = String::new();
            write_line(&mut out, cells.iter().map(|cell| (*cell).to_owned()));
            assert_eq!(out, line);
        };
        check(&["a", "", "b c"], "a;;b c\r\n");
        check(&["a;b", "c,d", "e\tf"], "\"a;b\";\"c,d\";\"e\tf\"\r\n");
        check(&["say \"x\"", "two\nlines"], "\"say \"\"x\"\"\";\"two\nlines\"\r\n");
    }
}
