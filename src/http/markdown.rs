//! A product's description: Markdown of the catalogue, as HTML that cannot hold anything but text, lists and links.

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// Longest summary in the shop, in characters.
const SUMMARY_CHARS_MAX: usize = 220;

/// The whole text. Raw HTML comes out as text, pictures as their description, links lead to http(s) only.
pub(crate) fn page(text: &str) -> String {
    let mut links: Vec<bool> = Vec::new();
    let events = Parser::new_ext(text, Options::empty()).filter_map(|event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Some(Event::Text(raw)),
        Event::Start(Tag::HtmlBlock) => Some(Event::Start(Tag::Paragraph)),
        Event::End(TagEnd::HtmlBlock) => Some(Event::End(TagEnd::Paragraph)),
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        Event::Start(Tag::Link { dest_url, .. }) => {
            let open = anchor(&dest_url);
            links.push(open.is_some());
            open.map(|open| Event::InlineHtml(CowStr::from(open)))
        }
        Event::End(TagEnd::Link) => {
            links.pop().unwrap_or_default().then(|| Event::InlineHtml(CowStr::from("</a>")))
        }
        // The page's own heading is the first; a description's are all one below.
        Event::Start(Tag::Heading { .. }) => Some(Event::Start(Tag::Heading {
            level: HeadingLevel::H2,
            id: None,
            classes: Vec::new(),
            attrs: Vec::new(),
        })),
        Event::End(TagEnd::Heading(_)) => Some(Event::End(TagEnd::Heading(HeadingLevel::H2))),
        other => Some(other),
    });
    let mut page = String::new();
    html::push_html(&mut page, events);
    page
}

/// `<a …>` for an address on the web; none for any other.
fn anchor(address: &str) -> Option<String> {
    let url = url::Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let mut open = String::from("<a rel=\"nofollow noopener\" href=\"");
    for c in url.as_str().chars() {
        match c {
            '&' => open.push_str("&amp;"),
            '"' => open.push_str("&quot;"),
            '\'' => open.push_str("&#39;"),
            '<' => open.push_str("&lt;"),
            '>' => open.push_str("&gt;"),
            other => open.push(other),
        }
    }
    open.push_str("\">");
    Some(open)
}

/// The first paragraph as plain text, short enough for a list.
pub(crate) fn summary(text: &str) -> String {
    let mut plain = String::new();
    for event in Parser::new_ext(text, Options::empty()) {
        match event {
            Event::Text(part) | Event::Code(part) => plain.push_str(&part),
            Event::SoftBreak | Event::HardBreak => plain.push(' '),
            Event::End(TagEnd::Paragraph) => break,
            Event::End(TagEnd::Heading(_)) => plain.clear(),
            _ => {}
        }
    }
    match plain.char_indices().nth(SUMMARY_CHARS_MAX) {
        Some((end, _)) => format!("{}…", plain[..end].trim_end()),
        None => plain,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn descriptions_are_text_lists_and_safe_links() {
        let check = |text: &str, want: &str| assert_eq!(page(text).trim_end(), want, "{text}");
        check(
            "Une *liste* :\n\n- un\n- deux",
            "<p>Une <em>liste</em> :</p>\n<ul>\n<li>un</li>\n<li>deux</li>\n</ul>",
        );
        check("# Titre\n\n### Autre", "<h2>Titre</h2>\n<h2>Autre</h2>");
        check("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>");
        check("a <b onclick=x>b</b>", "<p>a &lt;b onclick=x&gt;b&lt;/b&gt;</p>");
        check("![un chat](http://x.example/cat.png)", "<p>un chat</p>");
        check(
            "[ici](https://x.example/?a=1&b=\"2\")",
            "<p><a rel=\"nofollow noopener\" href=\"https://x.example/?a=1&amp;b=%222%22\">ici</a></p>",
        );
        for scheme in
            ["javascript:alert(1)", "data:text/html,x", "JaVaScRiPt:x", "/relative", "ftp://x.example"]
        {
            check(&format!("[ici]({scheme})"), "<p>ici</p>");
        }
    }

    #[test]
    fn a_summary_is_the_first_paragraph() {
        let check = |text: &str, want: &str| assert_eq!(summary(text), want);
        check("Un **kit**\ncomplet.\n\nLa suite.", "Un kit complet.");
        check("# Titre\n\nLe texte <b>gras</b>.", "Le texte gras.");
        check(&"é".repeat(300), &format!("{}…", "é".repeat(220)));
        check("", "");
    }

    proptest! {
        /// Whatever a catalogue holds, the only tags are ours.
        #[test]
        fn no_other_tag_comes_out(text in "([<>\"'&a-z/=: ()\\[\\]!#*`\n-]|<script|onerror=|javascript:|http://){0,60}") {
            const OURS: &[&str] = &[
                "p", "em", "strong", "ul", "ol", "li", "h2", "blockquote", "code", "pre", "hr", "br", "a",
            ];
            for tag in page(&text).split('<').skip(1) {
                let name: String =
                    tag.trim_start_matches('/').chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
                prop_assert!(OURS.contains(&name.as_str()), "<{} in {}", tag, page(&text));
                let plain = ["a", "ol", "code"].contains(&name.as_str()) || !tag.contains('=') || tag.find('>') < tag.find('=');
                prop_assert!(plain, "<{}", tag);
            }
        }
    }
}
