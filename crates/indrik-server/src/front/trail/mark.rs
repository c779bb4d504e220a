//! The id of a request and its place in a trace: taken over or made, and put where everybody finds them, the request's
//! own head.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use indrik_core::settings::Config;
use indrik_core::trace::parent::{Parent, SpanId, TraceId};
use indrik_core::trace::request_id;

use super::chance;
use super::tracing::Tracing;
use crate::front::peer::Peer;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// How requests are marked.
pub(crate) struct Marking {
    /// The header with the id, if requests have one.
    header: Option<HeaderName>,
    /// If requests belong to traces.
    pub(super) tracing: Option<Arc<Tracing>>,
}

/// What marks a request; in its extensions.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    id: Option<HeaderValue>,
    pub(super) traced: Option<Traced>,
}

/// A request's place in its trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traced {
    pub(super) own: Parent,
    /// The span of whoever sent the request.
    pub(super) above: Option<SpanId>,
}

/// An id on its way back to the client.
pub(crate) struct ReturnedId {
    header: HeaderName,
    id: HeaderValue,
}

impl Marking {
    /// `None`: requests are not marked, and pay nothing.
    pub(crate) fn new(config: &Config, tracing: Option<Arc<Tracing>>) -> Option<Self> {
        // A wrong name has not got so far.
        let header = HeaderName::from_bytes(config.request_id_header.as_bytes()).ok();
        let header = header.filter(|_| config.request_id);
        (header.is_some() || tracing.is_some()).then_some(Self { header, tracing })
    }

    /// Marks a request, in its head as in its extensions; returns what its answer gets.
    pub(crate) fn mark(&self, peer: &Peer, parts: &mut Parts) -> Option<Box<ReturnedId>> {
        let tracing = self.tracing.as_ref();
        let traced = tracing.map(|tracing| tracing.place(peer, &mut parts.headers));
        let returned = self.header.as_ref().map(|header| {
            let given = taken_over(header, peer, &parts.headers);
            let id = given.unwrap_or_else(made);
            // In the place of whatever a client that is not trusted, or did not keep to the form, has sent.
            parts.headers.insert(header, id.clone());
            Box::new(ReturnedId { header: header.clone(), id })
        });
        let id = returned.as_ref().map(|returned| returned.id.clone());
        parts.extensions.insert(Mark { id, traced });
        returned
    }

    /// Tracing, where it is on.
    pub(crate) const fn tracing(&self) -> Option<&Arc<Tracing>> {
        self.tracing.as_ref()
    }
}

/// The id that a trusted peer gave.
fn taken_over(header: &HeaderName, peer: &Peer, headers: &HeaderMap) -> Option<HeaderValue> {
    if !peer.trusted {
        return None;
    }
    let id = only(headers, header)?;
    request_id::is_acceptable(id.as_bytes()).then(|| id.clone())
}

/// The field's value, if it is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn made() -> HeaderValue {
    let id = request_id::made(chance::bits());
    HeaderValue::from_bytes(&id).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

impl Tracing {
    /// Gives a request its place in a trace. Whoever sends it may say to which it belongs, but only a trusted peer
    /// whether that is recorded, which costs.
    fn place(&self, peer: &Peer, headers: &mut HeaderMap) -> Traced {
        let given = only(headers, &TRACEPARENT).and_then(|value| Parent::parse(value.as_bytes()));
        if given.is_none() {
            // What was said of a trace that this is not.
            headers.remove(TRACESTATE);
        }
        let trace = given.map_or_else(|| TraceId::made(chance::bits()), |given| given.trace);
        let sampled = match given {
            Some(given) if peer.trusted => given.sampled,
            Some(_) | None => trace.is_among(self.percent),
        };
        let [span, _] = chance::bits();
        let own = Parent { trace, span: SpanId::made(span), sampled };
        if let Ok(value) = HeaderValue::from_bytes(&own.write()) {
            headers.insert(TRACEPARENT, value);
        }
        Traced { own, above: given.map(|given| given.span) }
    }
}

impl Mark {
    /// What marks a request, if anything does.
    pub(crate) fn of(parts: &Parts) -> Option<&Self> {
        parts.extensions.get()
    }

    /// The request's id.
    pub(crate) fn id(&self) -> Option<&[u8]> {
        self.id.as_ref().map(HeaderValue::as_bytes)
    }

    /// The trace that the request belongs to.
    pub(crate) fn trace(&self) -> Option<String> {
        self.traced.map(|traced| traced.own.trace.hex())
    }
}

impl ReturnedId {
    /// Says the id with the answer, whatever the application says there.
    pub(crate) fn add_to(self, headers: &mut HeaderMap) {
        headers.insert(self.header, self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn placed(percent: u32, trusted: bool, given: &[&'static str]) -> (Traced, HeaderMap) {
        let tracing = Tracing::unexported(percent);
        let mut headers = HeaderMap::new();
        for value in given {
            headers.append(TRACEPARENT, HeaderValue::from_static(value));
        }
        headers.insert(TRACESTATE, HeaderValue::from_static("vendor=1"));
        let peer = Peer { trusted, ..Peer::default() };
        (tracing.place(&peer, &mut headers), headers)
    }

    #[test]
    fn a_trace_that_comes_goes_on_with_a_span_of_the_servers() {
        let (traced, headers) = placed(0, true, &[GIVEN]);
        let given = Parent::parse(GIVEN.as_bytes()).unwrap();
        assert_eq!((traced.own.trace, traced.above), (given.trace, Some(given.span)));
        assert!(traced.own.sampled && traced.own.span != given.span);
        let passed = Parent::parse(headers[TRACEPARENT].as_bytes()).unwrap();
        assert_eq!(passed, traced.own);
        assert_eq!(headers[TRACESTATE], "vendor=1");
    }

    #[test]
    fn whether_a_trace_is_recorded_is_not_for_everybody_to_say() {
        assert!(!placed(0, false, &[GIVEN]).0.own.sampled);
        assert!(
            placed(100, false, &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"])
                .0
                .own
                .sampled
        );
    }

    #[test]
    fn what_is_no_trace_begins_one_without_the_state_of_the_other() {
        for given in [&[][..], &["nonsense"], &[GIVEN, GIVEN]] {
            let (traced, headers) = placed(100, true, given);
            assert_eq!(traced.above, None);
            assert!(traced.own.sampled && !headers.contains_key(TRACESTATE));
            assert_eq!(headers.get_all(TRACEPARENT).iter().count(), 1);
        }
    }
}
