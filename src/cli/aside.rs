//! A file that appears as a whole or not at all, and never in place of another. It may hold personal data: only its owner
//! reads it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Failure, output};

/// Only its owner may read it.
const MODE: u32 = 0o600;

/// The file while it is written, under another name.
pub(super) struct Aside {
    file: File,
    aside: PathBuf,
    path: PathBuf,
}

impl Aside {
    /// Begins the file.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        if path.exists() {
            return Err(complain(path, &io::ErrorKind::AlreadyExists.into()));
        }
        let mut aside = path.as_os_str().to_owned();
        aside.push(".partial");
        let aside = PathBuf::from(aside);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(MODE);
        let file = options.open(&aside).map_err(|fault| complain(path, &fault))?;
        Ok(Self { file, aside, path: path.to_owned() })
    }
    /// To write to.
    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }
    /// It is complete.
    pub(super) fn keep(self) -> Result<(), Failure> {
        let kept = self.file.sync_all().and_then(|()| fs::rename(&self.aside, &self.path));
        kept.map_err(|fault| complain(&self.path, &fault))
    }
    /// It is not.
    pub(super) fn discard(self) {
        if let Err(fault) = fs::remove_file(&self.aside) {
            output::complain(&format_args!("« {} » : {fault}", self.aside.display()));
        }
    }
}

fn complain(path: &Path, fault: &io::Error) -> Failure {
    output::complain(&format_args!(
        "« {} » : {fault} — choisissez un autre fichier / choose another file",
        path.display()
    ));
    Failure::Failed
}
