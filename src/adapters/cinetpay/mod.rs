//! CinetPay checkout v2: webhook signatures, and what the check's answers mean.

pub mod signature;
pub mod verdict;
