//! What a person does to an order from its page: asked first, signed, with a reason, and from no other site.

use super::admin_pages::{Desk, form};
use super::*;

/// What may be done in which status, in the order of the buttons; and which of it needs a reason.
const OFFERED: &[(&str, &[&str])] = &[
    ("PENDING", &["verify", "address"]),
    ("FAILED", &["verify", "address"]),
    ("REVIEW", &["approve", "reject", "verify", "address"]),
    ("PAID", &["resend", "address", "revoke", "refund"]),
    ("REFUNDED", &[]),
];
const ACTS: [&str; 7] = ["verify", "resend", "address", "approve", "reject", "refund", "revoke"];
const REASONED: [&str; 5] = ["address", "approve", "reject", "refund", "revoke"];

impl Stage {
    fn version(&self, order: OrderId) -> u32 {
        self.deps.load(order).unwrap().unwrap().version
    }
    /// Who signed what, and why, in the order's journal.
    fn signed(&self, order: OrderId) -> Vec<(&'static str, String, String)> {
        let lines = self.deps.ledger.history(order).unwrap();
        let events = lines.iter().flat_map(|line| &line.events);
        let signed = events.filter_map(|event| {
            let written = serde_json::to_value(event).unwrap();
            let by = ["by", "approved", "rejected"]
                .iter()
                .find_map(|name| written[name]["by"].as_str().map(|by| (*name, by.to_owned())))?;
            Some((event.kind(), by.1, written[by.0]["note"].as_str().unwrap().to_owned()))
        });
        signed.collect()
    }
}

fn path(order: OrderId, act: &str) -> String {
    format!("/admin/orders/{order}/{act}/")
}

#[tokio::test]
async fn each_act_is_offered_and_asked_about_where_it_is_possible() {
    let stage = stage().await;
    let desk = stage.desk("Awa").await;
    for (status, offered) in OFFERED {
        let order = stage.with_status(status).await;
        let version = stage.version(order);
        let page = stage.look(&desk, &format!("/admin/orders/{order}/")).await;
        for act in ACTS {
            let here = text(&page).contains(&format!("href=\"{}\"", path(order, act)));
            assert_eq!(here, offered.contains(&act), "{status}: {act}");
            let asked = stage.look(&desk, &path(order, act)).await;
            let want = if offered.contains(&act) { StatusCode::OK } else { StatusCode::CONFLICT };
            assert_eq!(asked.status(), want, "{status}: {act}");
        }
        assert_eq!(stage.look(&desk, &path(order, "dance")).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(stage.version(order), version, "{status}: asking changes nothing");
    }
}

#[tokio::test]
async fn a_form_of_another_site_does_nothing() {
    let stage = stage().await;
    let desk = stage.desk("Awa").await;
    let other = stage.desk("Kofi").await;
    for (status, offered) in OFFERED {
        let order = stage.with_status(status).await;
        let version = stage.version(order);
        for act in *offered {
            for csrf in ["", "0000", other.csrf.as_str(), &desk.csrf[1..]] {
                let body = form(&[("note", "x"), ("email", "x@example.ci"), ("csrf", csrf)]);
                let call =
                    post(&path(order, act)).header("cookie", &desk.cookie).header("accept", "text/html");
                let refused = call.body(body).reply(&stage.admin).await;
                assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{status} {act} {csrf:?}");
            }
            let unknown = post(&path(order, act)).body(form(&[("note", "x"), ("csrf", &desk.csrf)]));
            assert_eq!(
                unknown.reply(&stage.admin).await.status(),
                StatusCode::UNAUTHORIZED,
                "{act} without a cookie"
            );
        }
        assert_eq!(stage.version(order), version, "{status}");
    }
    for path in ["/admin/orders/", "/admin/logout/"] {
        let call = post(path).header("cookie", &desk.cookie).body(form(&[("q", "awa@example.ci")]));
        assert_eq!(call.reply(&stage.admin).await.status(), StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(stage.look(&desk, "/admin/").await.status(), StatusCode::OK, "still logged in");
}

/// Presses each button without a reason, and then with one; gives the order.
async fn insist(stage: &Stage, desk: &Desk, order: OrderId, act: &str, more: &[(&str, &str)]) {
    if REASONED.contains(&act) {
        let version = stage.version(order);
        for note in ["", "  ", "\r\n"] {
            let fields: Vec<_> = more.iter().copied().chain([("note", note)]).collect();
            let asked = stage.press(desk, &path(order, act), &fields).await;
            assert_eq!(asked.status(), StatusCode::BAD_REQUEST, "{act} {note:?}");
            assert!(text(&asked).contains("Dites pourquoi"), "{act}: {}", text(&asked));
        }
        assert_eq!(stage.version(order), version, "{act}: nothing without a reason");
    }
    // A name in the form counts for nothing: the session's does.
    let fields: Vec<_> = more.iter().copied().chain([("note", "téléphone"), ("by", "Kofi")]).collect();
    let pressed = stage.press(desk, &path(order, act), &fields).await;
    assert_eq!(
        header(&pressed, "location"),
        format!("/admin/orders/{order}/?done={act}"),
        "{act}: {}",
        text(&pressed)
    );
    let page = stage.look(desk, header(&pressed, "location")).await;
    assert!(text(&page).contains("class=\"good\" role=\"status\""), "{act}: it says what was done");
}

#[tokio::test]
async fn acts_are_journaled_with_who_and_why() {
    let stage = stage().await;
    let desk = stage.desk("Awa Koné").await;
    let cases = [
        ("REVIEW", "approve", "PAID"),
        ("REVIEW", "reject", "FAILED"),
        ("PAID", "resend", "NOTE"),
        ("PAID", "revoke", "REVOKED"),
        ("PAID", "refund", "REFUNDED"),
        ("PAID", "address", "NOTE"),
        ("PENDING", "address", "NOTE"),
    ];
    for (status, act, kind) in cases {
        let order = stage.with_status(status).await;
        // Only the correction of an address reads one.
        insist(&stage, &desk, order, act, &[("email", "awa@gmail.com")]).await;
        let want = (kind, "Awa Koné".to_owned(), "téléphone".to_owned());
        assert_eq!(stage.signed(order), [want], "{status}: {act}");
    }
    let order = stage.with_status("PAID").await;
    let twice = stage.press(&desk, &path(order, "approve"), &[("note", "x")]).await;
    assert_eq!(twice.status(), StatusCode::CONFLICT);
    // Whoever has the token itself signs as they say, or as nobody in particular; never as the buyer.
    let act =
        async |body: &str| stage.api("POST", &format!("/api/orders/{order}/resend"), body).await.status();
    assert_eq!(act("{\"by\":\"buyer\"}").await, StatusCode::BAD_REQUEST);
    assert_eq!(act("{}").await, StatusCode::OK);
    assert_eq!(stage.signed(order), [("NOTE", "admin".to_owned(), String::new())]);
}

/// The address that was mistyped opens nothing any more; the right one gets a link of its own.
#[tokio::test]
async fn a_corrected_address_kills_the_old_link() {
    let stage = stage().await;
    let desk = stage.desk("Awa").await;
    let order = stage.sold().await;
    let old = format!("/download/mail:{order}:1/");
    assert_eq!(stage.get(&old).await.status(), StatusCode::OK);
    let fetched = post(&old).reply(&stage.public).await;
    assert_eq!(fetched.status(), StatusCode::SEE_OTHER, "somebody has the file already");
    let path = path(order, "address");
    for bad in ["", "nobody", "a@b", "awa@example.ci\r\nBcc: all@example.ci"] {
        let refused = stage.press(&desk, &path, &[("email", bad), ("note", "x")]).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{bad:?}");
    }
    let pressed = stage.press(&desk, &path, &[("email", "awa@gmail.com"), ("note", "x")]).await;
    assert_eq!(pressed.status(), StatusCode::SEE_OTHER);
    assert_eq!(stage.get(&old).await.status(), StatusCode::GONE, "the stranger's link still opens");
    assert_eq!(stage.get(&format!("/download/mail:{order}:2/")).await.status(), StatusCode::OK);
    let payment = stage.deps.load(order).unwrap().unwrap();
    assert_eq!(payment.buyer.email.expose(), "awa@gmail.com");
    // A link that a person withdrew stays so.
    stage.press(&desk, &super::admin_acts::path(order, "revoke"), &[("note", "x")]).await;
    stage.press(&desk, &path, &[("email", "awa@example.ci"), ("note", "x")]).await;
    assert_eq!(stage.get(&format!("/download/mail:{order}:3/")).await.status(), StatusCode::GONE);
    let api = stage.api("POST", &format!("/api/orders/{order}/address"), "{\"note\":\"x\"}").await;
    assert_eq!(api.status(), StatusCode::BAD_REQUEST);
}
