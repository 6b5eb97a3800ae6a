//! Where ledgers of each kind are.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use auditshield::ledger::simulated::{Machine, Options, Pace};
use auditshield::ledger::{Ledger, OpenOptions, Report};

/// A store: what is opened, closed, and opened again.
pub(crate) enum Place {
    /// A folder of this machine.
    Folder(tempfile::TempDir),
    /// The disk of a simulated machine.
    Machine(Machine),
    /// A PostgreSQL database of its own.
    #[cfg(feature = "postgres")]
    Database(crate::postgres::Database),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Folder(_) => f.write_str("a folder"),
            Place::Machine(_) => f.write_str("a simulated machine"),
            #[cfg(feature = "postgres")]
            Place::Database(_) => f.write_str("PostgreSQL"),
        }
    }
}

impl Place {
    /// Opens it, as another process would.
    pub(crate) fn open(&self) -> Ledger {
        let fatal = |reason: &str| panic!("fatal: {reason}");
        match self {
            Place::Folder(folder) => crate::ledger::open(folder.path()),
            Place::Machine(machine) => {
                let at_once = || Arc::new(|| Duration::ZERO);
                let pace = Pace { sync: at_once(), index: at_once(), batch_bytes: 64 * 1024 };
                let usual = OpenOptions::new("(memory)", fatal);
                Ledger::open_simulated(Options { machine: machine.clone(), pace, usual }).unwrap()
            }
            #[cfg(feature = "postgres")]
            Place::Database(database) => database.open(),
        }
    }

    /// Verifies a store that nobody has open. A simulated machine's is verified by tests/simulation.
    pub(crate) fn verify(&self, judge: impl Fn(Report)) {
        match self {
            Place::Folder(folder) => judge(crate::ledger::verified(folder.path())),
            Place::Machine(_) => {}
            #[cfg(feature = "postgres")]
            Place::Database(database) => judge(crate::postgres::verified(&database.open())),
        }
    }
}

/// A new store of every kind that can be had here.
pub(crate) async fn places() -> Vec<Place> {
    let folder = Place::Folder(tempfile::tempdir().unwrap());
    let machine = Place::Machine(Machine::default());
    let places = vec![folder, machine];
    #[cfg(feature = "postgres")]
    let places = {
        let mut places = places;
        places.extend(crate::postgres::Database::new().await.map(Place::Database));
        places
    };
    places
}
