//! AuditShield: a payment daemon that sells digital files through CinetPay.

pub mod ledger;
pub mod domain;
pub mod ports;
