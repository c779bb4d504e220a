//! What follows a request to its end, if the settings ask for it.

use http::request::Parts;
use indrik_core::route::NO_LIMIT;
use indrik_core::time::Micros;

use super::forwarding::{Via, shown_client};
use super::target::target;
use crate::front::context::RequestContext;
use crate::front::trail::{Called, Mark, Marking, OpenSpan, Trail};

/// What follows a request that came at `arrived`; it was marked, and the routes were asked about it.
pub(super) fn begin(
    context: &RequestContext,
    parts: &Parts,
    arrived: Micros,
) -> Option<Box<Trail>> {
    let (limit, via) = (context.notes.slow, Via::of(parts));
    let tracing = context.settings.marking.as_ref().and_then(Marking::tracing);
    if limit == NO_LIMIT && tracing.is_none() {
        return None;
    }
    let (address, port) = shown_client(context.peer(), via);
    let target = target(parts);
    let slow = (limit != NO_LIMIT).then(|| {
        let method = parts.method.as_str();
        let id = Mark::of(parts).and_then(Mark::id);
        let called = Called { method, target: &target, client: &address, id };
        context.services().slow.watch(&called, arrived, limit)
    });
    let span = tracing.and_then(|tracing| {
        let secure = via.and_then(|via| via.secure);
        let secure = secure.unwrap_or_else(|| context.services().tls.is_some());
        OpenSpan::begin(tracing, parts, (address.into_owned(), port), secure, &target, limit)
    });
    Some(Box::new(Trail { span, slow }))
}
