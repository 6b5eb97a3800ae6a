//! The ledger on a real disk: commits, restarts, damage.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use auditshield::domain::calendar::{Period, Zone};
use auditshield::domain::event::{Decision, Event, Request, Resend};
use auditshield::domain::payment::Payment;
use auditshield::domain::values::{Attempt, Buyer, Currency, Email, Lang, Money, OrderId, Timestamp};
use auditshield::ledger::{self, CommitError, Ledger, OpenError, OpenOptions, Query, Sales};

use crate::process_support::PATIENCE;

pub(crate) const NOON: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOON.millis() + seconds * 1000)
}

pub(crate) fn open(folder: &Path) -> Ledger {
    unlocked(|| try_open(folder), |opened| !matches!(opened, Err(OpenError::InUse(_)))).unwrap()
}

/// Verifies a closed store, its index included.
pub(crate) fn verified(folder: &Path) -> ledger::Report {
    unlocked(|| ledger::verify(folder, &mut |_| ()).unwrap(), |report| report.index_compared)
}

/// Tries until the store is free. Why it may not be although it was closed: a child that another test is starting holds
/// this process's locks until it has become another program.
pub(crate) fn unlocked<T>(attempt: impl Fn() -> T, is_free: impl Fn(&T) -> bool) -> T {
    let begun = Instant::now();
    loop {
        let outcome = attempt();
        if is_free(&outcome) || begun.elapsed() > PATIENCE {
            return outcome;
        }
        std::thread::yield_now();
    }
}

fn try_open(folder: &Path) -> Result<Ledger, OpenError> {
    Ledger::open(OpenOptions::new(folder, |reason: &str| panic!("fatal: {reason}")))
}

pub(crate) fn id(number: i64) -> OrderId {
    OrderId::new(at(number), 7)
}

pub(crate) fn created(number: i64) -> Event {
    let email = Email::parse(&format!("Buyer{number}@example.ci")).unwrap();
    Event::Created {
        product: "audit-kit".into(),
        tier: "standard".into(),
        price: Money::price(15_000, Currency::Xof).unwrap(),
        buyer: Buyer { email, name: None, phone: None, lang: Lang::Fr },
        request: Some(Request { key: format!("{number:064x}"), fingerprint: "f".into() }),
    }
}

pub(crate) fn initiated(number: i64) -> Event {
    Event::Initiated {
        attempt: Attempt::FIRST,
        payment_url: "https://pay.example/1".into(),
        payment_token: "token".into(),
        check_at: at(number + 30),
    }
}

pub(crate) fn paid(number: i64) -> Event {
    Event::Paid {
        attempt: Attempt::FIRST,
        provider_tx_id: Some(format!("MP{number}")),
        payment_method: Some("OM".into()),
        expires_at: at(number + 1000),
        max_downloads: 5,
        approved: None,
    }
}

pub(crate) fn checked() -> Event {
    let (verdict, code) = ("accepted".into(), "00".into());
    Event::Checked { attempt: Attempt::FIRST, verdict, code, next_at: None }
}

pub(crate) async fn commit(ledger: &Ledger, number: i64, events: &[Event]) -> Payment {
    let before = ledger.standing(id(number)).unwrap();
    let old = before.as_ref().map(|before| &**before.payment());
    let next = Payment::evolve(old, id(number), events, at(number)).unwrap();
    let committed = ledger.commit(id(number), before.as_ref(), events, at(number)).await.unwrap();
    assert_eq!(**committed.payment(), next, "a commit is what folding its events gives");
    assert_eq!(ledger.standing(id(number)).unwrap().as_ref(), Some(&committed), "visible at once");
    next
}

/// Ten orders: every one created, the even ones pending, the last also paid.
pub(crate) async fn fill(ledger: &Ledger) {
    for number in 0..10 {
        commit(ledger, number, &[created(number)]).await;
        if number % 2 == 0 || number == 9 {
            commit(ledger, number, &[initiated(number)]).await;
        }
    }
    commit(ledger, 9, &[checked(), paid(9)]).await;
}

/// What is due of the ten; `late` seconds later where another node of a shared ledger committed them.
pub(crate) fn check_due(ledger: &Ledger, late: i64) {
    let due = ledger.due(at(32 + late), 100).unwrap();
    assert!(due.contains(&(at(30), id(0))), "{due:?}");
    assert!(due.is_sorted() && due.contains(&(at(32), id(2))) && !due.contains(&(at(34), id(4))), "{due:?}");
    assert!(due.contains(&(at(9), id(9))), "the mail is owed: {due:?}");
    assert_eq!(ledger.due(at(1000), 3).unwrap().len(), 3);
}

pub(crate) fn check_filled(ledger: &Ledger) {
    check_found(ledger);
    check_due(ledger, 0);
}

/// Everything else that can be asked of the ten.
pub(crate) fn check_found(ledger: &Ledger) {
    let counts: Vec<_> = ledger.counts().iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counts, [("CREATED", 4), ("PENDING", 5), ("PAID", 1)]);
    let ids = |query: &Query| -> Vec<OrderId> {
        ledger.list(query).unwrap().orders.iter().map(|order| order.id).collect()
    };
    let all = Query { limit: 4, ..Query::default() };
    assert_eq!(ids(&all), [id(9), id(8), id(7), id(6)]);
    let cursor = ledger.list(&all).unwrap().next_cursor;
    assert_eq!(cursor, Some(id(6)));
    let rest = Query { limit: 50, cursor, ..Query::default() };
    assert_eq!(ids(&rest), [id(5), id(4), id(3), id(2), id(1), id(0)]);
    assert_eq!(ledger.list(&rest).unwrap().next_cursor, None);
    let q = |text: &str| Query { q: Some(text.into()), limit: 50, ..Query::default() };
    assert_eq!(ids(&q("buyer3@EXAMPLE.ci")), [id(3)]);
    assert_eq!(ids(&q("mp9")), [id(9)]);
    assert_eq!(ids(&q(&id(4).to_string())), [id(4)]);
    assert_eq!(ids(&q(&id(4).to_string()[..6])).len(), 10);
    assert_eq!(ids(&q("nobody")), []);
    let status = |name: &str| Query { status: Some(name.into()), limit: 50, ..Query::default() };
    assert_eq!(ids(&status("PENDING")), [id(8), id(6), id(4), id(2), id(0)]);
    assert_eq!(ids(&status("NONSENSE")), []);
    let between = Query { since: Some(at(3)), until: Some(at(6)), limit: 50, ..Query::default() };
    assert_eq!(ids(&between), [id(5), id(4), id(3)], "from the first moment to before the last");
    let pending = Query { status: Some("PENDING".into()), ..between };
    assert_eq!(ids(&pending), [id(4)]);
    assert_eq!(ids(&Query { stalled: true, limit: 50, ..Query::default() }), []);
    let clock = |zone: &str, first, last| {
        let zone: Zone = zone.parse().unwrap();
        let day = |days| zone.day(NOON).plus(days);
        ledger.sales(Period { first: day(first), last: day(last), zone })
    };
    let sold = |day| Sales { day, currency: Currency::Xof, orders: 1, amount: 15_000 };
    // On each clock the day that it shows, wherever midnight falls.
    for zone in ["+00:00", "+01:00", "+13:00", "-12:00"] {
        let today = zone.parse::<Zone>().unwrap().day(NOON);
        assert_eq!((clock(zone, -1, 1), clock(zone, 0, 0)), (vec![sold(today)], vec![sold(today)]), "{zone}");
        assert_eq!((clock(zone, -30, -1), clock(zone, 1, 30)), (vec![], vec![]), "{zone}");
    }
    assert_ne!(
        clock("+13:00", 0, 0),
        clock("+00:00", 0, 0),
        "late in the evening in Abidjan it is tomorrow there"
    );
    let number = ledger.receipt(id(9)).unwrap().unwrap().to_string();
    assert_eq!(ids(&q(&number)), [id(9)]);
    let unpaid = Query { status: Some("PENDING".into()), ..q(&number) };
    assert_eq!(ids(&unpaid), [], "a filter holds for a receipt's number too");
    assert_eq!(ids(&q(&number.replace("000001", "000002"))), []);
    assert_eq!(ledger.oldest_pending().unwrap(), Some(at(0)));
    let key = format!("{:064x}", 3);
    assert_eq!(ledger.find_key(&key, at(60)).unwrap(), Some((id(3), "f".into())));
    assert_eq!(ledger.find_key(&key, at(3 + 24 * 3600)).unwrap(), None);
    let history = ledger.history(id(9)).unwrap();
    let kinds: Vec<_> = history.iter().map(|line| (line.version, line.events[0].kind())).collect();
    assert_eq!(kinds, [(1, "CREATED"), (2, "INITIATED"), (3, "CHECKED")]);
    let mut folded = None;
    for line in &history {
        folded = Some(Payment::evolve(folded.as_ref(), id(9), &line.events, line.at).unwrap());
    }
    assert_eq!(folded, ledger.load(id(9)).unwrap(), "folding the events gives the snapshot");
    assert_eq!(ledger.load(id(77)).unwrap(), None);
}

fn segment(folder: &Path) -> std::path::PathBuf {
    folder.join("journal/00000000000000000001.jsonl")
}

pub(crate) fn python(folder: &Path) -> bool {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify_journal.py");
    let run = Command::new("python3").arg(script).arg(folder.join("journal")).output();
    run.unwrap().status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_there_before_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("missing/store");
    let ledger = open(&store);
    fill(&ledger).await;
    check_filled(&ledger);
    assert!(ledger.probe().await.is_ok());
    assert!(ledger.health().can_commit && ledger.health().last_seq == 17);
    assert!(matches!(try_open(&store), Err(OpenError::InUse(_))));
    assert!(ledger::verify(&store, &mut |_| ()).unwrap().is_sound(), "verifies while open");
    ledger.close().await;
    assert!(matches!(ledger.probe().await, Err(CommitError::Closed)));
    let report = verified(&store);
    assert!(report.is_sound() && report.index_compared && report.orders == 10, "{report:?}");
    assert!(python(&store));
    let ledger = open(&store);
    check_filled(&ledger);
    drop(ledger);
    check_filled(&open(&store));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_does_not_continue_the_stored_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    commit(&ledger, 1, &[created(1)]).await;
    let stale = ledger.standing(id(1)).unwrap();
    commit(&ledger, 1, &[initiated(1)]).await;
    // Once while the newest state is only in memory, and once when it is only in the index.
    for round in 0..2 {
        let again = ledger.commit(id(1), None, &[created(1)], at(1)).await;
        assert!(matches!(again, Err(CommitError::Conflict)), "round {round}: {again:?}");
        let again = ledger.commit(id(1), stale.as_ref(), &[initiated(1)], at(1)).await;
        assert!(matches!(again, Err(CommitError::Conflict)), "round {round}: {again:?}");
        indexed(&ledger).await;
    }
    assert_eq!(ledger.health().last_seq, 2);
    ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_commits_at_once_share_their_syncs() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..500 {
        let ledger = ledger.clone();
        tasks.spawn(async move { commit(&ledger, number, &[created(number)]).await });
    }
    assert_eq!(tasks.join_all().await.len(), 500);
    ledger.close().await;
    let text = fs::read_to_string(segment(folder.path())).unwrap();
    let shared =
        text.lines().enumerate().filter(|(n, line)| !line.contains(&format!("\"batch\":{},", n + 1)));
    assert!(shared.count() > 100, "commits shared a write");
    assert_eq!(open(folder.path()).counts().0[0], 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_deleted_damaged_or_hit_by_a_power_cut_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path();
    let ledger = open(store);
    fill(&ledger).await;
    ledger.close().await;
    let index = store.join("index");
    let damages: [(&str, &dyn Fn()); 6] = [
        ("deleted", &|| fs::remove_dir_all(&index).unwrap()),
        ("garbage", &|| fs::write(index.join("db"), vec![0xa5; 600_000]).unwrap()),
        ("emptied", &|| fs::write(index.join("db"), []).unwrap()),
        ("config", &|| fs::write(index.join("conf"), "nonsense").unwrap()),
        ("half a snapshot", &|| fs::write(index.join("snap.0000000000000001.generating"), "x").unwrap()),
        ("power cut", &|| fs::write(store.join("index.state"), "another-boot open\n").unwrap()),
    ];
    for (name, damage) in damages {
        damage();
        let ledger = try_open(store).unwrap_or_else(|error| panic!("{name}: {error}"));
        check_filled(&ledger);
        ledger.close().await;
        let report = verified(store);
        assert!(report.is_sound() && report.index_compared, "{name}: {report:?}");
    }
    assert_eq!(ledger::rebuild(store).unwrap(), 17);
    check_filled(&open(store));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_cut_but_lost_or_flipped_history_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path();
    let ledger = open(store);
    fill(&ledger).await;
    ledger.close().await;
    let whole = fs::read(segment(store)).unwrap();
    fs::write(segment(store), [&whole[..], b"{\"seq\":18,\"prev\":\"00"].concat()).unwrap();
    assert!(!ledger::verify(store, &mut |_| ()).unwrap().is_sound());
    assert!(!python(store));
    let ledger = open(store);
    check_filled(&ledger);
    ledger.close().await;
    assert_eq!(fs::read(segment(store)).unwrap(), whole);
    for at in [40, whole.len() / 2, whole.len() - 3] {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        fs::write(segment(store), &flipped).unwrap();
        let error = try_open(store).err().unwrap().to_string();
        assert!(error.contains("00000000000000000001.jsonl") && error.contains("ledger verify"), "{error}");
        assert!(!ledger::verify(store, &mut |_| ()).unwrap().is_sound(), "byte {at}");
        assert!(!python(store), "byte {at}");
    }
    let shorter = whole[..whole.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    fs::write(segment(store), &whole[..shorter]).unwrap();
    let error = try_open(store).err().unwrap().to_string();
    assert!(error.contains("ledger rebuild"), "{error}");
    assert_eq!(ledger::rebuild(store).unwrap(), 16);
    let ledger = open(store);
    assert_eq!(ledger.load(id(9)).unwrap().unwrap().status_name(), "PENDING");
}

/// Waits until the index has taken in what the journal holds.
async fn indexed(ledger: &Ledger) {
    let begun = std::time::Instant::now();
    while ledger.health().applied_seq < ledger.health().last_seq {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "the index does not keep up");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// What an order owed before a commit is forgotten with it, in memory and in the index.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_owed_is_no_longer_due() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    for events in [vec![created(1)], vec![initiated(1)], vec![checked(), paid(1)]] {
        commit(&ledger, 1, &events).await;
        let due = ledger.due(at(1_000_000), 10).unwrap();
        assert!(matches!(due[..], [(_, order)] if order == id(1)), "{due:?}");
    }
    commit(&ledger, 1, &[Event::Delivered { remind_at: None }]).await;
    assert_eq!(ledger.due(at(1_000_000), 10).unwrap(), []);
    indexed(&ledger).await;
    assert_eq!(ledger.due(at(1_000_000), 10).unwrap(), []);
    ledger.close().await;
    let ledger = open(folder.path());
    assert_eq!(ledger.due(at(1_000_000), 10).unwrap(), [], "after a restart");
    ledger.close().await;
}

/// Moments are kept in memory; a start finds each again, wherever its order stood.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_due_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    fill(&ledger).await;
    let before = ledger.due(at(1_000_000), 1000).unwrap();
    assert!(before.len() > 3, "{before:?}");
    ledger.close().await;
    let ledger = open(folder.path());
    assert_eq!(ledger.due(at(1_000_000), 1000).unwrap(), before);
    ledger.close().await;
}

/// A mail that was refused for good is among what needs somebody until it is sent again; a restart changes nothing.
#[tokio::test]
async fn a_stalled_mail_is_listed_until_it_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    fill(&ledger).await;
    commit(&ledger, 9, &[Event::MailFailed { reason: "550".into(), next_at: None }]).await;
    let stalled = |ledger: &Ledger| {
        let page = ledger.list(&Query { stalled: true, limit: 5, ..Query::default() }).unwrap();
        (ledger.stalled(), page.orders.iter().map(|order| order.id).collect::<Vec<_>>())
    };
    assert_eq!(stalled(&ledger), (1, vec![id(9)]));
    ledger.close().await;
    let ledger = open(folder.path());
    assert_eq!(stalled(&ledger), (1, vec![id(9)]));
    let resend = Resend { link: 1, expires_at: at(2000), keeps_count: false };
    let by = Decision { by: "Awa".into(), note: String::new() };
    commit(&ledger, 9, &[Event::Note { by, resend: Some(resend), buyer: None }]).await;
    assert_eq!(stalled(&ledger), (0, vec![]));
    ledger.close().await;
    assert!(verified(folder.path()).is_sound());
}
