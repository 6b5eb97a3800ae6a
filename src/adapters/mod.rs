//! The outside world's protocols: CinetPay, mail, PDF, link tokens, rate limits and the service manager.
//!
//! Membership test: it speaks a format or protocol someone else defined. Only this folder names
//! reqwest, lettre, pdf-writer, hmac, ring, governor and listenfd.

pub mod admin_api;
pub mod browser;
pub mod cinetpay;
pub mod dns;
pub mod keyed_hash;
pub mod limits;
pub mod mailer;
pub mod ngrok;
pub mod outside;
mod paper;
pub mod proof;
pub mod proof_key;
pub mod receipt;
pub mod systemd;
#[cfg(test)]
mod tests;
pub mod token;
