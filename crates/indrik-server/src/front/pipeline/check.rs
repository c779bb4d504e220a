//! What a request must be before anything is done for it. Framing has been checked by the screen.

use http::header::{CONTENT_TYPE, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Version};
use indrik_core::settings::Config;

use super::h2_head;
use super::target::target;
use crate::front::context::RequestContext;
use crate::front::refusal::Refusal;
use crate::front::settings::Settings;

/// Gunicorn's rule for the length of a method.
const METHOD_BYTES: std::ops::RangeInclusive<usize> = 3..=20;

/// Which of the fields that mean something here were seen.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::front) struct Seen {
    pub(in crate::front) upgrade: bool,
    expect: bool,
    content_type: bool,
    transfer_encoding: bool,
    /// Something a proxy says, or a name with an underscore.
    way: bool,
}

/// Checks a request's head; its sizes have been checked by the screen. Notes what the request says
/// of its way in the extensions.
pub(in crate::front) fn head(context: &RequestContext, parts: &mut Parts) -> Result<Seen, Refusal> {
    let settings = &context.settings;
    if parts.version == Version::HTTP_2 {
        h2_head::take_head(&settings.limits, parts)?;
    }
    let seen = look(context, &parts.headers);
    method(settings, &parts.method)?;
    request_target(parts)?;
    host(parts)?;
    if seen.expect {
        expectation(parts)?;
    }
    if seen.content_type {
        content_type(&parts.headers)?;
    }
    if seen.transfer_encoding {
        transfer_codings(&parts.headers)?;
    }
    if seen.way {
        settings.forwarding.take(context.peer(), &context.services().log, parts)?;
    }
    Ok(seen)
}

/// Checks the length that a body claims to have.
pub(in crate::front) fn body_size(config: &Config, len: Option<u64>) -> Result<(), Refusal> {
    match len {
        Some(len) if config.body_size_max != 0 && len > config.body_size_max => {
            Err(Refusal::bad(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Which fields are there.
fn look(context: &RequestContext, headers: &HeaderMap) -> Seen {
    let (forwarding, trusted) = (&context.settings.forwarding, context.peer().trusted);
    let mut seen = Seen::default();
    for name in headers.keys() {
        seen.upgrade |= name == UPGRADE;
        seen.expect |= name == EXPECT;
        seen.content_type |= name == CONTENT_TYPE;
        seen.transfer_encoding |= name == TRANSFER_ENCODING;
        seen.way |= memchr::memchr(b'_', name.as_str().as_bytes()).is_some()
            || (trusted && forwarding.is_of_interest(name));
    }
    seen
}

const fn bad(message: &'static str) -> Refusal {
    Refusal::bad(StatusCode::BAD_REQUEST, message)
}

fn method(settings: &Settings, method: &Method) -> Result<(), Refusal> {
    if method == Method::CONNECT {
        // A 2xx to it would turn the connection into a tunnel (RFC 9110 section 9.3.6).
        return Err(Refusal::bad(StatusCode::NOT_IMPLEMENTED, "this server is no proxy"));
    }
    let name = method.as_str();
    if settings.permits_any_method {
        return Ok(());
    }
    let conventional = METHOD_BYTES.contains(&name.len())
        && !name.bytes().any(|byte| byte.is_ascii_lowercase() || byte == b'#');
    if conventional { Ok(()) } else { Err(bad("the method is not a conventional one")) }
}

/// The forms of RFC 9112 section 3.2, each only where it belongs; CONNECT and its form are refused.
fn request_target(parts: &Parts) -> Result<(), Refusal> {
    let uri = &parts.uri;
    let valid = match (uri.scheme(), uri.authority(), uri.path_and_query()) {
        (None, None, Some(path)) if path.as_str() == "*" => parts.method == Method::OPTIONS,
        (None, None, Some(path)) => path.as_str().starts_with('/'),
        (Some(_), Some(_), _) => true,
        _ => false,
    };
    if !valid || !target(parts).bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad("the request target is malformed"));
    }
    Ok(())
}

/// RFC 9112 section 3.2: one Host field in every request since HTTP/1.1, with a host and perhaps a port.
fn host(parts: &Parts) -> Result<(), Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    match (first, second) {
        (None, _) if parts.version >= Version::HTTP_11 => Err(bad("the Host header is missing")),
        (None, _) => Ok(()),
        (Some(_), Some(_)) => Err(bad("more than one Host header")),
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        (Some(_), None) => Err(bad("the Host header is malformed")),
    }
}

/// `uri-host [ ":" port ]`, without user information.
fn is_host(host: &[u8]) -> bool {
    let (name, rest) = match host.first() {
        None => return false,
        Some(b'[') => {
            let Some(end) = memchr::memchr(b']', host) else { return false };
            (&host[1..end], &host[end + 1..])
        }
        Some(_) => host.split_at(memchr::memchr(b':', host).unwrap_or(host.len())),
    };
    let in_brackets = host[0] == b'[';
    let is_name_byte = |byte: &u8| {
        let sub_delimiter = b"!$&'()*+,;=".contains(byte);
        let common = byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || sub_delimiter;
        common || *byte == b'%' || (in_brackets && *byte == b':')
    };
    let port_is_valid = match rest.split_first() {
        None => true,
        Some((b':', port)) => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    };
    !name.is_empty() && name.iter().all(is_name_byte) && port_is_valid
}

/// RFC 9110 section 10.1.1.
fn expectation(parts: &Parts) -> Result<(), Refusal> {
    let Some(expected) = parts.headers.get(EXPECT) else { return Ok(()) };
    let known = expected.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if known || parts.version < Version::HTTP_11 {
        return Ok(());
    }
    Err(Refusal::bad(StatusCode::EXPECTATION_FAILED, "the expectation is unknown"))
}

/// Two of them are two opinions on what the body is; frameworks differ on which one they take.
fn content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
        return Err(bad("more than one Content-Type header"));
    }
    Ok(())
}

/// `chunked` is understood, and what Gunicorn lets the application undo.
fn transfer_codings(headers: &HeaderMap) -> Result<(), Refusal> {
    const KNOWN: [&str; 7] =
        ["chunked", "gzip", "x-gzip", "deflate", "compress", "x-compress", "identity"];
    for value in headers.get_all(TRANSFER_ENCODING) {
        let value = value.to_str().map_err(|_| bad("the Transfer-Encoding is malformed"))?;
        let known = |coding: &str| {
            let coding = coding.trim();
            KNOWN.iter().any(|known| coding.eq_ignore_ascii_case(known))
        };
        if !value.split(',').all(known) {
            let message = "the transfer coding is unknown";
            return Err(Refusal::bad(StatusCode::NOT_IMPLEMENTED, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in ["a", "example.org", "example.org:8000", "127.0.0.1", "[::1]", "[::1]:80", "a:"]
        {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "", ":80", "user@a", "a/b", "a?b", "a#b", "a b", "a:b", "a:123456", "[::1", "[]",
            "[::1]x",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
