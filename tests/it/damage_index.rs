//! A damaged index: whatever is done to it, a start ends with what the journal says, and verification finds it first.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use auditshield::domain::event::Event;
use auditshield::ledger::{self, Ledger, OpenError, OpenOptions};
use tokio::task::JoinSet;

use crate::damage::copy_folder;
use crate::ledger::{
    check_filled, checked, commit, created, fill, initiated, open, paid, unlocked, verified,
};
use crate::process_support::{PATIENCE, World};

/// The index's file is cut, and a bit of it flipped, at so many places.
const PLACES: u64 = 8;
/// Orders that need many pages.
const MANY: i64 = 4_000;
/// The damaged order is the last one of a part of them; parts are tried until one hides the damage.
const PARTS: usize = 32;

/// sled's file, and how much of it is written: behind that it holds zeros only.
fn data_file(store: &Path) -> (PathBuf, u64) {
    let data = store.join("index/db");
    let used = fs::read(&data).unwrap().iter().rposition(|&byte| byte != 0).unwrap() as u64 + 1;
    (data, used)
}

/// A copy of a store with one bit of its index turned over.
fn flipped(sound: &Path, copy: &Path, at: u64) {
    copy_folder(sound, copy);
    let (file, _) = data_file(copy);
    let mut bytes = fs::read(&file).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 1 << (at % 8);
    fs::write(&file, bytes).unwrap();
}

/// As a process that was killed leaves it: the next start looks at everything.
fn note_killed(store: &Path) {
    let state = fs::read_to_string(store.join("index.state")).unwrap().replace("clean", "open");
    fs::write(store.join("index.state"), state).unwrap();
}

/// Whether the index was set aside, to be made anew.
fn was_set_aside(store: &Path) -> bool {
    let mut names =
        fs::read_dir(store).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.any(|name| name.starts_with("index.broken-"))
}

/// Opens a store whose ledger may ask for the end of the process.
fn open_until_fatal(store: &Path) -> (Ledger, Receiver<String>) {
    let (fatal, told) = channel();
    let options = || {
        let fatal = fatal.clone();
        OpenOptions::new(store, move |reason: &str| fatal.send(reason.to_owned()).unwrap())
    };
    let opened = unlocked(|| Ledger::open(options()), |opened| !matches!(opened, Err(OpenError::InUse(_))));
    (opened.unwrap(), told)
}

/// What the background reading finds: the reason for which the process is to end, or none.
fn background_finding(ledger: &Ledger, told: &Receiver<String>) -> Option<String> {
    let begun = Instant::now();
    loop {
        let read = !ledger.health().index_in_doubt;
        match told.recv_timeout(Duration::from_millis(5)) {
            Ok(reason) => return Some(reason),
            Err(_) if read => return None,
            Err(_) => assert!(begun.elapsed() < PATIENCE, "the index is never read to its end"),
        }
    }
}

/// A store with the usual ten orders, closed in order.
async fn filled(folder: &Path) -> PathBuf {
    let store = folder.join("sound");
    let ledger = open(&store);
    fill(&ledger).await;
    ledger.close().await;
    store
}

/// Starts on the store, compares everything, stops, verifies.
async fn recovers(store: &Path, name: &str) {
    let (ledger, told) = open_until_fatal(store);
    check_filled(&ledger);
    assert_eq!(background_finding(&ledger, &told), None, "{name}");
    ledger.close().await;
    let report = verified(store);
    assert!(report.is_sound() && report.index_compared, "{name}: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_cut_or_flipped_anywhere_never_speaks_against_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let sound = filled(folder.path()).await;
    let (_, used) = data_file(&sound);
    for place in 0..PLACES {
        for (kind, closed) in [("cut", true), ("cut", false), ("flipped", true), ("flipped", false)] {
            let name = format!("{kind} at {place}/{PLACES}, closed {closed}");
            let store = folder.path().join(name.replace(['/', ' '], "-"));
            let at = used * place / PLACES;
            if kind == "cut" {
                copy_folder(&sound, &store);
                fs::File::options().write(true).open(data_file(&store).0).unwrap().set_len(at).unwrap();
            } else {
                flipped(&sound, &store, at);
            }
            if !closed {
                note_killed(&store);
            }
            recovers(&store, &name).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_index_is_brought_level_and_one_of_another_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, older) = (folder.path().join("store"), folder.path().join("older"));
    let ledger = open(&store);
    crate::ledger::commit(&ledger, 50, &[crate::ledger::created(50)]).await;
    ledger.close().await;
    copy_folder(&store, &older);
    let ledger = open(&store);
    fill(&ledger).await;
    ledger.close().await;
    let newer = folder.path().join("newer");
    copy_folder(&store, &newer);

    // Older than the journal: replayed.
    fs::remove_dir_all(store.join("index")).unwrap();
    copy_folder(&older.join("index"), &store.join("index"));
    let ledger = open(&store);
    assert_eq!((ledger.health().applied_seq, ledger.counts().iter().map(|(_, n)| n).sum::<u64>()), (18, 11));
    ledger.close().await;
    assert!(ledger::verify(&store, &mut |_| ()).unwrap().is_sound());

    // Ahead of the journal: acknowledged lines have vanished.
    fs::remove_dir_all(older.join("index")).unwrap();
    copy_folder(&newer.join("index"), &older.join("index"));
    let refused = |store: &Path| {
        Ledger::open(OpenOptions::new(store, |_: &str| ())).err().expect("refused").to_string()
    };
    let said = refused(&older);
    for word in ["00000000000000000001.jsonl", "line 1 ", "line 18", "ledger rebuild", "backup"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!ledger::verify(&older, &mut |_| ()).unwrap().is_sound());

    // Of a journal with another past.
    let other = folder.path().join("other");
    let ledger = open(&other);
    for number in 60..80 {
        crate::ledger::commit(&ledger, number, &[crate::ledger::created(number)]).await;
    }
    ledger.close().await;
    fs::remove_dir_all(other.join("index")).unwrap();
    copy_folder(&newer.join("index"), &other.join("index"));
    let said = refused(&other);
    assert!(said.contains("00000000000000000001.jsonl") && said.contains("ledger rebuild"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_too_many_or_too_few_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let sound = filled(folder.path()).await;
    // One kind of key after the other: order, status, due, e-mail, transaction, request, its age, the mark.
    for kind in *b"osdetkxm" {
        for remove in [true, false] {
            let store = folder.path().join(format!("{}-{remove}", char::from(kind)));
            copy_folder(&sound, &store);
            let db = sled::open(store.join("index")).unwrap();
            let (key, value) = db.scan_prefix([kind]).next().expect("a key of each kind").unwrap();
            if remove {
                db.remove(&key).unwrap();
            } else {
                let mut other = key.to_vec();
                *other.last_mut().unwrap() ^= 1;
                db.insert(other, value).unwrap();
            }
            db.flush().unwrap();
            drop(db);
            let report = verified(&store);
            assert!(!report.is_sound() && report.index_compared, "{} {remove}", char::from(kind));
            let words = report.findings.join("\n");
            assert!(words.contains("ledger rebuild"), "{words}");
        }
    }
}

/// A store with many orders, left by a process that was killed. The page with one order's state is damaged, wherever it
/// stands: sled does not read it when it opens, nor does a start.
async fn with_hidden_damage(folder: &Path) -> PathBuf {
    let store = folder.join("many");
    let ledger = open(&store);
    let mut tasks = JoinSet::new();
    for number in 0..MANY {
        let ledger = ledger.clone();
        // At rest: a start reads every order that is due at some moment.
        let delivered = Event::Delivered { remind_at: None };
        let life = [created(number), initiated(number), checked(), paid(number), delivered];
        tasks.spawn(async move { commit(&ledger, number, &life).await });
    }
    assert_eq!(tasks.join_all().await.len(), usize::try_from(MANY).unwrap());
    ledger.close().await;
    let db = reopened(&store).await;
    let states: Vec<_> = db.scan_prefix(b"o").values().map(Result::unwrap).collect();
    drop(db);
    // This opening writes sled's snapshot: what it covers is not looked at when sled opens again.
    drop(reopened(&store).await);
    note_killed(&store);
    let damaged = |part: usize| {
        let copy = folder.join(format!("damaged-{part}"));
        copy_folder(&store, &copy);
        damage(&copy, &states[states.len() * part / PARTS]);
        hides(&copy, &folder.join(format!("probed-{part}"))).then_some(copy)
    };
    (1..PARTS).find_map(damaged).expect("damage that sled does not see when it opens")
}

/// Turns a bit over in every place where this state stands in sled's file.
fn damage(store: &Path, state: &[u8]) {
    let (file, _) = data_file(store);
    let mut bytes = fs::read(&file).unwrap();
    let windows = bytes.windows(state.len()).enumerate();
    let places: Vec<usize> = windows.filter(|(_, found)| *found == state).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "the state is not found in sled's file");
    places.iter().for_each(|at| bytes[at + state.len() / 2] ^= 4);
    fs::write(&file, bytes).unwrap();
}

/// Whether sled opens this index, reads of it what a start reads, and then fails to read all of it. Tried on a copy: opening
/// changes it.
fn hides(store: &Path, copy: &Path) -> bool {
    copy_folder(store, copy);
    let Ok(Ok(db)) = catch_unwind(|| sled::open(copy.join("index"))) else { return false };
    let read = |looked_at: &dyn Fn() -> bool| catch_unwind(AssertUnwindSafe(looked_at)).unwrap_or(false);
    // The index's notes about itself, what is due, the sums, and the newest order. They share pages with their neighbours.
    let starts = read(&|| {
        let kinds = ["d", "h", "l", "m", "u"];
        kinds.iter().all(|kind| db.scan_prefix(kind).all(|entry| entry.is_ok()))
            && db.range(*b"o"..*b"p").next_back().is_some_and(|entry| entry.is_ok())
    });
    starts && !read(&|| db.iter().all(|entry| entry.is_ok()))
}

/// Damage that only the reading beside the daemon's work comes across: it is noted, and the next start makes the index
/// anew. A ledger that closes before the reading has ended does not note the index as sound.
#[tokio::test(flavor = "multi_thread")]
async fn damage_that_the_background_reading_finds_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = with_hidden_damage(folder.path()).await;
    let state = |store: &Path| fs::read_to_string(store.join("index.state")).unwrap();

    let closed = folder.path().join("closed at once");
    copy_folder(&damaged, &closed);
    let (ledger, _told) = open_until_fatal(&closed);
    ledger.close().await;
    assert!(!state(&closed).contains("clean"), "a damaged index counts as closed in order");

    let (ledger, told) = open_until_fatal(&damaged);
    assert_eq!(background_finding(&ledger, &told).as_deref(), Some("the index is damaged"));
    ledger.close().await;
    assert!(state(&damaged).contains("damaged") && !was_set_aside(&damaged), "{}", state(&damaged));
    open(&damaged).close().await;
    assert!(was_set_aside(&damaged));
    let report = verified(&damaged);
    assert!(report.is_sound() && report.index_compared, "{report:?}");
    assert_eq!(report.orders, u64::try_from(MANY).unwrap());
}

/// The daemon ends, says why, and its next start has everything that was acknowledged, before and after the damage.
#[tokio::test(flavor = "multi_thread")]
async fn damage_that_the_background_reading_finds_ends_the_process_and_the_next_start_heals() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = with_hidden_damage(folder.path()).await;
    let mut world = World::new(&[("AUDITSHIELD_VERIFY__FIRST_POLL", "1h")]).await;
    let store = world.path("store");
    copy_folder(&damaged, &store);
    world.spawn();
    // Whatever it answers until then is durable: no answer, an error, or a purchase that counts.
    let mut taken = Vec::new();
    let begun = Instant::now();
    let code = loop {
        if let Some(code) = world.ended_with() {
            break code;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end: {}", world.said());
        taken.extend(world.try_buy("awa@example.ci").await.ok());
    };
    world.forget();
    assert_eq!(code, 1, "{}", world.said());
    assert!(world.said().contains("the index is damaged") && !was_set_aside(&store), "{}", world.said());
    world.start().await;
    assert!(was_set_aside(&store), "{}", world.said());
    for order in &taken {
        world.order(order).await;
    }
    println!("{} purchases were answered 201 before the damage was found", taken.len());
    world.buy().await;
    world.term();
    assert_eq!(world.end().await.code(), Some(0), "{}", world.said());
    let report = verified(&store);
    assert!(report.is_sound() && report.index_compared, "{report:?}");
    // A purchase that was not answered may have been taken, too.
    let least = u64::try_from(MANY).unwrap() + taken.len() as u64 + 1;
    assert!((least..=least + 1).contains(&report.orders), "{report:?}");
}

/// A state that cannot be read is folded again from the journal where it is asked for. A commit continues that, takes the
/// order's former keys back and heals the index.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_on_a_state_of_an_unknown_format_continues_what_the_journal_says() {
    let folder = tempfile::tempdir().unwrap();
    let sound = filled(folder.path()).await;
    for name in ["format 2", "rotten"] {
        let store = folder.path().join(name);
        copy_folder(&sound, &store);
        let db = sled::open(store.join("index")).unwrap();
        // The oldest order: PENDING.
        let (key, value) = db.scan_prefix(b"o").next().expect("an order").unwrap();
        let block = with_first_value(&value, |state| match name {
            // Of a newer version.
            "format 2" => state[0] = 2,
            // Of this one, its end torn off.
            _ => state.truncate(state.len() - 3),
        });
        db.insert(key, block).unwrap();
        db.flush().unwrap();
        drop(db);
        let ledger = open(&store);
        check_filled(&ledger);
        commit(&ledger, 0, &[checked(), paid(0)]).await;
        commit(&ledger, 1, &[initiated(1)]).await;
        ledger.close().await;
        drop(ledger);
        let ledger = open(&store);
        assert!(!was_set_aside(&store), "{name}");
        let counts: Vec<_> = ledger.counts().iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [("CREATED", 3), ("PENDING", 5), ("PAID", 2)], "{name}");
        ledger.close().await;
        let report = verified(&store);
        assert!(report.is_sound() && report.index_compared, "{name}: {report:?}");
    }
}

/// A block of orders with another state of its first one: three numbers (the second is the key's length, the third the
/// state's, in two bytes), the key, the state.
fn with_first_value(block: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let [0, 17, low, high, ..] = *block else { panic!("not a block of orders: {:?}", &block[..4]) };
    assert!(low >= 128 && high < 128, "the state's length has two bytes");
    let (key, rest) = block[4..].split_at(17);
    let (state, others) = rest.split_at(usize::from(low - 128) + 128 * usize::from(high));
    let mut state = state.to_vec();
    change(&mut state);
    let [low, high] = [state.len() % 128 + 128, state.len() / 128].map(|part| u8::try_from(part).unwrap());
    [&[0, 17, low, high], key, &state, others].concat()
}

/// sled's own lock outlives its handle for a moment.
async fn reopened(store: &Path) -> sled::Db {
    let begun = std::time::Instant::now();
    loop {
        match sled::open(store.join("index")) {
            Ok(db) => return db,
            Err(error) => assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
