//! Talking to the service manager that started this process: systemd's notification protocol.
//!
//! Not with the crate `sd-notify`: it knows no abstract sockets, and its sending may block, which the
//! supervision loop must not.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The socket's path; an abstract name begins with `@`.
const SOCKET: &str = "NOTIFY_SOCKET";
/// How long the service manager waits for a sign of life, in microseconds.
const WATCHDOG: &str = "WATCHDOG_USEC";
/// Whose sign of life it waits for; this process's, if it is not set.
pub(crate) const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// The service manager, if there is one that wants to hear of this process.
#[derive(Debug)]
pub struct ServiceManager {
    address: Option<SocketAddr>,
    socket: Option<UnixDatagram>,
    /// How often it wants a sign of life: twice as often as it must have one.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Whom the environment names. `predecessor`: the process whose place this one was started to
    /// take, whose watchdog becomes this one's.
    #[must_use]
    pub fn from_environment(predecessor: Option<u32>) -> Self {
        let address = env::var_os(SOCKET).and_then(|path| match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
            _ => SocketAddr::from_pathname(&path).ok(),
        });
        let socket = address.as_ref().and_then(|_| UnixDatagram::unbound().ok());
        let socket = socket.filter(|socket| socket.set_nonblocking(true).is_ok());
        let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number(WATCHDOG_PID).is_none_or(|pid| {
            pid == u64::from(std::process::id()) || predecessor.map(u64::from) == Some(pid)
        });
        let watchdog = number(WATCHDOG).filter(|usec| is_ours && *usec > 0);
        let watchdog = watchdog.map(|usec| Duration::from_micros((usec / 2).max(1)));
        Self { watchdog: watchdog.filter(|_| socket.is_some()), address, socket }
    }

    /// How often to give a sign of life, if it is wanted.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Whether somebody listens.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// Sends one message: lines of `NAME=value`. Without a service manager it does nothing.
    ///
    /// # Errors
    /// When nobody listens any more, or does not read.
    pub fn tell(&self, lines: &[&str]) -> io::Result<()> {
        let (Some(socket), Some(address)) = (&self.socket, &self.address) else { return Ok(()) };
        socket.send_to_addr(lines.join("\n").as_bytes(), address).map(drop)
    }
}
