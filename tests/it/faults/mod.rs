//! The fault catalogue: servers that misbehave to a script, the real daemon between them, one line per case.

mod catalogue;
mod cinetpay;
mod clock;
mod faketime;
mod flood;
mod mail;
mod mail_gate;
mod tls;
mod trust;
mod webhook;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use auditshield::domain::values::Timestamp;
use auditshield::ports::Clock;
use serde_json::Value;

use crate::support::{TestApp, times};

/// Longer than the longest wait between two tries: a Retry-After at its bound, a mail's longest pause.
pub(crate) const NEXT_TRY: Duration = Duration::from_secs(45 * 60);

/// The machine's clock and what the test adds to it.
#[derive(Clone, Default)]
pub(crate) struct Shifted(Arc<AtomicI64>);

impl Shifted {
    pub(crate) fn clock(&self) -> Clock {
        let (shift, system) = (Arc::clone(&self.0), Clock::system());
        Clock::new(move || Timestamp::from_millis(system.now().millis() + shift.load(Ordering::SeqCst)))
    }
    pub(crate) fn forward(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
    pub(crate) fn back(&self, by: Duration) {
        self.0.fetch_sub(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

/// The details of the order's events of this kind.
pub(crate) fn details(order: &Value, kind: &str) -> Vec<Value> {
    let events = order["events"].as_array().unwrap();
    events.iter().filter(|event| event["kind"] == kind).map(|event| event["detail"].clone()).collect()
}

/// The order has been paid once and delivered once, by one mail; nothing in its history says otherwise.
pub(crate) async fn paid_and_delivered_once(app: &TestApp, order: &str, what: &str) {
    let now = app.until(order, "DELIVERED").await;
    assert_eq!((&now["status"], &now["amount"]), (&"PAID".into(), &15_000.into()), "{what}");
    let kinds = app.kinds(order).await;
    assert_eq!((times(&kinds, "PAID"), times(&kinds, "DELIVERED")), (1, 1), "{what}: {kinds:?}");
}
