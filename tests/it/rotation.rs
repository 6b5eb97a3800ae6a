//! Two secrets valid at once: the webhook secret, the key that signs links, the admin token. Old ones hold until they are
//! taken out, and not a moment longer.

use reqwest::StatusCode;

use crate::process_support::notice::signed;
use crate::process_support::{ADMIN_TOKEN, EMAIL, PATIENCE, SECRET_KEY, WEBHOOK_SECRET, World};

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

/// One purchase, as a client with an `Idempotency-Key` asks for it: the status, and the order it is about.
async fn asked(world: &World, key: &str, email: &str) -> (StatusCode, String) {
    let request = world.client.post(format!("{}/buy/audit-kit/standard/", world.shop));
    let request = request.header("accept", "application/json").header("idempotency-key", key);
    let answer = request.json(&serde_json::json!({"email": email})).send().await.unwrap();
    let status = answer.status();
    let body: serde_json::Value = answer.json().await.unwrap();
    (status, body["order_id"].as_str().unwrap_or_default().to_owned())
}

/// The same by our own form, which names its request: the payment page that it leads to.
async fn form_sent(world: &World) -> String {
    let fields = [("email", EMAIL), ("request", "0123456789abcdef0123456789abcdef")];
    let request = world.client.post(format!("{}/buy/audit-kit/standard/", world.shop));
    let answer = request.header("accept", "text/html").form(&fields).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    answer.headers()["location"].to_str().unwrap().to_owned()
}

async fn with_keys(world: &mut World, keys: &str) {
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());
    world.settings.insert("AUDITSHIELD_SECRET_KEY".to_owned(), keys.to_owned());
    world.start().await;
}

/// A purchase repeated while the signing key is rotated goes on with its order, whichever key the order was stored under
/// and whichever is in use; once the old key is out, what was stored under the new one is still known.
async fn repeats_find_their_order(mut world: World) {
    let both = format!("{NEW_SECRET_KEY},{SECRET_KEY}");
    world.start().await;
    let (status, before) = asked(&world, "before", EMAIL).await;
    assert_eq!(status, StatusCode::CREATED);
    let form = form_sent(&world).await;

    with_keys(&mut world, &both).await;
    assert_eq!(asked(&world, "before", EMAIL).await, (StatusCode::CREATED, before.clone()));
    assert_eq!(form_sent(&world).await, form);
    let other = asked(&world, "before", "someone.else@example.ci").await.0;
    assert_eq!(other, StatusCode::UNPROCESSABLE_ENTITY, "the key stands for what was asked then");
    let (status, during) = asked(&world, "during", EMAIL).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_ne!(during, before);

    // Taken back: what was stored under the new key meanwhile is known too.
    with_keys(&mut world, &format!("{SECRET_KEY},{NEW_SECRET_KEY}")).await;
    for (key, order) in [("before", &before), ("during", &during)] {
        assert_eq!(asked(&world, key, EMAIL).await, (StatusCode::CREATED, order.clone()), "{key}");
    }

    with_keys(&mut world, NEW_SECRET_KEY).await;
    assert_eq!(asked(&world, "during", EMAIL).await, (StatusCode::CREATED, during.clone()));
    let (status, again) = asked(&world, "before", EMAIL).await;
    assert_eq!(status, StatusCode::CREATED);
    assert!(![before, during].contains(&again), "the old key is gone, and what only it could recognise");
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());
}

#[tokio::test]
async fn a_repeated_purchase_finds_its_order_through_a_rotation() {
    repeats_find_their_order(World::new(&[]).await).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn the_same_on_a_shared_database() {
    let Some(database) = crate::postgres::Database::new().await else { return };
    repeats_find_their_order(World::new(&[("AUDITSHIELD_STORE__URL", &database.url())]).await).await;
}
