//! What is known of a request when it is over, as a collector wants to hear it.

use super::parent::{Parent, SpanId};
use crate::time::Micros;

/// Of a target, more is not told.
pub const TARGET_BYTES_MAX: usize = 2048;
/// Of a header, more is not told.
pub const HEADER_BYTES_MAX: usize = 256;
/// From this status on a request has failed.
const FAILURE: u16 = 500;

/// A request that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its place in its trace.
    pub own: Parent,
    /// The span above it, if there is one.
    pub above: Option<SpanId>,
    /// What it asked for.
    pub asked: Asked,
    /// How it was answered.
    pub answered: Answered,
    /// When its head was here, nanoseconds since 1970.
    pub began_ns: u64,
    /// Where its time went.
    pub phases: Phases,
}

/// What a request asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The method, as it came.
    pub method: String,
    /// Path and query, cut.
    pub target: String,
    /// Whether it came over TLS.
    pub secure: bool,
    /// The version of HTTP.
    pub protocol: &'static str,
    /// The `Host`, cut.
    pub host: Option<String>,
    /// The client's address and port; empty on a Unix socket.
    pub client: (String, u16),
    /// The `User-Agent`, cut.
    pub user_agent: Option<String>,
    /// The request's id, if it has one.
    pub request_id: Option<String>,
}

/// How a request was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// Bytes of the body that were sent.
    pub bytes: u64,
    /// The application's route.
    pub route: Option<String>,
    /// The process that answered.
    pub pid: u32,
    /// How a WebSocket ended.
    pub close_code: Option<u16>,
}

/// Where the time of a request went, microseconds, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Its body was waited for.
    pub body: Micros,
    /// It waited for a worker.
    pub queue: Micros,
    /// The application had it; `None`: it never did.
    pub app: Option<Micros>,
    /// All of it; what is left is the client's, taking the answer.
    pub total: Micros,
}

/// Why a request is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// Its trace is recorded.
    Sampled,
    /// It failed.
    Failed,
    /// It took long.
    Slow,
}

/// Whether a request is told of, now that it is over. `slow`: from so long on it is; 0: never.
#[must_use]
pub fn is_told(sampled: bool, status: u16, total: Micros, slow: Micros) -> Option<Because> {
    if sampled {
        Some(Because::Sampled)
    } else if status >= FAILURE {
        Some(Because::Failed)
    } else {
        (slow != 0 && total >= slow).then_some(Because::Slow)
    }
}

/// The beginning of a text, at most `most` bytes and whole characters.
#[must_use]
pub fn cut(bytes: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]);
    // What was cut in the middle of a character.
    match text.strip_suffix('\u{fffd}') {
        Some(whole) if bytes.len() > most => whole.to_owned(),
        _ => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_or_is_slow_is_told_whatever_was_sampled() {
        assert_eq!(is_told(true, 200, 0, 1_000_000), Some(Because::Sampled));
        assert_eq!(is_told(false, 200, 999_999, 1_000_000), None);
        assert_eq!(is_told(false, 200, 1_000_000, 1_000_000), Some(Because::Slow));
        assert_eq!(is_told(false, 503, 0, 1_000_000), Some(Because::Failed));
        assert_eq!(is_told(false, 404, u64::MAX, 0), None);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("aü".as_bytes(), 2), "a");
        assert_eq!(cut("aü".as_bytes(), 3), "aü");
        assert_eq!(cut(b"a\xff", 8), "a\u{fffd}");
        assert_eq!(cut(b"", 8), "");
    }
}
