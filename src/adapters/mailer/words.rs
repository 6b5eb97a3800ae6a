//! Names that fit a header and a line.

/// Characters of a product's or shop's name in a header; a longer one is cut.
const HEADER_CHARS_MAX: usize = 100;

/// One line without control characters or direction overrides: fit for a header, and for a text that
/// must not seem to have lines of its own.
pub(super) fn one_line(text: &str) -> String {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let plain: String = text.chars().map(|c| if odd(c) { ' ' } else { c }).collect();
    plain.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The same, short enough for a header.
pub(super) fn short_line(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(HEADER_CHARS_MAX) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_one_line() {
        assert_eq!(one_line("a\r\nBcc: x@y.ci\u{2028}b\u{202e}c\0 d "), "a Bcc: x@y.ci b c d");
        assert_eq!(short_line(&"é".repeat(100)), "é".repeat(100));
        assert_eq!(short_line(&"é".repeat(101)), format!("{}…", "é".repeat(100)));
    }
}
