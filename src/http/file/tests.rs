//! What a client says it has, against what there is.

use proptest::prelude::*;
use warp::http::header::HeaderMap;

use super::*;

#[test]
fn names_survive_every_client() {
    let check = |path: &str, want: &str| assert_eq!(disposition(Path::new(path)), want);
    check("/f/kit.pdf", "attachment; filename=\"kit.pdf\"; filename*=UTF-8''kit.pdf");
    check(
        "/f/Été \"1\".pdf",
        "attachment; filename=\"_t_ _1_.pdf\"; filename*=UTF-8''%C3%89t%C3%A9%20%221%22.pdf",
    );
}

/// A file of ten bytes, changed at `seconds`.
fn about(seconds: u64) -> About {
    let modified = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    About { length: 10, tag: format!("\"a-{seconds:x}\""), modified }
}

fn asking(headers: &[(HeaderName, &str)]) -> Call {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            map.append(name.clone(), value);
        }
    }
    Call::of(Method::GET, map)
}

/// Tags that are ours, nearly ours, weak, or no tags.
fn tags() -> impl Strategy<Value = String> {
    prop_oneof![
        "\"a-(64|65|6)\"",
        "W/\"a-64\"",
        "a-64",
        "\"a-64",
        "\\*",
        "[ -~]{0,12}",
        "Thu, 01 Jan 1970 00:01:4[0-9] GMT"
    ]
}

proptest! {
    #[test]
    fn a_range_of_another_file_is_the_whole_file(tag in tags(), range in "bytes=[0-9]{0,2}-[0-9]{0,2}") {
        let call = asking(&[(IF_RANGE, &tag), (RANGE, &range)]);
        // Only the strong tag itself, or the very second of the last change, resumes (RFC 9110, 13.1.5).
        let same = tag.trim() == "\"a-64\"" || tag.trim() == "Thu, 01 Jan 1970 00:01:40 GMT";
        let want = if same { Span::parse(Some(&range), 10) } else { Span::Whole };
        prop_assert_eq!(wanted(&call, &about(100)), want);
    }

    #[test]
    fn nothing_is_sent_again_to_who_has_it(list in prop::collection::vec(tags(), 1..4), seconds in 90_u64..110) {
        let line = list.join(", ");
        let has = line.split(',').map(str::trim).any(|tag| matches!(tag, "*" | "\"a-64\"" | "W/\"a-64\""));
        let since = httpdate::fmt_http_date(about(seconds).modified);
        // A tag, where there is one, outweighs the date.
        let both = asking(&[(IF_NONE_MATCH, &line), (IF_MODIFIED_SINCE, &since)]);
        prop_assert_eq!(unchanged(&both, &about(100)), has);
        prop_assert_eq!(unchanged(&asking(&[(IF_MODIFIED_SINCE, &since)]), &about(100)), seconds >= 100);
    }

    #[test]
    fn no_header_is_a_panic(text in "[ -~]{0,60}") {
        let call = asking(&[(IF_NONE_MATCH, &text), (IF_MODIFIED_SINCE, &text), (IF_RANGE, &text), (RANGE, &text)]);
        let _answers = (unchanged(&call, &about(1)), wanted(&call, &about(1)));
    }

    #[test]
    fn a_file_name_cannot_leave_its_header(name in "[^/\\x00]{1,40}") {
        let text = disposition(Path::new(&format!("/f/x{name}")));
        prop_assert!(HeaderValue::from_str(&text).is_ok() && text.matches('"').count() == 2, "{}", text);
        let encoded = text.split("UTF-8''").nth(1).unwrap();
        prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\;,".contains(&byte)), "{}", encoded);
        let back = percent_encoding::percent_decode_str(encoded).decode_utf8().unwrap();
        prop_assert_eq!(back, format!("x{name}"));
    }
}
