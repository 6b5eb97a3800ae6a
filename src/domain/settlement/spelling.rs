//! How back offices spell amounts, currencies, dates and what became of a payment.

use crate::domain::calendar::Zone;
use crate::domain::values::{Currency, Timestamp};

/// What became of a payment, by their words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Paid.
    Accepted,
    /// Refused, cancelled, failed.
    Refused,
    /// Not decided.
    Pending,
    /// A word that we do not know.
    Other(String),
}

/// Letters and digits alone, in lower case and without accents: `N° de transaction` is `ndetransaction`.
pub(super) fn folded(text: &str) -> String {
    let plain = |one: char| match one {
        'à' | 'â' | 'ä' => 'a',
        'ç' => 'c',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'î' | 'ï' => 'i',
        'ô' | 'ö' => 'o',
        'ù' | 'û' | 'ü' => 'u',
        one => one,
    };
    text.to_lowercase().chars().map(plain).filter(char::is_ascii_alphanumeric).collect()
}

pub(super) fn currency(text: &str) -> Option<Currency> {
    match folded(text).as_str() {
        "fcfa" | "cfa" | "francscfa" | "francscfabceao" => Some(Currency::Xof),
        other => other.parse().ok(),
    }
}

/// `15 000`, `15.000`, `15,000.00`, `15000,00 FCFA`, `12.50`: in hundredths. None for anything else.
pub(super) fn hundredths(text: &str) -> Option<u64> {
    let unit = |one: char| one.is_alphabetic() || one.is_whitespace() || one == '$' || one == '\'';
    let bare: String = text.trim_matches(unit).chars().filter(|one| !one.is_whitespace()).collect();
    let marks: Vec<(usize, char)> = bare.char_indices().filter(|(_, one)| matches!(one, '.' | ',')).collect();
    let decimal = marks.last().filter(|(at, mark)| {
        let (before, after) = (*at, bare.len() - at - 1);
        let alone = marks.len() == 1;
        let first_of_its_kind = marks.iter().filter(|(_, other)| other == mark).count() == 1;
        // One mark before three digits groups thousands (15.000), unless more than three stand before it (15000.000).
        first_of_its_kind && (!alone || after != 3 || before > 3)
    });
    let (whole, part) = match decimal {
        Some((at, _)) => (&bare[..*at], &bare[at + 1..]),
        None => (bare.as_str(), ""),
    };
    let mut groups = whole.split(['.', ',']);
    let first = groups.next()?;
    let mut digits = first.to_owned();
    let mut grouped = false;
    for group in groups {
        if group.len() != 3 {
            return None;
        }
        grouped = true;
        digits.push_str(group);
    }
    let fits = |text: &str, most: usize| text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit());
    if first.is_empty() || !fits(&digits, 12) || !fits(part, 6) || (grouped && first.len() > 3) {
        return None;
    }
    let (kept, rest) = part.split_at(part.len().min(2));
    if rest.bytes().any(|byte| byte != b'0') {
        return None;
    }
    format!("{digits}{kept:0<2}").parse().ok()
}

pub(super) fn said(text: &str) -> Said {
    const ACCEPTED: &str = "accepted acceptee accepte succes success successful succeeded reussi reussie valide validee \
        validated paid paye payee completed complete effectue effectuee 00 ok approved";
    const REFUSED: &str = "refused refuse refusee rejected rejete rejetee failed failure echec echoue echouee cancelled \
        canceled annule annulee transactioncancel paymentfailed expired expire expiree declined 600 602 627";
    const PENDING: &str = "pending enattente attente encours waiting waitingforcustomer waitingcustomerpayment \
        waitingcustomertovalidate created initiated initie initiee processing 662 623";
    let word = folded(text);
    let is_among = |words: &str| words.split_whitespace().any(|one| one == word);
    match () {
        () if is_among(ACCEPTED) => Said::Accepted,
        () if is_among(REFUSED) => Said::Refused,
        () if is_among(PENDING) => Said::Pending,
        () => Said::Other(text.trim().to_owned()),
    }
}

/// `2026-11-25 14:03:22`, `25/11/2026 14:03`, `25-11-2026`, or RFC 3339 with its zone.
pub(super) fn moment(text: &str, zone: Zone) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    const FORMS: [&str; 12] = [
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%d %H:%M",
        "%d/%m/%Y %H:%M:%S",
        "%d/%m/%Y %H:%M",
        "%d-%m-%Y %H:%M:%S",
        "%d-%m-%Y %H:%M",
        "%Y/%m/%d %H:%M:%S",
        "%d/%m/%Y à %H:%M",
        "%d/%m/%Y, %H:%M:%S",
        "%d.%m.%Y %H:%M:%S",
        "%Y/%m/%d %H:%M",
    ];
    const DAYS: [&str; 4] = ["%Y-%m-%d", "%d/%m/%Y", "%d-%m-%Y", "%Y/%m/%d"];
    use jiff::civil::{Date, DateTime};
    let timed = FORMS.iter().find_map(|form| DateTime::strptime(form, text).ok());
    let clock = timed.or_else(|| {
        let day = DAYS.iter().find_map(|form| Date::strptime(form, text).ok())?;
        Some(day.at(0, 0, 0, 0))
    })?;
    zone.moment(clock)
}

#[cfg(test)]
mod tests;
