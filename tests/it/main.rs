//! The integration tests: one binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod ledger;
mod mailbox;
mod orders;
mod seed;
mod simulator;
mod support;
