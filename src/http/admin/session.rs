//! Who is logged in: opaque secrets, in memory, few. A restart logs everybody out.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::values::Timestamp;

/// Sessions at one time; the oldest one gives way.
const SESSIONS_MAX: usize = 64;
/// How long a session lives, in hours.
pub(crate) const SESSION_HOURS_MAX: u64 = 12;
/// Searches that a session remembers; the oldest one gives way.
const SEARCHES_MAX: usize = 32;

/// One browser that knew the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// The keyed hash of its secret, under which it is found.
    pub(crate) key: String,
    /// What its forms must bring along.
    pub(crate) csrf: String,
    /// The name under which its acts stand in the journal.
    pub(crate) name: String,
    until: Timestamp,
}

/// The sessions, by the keyed hash of their secret.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Entry>>);

struct Entry {
    session: Session,
    /// What was looked for, by the handle that stands in addresses instead of it.
    searches: VecDeque<(String, String)>,
}

impl Sessions {
    /// Opens a session for the secret with this hash.
    pub(crate) fn open(&self, key: String, csrf: String, name: String, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, entry| entry.session.until > now);
        if all.len() >= SESSIONS_MAX
            && let Some(oldest) =
                all.iter().min_by_key(|(_, entry)| entry.session.until).map(|(key, _)| key.clone())
        {
            all.remove(&oldest);
        }
        let until = now.plus(Duration::from_secs(SESSION_HOURS_MAX * 3600));
        let session = Session { key: key.clone(), csrf, name, until };
        all.insert(key, Entry { session, searches: VecDeque::new() });
    }
    /// The live session with this hash.
    pub(crate) fn find(&self, key: &str, now: Timestamp) -> Option<Session> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key).map(|entry| &entry.session).filter(|session| session.until > now).cloned()
    }
    /// Ends a session.
    pub(crate) fn close(&self, key: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
    /// Keeps what was looked for, so that only `handle` stands in addresses: they end up in histories and bookmarks.
    pub(crate) fn remember(&self, key: &str, handle: String, sought: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = all.get_mut(key) else { return };
        if entry.searches.len() >= SEARCHES_MAX {
            entry.searches.pop_front();
        }
        entry.searches.push_back((handle, sought));
    }
    /// What was looked for under this handle.
    pub(crate) fn sought(&self, key: &str, handle: &str) -> Option<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let searches = &all.get(key)?.searches;
        searches.iter().find(|(known, _)| known == handle).map(|(_, sought)| sought.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn sessions_end_and_are_few() {
        let sessions = Sessions::default();
        let open = |key: &str, at| sessions.open(key.into(), "csrf".into(), "Awa".into(), at);
        open("a", START);
        let found = sessions.find("a", START);
        assert_eq!(found.map(|session| (session.csrf, session.name)), Some(("csrf".into(), "Awa".into())));
        assert_eq!(sessions.find("b", START), None);
        assert_eq!(sessions.find("a", START.plus(Duration::from_secs(SESSION_HOURS_MAX * 3600))), None);
        for number in 0..SESSIONS_MAX {
            open(&number.to_string(), START.plus(Duration::from_secs(1)));
        }
        assert_eq!(sessions.find("a", START), None);
        assert_eq!(sessions.0.lock().unwrap().len(), SESSIONS_MAX);
        sessions.close("1");
        assert_eq!(sessions.find("1", START), None);
    }

    #[test]
    fn searches_belong_to_their_session_and_are_few() {
        let sessions = Sessions::default();
        for key in ["a", "b"] {
            sessions.open(key.into(), String::new(), String::new(), START);
        }
        for number in 0..=SEARCHES_MAX {
            sessions.remember("a", number.to_string(), format!("awa{number}@example.ci"));
        }
        sessions.remember("gone", "1".into(), "x".into());
        assert_eq!(sessions.sought("a", "0"), None, "the oldest gave way");
        assert_eq!(sessions.sought("a", "1").as_deref(), Some("awa1@example.ci"));
        assert_eq!(sessions.sought("b", "1"), None, "another session's");
        assert_eq!(sessions.sought("gone", "1"), None);
    }
}
