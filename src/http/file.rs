//! `/download/file/<grant>/`: the file itself, whole or in part, straight from the disk.

use std::io::SeekFrom;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;
use warp::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use warp::http::{Method, StatusCode};
use warp::reply::{Reply, Response};

use super::answer::{self, Problem};
use super::call::Call;
use super::range::Span;
use super::{Site, download, hand_over};
use crate::domain::values::OrderId;

/// Read from the disk and sent at one time, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;
/// What a name in `Content-Disposition` may keep (RFC 8187, attr-char).
const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// What a file's headers say.
struct About {
    length: u64,
    tag: String,
    modified: SystemTime,
}

/// GET and HEAD with every kind of range; none of them spends anything.
pub(crate) async fn get(site: &Arc<Site>, call: &Call) -> Response {
    let text = call.segments.last().map(String::as_str).unwrap_or_default();
    let allowed = download::granted(&site.deps, text)
        .and_then(|(order, link)| Ok((order, download::sale(&site.deps, order, link)?.0)));
    let catalog = site.deps.catalog.now();
    let answer = match allowed {
        Err(problem) => download::refuse(call, &problem),
        Ok((order, payment)) => match catalog.find(&payment.product, &payment.tier) {
            None => missing(call, order, "the product is no longer in the catalogue"),
            Some((_, tier)) => match open(&tier.file).await {
                Ok((file, about)) => match hand_over::order(&site.deps, call, &tier.file).await {
                    Some((name, place)) => handed_over(&tier.file, &about, (name, place)),
                    None => serve(call, &tier.file, file, about).await,
                },
                Err(error) => missing(call, order, &error.kind().to_string()),
            },
        },
    };
    download::private(answer)
}

/// The buyer has paid and the file is not there: loud, because only the merchant can put it right.
fn missing(call: &Call, order: OrderId, reason: &str) -> Response {
    tracing::error!(%order, reason, "a sold file cannot be read");
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "file-missing").explained(
        "Le fichier est momentanément indisponible. Le vendeur est prévenu : rouvrez votre lien plus tard.",
        "The file is unavailable for a moment. The seller has been told: open your link again later.",
    );
    download::refuse(call, &problem.retry_after(300))
}

async fn open(path: &Path) -> std::io::Result<(File, About)> {
    let file = File::open(path).await?;
    let about = file.metadata().await?;
    if !about.is_file() {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    let modified = about.modified()?;
    let nanos = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let tag = format!("\"{:x}-{nanos:x}\"", about.len());
    Ok((file, About { length: about.len(), tag, modified }))
}

/// The proxy answers ranges and conditions. Why tag and date all the same: mod_xsendfile's own tag is the same for every file,
/// and a download resumed by it could join two editions of one. nginx makes its own from date and size.
fn handed_over(path: &Path, about: &About, (name, place): (HeaderName, HeaderValue)) -> Response {
    download::count("handed_over");
    let mut answer = described(Response::new("".into()), StatusCode::OK, path, about);
    if name == hand_over::X_ACCEL_REDIRECT {
        // nginx would keep it beside its own.
        answer.headers_mut().remove(ACCEPT_RANGES);
    }
    answer.headers_mut().insert(name, place);
    answer
}

async fn serve(call: &Call, path: &Path, mut file: File, about: About) -> Response {
    if unchanged(call, &about) {
        return described(Response::new("".into()), StatusCode::NOT_MODIFIED, path, &about);
    }
    let length = about.length;
    let (status, first, count) = match wanted(call, &about) {
        Span::Whole => (StatusCode::OK, 0, length),
        Span::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Span::Outside => {
            let answer = described(Response::new("".into()), StatusCode::RANGE_NOT_SATISFIABLE, path, &about);
            return with(answer, CONTENT_RANGE, &format!("bytes */{length}"));
        }
    };
    if let Err(error) = file.seek(SeekFrom::Start(first)).await {
        tracing::error!(%error, "a sold file cannot be read");
        return download::refuse(call, &Problem::unavailable());
    }
    let body = if call.method == Method::HEAD {
        Response::new("".into())
    } else {
        download::count(if status == StatusCode::OK { "served" } else { "resumed" });
        warp::reply::stream(ReaderStream::with_capacity(file.take(count), CHUNK_BYTES)).into_response()
    };
    // Invariant: the length is the body's own, or the client would wait for bytes that never come.
    let answer = with(described(body, status, path, &about), CONTENT_LENGTH, &count.to_string());
    if status == StatusCode::PARTIAL_CONTENT {
        return with(answer, CONTENT_RANGE, &format!("bytes {first}-{}/{length}", first + count - 1));
    }
    answer
}

/// Whether the client has this very file already (RFC 9110, 13.1.2 and 13.1.3).
fn unchanged(call: &Call, about: &About) -> bool {
    match call.header(&IF_NONE_MATCH) {
        Some(tags) => tags
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == "*" || tag == about.tag),
        None => call
            .header(&IF_MODIFIED_SINCE)
            .and_then(|text| httpdate::parse_http_date(text).ok())
            .is_some_and(|since| seconds(about.modified) <= seconds(since)),
    }
}

/// The span asked for; all of it when the file is no longer the one that the client began (RFC 9110, 13.1.5).
fn wanted(call: &Call, about: &About) -> Span {
    let same = match call.header(&IF_RANGE).map(str::trim) {
        None => true,
        Some(tag) if tag.starts_with('"') => tag == about.tag,
        Some(date) => {
            httpdate::parse_http_date(date).is_ok_and(|date| seconds(date) == seconds(about.modified))
        }
    };
    // Ranges are defined for GET alone (RFC 9110, 14.2).
    if same && call.method == Method::GET {
        Span::parse(call.header(&RANGE), about.length)
    } else {
        Span::Whole
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn with(mut answer: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// The headers that every answer about a file carries.
fn described(mut answer: Response, status: StatusCode, path: &Path, about: &About) -> Response {
    *answer.status_mut() = status;
    answer::set(&mut answer, CONTENT_TYPE, media(path));
    answer::set(&mut answer, ACCEPT_RANGES, "bytes");
    answer::set(&mut answer, CACHE_CONTROL, "private, no-store");
    answer::set(&mut answer, X_CONTENT_TYPE_OPTIONS, "nosniff");
    let answer = with(answer, CONTENT_DISPOSITION, &disposition(path));
    let answer = with(answer, ETAG, &about.tag);
    with(answer, LAST_MODIFIED, &httpdate::fmt_http_date(about.modified))
}

/// RFC 6266: a plain name for old clients, the true one for the others.
fn disposition(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let plain: String = name
        .chars()
        .map(|one| if one.is_ascii_alphanumeric() || "._- ()".contains(one) { one } else { '_' })
        .collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(&name, NAME))
}

fn media(path: &Path) -> &'static str {
    let ending =
        path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "epub" => "application/epub+zip",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "txt" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;
