//! GET `/payment/status/<order id>/`: where an order stands, for the waiting page. No personal data.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use warp::http::StatusCode;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, VARY, X_CONTENT_TYPE_OPTIONS};
use warp::reply::{Reply, Response};

use super::answer::{self, Problem};
use super::call::Call;
use super::{Deps, Site, cors};
use crate::domain::payment::{Payment, Status};
use crate::domain::values::OrderId;

/// Live streams at one time; whoever comes later polls.
pub(crate) const STREAMS_MAX: usize = 256;
/// How long a stream lives, in minutes.
const STREAM_MINUTES_MAX: u64 = 10;
/// How often a stream looks, in seconds.
const LOOK_SECONDS: u64 = 1;
/// Looks between two signs of life on a silent stream.
const LOOKS_PER_SIGN: u32 = 15;
/// nginx holds answers back by default, which a stream must not suffer.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What the waiting page may know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Standing {
    order_id: OrderId,
    pub(crate) status: &'static str,
    pub(crate) delivered: bool,
    /// Nothing more is going to happen while the buyer looks.
    pub(crate) r#final: bool,
    /// CinetPay's code of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
}

impl Standing {
    /// Of this order.
    pub(crate) fn of(payment: &Payment) -> Self {
        let delivered = payment.sale().is_some_and(|sale| sale.delivered_at.is_some());
        let r#final = match &payment.status {
            Status::Created(_) | Status::Pending { .. } => false,
            Status::Paid(_) => delivered,
            Status::Failed { .. } | Status::Review { .. } | Status::Expired { .. } | Status::Refunded(_) => {
                true
            }
        };
        let code = match &payment.status {
            Status::Failed { code, .. } => Some(code.clone()),
            Status::Created(_)
            | Status::Pending { .. }
            | Status::Paid(_)
            | Status::Review { .. }
            | Status::Expired { .. }
            | Status::Refunded(_) => None,
        };
        Self { order_id: payment.id, status: payment.status_name(), delivered, r#final, code }
    }
}

/// JSON, or server-sent events where they are asked for.
pub(crate) fn get(site: &Arc<Site>, call: &Call) -> Response {
    if let Err(problem) = site.deps.pass(&site.deps.gates.status, call) {
        return cors::open(&site.deps, call, problem.json(call.lang()));
    }
    let id = call.segments.last().and_then(|text| OrderId::parse(text).ok());
    let known = id.map_or(Ok(None), |id| site.deps.load(id));
    let mut answer = match known {
        Err(problem) => problem.json(call.lang()),
        Ok(None) => Problem::new(StatusCode::NOT_FOUND, "unknown-order")
            .explained("Cette commande n’existe pas.", "There is no such order.")
            .json(call.lang()),
        Ok(Some(payment)) if call.accepts("text/event-stream") => live(site, &payment, call),
        Ok(Some(payment)) => answer::json(StatusCode::OK, &Standing::of(&payment)),
    };
    answer::set(&mut answer, VARY, "Accept");
    cors::open(&site.deps, call, answer)
}

struct Watch {
    deps: Arc<Deps>,
    order: OrderId,
    clock: Interval,
    until: Instant,
    last: Option<Standing>,
    silent: u32,
    _permit: OwnedSemaphorePermit,
}

fn live(site: &Arc<Site>, payment: &Payment, call: &Call) -> Response {
    let Ok(permit) = Arc::clone(&site.streams).try_acquire_owned() else {
        return Problem::unavailable().json(call.lang());
    };
    let mut clock = tokio::time::interval(Duration::from_secs(LOOK_SECONDS));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = Watch {
        deps: Arc::clone(&site.deps),
        order: payment.id,
        clock,
        until: Instant::now() + Duration::from_secs(STREAM_MINUTES_MAX * 60),
        last: None,
        silent: 0,
        _permit: permit,
    };
    let events = stream::unfold(Some(watch), |watch| async move {
        let (text, watch) = look(watch?).await?;
        Some((Ok::<String, Infallible>(text), watch))
    });
    let mut answer = warp::reply::stream(shared(Box::pin(events))).into_response();
    answer::set(&mut answer, CONTENT_TYPE, "text/event-stream");
    answer::set(&mut answer, CACHE_CONTROL, "no-store");
    answer::set(&mut answer, X_CONTENT_TYPE_OPTIONS, "nosniff");
    answer::set(&mut answer, X_ACCEL_BUFFERING, "no");
    answer
}

/// The next piece of the stream, and the watch as long as it goes on.
async fn look(mut watch: Watch) -> Option<(String, Option<Watch>)> {
    loop {
        watch.clock.tick().await;
        if Instant::now() >= watch.until || watch.deps.readiness.draining() {
            return None;
        }
        let standing = watch.deps.load(watch.order).ok().flatten().map(|payment| Standing::of(&payment));
        if standing.is_some() && standing != watch.last {
            let ended = standing.as_ref().is_some_and(|one| one.r#final);
            let text = serde_json::to_string(&standing).ok()?;
            watch.last = standing;
            watch.silent = 0;
            return Some((format!("data: {text}\n\n"), (!ended).then_some(watch)));
        }
        watch.silent += 1;
        if watch.silent >= LOOKS_PER_SIGN {
            watch.silent = 0;
            return Some((":\n\n".to_owned(), Some(watch)));
        }
    }
}

/// warp wants streamed bodies to be `Sync`, which futures seldom are. Only the body polls, so the lock never waits.
fn shared<T: 'static>(
    stream: Pin<Box<dyn Stream<Item = T> + Send>>,
) -> impl Stream<Item = T> + Send + Sync + 'static {
    let stream = Mutex::new(stream);
    stream::poll_fn(move |context| {
        stream.lock().unwrap_or_else(PoisonError::into_inner).as_mut().poll_next(context)
    })
}
