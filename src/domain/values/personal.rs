//! What identifies a person: parsed, bounded, and not printable by accident.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Invalid;

/// Longest e-mail address accepted, in bytes (RFC 5321, 4.5.3.1.3 less the angle brackets).
pub const EMAIL_BYTES_MAX: usize = 254;
/// Longest buyer's name accepted, in bytes.
pub const NAME_BYTES_MAX: usize = 120;
/// Most digits in a telephone number (E.164 has 15).
pub const PHONE_DIGITS_MAX: usize = 15;
/// What people read where a personal text was erased. It is no address, so nothing can be sent to it.
pub const ERASED: &str = "effacé";

/// A text that must not reach a log, a metric or a URL by accident: `Debug` hides it.
macro_rules! personal {
    ($(#[$doc:meta])* $name:ident, $parse:expr, $why:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Serialize)]
        pub struct $name(String);

        impl $name {
            /// Parses and bounds the text.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                let parse: fn(&str) -> Option<String> = $parse;
                parse(text.trim()).map(Self).ok_or($why)
            }
            /// The text itself: for the mail, the provider and the admin only. [`ERASED`] once it was erased.
            pub fn expose(&self) -> &str {
                if self.0.is_empty() { ERASED } else { &self.0 }
            }
            /// Whether it was erased: no text that was typed is empty.
            pub fn is_erased(&self) -> bool {
                self.0.is_empty()
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                if text.is_empty() {
                    return Ok(Self(text));
                }
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

personal!(
    /// A mailable address (RFC 5321 grammar, ASCII, a dotted domain). It cannot hold a line break, so no header can be injected.
    Email,
    |text| {
        let ok = text.len() <= EMAIL_BYTES_MAX
            && text.is_ascii()
            && !text.bytes().any(|b| b.is_ascii_control() || matches!(b, b'"' | b'<' | b'>' | b' ' | b'['))
            && email_address::EmailAddress::is_valid(text)
            && text.rsplit_once('@').is_some_and(|(_, domain)| domain.contains('.'));
        ok.then(|| text.to_owned())
    },
    Invalid::Email
);

personal!(
    /// A buyer's name: one line, bounded.
    Name,
    |text| {
        let ok = !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control);
        ok.then(|| text.to_owned())
    },
    Invalid::Name
);

personal!(
    /// A telephone number: digits, with a leading `+` where it was given.
    Phone,
    |text| {
        let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '.' | '-' | '(' | ')')).collect();
        let bare = digits.strip_prefix('+').unwrap_or(&digits);
        let ok = (6..=PHONE_DIGITS_MAX).contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_digit());
        ok.then_some(digits)
    },
    Invalid::Phone
);

/// The language a buyer chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// French, the default.
    #[default]
    Fr,
    /// English.
    En,
}

/// Everything personal that an order holds of its buyer, in one place so that it can be sealed. In JSON an erased one is
/// `{}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Buyer {
    /// Where the link goes.
    pub email: Email,
    /// As typed.
    pub name: Option<Name>,
    /// As typed.
    pub phone: Option<Phone>,
    /// The language of pages and mails.
    pub lang: Lang,
}

impl Buyer {
    /// What is left of a buyer whose data were erased.
    pub fn erased() -> Self {
        Self { email: Email(String::new()), name: None, phone: None, lang: Lang::default() }
    }

    /// Whether their data were erased.
    pub fn is_erased(&self) -> bool {
        self.email.is_erased()
    }
}

impl Default for Buyer {
    fn default() -> Self {
        Self::erased()
    }
}

impl Serialize for Buyer {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() && self.is_erased() {
            return s.serialize_struct("Buyer", 0)?.end();
        }
        let mut fields = s.serialize_struct("Buyer", 4)?;
        fields.serialize_field("email", &self.email)?;
        fields.serialize_field("name", &self.name)?;
        fields.serialize_field("phone", &self.phone)?;
        fields.serialize_field("lang", &self.lang)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_mailable_and_unprintable() {
        for good in ["awa@example.ci", " Awa.Kone+kit@mail.example.com ", "a@b.co"] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "awa",
            "a@b",
            "a@b.ci\r\nBcc: x@y.z",
            "Awa <a@b.ci>",
            "a b@c.ci",
            "a@[127.0.0.1]",
            "\"x y\"@b.ci",
        ] {
            assert_eq!(Email::parse(bad), Err(Invalid::Email), "{bad}");
        }
        assert!(Email::parse(&format!("{}@b.ci", "a".repeat(260))).is_err());
        assert_eq!(format!("{:?}", Email::parse("awa@example.ci")), "Ok(Email(…))");
    }
}
