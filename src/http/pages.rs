//! The public pages, as data. Their words and shape are in templates/.

use askama::Template;

use super::assets;
use crate::domain::values::Lang;

/// What every page needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    lang: Lang,
}

impl Frame {
    /// A frame in this language.
    pub(crate) fn new(lang: Lang) -> Self {
        Self { lang }
    }
    /// The language's code.
    pub(crate) fn code(&self) -> &'static str {
        self.say("fr", "en")
    }
    /// The other language's code.
    pub(crate) fn other(&self) -> &'static str {
        self.say("en", "fr")
    }
    /// The text in the page's language.
    pub(crate) fn say<'a>(&self, fr: &'a str, en: &'a str) -> &'a str {
        match self.lang {
            Lang::Fr => fr,
            Lang::En => en,
        }
    }
    /// An asset's address, with the hash that lets it be cached for ever.
    pub(crate) fn asset(&self, name: &str) -> String {
        assets::address(name)
    }
}

/// A heading and a text: errors, mostly.
#[derive(Template)]
#[template(path = "notice.html")]
pub(crate) struct Notice<'a> {
    frame: Frame,
    heading: &'a str,
    text: &'a str,
}

impl<'a> Notice<'a> {
    /// The page.
    pub(crate) fn new(lang: Lang, heading: &'a str, text: &'a str) -> Self {
        Self { frame: Frame::new(lang), heading, text }
    }
}

/// Everything for sale.
#[derive(Template)]
#[template(path = "shop.html")]
pub(crate) struct Shop {
    pub(crate) frame: Frame,
    pub(crate) products: Vec<ShopProduct>,
}

/// One product in the shop.
pub(crate) struct ShopProduct {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) tiers: Vec<ShopTier>,
}

/// One price in the shop.
pub(crate) struct ShopTier {
    pub(crate) name: String,
    pub(crate) price: String,
    pub(crate) address: String,
}

/// The form that buys; shown again with a message when a field is wrong.
#[derive(Template)]
#[template(path = "buy.html")]
pub(crate) struct Buy<'a> {
    pub(crate) frame: Frame,
    pub(crate) product: &'a str,
    pub(crate) description: &'a str,
    pub(crate) tier: &'a str,
    pub(crate) price: String,
    pub(crate) email: &'a str,
    pub(crate) name: &'a str,
    pub(crate) phone: &'a str,
    /// The name of the field that is wrong, or nothing.
    pub(crate) wrong: &'a str,
    /// What is wrong, or nothing.
    pub(crate) message: &'a str,
}

/// The page that buyers come back to.
#[derive(Template)]
#[template(path = "waiting.html")]
pub(crate) struct Waiting {
    pub(crate) frame: Frame,
    /// The order's number, or nothing when the hint was unreadable.
    pub(crate) order: String,
    /// Which text is shown first; the script changes it.
    pub(crate) shown: &'static str,
    /// Whether the page without script has to look again.
    pub(crate) waits: bool,
}

/// The mailed link's page.
#[derive(Template)]
#[template(path = "download.html")]
pub(crate) struct Landing {
    pub(crate) frame: Frame,
    pub(crate) product: String,
    pub(crate) tier: String,
    pub(crate) order: String,
    pub(crate) left: u32,
    pub(crate) until: String,
}

/// `2026-11-23 09:15 UTC`: minutes are enough for people.
pub(crate) fn moment(at: crate::domain::values::Timestamp) -> String {
    let text = at.to_string();
    format!("{} {} UTC", text.get(..10).unwrap_or_default(), text.get(11..16).unwrap_or_default())
}
