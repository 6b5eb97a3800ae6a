//! What a failed statement says about itself. Never its values: they may be personal.

use std::fmt;

use deadpool_postgres::PoolError;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::ledger::record::ThawError;
use crate::ledger::{LedgerError, Lost, OpenError};

/// Why a statement failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing was sent: there is no connection.
    Away(String),
    /// It was rolled back because of others, and may be sent again.
    Again(String),
    /// It was rolled back for want of room, memory, time or rights to write.
    NoRoom(String),
    /// It cannot succeed.
    Refused(String),
    /// What is stored is not what we store.
    Damaged(String),
    /// An order's key is missing.
    Lost(Lost),
    /// Nobody knows whether it happened.
    Unsure(String),
}

impl Trouble {
    /// What the answer to a statement that was sent says.
    pub(super) fn of(error: &Error) -> Trouble {
        let Some(code) = error.code() else { return Trouble::Unsure(plain(error)) };
        let text = format!("SQLSTATE {}", code.code());
        match code.code().get(..2) {
            _ if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED => {
                Trouble::Again(text)
            }
            // Only where a change of the tables does not wait.
            _ if *code == SqlState::LOCK_NOT_AVAILABLE => Trouble::Again(text),
            // Statement time-out, no room, no memory, a standby.
            _ if *code == SqlState::QUERY_CANCELED || *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                Trouble::NoRoom(text)
            }
            Some("53") => Trouble::NoRoom(text),
            // Wrong data, a constraint, a statement or a right that is not there.
            Some("22" | "23" | "0A" | "26" | "28" | "42") => Trouble::Refused(text),
            _ => Trouble::Unsure(text),
        }
    }
}

/// The error without a server's words, which may quote values.
fn plain(error: &Error) -> String {
    if error.is_closed() { "the connection was closed".to_owned() } else { error.to_string() }
}

impl From<PoolError> for Trouble {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => match error.code() {
                Some(code) => Trouble::Away(format!("SQLSTATE {}", code.code())),
                None => Trouble::Away(plain(&error)),
            },
            PoolError::Timeout(_) => Trouble::Away("no connection was free in time".to_owned()),
            other => Trouble::Away(other.to_string()),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Lost(lost) => return lost.fmt(f),
            Self::Away(text)
            | Self::Again(text)
            | Self::NoRoom(text)
            | Self::Refused(text)
            | Self::Damaged(text)
            | Self::Unsure(text) => text,
        };
        f.write_str(text)
    }
}

impl From<Trouble> for LedgerError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Damaged(text) => LedgerError::Line(text),
            Trouble::Lost(lost) => LedgerError::Lost(lost),
            other => LedgerError::Database(other.to_string()),
        }
    }
}

impl From<ThawError> for Trouble {
    fn from(error: ThawError) -> Self {
        match error {
            ThawError::Lost(lost) => Trouble::Lost(lost),
            ThawError::Keys(_) | ThawError::Damaged => Trouble::Damaged(error.to_string()),
        }
    }
}

impl From<Trouble> for OpenError {
    fn from(trouble: Trouble) -> Self {
        OpenError::Database(trouble.to_string())
    }
}
