//! What is for sale.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::values::Money;

/// Every product, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// The products.
    pub products: Vec<Product>,
}

/// A product: a guide, a kit, an e-book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Its name in URLs.
    pub slug: String,
    /// Its name on pages and mails.
    pub name: String,
    /// Markdown; its first paragraph stands in the shop, all of it on the purchase page. May be empty.
    pub description: String,
    /// A picture for the purchase page.
    pub picture: Option<Picture>,
    /// Its prices, at least one.
    pub tiers: Vec<Tier>,
}

/// A picture, small enough to be kept in memory and to be sent over a slow network.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its media type, as its bytes show it.
    pub media: &'static str,
    /// The file.
    pub bytes: Arc<[u8]>,
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({}, {} bytes)", self.media, self.bytes.len())
    }
}

impl Picture {
    /// A picture of a type that every browser shows and that can hold no script, by its first bytes.
    pub fn recognise(bytes: Vec<u8>) -> Option<Self> {
        let media = match bytes.as_slice() {
            [0xff, 0xd8, 0xff, ..] => "image/jpeg",
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => "image/png",
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
            _ => return None,
        };
        Some(Self { media, bytes: bytes.into() })
    }
}

/// One price of a product and the file that it buys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Its name in URLs.
    pub id: String,
    /// Its name on pages and mails.
    pub name: String,
    /// What it costs.
    pub price: Money,
    /// The absolute path of the file.
    pub file: PathBuf,
}

impl Catalog {
    /// The product and tier of a URL.
    pub fn find(&self, slug: &str, tier: &str) -> Option<(&Product, &Tier)> {
        let product = self.products.iter().find(|product| product.slug == slug)?;
        let tier = product.tiers.iter().find(|candidate| candidate.id == tier)?;
        Some((product, tier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_their_first_bytes() {
        let check = |bytes: &[u8], media: Option<&str>| {
            let found = Picture::recognise(bytes.to_vec());
            assert_eq!(found.as_ref().map(|picture| picture.media), media, "{bytes:?}");
            assert!(found.as_ref().is_none_or(|picture| *picture.bytes == *bytes));
            let shown = found.map(|picture| format!("{picture:?}"));
            assert_eq!(shown, media.map(|media| format!("Picture({media}, {} bytes)", bytes.len())));
        };
        check(b"\xff\xd8\xff\xe0 and more", Some("image/jpeg"));
        check(b"\x89PNG\r\n\x1a\n and more", Some("image/png"));
        check(b"RIFF\x01\x02\x03\x04WEBPVP8 ", Some("image/webp"));
        check(b"RIFF\x01\x02\x03\x04WAVEfmt ", None);
        check(b"GIF89a", None);
        check(b"<svg xmlns='http://www.w3.org/2000/svg'>", None);
        check(b"\xff\xd8", None);
        check(b"", None);
    }
}
