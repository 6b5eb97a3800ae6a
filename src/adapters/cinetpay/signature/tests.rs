//! Signatures: the captured vectors, and what a forger may try.

use super::*;
use proptest::prelude::*;

const SECRET: &[u8] = b"test_secret_key";
const FIRST: &str = "8f8238d917622c7ca0e22bc187d2d1cdba2a98c987113a5f16349c8fafddc4ca";
const SECOND: &str = "f50c99bc25b368bb10bef969e7c763af15030e663e931f8bea51fac4651a7aec";

fn values(custom: &str, designation: &str, message: &str) -> Vec<String> {
    let head = ["445160", "ORD0001", "2022-09-29 14:13:16", "100", "XOF"];
    let tail = ["OM", "0707070707", "225", "fr", "V4", "SINGLE", "PAYMENT", custom, designation, message];
    let signature = "a".repeat(68);
    head.into_iter().chain([signature.as_str()]).chain(tail).map(str::to_owned).collect()
}

fn first() -> Vec<String> {
    values("", "Café étoilé", "SUCCES")
}

fn body(values: &[String]) -> Vec<u8> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(FIELDS.iter().zip(values));
    form.finish().into_bytes()
}

fn verify(body: &[u8], token: &str) -> Result<[u8; 32], Rejection> {
    Verifier::new([SECRET]).verify(body, Some(token.as_bytes())).map(|verified| verified.digest())
}

#[test]
fn both_vectors_verify_and_are_what_we_sign() {
    let second = values("user:42", "Paiement abonnement", "TRANSACTION_CANCEL");
    for (values, token) in [(first(), FIRST), (second, SECOND)] {
        let bytes: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
        assert_eq!(sign(SECRET, &bytes), token);
        assert_eq!(hex::encode(verify(&body(&values), token).unwrap()), token);
        assert_eq!(verify(&body(&values), &token.to_uppercase()).map(hex::encode), Ok(token.to_owned()));
    }
}

#[test]
fn fields_are_decoded_bytes() {
    let body = body(&first());
    let verified = Verifier::new([SECRET]).verify(&body, Some(FIRST.as_bytes())).unwrap();
    assert_eq!(verified.field("cpm_trans_id"), b"ORD0001");
    assert_eq!(verified.field("cpm_trans_date"), b"2022-09-29 14:13:16");
    assert_eq!(verified.field("cpm_designation"), "Café étoilé".as_bytes());
    assert_eq!(verified.field("cpm_custom"), b"");
    assert_eq!(verified.field("no_such_field"), b"");
    assert!(!format!("{verified:?}").contains("0707"));
}

#[test]
fn order_of_arrival_and_other_keys_do_not_matter() {
    let mut pairs: Vec<String> =
        body(&first()).split(|b| *b == b'&').map(|p| String::from_utf8(p.to_vec()).unwrap()).collect();
    pairs.reverse();
    pairs.push("unsigned=1".to_owned());
    assert!(verify(pairs.join("&").as_bytes(), FIRST).is_ok());
}

#[test]
fn missing_last_fields_count_as_empty() {
    let mut short = values("", "x", "");
    short[13..].iter_mut().for_each(String::clear);
    let bytes: Vec<&[u8]> = short.iter().map(String::as_bytes).collect();
    let token = sign(SECRET, &bytes);
    assert!(verify(&body(&short), &token).is_ok());
    assert!(verify(&body(&short[..14]), &token).is_ok());
    assert!(verify(&body(&short[..13]), &token).is_ok());
}

#[test]
fn refusals() {
    let good = String::from_utf8(body(&first())).unwrap();
    let verifier = Verifier::new([SECRET]);
    assert_eq!(verifier.verify(good.as_bytes(), None).unwrap_err(), Rejection::MissingToken);
    let many: String = (0..PAIRS_MAX).fold(good.clone(), |all, n| format!("{all}&k{n}=v"));
    let long_key = format!("{good}&{}=1", "k".repeat(KEY_BYTES_MAX + 1));
    let long_value = format!("{good}&k={}", "v".repeat(VALUE_BYTES_MAX + 1));
    let cases = [
        ("repeated signed key", format!("{good}&cpm_amount=100"), FIRST.to_owned(), Rejection::Unreadable),
        ("repeated by escape", format!("{good}&cpm%5Famount=100"), FIRST.to_owned(), Rejection::Unreadable),
        ("repeated other key", format!("{good}&x=1&x=1"), FIRST.to_owned(), Rejection::Unreadable),
        ("too many", many, FIRST.to_owned(), Rejection::Unreadable),
        ("long key", long_key, FIRST.to_owned(), Rejection::Unreadable),
        ("long value", long_value, FIRST.to_owned(), Rejection::Unreadable),
        ("empty token", good.clone(), String::new(), Rejection::BadToken),
        ("short token", good.clone(), FIRST[1..].to_owned(), Rejection::BadToken),
        ("not hex", good.clone(), "g".repeat(64), Rejection::BadToken),
        ("another form's token", good.clone(), SECOND.to_owned(), Rejection::BadToken),
        (
            "another amount",
            good.replace("cpm_amount=100", "cpm_amount=101"),
            FIRST.to_owned(),
            Rejection::BadToken,
        ),
        ("trimmed", good.replace("XOF", "+XOF"), FIRST.to_owned(), Rejection::BadToken),
        ("empty body", String::new(), FIRST.to_owned(), Rejection::BadToken),
    ];
    for (name, body, token, expected) in cases {
        assert_eq!(verify(body.as_bytes(), &token), Err(expected), "{name}");
    }
}

#[test]
fn either_secret_of_a_rotation_is_enough_and_an_empty_one_is_none() {
    let body = body(&first());
    for secrets in [[SECRET, b"new"], [b"new", SECRET]] {
        assert!(Verifier::new(secrets).verify(&body, Some(FIRST.as_bytes())).is_ok());
    }
    assert!(Verifier::new([b"new"]).verify(&body, Some(FIRST.as_bytes())).is_err());
    assert!(Verifier::new([] as [&[u8]; 0]).verify(&body, Some(FIRST.as_bytes())).is_err());
    let everybodys = sign(b"", &[b"445160"]);
    assert!(Verifier::new([b""]).verify(b"cpm_site_id=445160", Some(everybodys.as_bytes())).is_err());
}

#[test]
fn bytes_that_are_not_utf8_verify_as_bytes() {
    let token = sign(SECRET, &[b"1", b"\xff\x00 "]);
    assert!(verify(b"cpm_site_id=1&cpm_trans_id=%FF%00+", &token).is_ok());
    assert!(verify(b"cpm_site_id=1&cpm_trans_id=\xff%00%20", &token).is_ok());
}

proptest! {
    #[test]
    fn never_panics_and_never_accepts_noise(body in prop::collection::vec(any::<u8>(), 0..512), token in prop::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(Verifier::new([SECRET]).verify(&body, Some(&token)).is_err());
    }

    #[test]
    fn whatever_was_signed_verifies(parts in prop::collection::vec("\\PC{0,12}", 16)) {
        let bytes: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
        prop_assert!(verify(&body(&parts), &sign(SECRET, &bytes)).is_ok());
    }

    #[test]
    fn one_changed_character_is_forged(at in 0usize..16, extra in "[0-9a-z]") {
        let mut changed = first();
        changed[at].push_str(&extra);
        prop_assert_eq!(verify(&body(&changed), FIRST), Err(Rejection::BadToken));
    }
}

/// The form's values by a naive reading: split, decode byte by byte, concatenate in the documented order.
fn naive(body: &[u8]) -> Option<Vec<u8>> {
    let unescape = |raw: &[u8]| {
        let mut out = Vec::new();
        let mut at = 0;
        while at < raw.len() {
            let hex = raw.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
            let hex = hex.filter(|two| two.bytes().all(|one| one.is_ascii_hexdigit()));
            match (raw[at], hex) {
                (b'%', Some(two)) => {
                    out.push(u8::from_str_radix(two, 16).unwrap());
                    at += 2;
                }
                (b'+', _) => out.push(b' '),
                (byte, _) => out.push(byte),
            }
            at += 1;
        }
        out
    };
    let mut form = std::collections::BTreeMap::new();
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (key, value) = (unescape(&pair[..at]), unescape(pair.get(at + 1..).unwrap_or_default()));
        if key.len() > KEY_BYTES_MAX || form.insert(key, value).is_some() {
            return None;
        }
    }
    Some(FIELDS.iter().flat_map(|field| form.get(field.as_bytes()).cloned().unwrap_or_default()).collect())
}

/// Bodies made of the signed names, odd escapes, repeats and rubbish.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let key = prop::sample::select(vec![
        "cpm_site_id",
        "cpm_amount",
        "cpm%5Famount",
        "cpm_currency",
        "cel_phone_num",
        "x",
        "",
        "cpm_custom",
    ]);
    let value = prop_oneof!["[a-z0-9+%]{0,6}", "(%[0-9A-Fa-g]{2}){0,3}", "[=%+ ]{0,3}"];
    let pairs = prop::collection::vec((key, value, any::<bool>()), 0..8);
    let formed = pairs.prop_map(|pairs| {
        let text = |(key, value, equals): (&str, String, bool)| {
            format!("{key}{}{value}", if equals { "=" } else { "" })
        };
        pairs.into_iter().map(text).collect::<Vec<_>>().join("&").into_bytes()
    });
    prop_oneof![formed, prop::collection::vec(any::<u8>(), 0..120)]
}

proptest! {
    #[test]
    fn a_form_is_believed_exactly_when_a_naive_reader_would(body in bodies(), other in "[0-9a-fA-F]{64}") {
        let verifier = Verifier::new([SECRET]);
        match naive(&body) {
            None => prop_assert_eq!(verifier.verify(&body, Some(other.as_bytes())).unwrap_err(), Rejection::Unreadable),
            Some(signed) => {
                let token = sign(SECRET, &[&signed]);
                prop_assert_eq!(verify(&body, &token).map(hex::encode), Ok(token));
                prop_assert_eq!(verify(&body, &other), Err(Rejection::BadToken));
            }
        }
    }

    /// Every bit of the token counts, and so does every byte of every signed value.
    #[test]
    fn one_flipped_bit_is_forged(at in 0_usize..64, bit in 0_u8..4, field in 0_usize..16) {
        let mut token = FIRST.as_bytes().to_vec();
        let digit = u8::from_str_radix(&FIRST[at..=at], 16).unwrap() ^ (1 << bit);
        token[at] = char::from_digit(u32::from(digit), 16).unwrap() as u8;
        let form = body(&first());
        prop_assert_eq!(Verifier::new([SECRET]).verify(&form, Some(&token)).unwrap_err(), Rejection::BadToken);
        let mut changed = first();
        changed[field].push('\u{1}');
        prop_assert_eq!(verify(&body(&changed), FIRST), Err(Rejection::BadToken));
    }
}

/// Each bound holds exactly: the last thing that fits is taken, one more is not.
#[test]
fn bounds_are_exact() {
    let good = String::from_utf8(body(&first())).unwrap();
    let with = |extra: &str| verify(format!("{good}&{extra}").as_bytes(), FIRST).map(|_| ());
    let pairs = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join("&");
    let taken = FIELDS.len();
    let cases = [
        ("64 pairs", pairs(PAIRS_MAX - taken), Ok(())),
        ("65 pairs", pairs(PAIRS_MAX - taken + 1), Err(Rejection::Unreadable)),
        ("a key of 64 bytes", format!("{}=1", "k".repeat(KEY_BYTES_MAX)), Ok(())),
        ("a key of 65 bytes", format!("{}=1", "k".repeat(KEY_BYTES_MAX + 1)), Err(Rejection::Unreadable)),
        ("a value of 8 KiB", format!("k={}", "v".repeat(VALUE_BYTES_MAX)), Ok(())),
        ("one byte more", format!("k={}", "v".repeat(VALUE_BYTES_MAX + 1)), Err(Rejection::Unreadable)),
        ("escapes count as what they stand for", format!("k={}", "%41".repeat(VALUE_BYTES_MAX)), Ok(())),
    ];
    for (name, extra, want) in cases {
        assert_eq!(with(&extra), want, "{name}");
    }
}

#[test]
fn nothing_is_printed_of_keys_and_forms() {
    assert_eq!(format!("{:?}", Verifier::new([SECRET])), "Verifier(…)");
    let form = body(&first());
    let verified = Verifier::new([SECRET]).verify(&form, Some(FIRST.as_bytes())).unwrap();
    assert_eq!(format!("{verified:?}"), "Verified(…)");
}

#[test]
fn the_bounds_are_the_documented_ones() {
    assert_eq!((PAIRS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX), (64, 64, 8192));
}
