//! How a ledger is: whether it can commit, how many orders it has, how much room.

use crate::domain::payment::Status;

/// Whether the ledger can commit, and how it keeps up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether a commit would be taken now.
    pub can_commit: bool,
    /// Why not, for `/readyz`: no paths, no personal data.
    pub reason: Option<String>,
    /// The journal's last seq.
    pub last_seq: u64,
    /// The index's last seq on sled.
    pub applied_seq: u64,
    /// The index was left by a process that was killed and is not read to its end yet, or is damaged.
    pub index_in_doubt: bool,
    /// Commits waiting for the journal.
    pub queue_depth: usize,
}

/// Orders per status, in the order of [`Status::NAMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts(pub [u64; Status::NAMES.len()]);

impl Counts {
    /// Status names with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        Status::NAMES.into_iter().zip(self.0)
    }
}

/// Room on the disk of a folder: free bytes, as far as this user may fill it, and all there are.
///
/// # Errors
/// The system's answer.
pub fn room(folder: &std::path::Path) -> std::io::Result<(u64, u64)> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok((disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize)))
}
