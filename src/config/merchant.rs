//! The merchant section: what buyers read of the seller.

use super::mail::Mail;
use super::reader::{Fault, Reader};
use crate::domain::calendar::Zone;
use crate::domain::merchant::Merchant;

/// Longest text of the section, in bytes: a line on a phone's page and in a mail's foot.
const LINE_BYTES_MAX: usize = 200;

/// `[merchant]`. Without a name of its own the shop is called as its mails are signed.
pub(super) fn read(reader: &Reader<'_>, mail: Option<&Mail>) -> Merchant {
    let text = |key| reader.parsed(key, line).unwrap_or_default();
    let signed = || mail.map(|mail| mail.from_name.expose().to_owned()).unwrap_or_default();
    Merchant {
        name: Some(text("merchant.name")).filter(|name| !name.is_empty()).unwrap_or_else(signed),
        address: text("merchant.address"),
        contact: text("merchant.contact"),
        identifiers: text("merchant.identifiers"),
    }
}

/// How far the merchant's clock is from UTC.
pub(super) fn zone(text: &str) -> Result<Zone, Fault> {
    text.parse().map_err(|_| {
        (
            format!("« {text} » n'est pas un décalage — écrivez +00:00 (Abidjan, Dakar) ou +01:00 (Douala, Cotonou)"),
            "not an offset — write +00:00 (Abidjan, Dakar) or +01:00 (Douala, Cotonou)".to_owned(),
        )
    })
}

fn line(text: &str) -> Result<String, Fault> {
    if text.len() > LINE_BYTES_MAX || text.chars().any(char::is_control) {
        return Err((
            format!(
                "trop long ou sur plusieurs lignes — écrivez une ligne de {LINE_BYTES_MAX} octets au plus"
            ),
            format!("too long, or several lines — write one line of at most {LINE_BYTES_MAX} bytes"),
        ));
    }
    Ok(text.to_owned())
}
