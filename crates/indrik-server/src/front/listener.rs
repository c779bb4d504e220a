//! A bound socket that the front accepts from.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A listening socket as the front is given it.
#[derive(Debug)]
pub struct Listening {
    /// The socket.
    pub socket: Listener,
    /// What its requests are marked with; never used for another one.
    pub number: u16,
    /// Another process accepts from the same socket: its queue is not ours to close.
    pub shared: Arc<AtomicBool>,
}

/// A bound, listening socket. What is bound where is `boot`'s business.
#[derive(Debug)]
pub enum Listener {
    /// TCP, IPv4 or IPv6.
    Tcp(TcpListener),
    /// A Unix socket, with its path as shown to the application.
    Unix(UnixListener, String),
}

impl Listener {
    /// Another handle on the same socket.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket, path) => Self::Unix(socket.try_clone()?, path.clone()),
        })
    }

    /// What the application sees as SERVER_NAME and SERVER_PORT: host and port, or the path.
    #[must_use]
    pub fn server(&self) -> (String, Option<u16>) {
        match self {
            Self::Tcp(socket) => match socket.local_addr() {
                Ok(address) => (address.ip().to_string(), Some(address.port())),
                Err(_) => (String::new(), None),
            },
            Self::Unix(_, path) => (path.clone(), None),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(socket) => match socket.local_addr() {
                Ok(address) => write!(f, "http://{address}"),
                Err(_) => f.write_str("http://?"),
            },
            Self::Unix(_, path) => write!(f, "unix:{path}"),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket, _) => socket.as_fd(),
        }
    }
}
