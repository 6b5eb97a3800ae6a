//! The numbers of keys in a line's body. They say where a key stands and nothing of the sale: each ledger has its own, and
//! all else of a body moves as it is, byte for byte.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A body as far as it must be understood to change its numbers.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    at: &'a RawValue,
    #[serde(borrow)]
    order: &'a RawValue,
    #[serde(borrow)]
    version: &'a RawValue,
    #[serde(borrow)]
    events: &'a RawValue,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<u64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    sealed: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    erases: Vec<u64>,
}

/// The body with other numbers for its keys; the very same bytes where it names none.
///
/// # Errors
/// It has numbers and is not written as this program writes: what else would change is not known. Or `number` knows none.
pub(super) fn renumbered<'a>(
    body: &'a [u8],
    number: &mut dyn FnMut(u64) -> Option<u64>,
) -> Result<Cow<'a, [u8]>, String> {
    let json = [b"{", body, b"}"].concat();
    // serde_json's message may quote a value.
    let mut parsed: Body<'_> = serde_json::from_slice(&json)
        .map_err(|error| format!("no line's body (column {})", error.column()))?;
    if parsed.key.is_none() && parsed.erases.is_empty() {
        return Ok(Cow::Borrowed(body));
    }
    if bytes(&parsed)? != body {
        return Err("a sealed line that is not written as this program writes".to_owned());
    }
    let mut renumber = |slot| number(slot).ok_or_else(|| format!("key {slot} is none of its order's"));
    parsed.key = parsed.key.map(&mut renumber).transpose()?;
    for slot in &mut parsed.erases {
        *slot = renumber(*slot)?;
    }
    Ok(Cow::Owned(bytes(&parsed)?))
}

/// Without the braces.
fn bytes(body: &Body<'_>) -> Result<Vec<u8>, String> {
    let mut bytes = serde_json::to_vec(body).map_err(|error| error.to_string())?;
    bytes.pop();
    bytes.remove(0);
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn check(body: &str, want: Result<&str, &str>) {
        let got = renumbered(body.as_bytes(), &mut |slot| (slot < 90).then_some(slot + 1000));
        match (got, want) {
            (Ok(got), Ok(want)) => assert_eq!(std::str::from_utf8(&got).unwrap(), want),
            (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
            (got, want) => panic!("{body}: {got:?}, not {want:?}"),
        }
    }

    #[test]
    fn only_the_numbers_of_keys_change() {
        let common = r#""at":"2026-01-31T12:00:00.000Z","order":"01JD0QZ6Y3V9K2M4N6P8R0S2T4","version":1,"events":[{"v":2,"kind":"NOTE","x":"\u00e9 \"key\":7"}]"#;
        let with = |rest: &str| format!("{common}{rest}");
        check(&with(""), Ok(&with("")));
        let (sealed, moved) = (r#","key":7,"sealed":"AA/+b""#, r#","key":1007,"sealed":"AA/+b""#);
        check(&with(sealed), Ok(&with(moved)));
        check(&with(r#","erases":[7,12]"#), Ok(&with(r#","erases":[1007,1012]"#)));
        let both = (with(&format!(r#"{sealed},"erases":[1]"#)), with(&format!(r#"{moved},"erases":[1001]"#)));
        check(&both.0, Ok(&both.1));
        // What it cannot write again it leaves alone; where it would have to change it, it refuses.
        check(&with(r#","more":1"#), Ok(&with(r#","more":1"#)));
        check(&with(r#","key":7,"sealed":"AA","more":1"#), Err("not written as"));
        check(&with(r#", "key":7,"sealed":"AA""#), Err("not written as"));
        check(&with(r#","key":90,"sealed":"AA""#), Err("key 90"));
        check(r#""at":"awa@example.ci""#, Err("no line's body (column "));
    }
}
