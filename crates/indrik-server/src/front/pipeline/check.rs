//! What a request must be before anything is done for it. Framing has been checked by the screen.

use http::header::{CONTENT_TYPE, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use indrik_core::http1::{Host, is_conventional_method};
use indrik_core::settings::Config;

use super::h2_head;
use crate::front::context::RequestContext;
use crate::front::refusal::Refusal;
use crate::front::settings::Settings;
use crate::front::ws::bridge;

/// Which of the fields that mean something here were seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) upgrade: bool,
    expect: bool,
    content_type: bool,
    transfer_encoding: bool,
    /// Something a proxy says, or a name with an underscore.
    way: bool,
}

/// Checks a request's head; its sizes have been checked by the screen. Notes what the request says
/// of its way in the extensions.
pub(crate) fn head(context: &RequestContext, parts: &mut Parts) -> Result<Seen, Refusal> {
    let settings = &context.settings;
    if parts.version == Version::HTTP_2 {
        h2_head::take_head(&settings.limits, settings.http2.header_list_bytes_max, parts)?;
    }
    let mut seen = look(context, &parts.headers);
    seen.upgrade |= bridge::is_tunnel(parts);
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
pub(crate) fn body_size(config: &Config, len: Option<u64>) -> Result<(), Refusal> {
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
    if is_conventional_method(name) {
        Ok(())
    } else {
        Err(bad("the method is not a conventional one"))
    }
}

/// The screen has checked the target of HTTP/1.1. In HTTP/2 it is the origin form or the asterisk; there
/// is nothing else that h2 lets pass.
fn request_target(parts: &mut Parts) -> Result<(), Refusal> {
    if parts.version != Version::HTTP_2 {
        return match parts.uri.authority() {
            None => Ok(()),
            Some(_) => host_of_target(parts),
        };
    }
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let has_form = path.starts_with('/') || (path == "*" && parts.method == Method::OPTIONS);
    if !has_form || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad("the request target is malformed"));
    }
    Ok(())
}

/// RFC 9112 section 3.2.2: the target in absolute form says whom the request is for. What `Host` says is
/// replaced, as somebody behind us may look at it; where it says something else, two servers could
/// serve the request from different hosts.
#[cold]
fn host_of_target(parts: &mut Parts) -> Result<(), Refusal> {
    let Some(authority) = parts.uri.authority() else { return Ok(()) };
    let value = HeaderValue::from_str(authority.as_str()).ok();
    let (Some(value), Some(named)) = (value, Host::parse(authority.as_str().as_bytes())) else {
        return Err(bad("the request target is malformed"));
    };
    let default_port = if parts.uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let is_another = |host: &HeaderValue| {
        let host = Host::parse(host.as_bytes());
        host.is_none_or(|host| !host.is_same(&named, default_port))
    };
    let hosts = parts.headers.get_all(HOST);
    if hosts.iter().any(is_another) {
        return Err(bad("the Host header is not the host of the request target"));
    }
    match hosts.iter().count() {
        // Refused further on: there must be one.
        0 if parts.version >= Version::HTTP_11 => {}
        0 | 1 => drop(parts.headers.insert(HOST, value)),
        // Refused further on.
        _ => {}
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
        (Some(host), None) if Host::parse(host.as_bytes()).is_some() => Ok(()),
        (Some(_), None) => Err(bad("the Host header is malformed")),
    }
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
