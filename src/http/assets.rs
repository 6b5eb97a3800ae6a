//! Styles, scripts and the icon: embedded in the binary, cached for ever under an address that carries their hash.

use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use warp::http::StatusCode;
use warp::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use warp::reply::Response;

use super::answer::{Problem, set};
use super::call::Call;

struct Asset {
    name: &'static str,
    media: &'static str,
    bytes: &'static [u8],
    /// The same, packed with gzip where that is shorter.
    packed: Option<Vec<u8>>,
    hash: String,
}

static ASSETS: LazyLock<[Asset; 4]> = LazyLock::new(|| {
    [
        asset("style.css", "text/css; charset=utf-8", include_bytes!("assets/style.css")),
        asset("admin.css", "text/css; charset=utf-8", include_bytes!("assets/admin.css")),
        asset("status.js", "text/javascript; charset=utf-8", include_bytes!("assets/status.js")),
        asset("icon.svg", "image/svg+xml", include_bytes!("assets/icon.svg")),
    ]
});

fn asset(name: &'static str, media: &'static str, bytes: &'static [u8]) -> Asset {
    // Not a secret and not an identity: it only has to change when the bytes do.
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    Asset { name, media, bytes, packed: pack(bytes), hash: format!("{:016x}", hasher.finish()) }
}

/// Why assets alone are packed: they hold no secret whose length could be guessed at (BREACH), and are packed once.
fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::best());
    let packed = writer.write_all(bytes).and_then(|()| writer.finish()).ok()?;
    (packed.len() < bytes.len()).then_some(packed)
}

/// The address that pages use.
pub(crate) fn address(name: &str) -> String {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => format!("/assets/{name}?v={}", asset.hash),
        None => format!("/assets/{name}"),
    }
}

/// GET `/assets/<name>`.
pub(crate) fn get(call: &Call, name: &str) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return Problem::not_found().answer(call);
    };
    let tag = format!("\"{}\"", asset.hash);
    let known = call.header(&IF_NONE_MATCH).is_some_and(|tags| tags.contains(&tag));
    let unpacks = call.header(&ACCEPT_ENCODING).is_some_and(|list| {
        list.split(',')
            .map(str::trim)
            .any(|one| one == "gzip" || (one.starts_with("gzip;") && !one.contains("q=0")))
    });
    let packed = asset.packed.as_ref().filter(|_| unpacks && !known);
    let body = packed.map_or_else(|| asset.bytes.to_vec(), Clone::clone);
    let mut answer = Response::new(if known { "".into() } else { body.into() });
    if packed.is_some() {
        set(&mut answer, CONTENT_ENCODING, "gzip");
    }
    set(&mut answer, VARY, "Accept-Encoding");
    if known {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let current = call.query().get("v") == Some(asset.hash.as_str());
    let cache = if current { "public, max-age=31536000, immutable" } else { "no-cache" };
    set(&mut answer, CONTENT_TYPE, asset.media);
    set(&mut answer, CACHE_CONTROL, cache);
    set(&mut answer, X_CONTENT_TYPE_OPTIONS, "nosniff");
    // Weak: packed and plain are the same asset in other bytes.
    if let Ok(tag) = HeaderValue::from_str(&format!("W/{tag}")) {
        answer.headers_mut().insert(ETAG, tag);
    }
    answer
}
