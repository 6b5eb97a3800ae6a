//! Reading a mail: headers, the text and the HTML part. Tolerant: what cannot be decoded is shown as it is.

use base64::Engine;

/// Multiparts within multiparts followed at most.
const DEPTH_MAX: usize = 8;
/// Parts of one multipart looked at.
const PARTS_MAX: usize = 50;

/// What a person wants to see of a mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readable {
    /// Decoded `Subject`.
    pub subject: String,
    /// `Message-ID` with its angle brackets.
    pub message_id: String,
    /// First `text/plain` part.
    pub text: Option<String>,
    /// First `text/html` part.
    pub html: Option<String>,
}

/// Reads a raw mail.
pub(super) fn read(raw: &[u8]) -> Readable {
    let raw = String::from_utf8_lossy(raw).replace("\r\n", "\n");
    let (headers, _) = split(&raw);
    let mut readable = Readable {
        subject: decode_words(&header(headers, "subject")),
        message_id: header(headers, "message-id"),
        ..Readable::default()
    };
    walk(&raw, 0, &mut readable);
    readable
}

fn walk(part: &str, depth: usize, readable: &mut Readable) {
    let (headers, body) = split(part);
    let kind = header(headers, "content-type");
    let lower = kind.to_ascii_lowercase();
    if lower.starts_with("multipart/") {
        let Some(boundary) = parameter(&kind, "boundary").filter(|_| depth < DEPTH_MAX) else { return };
        let fence = format!("\n--{boundary}");
        let body = format!("\n{body}");
        for piece in body.split(&fence).skip(1).take(PARTS_MAX) {
            if piece.starts_with("--") {
                break;
            }
            walk(piece.split_once('\n').map_or("", |(_, rest)| rest), depth + 1, readable);
        }
        return;
    }
    let decoded = decode_body(body, &header(headers, "content-transfer-encoding"));
    if lower.starts_with("text/html") {
        readable.html.get_or_insert(decoded);
    } else if lower.is_empty() || lower.starts_with("text/plain") {
        readable.text.get_or_insert(decoded);
    }
}

/// Headers and body, at the first empty line.
fn split(part: &str) -> (&str, &str) {
    match part.strip_prefix('\n') {
        Some(body) => ("", body),
        None => part.split_once("\n\n").unwrap_or((part, "")),
    }
}

/// The first header of that name, unfolded; empty when there is none.
fn header(headers: &str, name: &str) -> String {
    let mut value: Option<String> = None;
    for line in headers.lines() {
        match (&mut value, line.strip_prefix([' ', '\t'])) {
            (Some(value), Some(more)) => {
                value.push(' ');
                value.push_str(more.trim());
            }
            (Some(_), None) => break,
            (None, _) => {
                if let Some((key, rest)) = line.split_once(':')
                    && key.eq_ignore_ascii_case(name)
                {
                    value = Some(rest.trim().to_owned());
                }
            }
        }
    }
    value.unwrap_or_default()
}

fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|piece| {
        let (key, value) = piece.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn decode_body(body: &str, encoding: &str) -> String {
    let bytes = match encoding.to_ascii_lowercase().as_str() {
        "quoted-printable" => quoted_printable(body, false),
        "base64" => base64(body).unwrap_or_else(|| body.as_bytes().to_vec()),
        _ => body.as_bytes().to_vec(),
    };
    String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let packed: String = text.chars().filter(|c| !c.is_whitespace() && *c != '=').collect();
    base64::engine::general_purpose::STANDARD_NO_PAD.decode(packed).ok()
}

/// RFC 2045 quoted-printable; in a header (`q_word`) `_` is a space.
fn quoted_printable(text: &str, q_word: bool) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| hex::decode(pair).ok());
        match (byte, pair) {
            (b'=', Some(decoded)) => {
                out.extend_from_slice(&decoded);
                at += 3;
            }
            (b'=', None) if bytes.get(at + 1) == Some(&b'\n') => at += 2,
            (b'_', _) if q_word => {
                out.push(b' ');
                at += 1;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// RFC 2047 words, UTF-8 only: other charsets stay as they are. Blanks between two words vanish.
fn decode_words(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let (before, word) = rest.split_at(start);
        let Some((decoded, tail)) = decode_word(word) else {
            out.push_str(before);
            out.push_str("=?");
            rest = &word[2..];
            after_word = false;
            continue;
        };
        if !(after_word && before.trim().is_empty()) {
            out.push_str(before);
        }
        out.push_str(&decoded);
        rest = tail;
        after_word = true;
    }
    out.push_str(rest);
    out
}

fn decode_word(word: &str) -> Option<(String, &str)> {
    let (charset, rest) = word.strip_prefix("=?")?.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (body, tail) = rest.split_once("?=")?;
    if !charset.eq_ignore_ascii_case("utf-8") && !charset.eq_ignore_ascii_case("us-ascii") {
        return None;
    }
    let bytes = match encoding {
        "b" | "B" => base64(body)?,
        "q" | "Q" => quoted_printable(body, true),
        _ => return None,
    };
    Some((String::from_utf8_lossy(&bytes).into_owned(), tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multipart_quoted_printable_and_base64() {
        let raw = "Subject: =?utf-8?b?Vm90cmUgYWNow6h0?= =?utf-8?q?_pr=C3=AAt?=\r\nMessage-ID: <1@x>\r\n\
                   Content-Type: multipart/alternative;\r\n boundary=\"b1\"\r\n\r\nignored\r\n--b1\r\n\
                   Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                   Caf=C3=A9 long=\r\n line\r\n--b1\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n\
                   PGI+w6k8\r\nL2I+\r\n--b1--\r\n";
        let mail = read(raw.as_bytes());
        assert_eq!(mail.subject, "Votre achèt prêt");
        assert_eq!(mail.message_id, "<1@x>");
        assert_eq!(mail.text.as_deref(), Some("Café long line"));
        assert_eq!(mail.html.as_deref(), Some("<b>é</b>"));
    }

    #[test]
    fn odd_mails_are_shown_as_they_are() {
        assert_eq!(read(b"").text.as_deref(), Some(""));
        assert_eq!(read(b"Subject: =?x?=\r\n\r\n=ZZ").subject, "=?x?=");
        assert_eq!(read(b"Subject: a\n\nplain =3D").text.as_deref(), Some("plain =3D"));
        let endless = format!("Content-Type: multipart/mixed\n\n{}", "--\n".repeat(10));
        assert_eq!(read(endless.as_bytes()).text, None);
    }
}
