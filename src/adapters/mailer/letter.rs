//! What a mail to a buyer says. Equal letters make identical bytes: no clock, no chance.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use askama::Template;
use lettre::Address;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, Message, MultiPart, SinglePart};

use super::words::{one_line, short_line};
use super::{PostmanError, Settings};
use crate::adapters::receipt;
use crate::adapters::token::Links;
use crate::domain::merchant::Merchant;
use crate::domain::receipt::Receipt;
use crate::domain::values::{Email, Lang, OrderId};
use crate::domain::words;
use crate::ports::{Letter, Occasion};

/// Everything about the sender that each mail repeats.
#[derive(Debug)]
pub(super) struct Stationery {
    from: Mailbox,
    envelope: Address,
    reply_to: Option<Mailbox>,
    merchant: Merchant,
    /// The shop's address without a final slash.
    public: String,
    attach_receipt: bool,
    /// Right of the `@` in Message-IDs, and our name towards the mail server.
    host: String,
    links: Arc<Links>,
}

/// A mail ready to leave.
pub(super) struct Mail {
    /// The order it delivers.
    pub(super) order: OrderId,
    /// The recipient of the envelope.
    pub(super) to: Address,
    /// `<order>.<link>`, of a reminder `<order>.<link>.rappel`: left of the `@` in the Message-ID.
    pub(super) name: String,
    /// Headers and body, with CRLF and in ASCII.
    pub(super) raw: Vec<u8>,
}

/// Why a letter cannot be written. No address in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwritable {
    /// The recipient's address does not fit a mail header.
    #[error("ADDRESS")]
    Address,
    /// A template or a header failed.
    #[error("TEMPLATE")]
    Template,
}

#[derive(Template)]
#[template(path = "mail.fr.txt")]
struct TextFr<'a>(&'a Contents);
#[derive(Template)]
#[template(path = "mail.fr.html")]
struct HtmlFr<'a>(&'a Contents);
#[derive(Template)]
#[template(path = "mail.en.txt")]
struct TextEn<'a>(&'a Contents);
#[derive(Template)]
#[template(path = "mail.en.html")]
struct HtmlEn<'a>(&'a Contents);

/// What the templates fill in.
struct Contents {
    lang: &'static str,
    title: &'static str,
    /// Whether it reminds of a link instead of bringing it.
    reminds: bool,
    shop: String,
    product: String,
    tier: String,
    amount: String,
    link: String,
    /// The order's page.
    page: String,
    expires: String,
    downloads: String,
    order: String,
    /// Whether the receipt is attached.
    attached: bool,
    answers: bool,
    address: String,
    contact: String,
}

/// What a trial says.
const TRIAL: &str = "Si vous lisez ceci, les courriels de votre boutique arrivent. Regardez aussi s’il \
     était parmi les indésirables.\r\n\r\nIf you read this, your shop's mails arrive. See whether it was among the \
     spam, too.\r\n";

impl Stationery {
    pub(super) fn new(settings: &Settings, links: Arc<Links>) -> Result<Self, PostmanError> {
        let shop = short_line(&settings.from_name);
        let name = Some(shop).filter(|name| !name.is_empty());
        let merchant = Merchant {
            name: one_line(&settings.merchant.name),
            address: one_line(&settings.merchant.address),
            contact: one_line(&settings.merchant.contact),
            identifiers: one_line(&settings.merchant.identifiers),
        };
        let from = Mailbox::new(name, address(&settings.from).ok_or(PostmanError::Sender)?);
        let reply_to = match &settings.reply_to {
            Some(email) => Some(Mailbox::new(None, address(email).ok_or(PostmanError::Sender)?)),
            None => None,
        };
        let envelope = match &settings.bounce_to {
            Some(email) => address(email).ok_or(PostmanError::Sender)?,
            None => from.email.clone(),
        };
        let host = settings.public_url.domain().unwrap_or(from.email.domain()).to_ascii_lowercase();
        let public = settings.public_url.as_str().trim_end_matches('/').to_owned();
        let attach_receipt = settings.attach_receipt;
        Ok(Self { from, envelope, reply_to, merchant, public, attach_receipt, host, links })
    }

    /// The sender of the envelope: undeliverable mails come back to it.
    pub(super) fn envelope(&self) -> Address {
        self.envelope.clone()
    }

    /// Our name towards the mail server.
    pub(super) fn host(&self) -> String {
        self.host.clone()
    }

    /// A mail that only says that mails arrive. `order` names it; there is no such order.
    pub(super) fn trial(&self, order: OrderId, to: &Email) -> Result<Mail, Unwritable> {
        let to = address(to).ok_or(Unwritable::Address)?;
        let name = format!("{order}.0");
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(format!("{} : essai d’envoi / test mail", self.merchant.name))
            .message_id(Some(format!("<{name}@{}>", self.host)))
            .raw_header(plain_header("Auto-Submitted", "auto-generated"))
            .body(TRIAL.to_owned())
            .map_err(|_| Unwritable::Template)?;
        Ok(Mail { order, to, name, raw: message.formatted() })
    }

    /// The mail for this letter.
    pub(super) fn write(&self, letter: &Letter) -> Result<Mail, Unwritable> {
        let to = address(&letter.buyer.email).ok_or(Unwritable::Address)?;
        let receipt = letter.receipt.as_ref().filter(|_| self.attach_receipt);
        let Said { subject, text, html } = said(letter, &self.contents(letter, receipt.is_some()))?;
        let delivery = format!("{}.{}", letter.order, letter.link.number);
        let (name, date) = match letter.occasion {
            Occasion::Delivery => (delivery.clone(), letter.link.issued_at),
            Occasion::Reminder { planned } => (format!("{delivery}.rappel"), planned),
        };
        let seconds = u64::try_from(date.seconds()).unwrap_or(0);
        let mut builder = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(subject)
            .date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
            .message_id(Some(format!("<{name}@{}>", self.host)))
            // No answering machine should write back (RFC 3834, 5; the second is Exchange's).
            .raw_header(plain_header("Auto-Submitted", "auto-generated"))
            .raw_header(plain_header("X-Auto-Response-Suppress", "All"))
            .raw_header(plain_header("Content-Language", code(letter.lang())));
        if let Some(reply_to) = &self.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        if let Occasion::Reminder { .. } = letter.occasion {
            // Mail programs show it below the mail that it reminds of.
            builder = builder.references(format!("<{delivery}@{}>", self.host));
        }
        // `=_` cannot occur in quoted-printable text (RFC 2045, 6.7), so the boundary never does.
        let parts = MultiPart::alternative()
            .boundary(format!("=_{name}"))
            .singlepart(part(ContentType::TEXT_PLAIN, text))
            .singlepart(part(ContentType::TEXT_HTML, html));
        let parts = match receipt {
            Some(receipt) => MultiPart::mixed()
                .boundary(format!("=_m_{name}"))
                .multipart(parts)
                .singlepart(self.attachment(receipt)?),
            None => parts,
        };
        let message = builder.multipart(parts).map_err(|_| Unwritable::Template)?;
        Ok(Mail { order: letter.order, to, name, raw: message.formatted() })
    }

    fn attachment(&self, receipt: &Receipt) -> Result<SinglePart, Unwritable> {
        let kind = ContentType::parse("application/pdf").map_err(|_| Unwritable::Template)?;
        Ok(Attachment::new(receipt::file_name(receipt)).body(receipt::pdf(receipt, &self.merchant), kind))
    }

    fn contents(&self, letter: &Letter, attached: bool) -> Contents {
        let lang = letter.lang();
        let order = letter.order.to_string();
        let seconds = u64::try_from(letter.link.issued_at.seconds()).unwrap_or(0);
        let token = self.links.download_token(&order, letter.link.number, seconds);
        let page = self.links.order_token(&order, letter.link.number, seconds);
        Contents {
            lang: code(lang),
            title: title(letter),
            reminds: matches!(letter.occasion, Occasion::Reminder { .. }),
            shop: self.merchant.name.clone(),
            address: self.merchant.address.clone(),
            contact: self.merchant.contact.clone(),
            page: format!("{}/commande/lien/{page}/", self.public),
            product: one_line(&letter.product),
            tier: one_line(&letter.tier),
            amount: words::amount(letter.price, lang),
            link: format!("{}/download/{token}/", self.public),
            expires: words::moment(letter.link.expires_at, lang),
            downloads: words::downloads(letter.link.max_downloads, lang),
            order,
            attached,
            answers: self.reply_to.is_some(),
        }
    }
}

/// What a mail says.
struct Said {
    subject: String,
    text: String,
    html: String,
}

/// The words for this occasion, in the buyer's language.
fn said(letter: &Letter, contents: &Contents) -> Result<Said, Unwritable> {
    let product = short_line(&letter.product);
    let (colon, text, html) = match letter.lang() {
        Lang::Fr => ("\u{a0}:", TextFr(contents).render(), HtmlFr(contents).render()),
        Lang::En => (":", TextEn(contents).render(), HtmlEn(contents).render()),
    };
    let text = text.map_err(|_| Unwritable::Template)?;
    let html = html.map_err(|_| Unwritable::Template)?;
    Ok(Said { subject: format!("{}{colon} {product}", contents.title), text, html })
}

/// What a mail is about, in the buyer's language.
fn title(letter: &Letter) -> &'static str {
    match (letter.occasion, letter.lang()) {
        (Occasion::Delivery, Lang::Fr) => "Votre téléchargement",
        (Occasion::Delivery, Lang::En) => "Your download",
        (Occasion::Reminder { .. }, Lang::Fr) => "Votre lien expire bientôt",
        (Occasion::Reminder { .. }, Lang::En) => "Your link expires soon",
    }
}

fn code(lang: Lang) -> &'static str {
    match lang {
        Lang::Fr => "fr",
        Lang::En => "en",
    }
}

fn address(email: &Email) -> Option<Address> {
    email.expose().parse().ok()
}

/// A header whose value is ours, ASCII and short.
fn plain_header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// Quoted-printable whatever the text: readable in the raw, and no line too long for SMTP.
fn part(kind: ContentType, text: String) -> SinglePart {
    SinglePart::builder().header(kind).header(ContentTransferEncoding::QuotedPrintable).body(text)
}
