//! A damaged index: whatever is done to it, a start ends with what the journal says, and verification finds it first.

use std::fs;
use std::path::Path;

use auditshield::ledger::{self, Ledger, OpenOptions};

use crate::damage::copy_folder;
use crate::ledger::{check_filled, fill, open};

/// The index's file is cut, and a bit of it flipped, at so many places.
const PLACES: usize = 8;

fn largest_file(index: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(index).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

/// Starts on the store, compares everything, stops, verifies.
async fn recovers(store: &Path, name: &str) {
    let ledger = Ledger::open(OpenOptions::new(store, |reason: &str| panic!("fatal: {reason}")));
    let ledger = ledger.unwrap_or_else(|error| panic!("{name}: {error}"));
    check_filled(&ledger);
    ledger.close().await;
    let report = ledger::verify(store, &mut |_| ()).unwrap();
    assert!(report.is_sound() && report.index_compared, "{name}: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_cut_or_flipped_anywhere_never_speaks_against_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound");
    let ledger = open(&sound);
    fill(&ledger).await;
    ledger.close().await;
    let data = largest_file(&sound.join("index"));
    let len = fs::metadata(&data).unwrap().len();
    // Past the written part the file holds zeros only.
    let used = fs::read(&data).unwrap().iter().rposition(|&byte| byte != 0).unwrap() as u64 + 1;
    for place in 0..PLACES as u64 {
        for (kind, closed) in [("cut", true), ("cut", false), ("flipped", true), ("flipped", false)] {
            let name = format!("{kind} at {place}/{PLACES}, closed {closed}");
            let store = folder.path().join(name.replace(['/', ' '], "-"));
            copy_folder(&sound, &store);
            let file = store.join("index").join(data.file_name().unwrap());
            let at = used * place / PLACES as u64;
            match kind {
                "cut" => fs::File::options().write(true).open(&file).unwrap().set_len(at.min(len)).unwrap(),
                _ => {
                    let mut bytes = fs::read(&file).unwrap();
                    bytes[usize::try_from(at).unwrap()] ^= 1 << (place % 8);
                    fs::write(&file, bytes).unwrap();
                }
            }
            if !closed {
                // As a process that was killed leaves it: this start looks at everything.
                let state = fs::read_to_string(store.join("index.state")).unwrap().replace("clean", "open");
                fs::write(store.join("index.state"), state).unwrap();
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
    let sound = folder.path().join("sound");
    let ledger = open(&sound);
    fill(&ledger).await;
    ledger.close().await;
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
            let report = ledger::verify(&store, &mut |_| ()).unwrap();
            assert!(!report.is_sound() && report.index_compared, "{} {remove}", char::from(kind));
            let words = report.findings.join("\n");
            assert!(words.contains("ledger rebuild"), "{words}");
        }
    }
}
