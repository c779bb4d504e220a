//! The target of a request, as it was sent.

use std::borrow::Cow;

use http::request::Parts;

/// The request target as sent.
pub(in crate::front) fn target(parts: &Parts) -> Cow<'_, str> {
    let uri = &parts.uri;
    match (uri.scheme(), uri.authority(), uri.path_and_query()) {
        (None, None, Some(path)) => Cow::Borrowed(path.as_str()),
        (None, Some(authority), None) => Cow::Borrowed(authority.as_str()),
        _ => Cow::Owned(uri.to_string()),
    }
}
