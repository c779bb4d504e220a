//! The PROXY protocol, versions 1 and 2: what a proxy says about a connection before its first byte.
//!
//! The published description is followed, in its strict reading: of the addresses TCP over IPv4 and IPv6
//! are taken, what says nothing about a client (`UNKNOWN`, `LOCAL`, `UNSPEC`) or is of no use here (UDP,
//! Unix sockets) leaves the connection's own address in force, everything else is malformed. Of the
//! extensions (TLVs) the checksum is compared, the others are skipped; all must end where the header does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::extensions;
use super::malformed::Malformed;

/// What a version 2 header begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What a version 1 header begins with.
const WORD: &[u8] = b"PROXY ";
/// Bytes of a version 1 header, its line end included; the description's own limit.
const LINE_BYTES_MAX: usize = 107;
/// Bytes of a version 2 header in front of the addresses.
const FIXED_BYTES: usize = 16;
/// Bytes of a version 2 header: addresses and extensions; a client's certificate may be among them.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Which versions are understood; the others are taken for the first bytes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Accepts {
    V1,
    V2,
    Both,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How the client came.
    pub transport: Transport,
    /// The connection between client and proxy; `None` when the proxy does not tell.
    pub ends: Option<Ends>,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

/// How the client came to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// Version 1: not told.
    Unknown,
    /// Version 2: not told, or neither TCP over IPv4 nor over IPv6.
    Unspec,
    /// Version 2: the proxy itself, for a health check.
    Local,
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Perhaps the beginning of a header: more bytes are needed.
    Incomplete,
    /// No header.
    Absent,
    /// The first `len` bytes are a header.
    Header {
        /// Bytes of it.
        len: usize,
        /// What it says.
        header: Header,
    },
}

impl Transport {
    /// As Gunicorn calls it in `PROXY_PROTOCOL`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp4 => "TCP4",
            Self::Tcp6 => "TCP6",
            Self::Unknown => "UNKNOWN",
            Self::Unspec => "UNSPEC",
            Self::Local => "LOCAL",
        }
    }
}

/// Looks at all bytes that a connection has brought so far.
///
/// # Errors
/// When they begin as a header and are none.
pub fn read_header(bytes: &[u8], accepts: Accepts) -> Result<Found, Malformed> {
    let mut incomplete = false;
    if accepts != Accepts::V1 {
        if bytes.starts_with(&SIGNATURE) {
            return read_v2(bytes);
        }
        incomplete |= SIGNATURE.starts_with(bytes);
    }
    if accepts != Accepts::V2 {
        if bytes.starts_with(WORD) {
            return read_v1(bytes);
        }
        incomplete |= WORD.starts_with(bytes);
    }
    Ok(if incomplete { Found::Incomplete } else { Found::Absent })
}

fn read_v1(bytes: &[u8]) -> Result<Found, Malformed> {
    let seen = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', seen) else {
        let full = seen.len() == LINE_BYTES_MAX;
        return if full { Err(Malformed::LineTooLong) } else { Ok(Found::Incomplete) };
    };
    let line = seen[..end].strip_suffix(b"\r").ok_or(Malformed::Line)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed::Line)?;
    Ok(Found::Header { len: end + 1, header: parse_line(line)? })
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443`
fn parse_line(line: &str) -> Result<Header, Malformed> {
    let mut words = line.split(' ').skip(1);
    let transport = match words.next() {
        Some("TCP4") => Transport::Tcp4,
        Some("TCP6") => Transport::Tcp6,
        // Whatever else the line says is to be ignored.
        Some("UNKNOWN") => return Ok(Header { transport: Transport::Unknown, ends: None }),
        _ => return Err(Malformed::Protocol),
    };
    let mut word = || words.next().ok_or(Malformed::Line);
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (word()?, word()?);
    if word().is_ok() {
        return Err(Malformed::Line);
    }
    let end = |address, port| Ok(SocketAddr::new(parse_ip(transport, address)?, parse_port(port)?));
    let ends = Ends {
        source: end(source, source_port)?,
        destination: end(destination, destination_port)?,
    };
    Ok(Header { transport, ends: Some(ends) })
}

fn parse_ip(transport: Transport, text: &str) -> Result<IpAddr, Malformed> {
    let address = match transport {
        Transport::Tcp4 => text.parse::<Ipv4Addr>().map(IpAddr::V4),
        _ => text.parse::<Ipv6Addr>().map(IpAddr::V6),
    };
    address.map_err(|_| Malformed::Address)
}

fn parse_port(text: &str) -> Result<u16, Malformed> {
    let has_leading_zero = text.len() > 1 && text.starts_with('0');
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || has_leading_zero {
        return Err(Malformed::Port);
    }
    text.parse().map_err(|_| Malformed::Port)
}

fn read_v2(bytes: &[u8]) -> Result<Found, Malformed> {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED_BYTES) else {
        // What is here may be wrong already.
        check_command(bytes.get(SIGNATURE.len()).copied())?;
        return Ok(Found::Incomplete);
    };
    let command = check_command(Some(fixed[12]))?;
    let len = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if FIXED_BYTES + len > HEADER_BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    let Some(data) = rest.get(..len) else { return Ok(Found::Incomplete) };
    let len = FIXED_BYTES + len;
    let header = if command == Some(LOCAL) {
        // Everything else is to be ignored.
        Header { transport: Transport::Local, ends: None }
    } else {
        parse_addresses(fixed[13], data, &bytes[..len])?
    };
    Ok(Found::Header { len, header })
}

/// The command of a connection that the proxy made for itself.
const LOCAL: u8 = 0;
/// The command of a connection that the proxy made for a client.
const PROXY: u8 = 1;

/// Version and command stand in one byte.
fn check_command(byte: Option<u8>) -> Result<Option<u8>, Malformed> {
    let Some(byte) = byte else { return Ok(None) };
    if byte >> 4 != 2 {
        return Err(Malformed::Version);
    }
    match byte & 0x0f {
        command @ (LOCAL | PROXY) => Ok(Some(command)),
        _ => Err(Malformed::Command),
    }
}

/// Bytes of two IPv4 addresses and ports.
const V4_BYTES: usize = 12;
/// Bytes of two IPv6 addresses and ports.
const V6_BYTES: usize = 36;
/// Bytes of two paths.
const UNIX_BYTES: usize = 216;

/// The addresses behind the fixed part of `header`, and the extensions behind those.
fn parse_addresses(family: u8, data: &[u8], header: &[u8]) -> Result<Header, Malformed> {
    let len = match family {
        // Nothing is known of what follows.
        0x00 => return Ok(Header { transport: Transport::Unspec, ends: None }),
        0x11 | 0x12 => V4_BYTES,
        0x21 | 0x22 => V6_BYTES,
        0x31 | 0x32 => UNIX_BYTES,
        _ => return Err(Malformed::Family),
    };
    let (addresses, extensions) = data.split_at_checked(len).ok_or(Malformed::TooShort)?;
    extensions::check(header, extensions)?;
    match family {
        0x11 => {
            let (source, rest) = take::<4>(addresses)?;
            let (destination, rest) = take::<4>(rest)?;
            ends(Transport::Tcp4, Ipv4Addr::from(source), Ipv4Addr::from(destination), rest)
        }
        0x21 => {
            let (source, rest) = take::<16>(addresses)?;
            let (destination, rest) = take::<16>(rest)?;
            ends(Transport::Tcp6, Ipv6Addr::from(source), Ipv6Addr::from(destination), rest)
        }
        _ => Ok(Header { transport: Transport::Unspec, ends: None }),
    }
}

fn ends(
    transport: Transport,
    source: impl Into<IpAddr>,
    destination: impl Into<IpAddr>,
    ports: &[u8],
) -> Result<Header, Malformed> {
    let (source_port, rest) = take::<2>(ports)?;
    let (destination_port, _) = take::<2>(rest)?;
    let ends = Ends {
        source: SocketAddr::new(source.into(), u16::from_be_bytes(source_port)),
        destination: SocketAddr::new(destination.into(), u16::from_be_bytes(destination_port)),
    };
    Ok(Header { transport, ends: Some(ends) })
}

fn take<const LEN: usize>(bytes: &[u8]) -> Result<([u8; LEN], &[u8]), Malformed> {
    bytes.split_first_chunk().map(|(first, rest)| (*first, rest)).ok_or(Malformed::TooShort)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, data: &[u8]) -> Vec<u8> {
        let len = u16::try_from(data.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, data].concat()
    }

    fn header(bytes: &[u8]) -> Header {
        match read_header(bytes, Accepts::Both).unwrap() {
            Found::Header { len, header } => {
                assert_eq!(len, bytes.len());
                header
            }
            other => panic!("{other:?}"),
        }
    }

    fn source(bytes: &[u8]) -> Option<String> {
        header(bytes).ends.map(|ends| ends.source.to_string())
    }

    #[test]
    fn both_versions_carry_the_clients_address() {
        let line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n";
        assert_eq!(source(line).as_deref(), Some("192.168.0.1:56324"));
        let line = b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n";
        assert_eq!(source(line).as_deref(), Some("[2001:db8::1]:56324"));
        let v4 = [192, 168, 0, 1, 192, 168, 0, 11, 0x1f, 0x90, 1, 0xbb];
        assert_eq!(source(&v2(0x21, 0x11, &v4)).as_deref(), Some("192.168.0.1:8080"));
        let mut v6 = [0; 36];
        (v6[15], v6[31], v6[33]) = (1, 2, 80);
        assert_eq!(source(&v2(0x21, 0x21, &v6)).as_deref(), Some("[::1]:80"));
    }

    #[test]
    fn the_ports_may_be_0() {
        let line = b"PROXY TCP4 192.168.0.1 192.168.0.11 0 0\r\n";
        assert_eq!(source(line).as_deref(), Some("192.168.0.1:0"));
    }

    #[test]
    fn extensions_are_skipped() {
        let data = [&[10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2][..], b"\x04\x00\x02ab"].concat();
        assert_eq!(source(&v2(0x21, 0x11, &data)).as_deref(), Some("10.0.0.1:1"));
    }

    #[test]
    fn what_says_nothing_about_the_client_is_accepted() {
        for (bytes, transport) in [
            (b"PROXY UNKNOWN\r\n".to_vec(), Transport::Unknown),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), Transport::Unknown),
            (v2(0x20, 0x00, b""), Transport::Local),
            (v2(0x20, 0x11, &[0; 12]), Transport::Local),
            (v2(0x21, 0x00, b"abc"), Transport::Unspec),
            (v2(0x21, 0x12, &[0; 12]), Transport::Unspec),
            (v2(0x21, 0x22, &[0; 36]), Transport::Unspec),
            (v2(0x21, 0x31, &[0; 216]), Transport::Unspec),
            (v2(0x21, 0x32, &[0; 216]), Transport::Unspec),
        ] {
            assert_eq!(header(&bytes), Header { transport, ends: None }, "{bytes:?}");
        }
    }

    #[test]
    fn requests_are_told_from_headers_by_their_first_bytes() {
        for (bytes, accepts, found) in [
            (&b"GET / HTTP/1.1\r\n"[..], Accepts::Both, Found::Absent),
            (b"PUT", Accepts::Both, Found::Absent),
            (b"P", Accepts::Both, Found::Incomplete),
            (b"P", Accepts::V2, Found::Absent),
            (b"\r\nGET", Accepts::Both, Found::Absent),
            (b"\r\n", Accepts::Both, Found::Incomplete),
            (b"\r\n", Accepts::V1, Found::Absent),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", Accepts::V2, Found::Absent),
            (&SIGNATURE, Accepts::V1, Found::Absent),
            (&SIGNATURE, Accepts::V2, Found::Incomplete),
        ] {
            assert_eq!(read_header(bytes, accepts), Ok(found), "{bytes:?}");
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        for (bytes, malformed) in [
            (b"PROXY TCP4 192.168.0.1 192.16...\r\n".to_vec(), Malformed::Line),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 65iii 1\r\n".to_vec(), Malformed::Port),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n".to_vec(), Malformed::Port),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n".to_vec(), Malformed::Port),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n".to_vec(), Malformed::Port),
            (b"PROXY TCP6 ::1 ::2 1 00\r\n".to_vec(), Malformed::Port),
            (b"PROXY TCP4 a 2.2.2.2 1 2\r\n".to_vec(), Malformed::Address),
            (b"PROXY TCP4 ::1 ::2 1 2\r\n".to_vec(), Malformed::Address),
            (b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n".to_vec(), Malformed::Address),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n".to_vec(), Malformed::Line),
            (b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n".to_vec(), Malformed::Line),
            (b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n".to_vec(), Malformed::Protocol),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n".to_vec(), Malformed::Line),
            ([b"PROXY UNKNOWN ", &[b'a'; 100][..]].concat(), Malformed::LineTooLong),
            (v2(0x11, 0x11, &[0; 12]), Malformed::Version),
            (v2(0x22, 0x11, &[0; 12]), Malformed::Command),
            (v2(0x21, 0x10, &[0; 12]), Malformed::Family),
            (v2(0x21, 0x01, &[0; 12]), Malformed::Family),
            (v2(0x21, 0x41, &[0; 216]), Malformed::Family),
            (v2(0x21, 0x32, &[0; 215]), Malformed::TooShort),
            (v2(0x21, 0x11, &[0; 14]), Malformed::Extension),
            (v2(0x21, 0x22, &[&[0; 36][..], b"\x04\0\x03ab"].concat()), Malformed::Extension),
            (v2(0x21, 0x11, &[0; 11]), Malformed::TooShort),
            (v2(0x21, 0x21, &[0; 35]), Malformed::TooShort),
            (v2(0x21, 0x11, &[0; HEADER_BYTES_MAX]), Malformed::TooLong),
        ] {
            let name = String::from_utf8_lossy(&bytes).into_owned();
            assert_eq!(read_header(&bytes, Accepts::Both), Err(malformed), "{name:?}");
        }
    }

    #[test]
    fn a_checksum_covers_every_byte_of_the_header() {
        let v4 = [192, 168, 0, 1, 192, 168, 0, 11, 0x1f, 0x90, 1, 0xbb];
        let data = [&v4[..], b"\x02\0\x01a\x03\0\x04\0\0\0\0\x04\0\x01b"].concat();
        let mut bytes = v2(0x21, 0x11, &data);
        let at = FIXED_BYTES + V4_BYTES + 4 + 3;
        let sum = extensions::crc32c(&bytes);
        bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(source(&bytes).as_deref(), Some("192.168.0.1:8080"));
        // But the one that says that it is a checksum.
        for byte in (FIXED_BYTES..bytes.len()).filter(|byte| *byte != at - 3) {
            let mut changed = bytes.clone();
            changed[byte] ^= 1;
            assert!(read_header(&changed, Accepts::Both).is_err(), "byte {byte}");
        }
    }

    fn headers() -> impl Strategy<Value = Vec<u8>> {
        let line = "PROXY (TCP4|TCP6|UNKNOWN|X) [0-9a-f.: ]{0,60}\r\n".prop_map(String::into_bytes);
        let data = prop::collection::vec(any::<u8>(), 0..60);
        let binary = (prop::sample::select(vec![0x20, 0x21, 0x22, 0x11]), any::<u8>(), data);
        prop_oneof![
            line,
            binary.prop_map(|(command, family, data)| v2(command, family & 0x33, &data)),
            prop::collection::vec(any::<u8>(), 0..40),
        ]
    }

    proptest! {
        /// However the network cuts the bytes, the verdict is the same: what is not complete is said
        /// to be so, and bytes behind a header change nothing.
        #[test]
        fn the_verdict_does_not_depend_on_how_many_bytes_are_here(
            bytes in headers(),
            behind in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let all = [bytes, behind].concat();
            let whole = read_header(&all, Accepts::Both);
            let mut verdict = Ok(Found::Incomplete);
            for len in 0..=all.len() {
                verdict = read_header(&all[..len], Accepts::Both);
                if verdict != Ok(Found::Incomplete) {
                    break;
                }
            }
            prop_assert_eq!(verdict, whole);
            if let Ok(Found::Header { len, header }) = whole {
                prop_assert!(len <= all.len());
                prop_assert_eq!(
                    header.ends.is_some(),
                    matches!(header.transport, Transport::Tcp4 | Transport::Tcp6)
                );
            }
        }
    }
}
