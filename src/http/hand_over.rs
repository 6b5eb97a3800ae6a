//! A file that the proxy sends: the daemon has judged and counted, and answers with the file's place instead of its bytes.
//!
//! Why only through a trusted proxy: anybody else would get an empty answer that names a path of this machine.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use warp::http::header::{HeaderName, HeaderValue};

use super::Deps;
use super::call::Call;
use crate::config::Sendfile;

pub(crate) const X_ACCEL_REDIRECT: HeaderName = HeaderName::from_static("x-accel-redirect");
const X_SENDFILE: HeaderName = HeaderName::from_static("x-sendfile");
/// nginx's internal location, as in config/nginx/auditshield.conf; it stands for the folder `files` beside the catalogue.
const LOCATION: &str = "/auditshield-files";
/// What nginx is told is the path of an address, and decoded. mod_xsendfile takes its path as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What tells the proxy which file to send; none where the daemon sends it.
pub(crate) async fn order(deps: &Deps, call: &Call, file: &Path) -> Option<(HeaderName, HeaderValue)> {
    let proxied = call.peer.is_some_and(|peer| (deps.gates.proxied)(peer));
    let by = deps.settings.sendfile;
    if by == Sendfile::Daemon || !proxied {
        return None;
    }
    // The true path: no symbolic link leads the proxy out of the folder.
    let file = tokio::fs::canonicalize(file).await.ok()?;
    let folder = tokio::fs::canonicalize(&deps.settings.files_root).await.ok()?;
    place(by, &folder, &file)
}

fn place(by: Sendfile, folder: &Path, file: &Path) -> Option<(HeaderName, HeaderValue)> {
    let below = file.strip_prefix(folder).ok().filter(|below| !below.as_os_str().is_empty())?;
    match by {
        Sendfile::Daemon => None,
        Sendfile::AccelRedirect => {
            let place = format!("{LOCATION}{}", encoded(below)?);
            Some((X_ACCEL_REDIRECT, HeaderValue::try_from(place).ok()?))
        }
        // A name that a header cannot carry, with a line's end in it for one: the daemon sends that file itself.
        Sendfile::Sendfile => Some((X_SENDFILE, HeaderValue::from_bytes(file.as_os_str().as_bytes()).ok()?)),
    }
}

/// Each segment after a slash, percent-encoded. None for a path that is not UTF-8.
fn encoded(path: &Path) -> Option<String> {
    let mut text = String::new();
    for segment in path.iter() {
        text.push('/');
        text.extend(utf8_percent_encode(segment.to_str()?, SEGMENT));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let check = |by, file: &str, want: Option<&str>| {
            let found = place(by, Path::new("/etc/auditshield/files"), Path::new(file));
            let found = found.as_ref().map(|(_, place)| place.as_bytes());
            assert_eq!(found, want.map(str::as_bytes), "{by:?} {file}");
        };
        let (nginx, apache) = (Sendfile::AccelRedirect, Sendfile::Sendfile);
        check(nginx, "/etc/auditshield/files/kit.pdf", Some("/auditshield-files/kit.pdf"));
        check(nginx, "/etc/auditshield/files/a b/é?%.pdf", Some("/auditshield-files/a%20b/%C3%A9%3F%25.pdf"));
        for outside in [
            "/etc/auditshield/files",
            "/etc/auditshield/files-2/kit.pdf",
            "/etc/auditshield/kit.pdf",
            "/etc/passwd",
        ] {
            check(nginx, outside, None);
            check(apache, outside, None);
        }
        check(apache, "/etc/auditshield/files/a b.pdf", Some("/etc/auditshield/files/a b.pdf"));
        check(apache, "/etc/auditshield/files/é%.pdf", Some("/etc/auditshield/files/é%.pdf"));
        check(apache, "/etc/auditshield/files/a\nb.pdf", None);
        check(Sendfile::Daemon, "/etc/auditshield/files/kit.pdf", None);
    }
}
