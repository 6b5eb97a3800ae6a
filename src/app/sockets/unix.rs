//! A listening socket in the file system. It stands there with its mode or not at all, takes the place of one that nobody
//! listens at any more, and goes when the daemon does.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The owner and his group: the proxy's user must be in it.
const MODE: u32 = 0o660;

/// A socket that this process made. Dropped, it is removed.
#[derive(Debug)]
pub(in crate::app) struct Own {
    path: PathBuf,
    /// Device and inode: somebody else's that took its place stays.
    identity: (u64, u64),
}

impl Drop for Own {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // The next start takes the place of one that cannot be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`.
///
/// # Errors
/// Somebody listens there, something else than a socket stands there, or the folder cannot be written.
pub(super) async fn bind(path: &Path) -> io::Result<(UnixListener, Own)> {
    vacant(path).await?;
    // Made beside its place and moved there: nobody finds it with another mode, and nobody finds none meanwhile.
    let mut beside = OsString::from(path);
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let listener = UnixListener::bind(&beside)?;
    let moved = fs::set_permissions(&beside, Permissions::from_mode(MODE)).and_then(|()| {
        let identity = identity(&beside)?;
        fs::rename(&beside, path)?;
        Ok(identity)
    });
    match moved {
        Ok(identity) => Ok((listener, Own { path: path.to_owned(), identity })),
        Err(why) => {
            // It serves nobody there.
            let _ = fs::remove_file(&beside);
            Err(why)
        }
    }
}

/// Whether the place is free: nothing there, or a socket at which nobody listens.
async fn vacant(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "no socket stands there"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            Ok(())
        }
        // Whatever else it says, somebody may listen: a full backlog, a mode that keeps us out.
        Ok(_) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_stands_with_its_mode_replaces_a_stale_one_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("public.sock");
        let (listener, own) = bind(&path).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, MODE, "{mode:o}");
        let busy = bind(&path).await.err().map(|error| error.kind());
        assert_eq!(busy, Some(io::ErrorKind::AddrInUse), "somebody listens");
        assert!(UnixStream::connect(&path).await.is_ok(), "and still does");
        // As a kill leaves it.
        drop(listener);
        std::mem::forget(own);
        let (listener, own) = bind(&path).await.expect("a stale socket is in nobody's way");
        assert!(UnixStream::connect(&path).await.is_ok());
        drop((listener, own));
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[tokio::test]
    async fn what_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("public.sock");
        let (_listener, own) = bind(&path).await.unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a merchant's file").unwrap();
        drop(own);
        let refused = bind(&path).await.err().map(|error| error.kind());
        assert_eq!(refused, Some(io::ErrorKind::AlreadyExists));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a merchant's file");
    }
}
