//! Mails to buyers: composed once per letter, handed to a mail server, a folder or a list in memory.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use url::Url;

use self::cap::Cap;
use self::letter::Stationery;
use self::servers::Servers;
use self::smtp::Manner;
use super::token::Links;
use crate::domain::merchant::Merchant;
use crate::domain::values::{Email, OrderId};
use crate::ports::{Current, Letter, Mailer, Permits, PortFuture, Posted};

mod bounded;
mod cap;
mod folder;
mod letter;
mod servers;
mod settings;
mod smtp;
#[cfg(test)]
mod tests;
mod words;

/// Mails kept by [`Route::Memory`]; beyond it the oldest is forgotten.
pub const MEMORY_MAILS_MAX: usize = 1000;

/// Where mails go, and what they say of the sender.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How mails leave.
    pub route: Route,
    /// The sender's address.
    pub from: Email,
    /// The sender's name.
    pub from_name: String,
    /// Who signs the mail, and how they are reached.
    pub merchant: Merchant,
    /// Where answers go, if not to the sender.
    pub reply_to: Option<Email>,
    /// The envelope's sender (RFC 5321, 4.4), to whom servers send back what they cannot deliver, if not the sender.
    pub bounce_to: Option<Email>,
    /// Another server for the mails that the first one has surely not taken.
    pub fallback: Option<SmtpServer>,
    /// Mails that may leave in an hour, of all nodes together where they share; zero for no limit.
    pub per_hour: u32,
    /// Whether the mail with the link brings the receipt along.
    pub attach_receipt: bool,
    /// The address of the shop: the mailed link starts with it.
    pub public_url: Url,
    /// For one mail, from waiting for a connection to the server's final word.
    pub timeout: Duration,
    /// Connections open to the mail server at once, and kept for the next mails. Zero counts as one.
    pub connections_max: u32,
}

/// How mails leave.
#[derive(Debug, Clone)]
pub enum Route {
    /// Over SMTP (RFC 5321).
    Smtp(SmtpServer),
    /// As `<order>.<link>.eml` files, a reminder as `<order>.<link>.rappel.eml`, in this folder, which is made if need be.
    File(PathBuf),
    /// Into this list, newest last, at most [`MEMORY_MAILS_MAX`].
    Memory(Arc<Mutex<Vec<Parcel>>>),
}

/// A mail that was kept in memory.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// The order it delivers.
    pub order: OrderId,
    /// The recipient.
    pub to: Email,
    /// Headers and body, with CRLF.
    pub raw: Vec<u8>,
}

/// A mail server.
#[derive(Clone)]
pub struct SmtpServer {
    /// Its name or address; its certificate must bear it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the conversation is protected.
    pub tls: Tls,
    /// User and password, if it wants them.
    pub login: Option<(String, String)>,
    /// PEM certificates of authorities believed beside the system's.
    pub authorities: Option<Vec<u8>>,
}

impl std::fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // User and password stay out of logs.
        f.debug_struct("SmtpServer")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// How a conversation with a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte (RFC 8314, usually port 465).
    Implicit,
    /// STARTTLS or no mail (usually port 587).
    Required,
    /// STARTTLS where the server offers it. A login is never sent in clear to another machine.
    Opportunistic,
    /// Not at all.
    None,
}

/// Why no postman could be made of the settings.
#[derive(Debug, thiserror::Error)]
pub enum PostmanError {
    /// The sender's address, or the one for answers, does not fit a mail header.
    #[error("the sender's address does not fit a mail header")]
    Sender,
    /// TLS cannot be set up for this server's name.
    #[error("TLS cannot be set up for the mail server: {0}")]
    Tls(String),
}

/// Composes and sends delivery mails. Made once, shared.
#[derive(Debug)]
pub struct Postman {
    stationery: Stationery,
    way: Way,
    cap: Option<Cap>,
}

#[derive(Debug)]
enum Way {
    Smtp(Box<Servers>),
    Folder(PathBuf),
    Memory(Arc<Mutex<Vec<Parcel>>>),
}

impl Postman {
    /// Checks the settings; the mail server is not asked yet. `links` signs the mailed links.
    pub fn new(settings: Settings, links: Arc<Links>) -> Result<Self, PostmanError> {
        let stationery = Stationery::new(&settings, links)?;
        let way = match settings.route {
            Route::Smtp(server) => {
                let manner = Manner {
                    sender: stationery.envelope(),
                    hello: stationery.host(),
                    timeout: settings.timeout,
                    connections_max: settings.connections_max.max(1),
                };
                Way::Smtp(Box::new(Servers::new(server, settings.fallback, &manner)?))
            }
            Route::File(folder) => Way::Folder(folder),
            Route::Memory(list) => Way::Memory(list),
        };
        Ok(Self { stationery, way, cap: Cap::per_hour(settings.per_hour) })
    }

    /// The same, with the hour's mails drawn from where other nodes draw theirs, each at most so long before it leaves; no
    /// such place: its own.
    #[must_use]
    pub fn sharing(self, per_hour: u32, shared: Option<(Arc<dyn Permits>, Duration)>) -> Self {
        let Some((permits, reach)) = shared else { return self };
        Self { cap: Cap::shared(per_hour, reach, permits), ..self }
    }

    /// Whether the mail server talks to us: connection, encryption, login. A folder always does. `Err` is its code, or our
    /// word for the fault.
    ///
    /// # Errors
    /// It does not.
    pub async fn greet(&self) -> Result<(), String> {
        match &self.way {
            Way::Smtp(servers) => servers.first.greet().await,
            Way::Folder(_) | Way::Memory(_) => Ok(()),
        }
    }

    /// The same of the second mail server; None without one.
    pub async fn greet_fallback(&self) -> Option<Result<(), String>> {
        match &self.way {
            Way::Smtp(servers) => Some(servers.second.as_ref()?.greet().await),
            Way::Folder(_) | Way::Memory(_) => None,
        }
    }

    /// Sends a mail that only says that mails arrive.
    pub async fn trial(&self, order: OrderId, to: &Email) -> Posted {
        match self.stationery.trial(order, to) {
            Ok(mail) => self.hand(&mail).await,
            Err(reason) => Posted::Refused { reason: reason.to_string() },
        }
    }

    async fn post(&self, letter: &Letter) -> Posted {
        let mail = match self.stationery.write(letter) {
            Ok(mail) => mail,
            // The letter will not be another one next time.
            Err(reason) => return Posted::Refused { reason: reason.to_string() },
        };
        if let Way::Memory(list) = &self.way {
            let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
            if list.len() >= MEMORY_MAILS_MAX {
                list.remove(0);
            }
            list.push(Parcel { order: letter.order, to: letter.buyer.email.clone(), raw: mail.raw });
            return Posted::Accepted;
        }
        self.hand(&mail).await
    }

    async fn hand(&self, mail: &letter::Mail) -> Posted {
        match &self.way {
            Way::Smtp(servers) => servers.deliver(mail).await,
            Way::Folder(folder) => folder::keep(folder, mail).await,
            Way::Memory(_) => Posted::Accepted,
        }
    }
}

impl Mailer for Postman {
    fn send(&self, letter: Letter) -> PortFuture<'_, Posted> {
        Box::pin(async move {
            let posted = self.post(&letter).await;
            let outcome = match &posted {
                Posted::Accepted => "accepted",
                Posted::Refused { reason } => {
                    tracing::warn!(order = %letter.order, reason, "the mail server refused a mail to a buyer");
                    "refused"
                }
                Posted::Unavailable { reason } => {
                    tracing::info!(order = %letter.order, reason, "a mail to a buyer could not be handed over");
                    "unavailable"
                }
            };
            metrics::counter!("auditshield_mails_total", "outcome" => outcome).increment(1);
            posted
        })
    }

    fn reserve(&self, urgent: bool) -> PortFuture<'_, bool> {
        Box::pin(async move {
            let Some(cap) = &self.cap else { return true };
            let free = cap.take(urgent).await;
            if !free {
                let mail = if urgent { "delivery" } else { "reminder" };
                metrics::counter!("auditshield_mails_held_total", "mail" => mail).increment(1);
            }
            free
        })
    }

    fn is_spent(&self, urgent: bool) -> bool {
        self.cap.as_ref().is_some_and(|cap| cap.is_spent(urgent))
    }
}

/// The postman of the moment: a mail under way is finished by the one that began it.
impl Mailer for Current<Postman> {
    fn send(&self, letter: Letter) -> PortFuture<'_, Posted> {
        let postman = self.now();
        Box::pin(async move { postman.send(letter).await })
    }

    fn reserve(&self, urgent: bool) -> PortFuture<'_, bool> {
        let postman = self.now();
        Box::pin(async move { postman.reserve(urgent).await })
    }

    fn is_spent(&self, urgent: bool) -> bool {
        self.now().is_spent(urgent)
    }
}
