//! The table of worker classes, for the Python side.

use indrik_core::settings::{Found, KnownClass};
use pyo3::prelude::*;

/// What runs under a worker class of that name, what is to be said about it, its event loop, and
/// whether it cancels the coroutine of a client that has gone; `None` if no such class is known.
#[pyfunction]
pub(crate) fn worker_class_of(
    name: &str,
) -> Option<(&'static str, &'static str, &'static str, bool)> {
    match KnownClass::find(name) {
        Found::Known(row) => Some((row.kind.word(), row.note, row.event_loop, row.cancels)),
        Found::Custom | Found::Unknown(_) => None,
    }
}
