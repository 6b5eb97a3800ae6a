//! The integration tests: one binary.

mod simulator;
