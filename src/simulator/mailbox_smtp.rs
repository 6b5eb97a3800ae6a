//! The SMTP conversation (RFC 5321), as much of it as a submitting client uses.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::mailbox::{Mailbox, Step};

/// Longest command line, in bytes (RFC 5321 says 512; AUTH needs more).
const LINE_BYTES_MAX: u64 = 12_288;
/// Longest line of a mail's text, in bytes. RFC 5321 says 1000; senders exceed it.
const TEXT_LINE_BYTES_MAX: u64 = 64 * 1024;
/// Recipients of one mail.
const RECIPIENTS_MAX: usize = 100;
/// Time a silent sender is kept.
const READ_TIMEOUT: Duration = Duration::from_secs(300);

struct Session {
    stream: BufReader<TcpStream>,
    mailbox: Mailbox,
    from: Option<String>,
    to: Vec<String>,
}

/// What the conversation does next.
enum Next {
    Go,
    Hang,
}

/// One connection, several mails.
pub(super) async fn converse(stream: TcpStream, mailbox: Mailbox) -> io::Result<()> {
    let mut session = Session { stream: BufReader::new(stream), mailbox, from: None, to: Vec::new() };
    if let Next::Hang = session.step(Step::Connect, "220 mailbox.invalid ESMTP").await? {
        return Ok(());
    }
    while let Some(line) = session.line(LINE_BYTES_MAX).await? {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if let Next::Hang = session.command(&line).await? {
            break;
        }
    }
    Ok(())
}

impl Session {
    async fn command(&mut self, line: &str) -> io::Result<Next> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                self.forget();
                let size = self.mailbox.inner().settings.mail_bytes_max;
                let reply = format!(
                    "250-mailbox.invalid\r\n250-SIZE {size}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-AUTH PLAIN LOGIN\r\n250 PIPELINING"
                );
                self.step(Step::Ehlo, &reply).await
            }
            "HELO" => {
                self.forget();
                self.step(Step::Ehlo, "250 mailbox.invalid").await
            }
            "AUTH" => self.auth(rest).await,
            "MAIL" => match address(rest, "FROM:") {
                Some(from) => {
                    self.forget();
                    let next = self.step_if(Step::Mail, "250 2.1.0 Ok").await?;
                    if let Some(true) = next {
                        self.from = Some(from);
                    }
                    Ok(going(next))
                }
                None => self.say("501 5.5.4 MAIL FROM:<address>").await,
            },
            "RCPT" => self.recipient(rest).await,
            "DATA" => self.data().await,
            "RSET" => {
                self.forget();
                self.say("250 2.0.0 Ok").await
            }
            "NOOP" => self.say("250 2.0.0 Ok").await,
            "VRFY" => self.say("252 2.0.0 Send some mail").await,
            "QUIT" => {
                self.say("221 2.0.0 Bye").await?;
                Ok(Next::Hang)
            }
            _ => self.say("502 5.5.2 Command not recognised").await,
        }
    }

    /// Any credentials are right: PLAIN with or without an initial response, LOGIN in two questions.
    async fn auth(&mut self, rest: &str) -> io::Result<Next> {
        let (kind, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let questions: &[&str] = match (kind.to_ascii_uppercase().as_str(), initial.is_empty()) {
            ("PLAIN", true) => &["334 "],
            ("PLAIN", false) => &[],
            ("LOGIN", true) => &["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"],
            ("LOGIN", false) => &["334 UGFzc3dvcmQ6"],
            _ => return self.say("504 5.5.4 Unrecognised authentication type").await,
        };
        for question in questions {
            self.say(question).await?;
            if self.line(LINE_BYTES_MAX).await?.is_none() {
                return Ok(Next::Hang);
            }
        }
        self.step(Step::Auth, "235 2.7.0 Authenticated").await
    }

    async fn recipient(&mut self, rest: &str) -> io::Result<Next> {
        if self.from.is_none() {
            return self.say("503 5.5.1 MAIL first").await;
        }
        let Some(to) = address(rest, "TO:").filter(|to| !to.is_empty()) else {
            return self.say("501 5.5.4 RCPT TO:<address>").await;
        };
        if self.to.len() >= RECIPIENTS_MAX {
            return self.say("452 4.5.3 Too many recipients").await;
        }
        let next = self.step_if(Step::Rcpt, "250 2.1.5 Ok").await?;
        if let Some(true) = next {
            self.to.push(to);
        }
        Ok(going(next))
    }

    async fn data(&mut self) -> io::Result<Next> {
        if self.to.is_empty() {
            return self.say("503 5.5.1 RCPT first").await;
        }
        match self.step_if(Step::Data, "354 End with a dot").await? {
            Some(true) => {}
            Some(false) => return Ok(Next::Go),
            None => return Ok(Next::Hang),
        }
        let mut raw = Vec::new();
        let mut too_large = false;
        loop {
            let Some(line) = self.line(TEXT_LINE_BYTES_MAX).await? else { return Ok(Next::Hang) };
            if line == b".\r\n" || line == b".\n" {
                break;
            }
            // Dot-unstuffing: a leading dot was doubled on the way.
            let line = line.strip_prefix(b".").unwrap_or(&line);
            if raw.len() + line.len() > self.mailbox.inner().settings.mail_bytes_max {
                too_large = true;
            } else {
                raw.extend_from_slice(line);
            }
        }
        let (from, to) = (self.from.take().unwrap_or_default(), std::mem::take(&mut self.to));
        if too_large {
            return self.say("552 5.3.4 Message too large").await;
        }
        match self.mailbox.strike(Step::Dot) {
            None => self.mailbox.keep(from, to, raw),
            Some(fault) => {
                if fault.keep || (fault.code.is_none() && !fault.drop) {
                    self.mailbox.keep(from, to, raw);
                }
                return Ok(going(self.act(fault, "250 2.0.0 Ok: kept").await?));
            }
        }
        self.say("250 2.0.0 Ok: kept").await
    }

    /// Replies, or lets the fault of this step happen.
    async fn step(&mut self, step: Step, reply: &str) -> io::Result<Next> {
        Ok(going(self.step_if(step, reply).await?))
    }

    /// The same, telling apart: `Some(true)` went well, `Some(false)` was refused, `None` hang up.
    async fn step_if(&mut self, step: Step, reply: &str) -> io::Result<Option<bool>> {
        match self.mailbox.strike(step) {
            Some(fault) => self.act(fault, reply).await,
            None => {
                self.say(reply).await?;
                Ok(Some(true))
            }
        }
    }

    async fn act(&mut self, fault: super::mailbox::Fault, reply: &str) -> io::Result<Option<bool>> {
        tokio::time::sleep(Duration::from_millis(fault.latency_ms)).await;
        if fault.drop {
            return Ok(None);
        }
        let Some(code) = fault.code else {
            self.say(reply).await?;
            return Ok(Some(true));
        };
        self.say(&format!("{code} {}.0.0 Simulated fault", code / 100)).await?;
        // 421 announces the end of the connection (RFC 5321, 3.8).
        Ok(if code == 421 { None } else { Some(false) })
    }

    async fn say(&mut self, reply: &str) -> io::Result<Next> {
        let socket = self.stream.get_mut();
        socket.write_all(format!("{reply}\r\n").as_bytes()).await?;
        Ok(Next::Go)
    }

    /// One line with its end; none at the end of the connection. A longer line or a silent sender is an error.
    async fn line(&mut self, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(bytes_max);
        tokio::time::timeout(READ_TIMEOUT, limited.read_until(b'\n', &mut line)).await??;
        match line.last() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(line)),
            Some(_) => Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }

    fn forget(&mut self) {
        self.from = None;
        self.to.clear();
    }
}

fn going(next: Option<bool>) -> Next {
    match next {
        Some(_) => Next::Go,
        None => Next::Hang,
    }
}

/// The address in `FROM:<a@b> SIZE=..`; the empty sender `<>` is an address too.
fn address(rest: &str, keyword: &str) -> Option<String> {
    let (head, tail) = rest.split_at_checked(keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let tail = tail.trim_start();
    match tail.strip_prefix('<') {
        Some(inner) => inner.split_once('>').map(|(address, _)| address.to_owned()),
        None => tail.split(' ').next().filter(|bare| bare.contains('@')).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses() {
        assert_eq!(address("FROM:<a@b.ci> SIZE=10", "FROM:").as_deref(), Some("a@b.ci"));
        assert_eq!(address("from: <a@b.ci>", "FROM:").as_deref(), Some("a@b.ci"));
        assert_eq!(address("FROM:<>", "FROM:").as_deref(), Some(""));
        assert_eq!(address("TO:a@b.ci", "TO:").as_deref(), Some("a@b.ci"));
        assert_eq!(address("TO:<a@b.ci", "TO:"), None);
        assert_eq!(address("é", "TO:"), None);
    }
}
