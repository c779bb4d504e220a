//! Messages as bytes: what a worker is sent for a request, and interim responses to the client.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, Version};
use hyper::ext::ReasonPhrase;
use indrik_ring::{Headers, RequestHead, ResponseHead};

use super::forwarding::{Via, shown_client};
use super::target::target;
use crate::front::context::RequestContext;

/// The head as the worker is sent it.
pub(super) fn encode(context: &RequestContext, parts: &Parts) -> Vec<u8> {
    let (target, via) = (target(parts), Via::of(parts));
    let peer = context.peer();
    let (address, port) = shown_client(peer, via);
    let head = RequestHead {
        version: match parts.version {
            Version::HTTP_10 => 10,
            Version::HTTP_2 => 20,
            _ => 11,
        },
        secure: via.and_then(|via| via.secure).unwrap_or_else(|| context.services().tls.is_some()),
        listener: peer.listener,
        client_port: port,
        method: parts.method.as_str().as_bytes(),
        target: target.as_bytes(),
        client: address.as_bytes(),
        prefix: via.map_or(&[], |via| &via.prefix),
        proxied: peer.proxied.as_bytes(),
        headers: Headers::default(),
    };
    let len = indrik_ring::request_len(&head, indrik_ring::headers_len(fields(parts)));
    let mut payload = vec![0; len];
    let count = u16::try_from(parts.headers.len()).unwrap_or(u16::MAX);
    indrik_ring::encode_request(&mut payload, &head, count, fields(parts));
    payload
}

/// The fields. ASGI wants `host` first where it comes of the `:authority`, which is behind the others here.
fn fields(parts: &Parts) -> impl Iterator<Item = (&[u8], &[u8])> {
    let is_http2 = parts.version == Version::HTTP_2;
    let host = is_http2.then(|| parts.headers.get(HOST)).flatten();
    let others = parts.headers.iter().filter(move |(name, _)| !is_http2 || *name != HOST);
    let all = host.map(|host| (&HOST, host)).into_iter().chain(others);
    all.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

/// An interim response as bytes; `None` if it is none, or a field is invalid.
pub(super) fn interim_response(head: &ResponseHead<'_>) -> Option<Vec<u8>> {
    let status = StatusCode::from_u16(head.status).ok()?;
    // 101 is the last word of HTTP on a connection, and not one in between.
    if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
        return None;
    }
    let reason = match head.reason {
        [] => status.canonical_reason().unwrap_or(""),
        reason => {
            ReasonPhrase::try_from(reason).ok()?;
            std::str::from_utf8(reason).ok()?
        }
    };
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", head.status).into_bytes();
    for (name, value) in head.headers {
        let field = HeaderName::from_bytes(name).ok()?;
        HeaderValue::from_bytes(value).ok()?;
        // It has no body (RFC 9110 section 8.6, RFC 9112 section 6.1).
        if field == CONTENT_LENGTH || field == TRANSFER_ENCODING {
            continue;
        }
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interim(status: u16, reason: &[u8], fields: &[(&[u8], &[u8])]) -> Option<String> {
        let (count, fields) = (u16::try_from(fields.len()).unwrap(), fields.iter().copied());
        let mut bytes = vec![0; 1024];
        let len = indrik_ring::encode_response(&mut bytes, status, reason, count, fields);
        bytes.truncate(len);
        let head = ResponseHead::decode(&bytes).unwrap();
        interim_response(&head).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn an_interim_response_has_the_reason_of_its_status_or_its_own() {
        let link: (&[u8], &[u8]) = (b"link", b"</a>");
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        assert_eq!(interim(103, b"", &[link]).as_deref(), Some(hints));
        assert_eq!(interim(102, b"", &[]).as_deref(), Some("HTTP/1.1 102 Processing\r\n\r\n"));
        assert_eq!(interim(103, b"Mine", &[]).as_deref(), Some("HTTP/1.1 103 Mine\r\n\r\n"));
        assert_eq!(interim(199, b"", &[]).as_deref(), Some("HTTP/1.1 199 \r\n\r\n"));
    }

    #[test]
    fn what_is_no_interim_response_is_not_sent_as_one() {
        for status in [0, 99, 101, 200, 204, 500] {
            assert_eq!(interim(status, b"", &[]), None, "{status}");
        }
        assert_eq!(interim(103, b"a\r\nb", &[]), None);
        assert_eq!(interim(103, b"", &[(b"a b", b"")]), None);
        let framed: [(&[u8], &[u8]); 2] = [(b"Content-Length", b"1"), (b"transfer-encoding", b"x")];
        assert_eq!(interim(103, b"", &framed).as_deref(), Some("HTTP/1.1 103 Early Hints\r\n\r\n"));
    }
}
