//! Text in WinAnsi (Windows-1252), which the standard fonts of PDF (ISO 32000-1, D.2) can show: all of French.

/// Windows-1252 from 0x80 to 0x9F; `\0` where it has nothing.
const SPECIAL: [char; 32] = [
    '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0', '‘', '’', '“',
    '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
];
/// Letters of the region's languages, and others that names bring along, with the nearest one that can be shown.
const NEAR: [(&str, char); 26] = [
    ("ɛẹęēěėĕềếệể", 'e'),
    ("ƐẸĘĒĚĖĔ", 'E'),
    ("ɔọōőŏộốồ", 'o'),
    ("ƆỌŌŐŎ", 'O'),
    ("ŋɲńňņ", 'n'),
    ("ŊƝŃŇŅ", 'N'),
    ("ɓ", 'b'),
    ("Ɓ", 'B'),
    ("ɗđďḍ", 'd'),
    ("ƊĐĎḌ", 'D'),
    ("ƙķ", 'k'),
    ("ƘĶ", 'K'),
    ("ƴỳ", 'y'),
    ("Ƴ", 'Y'),
    ("ṣśşșŝ", 's'),
    ("ṢŚŞȘŜ", 'S'),
    ("ąāăạảấầ", 'a'),
    ("ĄĀĂẠ", 'A'),
    ("ũūŭůűụư", 'u'),
    ("ŨŪŬŮŰỤƯ", 'U'),
    ("ĩīĭįıịɩ", 'i'),
    ("ĨĪĬĮİỊƖ", 'I'),
    ("ćčĉċ", 'c'),
    ("ĆČĈĊ", 'C'),
    ("ğģǧġ", 'g'),
    ("łĺľļ", 'l'),
];

/// The text as the fonts show it. What they cannot show becomes the nearest letter, or `?`; spaces that break no line stay
/// such.
pub(super) fn encode(text: &str) -> Vec<u8> {
    text.chars().filter_map(code).collect()
}

fn code(c: char) -> Option<u8> {
    match c {
        ' '..='~' | '\u{a0}'..='\u{ff}' => u8::try_from(u32::from(c)).ok(),
        // The narrow spaces of French figures, and the hyphens that break no line.
        '\u{202f}' | '\u{2009}' | '\u{2007}' => Some(0xa0),
        '\u{2010}' | '\u{2011}' | '\u{2212}' => Some(b'-'),
        'ʼ' | 'ʻ' | '′' => Some(0x92),
        // Marks without a width of their own, and direction overrides.
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{feff}' => None,
        c if c.is_control() => Some(b' '),
        c => Some(special(c).or_else(|| near(c)).unwrap_or(b'?')),
    }
}

fn special(c: char) -> Option<u8> {
    let place = SPECIAL.iter().position(|known| *known == c)?;
    u8::try_from(0x80 + place).ok()
}

fn near(c: char) -> Option<u8> {
    let (_, plain) = NEAR.iter().find(|(letters, _)| letters.contains(c))?;
    u8::try_from(u32::from(*plain)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn french_is_whole_and_the_rest_is_near() {
        let check = |text: &str, want: &[u8]| assert_eq!(encode(text), want, "{text}");
        check("Reçu n° 1 – œuvre", b"Re\xe7u n\xb0 1 \x96 \x9cuvre");
        check(
            "L’Œuf « À Noël » 15\u{202f}000\u{a0}€…",
            b"L\x92\x8cuf \xab \xc0 No\xebl \xbb 15\xa0000\xa0\x80\x85",
        );
        check("Yɛ̀kpɔ́ Ọṣun Łukasz\n", b"Yekpo Osun ?ukasz ");
        check("你好 مرحبا 😀", b"?? ????? ?");
        check("a\u{202e}b\u{200b}c", b"abc");
    }

    #[test]
    fn every_code_of_windows_1252_comes_back() {
        let shown: Vec<u8> = (0x20..=0x7e)
            .chain(0x80..=0xff)
            .filter(|code| !matches!(code, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d))
            .collect();
        let text: String = shown
            .iter()
            .map(|code| match code {
                0x80..=0x9f => SPECIAL[usize::from(code - 0x80)],
                code => char::from(*code),
            })
            .collect();
        assert_eq!(encode(&text), shown);
    }
}
