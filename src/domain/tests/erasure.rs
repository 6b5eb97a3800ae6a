//! Erasing what is personal: when it is refused, what it takes away, and what goes on without it.

use super::super::payment::{Mail, Status};
use super::super::personal::{MAIL_ERASED, SEALED};
use super::super::values::ERASED;
use super::wishes::after;
use super::*;

#[test]
fn an_erasure_waits_for_what_is_owed() {
    let check = |status: &str, story: &str, want: &str| {
        assert_eq!(after(status, story).0, want, "{status}: {story}");
    };
    // Owed, or perhaps: only by force. Just being opened: never.
    let owed = "no: a delivery is owed, or may be";
    check("CREATED", "erase", "no: not possible in status CREATED · CREATED");
    check("CREATED", "eraseForced", "no: not possible in status CREATED · CREATED");
    for status in ["PENDING", "REVIEW", "PAID"] {
        check(status, "erase", &format!("{owed} · {status}"));
        check(status, "eraseForced", &format!("ERASED · {status}"));
    }
    check("PAID", "mailLater erase", &format!("{owed} · PAID"));
    // Settled: at once, and once more for reasons typed since.
    for (status, story) in [
        ("PAID", "mailed erase"),
        ("PAID", "mailRefused erase"),
        ("FAILED", "erase"),
        ("EXPIRED", "erase"),
        ("REFUNDED", "erase"),
        ("PAID", "mailed erase erase"),
    ] {
        check(status, story, &format!("ERASED · {status}"));
    }
    // Nobody is left to write to, to open a page for, or to be called otherwise.
    let gone = "no: the buyer's data were erased";
    check("PAID", "mailed erase resend", &format!("{gone} · PAID"));
    check("PAID", "mailed erase sendAgain", &format!("{gone} · PAID"));
    check("PAID", "mailed erase correct", &format!("{gone} · PAID"));
    check("FAILED", "erase readdress", &format!("{gone} · FAILED"));
    check("FAILED", "erase retry", "no: no payment page can be opened any more · FAILED");
    check("PENDING", "eraseForced repeat", "no: no payment page can be opened any more · PENDING");
    check("PAID", "mailed erase download", "no: the link does not work · PAID");
    // Money and the merchant's own acts go on.
    check("PAID", "mailed erase refund", "REFUNDED · REFUNDED");
    check("REVIEW", "eraseForced approve", "PAID · PAID");
    check("FAILED", "erase notify accepted", "CHECKED PAID · PAID");
    check("PENDING", "eraseForced accepted mailed", "nothing · PAID");
}

#[test]
fn what_is_paid_after_an_erasure_is_mailed_to_nobody() {
    for (status, story) in
        [("PENDING", "eraseForced accepted"), ("REVIEW", "eraseForced approve"), ("PAID", "eraseForced")]
    {
        let (_, tale) = after(status, story);
        let payment = tale.payment.unwrap();
        let Status::Paid(sale) = &payment.status else { panic!("{status}: {story}") };
        assert_eq!(sale.mail, Mail::Stalled { reason: MAIL_ERASED.into() }, "{status}: {story}");
        assert!(sale.link.revoked && payment.buyer.is_erased(), "{status}: {story}");
        assert_eq!((payment.buyer.email.expose(), payment.price.amount()), (ERASED, 15_000));
        assert_eq!(next_step(&payment, tale.now), Step::Rest);
    }
}

/// What is taken out of an event is put back as it was; what cannot be put back reads as erased.
#[test]
fn personal_parts_come_out_and_go_back() {
    let by = |who: &str, note: &str| Decision { by: who.into(), note: note.into() };
    let Input::Buy(purchase) = input("buy") else { panic!("buy") };
    let attempt = Attempt::FIRST;
    let paid = |approved| Event::Paid {
        attempt,
        provider_tx_id: None,
        payment_method: None,
        expires_at: START,
        max_downloads: 1,
        approved,
    };
    let note = |by, buyer| Event::Note { by, resend: None, buyer };
    let failed = |rejected| Event::Failed { attempt, code: "627".into(), check_at: None, rejected };
    let buyer = || Some(purchase.buyer.clone());
    let created = Event::Created {
        product: "kit".into(),
        tier: "one".into(),
        price: purchase.price,
        buyer: purchase.buyer.clone(),
        request: None,
    };
    let said = |reason: &str| Event::InitFailed {
        attempt,
        reason: reason.into(),
        ambiguous: false,
        retry_at: None,
        check_at: START,
    };
    let personal = [
        created,
        said("phone +225 is invalid"),
        paid(Some(by("Koffi", "cash"))),
        failed(Some(by("a", "x"))),
        Event::Revoked { link: 1, by: by("a", "forwarded") },
        Event::Refunded { by: by("a", "her bank") },
        note(by("a", "x"), None),
        note(by("buyer", "address"), buyer()),
        note(by("a", SEALED), buyer()),
    ];
    for event in personal {
        assert!(event.is_personal(), "{}", event.kind());
        let mut bare = event.clone();
        let part = bare.take_personal().unwrap();
        assert!(!bare.is_personal());
        let text = serde_json::to_string(&bare).unwrap();
        for secret in ["awa@", "+225", "cash", "forwarded", "her bank"] {
            assert!(!text.contains(secret), "{text}");
        }
        // As it is stored and read back.
        let mut read: Event = serde_json::from_str(&text).unwrap();
        assert_eq!(read, bare, "{text}");
        read.put_personal(part);
        assert_eq!(read, event);
        bare.blank();
        assert!(!bare.is_personal(), "{text}");
    }
    for event in [
        Event::Expired {},
        paid(None),
        paid(Some(by("Koffi", ""))),
        failed(None),
        said(""),
        note(by("buyer", "send again"), None),
        Event::Erased { by: "admin".into() },
    ] {
        assert!(!event.is_personal() && event.clone().take_personal().is_none(), "{}", event.kind());
    }
}
