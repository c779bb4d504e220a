//! What Python wants to be called around requests: `pre_request`, `post_request`, and Python's access
//! log. The object is `indrik.request_hooks.RequestHooks`; without one, none of this is looked at.

use std::time::Instant;

use indrik_ring::RequestHead;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::text::latin1_str;

/// A request that hooks are called around.
pub(crate) struct Watched {
    hooks: Py<PyAny>,
    request: Py<PyAny>,
    began: Instant,
}

/// What is known of the response when the application has returned.
pub(crate) struct Outcome<'py> {
    /// `"200 OK"` or 200; `None` when the application began no response.
    pub(crate) status: Option<Bound<'py, PyAny>>,
    /// Pairs of `str`.
    pub(crate) headers: Bound<'py, PyList>,
    /// The declared length.
    pub(crate) length: Option<u64>,
    /// Bytes of the body that were sent.
    pub(crate) sent: u64,
    /// Whether the head is on its way.
    pub(crate) headers_sent: bool,
}

impl Watched {
    /// Makes the object that hooks see; `body` is what the application reads the body from.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn new(
        py: Python<'_>,
        hooks: &Py<PyAny>,
        head: &RequestHead<'_>,
        body: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let headers = PyList::empty(py);
        for (name, value) in head.headers {
            let name = latin1_str(py, &name.to_ascii_uppercase())?;
            headers.append((name, latin1_str(py, value)?))?;
        }
        let client = latin1_str(py, head.client)?;
        let peer = if head.client.is_empty() {
            client
        } else {
            (client, head.client_port).into_pyobject(py)?.into_any()
        };
        let arguments = (
            latin1_str(py, head.method)?,
            latin1_str(py, head.target)?,
            head.version,
            headers,
            peer,
            if head.secure { "https" } else { "http" },
            body,
        );
        let request = hooks.call_method1(py, "request", arguments)?;
        Ok(Self { hooks: hooks.clone_ref(py), request, began: Instant::now() })
    }

    /// `pre_request`; whether it has changed the request.
    ///
    /// # Errors
    /// What the hook raises.
    pub(crate) fn before(&self, py: Python<'_>) -> PyResult<bool> {
        self.hooks.call_method1(py, "before", (&self.request,))?.is_truthy(py)
    }

    /// Puts what the hook has changed into the environ.
    ///
    /// # Errors
    /// When what it left cannot be put there.
    pub(crate) fn change(&self, py: Python<'_>, environ: &Bound<'_, PyDict>) -> PyResult<()> {
        self.hooks.call_method1(py, "change", (&self.request, environ)).map(drop)
    }

    /// `post_request`, and the access log. `environ` is `None` when none was made.
    ///
    /// # Errors
    /// What ends the worker; ordinary exceptions are logged there.
    pub(crate) fn after(
        &self,
        py: Python<'_>,
        environ: Option<&Bound<'_, PyDict>>,
        outcome: Outcome<'_>,
    ) -> PyResult<()> {
        let seconds = self.began.elapsed().as_secs_f64();
        let Outcome { status, headers, length, sent, headers_sent } = outcome;
        let arguments =
            (&self.request, environ, status, headers, length, sent, headers_sent, seconds);
        self.hooks.call_method1(py, "after", arguments).map(drop)
    }

    /// The same for ASGI, where there is no environ.
    ///
    /// # Errors
    /// As [`Self::after`].
    pub(crate) fn after_asgi(&self, py: Python<'_>, outcome: Outcome<'_>) -> PyResult<()> {
        let seconds = self.began.elapsed().as_secs_f64();
        let Outcome { status, headers, length, sent, headers_sent } = outcome;
        let arguments = (&self.request, status, headers, length, sent, headers_sent, seconds);
        self.hooks.call_method1(py, "after_asgi", arguments).map(drop)
    }
}

/// Header fields as a list of pairs.
///
/// # Errors
/// `MemoryError`.
pub(crate) fn pairs<'py, 'a>(
    py: Python<'py>,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for (name, value) in fields {
        list.append((latin1_str(py, name)?, latin1_str(py, value)?))?;
    }
    Ok(list)
}
