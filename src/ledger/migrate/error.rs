//! Why a ledger was not moved. The texts are for the operator; none holds anything personal, or an address's password.

use std::io;
use std::path::{Path, PathBuf};

use crate::ledger::{JournalError, LedgerError, OpenError, Report};

/// Why a migration was refused, or broke off.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// One of the two does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database failed on the way.
    #[error("{0}. Relancez la même commande: elle reprend. / {0}. Run the same command again: it goes on.")]
    Ledger(#[from] LedgerError),
    /// Not from one kind to the other.
    #[error(
        "L'un des deux doit être un dossier (sled:…), l'autre une base (postgres://…). / One of the two must be a folder \
         (sled:…), the other a database (postgres://…)."
    )]
    SameKind,
    /// What was read is damaged.
    #[error(
        "{what} n'est pas saine ({count}): {first}. Rien n'est déclaré migré. Voyez « auditshield ledger verify »; un \
         registre dont le service fut tué se répare en le relançant une fois. / {what} is not sound ({count}): {first}. \
         Nothing is taken for migrated. See `auditshield ledger verify`; the store of a daemon that was killed repairs \
         itself when it is started once."
    )]
    Unsound {
        /// The source or the target.
        what: &'static str,
        /// How much is wrong.
        count: u64,
        /// The first of it.
        first: String,
    },
    /// Daemons are at work.
    #[error(
        "{nodes} service(s) ont donné signe de vie dans cette base PostgreSQL depuis moins d'une minute. Arrêtez-les, \
         attendez une minute, puis relancez. / {nodes} daemon(s) were heard of in this PostgreSQL database less than a \
         minute ago. Stop them, wait a minute, then try again."
    )]
    InUse {
        /// How many.
        nodes: i64,
    },
    /// The target holds something.
    #[error(
        "La cible {0} n'est pas vide: rien n'y est écrit. Choisissez un dossier ou une base vide. / The target {0} is not \
         empty: nothing is written there. Choose an empty folder or database."
    )]
    NotEmpty(String),
    /// The target is half of something else.
    #[error(
        "La cible {0} contient une migration d'une autre source, ou cette source a changé depuis: rien n'y est écrit. \
         Videz la cible, puis relancez. / The target {0} holds a migration of another source, or this source has changed \
         since: nothing is written there. Empty the target, then run it again."
    )]
    Other(String),
    /// Somebody wrote to the source.
    #[error(
        "La source a changé pendant la copie: un service y a travaillé. La cible n'est pas terminée; videz-la, arrêtez \
         les services, puis relancez. / The source has changed while it was copied: a daemon was at work. The target is \
         not finished; empty it, stop the daemons, then run it again."
    )]
    Changed,
    /// Both are there and not the same.
    #[error(
        "La cible n'est pas égale à la source: {0}. Elle n'est pas déclarée terminée. / The target does not equal the \
         source: {0}. It is not taken for finished."
    )]
    Differs(String),
    /// A line cannot be moved.
    #[error("La source ne peut pas être copiée: {0} / the source cannot be copied: {0}")]
    Line(String),
    /// The disk refused.
    #[error(
        "Lecture ou écriture impossible: {path}: {source}. Vérifiez droits, place et disque, puis relancez: cela reprend. \
         / Cannot read or write {path}: {source}. Check rights, room and disk, then run it again: it goes on."
    )]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl MigrateError {
    /// Whether something outside is in the way: a daemon at work, a database that is away.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::InUse { .. } | Self::Ledger(_) | Self::Open(OpenError::InUse(_) | OpenError::Database(_))
        )
    }

    /// Whether an address or the program is the wrong one.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Open(
                OpenError::Address
                    | OpenError::Durability(_)
                    | OpenError::Migrating(_)
                    | OpenError::Schema { .. }
            )
        )
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> MigrateError + use<> {
        let path = path.to_owned();
        move |source| MigrateError::Io { path, source }
    }
}

impl From<JournalError> for MigrateError {
    fn from(error: JournalError) -> Self {
        OpenError::from(error).into()
    }
}

/// Refuses what verification found something in.
pub(super) fn sound(what: &'static str, report: &Report) -> Result<(), MigrateError> {
    match report.findings.first() {
        None if report.is_sound() => Ok(()),
        first => {
            let first = first.cloned().unwrap_or_default();
            Err(MigrateError::Unsound { what, count: report.findings_total, first })
        }
    }
}
