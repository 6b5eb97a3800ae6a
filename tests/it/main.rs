//! The integration tests: one binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![allow(unreachable_pub, reason = "support is shared by the modules of this binary")]
#![allow(clippy::print_stdout, reason = "seeds to run again with, and what could not be tested here")]

mod cinetpay_client;
mod contract;
mod hostile;
mod ledger;
mod mailbox;
mod orders;
mod process;
mod process_disk;
mod process_storm;
mod process_support;
mod python_token;
mod seed;
mod simulator;
mod support;
