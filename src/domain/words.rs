//! Amounts, dates and counts as a buyer reads them, in French and in English.

use super::calendar::{Day, Zone};
use super::values::{Currency, Lang, Money, Timestamp};

/// A narrow space that no line breaks at: between groups of digits, before the currency.
const NARROW: char = '\u{202f}';
/// An ordinary space that no line breaks at.
const FIRM: char = '\u{a0}';
const MONTHS_FR: [&str; 12] = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
];
const MONTHS_EN: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// `15 000 FCFA`, `12,50 $`; in English `15,000 FCFA`, `$12.50`.
pub fn amount(money: Money, lang: Lang) -> String {
    sum(money.amount(), money.currency(), lang)
}

/// The same for a sum, which may be more than one order can cost, or nothing.
pub fn sum(units: u64, currency: Currency, lang: Lang) -> String {
    let decimal = currency.decimal(units);
    let (whole, cents) = decimal.split_once('.').unwrap_or((&decimal, ""));
    written((whole, cents), Some(currency), lang)
}

/// The same for a figure as programs get it: `15000 XOF`, `12.50 USD`, `14000` where nobody named a currency. Any other text
/// stays as it is.
pub fn figure(text: &str, lang: Lang) -> String {
    let (number, code) = text.split_once(' ').unwrap_or((text, ""));
    let (whole, cents) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match code.parse::<Currency>() {
        _ if whole.is_empty() || !digits(whole) || !digits(cents) => text.to_owned(),
        Ok(currency) => written((whole, cents), Some(currency), lang),
        Err(_) if code.is_empty() => written((whole, cents), None, lang),
        Err(_) => text.to_owned(),
    }
}

/// Digits before and behind the point, grouped, with what the currency is called.
fn written((whole, cents): (&str, &str), currency: Option<Currency>, lang: Lang) -> String {
    let (group, point) = match lang {
        Lang::Fr => (NARROW, ','),
        Lang::En => (',', '.'),
    };
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(group);
        }
        text.push(digit);
    }
    if !cents.is_empty() {
        text.push(point);
        text.push_str(cents);
    }
    let Some(currency) = currency else { return text };
    let unit = match currency {
        Currency::Xof | Currency::Xaf => "FCFA",
        Currency::Gnf => "FG",
        Currency::Cdf => "FC",
        Currency::Usd => "$",
    };
    match (currency, lang) {
        (Currency::Usd, Lang::En) => format!("{unit}{text}"),
        _ => format!("{text}{NARROW}{unit}"),
    }
}

/// `26 novembre 2026 à 10 h 30 (GMT)`, `26 November 2026 at 10:30 (GMT)`. Seconds are left out: the
/// moment named is never later than the one meant.
pub fn moment(at: Timestamp, lang: Lang) -> String {
    local_moment(at, Zone::UTC, lang)
}

/// The same on this clock: `26 novembre 2026 à 11 h 30 (UTC+01:00)`.
pub fn local_moment(at: Timestamp, zone: Zone, lang: Lang) -> String {
    let (time, day) = (zone.shows(at), day(zone.day(at), lang));
    let (hour, minute) = (time.hour(), time.minute());
    let clock = if zone == Zone::UTC { "GMT".to_owned() } else { zone.to_string() };
    match lang {
        Lang::Fr => format!("{day} à {hour}{FIRM}h{FIRM}{minute:02} ({clock})"),
        Lang::En => format!("{day} at {hour}:{minute:02} ({clock})"),
    }
}

/// `26 novembre 2026`, `1er août 2026`; `26 November 2026`.
pub fn day(day: Day, lang: Lang) -> String {
    let date = day.date();
    let months = match lang {
        Lang::Fr => MONTHS_FR,
        Lang::En => MONTHS_EN,
    };
    let month = usize::try_from(date.month() - 1).ok().and_then(|at| months.get(at)).copied().unwrap_or("");
    let (day, year) = (date.day(), date.year());
    match (lang, day) {
        (Lang::Fr, 1) => format!("1er{FIRM}{month} {year}"),
        (Lang::Fr | Lang::En, _) => format!("{day}{FIRM}{month} {year}"),
    }
}

/// `5 téléchargements`, `1 download`.
pub fn downloads(count: u32, lang: Lang) -> String {
    match (lang, count) {
        (Lang::Fr, 0 | 1) => format!("{count}{FIRM}téléchargement"),
        (Lang::Fr, _) => format!("{count}{FIRM}téléchargements"),
        (Lang::En, 1) => format!("1{FIRM}download"),
        (Lang::En, _) => format!("{count}{FIRM}downloads"),
    }
}

/// What an operator is called, by CinetPay's code; the code itself where it is a new one.
pub fn operator(method: &str) -> &str {
    match method {
        _ if method.starts_with("OM") => "Orange Money",
        _ if method.starts_with("MOMO") => "MTN MoMo",
        _ if method.starts_with("FLOOZ") => "Moov Money",
        _ if method.starts_with("WAVE") => "Wave",
        _ if method.starts_with("TMONEY") => "T-Money",
        _ if method.starts_with("CARD") => "Visa / Mastercard",
        code => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        let check = |units, currency, fr: &str, en: &str| {
            let money = Money::price(units, currency).unwrap();
            assert_eq!(amount(money, Lang::Fr), fr.replace(' ', "\u{202f}"));
            assert_eq!(amount(money, Lang::En), en.replace(' ', "\u{202f}"));
        };
        check(15_000, Currency::Xof, "15 000 FCFA", "15,000 FCFA");
        check(100, Currency::Xaf, "100 FCFA", "100 FCFA");
        check(1_250_000, Currency::Gnf, "1 250 000 FG", "1,250,000 FG");
        check(2_000, Currency::Cdf, "2 000 FC", "2,000 FC");
        check(1_250, Currency::Usd, "12,50 $", "$12.50");
        check(123_456, Currency::Usd, "1 234,56 $", "$1,234.56");
    }

    #[test]
    fn figures_of_programs_read_well_too() {
        let check = |text: &str, fr: &str, en: &str| {
            let plain = |text: String| text.replace('\u{202f}', " ");
            assert_eq!(
                (plain(figure(text, Lang::Fr)), plain(figure(text, Lang::En))),
                (fr.into(), en.into())
            );
        };
        check("15000 XOF", "15 000 FCFA", "15,000 FCFA");
        check("15000.50 XOF", "15 000,50 FCFA", "15,000.50 FCFA");
        check("1234.56 USD", "1 234,56 $", "$1,234.56");
        check("1000000", "1 000 000", "1,000,000");
        check("5", "5", "5");
        for odd in ["", "XOF", "15000 EUR", "-5 XOF", "15 000 XOF", "1.2.3 XOF", ".5 XOF", "١٥٠ XOF"] {
            check(odd, odd, odd);
        }
    }

    #[test]
    fn moments_read_well() {
        let check = |at: &str, fr: &str, en: &str| {
            let at = at.parse().unwrap();
            assert_eq!(moment(at, Lang::Fr).replace(FIRM, " "), fr);
            assert_eq!(moment(at, Lang::En).replace(FIRM, " "), en);
        };
        check(
            "2026-11-26T10:30:59.999Z",
            "26 novembre 2026 à 10 h 30 (GMT)",
            "26 November 2026 at 10:30 (GMT)",
        );
        check("2027-08-01T00:05:00Z", "1er août 2027 à 0 h 05 (GMT)", "1 August 2027 at 0:05 (GMT)");
        let (late, zone) = ("2027-07-31T23:05:00Z".parse().unwrap(), "+01:00".parse().unwrap());
        let local = local_moment(late, zone, Lang::Fr).replace(FIRM, " ");
        assert_eq!(local, "1er août 2027 à 0 h 05 (UTC+01:00)");
    }

    #[test]
    fn counts_and_operators_read_well() {
        assert_eq!(downloads(1, Lang::Fr), "1\u{a0}téléchargement");
        assert_eq!(downloads(5, Lang::En), "5\u{a0}downloads");
        let codes = ["OMBF", "MOMO", "FLOOZ", "WAVECI", "TMONEYTG", "CARD", "NEW"];
        let names = ["Orange Money", "MTN MoMo", "Moov Money", "Wave", "T-Money", "Visa / Mastercard", "NEW"];
        assert_eq!(codes.map(operator), names);
    }
}
