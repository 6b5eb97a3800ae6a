//! Who the client is: nobody but a trusted proxy can say, and never by what stands left of its own word.
#![no_main]

use std::net::IpAddr;

use auditshield::adapters::limits::client_ip;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;

const CLIENT: &str = "198.51.100.7";

// Lines of headers: `x…` for X-Forwarded-For, `f…` for Forwarded, anything else the peer.
fuzz_target!(|input: &[u8]| {
    let trusted: Vec<IpNet> = ["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("a net")).into();
    let proxy: IpAddr = "127.0.0.1".parse().expect("an address");
    let mut peer = proxy;
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let (name, value) = match line.split_first() {
            Some((b'x', value)) => ("x-forwarded-for", value),
            Some((b'f', value)) => ("forwarded", value),
            _ => {
                peer = std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).unwrap_or(peer);
                continue;
            }
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let client = client_ip(peer, &headers, &trusted);
    let believed = trusted.iter().any(|net| net.contains(&peer.to_canonical()));
    if !believed {
        assert_eq!(client, peer.to_canonical(), "an untrusted peer is itself");
    }
    assert!(client == peer.to_canonical() || written(&headers, client), "{client} was named by nobody");
    assert_eq!(client, client.to_canonical());

    // Whatever the client sent, our proxy appends its word, on the same line or on another one.
    for (name, word) in [("x-forwarded-for", CLIENT.to_owned()), ("forwarded", format!("for={CLIENT};proto=https"))] {
        let mut spoofed = HeaderMap::new();
        for value in headers.get_all(name) {
            spoofed.append(HeaderName::from_static(name), value.clone());
        }
        let mut lines: Vec<HeaderValue> = spoofed.get_all(name).iter().cloned().collect();
        spoofed.append(HeaderName::from_static(name), HeaderValue::from_str(&word).expect("text"));
        assert_eq!(client_ip(proxy, &spoofed, &trusted).to_string(), CLIENT, "{name}, a line of its own");
        let Some(last) = lines.pop() else { continue };
        let Ok(last) = last.to_str() else { continue };
        let joined = HeaderValue::from_str(&format!("{last}, {word}")).expect("text");
        let mut spoofed = HeaderMap::new();
        for value in lines.into_iter().chain([joined]) {
            spoofed.append(HeaderName::from_static(name), value);
        }
        assert_eq!(client_ip(proxy, &spoofed, &trusted).to_string(), CLIENT, "{name}, appended");
    }
});

/// Whether some part of the headers spells this address.
fn written(headers: &HeaderMap, wanted: IpAddr) -> bool {
    let separators = |one: char| matches!(one, ',' | ';' | '=' | '"' | ' ' | '\t' | '[' | ']');
    headers.values().filter_map(|value| value.to_str().ok()).any(|line| {
        line.split(separators).any(|part| {
            let bare = part.parse::<IpAddr>();
            let with_port = part.rsplit_once(':').and_then(|(host, _)| host.parse::<IpAddr>().ok());
            bare.ok().into_iter().chain(with_port).any(|ip| ip.to_canonical() == wanted)
        })
    })
}
