//! Which bytes of a file a request asks for (RFC 9110, 14.1 and 14.2). Pure arithmetic.

/// The part of a file that an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// All of it: no range was asked for, or one that we need not understand.
    Whole,
    /// These bytes, both ends included.
    Part {
        /// The first byte.
        first: u64,
        /// The last byte, below the file's length.
        last: u64,
    },
    /// A well-formed range that lies outside the file: 416.
    Outside,
}

impl Span {
    /// Reads a `Range` header for a file of `length` bytes. Several ranges at once are answered with the whole
    /// file, which RFC 9110 allows and no download program minds.
    pub fn parse(header: Option<&str>, length: u64) -> Self {
        let Some((unit, ranges)) = header.and_then(|text| text.trim().split_once('=')) else {
            return Self::Whole;
        };
        let Some((from, to)) = ranges.trim().split_once('-') else { return Self::Whole };
        if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
            return Self::Whole;
        }
        match (number(from), number(to)) {
            (Some(first), Some(last)) if first <= last => Self::between(first, last, length),
            (Some(first), None) if to.trim().is_empty() => Self::between(first, u64::MAX, length),
            (None, Some(0)) if from.trim().is_empty() => Self::Outside,
            (None, Some(suffix)) if from.trim().is_empty() => {
                Self::between(length.saturating_sub(suffix), u64::MAX, length)
            }
            _ => Self::Whole,
        }
    }

    fn between(first: u64, last: u64, length: u64) -> Self {
        match length.checked_sub(1) {
            Some(end) if first <= end => Self::Part { first, last: last.min(end) },
            _ => Self::Outside,
        }
    }
}

/// Digits only; a number too large for us is beyond every file.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_are_read_as_rfc_9110_says() {
        let check = |header: &str, length, want| {
            assert_eq!(Span::parse(Some(header), length), want, "{header} of {length}");
        };
        let part = |first, last| Span::Part { first, last };
        check("bytes=0-9", 100, part(0, 9));
        check("bytes=90-", 100, part(90, 99));
        check("bytes=90-200", 100, part(90, 99));
        check("bytes=-5", 100, part(95, 99));
        check("bytes=-500", 100, part(0, 99));
        check("BYTES = 1-2", 100, part(1, 2));
        check("bytes=100-", 100, Span::Outside);
        check("bytes=-0", 100, Span::Outside);
        check("bytes=0-", 0, Span::Outside);
        check("bytes=99999999999999999999999-", 100, Span::Outside);
        check("bytes=9-2", 100, Span::Whole);
        check("bytes=0-1,5-6", 100, Span::Whole);
        check("bytes=a-b", 100, Span::Whole);
        check("bytes=-", 100, Span::Whole);
        check("bytes=+1-2", 100, Span::Whole);
        check("items=0-1", 100, Span::Whole);
        check("bytes", 100, Span::Whole);
        assert_eq!(Span::parse(None, 100), Span::Whole);
    }

    proptest! {
        #[test]
        fn a_part_lies_inside_the_file(first in any::<u64>(), last in any::<u64>(), length in any::<u64>()) {
            for header in [format!("bytes={first}-{last}"), format!("bytes={first}-"), format!("bytes=-{last}")] {
                if let Span::Part { first, last } = Span::parse(Some(&header), length) {
                    prop_assert!(first <= last && last < length);
                }
            }
        }

        #[test]
        fn the_bytes_asked_for_are_the_bytes_given(length in 1_u64..10_000, a in 0_u64..10_000, b in 0_u64..10_000) {
            let (first, last) = (a.min(b), a.max(b));
            let want = if first < length { Span::Part { first, last: last.min(length - 1) } } else { Span::Outside };
            prop_assert_eq!(Span::parse(Some(&format!("bytes={first}-{last}")), length), want);
        }

        #[test]
        fn no_header_is_a_panic(text in ".{0,60}", length in any::<u64>()) {
            let _span = Span::parse(Some(&text), length);
        }
    }
}
