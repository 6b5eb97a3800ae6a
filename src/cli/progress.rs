//! A progress bar over a folder of files, on a terminal only.

use std::fs;
use std::io::IsTerminal;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

const STYLE: &str = "{bar:40} {bytes}/{total_bytes} · {eta}";
/// The same where it is not bytes that are counted.
#[cfg(feature = "postgres")]
const STAGES: &str = "{msg} {bar:40} {percent} % · {eta}";

/// The bar; none where nobody looks.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar as long as the files in `folder`.
    pub(super) fn over(folder: &Path) -> Self {
        if !std::io::stderr().is_terminal() {
            return Progress(None);
        }
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let bytes = files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum();
        let bar = ProgressBar::new(bytes);
        if let Ok(style) = ProgressStyle::with_template(STYLE) {
            bar.set_style(style);
        }
        Progress(Some(bar))
    }

    /// A bar over one stage after the other.
    #[cfg(feature = "postgres")]
    pub(super) fn stages() -> Self {
        if !std::io::stderr().is_terminal() {
            return Progress(None);
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template(STAGES) {
            bar.set_style(style);
        }
        Progress(Some(bar))
    }

    /// So much of a stage is done.
    #[cfg(feature = "postgres")]
    pub(super) fn stage(&mut self, name: &'static str, done: u64, of: u64) {
        let Some(bar) = &self.0 else { return };
        if bar.message() != name {
            // How long it takes says nothing of the next one.
            bar.reset();
            bar.set_message(name);
        }
        bar.set_length(of);
        bar.set_position(done.min(of));
    }

    /// So many bytes are done.
    pub(super) fn at(&mut self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(bytes);
        }
    }

    /// Takes the bar away.
    pub(super) fn end(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}
