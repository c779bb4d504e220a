//! Who is at the other end of a connection.

use std::net::IpAddr;

/// The other end of a connection, as the peer's address or a PROXY header names it.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// Which listener it came in by.
    pub(super) listener: u16,
    /// Its address, a PROXY header's where there is one; `None` for a Unix socket.
    pub(super) ip: Option<IpAddr>,
    /// The same as text; empty for a Unix socket.
    pub(super) address: String,
    pub(super) port: u16,
    /// What a PROXY header said beside that; empty without one.
    pub(super) proxied: String,
    /// Whether the peer is a proxy that may say what its clients are.
    pub(super) trusted: bool,
}
