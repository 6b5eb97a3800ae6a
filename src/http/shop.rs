//! GET /: everything for sale.

use warp::http::StatusCode;
use warp::reply::Response;

use super::call::Call;
use super::pages::{Frame, Shop, ShopProduct, ShopTier};
use super::{Site, answer, money};

/// The shop page.
pub(crate) fn get(site: &Site, call: &Call) -> Response {
    let catalog = site.deps.catalog.now();
    let products = catalog.products.iter().map(|product| ShopProduct {
        name: product.name.clone(),
        description: product.description.clone(),
        tiers: product
            .tiers
            .iter()
            .map(|tier| ShopTier {
                name: tier.name.clone(),
                price: money::amount(tier.price),
                address: format!("/buy/{}/{}/", product.slug, tier.id),
            })
            .collect(),
    });
    answer::page(StatusCode::OK, &Shop { frame: Frame::new(call.lang()), products: products.collect() })
}
