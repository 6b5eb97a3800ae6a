//! What `doctor` meets that is not well: web servers, mail servers and resolvers that answer one thing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use auditshield::config::{self, Given};
use auditshield::doctor::{self, Finding, Patient, Severity};
use auditshield::ports::Clock;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::process_support::World;

/// An examination of `world`, with these settings instead of its own.
pub struct Examination {
    pub patient: Patient,
}

impl Examination {
    pub fn of(world: &World, changes: &[(&str, &str)]) -> Self {
        let mut settings = world.settings.clone();
        settings.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let given = Given::only(settings);
        let config = config::load(&given).unwrap_or_else(|problems| panic!("{problems}"));
        let patient = Patient {
            config,
            given,
            clock: Clock::system(),
            resolver: None,
            backup: world.path("backup"),
            limits: "/proc/self/limits".into(),
            dkim_selectors: vec!["default".to_owned()],
            trial_to: None,
            go_live: false,
        };
        Self { patient }
    }

    pub async fn findings(&self) -> Vec<Finding> {
        doctor::examine(&self.patient).await
    }

    /// The check's worst severity, and its words in both languages.
    pub async fn says(&self, check: &str) -> (Severity, String) {
        let mut found = self.findings().await;
        found.retain(|finding| finding.check == check);
        found.sort_by_key(|finding| finding.severity);
        let worst = found.last().unwrap_or_else(|| panic!("no finding of {check}"));
        (worst.severity, format!("{} / {}", worst.fr, worst.en))
    }
}

/// Reads one request, head and body.
async fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await.ok()?;
        if length == 0 {
            return None;
        }
        bytes.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let wanted = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= wanted.unwrap_or(0) {
            return Some(bytes);
        }
    }
}

/// A web server that answers everything with this status, these headers and this body.
pub async fn web(status: u16, headers: &str, body: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    );
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if request(&mut stream).await.is_some() {
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    address
}

/// A proxy in front of `to` that rewrites each request's text.
pub async fn rewriting(to: String, rewrite: fn(String) -> String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(asked) = request(&mut stream).await else { continue };
            let (head, body) = String::from_utf8_lossy(&asked)
                .split_once("\r\n\r\n")
                .map(|(head, body)| (head.to_owned(), rewrite(body.to_owned())))
                .unwrap();
            let kept = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length"));
            let mut sent = kept.map(|line| format!("{line}\r\n")).collect::<String>();
            sent += &format!("content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let mut behind = TcpStream::connect(&to).await.unwrap();
            behind.write_all(sent.as_bytes()).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
        }
    });
    address
}

/// A mail server that lets nobody in.
pub async fn mail_server_that_refuses_logins() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut answer = "220 mail.example.ci\r\n";
            loop {
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                    break;
                }
                answer = match line.split_whitespace().next() {
                    Some("EHLO") => "250-mail.example.ci\r\n250 AUTH PLAIN\r\n",
                    Some("QUIT") => "221 bye\r\n",
                    _ => "535 5.7.8 no\r\n",
                };
            }
        }
    });
    address
}

/// A resolver that knows these TXT records; SERVFAIL for a name that ends in `.broken`.
pub async fn resolver(records: &[(&str, &str)]) -> SocketAddr {
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, text) in records {
        known.entry((*name).to_owned()).or_default().push((*text).to_owned());
    }
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut asked = [0; 512];
        while let Ok((_, who)) = socket.recv_from(&mut asked).await {
            let (name, end) = name(&asked);
            let texts = known.get(&name).cloned().unwrap_or_default();
            let code = if name.ends_with(".broken") { 2 } else { 0 };
            let mut answer = vec![asked[0], asked[1], 0x81, 0x80 | code, 0, 1, 0];
            answer.push(u8::try_from(texts.len()).unwrap());
            answer.extend([0, 0, 0, 0]);
            answer.extend_from_slice(&asked[12..end + 4]);
            for text in texts {
                // The name, TXT, IN, a minute; then the length of the data, and of its one part.
                answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0]);
                let length = u8::try_from(text.len()).unwrap();
                answer.extend([length + 1, length]);
                answer.extend(text.bytes());
            }
            let _ = socket.send_to(&answer, who).await;
        }
    });
    address
}

/// The name asked for, and where it ends.
fn name(asked: &[u8]) -> (String, usize) {
    let (mut labels, mut at) = (Vec::new(), 12);
    while asked[at] != 0 {
        let length = usize::from(asked[at]);
        labels.push(String::from_utf8_lossy(&asked[at + 1..at + 1 + length]).into_owned());
        at += 1 + length;
    }
    (labels.join("."), at + 1)
}
