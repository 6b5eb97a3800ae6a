//! Nothing lost, nothing twice: the real program under blows. One binary; `tests/crash/run` is its front door.
#![allow(unreachable_pub, reason = "support is shared by the modules of this binary")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should panic")]
#![allow(
    clippy::print_stdout,
    reason = "a test says what it drew, what it counted and what it could not run"
)]

#[cfg(not(feature = "failpoints"))]
mod binary;
mod disk;
#[cfg(feature = "failpoints")]
mod matrix;
#[path = "../it/process_support.rs"]
#[allow(dead_code, reason = "the other binary uses what this one does not")]
mod process_support;
mod storm;
mod street;
mod told;
