//! Whom the daemon believes over TLS: certificates of this system's authorities and of `ca_file`, and no others.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::tls::{Authority, Shown};
use super::wire::{Act, Call, Wire};
use super::{NEXT_TRY, Shifted, details, paid_and_delivered_once};
use crate::support::TestApp;

/// The same for every deadline of these tests.
const DEADLINE: &str = "5s";

/// A shop that was told of the authority by a file of `pem`, or of none, and its wire with a good certificate.
async fn shop(authority: &Authority, pem: Option<&str>) -> (TestApp, Wire, Shifted, tempfile::TempDir) {
    let (wire, shifted) = (Wire::start(Some(authority.server(Shown::Good))).await, Shifted::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let url = wire.url();
    let file = path.display().to_string();
    let mut settings = vec![("CINETPAY_API_URL", url.as_str()), ("AUDITSHIELD_CINETPAY__TIMEOUT", DEADLINE)];
    if let Some(pem) = pem {
        std::fs::write(&path, pem).unwrap();
        settings.push(("AUDITSHIELD_CINETPAY__CA_FILE", &file));
    }
    let app = TestApp::by(shifted.clock(), &settings).await;
    wire.to(app.cinetpay.addr());
    app.silent();
    (app, wire, shifted, folder)
}

async fn bought(app: &TestApp) -> (StatusCode, Value) {
    let answer = app.buy_with(&[], &json!({"email": "awa@example.ci"})).await;
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_believed_by_configuration_and_wrong_certificates_never() {
    let authority = Authority::new();
    let another = Authority::new();
    let bundle = format!("{}\n# two in one file\n{}", another.pem, authority.pem);
    let (app, wire, shifted, _folder) = shop(&authority, Some(&bundle)).await;
    for (shown, word) in [
        (Shown::WrongName, "not valid for name"),
        (Shown::Expired, "expired"),
        (Shown::SelfSigned, "UnknownIssuer"),
        (Shown::Stranger, "UnknownIssuer"),
    ] {
        let (status, body) = bought(&app).await;
        assert_eq!(status, StatusCode::CREATED, "{shown:?}: {body}");
        let order = body["order_id"].as_str().unwrap();
        app.cinetpay.approve(order).unwrap();
        wire.show(authority.server(shown)).await;
        assert_eq!(app.notify(order).await, StatusCode::OK, "{shown:?}");
        let now = app.until(order, "CHECKED").await;
        let code = details(&now, "CHECKED")[0]["code"].as_str().unwrap().to_owned();
        assert!(code.starts_with("no connection to CinetPay") && code.contains(word), "{shown:?}: {code}");
        assert_eq!(now["status"], "PENDING", "{shown:?}");
        // Init likewise: no page of an impostor's.
        let (status, _) = bought(&app).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{shown:?}");
        assert!(wire.struck() >= 2, "{shown:?}: the handshakes must have failed");
        wire.mend(Some(authority.server(Shown::Good))).await;
        shifted.forward(NEXT_TRY);
        paid_and_delivered_once(&app, order, "believed again").await;
    }
    assert_eq!(app.mailbox.messages().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_configuration_a_private_authority_is_a_stranger() {
    let authority = Authority::new();
    for pem in [None, Some(Authority::new().pem)] {
        let (app, wire, _, _folder) = shop(&authority, pem.as_deref()).await;
        let (status, body) = bought(&app).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{body}");
        let orders = app.api("orders").await;
        let order = orders["orders"][0]["order_id"].as_str().unwrap().to_owned();
        let failed = details(&app.order(&order).await, "INIT_FAILED");
        let reason = failed[0]["reason"].as_str().unwrap();
        assert!(
            reason.starts_with("no connection to CinetPay") && reason.contains("UnknownIssuer"),
            "{reason}"
        );
        drop(wire);
    }
}

/// A server that never finishes the handshake costs the connection's deadline, no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_never_ends_is_given_up() {
    let wire = Wire::start(None).await;
    wire.set(Call::Init, Act::Mute);
    let url = wire.url().replace("http://", "https://");
    let settings = [("CINETPAY_API_URL", url.as_str()), ("AUDITSHIELD_CINETPAY__CONNECT_TIMEOUT", "300ms")];
    let app = TestApp::with(&settings).await;
    let asked = tokio::time::timeout(Duration::from_secs(5), bought(&app)).await;
    assert_eq!(asked.expect("an answer long before the call's own deadline").0, StatusCode::BAD_GATEWAY);
}
