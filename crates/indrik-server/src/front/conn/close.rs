//! Closing a connection so that its last answer is not lost.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri, Version};
use indrik_core::refusal::Reason;

use super::io::ClientIo;
use super::preface::NOT_SPOKEN;
use crate::front::clock;
use crate::front::metrics;
use crate::front::peer::Peer;
use crate::front::refusal::{Refusal, log_invalid};
use crate::front::served::Served;
use crate::front::services::Services;

/// After an answer that ends the connection: bytes of the client that are still read, so that the
/// kernel does not reset the connection under the answer.
pub(super) const LINGER_BYTES_MAX: usize = 256 * 1024;
/// For how long the client is read from then.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// Answers what never became a request of hyper's, and closes; `line` is what is known of its request
/// line.
pub(super) async fn refuse(
    services: &Services,
    peer: &Peer,
    mut io: ClientIo,
    line: &[u8],
    refusal: Refusal,
) {
    log_invalid(&services.log, &peer.address, refusal.message);
    services.note_refusal(refusal.reason);
    let parts = parts(line);
    // What a client asks about with HEAD has no body, refused or not.
    let (head, page) = refusal.into_bytes();
    let page = if parts.method == Method::HEAD { Vec::new() } else { page };
    metrics::refused_unread(&parts.method, refusal.status);
    let watch = Arc::clone(io.watch());
    // A head that never came to its end was waited for since it was due.
    let is_late = refusal.reason == Reason::HeadTimeout;
    let arrived = if is_late { watch.since() } else { clock::now() };
    let entry = services.access_log.entry(peer, &parts, arrived, (false, false), None);
    let bytes = [&head[..], &page].concat();
    let written = tokio::time::timeout(LINGER, watch.unless_closed(io.write_all(&bytes))).await;
    if let Some(entry) = entry {
        let mut entry = entry.with_response(refusal.status, &HeaderMap::new(), Served::NOBODY);
        entry.sent(page.len());
        entry.write();
    }
    if let Ok(Some(Ok(()))) = written {
        linger(io).await;
    }
}

/// What can be read of a request line that was refused; `-` for the rest.
fn parts(line: &[u8]) -> Parts {
    let absent = || Uri::from_static("-");
    let mut words = line.split(|byte| *byte == b' ');
    let mut word = || words.next().unwrap_or_default();
    let (mut parts, ()) = Request::new(()).into_parts();
    let method = word();
    let absent_method = || Method::from_bytes(b"-").unwrap_or_default();
    parts.method = Method::from_bytes(method).unwrap_or_else(|_| absent_method());
    parts.uri = Uri::try_from(word()).unwrap_or_else(|_| absent());
    parts.version = match word() {
        b"HTTP/1.0" => Version::HTTP_10,
        b"HTTP/2.0" => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    parts
}

/// Tells a client that began with HTTP/2 that it is not spoken, in the only words it understands, and closes.
pub(super) async fn refuse_http2(services: &Services, peer: &Peer, mut io: ClientIo) {
    log_invalid(&services.log, &peer.address, "HTTP/2 without TLS is not spoken here");
    services.note_refusal(Reason::Unsupported);
    let watch = Arc::clone(io.watch());
    let said = tokio::time::timeout(LINGER, watch.unless_closed(io.write_all(NOT_SPOKEN))).await;
    if let Ok(Some(Ok(()))) = said {
        linger(io).await;
    }
}

/// Closes our direction, and reads a little of what the client still sends: closing with unread
/// bytes would reset the connection and could destroy the answer on its way. Not if others need its place.
pub(crate) async fn linger(mut io: ClientIo) {
    let watch = Arc::clone(io.watch());
    let close = async {
        let _ = poll_fn(|cx| hyper::rt::Write::poll_shutdown(Pin::new(&mut io), cx)).await;
        if !io.is_at_end() {
            io.discard(LINGER_BYTES_MAX).await;
        }
    };
    let _ = tokio::time::timeout(LINGER, watch.unless_closed(close)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_refused_request_line_what_can_be_read_is_shown() {
        for (line, shown) in [
            (&b"HEAD /a?b HTTP/1.0"[..], "HEAD /a?b HTTP/1.0"),
            (b"GET /a HTTP/2.0", "GET /a HTTP/2.0"),
            (b"GET  /a HTTP/1.1", "GET - HTTP/1.1"),
            (b"G(T \xff\x00 x", "- - HTTP/1.1"),
            (b"", "- - HTTP/1.1"),
        ] {
            let parts = parts(line);
            assert_eq!(format!("{} {} {:?}", parts.method, parts.uri, parts.version), shown);
        }
    }
}
