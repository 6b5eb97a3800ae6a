//! CinetPay checkout v2: webhook signatures, and what the check's answers mean.

pub mod breaker;
pub mod request;
pub mod signature;
pub mod verdict;
