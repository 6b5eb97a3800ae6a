//! The integration tests, one binary.

mod ledger;
//! The integration tests: one binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod mailbox;
mod simulator;
