//! What sled does after a full disk: it keeps the error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::histories::histories;
use crate::ledger::simulated::{Machine, Options, Pace};
use crate::ledger::{Ledger, OpenOptions};

/// The journal writes and there is room, but the index says that the disk is full, again and again: the process ends, and
/// its next start replays. An index that was not asked to write, or can, ends nothing.
#[tokio::test(start_paused = true)]
async fn an_index_that_stays_full_on_a_disk_with_room_ends_the_process() {
    for failing in [false, true] {
        let (machine, ended) = (Machine::default(), Arc::new(AtomicBool::new(false)));
        let tell = Arc::clone(&ended);
        let span = || Arc::new(|| Duration::from_millis(1));
        let ledger = Ledger::open_simulated(Options {
            machine: machine.clone(),
            pace: Pace { sync: span(), index: span(), batch_bytes: 64 * 1024 },
            usual: OpenOptions::new("unused", move |_| tell.store(true, Ordering::Release)),
        });
        let ledger = ledger.unwrap();
        machine.index.set_failing(failing);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!ended.load(Ordering::Acquire), "nothing was written yet");
        let history = &histories()[0];
        let (at, events) = &history.commits[0];
        ledger.commit(history.id, None, events, *at).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(ended.load(Ordering::Acquire), failing);
        machine.index.set_failing(false);
        ledger.close().await;
    }
}
