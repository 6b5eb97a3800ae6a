//! What `cargo mutants` judges.

pub mod domain;

/// As in the daemon, so that `crate::adapters::…` means the same.
pub mod adapters {
    pub mod cinetpay {
        pub mod signature;
    }
    pub mod token;
}
