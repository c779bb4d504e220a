//! What the table of routes says about a request.

use http::HeaderMap;
use http::header::HOST;
use http::request::Parts;
use indrik_core::route::{Notes, Request, Values};

use super::forwarding::Via;
use super::target;
use crate::front::context::RequestContext;

/// What is said about a request, whether or not it is a good one.
pub(super) fn notes(context: &RequestContext, parts: &Parts) -> Notes {
    let routes = &context.settings.routes;
    if routes.is_empty() {
        return Notes::default();
    }
    let via = Via::of(parts).and_then(|via| via.client.as_ref());
    let named = via.and_then(|(address, _)| address.parse().ok());
    routes.notes(&Request {
        method: parts.method.as_str(),
        host: parts.headers.get(HOST).map_or(&[], |host| host.as_bytes()),
        path: &target::path(parts),
        client: named.or_else(|| context.peer().ip),
        fields: &Fields(&parts.headers),
    })
}

struct Fields<'a>(&'a HeaderMap);

impl Values for Fields<'_> {
    fn any(&self, name: &str, is: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.get_all(name).iter().any(|value| is(value.as_bytes()))
    }
}
