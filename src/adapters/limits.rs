//! Rate limits by client, and who the client is behind a proxy.
//!
//! Why the limits should be loose: behind carrier-grade NAT a whole city may share one address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use reqwest::header::HeaderMap;

/// Clients remembered at once (about 100 bytes each). Beyond it, newcomers share a few buckets.
const CLIENTS_MAX: usize = 50_000;
/// Buckets shared while the table is full.
const SHARED_BUCKETS: u16 = 1024;
/// Proxies walked through before the rest of the chain is ignored.
const HOPS_MAX: usize = 32;
/// Shortest wait told to a client, in seconds.
const RETRY_SECONDS_MIN: u64 = 1;

/// The client must wait this many whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter(pub u64);

/// Who is counted: one IPv4 address, one IPv6 /64 (what one household or server gets), or a shared bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    V4(u32),
    V6Net(u64),
    Shared(u16),
}

/// A limit of so many requests a minute for each client. Zero means unlimited.
pub struct ClientLimiter {
    limiter: Option<DefaultKeyedRateLimiter<Client>>,
    clock: DefaultClock,
    clients_max: usize,
    started: Instant,
    /// The second after `started` in which a full table was last looked through.
    looked_at: AtomicU64,
}

impl std::fmt::Debug for ClientLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientLimiter").field("clients", &self.clients()).finish_non_exhaustive()
    }
}

impl ClientLimiter {
    /// Allows bursts of `per_minute` requests, refilled evenly over the minute; 0 = unlimited.
    pub fn per_minute(per_minute: u32) -> Self {
        Self::bounded(per_minute, CLIENTS_MAX)
    }

    fn bounded(per_minute: u32, clients_max: usize) -> Self {
        let limiter = NonZeroU32::new(per_minute).map(|n| RateLimiter::keyed(Quota::per_minute(n)));
        let (clock, started, looked_at) = (DefaultClock::default(), Instant::now(), AtomicU64::new(u64::MAX));
        Self { limiter, clock, clients_max, started, looked_at }
    }

    /// Counts one request of `ip`.
    pub fn check(&self, ip: IpAddr) -> Result<(), RetryAfter> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let client = if self.has_room(limiter) { Client::of(ip) } else { Client::shared(ip) };
        limiter.check_key(&client).map_err(|refused| {
            let wait = refused.wait_time_from(self.clock.now());
            RetryAfter(whole_seconds(wait))
        })
    }

    /// Whether one more client can be remembered. A full table is looked through first, once a second at the most:
    /// a crowd that came once must not make everybody after it share buckets until the next [`ClientLimiter::tick`].
    fn has_room(&self, limiter: &DefaultKeyedRateLimiter<Client>) -> bool {
        if limiter.len() < self.clients_max {
            return true;
        }
        let second = self.started.elapsed().as_secs();
        if self.looked_at.swap(second, Ordering::Relaxed) != second {
            self.tick();
        }
        limiter.len() < self.clients_max
    }

    /// Forgets clients whose bucket is full again. Call it every minute, or the table stays full.
    pub fn tick(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    /// Clients remembered now.
    pub fn clients(&self) -> usize {
        self.limiter.as_ref().map_or(0, |limiter| limiter.len())
    }
}

impl Client {
    fn of(ip: IpAddr) -> Self {
        match canonical(ip) {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::V6Net(network(v6)),
        }
    }

    fn shared(ip: IpAddr) -> Self {
        let spread = match Self::of(ip) {
            Self::V4(bits) => u64::from(bits),
            Self::V6Net(bits) => bits,
            Self::Shared(bucket) => u64::from(bucket),
        };
        let mixed = spread.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48;
        Self::Shared(u16::try_from(mixed).unwrap_or_default() % SHARED_BUCKETS)
    }
}

fn network(v6: Ipv6Addr) -> u64 {
    let [a, b, c, d, ..] = v6.segments();
    [a, b, c, d].into_iter().fold(0, |bits, part| bits << 16 | u64::from(part))
}

fn whole_seconds(wait: Duration) -> u64 {
    let started = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(started).max(RETRY_SECONDS_MIN)
}

/// An IPv4 client seen through an IPv6 socket is the same client.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// The address a request is counted under.
///
/// Headers are believed only when `peer` is one of `trusted`; then the chain is walked from the right,
/// over all lines of the header, to the first hop that is not ours. An unreadable hop ends the walk at
/// the proxy that reported it. When `Forwarded` and `X-Forwarded-For` disagree one of them came from
/// the client itself (a proxy usually rewrites only one), so neither is believed.
pub fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = canonical(peer);
    if is_trusted(peer, trusted) { reported_by(peer, headers, trusted) } else { peer }
}

/// The same for a connection over a unix socket, which has no address: whoever the socket's mode lets in is a proxy of
/// ours, and what no header tells of is this machine's own.
pub fn client_behind_socket(headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    reported_by(Ipv4Addr::LOCALHOST.into(), headers, trusted)
}

/// What `peer`, whom we believe, says of the client.
fn reported_by(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let standard = walk(peer, lines(headers, "forwarded").flat_map(forwarded_hops), trusted);
    let common = walk(peer, lines(headers, "x-forwarded-for").flat_map(listed_hops), trusted);
    match (standard, common) {
        (None, None) => peer,
        (Some(one), None) | (None, Some(one)) => one,
        (Some(standard), Some(common)) if standard == common => common,
        (Some(_), Some(_)) => peer,
    }
}

/// Whether this is the address of a proxy of ours.
pub fn is_trusted(ip: IpAddr, trusted: &[IpNet]) -> bool {
    let ip = canonical(ip);
    trusted.iter().any(|net| net.contains(&ip))
}

/// The header's lines, last first; a line that is not text is one unreadable hop.
fn lines<'h>(headers: &'h HeaderMap, name: &'static str) -> impl Iterator<Item = &'h str> {
    let values: Vec<&'h str> =
        headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    values.into_iter().rev()
}

/// `None` when the header is absent.
fn walk(peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut nearest = None;
    for hop in hops.take(HOPS_MAX) {
        let Some(ip) = hop else { return nearest.or(Some(peer)) };
        nearest = Some(ip);
        if !is_trusted(ip, trusted) {
            break;
        }
    }
    nearest
}

/// `X-Forwarded-For`: a comma-separated list, last first.
fn listed_hops(line: &str) -> impl Iterator<Item = Option<IpAddr>> {
    line.rsplit(',').map(|hop| read_address(hop.trim()))
}

/// RFC 7239: `for=192.0.2.1;proto=https, for="[2001:db8::1]:4711"`, last first.
///
/// Quotes are not honoured as brackets around commas: a legal address has none, and an open quote sent
/// by the client must not swallow what the proxy appended.
fn forwarded_hops(line: &str) -> impl Iterator<Item = Option<IpAddr>> {
    line.rsplit(',').map(|element| {
        let mut addresses = element.split(';').filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
        });
        // Two `for` in one element could be read either way.
        let address = addresses.next()?;
        if addresses.next().is_some() { None } else { read_address(address) }
    })
}

/// An address with or without brackets and port.
fn read_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|at| at.ip()));
    parsed.map(canonical)
}

#[cfg(test)]
mod tests;
