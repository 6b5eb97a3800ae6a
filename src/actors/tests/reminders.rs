//! Reminders wait; mails with a link do not.

use tokio::sync::Semaphore;

use super::*;
use crate::domain::event::Event;
use crate::domain::values::Timestamp;
use crate::ports::Occasion;

/// Reminders that are due at once: more than one look at the due index reads.
const BACKLOG: u128 = 1_500;

/// A mail server that takes deliveries at once and holds reminders up.
struct Gate {
    reminders: Arc<Semaphore>,
    begun: AtomicU64,
    under_way: AtomicU64,
    most: AtomicU64,
}

impl Mailer for Gate {
    fn send(&self, letter: Letter) -> PortFuture<'_, Posted> {
        Box::pin(async move {
            if letter.occasion != Occasion::Delivery {
                self.begun.fetch_add(1, Ordering::SeqCst);
                self.most.fetch_max(self.under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                self.reminders.acquire().await.unwrap().forget();
                self.under_way.fetch_sub(1, Ordering::SeqCst);
            }
            Posted::Accepted
        })
    }
}

/// The whole history of an order that was paid; delivered long ago, or still to be mailed.
fn history(now: Timestamp, remind_at: Option<Timestamp>) -> Vec<Event> {
    let Input::Buy(purchase) = buy() else { panic!("no purchase") };
    let Purchase { product, tier, price, buyer, request } = *purchase;
    let (verdict, code) = ("accepted".to_owned(), "00".to_owned());
    let mut events = vec![
        Event::Created { product, tier, price, buyer, request },
        Event::Checked { attempt: Attempt::FIRST, verdict, code, next_at: None },
        Event::Paid {
            attempt: Attempt::FIRST,
            provider_tx_id: None,
            payment_method: None,
            expires_at: now.plus(Duration::from_secs(3600)),
            max_downloads: 5,
            approved: None,
        },
    ];
    events.extend(remind_at.map(|at| Event::Delivered { remind_at: Some(at) }));
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_of_reminders_delays_no_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(OpenOptions::new(folder.path(), |_| {})).unwrap();
    let clock = Clock::system();
    let now = clock.now();
    let before = |seconds| now.minus(Duration::from_secs(seconds));
    let unused: Vec<OrderId> = (0..BACKLOG).map(id).collect();
    let due = unused.iter().map(|order| {
        let (ledger, events) = (ledger.clone(), history(now, Some(before(600))));
        async move { ledger.commit(*order, None, &events, before(1_200)).await.map(drop) }
    });
    futures_util::future::try_join_all(due).await.unwrap();
    // Due a moment after all of them.
    let paid = id(BACKLOG);
    ledger.commit(paid, None, &history(now, None), before(1)).await.unwrap();
    let gate = Arc::new(Gate {
        reminders: Arc::new(Semaphore::new(0)),
        begun: AtomicU64::new(0),
        under_way: AtomicU64::new(0),
        most: AtomicU64::new(0),
    });
    let settings = small(16);
    let parts = Parts {
        ledger: ledger.clone(),
        provider: Arc::new(World::default()),
        mailer: gate.clone(),
        catalog: crate::ports::Current::new(crate::domain::catalog::Catalog::default()),
        policy: Policy::default(),
        clock,
        settings: settings.clone(),
    };
    let shared = Shared::of(parts);
    let (orders, running) = Orders::launch(Arc::clone(&shared), settings).await.unwrap();
    let (world, census) = (Arc::new(World::default()), Arc::new(Census::default()));
    let stage = Stage { orders, shared, census, world, _running: running, _folder: folder };
    stage.delivered(paid).await;
    assert!(gate.begun.load(Ordering::SeqCst) <= 1, "the first reminder is still on its way");
    // They go out one after the other, and each only once.
    let few = 20;
    gate.reminders.add_permits(few);
    while gate.begun.load(Ordering::SeqCst) <= u64::try_from(few).unwrap() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(gate.most.load(Ordering::SeqCst), 1);
    let reminded = unused.iter().filter(|order| stage.kinds(**order).contains(&"REMINDED"));
    assert_eq!(reminded.count(), few);
}
