//! Texts into values, with every problem collected instead of the first.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::problem::Problem;
use super::secret::Secret;
use super::sources::{Values, name_of};

/// Longest duration a setting may hold: a year, in seconds.
const SECONDS_MAX: u64 = 366 * 24 * 3600;

/// Why a text is not a value: French, English.
pub(super) type Fault = (String, String);

/// Reads keys and remembers what was wrong.
pub(super) struct Reader<'a> {
    values: &'a Values,
    problems: RefCell<Vec<Problem>>,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(values: &'a Values, problems: Vec<Problem>) -> Self {
        Self { values, problems: RefCell::new(problems), read: RefCell::default() }
    }

    pub(super) fn finish(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    #[cfg(test)]
    pub(super) fn keys_read(&self) -> BTreeSet<String> {
        self.read.borrow().clone()
    }

    /// Records a problem with a key, with the place its value came from.
    pub(super) fn problem(&self, key: &str, french: &str, english: &str) {
        let place = self.values.get(key).and_then(|value| value.place.as_deref());
        self.problems.borrow_mut().push(Problem::new(&name_of(key), french, english).at(place));
    }

    /// The key's text, if it is set.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.read.borrow_mut().insert(key.to_owned());
        self.values.get(key).map(|value| value.text.trim())
    }

    /// The key's text; its absence is a problem with this remedy.
    pub(super) fn required(&self, key: &str, remedy: (&str, &str)) -> Option<&'a str> {
        let text = self.text(key);
        if text.is_none() {
            let (french, english) = remedy;
            self.problem(key, &format!("valeur absente — {french}"), &format!("missing — {english}"));
        }
        text
    }

    /// The key's text through `parse`; `None` if it is not set or wrong.
    pub(super) fn parsed<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, Fault>) -> Option<T> {
        match parse(self.text(key)?) {
            Ok(value) => Some(value),
            Err((french, english)) => {
                self.problem(key, &french, &english);
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn number<T>(&self, key: &str, bounds: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let (low, high) = (*bounds.start(), *bounds.end());
        self.parsed(key, |text| match text.parse::<T>() {
            Ok(number) if bounds.contains(&number) => Ok(number),
            Ok(_) | Err(_) => Err((
                format!("« {text} » n'est pas un entier de {low} à {high} — corrigez-le"),
                format!("not a whole number from {low} to {high} — correct it"),
            )),
        })
        .unwrap_or(low)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &str) -> bool {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                (
                    format!("« {text} » est inconnu — écrivez true ou false"),
                    "unknown — write true or false".to_owned(),
                )
            })
        };
        self.parsed(key, parse).unwrap_or_default()
    }

    /// A duration like `30s` or `72h`; a bare number is refused, it has no unit.
    pub(super) fn duration(&self, key: &str, least: Duration) -> Duration {
        self.parsed(key, |text| match humantime::parse_duration(text) {
            Ok(wait) if wait >= least && wait.as_secs() <= SECONDS_MAX => Ok(wait),
            Ok(_) | Err(_) => {
                let least = humantime::format_duration(least);
                Err((
                    format!(
                        "« {text} » n'est pas une durée d'au moins {least} — écrivez par exemple 30s, 5m, 72h"
                    ),
                    format!("not a duration of at least {least} — write for example 30s, 5m, 72h"),
                ))
            }
        })
        .unwrap_or(least)
    }

    /// The comma-separated parts of a key, each through `parse`.
    pub(super) fn list<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, Fault>) -> Vec<T> {
        self.parsed(key, |text| {
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(&parse).collect()
        })
        .unwrap_or_default()
    }

    /// One secret, required. Its text is never part of a problem.
    pub(super) fn secret(&self, key: &str, remedy: (&str, &str)) -> Option<Secret> {
        self.required(key, remedy).map(Secret::new)
    }

    /// One secret or two, comma-separated, required.
    pub(super) fn secrets(&self, key: &str, remedy: (&str, &str)) -> Vec<Secret> {
        let Some(text) = self.required(key, remedy) else { return Vec::new() };
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        if parts.len() > 2 || parts.iter().any(|part| part.is_empty()) {
            self.problem(
                key,
                "un secret, ou deux séparés par une virgule — retirez les autres",
                "one secret, or two separated by a comma — remove the others",
            );
        }
        parts.into_iter().filter(|part| !part.is_empty()).map(Secret::new).collect()
    }
}
