//! Tokens: the vectors of the Python library, and what a forger may try.

use super::*;
use proptest::prelude::*;

const ORDER: &str = "01JD0QZ6Y3V9K2M4N6P8R0S2T4";
const NOW: u64 = 1_700_000_000;

#[derive(Deserialize)]
struct Vector {
    name: String,
    secret: String,
    salt: String,
    digest: String,
    key_derivation: String,
    ts: u64,
    json: String,
    token: String,
}

fn links() -> Links {
    Links::new("current secret", ["previous secret"])
}

#[test]
fn every_sha256_vector_of_the_python_library() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../../tests/golden/itsdangerous_vectors.json")).unwrap();
    let mut seen = 0;
    for vector in vectors.iter().filter(|vector| vector.digest == "sha256") {
        let signer = Signer::new(&vector.salt, vector.secret.as_bytes(), &[]);
        let read = signer.unsign(&vector.token, vector.ts, None);
        if vector.key_derivation == "django-concat" {
            assert_eq!(read, Ok((vector.json.clone().into_bytes(), vector.ts)), "{}", vector.name);
            // Another deflate makes other bytes of one payload, so a compressed token is compared as read.
            let ours = signer.sign(vector.json.as_bytes(), vector.ts);
            assert_eq!(ours.starts_with('.'), vector.token.starts_with('.'), "{}", vector.name);
            assert_eq!(signer.unsign(&ours, vector.ts, None), read, "{}", vector.name);
            assert!(ours == vector.token || ours.starts_with('.'), "{}", vector.name);
            seen += 1;
        } else {
            assert_eq!(read, Err(TokenError::Forged), "{}", vector.name);
        }
    }
    assert_eq!(seen, 5);
}

#[test]
fn what_is_signed_is_read() {
    let token = links().download_token(ORDER, 2, NOW);
    let claim = DownloadClaim { order: ORDER.to_owned(), link: 2, issued_at: NOW };
    assert_eq!(links().read_download(&token, NOW + 9), Ok(claim));
    let json = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    assert_eq!(String::from_utf8(json).unwrap(), format!(r#"{{"order_id":"{ORDER}","link":2}}"#));
}

/// Each kind of token opens its own door and no other.
#[test]
fn a_page_s_token_and_a_browser_s_cookie_are_kinds_of_their_own() {
    let links = links();
    let claim = |link| Ok(DownloadClaim { order: ORDER.to_owned(), link, issued_at: NOW });
    let (page, cookie) = (links.order_token(ORDER, 3, NOW), links.browser_token(ORDER, NOW));
    assert_eq!((links.read_order(&page, NOW), links.read_browser(&cookie, NOW)), (claim(3), claim(0)));
    let forged = Err(TokenError::Forged);
    assert_eq!(
        (links.read_order(&cookie, NOW), links.read_browser(&page, NOW)),
        (forged.clone(), forged.clone())
    );
    assert_eq!(
        (links.read_download(&page, NOW), links.read_download(&cookie, NOW)),
        (forged.clone(), forged)
    );
}

#[test]
fn a_site_may_sign_the_order_id_alone() {
    let token = links().downloads.sign(br#"{"order_id":"A","shop":"b"}"#, NOW);
    let claim = DownloadClaim { order: "A".to_owned(), link: 1, issued_at: NOW };
    assert_eq!(links().read_download(&token, NOW), Ok(claim));
}

#[test]
fn grants_live_up_to_their_age_and_are_another_kind_of_token() {
    let links = links();
    let token = links.grant_token(ORDER, 1, 3, NOW);
    let claim = GrantClaim { order: ORDER.to_owned(), link: 1, n: 3, issued_at: NOW };
    assert_eq!(links.read_grant(&token, NOW + 60, 60), Ok(claim));
    assert_eq!(links.read_grant(&token, NOW + 61, 60), Err(TokenError::Expired));
    assert_eq!(links.read_grant(&token, NOW - 1, 60), Err(TokenError::Future));
    assert_eq!(links.read_download(&token, NOW), Err(TokenError::Forged));
    assert_eq!(links.read_grant(&links.download_token(ORDER, 1, NOW), NOW, 60), Err(TokenError::Forged));
}

#[test]
fn a_rotated_key_still_reads_and_a_foreign_one_does_not() {
    let old = Links::new("previous secret", []).download_token(ORDER, 1, NOW);
    assert!(links().read_download(&old, NOW).is_ok());
    let foreign = Links::new("foreign", []).download_token(ORDER, 1, NOW);
    assert_eq!(links().read_download(&foreign, NOW), Err(TokenError::Forged));
    let everybodys = Links::new("", []).download_token(ORDER, 1, NOW);
    assert_eq!(Links::new("a", [""]).read_download(&everybodys, NOW), Err(TokenError::Forged));
}

#[test]
fn refusals() {
    let links = links();
    let good = links.download_token(ORDER, 1, NOW);
    assert_eq!(links.read_download(&good, NOW - 1), Err(TokenError::Future));
    let bomb = links.downloads.sign(&vec![b' '; 64 * 1024], NOW);
    assert!(bomb.len() < TOKEN_BYTES_MAX, "the bomb must reach the inflation cap");
    let stamped = |stamp: &[u8]| {
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(b"{\"order_id\":\"A\"}"), URL_SAFE_NO_PAD.encode(stamp));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac(&links.downloads.current, &signed)))
    };
    let cases = [
        ("empty", String::new()),
        ("padded", format!("{good}=")),
        ("last character in another spelling", respell(&good)),
        ("leading zero byte in the time", stamped(&[0, 1])),
        ("nine bytes of time", stamped(&[1; 9])),
        ("not JSON", links.downloads.sign(b"no", NOW)),
        ("no order", links.downloads.sign(b"{\"link\":1}", NOW)),
        ("bomb", bomb),
        ("too long", links.downloads.sign(&URL_SAFE_NO_PAD.encode(noise(3000)).into_bytes(), NOW)),
    ];
    for (name, token) in cases {
        assert_eq!(links.read_download(&token, NOW), Err(TokenError::Forged), "{name}");
    }
    assert!(links.read_download(&stamped(&[1]), NOW).is_ok(), "the refusals above must be about the time");
}

/// The last base64 character of 32 bytes carries four spare bits: Python ignores them, we do not.
fn respell(token: &str) -> String {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (head, last) = token.split_at(token.len() - 1);
    let next = alphabet.find(last).unwrap() + 1;
    format!("{head}{}", &alphabet[next..=next])
}

fn noise(bytes: u32) -> Vec<u8> {
    (0..bytes).flat_map(|n| Sha256::digest(n.to_be_bytes())[..1].to_vec()).collect()
}

proptest! {
    #[test]
    fn noise_is_forged(token in "[A-Za-z0-9_.=-]{0,120}") {
        prop_assert_eq!(links().read_download(&token, NOW), Err(TokenError::Forged));
    }

    #[test]
    fn one_changed_byte_is_forged(at in 0usize..100, to in "[A-Za-z0-9_.-]") {
        let good = links().download_token(ORDER, 1, NOW);
        let at = at % good.len();
        let changed = format!("{}{to}{}", &good[..at], &good[at + 1..]);
        prop_assume!(changed != good);
        prop_assert_eq!(links().read_download(&changed, NOW), Err(TokenError::Forged));
    }

    #[test]
    fn any_payload_and_time_survive(json in prop::collection::vec(any::<u8>(), 0..600), at in any::<u64>()) {
        let signer = links().downloads;
        let token = signer.sign(&json, at);
        prop_assert_eq!(signer.unsign(&token, at, Some(0)), Ok((json, at)));
    }
}

/// A token signed with our download key over whatever stands between the dots.
fn sealed(payload: &str, stamp: &str) -> String {
    let signed = format!("{payload}.{stamp}");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac(&links().downloads.current, &signed)))
}

/// Base64 that encodes back to itself.
fn exact(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| URL_SAFE_NO_PAD.encode(bytes) == text)
}

proptest! {
    /// What is taken has one spelling: every part is the base64 of its own bytes, the time has no leading zeros.
    #[test]
    fn what_is_taken_is_canonical(
        payload in prop_oneof!["eyJvcmRlcl9pZCI6IkEifQ[=AQgw]?", "[A-Za-z0-9_.=+/-]{0,30}", "\\.[A-Za-z0-9_-]{0,20}"],
        stamp in "[A-Za-z0-9_=-]{0,13}",
    ) {
        let token = sealed(&payload, &stamp);
        if let Ok(claim) = links().read_download(&token, u64::MAX) {
            let bytes = exact(&stamp).expect("a canonical time");
            prop_assert!(bytes.len() <= 8 && bytes.first() != Some(&0));
            let seconds = bytes.iter().fold(0_u64, |sum, byte| sum * 256 + u64::from(*byte));
            prop_assert_eq!(claim.issued_at, seconds);
            prop_assert!(exact(payload.strip_prefix('.').unwrap_or(&payload)).is_some(), "{}", payload);
        }
    }

    /// The zlib form of anything opens exactly up to the bound, whatever it inflates to.
    #[test]
    fn inflation_is_bounded(length in PAYLOAD_BYTES_MAX - 20..PAYLOAD_BYTES_MAX + 20, filler in any::<u8>()) {
        let json = vec![filler; length];
        let token = links().downloads.sign(&json, NOW);
        prop_assert!(token.starts_with('.') && token.len() < TOKEN_BYTES_MAX);
        let read = links().downloads.unsign(&token, NOW, None);
        prop_assert_eq!(read.is_ok(), length <= PAYLOAD_BYTES_MAX);
    }

    #[test]
    fn bytes_that_are_no_zlib_are_forged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let token = sealed(&format!(".{}", URL_SAFE_NO_PAD.encode(bytes)), "ZVPxAA");
        let inflated = links().downloads.unsign(&token, NOW, None);
        prop_assert!(inflated.is_err() || inflated.is_ok_and(|(json, _)| json.len() <= PAYLOAD_BYTES_MAX));
    }

    #[test]
    fn a_link_and_a_grant_say_what_was_signed(order in "\\PC{1,26}", link in any::<u32>(), n in any::<u32>(), at in any::<u64>(), age in 0_u64..100) {
        let links = links();
        let token = links.download_token(&order, link, at);
        prop_assert_eq!(links.download_token(&order, link, at), token.clone(), "a repeated mail is identical");
        let claim = DownloadClaim { order: order.clone(), link, issued_at: at };
        prop_assert_eq!(links.read_download(&token, at), Ok(claim));
        prop_assert_eq!(links.read_download(&token, at.saturating_sub(1)).is_ok(), at == 0);
        let now = at.saturating_add(age);
        let grant = links.read_grant(&links.grant_token(&order, link, n, at), now, 50);
        let want = if now - at > 50 { Err(TokenError::Expired) } else { Ok(GrantClaim { order, link, n, issued_at: at }) };
        prop_assert_eq!(grant, want);
    }

    /// Any byte of a token, changed to any other: forged. Nothing of it is outside the signature.
    #[test]
    fn every_byte_counts(at in 0_usize..200, to in any::<char>()) {
        let good = links().download_token(ORDER, 1, NOW);
        let at = at % good.len();
        let changed = format!("{}{to}{}", &good[..at], &good[at + 1..]);
        prop_assert_eq!(links().read_download(&changed, NOW).is_ok(), changed == good);
    }
}

/// The longest token that is read, and one byte more; the signature is right in both.
#[test]
fn the_length_is_bounded_exactly() {
    let links = links();
    let padded = |spaces: usize| {
        let json = format!("{{\"order_id\":\"A\"{}}}", " ".repeat(spaces));
        sealed(&URL_SAFE_NO_PAD.encode(json), "ZVPxAA")
    };
    let longest = (0..2000).map(padded).rfind(|token| token.len() <= TOKEN_BYTES_MAX).unwrap();
    assert!(longest.len() + 2 > TOKEN_BYTES_MAX, "{}", longest.len());
    assert!(links.read_download(&longest, NOW).is_ok());
    // With a longer time the bound is met to the byte.
    let later = 1_u64 << 32;
    let exact = |spaces: usize| {
        sealed(&URL_SAFE_NO_PAD.encode(format!("{{\"order_id\":\"A\"{}}}", " ".repeat(spaces))), "AQAAAAA")
    };
    let exact =
        (0..2000).map(exact).find(|token| token.len() == TOKEN_BYTES_MAX).expect("one that fits exactly");
    assert!(links.read_download(&exact, later).is_ok());
    let longer = (0..2000).map(padded).find(|token| token.len() > TOKEN_BYTES_MAX).unwrap();
    assert_eq!(links.read_download(&longer, NOW), Err(TokenError::Forged));
}

/// Compressed only where it is shorter by more than one byte, as the Python library does.
#[test]
fn compression_starts_where_the_python_library_starts_it() {
    let signer = links().downloads;
    for length in 1..200 {
        let json = vec![b'a'; length];
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&json).unwrap();
        let compressed = zlib.finish().unwrap().len() < length.saturating_sub(1);
        assert_eq!(signer.sign(&json, NOW).starts_with('.'), compressed, "{length}");
    }
}

#[test]
fn nothing_is_printed_of_keys() {
    assert_eq!(format!("{:?}", links().downloads), "Signer(…)");
    assert!(!format!("{:?}", links()).contains("secret"));
}

/// The bounds are a promise to proxies and mail programs, not only to ourselves.
#[test]
fn the_bounds_are_the_documented_ones() {
    assert_eq!((TOKEN_BYTES_MAX, PAYLOAD_BYTES_MAX), (2048, 4096));
}
