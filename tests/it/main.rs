//! The integration tests: one binary.
#![allow(unreachable_pub, reason = "support is shared by the modules of this binary")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![allow(clippy::print_stdout, reason = "a test says what it drew and what it could not run")]

mod cinetpay_client;
mod conformance;
mod contract;
mod cpanel;
mod damage;
mod damage_index;
mod dev;
mod disk_faults;
mod disk_mounts;
mod disk_tools;
mod doctor;
mod doctor_fakes;
mod faults;
mod golden;
mod hostile;
mod install;
mod keyfile;
mod ledger;
mod ledger_tools;
mod mailbox;
mod openapi;
mod orders;
#[cfg(feature = "otlp")]
mod otlp;
mod papers;
mod papers_cli;
#[cfg(feature = "postgres")]
mod postgres;
mod privacy;
mod process;
mod process_disk;
mod process_support;
mod prometheus;
mod proxy;
mod python_token;
mod receipts;
mod reminders;
mod rotation;
mod seed;
mod service;
mod service_reload;
mod simulator;
mod sockets;
mod support;
mod threads;
mod trail;
