//! `wsgi.errors`: what the application writes for the error log.

use std::os::fd::RawFd;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::log;

/// A text stream over the error log. Nothing is kept back, so lines of several workers do not mix
/// and nothing is lost when a worker dies.
#[pyclass(frozen, module = "indrik._native")]
pub(crate) struct ErrorStream;

#[pymethods]
impl ErrorStream {
    /// Writes text; what UTF-8 cannot hold (lone surrogates) is written as an escape.
    fn write(&self, py: Python<'_>, text: &Bound<'_, PyString>) -> PyResult<usize> {
        let encoded = text.call_method1("encode", ("utf-8", "backslashreplace"))?;
        let bytes: Vec<u8> = encoded.extract()?;
        // The log may be a pipe whose reader is slow.
        py.detach(|| log::write_bytes(&bytes))?;
        text.len()
    }

    /// Writes several texts.
    fn writelines(&self, py: Python<'_>, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(py, line?.cast::<PyString>()?)?;
        }
        Ok(())
    }

    /// Does nothing: nothing is kept back.
    #[expect(clippy::unused_self, reason = "a method in Python")]
    const fn flush(&self) {}

    /// Does nothing: the log is not the application's to close.
    #[expect(clippy::unused_self, reason = "a method in Python")]
    const fn close(&self) {}

    #[getter]
    #[expect(clippy::unused_self, reason = "an attribute in Python")]
    const fn closed(&self) -> bool {
        false
    }

    /// Never a terminal for whoever asks whether to write colours: the log is a log.
    #[expect(clippy::unused_self, reason = "a method in Python")]
    const fn isatty(&self) -> bool {
        false
    }

    /// The error log's descriptor.
    #[expect(clippy::unused_self, reason = "a method in Python")]
    fn fileno(&self) -> RawFd {
        log::fd()
    }

    #[expect(clippy::unused_self, reason = "a method in Python")]
    const fn readable(&self) -> bool {
        false
    }

    #[expect(clippy::unused_self, reason = "a method in Python")]
    const fn writable(&self) -> bool {
        true
    }

    #[expect(clippy::unused_self, reason = "a method in Python")]
    const fn seekable(&self) -> bool {
        false
    }

    #[getter]
    #[expect(clippy::unused_self, reason = "an attribute in Python")]
    const fn name(&self) -> &'static str {
        "<wsgi.errors>"
    }

    #[getter]
    #[expect(clippy::unused_self, reason = "an attribute in Python")]
    const fn mode(&self) -> &'static str {
        "w"
    }

    #[getter]
    #[expect(clippy::unused_self, reason = "an attribute in Python")]
    const fn encoding(&self) -> &'static str {
        "utf-8"
    }

    #[getter]
    #[expect(clippy::unused_self, reason = "an attribute in Python")]
    const fn errors(&self) -> &'static str {
        "backslashreplace"
    }
}
