//! AuditShield: a payment daemon that sells digital files through CinetPay.
pub mod adapters;
pub mod domain;
pub mod ports;
