//! Lines of the worker in the error log, in Gunicorn's form.

use std::ffi::CStr;
use std::io::Write;

use pyo3::prelude::*;

/// How bad it is.
#[derive(Clone, Copy)]
pub(crate) enum Level {
    /// Something is odd, and was put right.
    Warning,
    /// A request failed.
    Error,
}

/// Writes `[time] [pid] [LEVEL] message` to standard error, which is the error log.
pub(crate) fn line(level: Level, message: &str) {
    let level = match level {
        Level::Warning => "WARNING",
        Level::Error => "ERROR",
    };
    let text = format!("[{}] [{}] [{level}] {message}\n", now(), std::process::id());
    // One write, so that lines of several workers do not mix. Nobody could be told of a failure.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Writes a line and the exception's traceback below it.
pub(crate) fn exception(py: Python<'_>, message: &str, error: &PyErr) {
    let traceback = format_exception(py, error).unwrap_or_else(|_| error.to_string());
    line(Level::Error, &format!("{message}\n{}", traceback.trim_end()));
}

/// The text that Python would print for an exception.
///
/// # Errors
/// What the exception's own `__str__` may raise.
pub(crate) fn format_exception(py: Python<'_>, error: &PyErr) -> PyResult<String> {
    // Before Python 3.12 the traceback need not be attached to the exception yet.
    let parts = (error.get_type(py), error.value(py), error.traceback(py));
    let lines = py.import("traceback")?.call_method1("format_exception", parts)?;
    Ok(lines.extract::<Vec<String>>()?.concat())
}

/// The local time, as `2026-01-31 12:00:00 +0000`.
fn now() -> String {
    let mut text = [0u8; 64];
    // SAFETY: every pointer is to a live local of the type the call wants; strftime ends what it
    // writes with a zero byte and writes at most the length given.
    unsafe {
        let seconds = libc::time(std::ptr::null_mut());
        let mut parts: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const seconds, &raw mut parts);
        let format = c"%Y-%m-%d %H:%M:%S %z";
        libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), &raw const parts);
    }
    CStr::from_bytes_until_nul(&text)
        .map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
}
