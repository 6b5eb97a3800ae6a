//! Two secrets valid at once: the webhook secret, the key that signs links, the admin token. Old ones hold until they are
//! taken out, and not a moment longer.

use reqwest::StatusCode;

use crate::process_support::notice::signed;
use crate::process_support::{ADMIN_TOKEN, PATIENCE, SECRET_KEY, WEBHOOK_SECRET, World};

const NEW_ADMIN_TOKEN: &str = "rotated-admin-token-0123456789";
const NEW_SECRET_KEY: &str = "rotated-secret-key-0123456789abcdef";
const NEW_WEBHOOK_SECRET: &str = "rotated-webhook-secret-0123456789";
/// Each variable, its old secret and its new one.
const SECRETS: [(&str, &str, &str); 3] = [
    ("CINETPAY_WEBHOOK_SECRET", WEBHOOK_SECRET, NEW_WEBHOOK_SECRET),
    ("AUDITSHIELD_SECRET_KEY", SECRET_KEY, NEW_SECRET_KEY),
    ("AUDITSHIELD_ADMIN__TOKEN", ADMIN_TOKEN, NEW_ADMIN_TOKEN),
];

/// The daemon again, with these values of the three variables.
async fn restarted(world: &mut World, value: impl Fn(&str, &str) -> String) {
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());
    for (name, old, new) in SECRETS {
        world.settings.insert(name.to_owned(), value(old, new));
    }
    world.start().await;
}

/// What a notification of this order gets that is signed with `secret`.
async fn notified(world: &World, order: &str, secret: &str) -> StatusCode {
    let site = world.settings["CINETPAY_SITE_ID"].clone();
    let (form, token) = signed(&site, secret, order, ["0505123456", "", "SUCCES"]);
    let request = world.client.post(format!("{}/payment/callback/", world.shop)).header("x-token", token);
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
    request.send().await.unwrap().status()
}

async fn admitted(world: &World, token: &str) -> StatusCode {
    world.client.get(format!("{}/api/orders", world.admin)).bearer_auth(token).send().await.unwrap().status()
}

/// What a press on the link's button gets. Counts as one download when the link is good.
async fn pressed(world: &World, link: &str) -> StatusCode {
    world.client.post(link).send().await.unwrap().status()
}

/// Sells one; its mailed link.
async fn sold(world: &World, secret: &str, mails: usize) -> String {
    let order = world.buy().await;
    world.cinetpay.approve(&order).unwrap();
    assert_eq!(notified(world, &order, secret).await, StatusCode::OK);
    let mail = world.mailbox.wait_for(mails, PATIENCE).await;
    let text = mail.last().unwrap().read().text.unwrap();
    text.split_whitespace().find(|word| word.contains("/download/")).unwrap().to_owned()
}

#[tokio::test]
async fn old_and_new_hold_together_and_then_the_new_alone() {
    let mut world = World::new(&[("AUDITSHIELD_VERIFY__FIRST_POLL", "24h")]).await;
    world.start().await;
    world.cinetpay.patch(&serde_json::json!({"notify": {"enabled": false}})).unwrap();
    let before = sold(&world, WEBHOOK_SECRET, 1).await;
    let open = world.buy().await;
    assert_eq!(notified(&world, &open, NEW_WEBHOOK_SECRET).await, StatusCode::BAD_REQUEST);
    assert_eq!(admitted(&world, NEW_ADMIN_TOKEN).await, StatusCode::UNAUTHORIZED);

    restarted(&mut world, |old, new| format!("{new},{old}")).await;
    assert_eq!(pressed(&world, &before).await, StatusCode::SEE_OTHER, "a link of before the rotation");
    let between = sold(&world, NEW_WEBHOOK_SECRET, 2).await;
    assert_eq!(pressed(&world, &between).await, StatusCode::SEE_OTHER);
    assert_eq!(
        notified(&world, &open, WEBHOOK_SECRET).await,
        StatusCode::OK,
        "an order of before the rotation"
    );
    for token in [ADMIN_TOKEN, NEW_ADMIN_TOKEN] {
        assert_eq!(admitted(&world, token).await, StatusCode::OK);
    }
    let both = format!("{NEW_ADMIN_TOKEN},{ADMIN_TOKEN}");
    assert_eq!(admitted(&world, &both).await, StatusCode::UNAUTHORIZED);
    let (code, said) = world.run(&["orders", "list"]).await;
    assert_eq!(code, 0, "our own command line: {said}");

    restarted(&mut world, |_, new| new.to_owned()).await;
    assert_eq!(pressed(&world, &before).await, StatusCode::FORBIDDEN, "the old key still signs");
    assert_eq!(
        pressed(&world, &between).await,
        StatusCode::SEE_OTHER,
        "mails of the rotation are signed with the new key"
    );
    assert_eq!(notified(&world, &open, WEBHOOK_SECRET).await, StatusCode::BAD_REQUEST);
    assert_eq!(notified(&world, &open, NEW_WEBHOOK_SECRET).await, StatusCode::OK);
    assert_eq!(admitted(&world, ADMIN_TOKEN).await, StatusCode::UNAUTHORIZED);
    assert_eq!(admitted(&world, NEW_ADMIN_TOKEN).await, StatusCode::OK);
}
