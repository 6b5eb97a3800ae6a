//! A connection to a mail server that cannot fill our memory, nor speak before it was asked.
//!
//! Why beneath lettre: it bounds a line only once the line has ended, and it keeps what came in clear right behind the
//! answer to STARTTLS as if it had come encrypted, so that whoever sits in between could answer for the server.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::io::{AsyncRead as FuturesRead, AsyncWrite as FuturesWrite};
#[expect(deprecated, reason = "lettre has no other way to implicit TLS over a stream of ours")]
use lettre::transport::smtp::client::AsyncNetworkStream;
use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longest answer to one command, in bytes, a TLS handshake included.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The stream, and what it has said since we last spoke.
#[derive(Debug)]
#[expect(deprecated, reason = "as above")]
pub(super) struct Bounded {
    stream: AsyncNetworkStream,
    unasked: usize,
    /// Between our STARTTLS and the handshake.
    upgrading: bool,
}

impl Bounded {
    #[expect(deprecated, reason = "as above")]
    pub(super) fn new(stream: AsyncNetworkStream) -> Self {
        Self { stream, unasked: 0, upgrading: false }
    }
}

/// Whether something follows the last line of an answer.
fn says_more(read: &[u8]) -> bool {
    let mut lines = read.split_inclusive(|byte| *byte == b'\n');
    lines.any(|line| line.get(3) == Some(&b' ')) && lines.next().is_some()
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unasked >= ANSWER_BYTES_MAX {
            return Poll::Ready(Err(refused("the answer is too long")));
        }
        let room = buffer.initialize_unfilled();
        let length = ready!(Pin::new(&mut self.stream).poll_read(context, room))?;
        if self.upgrading && says_more(room.get(..length).unwrap_or_default()) {
            return Poll::Ready(Err(refused("something follows the answer to STARTTLS in clear")));
        }
        buffer.advance(length);
        self.unasked = self.unasked.saturating_add(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unasked = 0;
        self.upgrading = bytes.eq_ignore_ascii_case(b"STARTTLS\r\n");
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

impl AsyncTokioStream for Bounded {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::says_more;

    #[test]
    fn what_follows_an_answer() {
        for whole in ["220 go\r\n", "220-a\r\n220 b\r\n", "220-a\r\n", "22", ""] {
            assert!(!says_more(whole.as_bytes()), "{whole:?}");
        }
        for more in ["220 go\r\n2", "220-a\r\n220 b\r\n250 x\r\n", "220 go\n250 x\r\n"] {
            assert!(says_more(more.as_bytes()), "{more:?}");
        }
    }
}
