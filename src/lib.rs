//! AuditShield: a payment daemon that sells digital files through CinetPay.

pub mod domain;
pub mod ports;
pub mod simulator;
