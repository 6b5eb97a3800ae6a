//! Why a ledger is not opened.

use std::path::PathBuf;

use super::JournalError;

/// Why a ledger does not open. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "Le dossier {0} est déjà utilisé par un autre auditshield. Arrêtez-le, ou choisissez un autre dossier \
         (AUDITSHIELD_STORE__URL). / The folder {0} is in use by another auditshield. Stop it, or choose another \
         folder (AUDITSHIELD_STORE__URL)."
    )]
    InUse(PathBuf),
    /// The folder cannot be made, read or locked.
    #[error(
        "Le dossier {path} est inutilisable: {source}. Vérifiez droits, place et disque, puis relancez. / Cannot use the \
         folder {path}: {source}. Check rights, room and disk, then try again."
    )]
    Folder {
        /// The folder or a file in it.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A restoration into the folder never came to its end.
    #[error(
        "Une restauration dans {0} a été interrompue. Relancez-la: « auditshield ledger restore <sauvegarde> {0} ». / A \
         restoration into {0} was interrupted. Run it again: `auditshield ledger restore <backup> {0}`."
    )]
    Restoring(PathBuf),
    /// A migration to it never came to its end.
    #[error(
        "Une migration vers {0} n'est pas terminée. Relancez le même « auditshield ledger migrate »: il reprend où il en \
         était. / A migration to {0} is not finished. Run the same `auditshield ledger migrate` again: it goes on."
    )]
    Migrating(String),
    /// The journal is damaged, or does not fit the index.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Not even an empty index can be made.
    #[error(
        "L'index ne peut pas être créé: {0} (disque plein ?) / the index cannot be made: {0} (disk full?)"
    )]
    Index(String),
    /// The database's address cannot be read. It may hold a password: it is not repeated.
    #[error(
        "L'adresse PostgreSQL est illisible: écrivez AUDITSHIELD_STORE__URL=postgres://utilisateur:mot-de-passe@hôte/base / \
         the PostgreSQL address is unreadable: write AUDITSHIELD_STORE__URL=postgres://user:password@host/database"
    )]
    Address,
    /// The database does not answer, or refuses.
    #[error(
        "La base PostgreSQL ne répond pas comme il faut: {0} / the PostgreSQL database does not answer as it should: {0}"
    )]
    Database(String),
    /// The database would acknowledge what it may lose.
    #[error(
        "La base PostgreSQL a {0} = off: une coupure de courant perdrait des paiements confirmés. Remettez-le à on. / The \
         PostgreSQL database has {0} = off: a power cut would lose payments that were acknowledged. Set it to on."
    )]
    Durability(&'static str),
    /// A newer program has changed the database's tables.
    #[error(
        "Les tables de la base sont de la version {found}; ce programme connaît la version {known}: installez le programme \
         plus récent. / The database's tables have version {found}; this program knows version {known}: install the newer program."
    )]
    Schema {
        /// The version of the tables.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
}
