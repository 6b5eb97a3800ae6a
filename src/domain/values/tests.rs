//! Every value from every text: accepted only in its one spelling, and never a panic.

use proptest::prelude::*;

use super::*;

/// Crockford's base 32, upper case.
const CROCKFORD: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The definition, character by character: 26 of them, the first at most 7 so that 128 bits hold it.
fn is_order_id(text: &str) -> bool {
    text.len() == 26 && text.chars().all(|one| CROCKFORD.contains(one)) && text.starts_with(|one| one <= '7')
}

/// Texts that are nearly an id: too short, too long, in lower case, with the letters that Crockford leaves out.
fn nearly_an_id() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-7][0-9A-HJKMNP-TV-Z]{25}",
        "[0-9A-Za-z]{24,28}",
        "[0-7][0-9A-HJKMNP-TV-Z]{25}R[0-9]{0,2}",
        "[0-7][0-9a-hjkmnp-tv-z]{25}(R2)?",
        "\\PC{0,40}",
        "é{13}",
    ]
}

/// `12.5` with two decimals is 1250, digit by digit; nothing but at most twelve digits on either side of one point.
fn naive_units(text: &str, decimals: usize) -> Option<u64> {
    let sides: Vec<&str> = text.split('.').collect();
    let (whole, part) = match sides.as_slice() {
        [whole] => (*whole, ""),
        [whole, part] => (*whole, *part),
        _ => return None,
    };
    let digits = |side: &str| side.len() <= 12 && side.chars().all(|one| one.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return None;
    }
    let value =
        |side: &str| side.chars().fold(0_u64, |sum, one| sum * 10 + u64::from(one.to_digit(10).unwrap()));
    let scale = 10_u64.pow(u32::try_from(decimals).unwrap());
    let fraction: String = format!("{part:0<12}");
    let (kept, rest) = fraction.split_at(decimals);
    (value(rest) == 0).then(|| value(whole) * scale + value(kept))
}

fn any_currency() -> impl Strategy<Value = Currency> {
    prop::sample::select(vec![Currency::Xof, Currency::Xaf, Currency::Gnf, Currency::Cdf, Currency::Usd])
}

#[test]
fn order_ids_are_canonical() {
    assert!(format!("{:?}", OrderId::from_bytes([0; 16])).contains(&"0".repeat(26)));
    let id = OrderId::new(Timestamp::from_millis(1_700_000_000_000), 42);
    let text = id.to_string();
    assert_eq!(text.len(), 26);
    assert_eq!(OrderId::parse(&text), Ok(id));
    assert_eq!(OrderId::parse(&text.to_lowercase()), Err(Invalid::OrderId));
    assert_eq!(OrderId::parse(&format!("{text}0")), Err(Invalid::OrderId));
    assert_eq!(OrderId::from_bytes(id.bytes()), id);
}

#[test]
fn transactions_name_their_order() {
    let order = OrderId::new(Timestamp::from_millis(5), 7);
    let check = |text: &str, attempt: Option<u8>| {
        assert_eq!(TransactionId::parse(text).ok().map(|t| t.attempt.number()), attempt, "{text}");
    };
    check(&order.to_string(), Some(1));
    check(&format!("{order}R2"), Some(2));
    check(&format!("{order}R1"), None);
    check(&format!("{order}R10"), None);
    check(&format!("{order}r2"), None);
    check("", None);
    check("éééééééééééééééééééééééééé", None);
    let second = TransactionId { order, attempt: Attempt(2) };
    assert_eq!(TransactionId::parse(&second.to_string()), Ok(second));
}

#[test]
fn times_round_trip() {
    let seconds = |millis| Timestamp::from_millis(millis).seconds();
    assert_eq!([0, 999, 2_500, -1].map(seconds), [0, 0, 2, -1], "whole ones, towards the past");
    let at = Timestamp::from_millis(1_700_000_000_120);
    assert_eq!(at.to_string(), "2023-11-14T22:13:20.120Z");
    assert_eq!(at.to_string().parse(), Ok(at));
}

/// Each currency's smallest and largest price, and the one beyond.
#[test]
fn prices_end_exactly_where_they_should() {
    for (currency, least, step) in [
        (Currency::Xof, 100, 5),
        (Currency::Xaf, 100, 5),
        (Currency::Gnf, 5, 5),
        (Currency::Cdf, 400, 5),
        (Currency::Usd, 20, 1),
    ] {
        let check = |amount: u64, want: Result<(), Invalid>| {
            assert_eq!(Money::price(amount, currency).map(|_| ()), want, "{amount} {currency}");
        };
        check(least, Ok(()));
        check(least - 1, Err(Invalid::AmountSmall));
        check(0, Err(Invalid::AmountSmall));
        check(100_000_000, Ok(()));
        check(100_000_000 + step, Err(Invalid::AmountLarge));
        assert_eq!(currency.minimum(), least);
        assert_eq!(currency.to_string(), currency.code());
    }
}

/// Twelve digits on either side of the point are a number, thirteen are not.
#[test]
fn amounts_are_read_up_to_twelve_digits() {
    let check = |text: &str, currency: &str, want: Option<u64>| {
        assert_eq!(Claimed::read(Some(text), Some(currency)).amount, want, "{text}");
    };
    check("999999999999", "XOF", Some(999_999_999_999));
    check("1999999999999", "XOF", None);
    check("1.000000000000", "XOF", Some(1));
    check("1.0000000000000", "XOF", None);
    check("999999999999.99", "USD", Some(99_999_999_999_999));
    check(".5", "USD", None);
    check("5.", "USD", Some(500));
}

proptest! {
    #[test]
    fn an_order_id_has_one_spelling(text in nearly_an_id()) {
        let read = OrderId::parse(&text);
        prop_assert_eq!(read.is_ok(), is_order_id(&text), "{}", text);
        if let Ok(id) = read {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn order_ids_survive_and_sort_by_time(
        a in 0_i64..1 << 47, b in 0_i64..1 << 47, chance in any::<u128>(), other in any::<u128>(),
    ) {
        let [x, y] = [(a, chance), (b, other)].map(|(at, chance)| OrderId::new(Timestamp::from_millis(at), chance));
        prop_assert_eq!(OrderId::parse(&x.to_string()), Ok(x));
        prop_assert_eq!(OrderId::from_bytes(x.bytes()), x);
        prop_assert_eq!(u128::from(x.seed()), chance % (1 << 64), "each order has its own jitter");
        prop_assert_eq!(x.cmp(&y), x.to_string().cmp(&y.to_string()));
        prop_assert_eq!(x.cmp(&y), x.bytes().cmp(&y.bytes()));
        if a != b {
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }
    }

    #[test]
    fn a_transaction_id_has_one_spelling(text in nearly_an_id()) {
        let read = TransactionId::parse(&text);
        let suffix = text.get(26..).is_some_and(|rest| rest.is_empty() || (rest.len() == 2
            && rest.starts_with('R') && rest.ends_with(|one: char| ('2'..='9').contains(&one))));
        prop_assert_eq!(read.is_ok(), suffix && is_order_id(&text[..26]), "{}", text);
        if let Ok(id) = read {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn an_amount_is_what_its_digits_say(
        text in prop_oneof!["[0-9]{0,13}(\\.[0-9]{0,13})?", "[0-9.+eE ,-]{0,12}", "\\PC{0,10}"],
        currency in any_currency(),
    ) {
        let read = Claimed::read(Some(&text), Some(currency.code())).amount;
        prop_assert_eq!(read, naive_units(text.trim(), usize::try_from(currency.decimals()).unwrap()), "{}", text);
    }

    #[test]
    fn what_we_ask_for_is_what_we_recognise(amount in 0..=AMOUNT_MAX + 10, by in 0_u64..3, currency in any_currency()) {
        let Ok(price) = Money::price(amount, currency) else { return Ok(()) };
        prop_assert_eq!((price.amount(), price.currency()), (amount, currency));
        let text = price.decimal();
        prop_assert!(Claimed::read(Some(&text), Some(currency.code())).is(price), "{}", text);
        let other = Claimed { amount: Some(amount + by), currency: Some(currency) };
        prop_assert_eq!(other.is(price), by == 0);
        let nothing = [Claimed { amount: None, currency: Some(currency) }, Claimed { amount: Some(amount), currency: None }];
        prop_assert!(nothing.iter().all(|claimed| !claimed.is(price)), "half a claim is none");
    }

    #[test]
    fn a_price_keeps_every_rule(amount in prop_oneof![0_u64..1000, any::<u64>(), AMOUNT_MAX - 10..AMOUNT_MAX + 10], currency in any_currency()) {
        let step = if currency == Currency::Usd { 1 } else { 5 };
        let right = (currency.minimum()..=AMOUNT_MAX).contains(&amount) && amount % step == 0;
        prop_assert_eq!(Money::price(amount, currency).is_ok(), right);
    }

    #[test]
    fn a_currency_is_one_of_five_words(text in prop_oneof!["[xX][oOaA][fF]", " ?(usd|GNF|Cdf) ?", "\\PC{0,5}"]) {
        let known = ["XOF", "XAF", "GNF", "CDF", "USD"].contains(&text.trim().to_ascii_uppercase().as_str());
        let read = text.parse::<Currency>();
        prop_assert_eq!(read.is_ok(), known);
        if let Ok(currency) = read {
            prop_assert!(currency.code().eq_ignore_ascii_case(text.trim()));
        }
    }

    #[test]
    fn an_address_can_carry_nothing_else(text in prop_oneof![
        "[a-zA-Z0-9._%+-]{1,12}@[a-z0-9.-]{1,12}\\.[a-z]{2,4}", "\\PC{0,40}", "[ -~\\r\\n\\t]{0,30}@[ -~]{0,20}",
    ]) {
        let Ok(email) = Email::parse(&text) else { return Ok(()) };
        let kept = email.expose();
        prop_assert!(kept.len() <= EMAIL_BYTES_MAX && kept == text.trim());
        prop_assert!(kept.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"[".contains(&byte)), "{}", kept);
        prop_assert_eq!(kept.matches('@').count(), 1);
        prop_assert_eq!(Email::parse(kept), Ok(email.clone()));
        prop_assert_eq!(format!("{email:?}"), "Email(…)");
    }

    #[test]
    fn ordinary_addresses_are_taken(text in "[a-z][a-z0-9]{0,20}(\\.[a-z0-9]{1,9})?(\\+[a-z0-9]{1,9})?@[a-z][a-z0-9]{0,20}(\\.[a-z0-9]{1,9}){0,2}\\.[a-z]{2,6}") {
        prop_assert!(Email::parse(&text).is_ok(), "{}", text);
    }

    #[test]
    fn a_name_is_one_bounded_line(text in prop_oneof!["\\PC{0,60}", ".{0,80}", "[a-z\\n\\r\\x00 ]{0,130}"]) {
        let bare = text.trim();
        let right = !bare.is_empty() && bare.len() <= NAME_BYTES_MAX && !bare.chars().any(char::is_control);
        let read = Name::parse(&text);
        prop_assert_eq!(read.as_ref().ok().map(Name::expose), right.then_some(bare));
    }

    #[test]
    fn a_telephone_number_is_its_digits(text in prop_oneof!["\\+?[0-9]{4,17}", "\\+?[0-9 .()-]{0,24}", "\\PC{0,20}"]) {
        let Ok(phone) = Phone::parse(&text) else { return Ok(()) };
        let kept = phone.expose();
        let digits = kept.strip_prefix('+').unwrap_or(kept);
        prop_assert!((6..=PHONE_DIGITS_MAX).contains(&digits.len()), "{}", kept);
        prop_assert!(digits.bytes().all(|byte| byte.is_ascii_digit()));
        // Spaces, points, hyphens and brackets are how people write; everything else is kept.
        let typed: String = text.chars().filter(|one| one.is_ascii_digit()).collect();
        prop_assert_eq!(digits, typed);
        prop_assert_eq!(Phone::parse(kept), Ok(phone.clone()));
    }

    #[test]
    fn numbers_as_people_write_them_are_taken(pairs in prop::collection::vec("[0-9]{2}", 3..=7), parted in prop::sample::select(vec![" ", ".", "-", ""])) {
        let text = format!("+{}", pairs.join(parted));
        prop_assert!(Phone::parse(&text).is_ok(), "{}", text);
    }

    #[test]
    fn times_survive(millis in any::<i64>(), text in prop_oneof!["\\PC{0,30}", "[0-9TZ:.+-]{0,30}"]) {
        let at = Timestamp::from_millis(millis);
        let shown = at.to_string();
        prop_assert!(shown.ends_with('Z'));
        // Years beyond 9999 have no RFC 3339 text: they show as the epoch, which nobody mistakes for a sale.
        let known = (-377_705_023_201_000..=253_402_207_200_999).contains(&millis);
        prop_assert_eq!(shown.parse(), Ok(if known { at } else { Timestamp::from_millis(0) }));
        if let Ok(read) = text.parse::<Timestamp>() {
            prop_assert_eq!(read.to_string().parse(), Ok(read));
        }
    }

    #[test]
    fn moments_never_overflow(a in any::<i64>(), b in any::<i64>(), by in any::<u64>()) {
        let [a, b] = [a, b].map(Timestamp::from_millis);
        prop_assert!(a.plus(Duration::from_millis(by)) >= a);
        prop_assert_eq!(a.since(b).is_zero(), a <= b);
        let short = Duration::from_millis(by % (1 << 40));
        let base = Timestamp::from_millis(a.millis() >> 2);
        prop_assert_eq!(base.plus(short).since(base), short);
    }

    #[test]
    fn attempts_are_few(steps in 0_usize..20) {
        let mut attempt = Some(Attempt::FIRST);
        for _ in 0..steps {
            attempt = attempt.and_then(Attempt::next);
        }
        prop_assert_eq!(attempt.map(|one| usize::from(one.number())), (steps < usize::from(ATTEMPTS_MAX)).then_some(steps + 1));
        if let Some(attempt) = attempt {
            let all: Vec<u8> = attempt.newest_first().map(Attempt::number).collect();
            prop_assert_eq!(all, (1..=attempt.number()).rev().collect::<Vec<_>>());
        }
    }
}
