//! The public pages, as data. Their words and shape are in templates/.

use std::sync::Arc;

use askama::Template;

use super::assets;
use super::call::Call;
use super::refusals::REASONS;
use crate::domain::merchant::Merchant;
use crate::domain::values::{Lang, TransactionId};

/// What every page needs: the language, who sells, and where the same page stands in the other language.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    lang: Lang,
    merchant: Arc<Merchant>,
    switch: String,
}

impl Frame {
    /// The frame of an answer to `call`, in its language.
    pub(crate) fn of(call: &Call) -> Self {
        Self::in_lang(call, call.lang())
    }
    /// The frame of an answer to `call`, in this language.
    pub(crate) fn in_lang(call: &Call, lang: Lang) -> Self {
        let query = call.query();
        let hint = query.get("transaction_id").and_then(|text| TransactionId::parse(text).ok());
        let switch = match hint {
            Some(transaction) => format!("?transaction_id={transaction}&"),
            // A form's answer may stand at an address that nothing can be read from.
            None if call.looks() || call.route().first() == Some(&"buy") => "?".to_owned(),
            None => "/?".to_owned(),
        };
        Self { lang, merchant: Arc::clone(&call.merchant), switch }
    }
    /// With a switch that leads to this address; it ends with `?` or `&`.
    pub(crate) fn switching(self, address: String) -> Self {
        Self { switch: address, ..self }
    }
    /// The page's language.
    pub(crate) fn lang(&self) -> Lang {
        self.lang
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
    /// Who sells.
    pub(crate) fn merchant(&self) -> &Merchant {
        &self.merchant
    }
    /// The same page in the other language.
    pub(crate) fn switch(&self) -> String {
        format!("{}lang={}", self.switch, self.other())
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
    pub(crate) frame: Frame,
    pub(crate) heading: &'a str,
    pub(crate) text: &'a str,
    /// Where to go on from here, and how that is called; nothing where there is no such place.
    pub(crate) action: Option<(String, &'a str)>,
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
    pub(crate) summary: String,
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
    /// HTML, made by `markdown`.
    pub(crate) description: String,
    /// The picture's address, or nothing.
    pub(crate) picture: String,
    pub(crate) tier: &'a str,
    pub(crate) price: String,
    pub(crate) email: &'a str,
    pub(crate) name: &'a str,
    pub(crate) phone: &'a str,
    /// The name of the field that is wrong, or nothing.
    pub(crate) wrong: &'a str,
    /// What is wrong, or nothing.
    pub(crate) message: &'a str,
    /// The address that was probably meant, or nothing.
    pub(crate) meant: &'a str,
    /// What makes this form's purchase one purchase, however often it is sent.
    pub(crate) request: String,
}

/// What an order's state says: shared by the return page and the order's page. Its script changes it.
#[derive(Debug, Clone)]
pub(crate) struct States {
    /// The order's number, or nothing when the hint was unreadable.
    pub(crate) order: String,
    /// Which text is shown first.
    pub(crate) shown: &'static str,
    /// The codes of the refusal that is shown first.
    pub(crate) refused: &'static str,
    /// Seconds after which the page without script looks again; 0 = never.
    pub(crate) again: u32,
}

impl States {
    /// ` hidden` for a text that belongs to other states.
    pub(crate) fn hide(&self, names: &str) -> &'static str {
        if names.split(' ').any(|name| name == self.shown) { "" } else { " hidden" }
    }
    /// ` hidden` for the words of other refusals.
    pub(crate) fn hide_reason(&self, codes: &str) -> &'static str {
        if codes == self.refused { "" } else { " hidden" }
    }
    /// Every refusal in words.
    pub(crate) fn reasons(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &REASONS
    }
}

/// The page that buyers come back to.
#[derive(Template)]
#[template(path = "waiting.html")]
pub(crate) struct Waiting {
    pub(crate) frame: Frame,
    pub(crate) states: States,
}

/// An order's page.
#[derive(Template)]
#[template(path = "order.html")]
pub(crate) struct Order {
    pub(crate) frame: Frame,
    pub(crate) states: States,
    pub(crate) product: String,
    pub(crate) tier: String,
    pub(crate) price: String,
    pub(crate) created: String,
    pub(crate) email: String,
    /// What the forms bring along, so that no other site can send them.
    pub(crate) proof: String,
    /// Downloads left; none where nothing may be downloaded.
    pub(crate) left: Option<u32>,
    pub(crate) until: String,
    /// Whether the link's time has run out.
    pub(crate) ended: bool,
    /// Whether the mail server refused the address for good.
    pub(crate) unmailed: bool,
    /// Whether the address may be corrected here.
    pub(crate) readdress: bool,
    /// Whether a refused order may be tried again.
    pub(crate) retry: bool,
    /// What was just done, or nothing.
    pub(crate) done: String,
    /// The address in the form that corrects it.
    pub(crate) typed: String,
    /// The address that was probably meant, or nothing.
    pub(crate) meant: String,
}

/// An order's receipt, to be printed.
#[derive(Template)]
#[template(path = "receipt.html")]
pub(crate) struct Receipt {
    pub(crate) frame: Frame,
    pub(crate) number: String,
    pub(crate) order: String,
    pub(crate) product: String,
    pub(crate) tier: String,
    pub(crate) price: String,
    pub(crate) paid: String,
    pub(crate) buyer: String,
    pub(crate) operator: String,
    pub(crate) transaction: String,
    pub(crate) refunded: bool,
}

/// « Retrouver mes achats »: the form, or the answer that is always the same.
#[derive(Template)]
#[template(path = "recover.html")]
pub(crate) struct Recover<'a> {
    pub(crate) frame: Frame,
    pub(crate) sent: bool,
    pub(crate) message: &'a str,
    pub(crate) email: &'a str,
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
