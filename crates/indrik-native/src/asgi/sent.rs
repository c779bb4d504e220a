//! The awaitable of a `send` that did not have to wait.

use pyo3::exceptions::PyStopIteration;
use pyo3::ffi;
use pyo3::prelude::*;

use super::exception::thrown;

/// The awaitable of a `send` that is over; one object for all.
#[pyclass(frozen, module = "indrik._native")]
pub(super) struct Sent;

#[pymethods]
impl Sent {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Stops at once, with `None`.
    #[expect(clippy::unused_self, reason = "a method of Python's protocol")]
    const fn __next__(&self) -> Option<Py<PyAny>> {
        None
    }

    #[expect(clippy::unused_self, reason = "a method of Python's protocol")]
    fn send(&self, _value: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (exception, value=None, _traceback=None))]
    #[expect(clippy::unused_self, reason = "a method of Python's protocol")]
    fn throw(
        &self,
        exception: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Err(thrown(exception, value))
    }

    #[expect(clippy::unused_self, reason = "a method of Python's protocol")]
    const fn close(&self) {}
}

/// Gives the type CPython's own "send" slot, which PyO3 has no name for. With it a value is handed
/// over as it is, without a `StopIteration` around it.
pub(super) fn install_send_slot(py: Python<'_>) {
    let sent = py.get_type::<Sent>();
    // SAFETY: a heap type, whose `tp_as_async` points into itself, and the function takes instances
    // of it.
    unsafe {
        if let Some(methods) = (*sent.as_type_ptr()).tp_as_async.as_mut() {
            methods.am_send = Some(send_sent);
        }
    }
}

unsafe extern "C" fn send_sent(
    _slf: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: the caller holds the GIL and gives a place for the result.
    unsafe {
        let none = ffi::Py_None();
        ffi::Py_INCREF(none);
        *result = none;
    }
    ffi::PySendResult::PYGEN_RETURN
}
