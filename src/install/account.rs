//! The folder of one installation: what stands in it, and who may read it.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Error;

/// Folders below the prefix; all of them, and the prefix, for the owner alone.
const FOLDERS: [&str; 5] = ["store", "spool", "backup", "files", "web"];
/// Files that come with the program and go with it.
const PROGRAMS: [&str; 7] =
    ["auditshield", "keep-alive", "web/notify.php", "web/.htaccess", "pid", "log", "log.1"];
const KEEP_ALIVE: &str = include_str!("../../config/cpanel/keep-alive");
const NOTIFY: &str = include_str!("../../config/cpanel/notify.php");

/// One installation.
#[derive(Debug)]
pub struct Account {
    prefix: PathBuf,
}

impl Account {
    /// An installation in `prefix`.
    ///
    /// # Errors
    /// [`Error::Folder`]: it will stand in a crontab, in a shell's line, in a dotenv file and in Apache's settings.
    pub fn at(prefix: &Path) -> Result<Self, Error> {
        let text = prefix.to_str().unwrap_or_default();
        let plain = |c: char| c.is_alphanumeric() || "/._-+@,".contains(c);
        if !prefix.is_absolute() || !text.chars().all(plain) || prefix.parent().is_none() {
            return Err(Error::Folder(prefix.to_owned()));
        }
        Ok(Self { prefix: prefix.to_owned() })
    }

    pub(super) fn prefix(&self) -> &Path {
        &self.prefix
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.prefix.join(name)
    }

    pub(super) fn make_folders(&self) -> Result<(), Error> {
        for folder in [self.prefix.clone()].into_iter().chain(FOLDERS.map(|name| self.path(name))) {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            // One that was there already may be wider.
            made.and_then(|()| fs::set_permissions(&folder, Permissions::from_mode(0o700)))
                .map_err(|fault| Error::File(folder, fault))?;
        }
        Ok(())
    }

    /// Writes a file that is not there yet, for the owner alone. False where there is one: it is the merchant's.
    pub(super) fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, Error> {
        let path = self.path(name);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match made.and_then(|mut file| file.write_all(bytes)) {
            Ok(()) => Ok(true),
            Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(fault) => Err(Error::File(path, fault)),
        }
    }

    /// Replaces a file of ours in one step: one that runs is not written to, and no reader sees half of it.
    pub(super) fn replace(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
        let path = self.path(name);
        let new = self.path(&format!("{name}.new"));
        let written = fs::write(&new, bytes)
            .and_then(|()| fs::set_permissions(&new, Permissions::from_mode(mode)))
            .and_then(|()| fs::rename(&new, &path));
        written.map_err(|fault| Error::File(path, fault))
    }

    /// The program that runs now, and what stands beside it.
    pub(super) fn put_programs(&self) -> Result<(), Error> {
        let running = std::env::current_exe();
        let program = running.as_ref().map_err(|_| io::ErrorKind::NotFound.into()).and_then(fs::read);
        let program = program.map_err(|fault| Error::File(self.path("auditshield"), fault))?;
        self.replace("auditshield", &program, 0o700)?;
        self.replace("keep-alive", KEEP_ALIVE.as_bytes(), 0o700)?;
        // The web server reads its copies; they hold no secret.
        self.replace("web/notify.php", NOTIFY.as_bytes(), 0o644)
    }

    pub(super) fn remove_programs(&self) -> Result<(), Error> {
        for path in PROGRAMS.map(|name| self.path(name)) {
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
                Err(fault) => return Err(Error::File(path, fault)),
            }
        }
        // Only if the merchant put nothing there.
        let _ = fs::remove_dir(self.path("web"));
        Ok(())
    }
}
