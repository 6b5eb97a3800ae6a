//! The body of a form with a file (RFC 7578), whole in memory: its size was bounded before.

use bytes::Bytes;

/// Most fields of a form.
const PARTS_MAX: usize = 16;
/// Longest head of a field, in bytes.
const HEAD_BYTES_MAX: usize = 4 * 1024;
/// Longest boundary (RFC 2046, 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// A form's fields.
#[derive(Debug, Default)]
pub(crate) struct Parts(Vec<(String, Bytes)>);

impl Parts {
    /// Reads the body that this content type announces. None where it is not such a form, or a name comes twice.
    pub(crate) fn parse(content_type: &str, body: &Bytes) -> Option<Self> {
        let boundary = boundary(content_type)?;
        let (first, between) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
        let mut at = body.starts_with(first.as_bytes()).then_some(first.len())?;
        let mut parts: Vec<(String, Bytes)> = Vec::new();
        loop {
            let rest = body.get(at..)?;
            if rest.starts_with(b"--") {
                return Some(Self(parts));
            }
            let rest = rest.strip_prefix(b"\r\n")?;
            let head = find(&rest[..rest.len().min(HEAD_BYTES_MAX)], b"\r\n\r\n")?;
            let start = at + b"\r\n".len() + head + b"\r\n\r\n".len();
            let length = find(body.get(start..)?, between.as_bytes())?;
            let name = name(std::str::from_utf8(&rest[..head]).ok()?)?;
            if parts.len() >= PARTS_MAX || parts.iter().any(|(known, _)| *known == name) {
                return None;
            }
            parts.push((name, body.slice(start..start + length)));
            at = start + length + between.len();
        }
    }
    /// A field's bytes, if it is there and not empty.
    pub(crate) fn bytes(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().find(|(known, bytes)| known == name && !bytes.is_empty()).map(|(_, bytes)| bytes)
    }
    /// A field's text, if it is there, text and not blank.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let text = std::str::from_utf8(self.bytes(name)?).ok()?;
        (!text.trim().is_empty()).then_some(text)
    }
}

fn boundary(content_type: &str) -> Option<&str> {
    let (media, rest) = content_type.split_once(';')?;
    if !media.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = rest.split(';').find_map(|one| {
        let (key, value) = one.split_once('=')?;
        key.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    (!value.is_empty() && value.len() <= BOUNDARY_BYTES_MAX).then_some(value)
}

/// `Content-Disposition: form-data; name="file"; filename="x.csv"` names `file`.
fn name(head: &str) -> Option<String> {
    let line = head.split("\r\n").find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let mut parts = line.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("form-data") {
        return None;
    }
    let quoted = parts.find_map(|one| one.strip_prefix("name=\""))?;
    Some(quoted.strip_suffix('"')?.to_owned())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=----x7";

    fn form(fields: &[(&str, &[u8])]) -> Bytes {
        let mut body = Vec::new();
        for (name, value) in fields {
            body.extend_from_slice(
                format!("------x7\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a\"\r\nContent-Type: text/csv\r\n\r\n")
                    .as_bytes(),
            );
            body.extend_from_slice(value);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"------x7--\r\n");
        body.into()
    }

    #[test]
    fn forms_of_browsers_and_what_is_none() {
        let parts =
            Parts::parse(TYPE, &form(&[("csrf", b"abc"), ("file", b"a;b\r\n1;2\r\n"), ("from", b"")]))
                .unwrap();
        assert_eq!((parts.get("csrf"), parts.get("from"), parts.get("other")), (Some("abc"), None, None));
        assert_eq!(parts.bytes("file").map(|bytes| &bytes[..]), Some(&b"a;b\r\n1;2\r\n"[..]));
        let twice = form(&[("a", b"1"), ("a", b"2")]);
        for (media, body) in [
            ("multipart/form-data", form(&[])),
            ("multipart/form-data; boundary=", form(&[])),
            ("application/x-www-form-urlencoded", form(&[])),
            ("multipart/form-data; boundary=other", form(&[])),
            (TYPE, twice),
            (TYPE, Bytes::from_static(b"------x7\r\n\r\nno name\r\n------x7--")),
            (
                TYPE,
                Bytes::from_static(b"------x7\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\ncut off"),
            ),
            (TYPE, Bytes::new()),
        ] {
            assert!(Parts::parse(media, &body).is_none(), "{media} {body:?}");
        }
    }

    proptest! {
        #[test]
        fn no_body_is_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "(------x7|\r\n|--|Content-Disposition: form-data; name=\"a\"|\r\n\r\n|x){0,12}") {
            let _parts = Parts::parse(TYPE, &bytes.into());
            let _parts = Parts::parse(TYPE, &text.into_bytes().into());
        }

        /// A file's bytes come through untouched, whatever they are.
        #[test]
        fn files_survive(file in prop::collection::vec(any::<u8>(), 1..200)) {
            let parts = Parts::parse(TYPE, &form(&[("file", &file), ("after", b"x")])).unwrap();
            prop_assert_eq!(&parts.bytes("file").unwrap()[..], &file[..]);
            prop_assert_eq!(parts.get("after"), Some("x"));
        }
    }
}
