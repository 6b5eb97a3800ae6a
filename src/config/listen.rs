//! Where a listener listens: an address with a port, or a unix socket.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// What a unix socket's path is written after.
const UNIX: &str = "unix:";
/// Longest path of a unix socket, in bytes: the kernel's limit of 107, less what the socket is called while it is made.
const PATH_BYTES_MAX: usize = 99;

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A socket in the file system, for a proxy on this machine.
    Unix(PathBuf),
}

/// Why a text is no such place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misplaced {
    /// Neither of the two spellings.
    Spelling,
    /// A unix socket's path that depends on the working directory.
    Relative,
    /// A path that the kernel does not take.
    TooLong,
}

impl Listen {
    /// `127.0.0.1:8000`, `[::1]:8000`, `localhost:8000` or `unix:/run/auditshield/public.sock`.
    pub(super) fn parse(text: &str) -> Result<Self, Misplaced> {
        let Some(path) = text.strip_prefix(UNIX) else {
            let spelled = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
            return spelled
                .as_deref()
                .unwrap_or(text)
                .parse()
                .map(Self::Tcp)
                .map_err(|_| Misplaced::Spelling);
        };
        match Path::new(path) {
            path if !path.is_absolute() => Err(Misplaced::Relative),
            path if path.as_os_str().len() > PATH_BYTES_MAX => Err(Misplaced::TooLong),
            path => Ok(Self::Unix(path.to_owned())),
        }
    }

    /// The place that this machine can call: 0.0.0.0 is for listening only.
    pub fn reachable(&self) -> Self {
        let Self::Tcp(listen) = self else { return self.clone() };
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self::Tcp(SocketAddr::new(ip, listen.port()))
    }

    /// The beginning of web addresses there. What stands for a unix socket's name is of no consequence.
    pub fn origin(&self) -> String {
        match self.reachable() {
            Self::Tcp(address) => format!("http://{address}"),
            Self::Unix(_) => "http://localhost".to_owned(),
        }
    }

    /// The address, if it is one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The unix socket, if it is one.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelled_and_read_back() {
        let longest = format!("unix:/{}", "x".repeat(PATH_BYTES_MAX - 1));
        let longer = format!("{longest}x");
        for (text, shown, origin) in [
            ("127.0.0.1:8000", Ok("127.0.0.1:8000"), "http://127.0.0.1:8000"),
            ("localhost:8000", Ok("127.0.0.1:8000"), "http://127.0.0.1:8000"),
            ("0.0.0.0:80", Ok("0.0.0.0:80"), "http://127.0.0.1:80"),
            ("[::]:80", Ok("[::]:80"), "http://[::1]:80"),
            ("unix:/run/a b.sock", Ok("unix:/run/a b.sock"), "http://localhost"),
            (&longest, Ok(longest.as_str()), "http://localhost"),
            (&longer, Err(Misplaced::TooLong), ""),
            ("unix:run/a.sock", Err(Misplaced::Relative), ""),
            ("unix:", Err(Misplaced::Relative), ""),
            ("/run/a.sock", Err(Misplaced::Spelling), ""),
            ("8000", Err(Misplaced::Spelling), ""),
        ] {
            let parsed = Listen::parse(text);
            assert_eq!(
                parsed.clone().map(|listen| listen.to_string()),
                shown.map(ToOwned::to_owned),
                "{text}"
            );
            if let Ok(listen) = parsed {
                assert_eq!(listen.origin(), origin, "{text}");
            }
        }
    }
}
