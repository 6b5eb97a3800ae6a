//! The outside world's protocols: CinetPay, mail, link tokens and rate limits.
//!
//! Membership test: it speaks a format or protocol someone else defined. Only this folder names
//! reqwest, lettre, hmac and governor.

pub mod admin_api;
pub mod browser;
pub mod cinetpay;
pub mod keyed_hash;
pub mod limits;
pub mod mailer;
pub mod token;
