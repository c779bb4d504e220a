//! Where log and metric servers listen: `syslog_addr` and `statsd_host`, in Gunicorn's grammar.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::address::{AddressError, host_and_port};

/// StatsD's port, as every StatsD server has it.
const STATSD_PORT: u16 = 8125;
/// The port of syslog (RFC 5426).
const SYSLOG_PORT: u16 = 514;

/// A StatsD server, spoken to in datagrams.
///
/// Text forms: `HOST`, `HOST:PORT`, `[V6]:PORT`, `udp://…`, `unix:PATH`, `unix://PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum StatsdAddress {
    /// Over UDP.
    Udp {
        /// Name or address, IPv6 without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A Unix datagram socket.
    Unix {
        /// The socket's file.
        path: PathBuf,
    },
}

/// A syslog server.
///
/// Text forms: `udp://HOST[:PORT]`, `tcp://HOST[:PORT]`, `unix://PATH[#stream | #dgram]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum SyslogAddress {
    /// Datagrams.
    Udp {
        /// Name or address, IPv6 without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A stream.
    Tcp {
        /// Name or address, IPv6 without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A Unix socket.
    Unix {
        /// The socket's file.
        path: PathBuf,
        /// Stream or datagrams; `None` tries datagrams first, as Python's handler does.
        stream: Option<bool>,
    },
}

impl FromStr for StatsdAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let is_port = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(rest) = text.strip_prefix("unix:")
            // A host called unix has a port; a socket has a path.
            && (rest.is_empty() || !is_port(rest))
        {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            return unix_path(path).map(|path| Self::Unix { path });
        }
        let rest = text.strip_prefix("udp://").unwrap_or(text);
        let (host, port) = network_host(rest, STATSD_PORT)?;
        Ok(Self::Udp { host, port })
    }
}

impl FromStr for SyslogAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(rest) = text.strip_prefix("unix://") {
            let (path, stream) = match rest.split_once('#') {
                Some((path, "stream")) => (path, Some(true)),
                Some((path, "dgram")) => (path, Some(false)),
                Some(_) => return Err(AddressError::Scheme),
                None => (rest, None),
            };
            return unix_path(path).map(|path| Self::Unix { path, stream });
        }
        let (rest, is_tcp) = match (text.strip_prefix("udp://"), text.strip_prefix("tcp://")) {
            (Some(rest), _) => (rest, false),
            (_, Some(rest)) => (rest, true),
            (None, None) => return Err(AddressError::Scheme),
        };
        let (host, port) = network_host(rest, SYSLOG_PORT)?;
        Ok(if is_tcp { Self::Tcp { host, port } } else { Self::Udp { host, port } })
    }
}

fn unix_path(path: &str) -> Result<PathBuf, AddressError> {
    if path.is_empty() { Err(AddressError::EmptyPath) } else { Ok(PathBuf::from(path)) }
}

/// A server is spoken to, so nothing stands for this machine and not for all its interfaces.
fn network_host(text: &str, default_port: u16) -> Result<(String, u16), AddressError> {
    if text.contains("://") {
        return Err(AddressError::Scheme);
    }
    let (host, port) = host_and_port(text, default_port)?;
    Ok((if host.is_empty() { "localhost".to_owned() } else { host }, port))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for StatsdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp { host, port } => write!(f, "{}:{port}", bracketed(host)),
            Self::Unix { path } => write!(f, "unix://{}", path.display()),
        }
    }
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp { host, port } => write!(f, "udp://{}:{port}", bracketed(host)),
            Self::Tcp { host, port } => write!(f, "tcp://{}:{port}", bracketed(host)),
            Self::Unix { path, stream } => {
                let end = match stream {
                    Some(true) => "#stream",
                    Some(false) => "#dgram",
                    None => "",
                };
                write!(f, "unix://{}{end}", path.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statsd_addresses_follow_gunicorns_grammar() {
        let udp = |host: &str, port| Ok(StatsdAddress::Udp { host: host.to_owned(), port });
        let unix = |path: &str| Ok(StatsdAddress::Unix { path: path.into() });
        assert_eq!("localhost:9".parse(), udp("localhost", 9));
        assert_eq!("stats".parse(), udp("stats", 8125));
        assert_eq!("[::1]:9".parse(), udp("::1", 9));
        assert_eq!("unix:8125".parse(), udp("unix", 8125));
        assert_eq!("unix:///run/statsd".parse(), unix("/run/statsd"));
        assert_eq!("unix:/run/statsd".parse(), unix("/run/statsd"));
        assert_eq!("host:port".parse::<StatsdAddress>(), Err(AddressError::Port));
    }

    #[test]
    fn syslog_addresses_follow_gunicorns_grammar() {
        let shown = |text: &str| text.parse::<SyslogAddress>().unwrap().to_string();
        assert_eq!(shown("udp://localhost"), "udp://localhost:514");
        assert_eq!(shown("udp://"), "udp://localhost:514");
        assert_eq!(shown("tcp://[::1]:601"), "tcp://[::1]:601");
        assert_eq!(shown("unix:///dev/log"), "unix:///dev/log");
        assert_eq!(shown("unix:///dev/log#stream"), "unix:///dev/log#stream");
        for text in ["localhost:514", "unix:///dev/log#other", "http://a", ""] {
            assert_eq!(text.parse::<SyslogAddress>(), Err(AddressError::Scheme), "{text}");
        }
    }
}
