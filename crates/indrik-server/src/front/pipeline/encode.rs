//! Messages as bytes: what a worker is sent for a request, and interim responses to the client.

use http::request::Parts;
use http::{HeaderValue, Version};
use indrik_ring::{Headers, RequestHead, ResponseHead};

use super::forwarding::{Via, shown_client};
use super::target::target;
use crate::front::context::RequestContext;

/// What the worker is sent: the head, and the body if it is here. Its own copy, so that hyper has
/// its buffer back while the application works.
pub(super) fn encode(context: &RequestContext, parts: &Parts, body: &[u8]) -> (usize, Vec<u8>) {
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
    let mut payload = vec![0; len + body.len()];
    let count = u16::try_from(parts.headers.len()).unwrap_or(u16::MAX);
    indrik_ring::encode_request(&mut payload[..len], &head, count, fields(parts));
    payload[len..].copy_from_slice(body);
    (len, payload)
}

fn fields(parts: &Parts) -> impl Iterator<Item = (&[u8], &[u8])> {
    parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

/// A 1xx response as bytes; `None` if a field is invalid.
pub(super) fn interim_response(head: &ResponseHead<'_>) -> Option<Vec<u8>> {
    let mut bytes = format!("HTTP/1.1 {} Early Hints\r\n", head.status).into_bytes();
    for (name, value) in head.headers {
        http::HeaderName::from_bytes(name).ok()?;
        HeaderValue::from_bytes(value).ok()?;
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    Some(bytes)
}
