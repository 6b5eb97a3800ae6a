//! Who the client is, and how often it may ask.

use super::*;
use proptest::prelude::*;
use reqwest::header::{HeaderName, HeaderValue};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn trusted() -> Vec<IpNet> {
    vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

#[test]
fn the_client_behind_proxies() {
    let x = "x-forwarded-for";
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case<'_>] = &[
        ("no header", "127.0.0.1", &[], "127.0.0.1"),
        ("untrusted peer", "203.0.113.9", &[(x, "1.1.1.1")], "203.0.113.9"),
        ("one hop", "127.0.0.1", &[(x, "1.1.1.1")], "1.1.1.1"),
        ("spoofed left part", "127.0.0.1", &[(x, "9.9.9.9, 1.1.1.1")], "1.1.1.1"),
        ("two proxies", "127.0.0.1", &[(x, "9.9.9.9, 1.1.1.1, 10.0.0.7")], "1.1.1.1"),
        ("two lines", "127.0.0.1", &[(x, "9.9.9.9"), (x, "1.1.1.1"), (x, "10.0.0.7")], "1.1.1.1"),
        ("only proxies", "127.0.0.1", &[(x, "10.0.0.8, 10.0.0.7")], "10.0.0.8"),
        ("garbage", "127.0.0.1", &[(x, "1.1.1.1, garbage")], "127.0.0.1"),
        ("garbage beyond a proxy", "127.0.0.1", &[(x, "unknown, 10.0.0.7")], "10.0.0.7"),
        ("not text", "127.0.0.1", &[(x, "é")], "127.0.0.1"),
        ("port", "127.0.0.1", &[(x, "1.1.1.1:80")], "1.1.1.1"),
        ("v6", "::1", &[(x, "2001:db8::1")], "::1"),
        ("v6 trusted", "fd00::1", &[(x, "2001:db8::1")], "2001:db8::1"),
        ("v6 port", "127.0.0.1", &[(x, "[2001:db8::1]:80")], "2001:db8::1"),
        ("mapped peer", "::ffff:127.0.0.1", &[(x, "::ffff:1.1.1.1")], "1.1.1.1"),
        ("forwarded", "127.0.0.1", &[("forwarded", "for=1.1.1.1;proto=https")], "1.1.1.1"),
        ("forwarded v6", "127.0.0.1", &[("forwarded", "For=\"[2001:db8::1]:47\"")], "2001:db8::1"),
        (
            "forwarded chain",
            "127.0.0.1",
            &[("forwarded", "for=9.9.9.9, for=1.1.1.1, for=10.1.1.1")],
            "1.1.1.1",
        ),
        ("forwarded hidden", "127.0.0.1", &[("forwarded", "for=_hidden")], "127.0.0.1"),
        ("forwarded open quote", "127.0.0.1", &[("forwarded", "for=\"x, for=1.1.1.1")], "1.1.1.1"),
        ("forwarded twice", "127.0.0.1", &[("forwarded", "for=9.9.9.9;for=1.1.1.1")], "127.0.0.1"),
        ("both agree", "127.0.0.1", &[("forwarded", "for=1.1.1.1"), (x, "1.1.1.1")], "1.1.1.1"),
        ("both disagree", "127.0.0.1", &[("forwarded", "for=9.9.9.9"), (x, "1.1.1.1")], "127.0.0.1"),
    ];
    for (name, peer, lines, expected) in cases {
        assert_eq!(client_ip(ip(peer), &headers(lines), &trusted()), ip(expected), "{name}");
    }
}

#[test]
fn each_client_has_its_own_minute() {
    let limiter = ClientLimiter::per_minute(3);
    (0..3).for_each(|_| assert_eq!(limiter.check(ip("1.1.1.1")), Ok(())));
    let RetryAfter(seconds) = limiter.check(ip("1.1.1.1")).unwrap_err();
    assert!((1..=20).contains(&seconds), "{seconds}");
    assert!(limiter.check(ip("::ffff:1.1.1.1")).is_err());
    assert_eq!(limiter.check(ip("1.1.1.2")), Ok(()));
}

#[test]
fn a_v6_household_is_one_client() {
    let limiter = ClientLimiter::per_minute(1);
    assert_eq!(limiter.check(ip("2001:db8::1")), Ok(()));
    assert!(limiter.check(ip("2001:db8::ffff")).is_err());
    assert_eq!(limiter.check(ip("2001:db8:0:1::1")), Ok(()));
}

#[test]
fn zero_is_unlimited() {
    let limiter = ClientLimiter::per_minute(0);
    (0..1000).for_each(|_| assert_eq!(limiter.check(ip("1.1.1.1")), Ok(())));
    limiter.tick();
}

#[test]
fn the_table_of_clients_is_bounded() {
    let limiter = ClientLimiter::bounded(6000, 100);
    for n in 0..5000u32 {
        let _ = limiter.check(IpAddr::V4(n.into()));
    }
    assert!(limiter.clients() <= 100 + usize::from(SHARED_BUCKETS), "{}", limiter.clients());
    #[expect(clippy::disallowed_methods, reason = "governor reads the real clock")]
    std::thread::sleep(Duration::from_millis(200));
    limiter.tick();
    assert_eq!(limiter.clients(), 0);
}

#[test]
fn a_crowd_that_has_left_makes_room_at_once() {
    let limiter = ClientLimiter::bounded(60_000, 100);
    (0..100u32).for_each(|n| assert_eq!(limiter.check(IpAddr::V4(n.into())), Ok(())));
    #[expect(clippy::disallowed_methods, reason = "governor reads the real clock")]
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(limiter.clients(), 100);
    assert_eq!(limiter.check(ip("1.1.1.1")), Ok(()));
    assert_eq!(limiter.clients(), 1, "the crowd is forgotten, and the newcomer has a bucket of its own");
}

proptest! {
    #[test]
    fn an_untrusted_peer_is_always_itself(line in "[ -~]{0,60}", peer in any::<u32>()) {
        let peer = IpAddr::V4((peer | 0x8000_0000).into());
        let map = headers(&[("x-forwarded-for", &line), ("forwarded", &line)]);
        prop_assert_eq!(client_ip(peer, &map, &trusted()), peer);
    }

    #[test]
    fn what_the_client_sends_never_moves_the_hop_our_proxy_appended(spoof in "[ -~]{0,60}") {
        let both = format!("{spoof}, 1.1.1.1");
        let one_line = headers(&[("x-forwarded-for", &both)]);
        let two_lines = headers(&[("x-forwarded-for", &spoof), ("x-forwarded-for", "1.1.1.1")]);
        prop_assert_eq!(client_ip(ip("127.0.0.1"), &one_line, &trusted()), ip("1.1.1.1"));
        prop_assert_eq!(client_ip(ip("127.0.0.1"), &two_lines, &trusted()), ip("1.1.1.1"));
    }
}

/// The walk by hand: the last hop that is not one of ours, or the proxy that reported what cannot be read.
fn naive(peer: IpAddr, hops: &[Option<IpAddr>]) -> IpAddr {
    let ours = |ip: &IpAddr| trusted().iter().any(|net| net.contains(ip));
    let mut client = peer;
    for hop in hops.iter().rev() {
        if !ours(&client) {
            break;
        }
        let Some(hop) = hop else { break };
        client = *hop;
    }
    client
}

/// A hop as text, and what it means.
fn hops() -> impl Strategy<Value = (String, Option<IpAddr>)> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| (IpAddr::from(ip).to_string(), Some(IpAddr::from(ip)))),
        any::<u8>().prop_map(|end| (format!("10.0.0.{end}"), Some(IpAddr::from([10, 0, 0, end])))),
        any::<[u8; 4]>().prop_map(|ip| (format!("{}:80", IpAddr::from(ip)), Some(IpAddr::from(ip)))),
        any::<[u16; 8]>()
            .prop_map(|ip| (format!("[{}]:80", IpAddr::from(ip)), Some(IpAddr::from(ip).to_canonical()))),
        any::<[u16; 8]>()
            .prop_map(|ip| (IpAddr::from(ip).to_string(), Some(IpAddr::from(ip).to_canonical()))),
        "unknown|_hidden|1\\.1\\.1|1\\.1\\.1\\.1\\.1|256\\.1\\.1\\.1|x|-".prop_map(|text| (text, None)),
    ]
}

proptest! {
    #[test]
    fn the_chain_is_walked_as_by_hand(chain in prop::collection::vec(hops(), 1..6), per_line in 1_usize..4) {
        let meant: Vec<Option<IpAddr>> = chain.iter().map(|(_, ip)| *ip).collect();
        let want = naive(ip("127.0.0.1"), &meant);
        let lines = |write: fn(&str) -> String| -> Vec<String> {
            chain.chunks(per_line).map(|some| some.iter().map(|(text, _)| write(text)).collect::<Vec<_>>().join(", ")).collect()
        };
        let common = lines(str::to_owned);
        let standard = lines(|text| format!("proto=https;For=\"{text}\";by=_x"));
        let map = |name: &str, lines: &[String]| {
            let lines: Vec<(&str, &str)> = lines.iter().map(|line| (name, line.as_str())).collect();
            headers(&lines)
        };
        prop_assert_eq!(client_ip(ip("127.0.0.1"), &map("x-forwarded-for", &common), &trusted()), want);
        prop_assert_eq!(client_ip(ip("127.0.0.1"), &map("forwarded", &standard), &trusted()), want);
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_rounded_up(millis in 0_u64..200_000) {
        let seconds = whole_seconds(Duration::from_millis(millis));
        prop_assert!(seconds >= RETRY_SECONDS_MIN && seconds * 1000 >= millis && seconds <= millis / 1000 + 1);
    }

    /// A /64 is one client, and no two networks share a bucket while there is room.
    #[test]
    fn clients_are_told_apart(a in any::<[u16; 8]>(), b in any::<[u16; 8]>()) {
        let [one, other] = [a, b].map(IpAddr::from);
        let same = match (one.to_canonical(), other.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V6(_)) => a[..4] == b[..4],
            (one, other) => one == other,
        };
        prop_assert_eq!(Client::of(one) == Client::of(other), same);
        let neighbour = IpAddr::from([a[0], a[1], a[2], a[3], b[4], b[5], b[6], b[7]]);
        prop_assert!(one.to_canonical() != one || neighbour.to_canonical() != neighbour || Client::of(one) == Client::of(neighbour));
        prop_assert!(matches!(Client::shared(one), Client::Shared(bucket) if bucket < SHARED_BUCKETS));
    }
}
