//! The target of a request, as it was sent.

use std::borrow::Cow;

use http::request::Parts;
use indrik_core::http1::target_as_sent;

/// The request target as sent.
pub(crate) fn target(parts: &Parts) -> Cow<'_, str> {
    let uri = &parts.uri;
    match (uri.scheme(), uri.authority(), uri.path_and_query()) {
        (None, None, Some(path)) => target_as_sent(path.as_str()),
        (None, Some(authority), None) => Cow::Borrowed(authority.as_str()),
        _ => Cow::Owned(target_as_sent(&uri.to_string()).into_owned()),
    }
}

/// Its path as sent.
pub(crate) fn path(parts: &Parts) -> Cow<'_, str> {
    target_as_sent(parts.uri.path())
}

/// Its query as sent; empty if it has none.
pub(crate) fn query(parts: &Parts) -> Cow<'_, str> {
    target_as_sent(parts.uri.query().unwrap_or(""))
}
