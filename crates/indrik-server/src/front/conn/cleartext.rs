//! HTTP/2 without TLS: whether a connection begins with it (RFC 9113 section 3.3, prior knowledge).

use indrik_core::settings::Http2Cleartext;

use super::io::Stream;
use super::preamble::read_some;
use super::reaper::{Phase, Watch};
use crate::front::http2_settings::Http2Settings;

/// What a client sends first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The part of it that reads like a request's head.
pub(super) const PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";
/// What a client gets that begins so where HTTP/2 is not spoken: our settings (none), and the end of the
/// connection with HTTP_1_1_REQUIRED.
pub(super) const NOT_SPOKEN: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
      \0\0\x2d\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0dHTTP/2 without TLS is not spoken here";

/// How a connection without TLS begins.
pub(super) enum Beginning {
    /// With HTTP/2.
    Http2(Stream),
    /// With something that is not HTTP/2.
    Other(Stream),
    /// With something that is not HTTP/2, which it should be.
    Refused(Stream),
    /// Not at all.
    Lost,
}

/// Whether a connection without TLS may begin with HTTP/2. `trusted`: its peer is a proxy of ours.
pub(super) const fn is_looked_for(http2: &Http2Settings, trusted: bool) -> bool {
    trusted && matches!(http2.cleartext, Http2Cleartext::PriorKnowledge | Http2Cleartext::Both)
}

/// Reads the first bytes of such a connection.
pub(super) async fn look(http2: &Http2Settings, mut stream: Stream, watch: &Watch) -> Beginning {
    let must = http2.cleartext == Http2Cleartext::PriorKnowledge;
    let mut bytes = Vec::new();
    while bytes.len() < PREFACE.len() && PREFACE.starts_with(&bytes) {
        if !read_some(&mut stream, watch, &mut bytes).await {
            return Beginning::Lost;
        }
        // The rest has the time of a head.
        watch.set(Phase::Head);
    }
    let is_http2 = bytes.starts_with(PREFACE);
    watch.set(Phase::Idle);
    let stream = Stream::Ahead(Box::new((bytes.into(), stream)));
    match (is_http2, must) {
        (true, _) => Beginning::Http2(stream),
        (false, true) => Beginning::Refused(stream),
        (false, false) => Beginning::Other(stream),
    }
}
