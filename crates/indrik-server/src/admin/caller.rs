//! Who is at the other end of a connection.

use std::fmt;
use std::net::IpAddr;

use indrik_core::admin::access::From;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) from: From,
    /// Its address, if it has one.
    pub(crate) ip: Option<IpAddr>,
    /// Its user, on a Unix socket.
    pub(crate) uid: Option<u32>,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip, self.uid) {
            (Some(ip), _) => ip.fmt(f),
            (None, Some(uid)) => write!(f, "user {uid}"),
            (None, None) => f.write_str("somebody of this machine"),
        }
    }
}
