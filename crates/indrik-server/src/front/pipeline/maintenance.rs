//! Maintenance: an operator has the front answer requests itself, all but those of clients that are let pass.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use indrik_core::refusal::Reason;

use super::forwarding::Via;
use crate::front::context::RequestContext;
use crate::front::maintenance::Maintenance;
use crate::front::response::Body;

/// Seconds after which a client may try again.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("30");
/// The answer to a request while a maintenance lasts.
pub(super) fn answer(context: &RequestContext, parts: &Parts) -> Option<Response<Body>> {
    let services = context.services();
    let maintenance = services.maintenance.get()?;
    if is_let_pass(&maintenance, context, parts) {
        return None;
    }
    services.note_refusal(Reason::Maintenance);
    // The bytes are shared by all who get them.
    let mut response = Response::new(Body::full(maintenance.page()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(RETRY_AFTER, RETRY_AFTER_S);
    Some(response)
}

/// The client is the one that a trusted proxy names, or the other end of the connection.
fn is_let_pass(maintenance: &Maintenance, context: &RequestContext, parts: &Parts) -> bool {
    if !maintenance.lets_some_pass() {
        return false;
    }
    let named = Via::of(parts).and_then(|via| via.client.as_ref());
    let client = named.and_then(|(address, _)| address.parse().ok()).or_else(|| context.peer().ip);
    client.is_some_and(|client| maintenance.lets_pass(client))
}
