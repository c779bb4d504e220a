//! The table of worker classes, for the Python side.

use indrik_core::settings::{Found, KnownClass};
use pyo3::prelude::*;

/// What runs under a worker class of that name, what is to be said about it, its event loop,
/// whether it cancels the coroutine of a client that has gone, and whether it takes the client's
/// address from `X-Forwarded-For`; `None` if no such class is known.
#[pyfunction]
pub(crate) fn worker_class_of(
    name: &str,
) -> Option<(&'static str, &'static str, &'static str, bool, bool)> {
    match KnownClass::find(name) {
        Found::Known(row) => {
            let KnownClass { kind, note, event_loop, cancels, sees_through_proxies, .. } = *row;
            Some((kind.word(), note, event_loop, cancels, sees_through_proxies))
        }
        Found::Custom | Found::Unknown(_) => None,
    }
}
