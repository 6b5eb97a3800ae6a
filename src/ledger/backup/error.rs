//! Why a backup or a restoration is refused, in sentences for the operator.

use std::io;
use std::path::PathBuf;

use crate::ledger::journal::JournalError;

/// Why a backup or a restoration did not happen. What the backup held before is still there.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file or folder cannot be read or written.
    #[error(
        "Lecture ou écriture impossible: {path}: {source}. La sauvegarde précédente est intacte; relancez la commande \
         une fois la cause levée. / Cannot read or write {path}: {source}. The backup is as it was before; run the \
         command again once the cause is gone."
    )]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The store's journal is damaged.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Somebody else writes the backup.
    #[error(
        "Une autre sauvegarde écrit déjà dans {0}. Attendez sa fin. / Another backup is writing to {0}. Wait for its end."
    )]
    InUse(PathBuf),
    /// The folder holds something else.
    #[error(
        "{0} n'est ni vide ni une sauvegarde (pas de backup.json). Choisissez un autre dossier. / {0} is neither empty \
         nor a backup (no backup.json). Choose another folder."
    )]
    NotABackup(PathBuf),
    /// The manifest is unreadable.
    #[error(
        "{0} est illisible ou d'une version plus récente. Sauvegardez dans un nouveau dossier, et contrôlez celui-ci \
         avec « auditshield ledger verify --store <dossier> ». / {0} is unreadable or of a newer version. Back up to a \
         new folder, and check this one with `auditshield ledger verify --store <folder>`."
    )]
    Manifest(PathBuf),
    /// The backup is of another journal.
    #[error(
        "La sauvegarde {path} est celle d'un autre journal: la ligne {seq} (octet {offset} de {segment}) diffère. Rien \
         n'est modifié. Sauvegardez dans un nouveau dossier. / The backup {path} belongs to another journal: line {seq} \
         (byte {offset} of {segment}) differs. Nothing was changed. Back up to a new folder."
    )]
    Other {
        /// The backup.
        path: PathBuf,
        /// The store's segment.
        segment: PathBuf,
        /// Where the line stands in it.
        offset: u64,
        /// The line.
        seq: u64,
    },
    /// The backup holds more than the journal.
    #[error(
        "Le journal {journal} s'arrête à la ligne {last}, mais la sauvegarde {path} va jusqu'à la ligne {backup}: le \
         journal a perdu des écritures. Rien n'est modifié. Arrêtez le service et restaurez cette sauvegarde (« auditshield \
         ledger restore »). / The journal {journal} ends at line {last} but the backup {path} goes on to line {backup}: \
         the journal has lost writes. Nothing was changed. Stop the daemon and restore this backup (`auditshield ledger \
         restore`)."
    )]
    Behind {
        /// The store's journal.
        journal: PathBuf,
        /// Its last line.
        last: u64,
        /// The backup.
        path: PathBuf,
        /// The backup's last line.
        backup: u64,
    },
    /// Store and backup lie in one another.
    #[error(
        "La sauvegarde {0} et le registre sont l'un dans l'autre. Choisissez un dossier ailleurs, de préférence sur un \
         autre disque. / The backup {0} and the store lie within one another. Choose a folder elsewhere, preferably on \
         another disk."
    )]
    Within(PathBuf),
    /// The place to restore to is taken.
    #[error(
        "{0} n'est pas vide: une restauration n'écrase rien. Choisissez un dossier vide ou absent. / {0} is not empty: a \
         restoration overwrites nothing. Choose a folder that is empty or missing."
    )]
    NotEmpty(PathBuf),
    /// The store's key file is damaged, or shorter than the backup's.
    #[error(
        "Le fichier de clés {path} est abîmé à l'octet {offset}: {reason}. La sauvegarde garde ses clés précédentes. \
         Contrôlez le registre avec « auditshield ledger verify ». / The key file {path} is damaged at byte {offset}: \
         {reason}. The backup keeps its former keys. Check the store with `auditshield ledger verify`."
    )]
    Keys {
        /// The store's key file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The backup is damaged.
    #[error(
        "Sauvegarde endommagée: {path}, octet {offset}, ligne {seq}: {reason}. Rien n'est restauré. Prenez une autre \
         sauvegarde. / Damaged backup: {path}, byte {offset}, line {seq}: {reason}. Nothing was restored. Take another \
         backup."
    )]
    Damaged {
        /// The segment's file.
        path: PathBuf,
        /// The first damaged byte.
        offset: u64,
        /// The line that should stand there.
        seq: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

impl BackupError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> BackupError {
        let path = path.into();
        move |source| BackupError::Io { path, source }
    }

    /// Whether something else is in the way.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, BackupError::InUse(_))
    }
}
