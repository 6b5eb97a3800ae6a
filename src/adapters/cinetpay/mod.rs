//! CinetPay checkout v2: webhook signatures, the client, and what its answers mean.

pub mod signature;
