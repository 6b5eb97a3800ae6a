//! Each spelling on a line of its own.

use proptest::prelude::*;

use super::*;

#[test]
fn amounts_of_every_spelling() {
    let check = |text: &str, want: Option<u64>| assert_eq!(hundredths(text), want, "{text}");
    for fifteen_thousand in [
        "15000",
        "15 000",
        "15\u{a0}000",
        "15\u{202f}000 FCFA",
        "15.000",
        "15,000",
        "15000.00",
        "15000,00",
        "15.000,00",
        "15,000.00",
        "XOF 15000",
        "'15000",
        "15000.000",
    ] {
        check(fifteen_thousand, Some(1_500_000));
    }
    check("12.5", Some(1_250));
    check("$12.50", Some(1_250));
    check("1.234.567", Some(123_456_700));
    check("1,234,567.89", Some(123_456_789));
    check("0", Some(0));
    for bad in [
        "",
        "-15000",
        "15000.005",
        "1.23.456",
        "1,2,3",
        "15e3",
        "1500.0.0",
        "12.34.567,1",
        "++",
        ".",
        ",5",
        "12 x 5",
    ] {
        check(bad, None);
    }
}

#[test]
fn dates_of_every_spelling() {
    let check = |text: &str, zone: &str, want: &str| {
        assert_eq!(moment(text, zone.parse().unwrap()), want.parse().ok(), "{text}");
    };
    check("2022-09-15 22:57:15", "+00:00", "2022-09-15T22:57:15Z");
    check("15/09/2022 22:57", "+01:00", "2022-09-15T21:57:00Z");
    check("15/09/2022", "+00:00", "2022-09-15T00:00:00Z");
    check("2022-09-15T22:57:15+02:00", "+00:00", "2022-09-15T20:57:15Z");
    check("2022-09-31 00:00:00", "+00:00", "none");
    check("hier", "+00:00", "none");
}

#[test]
fn words_for_what_became_of_it() {
    let check = |text: &str, want: Said| assert_eq!(said(text), want, "{text}");
    check("ACCEPTED", Said::Accepted);
    check("Succès", Said::Accepted);
    check("Refusée", Said::Refused);
    check("TRANSACTION_CANCEL", Said::Refused);
    check("En attente", Said::Pending);
    check("WAITING_FOR_CUSTOMER", Said::Pending);
    check("Transféré", Said::Other("Transféré".to_owned()));
    check("", Said::Other(String::new()));
}

proptest! {
    /// An amount survives the spellings of two languages.
    #[test]
    fn amounts_survive_their_spelling(units in 0_u64..100_000_000, cents in 0_u64..100, grouped in prop::sample::select(&[("", "."), ("", ","), (" ", ","), (".", ","), (",", ".")][..])) {
        let (group, point) = grouped;
        let digits = units.to_string();
        let mut whole = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                whole.push_str(group);
            }
            whole.push(digit);
        }
        prop_assert_eq!(hundredths(&format!("{whole}{point}{cents:02} XOF")), Some(units * 100 + cents));
    }
}
