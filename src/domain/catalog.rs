//! What is for sale.

use std::path::PathBuf;

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
    /// A paragraph for the shop; may be empty.
    pub description: String,
    /// Its prices, at least one.
    pub tiers: Vec<Tier>,
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
