//! TXT records (RFC 1035), asked of the system's resolver: what SPF, DKIM and DMARC are published as.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// For one question, over one protocol, in seconds.
const ANSWER_SECONDS_MAX: u64 = 5;
/// Where the system's resolver is written down.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// An answer that fits into one datagram everywhere (RFC 6891 allows more; this is what arrives).
const DATAGRAM_BYTES_MAX: usize = 4096;
const TXT: u16 = 16;
const OPT: u16 = 41;
const IN: u16 = 1;
/// Records looked at in one answer.
const RECORDS_MAX: u16 = 64;

/// Why nothing is known about a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// No answer, or none that can be read.
    #[error("no readable answer from the resolver")]
    Unanswered,
    /// The resolver said no: SERVFAIL, REFUSED.
    #[error("the resolver answered with code {0}")]
    Refused(u8),
}

/// The first resolver of this system.
pub fn resolver() -> Option<SocketAddr> {
    let text = std::fs::read_to_string(RESOLV_CONF).ok()?;
    let address = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")).next()?.trim();
    address.parse().ok().map(|ip| SocketAddr::new(ip, PORT))
}

/// The texts published under `name`, each put together of its parts; none where the name or the record does not exist.
///
/// # Errors
/// The resolver does not answer, or refuses.
pub async fn texts(resolver: SocketAddr, name: &str) -> Result<Vec<String>, DnsError> {
    let id: u16 = rand::random();
    let question = question(id, name).ok_or(DnsError::Unanswered)?;
    let wait = Duration::from_secs(ANSWER_SECONDS_MAX);
    let lost = |_| DnsError::Unanswered;
    let answer = tokio::time::timeout(wait, by_datagram(resolver, &question)).await.map_err(lost)?;
    let answer = answer.ok_or(DnsError::Unanswered)?;
    if is_cut(&answer) {
        let answer = tokio::time::timeout(wait, by_stream(resolver, &question)).await.map_err(lost)?;
        return read(id, &answer.ok_or(DnsError::Unanswered)?);
    }
    read(id, &answer)
}

async fn by_datagram(resolver: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let own: SocketAddr = if resolver.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(own).await.ok()?;
    socket.connect(resolver).await.ok()?;
    socket.send(question).await.ok()?;
    let mut answer = vec![0; DATAGRAM_BYTES_MAX];
    let length = socket.recv(&mut answer).await.ok()?;
    answer.truncate(length);
    Some(answer)
}

async fn by_stream(resolver: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await.ok()?;
    stream.write_all(&u16::try_from(question.len()).ok()?.to_be_bytes()).await.ok()?;
    stream.write_all(question).await.ok()?;
    let length = stream.read_u16().await.ok()?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.ok()?;
    Some(answer)
}

/// One question for TXT, recursion desired, with room for a large datagram. None for a name that DNS cannot hold.
fn question(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for word in [id, 0x0100, 1, 0, 0, 1] {
        bytes.extend(word.to_be_bytes());
    }
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        bytes.push(length);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes.extend([TXT, IN].map(u16::to_be_bytes).concat());
    bytes.push(0);
    let size = u16::try_from(DATAGRAM_BYTES_MAX).ok()?;
    bytes.extend([OPT, size, 0, 0, 0].map(u16::to_be_bytes).concat());
    Some(bytes)
}

fn is_cut(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

fn read(id: u16, answer: &[u8]) -> Result<Vec<String>, DnsError> {
    let word = |at: usize| answer.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    if word(0) != Some(id) || answer.get(2).is_none_or(|flags| flags & 0x80 == 0) {
        return Err(DnsError::Unanswered);
    }
    match answer.get(3).map(|flags| flags & 0x0f) {
        // 3: there is no such name.
        Some(0 | 3) => {}
        Some(code) => return Err(DnsError::Refused(code)),
        None => return Err(DnsError::Unanswered),
    }
    let (questions, records) = (word(4).unwrap_or(0), word(6).unwrap_or(0).min(RECORDS_MAX));
    let records = || -> Option<Vec<String>> {
        let mut at = 12;
        for _ in 0..questions {
            at = after_name(answer, at)? + 4;
        }
        let mut texts = Vec::new();
        for _ in 0..records {
            at = after_name(answer, at)?;
            let (kind, length) = (word(at)?, usize::from(word(at + 8)?));
            let data = answer.get(at + 10..at + 10 + length)?;
            if kind == TXT {
                texts.push(joined(data)?);
            }
            at += 10 + length;
        }
        Some(texts)
    };
    records().ok_or(DnsError::Unanswered)
}

/// Where the name that begins at `at` ends. A pointer ends it.
fn after_name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer >= 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

/// The parts of one TXT record, one after the other.
fn joined(mut data: &[u8]) -> Option<String> {
    let mut text = Vec::new();
    while let Some((length, rest)) = data.split_first() {
        let (part, rest) = rest.split_at_checked(usize::from(*length))?;
        text.extend_from_slice(part);
        data = rest;
    }
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to `question`: flags, and records of this kind with this data.
    fn answer(question: &[u8], flags: [u8; 2], records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = question.to_vec();
        bytes.truncate(bytes.len() - 11);
        bytes[2..4].copy_from_slice(&flags);
        bytes[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
        bytes[10..12].copy_from_slice(&[0, 0]);
        for (kind, data) in records {
            bytes.extend([0xc0, 12]);
            bytes.extend(kind.to_be_bytes());
            bytes.extend([0, 1, 0, 0, 0, 60]);
            bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            bytes.extend(*data);
        }
        bytes
    }

    #[test]
    fn answers() {
        let asked = question(7, "example.ci").unwrap();
        let two: &[(u16, &[u8])] = &[(TXT, b"\x03v=s\x02pf"), (5, b"\x00"), (TXT, b"\x01x")];
        type Case = (&'static str, Vec<u8>, Result<Vec<String>, DnsError>);
        let cases: &[Case] = &[
            ("two", answer(&asked, [0x81, 0x80], two), Ok(vec!["v=spf".into(), "x".into()])),
            ("no such name", answer(&asked, [0x81, 0x83], &[]), Ok(vec![])),
            ("servfail", answer(&asked, [0x81, 0x82], &[]), Err(DnsError::Refused(2))),
            ("a question", asked.clone(), Err(DnsError::Unanswered)),
            ("nothing", Vec::new(), Err(DnsError::Unanswered)),
            ("cut short", answer(&asked, [0x81, 0x80], two)[..40].to_vec(), Err(DnsError::Unanswered)),
            ("a part too long", answer(&asked, [0x81, 0x80], &[(TXT, b"\x09x")]), Err(DnsError::Unanswered)),
        ];
        for (name, bytes, want) in cases {
            assert_eq!(&read(7, bytes), want, "{name}");
        }
        assert_eq!(read(8, &cases[0].1), Err(DnsError::Unanswered), "another question's");
        assert_eq!(question(7, "a..b"), None);
        assert_eq!(question(7, &"x".repeat(64)), None);
    }

    #[tokio::test]
    async fn a_cut_answer_is_asked_for_again_over_a_stream() {
        let stream = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = stream.local_addr().unwrap();
        let datagrams = UdpSocket::bind(place).await.unwrap();
        let serve = async {
            let mut asked = vec![0; 512];
            let (length, who) = datagrams.recv_from(&mut asked).await.unwrap();
            datagrams.send_to(&answer(&asked[..length], [0x83, 0x80], &[]), who).await.unwrap();
            let (mut stream, _) = stream.accept().await.unwrap();
            let length = stream.read_u16().await.unwrap();
            stream.read_exact(&mut asked[..usize::from(length)]).await.unwrap();
            let whole = answer(&asked[..usize::from(length)], [0x81, 0x80], &[(TXT, b"\x04long")]);
            stream.write_all(&u16::try_from(whole.len()).unwrap().to_be_bytes()).await.unwrap();
            stream.write_all(&whole).await.unwrap();
        };
        let ((), found) = tokio::join!(serve, texts(place, "example.ci"));
        assert_eq!(found, Ok(vec!["long".to_owned()]));
    }
}
