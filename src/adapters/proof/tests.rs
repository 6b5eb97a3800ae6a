//! What the printed proof holds; how it looks, and that the attached file comes out whole, tests/receipt/run shows.

use super::*;
use crate::domain::calendar::Zone;
use crate::domain::event::{Decision, Event, FORMAT, Stored};
use crate::domain::merchant::Merchant;
use crate::domain::payment::Payment;
use crate::domain::proof::sealed;
use crate::domain::values::{Attempt, Buyer, Currency, Email, Money, Name, Phone, Timestamp};

const START: &str = "2026-11-25T23:10:00Z";
const KEY: &str = "MCowBQYDK2VwAyEANJOkF6kJea/cBwoccDN7ozTYDw6Czk9JcsYmk2MLfCc=";

fn at(minutes: u64) -> Timestamp {
    START.parse::<Timestamp>().unwrap().plus(std::time::Duration::from_secs(60 * minutes))
}

/// A sale with this many notifications, refunded or not.
fn history(notices: usize, refunded: bool) -> Vec<Event> {
    let by = Decision { by: "Awa Koné".to_owned(), note: "rendu par Orange Money".to_owned() };
    let mut events = vec![
        Event::Created {
            product: "audit-kit".to_owned(),
            tier: "standard".to_owned(),
            price: Money::price(15_000, Currency::Xof).unwrap(),
            buyer: Buyer {
                email: Email::parse("awa@example.ci").unwrap(),
                name: Some(Name::parse("Awa Touré").unwrap()),
                phone: Some(Phone::parse("0707070707").unwrap()),
                lang: Lang::Fr,
            },
            request: None,
        },
        Event::Initiated {
            attempt: Attempt::FIRST,
            payment_url: "https://pay.example/x".to_owned(),
            payment_token: "t".to_owned(),
            check_at: at(1),
        },
    ];
    events.extend(
        (0..notices).map(|n| Event::Notified { attempt: Attempt::FIRST, digest: format!("{n:032x}") }),
    );
    events.push(Event::Paid {
        attempt: Attempt::FIRST,
        provider_tx_id: Some("MP261126.1030.A00001".to_owned()),
        payment_method: Some("OMCI".to_owned()),
        expires_at: at(4_000),
        max_downloads: 5,
        approved: None,
    });
    events.push(Event::Delivered { remind_at: None });
    if refunded {
        events.push(Event::Refunded { by });
    }
    events
}

/// The sale printed, and the signed file.
fn printed(notices: usize, refunded: bool, merchant: &Merchant, lang: Lang) -> (Vec<u8>, String) {
    let (id, events) = (OrderId::parse("01JD0QZ6Y3V9K2M4N6P8R0S2T4").unwrap(), history(notices, refunded));
    let mut payment: Option<Payment> = None;
    let mut entries = Vec::new();
    for (event, seq) in events.into_iter().zip(41_u32..) {
        let now = at(u64::from(seq) - 41);
        payment = Some(Payment::evolve(payment.as_ref(), id, std::slice::from_ref(&event), now).unwrap());
        let text = serde_json::to_string(&Stored { v: FORMAT, event: event.clone() }).unwrap();
        let hash = format!("{seq:064x}");
        entries.push(Entry { seq: seq.into(), at: now, version: seq - 40, events: vec![event], text, hash });
    }
    let told: Vec<Vec<String>> =
        entries.iter().map(|entry| vec![format!("Dit\u{a0}: {}.", entry.kinds())]).collect();
    let material = Material {
        payment: payment.as_ref().unwrap(),
        entries: &entries,
        site_id: "445160",
        merchant,
        zone: "+01:00".parse::<Zone>().unwrap(),
        now: at(100),
        public_key: KEY,
    };
    let json = serde_json::to_string_pretty(&material.statement().unwrap()).unwrap();
    let signed = sealed(&json, |_| "ab".repeat(64));
    let printed =
        Printed { material: &material, told: &told, signed: &signed, fingerprint: "0123456789abcdef", lang };
    (pdf(&printed), signed)
}

fn merchant() -> Merchant {
    Merchant {
        name: "Boutique d’Élodie".to_owned(),
        address: "Rue des Jardins, Cocody, Abidjan".to_owned(),
        contact: "+225 07 00 00 00 00".to_owned(),
        identifiers: "RCCM CI-ABJ-2020-B-1234".to_owned(),
    }
}

fn count(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).filter(|window| *window == part).count()
}

/// Whatever program reads it finds the signed file as it was signed, once.
#[test]
fn the_signed_file_travels_inside_byte_for_byte() {
    for (notices, lang) in [(1, Lang::Fr), (30, Lang::En)] {
        let (bytes, signed) = printed(notices, false, &merchant(), lang);
        let inside = format!("\nstream\n{signed}\nendstream");
        assert_eq!(count(&bytes, inside.as_bytes()), 1);
        assert_eq!(count(&bytes, b"/EmbeddedFiles"), 1);
        assert_eq!(
            count(&bytes, b"/Subtype/application#2Fjson") + count(&bytes, b"/Subtype /application#2Fjson"),
            1
        );
        assert_eq!(signature(&signed), "ab".repeat(64));
    }
}

#[test]
fn many_lines_are_many_pages_and_equal_proofs_equal_bytes() {
    let pages = |notices| count(&printed(notices, false, &merchant(), Lang::Fr).0, b"/Type /Page\n");
    let (few, many) = (pages(1), pages(30));
    assert!(few >= 1 && many > few, "{few} and {many} pages");
    assert_eq!(printed(2, true, &merchant(), Lang::Fr).0, printed(2, true, &merchant(), Lang::Fr).0);
    assert_ne!(printed(2, true, &merchant(), Lang::Fr).0, printed(2, true, &merchant(), Lang::En).0);
}

/// tests/receipt/run has them written, rendered and read; without its word they are only made.
#[test]
fn specimens_of_every_kind() {
    let folder = std::env::var_os("AUDITSHIELD_RECEIPTS").map(std::path::PathBuf::from);
    for (name, notices, refunded, merchant, lang) in [
        ("proof", 1, false, merchant(), Lang::Fr),
        ("proof-long", 30, true, merchant(), Lang::Fr),
        ("proof-en", 2, true, Merchant { name: "Shop".to_owned(), ..Merchant::default() }, Lang::En),
    ] {
        let (bytes, signed) = printed(notices, refunded, &merchant, lang);
        assert!(bytes.starts_with(b"%PDF-1.") && bytes.ends_with(b"%%EOF"), "{name}");
        if let Some(folder) = &folder {
            std::fs::write(folder.join(format!("{name}.pdf")), bytes).unwrap();
            std::fs::write(folder.join(format!("{name}.json")), signed).unwrap();
        }
    }
}
