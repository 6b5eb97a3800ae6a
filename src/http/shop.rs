//! GET /: everything for sale, and the pictures of the products.

use std::hash::{DefaultHasher, Hasher};

use warp::http::StatusCode;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use warp::reply::Response;

use super::answer::{self, Problem};
use super::call::Call;
use super::pages::{Frame, Shop, ShopProduct, ShopTier};
use super::{Site, markdown};
use crate::domain::catalog::{Picture, Product};
use crate::domain::words;

/// The shop page.
pub(crate) fn get(site: &Site, call: &Call) -> Response {
    let frame = Frame::of(call);
    let catalog = site.deps.catalog.now();
    let products = catalog.products.iter().map(|product| ShopProduct {
        name: product.name.clone(),
        summary: markdown::summary(&product.description),
        tiers: product
            .tiers
            .iter()
            .map(|tier| ShopTier {
                name: tier.name.clone(),
                price: words::amount(tier.price, frame.lang()),
                address: format!("/buy/{}/{}/", product.slug, tier.id),
            })
            .collect(),
    });
    let products = products.collect();
    answer::page(StatusCode::OK, &Shop { frame, products })
}

/// The address of a product's picture, or nothing. It changes with the picture, so that it may be cached for ever.
pub(crate) fn picture_address(product: &Product) -> String {
    let of = |picture: &Picture| format!("/pictures/{}?v={}", product.slug, mark(picture));
    product.picture.as_ref().map(of).unwrap_or_default()
}

fn mark(picture: &Picture) -> String {
    // Not a secret and not an identity: it only has to change when the bytes do.
    let mut hasher = DefaultHasher::new();
    hasher.write(&picture.bytes);
    format!("{:016x}", hasher.finish())
}

/// GET `/pictures/<slug>`. Only what the catalogue holds in memory: no address reaches the disk.
pub(crate) fn picture(site: &Site, call: &Call, slug: &str) -> Response {
    let catalog = site.deps.catalog.now();
    let product = catalog.products.iter().find(|product| product.slug == slug);
    let Some(picture) = product.and_then(|product| product.picture.as_ref()) else {
        return Problem::not_found().answer(call);
    };
    let mut answer = Response::new(picture.bytes.to_vec().into());
    let current = call.query().get("v") == Some(mark(picture).as_str());
    let cache = if current { "public, max-age=31536000, immutable" } else { "no-cache" };
    answer::set(&mut answer, CONTENT_TYPE, picture.media);
    answer::set(&mut answer, CACHE_CONTROL, cache);
    answer::set(&mut answer, X_CONTENT_TYPE_OPTIONS, "nosniff");
    answer
}
