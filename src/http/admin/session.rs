//! Who is logged in: opaque secrets, in memory, few. A restart logs everybody out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::values::Timestamp;

/// Sessions at one time; the oldest one gives way.
const SESSIONS_MAX: usize = 64;
/// How long a session lives, in hours.
pub(crate) const SESSION_HOURS_MAX: u64 = 12;

/// One browser that knew the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// What its forms must bring along.
    pub(crate) csrf: String,
    until: Timestamp,
}

/// The sessions, by the keyed hash of their secret.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Session>>);

impl Sessions {
    /// Opens a session for the secret with this hash.
    pub(crate) fn open(&self, key: String, csrf: String, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, session| session.until > now);
        if all.len() >= SESSIONS_MAX
            && let Some(oldest) =
                all.iter().min_by_key(|(_, session)| session.until).map(|(key, _)| key.clone())
        {
            all.remove(&oldest);
        }
        all.insert(key, Session { csrf, until: now.plus(Duration::from_secs(SESSION_HOURS_MAX * 3600)) });
    }
    /// The live session with this hash.
    pub(crate) fn find(&self, key: &str, now: Timestamp) -> Option<Session> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key).filter(|session| session.until > now).cloned()
    }
    /// Ends a session.
    pub(crate) fn close(&self, key: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_end_and_are_few() {
        let sessions = Sessions::default();
        let start = Timestamp::from_millis(1_700_000_000_000);
        sessions.open("a".into(), "csrf".into(), start);
        assert_eq!(sessions.find("a", start).map(|session| session.csrf), Some("csrf".to_owned()));
        assert_eq!(sessions.find("b", start), None);
        assert_eq!(sessions.find("a", start.plus(Duration::from_secs(SESSION_HOURS_MAX * 3600))), None);
        for number in 0..SESSIONS_MAX {
            sessions.open(number.to_string(), String::new(), start.plus(Duration::from_secs(1)));
        }
        assert_eq!(sessions.find("a", start), None);
        assert_eq!(sessions.0.lock().unwrap().len(), SESSIONS_MAX);
        sessions.close("1");
        assert_eq!(sessions.find("1", start), None);
    }
}
