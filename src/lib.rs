//! AuditShield: a payment daemon that sells digital files through CinetPay.
//!
//! A webhook's journey: `http` reads and verifies it, `actors` seat its order, `domain` decides, `ledger` makes the
//! decision durable, and only then 200 is answered. What is owed next (a check at CinetPay, a mail) is derived from the
//! committed state by [`domain::payment::next_step`], done by an errand through the `ports`, and decided and committed
//! the same way. `app` is the only place that knows all of them.

#[macro_use]
mod failpoint;

pub mod actors;
pub mod adapters;
pub mod app;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod domain;
pub mod http;
pub mod install;
pub mod ledger;
pub mod ports;
pub mod simulator;
pub mod telemetry;
