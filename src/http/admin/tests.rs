//! Who may come in: cookies and bearer tokens as strangers write them.

use proptest::prelude::*;
use warp::http::header::{COOKIE, HeaderMap, HeaderValue};

use super::*;

fn with(lines: &[String]) -> Call {
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_str(line) {
            headers.append(COOKIE, value);
        }
    }
    Call::of(Method::GET, headers)
}

proptest! {
    /// Whatever other cookies a browser sends along, ours is the one under exactly our name.
    #[test]
    fn the_session_is_found_among_other_cookies(
        before in prop::collection::vec("(auditshield_sessio|xauditshield_session|auditshield_session2|[a-z]{1,9})=[!-+--:<-~]{0,9}", 0..4),
        secret in "[0-9a-f]{64}",
        apart in any::<bool>(),
    ) {
        let ours = format!("{COOKIE_NAME}={secret}");
        let lines = if apart {
            before.iter().cloned().chain([ours]).collect::<Vec<_>>()
        } else {
            vec![before.iter().cloned().chain([ours]).collect::<Vec<_>>().join("; ")]
        };
        let (all, others) = (with(&lines), with(&before));
        prop_assert_eq!(cookie(&all), Some(secret.as_str()));
        prop_assert_eq!(cookie(&others), None);
    }

    #[test]
    fn no_cookie_is_a_panic(lines in prop::collection::vec("[ -~]{0,40}", 0..3)) {
        let call = with(&lines);
        if let Some(found) = cookie(&call) {
            let written = format!("{COOKIE_NAME}={found}");
            prop_assert!(lines.iter().any(|line| line.contains(&written)), "{}", found);
            prop_assert!(!found.contains(';'));
        }
    }

    /// The admin token opens in full and alone: no part of it, nothing longer, nothing for an empty one.
    #[test]
    fn a_token_is_compared_whole(token in "[!-~]{1,40}", given in "[!-~]{0,40}", cut in 0_usize..40) {
        let right = crate::http::AdminToken::new([token.clone()]);
        prop_assert!(right.is(&token));
        prop_assert_eq!(right.is(&given), given == token);
        prop_assert_eq!(right.is(&token[..cut % token.len()]), false);
        let longer = format!("{token}x");
        prop_assert!(!right.is(&longer));
        prop_assert!(!crate::http::AdminToken::new([String::new()]).is(""));
        // While one is rotated out, both open, and nothing made of both.
        let both = crate::http::AdminToken::new([longer.clone(), token.clone()]);
        prop_assert!(both.is(&token) && both.is(&longer));
        prop_assert_eq!(both.is(&given), given == token || given == longer);
        let joined = format!("{longer},{token}");
        prop_assert!(!both.is(&joined));
    }
}
