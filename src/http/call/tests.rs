//! Requests by anybody: forms, JSON, queries, what the client accepts. Each against a naive reading of the same bytes.

use proptest::prelude::*;
use warp::http::header::HeaderValue;

use super::*;

/// A request that holds these headers, this path and this query.
fn call(path: &str, query: &str, headers: &[(HeaderName, &str)]) -> Call {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            map.append(name.clone(), value);
        }
    }
    Call { segments: segments(path), query: query.to_owned(), ..Call::of(Method::GET, map) }
}

/// A body that arrives in these parts.
fn arriving(parts: Vec<Vec<u8>>) -> Call {
    let mut one = call("/", "", &[]);
    one.body = Box::pin(futures_util::stream::iter(parts.into_iter().map(|part| Ok(Bytes::from(part)))));
    one
}

/// `a=1&b=2` by the book; nothing where a name comes twice, there are too many, or a text is not UTF-8.
fn naive_form(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let text = |raw: &[u8]| {
        let spaced: Vec<u8> = raw.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        let text = String::from_utf8(percent_encoding::percent_decode(&spaced).collect()).ok()?;
        (!text.contains('\u{fffd}')).then_some(text)
    };
    let mut fields: Vec<(String, String)> = Vec::new();
    for pair in bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &pair[..0]),
        };
        let (name, value) = (text(name)?, text(value)?);
        if fields.len() == FIELDS_MAX || fields.iter().any(|(known, _)| *known == name) {
            return None;
        }
        fields.push((name, value));
    }
    Some(fields)
}

fn form_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "([a-c]=[a-z+%]{0,3}&?){0,8}".prop_map(String::into_bytes),
        "([a-z]{1,2}(=(%[0-9A-Fa-f]{2}){0,3})?&{0,2}){0,80}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..200),
    ]
}

proptest! {
    #[test]
    fn a_form_is_read_in_exactly_one_way(bytes in form_bytes()) {
        let read = Fields::parse(&bytes).map(|fields| fields.0);
        prop_assert_eq!(read, naive_form(&bytes));
    }

    #[test]
    fn what_a_browser_sends_is_what_is_read(pairs in prop::collection::btree_map("[^\u{fffd}]{0,8}", "[^\u{fffd}]{0,12}", 0..20)) {
        let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        let fields = Fields::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
        for (name, value) in &pairs {
            prop_assert_eq!(fields.get(name), Some(value.as_str()).filter(|value| !value.trim().is_empty()));
        }
        prop_assert_eq!(fields.0.len(), pairs.len());
    }

    #[test]
    fn an_object_is_read_in_exactly_one_way(pairs in prop::collection::vec(("[a-d\"\\\\é]{0,2}", "\\PC{0,5}"), 0..6), many in 0_usize..80) {
        let extra = (0..many).map(|n| (format!("n{n}"), String::new()));
        let pairs: Vec<(String, String)> = pairs.into_iter().chain(extra).collect();
        let text = |one: &String| serde_json::to_string(one).unwrap();
        let members: Vec<String> = pairs.iter().map(|(name, value)| format!("{}:{}", text(name), text(value))).collect();
        let read = Fields::parse_json(format!("{{{}}}", members.join(",")).as_bytes());
        let names: std::collections::BTreeSet<&String> = pairs.iter().map(|(name, _)| name).collect();
        prop_assert_eq!(read.is_some(), names.len() == pairs.len() && pairs.len() <= FIELDS_MAX);
        prop_assert!(read.is_none_or(|fields| fields.0 == pairs));
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,40}", depth in 0_usize..2000) {
        let _fields = (Fields::parse_json(&bytes), Fields::parse(text.as_bytes()));
        // Nesting is refused long before the stack ends.
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        prop_assert_eq!(Fields::parse_json(deep.as_bytes()).is_some(), depth < 127);
    }

    #[test]
    fn only_texts_count_as_texts(value in prop::sample::select(vec!["1", "true", "[]", "{}", "1.5", "[\"a@b.ci\"]"])) {
        let fields = Fields::parse_json(format!("{{\"email\":{value}}}").as_bytes()).unwrap();
        prop_assert_eq!(fields.get("email"), Some("\u{0}"), "kept, so that the answer can name the field");
    }

    #[test]
    fn an_accepted_type_is_named_and_not_excluded(
        ranges in prop::collection::vec((prop::sample::select(vec!["text/html", "TEXT/html", "application/json", "*/*", "text/*", "x"]),
            prop::sample::select(vec!["", ";q=0", "; q=0.000", ";q=0.5", ";charset=utf-8;q=0", "; q = 0", ";level=1"])), 0..6),
        lines in 1_usize..3,
    ) {
        let named = |media: &str| ranges.iter().any(|(name, parameters)| {
            name.eq_ignore_ascii_case(media) && !parameters.replace(' ', "").contains("q=0") || name.eq_ignore_ascii_case(media) && parameters.contains("0.5")
        });
        let texts: Vec<String> = ranges.chunks(lines).map(|some| {
            some.iter().map(|(name, parameters)| format!("{name}{parameters}")).collect::<Vec<_>>().join(" , ")
        }).collect();
        let headers: Vec<(HeaderName, &str)> = texts.iter().map(|text| (ACCEPT, text.as_str())).collect();
        let call = call("/", "", &headers);
        prop_assert_eq!(call.accepts_html(), named("text/html"));
        prop_assert_eq!(call.accepts_json(), named("application/json") && !named("text/html"));
    }

    #[test]
    fn the_language_is_the_first_one_we_speak(tags in prop::collection::vec(prop::sample::select(vec!["fr", "FR-ci", "en", "en-GB;q=0.8", "de", "*", "", " fr ; q=1", "é"]), 0..6), asked in prop::option::of("fr|en|de|EN|")) {
        let first = tags.iter().find_map(|tag| {
            let bare = tag.trim().to_lowercase();
            if bare.starts_with("fr") { Some(Lang::Fr) } else if bare.starts_with("en") { Some(Lang::En) } else { None }
        });
        let said = match asked.as_deref() {
            Some("fr") => Some(Lang::Fr),
            Some("en" | "EN") => Some(Lang::En),
            _ => None,
        };
        let query = asked.map(|lang| format!("lang={lang}")).unwrap_or_default();
        let line = tags.join(",");
        // A header that is not ASCII text counts as none.
        let heard = if line.is_ascii() { first } else { None };
        let got = call("/", &query, &[(ACCEPT_LANGUAGE, &line)]).lang();
        prop_assert_eq!(got, said.or(heard).unwrap_or_default());
    }

    #[test]
    fn headers_and_paths_are_never_a_panic(text in "[ -~]{0,60}", path in "\\PC{0,40}", query in "\\PC{0,40}") {
        let names = [ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, CONTENT_LENGTH];
        let headers: Vec<(HeaderName, &str)> = names.iter().map(|name| (name.clone(), text.as_str())).collect();
        let call = call(&path, &query, &headers);
        let _seen = (call.lang(), call.accepts_json(), call.query(), call.header(&CONTENT_TYPE).map(str::len));
        prop_assert!(call.content_type().is_none_or(|media| !media.contains(';') && media == media.to_ascii_lowercase()));
        for segment in call.route() {
            prop_assert!(!segment.contains('/'));
            let _decoded = decoded(segment);
        }
    }

    #[test]
    fn a_trailing_slash_makes_no_difference(parts in prop::collection::vec("[a-z%0-9.]{1,6}", 0..5)) {
        let path = format!("/{}", parts.join("/"));
        prop_assert_eq!(segments(&path), parts.clone());
        let slashed = if parts.is_empty() { path } else { path + "/" };
        prop_assert_eq!(segments(&slashed), parts);
    }

    #[test]
    fn a_body_is_whole_or_refused(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12), limit in 0_usize..200) {
        let whole = parts.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let read = runtime.block_on(arriving(parts).body(limit));
        match read {
            Ok(bytes) => prop_assert!(bytes == whole && whole.len() <= limit),
            Err(problem) => prop_assert!(whole.len() > limit && problem.status == StatusCode::PAYLOAD_TOO_LARGE),
        }
    }
}

#[tokio::test]
async fn no_more_than_the_limit_is_kept_and_reading_ends() {
    let part = vec![7_u8; 64 * 1024];
    let endless = futures_util::stream::repeat_with(move || Ok(Bytes::from(part.clone())));
    let mut one = call("/", "", &[]);
    one.body = Box::pin(endless);
    let problem = one.body(1024).await.unwrap_err();
    assert_eq!(problem.status, StatusCode::PAYLOAD_TOO_LARGE);
}
