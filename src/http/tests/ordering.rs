//! An order's page, and what a buyer does there.

use super::*;
use crate::domain::payment::Status;

/// What the browser that bought sends along.
fn own(order: OrderId) -> String {
    format!("achat=browser:{order}:0")
}

/// What a browser sends along that came by the mail with this link.
fn by_mail(order: OrderId, link: u32) -> String {
    format!("lien=order:{order}:{link}")
}

async fn see(stage: &Stage, path: &str, cookie: &str) -> Http<Bytes> {
    request().path(path).header("accept", "text/html").header("cookie", cookie).reply(&stage.public).await
}

async fn act(stage: &Stage, order: OrderId, act: &str, cookie: &str, body: &str) -> Http<Bytes> {
    let form = post(&format!("/commande/{order}/{act}/")).header("accept", "text/html");
    let form = form.header("content-type", "application/x-www-form-urlencoded").header("cookie", cookie);
    form.body(body).reply(&stage.public).await
}

/// What the order's page puts into its forms.
fn proof_of(page: &Http<Bytes>) -> String {
    let text = text(page);
    let start = text.find("name=\"proof\" value=\"").expect("a proof") + 20;
    text[start..].split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn an_order_opens_for_its_browser_and_by_its_mail_alone() {
    let stage = stage().await;
    let (order, other) = (stage.sold().await, stage.sold().await);
    let pending = stage.bought().await;
    let path = format!("/commande/{order}/");
    let check = async |path: &str, cookie: &str, status: u16| {
        let answer = see(&stage, path, cookie).await;
        assert_eq!(answer.status().as_u16(), status, "{path} {cookie}");
        assert_eq!(header(&answer, "cache-control"), "no-store");
        assert_eq!(header(&answer, "referrer-policy"), "no-referrer");
        answer
    };
    check(&path, &own(order), 200).await;
    check(&path, &format!("x=y; {}; lang=en", own(order)), 200).await;
    check(&path, &by_mail(order, 1), 200).await;
    // Of another order, of another link, forged, of an order without a mail, of the wrong kind, none at all.
    check(&path, &own(other), 403).await;
    check(&path, &by_mail(other, 1), 403).await;
    check(&path, &by_mail(order, 2), 403).await;
    check(&path, "achat=forged", 403).await;
    check(&path, &format!("achat=order:{order}:1"), 403).await;
    check(&path, &format!("lien=browser:{order}:0"), 403).await;
    check(&format!("/commande/{pending}/"), &by_mail(pending, 1), 403).await;
    let stranger = check(&path, "", 403).await;
    let nobody = check("/commande/01JD0QZ6Y3V9K2M4N6P8R0S2T4/", "", 403).await;
    let nonsense = check("/commande/nothing/", "", 403).await;
    let plain = |answer: &Http<Bytes>| text(answer).to_owned();
    assert_eq!(plain(&stranger), plain(&nobody), "whether an order exists is nobody's affair");
    assert_eq!(plain(&stranger), plain(&nonsense));
}

#[tokio::test]
async fn a_purchase_leaves_the_cookie_that_opens_the_order() {
    let stage = stage().await;
    let form = post("/buy/audit-kit/standard/").header("accept", "text/html");
    let form =
        form.header("content-type", "application/x-www-form-urlencoded").body("email=awa%40example.ci");
    let bought = form.reply(&stage.public).await;
    assert_eq!(bought.status(), StatusCode::SEE_OTHER, "{}", text(&bought));
    let cookie = header(&bought, "set-cookie");
    let order = header(&bought, "location").rsplit('/').next().unwrap().to_owned();
    let wanted =
        format!("achat=browser:{order}:0; Path=/commande/{order}; Max-Age=15552000; HttpOnly; SameSite=Lax");
    assert_eq!(cookie, wanted);
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(see(&stage, &format!("/commande/{order}/"), cookie).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_mailed_link_becomes_a_cookie() {
    let stage = stage().await;
    let order = stage.sold().await;
    let entered = stage.get(&format!("/commande/lien/order:{order}:1/")).await;
    assert_eq!(entered.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&entered, "location"), format!("/commande/{order}/"));
    assert!(
        header(&entered, "set-cookie").starts_with(&format!("lien=order:{order}:1; Path=/commande/{order};"))
    );
    let forged = stage.get("/commande/lien/forged/").await;
    assert_eq!((forged.status(), header(&forged, "set-cookie")), (StatusCode::FORBIDDEN, ""));
}

#[tokio::test]
async fn a_refused_order_is_tried_again_and_stays_one_order() {
    let stage = stage().await;
    let order = stage.refused("602").await;
    let page = see(&stage, &format!("/commande/{order}/"), &own(order)).await;
    assert!(
        text(&page).contains("Réessayer") && text(&page).contains("<span data-code=\"602\">"),
        "{}",
        text(&page)
    );
    let back = stage.get(&format!("/payment/return/?transaction_id={order}")).await;
    assert!(text(&back).contains(&format!("action=\"/commande/{order}/payer/\" data-for=\"FAILED\">")));
    assert!(text(&back).contains("<span data-code=\"602\">Le solde"), "{}", text(&back));
    let told = json(&stage.get(&format!("/payment/status/{order}/")).await);
    assert_eq!((&told["status"], &told["code"]), (&"FAILED".into(), &"602".into()));
    let again = act(&stage, order, "payer", &own(order), "").await;
    assert_eq!(header(&again, "location"), format!("https://pay.example/{order}R2"), "{}", text(&again));
    // Pressed twice, it is the same page.
    let twice = act(&stage, order, "payer", &own(order), "").await;
    assert_eq!(header(&twice, "location"), format!("https://pay.example/{order}R2"));
    assert_eq!(stage.world.opened.load(Ordering::Relaxed), 2);
    let payment = stage.deps.load(order).unwrap().unwrap();
    assert_eq!((payment.status_name(), payment.attempt.number()), ("PENDING", 2));
    let listed = json(&stage.api("GET", "/api/orders", "").await);
    assert_eq!(listed["orders"].as_array().unwrap().len(), 1, "never a second order by accident");
    // The first page's payment, confirmed late, is this order's too.
    stage.world.refused.lock().unwrap().clear();
    stage.world.paid.lock().unwrap().insert(order);
    stage.notify(&format!("445160 {order}"), Some("good")).await;
    stage.deps.orders.submit(order, crate::domain::input::Input::Verify).await.unwrap();
    assert!(matches!(stage.deps.load(order).unwrap().unwrap().status, Status::Paid(_)));
    let late = act(&stage, order, "payer", &own(order), "").await;
    assert_eq!(header(&late, "location"), format!("/commande/{order}/"), "paid: no way to pay twice");
}

#[tokio::test]
async fn a_retry_without_cinetpay_is_502_and_changes_nothing() {
    let stage = stage().await;
    let order = stage.refused("627").await;
    stage.world.closed.store(true, Ordering::Relaxed);
    let down = act(&stage, order, "payer", &own(order), "").await;
    assert_eq!(down.status(), StatusCode::BAD_GATEWAY, "{}", text(&down));
    assert_eq!(stage.deps.load(order).unwrap().unwrap().status_name(), "FAILED");
    stage.world.closed.store(false, Ordering::Relaxed);
    let up = act(&stage, order, "payer", &own(order), "").await;
    assert!(header(&up, "location").starts_with(&format!("https://pay.example/{order}R")));
}

#[tokio::test]
async fn acts_need_the_cookie_and_the_page_s_own_form() {
    let stage = stage().await;
    let order = stage.sold().await;
    let page = see(&stage, &format!("/commande/{order}/"), &own(order)).await;
    let proof = proof_of(&page);
    let right = format!("proof={proof}&email=awa%40gmail.com");
    let before = stage.deps.load(order).unwrap();
    let check = async |act_name: &str, cookie: &str, body: &str| {
        let answer = act(&stage, order, act_name, cookie, body).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{act_name} {cookie} {body}");
    };
    for name in ["payer", "telecharger", "renvoyer", "adresse"] {
        check(name, "", &right).await;
        check(name, "achat=forged", &right).await;
    }
    for name in ["telecharger", "renvoyer", "adresse"] {
        check(name, &own(order), "email=awa%40gmail.com").await;
        check(name, &own(order), "proof=wrong&email=awa%40gmail.com").await;
    }
    // The mail may lie with a stranger: it reads and downloads, and changes no address.
    check("adresse", &by_mail(order, 1), &right).await;
    for site in ["cross-site", "same-site"] {
        let form = post(&format!("/commande/{order}/adresse/")).header("cookie", own(order));
        let form = form.header("sec-fetch-site", site).header("accept", "text/html").body(&right);
        assert_eq!(form.reply(&stage.public).await.status(), StatusCode::FORBIDDEN, "{site}");
    }
    assert_eq!(stage.deps.load(order).unwrap(), before, "nothing changed");
    let started = act(&stage, order, "telecharger", &by_mail(order, 1), &right).await;
    assert_eq!(header(&started, "location"), format!("/download/file/file:{order}:1/"));
}

#[tokio::test]
async fn a_mistyped_address_is_corrected_before_the_first_download() {
    let stage = stage().await;
    let order = stage.sold().await;
    let proof = proof_of(&see(&stage, &format!("/commande/{order}/"), &own(order)).await);
    let slip =
        act(&stage, order, "adresse", &own(order), &format!("proof={proof}&email=awa%40gmial.com")).await;
    assert!(
        slip.status() == StatusCode::OK && text(&slip).contains("value=\"awa@gmail.com\""),
        "{}",
        text(&slip)
    );
    assert_eq!(stage.deps.load(order).unwrap().unwrap().buyer.email.expose(), "awa@example.ci");
    let taken = format!("proof={proof}&email=awa%40gmial.com&checked=awa%40gmial.com&use=awa%40gmail.com");
    let done = act(&stage, order, "adresse", &own(order), &taken).await;
    assert_eq!(header(&done, "location"), format!("/commande/{order}/?fait=adresse"), "{}", text(&done));
    let payment = stage.deps.load(order).unwrap().unwrap();
    assert_eq!((payment.buyer.email.expose(), payment.sale().unwrap().link.number), ("awa@gmail.com", 2));
    let old = stage.get(&format!("/download/mail:{order}:1/")).await;
    assert_eq!(old.status(), StatusCode::GONE, "the link that went astray is dead");
    assert_eq!(
        see(&stage, &format!("/commande/{order}/"), &by_mail(order, 1)).await.status(),
        StatusCode::FORBIDDEN
    );
    act(&stage, order, "telecharger", &own(order), &format!("proof={proof}")).await;
    let late =
        act(&stage, order, "adresse", &own(order), &format!("proof={proof}&email=b%40example.ci")).await;
    assert_eq!(late.status(), StatusCode::CONFLICT);
    let bad = act(&stage, order, "adresse", &own(order), &format!("proof={proof}&email=nothing")).await;
    assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_mail_is_sent_again_once_in_a_while() {
    let stage = stage().await;
    let order = stage.sold().await;
    let proof = proof_of(&see(&stage, &format!("/commande/{order}/"), &own(order)).await);
    let soon = act(&stage, order, "renvoyer", &own(order), &format!("proof={proof}")).await;
    assert_eq!((soon.status(), header(&soon, "retry-after")), (StatusCode::TOO_MANY_REQUESTS, "600"));
    let receipt = see(&stage, &format!("/commande/{order}/recu/"), &own(order)).await;
    for part in ["Reçu de paiement", "15\u{202f}000\u{202f}FCFA", "Orange Money", "<code>MP1</code>"] {
        assert!(text(&receipt).contains(part), "{part} in {}", text(&receipt));
    }
    let pending = stage.bought().await;
    for page in ["recu/", "recu.pdf"] {
        let none = see(&stage, &format!("/commande/{pending}/{page}"), &own(pending)).await;
        assert_eq!(header(&none, "location"), format!("/commande/{pending}/"));
    }
}

/// Payments are numbered as they come, and the receipt is the buyer's alone.
#[tokio::test]
async fn a_receipt_is_a_pdf_for_its_buyer() {
    let stage = stage().await;
    let (first, second) = (stage.sold().await, stage.sold().await);
    for (order, place) in [(first, 1), (second, 2), (first, 1)] {
        let path = format!("/commande/{order}/recu.pdf");
        let paid_at = stage.deps.load(order).unwrap().unwrap().sale().unwrap().paid_at;
        let number = format!("{}-{place:06}", paid_at.to_string().get(..4).unwrap());
        let receipt = see(&stage, &path, &own(order)).await;
        assert_eq!(receipt.status(), StatusCode::OK);
        assert_eq!(header(&receipt, "content-type"), "application/pdf");
        assert_eq!(header(&receipt, "cache-control"), "no-store");
        assert_eq!(
            header(&receipt, "content-disposition"),
            format!("inline; filename=\"recu-{number}.pdf\"")
        );
        assert!(receipt.body().starts_with(b"%PDF-"));
        assert_eq!(see(&stage, &path, &by_mail(order, 1)).await.body(), receipt.body());
        let page = see(&stage, &format!("/commande/{order}/recu/"), &own(order)).await;
        assert!(text(&page).contains(&number), "{}", text(&page));
        for stranger in ["", "achat=forged", &own(if order == first { second } else { first })] {
            assert_eq!(see(&stage, &path, stranger).await.status(), StatusCode::FORBIDDEN, "{stranger}");
        }
    }
}
