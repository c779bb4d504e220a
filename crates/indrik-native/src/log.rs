//! Lines of the worker in the error log: in Gunicorn's form, as JSON, or handed to a Python logger.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::SystemTime;

use indrik_core::logs::entry;
pub(crate) use indrik_core::logs::level::Level;
use indrik_sys::clock;
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The error log's descriptor: standard error until [`set_log`] says otherwise.
static TARGET: AtomicI32 = AtomicI32::new(2);
static AS_JSON: AtomicBool = AtomicBool::new(false);
/// It is a terminal that takes colours.
static IN_COLOUR: AtomicBool = AtomicBool::new(false);
/// `sink(level, message, exception)`: the Python logger that writes, if one does.
static SINK: Mutex<Option<Py<PyAny>>> = Mutex::new(None);

/// Says where the error log is: a descriptor that stays open as long as the process lives, whether
/// its entries are JSON, and what takes them instead.
#[pyfunction]
#[pyo3(signature = (fd, as_json=false, sink=None))]
pub(crate) fn set_log(fd: RawFd, as_json: bool, sink: Option<Py<PyAny>>) -> PyResult<()> {
    if fd < 0 {
        return Err(PyValueError::new_err(format!("{fd} is no file descriptor")));
    }
    TARGET.store(fd, Ordering::Relaxed);
    AS_JSON.store(as_json, Ordering::Relaxed);
    IN_COLOUR.store(is_in_colour(fd), Ordering::Relaxed);
    *SINK.lock() = sink;
    Ok(())
}

/// As the supervisor decides it for its own lines: of standard streams only.
fn is_in_colour(fd: RawFd) -> bool {
    if fd > 2 {
        return false;
    }
    // SAFETY: the standard streams are open as long as the process lives.
    let is_terminal = rustix::termios::isatty(unsafe { BorrowedFd::borrow_raw(fd) });
    let [terminal, no_color, force_color] =
        ["TERM", "NO_COLOR", "FORCE_COLOR"].map(|name| std::env::var(name).ok());
    let [terminal, no_color, force_color] =
        [terminal.as_deref(), no_color.as_deref(), force_color.as_deref()];
    entry::wants_colour(is_terminal, terminal, no_color, force_color)
}

/// The error log's descriptor.
pub(crate) fn fd() -> RawFd {
    TARGET.load(Ordering::Relaxed)
}

/// Writes an entry of a level ("ERROR") as the settings say, without a Python logger.
#[pyfunction]
pub(crate) fn write_log(py: Python<'_>, level: &str, text: &str) -> PyResult<()> {
    let levels = [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical];
    let level = levels.into_iter().find(|known| known.name() == level);
    let level = level.ok_or_else(|| PyValueError::new_err("no such level"))?;
    // The log may be a pipe whose reader is slow.
    py.detach(|| write_entry(level, text));
    Ok(())
}

/// Writes an entry.
pub(crate) fn line(level: Level, message: &str) {
    let has_sink = SINK.lock().is_some();
    if !has_sink || !Python::attach(|py| hand_over(py, level, message, None)) {
        write_entry(level, message);
    }
}

/// Writes an entry and the exception's traceback below it.
pub(crate) fn exception(py: Python<'_>, message: &str, error: &PyErr) {
    if hand_over(py, Level::Error, message, Some(error)) {
        return;
    }
    let traceback = format_exception(py, error).unwrap_or_else(|_| error.to_string());
    write_entry(Level::Error, &format!("{message}\n{}", traceback.trim_end()));
}

/// Writes bytes to the error log as they are: what the application writes for it.
///
/// # Errors
/// What the system says.
pub(crate) fn write_bytes(mut bytes: &[u8]) -> std::io::Result<()> {
    // SAFETY: the descriptor is standard error, or one that `set_log`'s caller keeps open.
    let target = unsafe { BorrowedFd::borrow_raw(TARGET.load(Ordering::Relaxed)) };
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(target, bytes))?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Gives an entry to the Python logger. False: there is none, or it failed.
fn hand_over(py: Python<'_>, level: Level, message: &str, error: Option<&PyErr>) -> bool {
    let sink = SINK.lock().as_ref().map(|sink| sink.clone_ref(py));
    let Some(sink) = sink else { return false };
    let raised = error.map(|error| {
        let value = error.value(py).clone();
        // Before Python 3.12 the traceback need not be attached to the exception yet.
        if let Some(traceback) = error.traceback(py) {
            let _ = value.setattr("__traceback__", traceback);
        }
        value
    });
    sink.call1(py, (level.name(), message, raised)).is_ok()
}

fn write_entry(level: Level, text: &str) {
    let (now, pid) = (SystemTime::now(), std::process::id());
    let time = clock::local(now);
    let entry = match (AS_JSON.load(Ordering::Relaxed), IN_COLOUR.load(Ordering::Relaxed)) {
        (true, _) => entry::object(&time.iso(clock::millis(now)), level, pid, text, &[]),
        (false, true) => entry::coloured_line(&time.plain(), level, pid, text),
        (false, false) => entry::line(&time.plain(), level, pid, text),
    };
    // One write, so that entries of several workers do not mix. Nobody could be told of a failure.
    let _ = write_bytes(&entry);
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
