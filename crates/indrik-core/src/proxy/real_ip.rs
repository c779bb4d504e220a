//! The client behind trusted proxies, from `X-Forwarded-For` or `Forwarded` (RFC 7239).
//!
//! Each proxy appends the address it was connected from, so the list is read from its end: as long as
//! an address is that of a trusted proxy, what that proxy appended is believed. The first other
//! address is the client. What lies in front of it the client wrote itself, so it is never looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that are looked at, over all fields of a request.
const HOPS_MAX: usize = 64;

/// The header that carries addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `X-Forwarded-For: 192.0.2.1, 10.0.0.1`
    XForwardedFor,
    /// `Forwarded: for=192.0.2.1;proto=https, for="[2001:db8::1]:80"`
    Forwarded,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The address.
    pub address: IpAddr,
    /// The port; 0 when it was not told.
    pub port: u16,
}

/// The client of a request; `None`: the peer itself, or a proxy's word for it is missing.
///
/// `fields` are the header's values in the order they came, `peer` the address of the connection
/// (`None` for a Unix socket, which is trusted).
pub fn client<'a>(
    source: Source,
    fields: impl DoubleEndedIterator<Item = &'a [u8]>,
    peer: Option<IpAddr>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Option<Hop> {
    if !peer.is_none_or(&is_trusted) {
        return None;
    }
    let mut last = None;
    let mut hops = 0;
    for field in fields.rev() {
        let found = match source {
            Source::XForwardedFor => {
                elements(field.split(|byte| *byte == b',')).map(parse_node).collect::<Vec<_>>()
            }
            Source::Forwarded => elements(split_quoted(field, b',')).map(parse_for).collect(),
        };
        for hop in found.into_iter().rev() {
            hops += 1;
            // A proxy that does not say where it was connected from is the end of what is known.
            let Some(hop) = hop else { return last };
            last = Some(hop);
            if hops == HOPS_MAX || !is_trusted(hop.address) {
                return last;
            }
        }
    }
    last
}

/// The elements of a list, empty ones left out.
fn elements<'a>(parts: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    parts.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Splits at separators that stand in no quoted string.
fn split_quoted(bytes: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    bytes.split(move |byte| {
        let was_escaped = escaped;
        escaped = quoted && !was_escaped && *byte == b'\\';
        quoted ^= *byte == b'"' && !was_escaped;
        *byte == separator && !quoted
    })
}

/// The `for` of an element of `Forwarded`. Everything in the element must be well-formed: a quote that
/// a client left open in what it sent would otherwise swallow what a proxy appended.
fn parse_for(element: &[u8]) -> Option<Hop> {
    let mut found = None;
    for pair in split_quoted(element, b';').map(<[u8]>::trim_ascii) {
        let at = memchr::memchr(b'=', pair)?;
        let (name, value) = (&pair[..at], unquoted(&pair[at + 1..])?);
        if name.contains(&b'"') {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") && found.replace(value).is_some() {
            return None;
        }
    }
    parse_node(found?)
}

/// A value without the quotes around it, which it must have both or none. (No node needs an escape.)
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let Some(rest) = value.strip_prefix(b"\"") else {
        return (!value.contains(&b'"')).then_some(value);
    };
    let mut escaped = false;
    let end = rest.iter().position(|byte| {
        let was_escaped = escaped;
        escaped = !was_escaped && *byte == b'\\';
        *byte == b'"' && !was_escaped
    })?;
    (end + 1 == rest.len()).then(|| &rest[..end])
}

/// An address, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
/// `unknown`, names and obfuscated identifiers (`_hidden`) are none.
fn parse_node(text: &[u8]) -> Option<Hop> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port = match port.strip_prefix(':') {
            Some(port) => parse_port(port)?,
            None if port.is_empty() => 0,
            None => return None,
        };
        return Some(hop(address.parse::<Ipv6Addr>().ok()?.into(), port));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(hop(address, 0));
    }
    let (address, port) = text.split_once(':')?;
    Some(hop(address.parse::<Ipv4Addr>().ok()?.into(), parse_port(port)?))
}

const fn hop(address: IpAddr, port: u16) -> Hop {
    Hop { address: address.to_canonical(), port }
}

/// A number, or an obfuscated port (`_p1`), which tells nothing.
fn parse_port(text: &str) -> Option<u16> {
    if text.starts_with('_') {
        return Some(0);
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Proxies are 10.x.x.x and fd00::/8; the peer is one.
    fn is_proxy(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => address.octets()[0] == 10,
            IpAddr::V6(address) => address.octets()[0] == 0xfd,
        }
    }

    fn found(source: Source, fields: &[&str]) -> Option<String> {
        let fields = fields.iter().map(|field| field.as_bytes());
        let hop = client(source, fields, Some(IpAddr::from([10, 0, 0, 1])), is_proxy)?;
        Some(format!("{} {}", hop.address, hop.port))
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_client() {
        for (fields, client) in [
            (&["192.0.2.1"][..], Some("192.0.2.1 0")),
            (&["192.0.2.1, 10.0.0.2"], Some("192.0.2.1 0")),
            (&["6.6.6.6, 192.0.2.1, 10.0.0.3,10.0.0.2"], Some("192.0.2.1 0")),
            (&["6.6.6.6", "192.0.2.1", "10.0.0.2"], Some("192.0.2.1 0")),
            (&["192.0.2.1:5000"], Some("192.0.2.1 5000")),
            (&["2001:db8::1"], Some("2001:db8::1 0")),
            (&["[2001:db8::1]:443, fd00::1"], Some("2001:db8::1 443")),
            (&["::ffff:192.0.2.1"], Some("192.0.2.1 0")),
            (&["10.0.0.3, 10.0.0.2"], Some("10.0.0.3 0")),
            (&["192.0.2.1,, "], Some("192.0.2.1 0")),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(found(Source::XForwardedFor, fields).as_deref(), client, "{fields:?}");
        }
    }

    #[test]
    fn what_is_no_address_hides_everything_in_front_of_it() {
        for (fields, client) in [
            (&["192.0.2.1, unknown"][..], None),
            (&["192.0.2.1, _hidden, 10.0.0.2"], Some("10.0.0.2 0")),
            (&["192.0.2.1, evil.example"], None),
            (&["192.0.2.1, 192.0.2.300"], None),
            (&["192.0.2.1, 192.0.2.2:99999"], None),
            (&["192.0.2.1, [::1"], None),
            (&["192.0.2.1, fe80::1%eth0"], None),
            (&["192.0.2.1, 1.2.3.4\n"], Some("1.2.3.4 0")),
            (&["192.0.2.1, \"1.2.3.4"], None),
        ] {
            assert_eq!(found(Source::XForwardedFor, fields).as_deref(), client, "{fields:?}");
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_says() {
        for (fields, client) in [
            (&["for=192.0.2.60;proto=http;by=203.0.113.43"][..], Some("192.0.2.60 0")),
            (&["For=\"[2001:db8:cafe::17]:4711\""], Some("2001:db8:cafe::17 4711")),
            (&["for=192.0.2.43, for=10.0.0.9"], Some("192.0.2.43 0")),
            (&["for=6.6.6.6", "for=192.0.2.43;host=\"a,b;for=7.7.7.7\""], Some("192.0.2.43 0")),
            (&["for=\"192.0.2.43:_p1\""], Some("192.0.2.43 0")),
            (&["for=192.0.2.43, for=unknown"], None),
            (&["for=192.0.2.43, for=_SEVKISEK"], None),
            (&["for=192.0.2.43, proto=https"], None),
            (&["for=192.0.2.43;for=192.0.2.44"], None),
            (&["for=\"192.0.2.43"], None),
            (&["for=192.0.2.43, host=\"\\\",for=1.1.1.1"], None),
        ] {
            assert_eq!(found(Source::Forwarded, fields).as_deref(), client, "{fields:?}");
        }
    }

    #[test]
    fn who_is_not_trusted_is_not_asked() {
        let fields = || [&b"192.0.2.1"[..]].into_iter();
        let peer = |last| Some(IpAddr::from([203, 0, 113, last]));
        assert_eq!(client(Source::XForwardedFor, fields(), peer(1), is_proxy), None);
        assert!(client(Source::XForwardedFor, fields(), None, is_proxy).is_some());
    }

    proptest! {
        /// Whatever a client writes in front, a proxy's word is what counts, or nothing is known.
        #[test]
        fn a_client_cannot_choose_its_address(
            forged in "(for=6.6.6.6;x=\")?[-0-9a-f.:,; \"\\\\=_a-z\\[\\]]{0,40}",
            appended in prop::sample::select(vec![
                "for=192.0.2.1", "for=192.0.2.1;host=\"a\"", "host=\"a\\\"b\";for=192.0.2.1",
            ]),
            joined: bool,
        ) {
            let fields = |told: &str| if joined {
                vec![format!("{forged}, {told}")]
            } else {
                vec![forged.clone(), told.to_owned()]
            };
            let found = |source, told| {
                let fields = fields(told);
                found(source, &fields.iter().map(String::as_str).collect::<Vec<_>>())
            };
            let client = Some("192.0.2.1 0");
            let listed = found(Source::XForwardedFor, "192.0.2.1");
            prop_assert_eq!(listed.as_deref(), client);
            let forwarded = found(Source::Forwarded, appended);
            prop_assert!(forwarded.is_none() || forwarded.as_deref() == client);
            prop_assert!(joined || forwarded.is_some());
        }
    }
}
