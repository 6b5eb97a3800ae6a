//! What a receipt holds; how it looks, tests/receipt/run shows.

use super::*;
use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::{Buyer, Currency, Email, Money, Name, OrderId};

fn receipt() -> Receipt {
    Receipt {
        number: ReceiptNumber { year: 2026, place: 123 },
        order: OrderId::parse("01JD0QZ6Y3V9K2M4N6P8R0S2T4").unwrap(),
        buyer: Buyer {
            email: Email::parse("awa@example.ci").unwrap(),
            name: Some(Name::parse("Awa Touré-Nguɛssan").unwrap()),
            phone: None,
            lang: Lang::Fr,
        },
        product: "Guide d’audit – édition complète (œuvre)".to_owned(),
        tier: "Équipe".to_owned(),
        price: Money::price(15_000, Currency::Xof).unwrap(),
        paid_at: "2026-11-26T10:30:59.999Z".parse().unwrap(),
        method: "OMCI".to_owned(),
        transaction: "MP261126.1030.A00001".to_owned(),
        refunded: false,
    }
}

fn merchant() -> Merchant {
    Merchant {
        name: "Boutique d’Élodie".to_owned(),
        address: "Rue des Jardins, Cocody, Abidjan".to_owned(),
        contact: "+225 07 00 00 00 00".to_owned(),
        identifiers: "RCCM CI-ABJ-2020-B-1234 · CC 2012345 A".to_owned(),
    }
}

/// The texts that the page shows, and how high each stands. Its stream is not compressed.
fn shown(bytes: &[u8]) -> Vec<(String, f32)> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let stream = text.split("\nstream\n").nth(1).unwrap().split("\nendstream").next().unwrap();
    let mut found = Vec::new();
    for block in stream.split("BT\n").skip(1) {
        let line = |end: &str| block.lines().find_map(|line| line.strip_suffix(end)).unwrap();
        let height = line(" Td").split(' ').nth(1).unwrap().parse().unwrap();
        let words = line(" Tj").trim_start_matches(['(', '<']).trim_end_matches([')', '>']);
        let words = match line(" Tj").starts_with('<') {
            true => hex::decode(words).unwrap().into_iter().map(char::from).collect(),
            false => words.replace("\\(", "(").replace("\\)", ")"),
        };
        found.push((words, height));
    }
    found
}

#[test]
fn a_receipt_says_who_what_when_and_how_much() {
    let bytes = pdf(&receipt(), &merchant());
    assert!(bytes.starts_with(b"%PDF-1.") && bytes.len() < 5 * 1024, "{} bytes", bytes.len());
    let texts: Vec<String> = shown(&bytes).into_iter().map(|(text, _)| text.replace('\u{a0}', " ")).collect();
    for wanted in [
        "Boutique d\u{92}Élodie",
        "RCCM CI-ABJ-2020-B-1234 · CC 2012345 A",
        "Reçu n° 2026-000123",
        "Payé le 26 novembre 2026 à 10 h 30 (GMT)",
        "Awa Touré-Nguessan",
        "awa@example.ci",
        "Guide d\u{92}audit \u{96} édition complète (\u{9c}uvre)",
        "Équipe",
        "Orange Money",
        "MP261126.1030.A00001",
        "01JD0QZ6Y3V9K2M4N6P8R0S2T4",
        "15 000 FCFA",
        "Arrêté le présent reçu à la somme suivante : quinze mille francs CFA.",
    ] {
        assert!(texts.iter().any(|text| text == wanted), "{wanted} in {texts:#?}");
    }
    assert!(!texts.iter().any(|text| text.contains("remboursée")));
    let refunded = pdf(&Receipt { refunded: true, ..receipt() }, &merchant());
    assert!(shown(&refunded).iter().any(|(text, _)| text.contains("remboursée")));
}

#[test]
fn equal_receipts_are_equal_bytes() {
    assert_eq!(pdf(&receipt(), &merchant()), pdf(&receipt(), &merchant()));
    let later = Receipt { paid_at: "2026-11-26T10:31:00Z".parse().unwrap(), ..receipt() };
    assert_ne!(pdf(&later, &merchant()), pdf(&receipt(), &merchant()));
    assert_eq!(file_name(&receipt()), "recu-2026-000123.pdf");
}

/// Names, addresses and numbers as long as they may be.
fn longest() -> (Receipt, Merchant) {
    let line = "W\u{153}".repeat(66);
    let merchant = Merchant {
        name: line.clone(),
        address: line.clone(),
        contact: line.clone(),
        identifiers: line.clone(),
    };
    let email = format!("{}@{}.ci", "w".repeat(64), vec!["w".repeat(60); 3].join("."));
    let receipt = Receipt {
        buyer: Buyer {
            email: Email::parse(&email).unwrap(),
            name: Some(Name::parse(&"W".repeat(120)).unwrap()),
            ..receipt().buyer
        },
        product: line.repeat(9),
        tier: line.repeat(9),
        price: Money::price(99_999_995, Currency::Xof).unwrap(),
        refunded: true,
        ..receipt()
    };
    (receipt, merchant)
}

/// Still one page, and nothing runs into the foot.
#[test]
fn the_longest_texts_stay_on_the_page() {
    let (receipt, merchant) = longest();
    let shown = shown(&pdf(&receipt, &merchant));
    let (foot, rest) = shown.split_last().unwrap();
    assert!(foot.0.contains("interruption"));
    let lowest = rest.iter().map(|(_, height)| *height).fold(f32::MAX, f32::min);
    assert!(lowest > foot.1 + 12.0, "{lowest} and {}", foot.1);
}

/// tests/receipt/run has them written, rendered and read; without its word they are only made.
#[test]
fn specimens_of_every_kind() {
    let priced = |units, currency| Receipt { price: Money::price(units, currency).unwrap(), ..receipt() };
    let bare = Receipt {
        buyer: Buyer { name: None, ..receipt().buyer },
        tier: String::new(),
        method: String::new(),
        transaction: format!("{}R2", receipt().order),
        ..priced(1_000_000, Currency::Gnf)
    };
    let (long, long_merchant) = longest();
    let nobody = Merchant { name: "Boutique".to_owned(), ..Merchant::default() };
    let wordy = Receipt {
        product:
            "Kit d’audit complet pour coopératives agricoles, associations villageoises d’épargne et de \
                  crédit, et très petites entreprises – édition 2026, mise à jour"
                .to_owned(),
        ..priced(281_080, Currency::Cdf)
    };
    let refunded = Receipt { refunded: true, ..priced(1_250, Currency::Usd) };
    let folder = std::env::var_os("AUDITSHIELD_RECEIPTS").map(std::path::PathBuf::from);
    for (name, receipt, merchant) in [
        ("usual", receipt(), merchant()),
        ("bare", bare, nobody),
        ("longest", long, long_merchant),
        ("wordy", wordy, merchant()),
        ("refunded", refunded, merchant()),
    ] {
        let bytes = pdf(&receipt, &merchant);
        assert!(bytes.ends_with(b"%%EOF") || bytes.ends_with(b"%%EOF\n"), "{name}");
        if let Some(folder) = &folder {
            std::fs::write(folder.join(format!("{name}.pdf")), bytes).unwrap();
        }
    }
}
