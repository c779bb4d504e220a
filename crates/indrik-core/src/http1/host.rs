//! Whom a request is for: `Host`, and the authority of a target in absolute form (RFC 9110 sections
//! 4.2 and 7.2, RFC 3986 section 3.2).

use std::net::Ipv6Addr;

use super::token::letters_digits_and;

/// Digits of a port.
const PORT_DIGITS_MAX: usize = 5;

/// A host and perhaps a port, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// With its brackets, if it is an address in brackets.
    name: &'a [u8],
    /// `None`: not told, as in `a` and `a:`.
    port: Option<u16>,
}

impl<'a> Host<'a> {
    /// `uri-host [ ":" port ]`, without user information; `None` if it is anything else.
    #[must_use]
    pub fn parse(host: &'a [u8]) -> Option<Self> {
        let end = match host.first()? {
            b'[' => memchr::memchr(b']', host)? + 1,
            _ => memchr::memchr(b':', host).unwrap_or(host.len()),
        };
        let (name, rest) = host.split_at(end);
        let is_valid = match name {
            [b'[', address @ .., b']'] => is_address(address),
            name => is_name(name),
        };
        let port = match rest.split_first() {
            None | Some((b':', [])) => None,
            Some((b':', digits)) => Some(port(digits)?),
            Some(_) => return None,
        };
        is_valid.then_some(Self { name, port })
    }

    /// Whether both name the same server: case does not matter, nor whether the port that belongs to
    /// the scheme is told.
    #[must_use]
    pub fn is_same(&self, other: &Self, default_port: u16) -> bool {
        let port = |host: &Self| host.port.unwrap_or(default_port);
        self.name.eq_ignore_ascii_case(other.name) && port(self) == port(other)
    }
}

fn port(digits: &[u8]) -> Option<u16> {
    if digits.len() > PORT_DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u32, |number, digit| number * 10 + u32::from(digit - b'0'));
    u16::try_from(number).ok()
}

/// `reg-name`, of which an IPv4 address is one: a `%` stands before two hexadecimal digits only.
fn is_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let Some(at) = rest.iter().position(|byte| !is_host_byte(*byte)) {
        let [b'%', high, low, behind @ ..] = &rest[at..] else { return false };
        if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
            return false;
        }
        rest = behind;
    }
    !name.is_empty()
}

/// What may stand in brackets: an IPv6 address, or one of a version to come.
fn is_address(address: &[u8]) -> bool {
    if let [b'v' | b'V', rest @ ..] = address {
        let Some(dot) = memchr::memchr(b'.', rest) else { return false };
        let (version, address) = (&rest[..dot], &rest[dot + 1..]);
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address.iter().all(|byte| is_host_byte(*byte) || *byte == b':');
    }
    std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// `unreserved` and `sub-delims`. A table: every request names its host.
static HOST: [bool; 256] = letters_digits_and(b"-._~!$&'()*+,;=");

const fn is_host_byte(byte: u8) -> bool {
    HOST[byte as usize]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in [
            "a",
            "example.org",
            "example.org:8000",
            "127.0.0.1",
            "[::1]",
            "[::1]:80",
            "[::ffff:1.2.3.4]",
            "[v1.a:b]",
            "a:",
            "a%20b",
            "a%C3%a9:65535",
            "under_score~tilde",
        ] {
            assert!(Host::parse(host.as_bytes()).is_some(), "{host}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in [
            "",
            ":80",
            "user@a",
            "user:password@a",
            "a/b",
            "a?b",
            "a#b",
            "a b",
            "a:b",
            "a:123456",
            "a:65536",
            "a:+1",
            "[::1",
            "[]",
            "[::1]x",
            "[zz]",
            "[::1%25eth0]",
            "[1.2.3.4]",
            "[v.a]",
            "[v1.]",
            "[vg.a]",
            "a%",
            "a%4",
            "a%zz",
            "a%2",
            "%",
            "a[",
            "a]",
            "a\"b",
            "a<b",
            "a\\b",
            "a,b c",
            "caf\u{e9}",
        ] {
            assert_eq!(Host::parse(host.as_bytes()), None, "{host}");
        }
    }

    #[test]
    fn the_same_server_may_be_written_in_several_ways() {
        let same = |one: &str, other: &str| {
            let parse = |host: &'static str| Host::parse(host.as_bytes()).expect("a host");
            let (one, other) = (one.to_owned().leak(), other.to_owned().leak());
            parse(one).is_same(&parse(other), 80)
        };
        for (one, other) in [("a", "A"), ("a:80", "a"), ("a:", "a:80"), ("[::1]", "[::1]:80")] {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [("a", "b"), ("a", "a:8080"), ("a:1", "a:2"), ("a", "a.")] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    proptest! {
        /// What is taken apart can be put together again, and nothing of it is white space, a slash
        /// or an `@`.
        #[test]
        fn a_host_has_nothing_that_could_end_it(host in "[a-zA-Z0-9.:@%/\\[\\] _-]{0,12}") {
            if let Some(parsed) = Host::parse(host.as_bytes()) {
                prop_assert!(host.as_bytes().starts_with(parsed.name));
                prop_assert!(!host.contains(['@', '/', ' ']));
            }
        }
    }
}
