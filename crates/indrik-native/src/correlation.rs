//! What a request is called, for the application's log records: a context variable that has it while the request
//! runs, and the environ or scope.

use indrik_ring::RequestHead;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::text::{check, interned, latin1_str};

/// The digits of a trace in `traceparent`, and those of the span.
const TRACE: std::ops::Range<usize> = 3..35;
const SPAN: std::ops::Range<usize> = 36..52;
/// The only length of that header that the front writes.
const TRACEPARENT_BYTES: usize = 55;

/// Where requests find what they are called; see `indrik.correlation`.
pub(crate) struct Correlation {
    /// A `ContextVar`.
    current: Py<PyAny>,
    /// The header that has the id, in lower case; empty: there is none.
    header: Vec<u8>,
    /// Whether the front has put the trace into the head.
    traces: bool,
    /// `indrik.request_id`.
    key: Py<PyAny>,
}

/// What one request is called.
pub(crate) struct Called<'py> {
    id: Option<Bound<'py, PyAny>>,
}

impl Correlation {
    /// From the worker's options: `(variable, header, traces)`.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn from_option(option: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (current, header, traces): (Py<PyAny>, String, bool) = option.extract()?;
        let key = interned(option.py(), "indrik.request_id").unbind();
        Ok(Self { current, header: header.to_ascii_lowercase().into_bytes(), traces, key })
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            current: self.current.clone_ref(py),
            header: self.header.clone(),
            traces: self.traces,
            key: self.key.clone_ref(py),
        }
    }

    /// The request begins: from now on the context has its names.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn begin<'py>(
        &self,
        py: Python<'py>,
        head: &RequestHead<'_>,
    ) -> PyResult<Called<'py>> {
        let (mut id, mut parent) = (None, None);
        for (name, value) in head.headers {
            if name == self.header {
                id = Some(latin1_str(py, value)?);
            } else if self.traces && name == b"traceparent" && value.len() == TRACEPARENT_BYTES {
                parent = Some(value);
            }
        }
        let part = |range: std::ops::Range<usize>| {
            parent.map(|value| latin1_str(py, &value[range])).transpose()
        };
        let names = PyTuple::new(py, [id.clone(), part(TRACE)?, part(SPAN)?])?;
        self.set(py, names.as_any())?;
        Ok(Called { id })
    }

    /// The request is over: what this thread does next is not its own.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn end(&self, py: Python<'_>) -> PyResult<()> {
        self.set(py, &py.None().into_bound(py))
    }

    fn set(&self, py: Python<'_>, names: &Bound<'_, PyAny>) -> PyResult<()> {
        // SAFETY: a context variable (or an error), and a live object; the token that comes back is dropped.
        unsafe {
            let token = ffi::PyContextVar_Set(self.current.as_ptr(), names.as_ptr());
            Bound::from_owned_ptr_or_err(py, token).map(drop)
        }
    }

    /// Puts the id where the application looks for it.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn tell(&self, called: &Called<'_>, into: &Bound<'_, PyDict>) -> PyResult<()> {
        let Some(id) = &called.id else { return Ok(()) };
        // SAFETY: all three are live objects; the dict is a dict.
        let status = unsafe { ffi::PyDict_SetItem(into.as_ptr(), self.key.as_ptr(), id.as_ptr()) };
        check(into.py(), status)
    }

    /// The same in a scope: among its extensions, and in the state that the request has of its own.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn tell_scope(
        &self,
        called: &Called<'_>,
        scope: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let Some(id) = &called.id else { return Ok(()) };
        let py = scope.py();
        let told = PyDict::new(py);
        told.set_item("request_id", id)?;
        if let Some(extensions) = scope.get_item("extensions")? {
            extensions.set_item("indrik.request", &told)?;
        }
        match scope.get_item("state")? {
            Some(state) => state.set_item("request_id", id),
            None => scope.set_item("state", told.copy()?),
        }
    }
}
