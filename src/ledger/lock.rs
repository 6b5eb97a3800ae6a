//! A folder's lock: one process at a time.

use std::fs::{File, TryLockError};
use std::path::Path;

/// The lock, while this value lives; the system gives it back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Takes it.
    ///
    /// # Errors
    /// Somebody has it, or the file cannot be made.
    pub(super) fn take(path: &Path) -> Result<Lock, TryLockError> {
        let file = File::create(path).map_err(TryLockError::Error)?;
        file.try_lock().map(|()| Lock(file))
    }
}

impl Drop for Lock {
    /// Given back by name. Closing the file is not enough: a program that another thread is just starting has a copy of every
    /// open file until it runs, and the lock would live as long as that.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::debug!(%error, "a lock was not given back; it ends with its file");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_file_does_not_keep_a_lock_that_was_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = Lock::take(&path).unwrap();
        let copy = lock.0.try_clone().unwrap();
        assert!(matches!(Lock::take(&path), Err(TryLockError::WouldBlock)));
        drop(lock);
        Lock::take(&path).unwrap();
        drop(copy);
    }
}
