//! HTTP/2 without TLS: whether a connection begins with it (RFC 9113 section 3.3, prior knowledge).

use indrik_core::http1::TLS_HANDSHAKE;
use indrik_core::settings::Http2Cleartext;

use super::preamble::{Read, read_some};
use super::preface::PREFACE;
use super::reaper::{Phase, Watch};
use super::stream::Stream;
use crate::front::http2_settings::Http2Settings;

/// How a connection without TLS begins.
pub(super) enum Beginning {
    /// With HTTP/2.
    Http2(Stream),
    /// With something that is not HTTP/2.
    Other(Stream),
    /// With something that is not HTTP/2, which it should be.
    Refused(Stream),
    /// With a part of what HTTP/2 begins with, and no more of it in time.
    Late(Stream),
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
        match read_some(&mut stream, watch, &mut bytes).await {
            Read::Some => {}
            Read::Late => return Beginning::Late(stream),
            Read::Gone => return Beginning::Lost,
        }
        // The rest has the time of a head, in however many pieces it comes.
        if watch.phase() != Phase::Head {
            watch.set(Phase::Head);
        }
    }
    let is_http2 = bytes.starts_with(PREFACE);
    let is_tls = bytes.first() == Some(&TLS_HANDSHAKE);
    watch.set(Phase::Idle);
    let stream = Stream::Ahead(Box::new((bytes.into(), stream, 0)));
    match (is_http2, must) {
        (true, _) => Beginning::Http2(stream),
        // What refuses a handshake of TLS says what it is.
        (false, true) if !is_tls => Beginning::Refused(stream),
        (false, _) => Beginning::Other(stream),
    }
}
