//! Stored bytes of every version must be read by every later one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod compared;
mod full_disk;
mod golden;
mod histories;
mod packed;
mod sealed;
mod shop;
mod totals;
