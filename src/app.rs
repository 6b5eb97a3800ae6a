//! The only place that knows everything: build, run, drain.

use crate::config::Config;

/// Why the daemon did not run, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something it needs is not to be had: a port, the store's lock. Exit code 69.
    #[error("{0}")]
    Unavailable(String),
    /// Anything else. Exit code 1.
    #[error("{0}")]
    Failed(String),
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// See [`Error`].
pub async fn serve(config: Config) -> Result<(), Error> {
    drop(config);
    Err(Error::Failed("serve is not wired".to_owned()))
}

/// What `demo` was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct DemoOptions {
    /// Buy, pay, receive and download once without a browser, then end.
    pub once: bool,
    /// The shop's port; `None` takes a free one.
    pub port: Option<u16>,
}

/// Runs shop, daemon, simulator and mailbox in one process.
///
/// # Errors
/// See [`Error`].
pub async fn demo(options: DemoOptions) -> Result<(), Error> {
    Err(Error::Failed(format!("demo is not wired: {options:?}")))
}
