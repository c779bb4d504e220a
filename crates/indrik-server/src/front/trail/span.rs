//! The span of a request: begun with its head, told when its answer is over.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{HOST, USER_AGENT};
use http::request::Parts;
use http::{HeaderName, StatusCode, Version};
use indrik_core::route::NO_LIMIT;
use indrik_core::time::Micros;
use indrik_core::trace::parent::Parent;
use indrik_core::trace::span::{
    Answered, Asked, HEADER_BYTES_MAX, Phases, Span, TARGET_BYTES_MAX, cut, is_told,
};

use super::mark::{Mark, Traced};
use super::tracing::Tracing;
use crate::front::metrics::Traceable;

/// A request that is under way.
pub(crate) struct OpenSpan {
    tracing: Arc<Tracing>,
    traced: Traced,
    asked: Asked,
    /// It is exported in any case if it took so long.
    slow: Micros,
}

/// What that is for requests without a threshold of their own.
const SLOW_US: Micros = 1_000_000;

impl OpenSpan {
    /// The span of a request that was marked; `client`: as the log shows it.
    pub(crate) fn begin(
        tracing: &Arc<Tracing>,
        parts: &Parts,
        client: (String, u16),
        secure: bool,
        target: &str,
        slow: Micros,
    ) -> Option<Self> {
        let mark = Mark::of(parts)?;
        let header = |name: HeaderName| {
            let value = parts.headers.get(name)?;
            Some(cut(value.as_bytes(), HEADER_BYTES_MAX))
        };
        let asked = Asked {
            method: parts.method.as_str().to_owned(),
            target: cut(target.as_bytes(), TARGET_BYTES_MAX),
            secure,
            protocol: match parts.version {
                Version::HTTP_10 => "1.0",
                Version::HTTP_2 => "2",
                _ => "1.1",
            },
            host: header(HOST),
            client,
            user_agent: header(USER_AGENT),
            request_id: mark.id().map(|id| cut(id, HEADER_BYTES_MAX)),
        };
        let (tracing, traced) = (Arc::clone(tracing), mark.traced?);
        let slow = if slow == NO_LIMIT { SLOW_US } else { slow };
        Some(Self { tracing, traced, asked, slow })
    }

    /// Where the request can be looked up, now that it is over with this status: if its trace is recorded, or its span is
    /// exported for another reason.
    pub(crate) fn traceable(&self, status: u16, total: Micros) -> Option<Traceable> {
        let Parent { trace, span, sampled } = self.traced.own;
        let is_exported =
            || self.tracing.exports() && is_told(sampled, status, total, self.slow).is_some();
        (sampled || is_exported()).then(|| {
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let at_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
            Traceable { trace: trace.words(), span: span.word(), at_ms }
        })
    }

    /// The request is over now.
    pub(super) fn over(&self, status: u16, phases: &Phases, answered: impl FnOnce() -> Answered) {
        let Self { tracing, traced, asked, slow } = self;
        // A WebSocket may last as long as it likes.
        let is_websocket = status == StatusCode::SWITCHING_PROTOCOLS;
        let slow = if is_websocket { NO_LIMIT } else { *slow };
        if is_told(traced.own.sampled, status, phases.total, slow).is_none() {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        tracing.send(Span {
            own: traced.own,
            above: traced.above,
            asked: asked.clone(),
            answered: answered(),
            began_ns: now.saturating_sub(phases.total.saturating_mul(1000)),
            phases: *phases,
        });
    }
}
