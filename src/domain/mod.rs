//! The rules of a sale, as pure functions: no IO, no clock, no randomness.
//!
//! Membership test: if it needs an `async`, a socket or the time of day, it does not belong here.

pub mod calendar;
pub mod catalog;
pub mod decide;
pub mod dossier;
pub mod event;
pub mod evidence;
mod evolve;
pub mod input;
pub mod invariants;
pub mod merchant;
pub mod numerals;
pub mod payment;
pub mod personal;
pub mod proof;
pub mod quota;
pub mod receipt;
pub mod reminder;
pub mod schedule;
pub mod settlement;
pub mod sheet;
pub mod slips;
pub mod values;
pub mod wishes;
pub mod words;

#[cfg(test)]
mod tests;
