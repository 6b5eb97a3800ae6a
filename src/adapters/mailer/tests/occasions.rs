//! The reminder, and the receipt that a mail brings along.

use base64::Engine;

use super::*;
use crate::domain::receipt::{Receipt, ReceiptNumber};

fn receipt() -> Receipt {
    let letter = letter(Lang::Fr);
    Receipt {
        number: ReceiptNumber { year: 2026, place: 7 },
        order: letter.order,
        buyer: letter.buyer,
        product: letter.product,
        tier: letter.tier,
        price: letter.price,
        paid_at: letter.link.issued_at,
        method: "OM".to_owned(),
        transaction: "MP1".to_owned(),
        refunded: false,
    }
}

#[tokio::test]
async fn the_reminder_in_french() {
    insta::assert_snapshot!("reminder_fr", readable(&written_plainly(reminder(Lang::Fr)).await));
}

#[tokio::test]
async fn the_reminder_in_english() {
    insta::assert_snapshot!("reminder_en", readable(&written_plainly(reminder(Lang::En)).await));
}

/// A reminder carries the delivery's own link, names the delivery, and is another mail than it.
#[tokio::test]
async fn a_reminder_belongs_to_its_delivery() {
    let (delivery, first) =
        (written_plainly(letter(Lang::Fr)).await, written_plainly(reminder(Lang::Fr)).await);
    assert_eq!(written_plainly(reminder(Lang::Fr)).await, first, "a repeated reminder is identical");
    assert!(first.contains(&format!("References: <{ORDER}.1@boutique.ci>\r\n")), "{first}");
    assert!(first.contains(&format!("Message-ID: <{ORDER}.1.rappel@boutique.ci>\r\n")), "{first}");
    let link = |raw: &str| {
        let text = decoded_parts(raw)[1].clone();
        text.lines().find(|line| line.contains("/download/")).unwrap().to_owned()
    };
    assert_eq!(link(&first), link(&delivery));
}

/// By configuration only, whole, and named by its number. The mail around it reads as before.
#[tokio::test]
async fn the_receipt_comes_along_where_it_is_asked_for() {
    let with = |receipt| Letter { receipt, ..letter(Lang::Fr) };
    let plain = written_plainly(with(Some(receipt()))).await;
    assert_eq!(plain, written_plainly(letter(Lang::Fr)).await, "nobody asked for it");
    let asked = || Settings { attach_receipt: true, ..settings(Route::File(PathBuf::new())) };
    assert_eq!(written(asked(), with(None)).await, plain, "there is none to bring");
    let raw = written(asked(), with(Some(receipt()))).await;
    assert_eq!(raw, written(asked(), with(Some(receipt()))).await, "a repeated mail is identical");
    let (head, body) = raw.split_once("filename=\"recu-2026-000007.pdf\"").expect("an attachment");
    assert!(headers(&raw).contains(&format!("multipart/mixed; boundary=\"=_m_{ORDER}.1\"")), "{raw}");
    assert!(head.contains("multipart/alternative") && head.contains("text/html"));
    let (_, body) = body.split_once("\r\n\r\n").unwrap();
    let packed: String = body.split("\r\n--=_m_").next().unwrap().split_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(packed).unwrap();
    let merchant = settings(Route::File(PathBuf::new())).merchant;
    assert_eq!(bytes, crate::adapters::receipt::pdf(&receipt(), &merchant));
    assert!(raw.is_ascii() && raw.lines().all(|line| line.len() <= 200));
}
