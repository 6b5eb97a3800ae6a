//! The rules of a sale, as pure functions: no IO, no clock, no randomness.
//!
//! Membership test: if it needs an `async`, a socket or the time of day, it does not belong here.

pub mod catalog;
pub mod decide;
pub mod event;
mod evolve;
pub mod input;
pub mod invariants;
pub mod payment;
pub mod schedule;
pub mod values;

#[cfg(test)]
mod tests;
