//! Exceptions as the protocols of coroutines have them.

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;

/// The exception that `throw` was called with, in either of its forms.
pub(super) fn thrown(exception: Bound<'_, PyAny>, value: Option<Bound<'_, PyAny>>) -> PyErr {
    match value {
        Some(value) if value.is_instance(&exception).unwrap_or(false) => PyErr::from_value(value),
        Some(value) => match exception.call1((value,)) {
            Ok(made) => PyErr::from_value(made),
            Err(error) => error,
        },
        None => PyErr::from_value(exception),
    }
}

/// Whether the application asked for the end of its process: `sys.exit()` and the like.
pub(super) fn is_exit(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py)
}

/// Whether a task was cancelled, which whoever cancelled it wants to see.
pub(super) fn is_cancelled(py: Python<'_>, error: &PyErr) -> bool {
    error.get_type(py).name().is_ok_and(|name| name == "CancelledError")
}
