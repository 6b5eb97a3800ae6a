//! The journal: every commit as one hash-chained line, durable before anything is answered.
//!
//! `<store>/journal/<seq of its first line, 20 digits>.jsonl`; the format is described in `docs/journal.md`.
//!
//! Invariant: a line is acknowledged only after its bytes were fdatasync'ed and its segment's name fsynced.
//! Invariant: one thread writes (`scribe.rs`); everybody else reads.
//! Why a format of our own: anyone can verify it with ten lines of Python, and no store between us and the disk
//! decides when, or whether, to sync.

mod keyfile;
pub mod line;
pub mod medium;
pub mod memory;
mod reader;
mod recover;
mod scribe;
mod segments;
mod verify;
mod writer;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(super) use keyfile::KeyFile;
pub use keyfile::{KeyWork, Patch, SLOT_BYTES};
pub use line::{HashText, Line};
pub use medium::Medium;
pub use reader::read_line;
pub use recover::{Cut, Recovered, recover};
pub use segments::Damage;
pub(super) use segments::{Chain, rest, scan};
pub use verify::{Walk, walk};
pub use writer::{AppendError, Entry, OnFatal, Settings, Trouble, Writer, Written};

/// A segment is closed once it holds this many bytes.
pub const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A line is at most this long, newline not counted; a commit beyond it is refused.
pub const LINE_BYTES_MAX: usize = 256 * 1024;

/// One write and one sync carry at most about this many bytes.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Commits that may wait for the writer thread.
pub const QUEUE_COMMITS_MAX: usize = 8 * 1024;

/// Where a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The seq of the first line of its segment.
    pub segment: u64,
    /// Bytes before it in the segment.
    pub offset: u64,
    /// Its length in bytes, newline not counted.
    pub len: u32,
}

/// The last line that the index has taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Its number.
    pub seq: u64,
    /// Where it stands.
    pub position: Position,
    /// Its hash, to know that index and journal belong together.
    pub hash: String,
}

impl From<&Written> for Applied {
    fn from(written: &Written) -> Self {
        let hash = String::from_utf8_lossy(&written.hash).into_owned();
        Applied { seq: written.seq, position: written.position, hash }
    }
}

/// Why the journal cannot be used. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The medium failed.
    #[error(
        "Lecture ou écriture impossible: {path}: {source}. Vérifiez droits, place et disque, puis relancez. / The journal: \
         cannot read or write {path}: {source}. Check rights, room and disk, then try again."
    )]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Acknowledged lines are damaged.
    #[error(
        "Journal endommagé: {path}, octet {offset}, ligne {seq}: {reason}. Des paiements confirmés sont touchés: rien \
         n'est démarré ni modifié. Restaurez une sauvegarde de ce dossier, puis contrôlez-la avec « auditshield ledger \
         verify ». / Journal damaged: {path}, byte {offset}, line {seq}: {reason}. Acknowledged payments are touched: \
         nothing was started or changed. Restore a backup of this folder, then check it with `auditshield ledger verify`."
    )]
    Damaged {
        /// The segment's file.
        path: PathBuf,
        /// The first damaged byte.
        offset: u64,
        /// The seq that should stand there.
        seq: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A segment is missing, or the end of the one before it.
    #[error(
        "Il manque au journal la ligne {seq}: soit le segment {path} manque (octet 0), soit la fin du segment précédent. \
         Rien n'est démarré ni modifié. Restaurez ce dossier depuis une sauvegarde (« auditshield ledger restore »). / \
         The journal lacks line {seq}: either segment {path} is missing (byte 0), or the end of the segment before it. \
         Nothing was started or changed. Restore this folder from a backup (`auditshield ledger restore`)."
    )]
    Missing {
        /// The file that should exist.
        path: PathBuf,
        /// The first seq that is missing.
        seq: u64,
    },
    /// The index has seen lines that the journal no longer has.
    #[error(
        "Le journal s'arrête à la ligne {last}, mais l'index connaît la ligne {applied}: des écritures confirmées ont \
         disparu de {path}. Restaurez le journal depuis une sauvegarde, ou acceptez la perte avec « auditshield ledger \
         rebuild ». / The journal ends at line {last} but the index knows line {applied}: acknowledged writes have \
         vanished from {path}. Restore the journal from a backup, or accept the loss with `auditshield ledger rebuild`."
    )]
    Behind {
        /// The journal's last segment or folder.
        path: PathBuf,
        /// The journal's last seq.
        last: u64,
        /// The index's last seq.
        applied: u64,
    },
    /// Index and journal have different histories.
    #[error(
        "L'index et le journal {path} ne racontent pas la même histoire (ligne {seq}). Restaurez le bon journal, ou \
         reconstruisez l'index avec « auditshield ledger rebuild ». / The index and journal {path} tell different \
         stories (line {seq}). Restore the right journal, or rebuild the index with `auditshield ledger rebuild`."
    )]
    Foreign {
        /// The segment's file.
        path: PathBuf,
        /// The line whose hash differs.
        seq: u64,
    },
    /// The file of keys is not one.
    #[error(
        "Le fichier de clés {path} est abîmé (octet 0): sans lui, les données personnelles des commandes sont illisibles. \
         Rien n'est démarré ni modifié. Remettez le fichier de la dernière sauvegarde (<sauvegarde>/journal/orders.keys), \
         puis « auditshield ledger rebuild ». / The key file {path} is damaged (byte 0): without it the orders' personal \
         data cannot be read. Nothing was started or changed. Put the file of the latest backup in its place \
         (<backup>/journal/orders.keys), then run `auditshield ledger rebuild`."
    )]
    KeyFile {
        /// The file.
        path: PathBuf,
    },
    /// An order's key is missing, and was not destroyed by an erasure.
    #[error(transparent)]
    Lost(#[from] super::seal::Lost),
    /// Whoever receives the lines could not take one.
    #[error("ligne {seq}: {reason} / line {seq}: {reason}")]
    Receiver {
        /// The line.
        seq: u64,
        /// Why.
        reason: String,
    },
}

impl JournalError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> JournalError {
        let path = path.into();
        move |source| JournalError::Io { path, source }
    }
}

/// Takes a checked line and where it stands.
pub type OnLine<'a> = dyn FnMut(&Line<'_>, Position) -> Result<(), JournalError> + 'a;
