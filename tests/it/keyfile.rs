//! The key file on a real disk, damaged in every way: refused with its name and place, repaired, or given up by a person.

use std::fs;
use std::path::{Path, PathBuf};

use auditshield::domain::event::{Decision, Event};
use auditshield::domain::values::{Email, OrderId, Timestamp};
use auditshield::ledger::{self, LostKeys, Query};

use crate::ledger::{commit, fill, open, unlocked};

/// Bytes of a record.
const RECORD: usize = 64;

fn keys(store: &Path) -> PathBuf {
    store.join("journal/orders.keys")
}

/// A store with eleven orders, ten of which are `ledger::fill`'s and the last of which was erased.
async fn filled(store: &Path) {
    let ledger = open(store);
    fill(&ledger).await;
    commit(&ledger, 11, &[crate::ledger::created(11)]).await;
    commit(&ledger, 11, &[Event::Erased { by: "admin".into() }]).await;
    ledger.close().await;
}

/// What a start says, in one line.
fn start(store: &Path) -> Result<(), String> {
    let opened = unlocked(
        || ledger::Ledger::open(ledger::OpenOptions::new(store, |reason: &str| panic!("fatal: {reason}"))),
        |opened| !matches!(opened, Err(ledger::OpenError::InUse(_))),
    );
    opened.map(drop).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_damage_to_the_key_file_has_its_outcome() {
    type Damage = fn(&mut Vec<u8>);
    // Name, damage, whether a start sees it, whether `ledger verify` does, the offset that is named.
    let rows: &[(&str, Damage, bool, bool, &str)] = &[
        ("untouched", |_| (), false, false, ""),
        ("a torn record behind the last", |file| file.extend([7; 40]), false, false, ""),
        ("a whole record that no line names", |file| file.extend([0; RECORD]), false, false, ""),
        ("a bit flipped in the first key", |file| file[RECORD + 20] ^= 1, false, true, "64"),
        ("a bit flipped in the first key's check", |file| file[2 * RECORD - 1] ^= 1, false, true, "64"),
        ("the first key zeroed without a mark", |file| file[RECORD..2 * RECORD].fill(0), false, true, "64"),
        (
            "two keys exchanged",
            |file| {
                let (one, two) = file[RECORD..3 * RECORD].split_at_mut(RECORD);
                one.swap_with_slice(two);
            },
            false,
            true,
            "64",
        ),
        (
            "the erased order's mark gone",
            |file| {
                file.truncate(11 * RECORD);
            },
            false,
            false,
            "",
        ),
        (
            "the last two records gone",
            |file| {
                file.truncate(10 * RECORD);
            },
            true,
            true,
            "640",
        ),
        ("the file's own record damaged", |file| file[3] ^= 1, true, true, "0"),
        ("empty", Vec::clear, true, true, ""),
    ];
    for (name, damage, at_start, at_verify, offset) in rows {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        filled(&store).await;
        let mut bytes = fs::read(keys(&store)).unwrap();
        assert_eq!(bytes.len(), 12 * RECORD, "a record for the file, and one for each order");
        damage(&mut bytes);
        fs::write(keys(&store), &bytes).unwrap();
        let verified = ledger::verify(&store, &mut |_| ());
        let found = verified.map_or_else(|error| vec![error.to_string()], |report| report.findings);
        assert_eq!(!found.is_empty(), *at_verify, "{name}: {found:?}");
        let said = found.join("\n");
        assert!(!at_verify || (said.contains("orders.keys") && said.contains(offset)), "{name}: {said}");
        let started = start(&store);
        assert_eq!(started.is_err(), *at_start, "{name}: {started:?}");
        if let Err(said) = started {
            assert!(said.contains("orders.keys") && said.contains("ledger rebuild"), "{name}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_file_is_refused_put_back_or_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let (store, backup) = (folder.path().join("store"), folder.path().join("backup"));
    filled(&store).await;
    ledger::backup(&store, &backup, &mut |_| ()).unwrap();
    fs::remove_file(keys(&store)).unwrap();
    for _ in 0..2 {
        let said = start(&store).unwrap_err();
        assert!(said.contains("orders.keys, octet 64") && said.contains("orders.keys, byte 64"), "{said}");
    }
    assert!(ledger::rebuild(&store).unwrap_err().to_string().contains("--accept-lost-keys"));
    // A backup now would lose the keys that it has.
    let refused = ledger::backup(&store, &backup, &mut |_| ()).unwrap_err().to_string();
    assert!(refused.contains("garde ses clés"), "{refused}");
    // Nor does it take over a record that has rotted; one that was torn and never needed is no matter.
    let good = fs::read(backup.join("journal/orders.keys")).unwrap();
    let mut rotten = [&good[..], &[b'?'; RECORD]].concat();
    fs::write(keys(&store), &rotten).unwrap();
    ledger::backup(&store, &backup, &mut |_| ()).unwrap();
    rotten[2 * RECORD + 20] ^= 1;
    fs::write(keys(&store), &rotten).unwrap();
    let refused = ledger::backup(&store, &backup, &mut |_| ()).unwrap_err().to_string();
    assert!(
        refused.contains("128") && fs::read(backup.join("journal/orders.keys")).unwrap().starts_with(&good)
    );
    // Put back from the backup.
    fs::copy(backup.join("journal/orders.keys"), keys(&store)).unwrap();
    ledger::rebuild(&store).unwrap();
    let ledger = open(&store);
    let query = Query { q: Some("buyer3@example.ci".into()), limit: 5, ..Query::default() };
    let found = ledger.list(&query).unwrap().orders;
    assert_eq!((found.len(), found[0].buyer.email.expose()), (1, "Buyer3@example.ci"));
    ledger.close().await;
    // Given up: amounts and statuses go on, the buyers are gone, and verification says so without a finding.
    fs::remove_file(keys(&store)).unwrap();
    ledger::rebuild_with(&store, LostKeys::Accepted).unwrap();
    let report = ledger::verify(&store, &mut |_| ()).unwrap();
    assert!(report.is_sound() && report.index_compared, "{:?}", report.findings);
    assert_eq!((report.orders, report.erased, report.given_up), (11, 1, 10));
    let ledger = open(&store);
    let page = ledger.list(&Query { limit: 20, ..Query::default() }).unwrap();
    assert!(page.orders.iter().all(|order| order.buyer.is_erased() && order.price.amount() == 15_000));
    // New orders are sealed with new keys, and a restoration of the backup asks for the same decision.
    commit(&ledger, 30, &[crate::ledger::created(30)]).await;
    ledger.close().await;
    fs::remove_file(backup.join("journal/orders.keys")).unwrap();
    let place = folder.path().join("place");
    let said = ledger::restore(&backup, &place, &mut |_| ()).unwrap_err().to_string();
    assert!(said.contains("orders.keys"), "{said}");
    ledger::restore_with(&backup, &place, LostKeys::Accepted, &mut |_| ()).unwrap();
    assert!(ledger::verify(&place, &mut |_| ()).unwrap().is_sound());
}

/// An older key file, put back beside a journal that knows of the erasure: found, and destroyed again by a rebuild.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_key_file_does_not_undo_an_erasure() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let ledger = open(&store);
    commit(&ledger, 1, &[crate::ledger::created(1)]).await;
    ledger.close().await;
    let older = fs::read(keys(&store)).unwrap();
    let ledger = open(&store);
    commit(&ledger, 1, &[Event::Erased { by: "admin".into() }]).await;
    ledger.close().await;
    fs::write(keys(&store), &older).unwrap();
    let report = ledger::verify(&store, &mut |_| ()).unwrap();
    assert!(report.findings.iter().any(|one| one.contains("is still there")), "{:?}", report.findings);
    ledger::rebuild(&store).unwrap();
    assert_ne!(fs::read(keys(&store)).unwrap(), older);
    assert!(ledger::verify(&store, &mut |_| ()).unwrap().is_sound());
}

/// A key whose overwriting was torn, and a mark that rotted: the journal says that they were erased, so a start that needs
/// them completes the erasure instead of refusing.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_erasure_is_completed() {
    for (name, torn) in
        [("half overwritten", RECORD + 16..RECORD + 32), ("its mark rotten", RECORD + 48..RECORD + 49)]
    {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let ledger = open(&store);
        commit(&ledger, 1, &[crate::ledger::created(1)]).await;
        commit(&ledger, 2, &[crate::ledger::created(2)]).await;
        commit(&ledger, 1, &[Event::Erased { by: "admin".into() }]).await;
        ledger.close().await;
        let mut bytes = fs::read(keys(&store)).unwrap();
        bytes[torn].fill(b'?');
        fs::write(keys(&store), bytes).unwrap();
        fs::remove_dir_all(store.join("index")).unwrap();
        let ledger = open(&store);
        ledger.close().await;
        assert_eq!(
            fs::read(keys(&store)).unwrap()[RECORD + 16..RECORD + 49],
            [&[0; 32][..], b"E"].concat(),
            "{name}"
        );
        let report = crate::ledger::verified(&store);
        assert!(report.is_sound() && report.erased == 1, "{name}: {:?}", report.findings);
    }
}

/// A reason that somebody types about an erased order is sealed with a key of its own, and the next erasure takes it.
#[tokio::test(flavor = "multi_thread")]
async fn an_erased_order_takes_new_reasons_and_loses_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let ledger = open(&store);
    let note = |text: &str| Event::Note {
        by: Decision { by: "admin".into(), note: text.into() },
        resend: None,
        buyer: None,
    };
    let id = OrderId::new(Timestamp::from_millis(1_700_000_001_000), 7);
    let notes = |ledger: &ledger::Ledger| -> Vec<String> {
        let lines = ledger.history(id).unwrap();
        let events = lines.into_iter().flat_map(|line| line.events);
        events
            .filter_map(|event| if let Event::Note { by, .. } = event { Some(by.note) } else { None })
            .collect()
    };
    let erased = Event::Erased { by: "admin".into() };
    for events in [crate::ledger::created(1), note("first"), erased.clone(), note("second")] {
        commit(&ledger, 1, &[events]).await;
    }
    assert_eq!(notes(&ledger), ["effacé", "second"]);
    commit(&ledger, 1, &[erased]).await;
    assert_eq!(notes(&ledger), ["effacé", "effacé"]);
    assert_eq!(ledger.mentions(&Email::parse("buyer1@example.ci").unwrap()).unwrap(), []);
    ledger.close().await;
    let report = ledger::verify(&store, &mut |_| ()).unwrap();
    assert!(report.is_sound() && report.erased == 1, "{:?}", report.findings);
}

fn erased() -> [Event; 1] {
    [Event::Erased { by: "admin".into() }]
}

/// The address that stands in an order's first line.
fn address(ledger: &ledger::Ledger, number: i64) -> String {
    let lines = ledger.history(crate::ledger::id(number)).unwrap();
    match &lines[0].events[0] {
        Event::Created { buyer, .. } => buyer.email.expose().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// The orders' numbers by record, as the file tells them, and what state each is in.
fn records(store: &Path) -> Vec<(OrderId, u8)> {
    let bytes = fs::read(keys(store)).unwrap();
    let own = |record: &[u8]| (OrderId::from_bytes(record[..16].try_into().unwrap()), record[48]);
    bytes.chunks(RECORD).skip(1).map(own).collect()
}

/// A file that has lost its end behind an erased order: the mark is written again, a record is never given to a second
/// order, and the erased order reads as erased.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_end_gives_no_record_to_a_second_order() {
    let id = crate::ledger::id;
    for (name, index_left) in [("with its index", true), ("without", false)] {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let ledger = open(&store);
        for number in [1, 2] {
            commit(&ledger, number, &[crate::ledger::created(number)]).await;
        }
        commit(&ledger, 2, &erased()).await;
        ledger.close().await;
        let mut bytes = fs::read(keys(&store)).unwrap();
        bytes.truncate(2 * RECORD);
        fs::write(keys(&store), &bytes).unwrap();
        if !index_left {
            fs::remove_dir_all(store.join("index")).unwrap();
        }
        let ledger = open(&store);
        assert_eq!(address(&ledger, 2), "effacé", "{name}");
        commit(&ledger, 3, &[crate::ledger::created(3)]).await;
        assert_eq!(address(&ledger, 2), "effacé", "{name}");
        ledger.close().await;
        assert_eq!(records(&store), [(id(1), b'K'), (id(2), b'E'), (id(3), b'K')], "{name}");
        ledger::rebuild(&store).unwrap();
        let report = crate::ledger::verified(&store);
        assert!(report.is_sound() && report.index_compared && report.erased == 1, "{:?}", report.findings);
        let ledger = open(&store);
        assert_eq!(address(&ledger, 3), "Buyer3@example.ci", "{name}");
        ledger.close().await;
    }
}

/// A line with another place in the chain.
fn reframed(line: &str, seq: u64, prev: &str) -> String {
    let (_, body) = line.split_once(",\"at\":").unwrap();
    let (body, _) = body.rsplit_once(",\"hash\":").unwrap();
    let text = format!("{{\"seq\":{seq},\"prev\":\"{prev}\",\"batch\":{seq},\"at\":{body}");
    let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&text));
    format!("{text},\"hash\":\"{hash}\"}}\n")
}

/// A store in which an earlier version has given the record of an erased order to another one: neither a start nor a
/// rebuild destroys the other's key, and both orders read as they should.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_given_twice_stays_the_second_orders() {
    let folder = tempfile::tempdir().unwrap();
    let (store, second) = (folder.path().join("store"), folder.path().join("second"));
    let ledger = open(&store);
    commit(&ledger, 1, &[crate::ledger::created(1)]).await;
    ledger.close().await;
    ledger::backup(&store, &folder.path().join("backup"), &mut |_| ()).unwrap();
    ledger::restore(&folder.path().join("backup"), &second, &mut |_| ()).unwrap();
    let ledger = open(&second);
    commit(&ledger, 3, &[crate::ledger::created(3)]).await;
    ledger.close().await;
    let ledger = open(&store);
    commit(&ledger, 2, &[crate::ledger::created(2)]).await;
    commit(&ledger, 2, &erased()).await;
    ledger.close().await;
    let segment = |store: &Path| store.join("journal/00000000000000000001.jsonl");
    let (mut text, other) =
        (fs::read_to_string(segment(&store)).unwrap(), fs::read_to_string(segment(&second)).unwrap());
    let head = text.trim_end().rsplit_once(",\"hash\":\"").unwrap().1.trim_end_matches("\"}").to_owned();
    text += &reframed(other.lines().nth(1).unwrap(), 4, &head);
    fs::write(segment(&store), text).unwrap();
    fs::copy(keys(&second), keys(&store)).unwrap();
    let given = fs::read(keys(&store)).unwrap();
    for rebuild in [true, false, true] {
        if rebuild {
            ledger::rebuild(&store).unwrap();
        }
        let ledger = open(&store);
        assert_eq!((address(&ledger, 2), address(&ledger, 3)), ("effacé".into(), "Buyer3@example.ci".into()));
        ledger.close().await;
        assert_eq!(fs::read(keys(&store)).unwrap(), given);
    }
    let report = crate::ledger::verified(&store);
    assert!(report.is_sound() && report.erased == 1, "{:?}", report.findings);
    let ledger = open(&store);
    commit(&ledger, 4, &[crate::ledger::created(4)]).await;
    ledger.close().await;
    let id = crate::ledger::id;
    assert_eq!(records(&store), [(id(1), b'K'), (id(3), b'K'), (id(4), b'K')]);
}
