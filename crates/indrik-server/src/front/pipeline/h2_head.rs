//! The head of an HTTP/2 request, brought into the form of HTTP/1.1, in which everything else reads it.

use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use indrik_core::http1::{Host, Limits};

use crate::front::refusal::Refusal;

/// The only protocol that a tunnel may have (RFC 8441 section 5).
const WEBSOCKET: &str = "websocket";

/// What a list counts for each field beside its name and value (RFC 9113 section 6.5.2).
const FIELD_BYTES: usize = 32;

/// Brings a request's head into the form of HTTP/1.1, in which everything else reads it, and checks
/// what the framing screen checks there. What h2 refuses by itself (fields of HTTP/1.1 connections,
/// pseudo-fields in the wrong place) never comes here.
pub(super) fn take_head(limits: &Limits, list: u32, parts: &mut Parts) -> Result<(), Refusal> {
    sizes(limits, list, parts)?;
    if let Some(authority) = parts.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str())
            .map_err(|_| bad("the :authority is malformed"))?;
        match parts.headers.get(HOST) {
            None => {
                parts.headers.insert(HOST, host);
            }
            Some(given) if is_same(given, &host, parts.uri.scheme()) => {}
            Some(_) => return Err(bad("the Host header is not the :authority")),
        }
    }
    if let Some(protocol) = parts.extensions.get::<Protocol>() {
        if !protocol.as_str().eq_ignore_ascii_case(WEBSOCKET) {
            let message = "the protocol of the CONNECT request is not spoken here";
            return Err(Refusal::failed(StatusCode::NOT_IMPLEMENTED, message));
        }
        // What opens a WebSocket in HTTP/1.1.
        parts.method = Method::GET;
    }
    if parts.headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(bad("more than one Content-Length header"));
    }
    if parts.method != Method::CONNECT {
        let target = parts.uri.path_and_query().cloned();
        parts.uri = Uri::from(target.unwrap_or(PathAndQuery::from_static("/")));
    }
    join_cookies(&mut parts.headers);
    Ok(())
}

/// Whether both name the same server.
fn is_same(given: &HeaderValue, authority: &HeaderValue, scheme: Option<&Scheme>) -> bool {
    let default_port = if scheme == Some(&Scheme::HTTP) { 80 } else { 443 };
    let (given, authority) = (Host::parse(given.as_bytes()), Host::parse(authority.as_bytes()));
    given.zip(authority).is_some_and(|(given, authority)| given.is_same(&authority, default_port))
}

const fn bad(message: &'static str) -> Refusal {
    Refusal::bad(StatusCode::BAD_REQUEST, message)
}

/// The limits of HTTP/1.1, and RFC 9113 section 8.2.1: no value begins or ends with a space.
fn sizes(limits: &Limits, list: u32, parts: &Parts) -> Result<(), Refusal> {
    const TOO_LARGE: StatusCode = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > limits.line {
        return Err(Refusal::bad(StatusCode::URI_TOO_LONG, "the request target is too long"));
    }
    if parts.headers.len() > limits.fields {
        return Err(Refusal::bad(TOO_LARGE, "too many header fields"));
    }
    let mut listed = target;
    for (name, value) in &parts.headers {
        let value = value.as_bytes();
        listed += name.as_str().len() + value.len() + FIELD_BYTES;
        if name.as_str().len() + value.len() > limits.field {
            return Err(Refusal::bad(TOO_LARGE, "a header field is too large"));
        }
        let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if is_space(value.first()) || is_space(value.last()) {
            return Err(bad("a header's value begins or ends with a space"));
        }
    }
    if listed > list as usize {
        return Err(Refusal::bad(TOO_LARGE, "the header fields are too large together"));
    }
    Ok(())
}

/// RFC 9113 section 8.2.3: cookies may come in several fields, and applications expect one.
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() < 2 {
        return;
    }
    // Valid values, joined by valid bytes, are one.
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const LIMITS: Limits = Limits { line: 100, fields: 3, field: 30 };
    const LIST: u32 = 200;

    fn parts(uri: &str, fields: &[(&'static str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn taken(uri: &str, fields: &[(&'static str, &str)]) -> Result<Parts, &'static str> {
        let mut parts = parts(uri, fields);
        take_head(&LIMITS, LIST, &mut parts).map_err(|refusal| refusal.message)?;
        Ok(parts)
    }

    #[test]
    fn the_authority_becomes_the_host_and_the_target_is_the_path() {
        let parts = taken("https://example.org:1/a?b", &[]).unwrap();
        assert_eq!(parts.headers[HOST], "example.org:1");
        assert_eq!(parts.uri, "/a?b");
        let parts = taken("https://example.org/", &[("host", "EXAMPLE.org")]).unwrap();
        assert_eq!(parts.headers.get_all(HOST).iter().count(), 1);
        assert!(taken("https://a.org/", &[("host", "b.org")]).is_err());
        assert!(taken("https://a.org/", &[("host", "a.org:443")]).is_ok());
        assert!(taken("http://a.org/", &[("host", "a.org:443")]).is_err());
    }

    #[test]
    fn cookies_in_several_fields_are_one() {
        let parts = taken("https://a/", &[("cookie", "a=1"), ("cookie", "b=2")]).unwrap();
        assert_eq!(parts.headers[COOKIE], "a=1; b=2");
        assert_eq!(parts.headers.get_all(COOKIE).iter().count(), 1);
    }

    #[test]
    fn two_lengths_are_refused_also_when_they_are_equal() {
        let two = [("content-length", "5"), ("content-length", "5")];
        assert!(taken("https://a/", &two).unwrap_err().contains("Content-Length"));
        assert!(taken("https://a/", &two[..1]).is_ok());
    }

    #[test]
    fn a_tunnel_for_a_websocket_is_a_get_and_no_other_is_taken() {
        let mut websocket = parts("https://a/chat", &[]);
        websocket.method = Method::CONNECT;
        websocket.extensions.insert(Protocol::from_static("websocket"));
        take_head(&LIMITS, LIST, &mut websocket).unwrap();
        assert_eq!((websocket.method, websocket.uri), (Method::GET, "/chat".parse().unwrap()));
        let mut other = parts("https://a/", &[]);
        other.extensions.insert(Protocol::from_static("connect-udp"));
        let refusal = take_head(&LIMITS, LIST, &mut other).unwrap_err();
        assert_eq!(refusal.status, StatusCode::NOT_IMPLEMENTED);
    }

    #[test]
    fn the_limits_are_those_of_http_1() {
        let long = format!("https://a/{}", "x".repeat(100));
        assert_eq!(taken(&long, &[]).unwrap_err(), "the request target is too long");
        let four = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")];
        assert_eq!(taken("https://a/", &four).unwrap_err(), "too many header fields");
        let large = [("a", "1234567890123456789012345678901")];
        assert_eq!(taken("https://a/", &large).unwrap_err(), "a header field is too large");
        assert!(taken("https://a/", &[("a", " 1")]).unwrap_err().contains("space"));
    }

    #[test]
    fn a_list_of_fields_that_is_too_large_is_refused_with_a_reason() {
        // Each counts 62 bytes, and the target comes to them.
        let three = ["a", "b", "c"].map(|name| (name, "12345678901234567890123456789"));
        assert!(taken("https://a/", &three).is_ok());
        let why = taken(&format!("https://a/{}", "x".repeat(20)), &three).unwrap_err();
        assert_eq!(why, "the header fields are too large together");
    }
}
