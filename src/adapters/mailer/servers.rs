//! The mail server, and the one that stands in for it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::letter::Mail;
use super::smtp::{Handed, Manner, Smtp};
use super::{PostmanError, SmtpServer};
use crate::ports::Posted;

/// After it could not be reached, the first server is left alone for so long: not every mail waits for its time-out.
const REST: Duration = Duration::from_secs(60);

/// Where mails are handed to.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) first: Smtp,
    pub(super) second: Option<Smtp>,
    /// Until when the second serves alone.
    resting: Mutex<Option<Instant>>,
}

impl Servers {
    pub(super) fn new(
        first: SmtpServer,
        second: Option<SmtpServer>,
        manner: &Manner,
    ) -> Result<Self, PostmanError> {
        let second = second.map(|server| Smtp::new(server, manner)).transpose()?;
        Ok(Self { first: Smtp::new(first, manner)?, second, resting: Mutex::default() })
    }

    /// Hands a mail to the first server, or to the second if the first has surely not taken it and had nothing against
    /// this mail itself.
    pub(super) async fn deliver(&self, mail: &Mail) -> Posted {
        let Some(second) = &self.second else { return self.first.deliver(mail).await.posted };
        let mut why = None;
        if !self.rests() {
            let Handed { posted, elsewhere } = self.first.deliver(mail).await;
            if !elsewhere {
                return posted;
            }
            if let Posted::Unavailable { reason } = posted {
                tracing::warn!(
                    reason,
                    "the mail server does not take mails: the second one does for a while"
                );
                why = Some(reason);
            }
            *self.lock() = Some(Instant::now() + REST);
        }
        metrics::counter!("auditshield_mails_fallback_total").increment(1);
        match (second.deliver(mail).await.posted, why) {
            (Posted::Unavailable { reason }, Some(first)) => {
                Posted::Unavailable { reason: format!("{first}, {reason}") }
            }
            (posted, _) => posted,
        }
    }

    fn rests(&self) -> bool {
        self.lock().is_some_and(|until| Instant::now() < until)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
