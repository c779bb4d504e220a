//! Addresses to listen on, in Gunicorn's grammar.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The port when an address names none, as in Gunicorn.
const DEFAULT_PORT: u16 = 8000;
/// The host when an address names none (`:8000`), as in Gunicorn.
const DEFAULT_HOST: &str = "0.0.0.0";

/// One address to listen on.
///
/// Text forms: `HOST`, `HOST:PORT`, `[V6]`, `[V6]:PORT`, `:PORT` (all IPv4 interfaces),
/// `tcp://HOST:PORT`, `unix:PATH`, `unix://PATH`, `fd://N`. `Display` writes a form that parses
/// back to the same address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum BindAddress {
    /// A TCP socket. `host` is a name or an address, in lower case, IPv6 without brackets.
    Tcp {
        /// Name or address.
        host: String,
        /// 0 lets the kernel choose.
        port: u16,
    },
    /// A Unix stream socket.
    Unix {
        /// Where the socket file is made.
        path: PathBuf,
    },
    /// A listening socket inherited from the parent process.
    Fd {
        /// The descriptor's number, 3 or above.
        fd: i32,
    },
}

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// What follows the last colon is not a number from 0 to 65535.
    Port,
    /// `fd://` without a number of 3 or above.
    Fd,
    /// `unix:` without a path.
    EmptyPath,
    /// An IPv6 address with a port needs brackets, and a bracket must be closed.
    Brackets,
    /// `ftp://…`: only tcp, unix and fd are known.
    Scheme,
    /// A number alone: a port somebody meant, and an address in the resolver's eyes.
    BarePort,
    /// A space or another character that no host name has.
    Host,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Port => "the port must be a number from 0 to 65535",
            Self::Fd => "fd:// must be followed by a descriptor's number, 3 or above",
            Self::EmptyPath => "unix: must be followed by a path",
            Self::Brackets => "an IPv6 address is written in brackets: [::1]:8000",
            Self::Scheme => "an address starts with tcp://, unix: or fd://, or with the host",
            Self::BarePort => "a port alone is written with a colon, :8000",
            Self::Host => "a host name has letters, digits, dots, hyphens and underscores only",
        })
    }
}

impl FromStr for BindAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if let Some(path) = strip_prefix_caseless(text, "unix:") {
            return unix(path.strip_prefix("//").unwrap_or(path));
        }
        if let Some(number) = strip_prefix_caseless(text, "fd://") {
            return inherited(number);
        }
        let rest = strip_prefix_caseless(text, "tcp://").unwrap_or(text);
        if rest.contains("://") {
            return Err(AddressError::Scheme);
        }
        tcp(rest)
    }
}

fn strip_prefix_caseless<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

fn unix(path: &str) -> Result<BindAddress, AddressError> {
    if path.is_empty() {
        return Err(AddressError::EmptyPath);
    }
    Ok(BindAddress::Unix { path: PathBuf::from(path) })
}

/// 0, 1 and 2 are the standard streams: never a listening socket somebody meant to pass.
fn inherited(number: &str) -> Result<BindAddress, AddressError> {
    match number.parse::<i32>() {
        Ok(fd) if fd >= 3 && digits_only(number) => Ok(BindAddress::Fd { fd }),
        _ => Err(AddressError::Fd),
    }
}

fn tcp(text: &str) -> Result<BindAddress, AddressError> {
    let (host, port) = host_and_port(text, DEFAULT_PORT)?;
    let host = if host.is_empty() { DEFAULT_HOST.to_owned() } else { host };
    Ok(BindAddress::Tcp { host, port })
}

/// `HOST`, `HOST:PORT`, `[V6]`, `[V6]:PORT`. The host is in lower case, without brackets, and may be
/// empty.
pub(super) fn host_and_port(text: &str, default_port: u16) -> Result<(String, u16), AddressError> {
    let (host, port) = if let Some(inside) = text.strip_prefix('[') {
        let (host, after) = inside.split_once(']').ok_or(AddressError::Brackets)?;
        if !host.contains(':') {
            return Err(AddressError::Brackets);
        }
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(AddressError::Brackets),
        }
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(AddressError::Brackets),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = port.map_or(Ok(default_port), parse_port)?;
    let host = host.to_ascii_lowercase();
    if digits_only(&host) {
        return Err(AddressError::BarePort);
    }
    if !host.chars().all(is_host_character) {
        return Err(AddressError::Host);
    }
    Ok((host, port))
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    if !digits_only(text) {
        return Err(AddressError::Port);
    }
    text.parse().map_err(|_| AddressError::Port)
}

/// Rust's number parser also takes `+80`, which nobody means.
fn digits_only(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `:` and `%` are for IPv6 addresses and their zones.
fn is_host_character(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '.' | '-' | '_' | ':' | '%')
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            // Two slashes after `unix:` are taken for part of the prefix.
            Self::Unix { path } if path.as_os_str().as_encoded_bytes().starts_with(b"//") => {
                write!(f, "unix://{}", path.display())
            }
            Self::Unix { path } => write!(f, "unix:{}", path.display()),
            Self::Fd { fd } => write!(f, "fd://{fd}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<BindAddress, AddressError> {
        text.parse()
    }

    fn tcp(host: &str, port: u16) -> Result<BindAddress, AddressError> {
        Ok(BindAddress::Tcp { host: host.to_owned(), port })
    }

    #[test]
    fn tcp_addresses_follow_gunicorns_grammar() {
        assert_eq!(parse("127.0.0.1:80"), tcp("127.0.0.1", 80));
        assert_eq!(parse("LocalHost"), tcp("localhost", 8000));
        assert_eq!(parse(":8080"), tcp("0.0.0.0", 8080));
        assert_eq!(parse(""), tcp("0.0.0.0", 8000));
        assert_eq!(parse("[::1]:0"), tcp("::1", 0));
        assert_eq!(parse("[::]"), tcp("::", 8000));
        assert_eq!(parse("TCP://app.local:81"), tcp("app.local", 81));
    }

    #[test]
    fn unix_sockets_and_inherited_ones_have_a_prefix() {
        let unix = |path: &str| Ok(BindAddress::Unix { path: path.into() });
        assert_eq!(parse("unix:/run/a.sock"), unix("/run/a.sock"));
        assert_eq!(parse("unix:///run/a.sock"), unix("/run/a.sock"));
        assert_eq!(parse("unix:a:b"), unix("a:b"));
        assert_eq!(parse(&parse("unix:////a").unwrap().to_string()), unix("//a"));
        assert_eq!(parse("fd://3"), Ok(BindAddress::Fd { fd: 3 }));
    }

    #[test]
    fn what_is_no_address_says_why() {
        assert_eq!(parse("host:"), Err(AddressError::Port));
        assert_eq!(parse("host:65536"), Err(AddressError::Port));
        assert_eq!(parse("host:+80"), Err(AddressError::Port));
        assert_eq!(parse("::1"), Err(AddressError::Brackets));
        assert_eq!(parse("[::1"), Err(AddressError::Brackets));
        assert_eq!(parse("[host]:80"), Err(AddressError::Brackets));
        assert_eq!(parse("8000"), Err(AddressError::BarePort));
        assert_eq!(parse("unix:"), Err(AddressError::EmptyPath));
        assert_eq!(parse("fd://0"), Err(AddressError::Fd));
        assert_eq!(parse("http://host:80"), Err(AddressError::Scheme));
        assert_eq!(parse("a b:80"), Err(AddressError::Host));
        assert_eq!(parse("host/path:80"), Err(AddressError::Host));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = parse(&text);
        }

        #[test]
        fn a_written_address_reads_as_the_same(
            text in "(tcp://|unix:|unix://|fd://)?[a-zA-Z0-9.:%/\\[\\]-]{0,12}(:[0-9]{1,5})?"
        ) {
            if let Ok(address) = parse(&text) {
                prop_assert_eq!(parse(&address.to_string()), Ok(address));
            }
        }
    }
}
