//! What is wrong with a setting, said so that a merchant can put it right.

use std::fmt;
use std::path::{Path, PathBuf};

/// One wrong setting: one line, French then English, never the text of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable, flag or file.
    pub name: String,
    /// What is wrong and what to do, in French.
    pub french: String,
    /// The same, in English.
    pub english: String,
    /// The file that holds the value.
    pub place: Option<PathBuf>,
}

impl Problem {
    pub(super) fn new(name: &str, french: &str, english: &str) -> Self {
        Self { name: name.to_owned(), french: french.to_owned(), english: english.to_owned(), place: None }
    }
    pub(super) fn at(mut self, place: Option<&Path>) -> Self {
        self.place = place.map(Path::to_owned);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A value with a line break must not make two lines of one problem.
        let line = |text: &str| text.replace(['\r', '\n'], " ");
        write!(f, "{}: {} / {}", self.name, line(&self.french), line(&self.english))?;
        match &self.place {
            Some(place) => write!(f, " [{}]", line(&place.display().to_string())),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong, in the order of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
