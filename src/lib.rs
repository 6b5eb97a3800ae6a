//! AuditShield: a payment daemon that sells digital files through CinetPay.
pub mod adapters;
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod ledger;
pub mod ports;
pub mod simulator;
pub mod telemetry;
