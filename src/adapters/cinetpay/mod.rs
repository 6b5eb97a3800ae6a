//! CinetPay checkout v2: the client, webhook signatures, and what the answers mean.

pub mod answer;
pub mod breaker;
pub mod client;
pub mod request;
pub mod signature;
pub mod trial;
mod turns;
pub mod verdict;
