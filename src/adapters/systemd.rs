//! The service manager's two protocols: `sd_notify` (what this daemon is doing, and that it is alive) and `LISTEN_FDS`
//! (sockets that stand before the daemon does, and stay while it restarts).
//!
//! Outside systemd both are silent: the variables are not set, and nothing is sent or taken.

use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::Path;
use std::time::Duration;

use listenfd::ListenFd;

use crate::config::Listen;

/// The watchdog is fed this many times in each of its periods.
const FEEDS_PER_PERIOD: u32 = 3;

/// Whoever started this process and wants to know how it is.
#[derive(Debug, Default)]
pub struct Supervisor {
    /// Where it listens; none where nobody asked.
    line: Option<(UnixDatagram, SocketAddr)>,
    /// Between two signs of life; none without a watchdog.
    pulse: Option<Duration>,
}

impl Supervisor {
    /// What the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    ///
    /// # Errors
    /// The socket it names cannot be spoken to.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> io::Result<Self> {
        let Some(place) = get("NOTIFY_SOCKET").filter(|place| !place.is_empty()) else {
            return Ok(Self::default());
        };
        let address = match place.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name.as_bytes())?,
            None => SocketAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(place.as_bytes())))?,
        };
        let mine = get("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let period = get("WATCHDOG_USEC").filter(|_| mine).and_then(|micros| micros.parse().ok());
        let pulse = period.filter(|micros| *micros > 0).map(Duration::from_micros);
        let pulse = pulse.map(|period| period / FEEDS_PER_PERIOD);
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { line: Some((socket, address)), pulse })
    }

    /// Between two signs of life, if somebody waits for them.
    pub fn pulse(&self) -> Option<Duration> {
        self.pulse
    }
    /// The ledger and the listeners stand.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
    }
    /// Settings are being read again; [`Supervisor::ready`] ends it.
    pub fn reloading(&self) {
        self.say("RELOADING=1");
    }
    /// The drain has begun.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=draining");
    }
    /// A sign of life.
    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    fn say(&self, words: &str) {
        let Some((socket, address)) = &self.line else { return };
        if let Err(error) = socket.send_to_addr(words.as_bytes(), address) {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}

/// A listening socket that was handed over, and the name it was given (`FileDescriptorName=`).
#[derive(Debug)]
pub struct Inherited {
    /// `public`, `admin`, or whatever the unit says; empty if it says nothing.
    pub name: String,
    /// Where it listens.
    pub place: Listen,
    /// The socket.
    pub listener: Handed,
}

/// A socket of one of the two families.
#[derive(Debug)]
pub enum Handed {
    /// `ListenStream=127.0.0.1:8000`
    Tcp(TcpListener),
    /// `ListenStream=/run/auditshield/public.sock`
    Unix(UnixListener),
}

/// The sockets handed over by the service manager (`LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`). Call it once: a second
/// call would take the same descriptors again.
///
/// # Errors
/// One of them is no stream socket, or a unix socket without a path.
pub fn inherited(get: impl Fn(&str) -> Option<String>) -> io::Result<Vec<Inherited>> {
    let mut given = ListenFd::from_env();
    let names = get("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = Vec::new();
    for index in 0..given.len() {
        let name = names.next().unwrap_or_default().to_owned();
        // A socket of another family is left where it is.
        if let Ok(Some(listener)) = given.take_unix_listener(index) {
            listener.set_nonblocking(true)?;
            let path = listener.local_addr()?.as_pathname().map(Path::to_owned);
            let path =
                path.ok_or_else(|| io::Error::other("a unix socket without a path was handed over"))?;
            sockets.push(Inherited { name, place: Listen::Unix(path), listener: Handed::Unix(listener) });
        } else if let Some(listener) = given.take_tcp_listener(index)? {
            listener.set_nonblocking(true)?;
            let place = Listen::Tcp(listener.local_addr()?);
            sockets.push(Inherited { name, place, listener: Handed::Tcp(listener) });
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What arrives at `socket`, in order.
    fn heard(socket: &UnixDatagram) -> Vec<String> {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 256];
        let mut all = Vec::new();
        while let Ok(length) = socket.recv(&mut buffer) {
            all.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        all
    }

    #[test]
    fn what_is_said_and_where() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let abstract_name = format!("auditshield-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        for (place, socket) in [
            (path.display().to_string(), UnixDatagram::bind(&path).unwrap()),
            (format!("@{abstract_name}"), UnixDatagram::bind_addr(&address).unwrap()),
        ] {
            let supervisor =
                Supervisor::from_env(|name| (name == "NOTIFY_SOCKET").then(|| place.clone())).unwrap();
            supervisor.ready("two\nlines");
            supervisor.reloading();
            supervisor.alive();
            supervisor.stopping();
            let want =
                ["READY=1\nSTATUS=two lines", "RELOADING=1", "WATCHDOG=1", "STOPPING=1\nSTATUS=draining"];
            assert_eq!(heard(&socket), want, "{place}");
            assert_eq!(supervisor.pulse(), None);
        }
    }

    #[test]
    fn the_pulse_is_a_third_of_the_watchdogs_period_and_only_ours() {
        let mine = std::process::id().to_string();
        for (socket, micros, pid, want) in [
            ("@x", "30000000", mine.as_str(), Some(10_000)),
            ("@x", "30000000", "", Some(10_000)),
            ("@x", "30000000", "1", None),
            ("@x", "soon", "", None),
            ("@x", "0", "", None),
            ("@x", "", "", None),
            ("", "30000000", "", None),
        ] {
            let get = |name: &str| {
                let text = match name {
                    "NOTIFY_SOCKET" => socket,
                    "WATCHDOG_USEC" => micros,
                    "WATCHDOG_PID" => pid,
                    _ => "",
                };
                Some(text.to_owned()).filter(|text| !text.is_empty())
            };
            let pulse = Supervisor::from_env(get).unwrap().pulse();
            assert_eq!(pulse.map(|pulse| pulse.as_millis()), want, "{socket} {micros} {pid}");
        }
    }
}
