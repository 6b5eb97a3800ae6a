//! `Range`: the span that is served is the one a byte-by-byte reading of RFC 9110 gives.
#![no_main]

use auditshield::http::range::Span;
use libfuzzer_sys::fuzz_target;

// Eight bytes of the file's length, then the header.
fuzz_target!(|input: &[u8]| {
    let Some((length, text)) = input.split_first_chunk::<8>() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let length = u64::from_le_bytes(*length);
    for length in [length, length % 16, 0, u64::MAX] {
        let span = Span::parse(Some(text), length);
        if let Span::Part { first, last } = span {
            assert!(first <= last && last < length, "{text} of {length}: {first}-{last}");
        }
        assert_eq!(span, naive(text, length), "{text} of {length}");
    }
});

/// One range by the grammar; everything we need not understand is the whole file.
fn naive(text: &str, length: u64) -> Span {
    let Some(equals) = text.find('=') else { return Span::Whole };
    let (unit, set) = (text[..equals].trim(), text[equals + 1..].trim());
    if unit.to_ascii_lowercase() != "bytes" || set.contains(',') {
        return Span::Whole;
    }
    let Some(dash) = set.find('-') else { return Span::Whole };
    let (from, to) = (set[..dash].trim(), set[dash + 1..].trim());
    let digits = |text: &str| text.chars().all(|one| one.is_ascii_digit());
    if !digits(from) || !digits(to) || (from.is_empty() && to.is_empty()) {
        return Span::Whole;
    }
    // Beyond 64 bits is beyond every file.
    let number = |text: &str| text.parse::<u128>().unwrap_or(u128::MAX).min(u128::from(u64::MAX));
    let length = u128::from(length);
    let (first, last) = if from.is_empty() {
        if number(to) == 0 {
            return Span::Outside;
        }
        (length.saturating_sub(number(to)), u128::MAX)
    } else {
        (number(from), if to.is_empty() { u128::MAX } else { number(to) })
    };
    if first > last {
        return Span::Whole;
    }
    if first >= length {
        return Span::Outside;
    }
    let narrow = |n: u128| u64::try_from(n).expect("below the length");
    Span::Part { first: narrow(first), last: narrow(last.min(length - 1)) }
}
