//! Maintenance: an operator has the front answer requests itself, all but those of clients that are let pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use indrik_core::refusal::Reason;
use indrik_core::settings::Network;

use super::forwarding::Via;
use crate::front::context::RequestContext;
use crate::front::response::Body;

/// Seconds after which a client may try again.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("30");
/// What is sent where the operator gave no page.
const PAGE: &str = "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Maintenance</title></head>\n\
                    <body><h1>Down for maintenance</h1><p>Please try again in a little while.</p></body>\n</html>\n";

/// How requests are answered during a maintenance.
#[derive(Debug)]
pub struct Maintenance {
    page: Bytes,
    allow: Vec<Network>,
}

impl Maintenance {
    /// With this page, for all but those clients.
    #[must_use]
    pub fn new(page: Option<Vec<u8>>, allow: Vec<Network>) -> Self {
        let page = page.map_or(Bytes::from_static(PAGE.as_bytes()), Bytes::from);
        Self { page, allow }
    }
}

/// Whether a maintenance lasts, and which: what a request looks at is one flag.
#[derive(Debug, Default)]
pub(crate) struct Sign {
    is_up: AtomicBool,
    maintenance: ArcSwapOption<Maintenance>,
}

impl Sign {
    pub(crate) fn put(&self, maintenance: Option<Arc<Maintenance>>) {
        let is_up = maintenance.is_some();
        self.maintenance.store(maintenance);
        self.is_up.store(is_up, Ordering::Release);
    }
}

/// The answer to a request while a maintenance lasts.
pub(super) fn answer(context: &RequestContext, parts: &Parts) -> Option<Response<Body>> {
    let services = context.services();
    if !services.maintenance.is_up.load(Ordering::Acquire) {
        return None;
    }
    let maintenance = services.maintenance.maintenance.load();
    let maintenance = maintenance.as_ref()?;
    if is_let_pass(maintenance, context, parts) {
        return None;
    }
    services.note_refusal(Reason::Maintenance);
    // The bytes are shared by all who get them.
    let mut response = Response::new(Body::full(maintenance.page.clone()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(RETRY_AFTER, RETRY_AFTER_S);
    Some(response)
}

/// The client is the one that a trusted proxy names, or the other end of the connection.
fn is_let_pass(maintenance: &Maintenance, context: &RequestContext, parts: &Parts) -> bool {
    if maintenance.allow.is_empty() {
        return false;
    }
    let named = Via::of(parts).and_then(|via| via.client.as_ref());
    let client = named.and_then(|(address, _)| address.parse().ok()).or_else(|| context.peer().ip);
    client.is_some_and(|client| maintenance.allow.iter().any(|network| network.contains(client)))
}
