//! AuditShield: a payment daemon that sells digital files through CinetPay.

pub mod actors;
pub mod adapters;
pub mod domain;
pub mod http;
pub mod ledger;
pub mod ports;
pub mod simulator;
