//! Requests that run too long, seen from the worker: which thread has which, and how it is told to
//! stop; and the thread that shows that the interpreter's lock is free.
//!
//! The front sets a flag on the request's slot, the supervisor sends a signal, and the main thread
//! looks: it raises the exception where it has such a request itself, and sets it in other threads. All
//! of it only where requests have limits.

use std::ffi::c_long;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use indrik_ring::{Control, Descriptor, Slots};
use parking_lot::{Condvar, Mutex};
use pyo3::ffi;
use pyo3::prelude::*;

/// Which thread has which request.
pub(crate) struct Running {
    /// What is raised.
    exception: Py<PyAny>,
    /// The thread that signals come to.
    main: c_long,
    /// As many as there are threads. Nothing of Python's runs while it is locked.
    entries: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    slot: u16,
    generation: u32,
    thread: c_long,
    /// The exception was raised, or set to be raised.
    told: bool,
}

/// This thread, as the interpreter names it.
pub(crate) fn this_thread() -> c_long {
    // SAFETY: only asks.
    let ident = unsafe { ffi::PyThread_get_thread_ident() };
    ident as c_long
}

/// Sets the exception that a thread raises next, or takes it back.
///
/// # Safety
/// `exception` is an exception class or null. (The interpreter is attached, as `_py` shows.)
unsafe fn set_exception(_py: Python<'_>, thread: c_long, exception: *mut ffi::PyObject) {
    // SAFETY: the caller's promise; the interpreter takes a reference of its own.
    unsafe { ffi::PyThreadState_SetAsyncExc(thread, exception) };
}

impl Running {
    /// To be made on the main thread; `exception` is a class.
    pub(crate) fn new(exception: Py<PyAny>) -> Self {
        Self { exception, main: this_thread(), entries: Mutex::new(Vec::new()) }
    }

    /// This thread begins to handle a request.
    pub(crate) fn begin(&self, request: &Descriptor) {
        let Descriptor { slot, generation, .. } = *request;
        let entry = Entry { slot, generation, thread: this_thread(), told: false };
        self.entries.lock().push(entry);
    }

    /// This thread is through with its request. An exception that comes too late for that is not
    /// raised in the next one.
    pub(crate) fn end(&self, py: Python<'_>) {
        let thread = this_thread();
        let mut entries = self.entries.lock();
        let Some(at) = entries.iter().position(|entry| entry.thread == thread) else { return };
        let entry = entries.swap_remove(at);
        if entry.told && thread != self.main {
            // SAFETY: null takes it back.
            unsafe { set_exception(py, thread, std::ptr::null_mut()) };
        }
    }

    /// Whether an error is that of a request that ran too long: no reason to end the worker.
    pub(crate) fn is_timeout(&self, py: Python<'_>, error: &PyErr) -> bool {
        error.matches(py, self.exception.bind(py)).unwrap_or(false)
    }

    /// Looks for requests that shall stop. Called on the main thread, by the signal's handler.
    ///
    /// # Errors
    /// The exception, when the main thread itself has such a request.
    pub(crate) fn look(&self, py: Python<'_>, slots: &Slots) -> PyResult<()> {
        let mut is_mine = false;
        for entry in &mut *self.entries.lock() {
            if entry.told || !slots.is_overtime(entry.slot, entry.generation) {
                continue;
            }
            entry.told = true;
            if entry.thread == self.main {
                is_mine = true;
            } else {
                // SAFETY: `exception` is a class that we hold.
                unsafe { set_exception(py, entry.thread, self.exception.as_ptr()) };
            }
        }
        if is_mine { Err(PyErr::from_value(self.exception.bind(py).call0()?)) } else { Ok(()) }
    }
}

/// The thread that shows that others can have the interpreter's lock.
pub(crate) struct Pulse {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
    /// The process that the thread is in; not in one that was forked from it.
    process: u32,
}

#[derive(Default)]
struct Stop {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Pulse {
    /// Starts it: one sign of life each time `pause` is over and the lock was had.
    ///
    /// # Errors
    /// When there is no room for a thread.
    pub(crate) fn start(control: Control, pause: Duration) -> std::io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let shared = Arc::clone(&stop);
        let run = move || {
            loop {
                {
                    let mut is_set = shared.is_set.lock();
                    if !*is_set {
                        shared.changed.wait_for(&mut is_set, pause);
                    }
                    if *is_set {
                        return;
                    }
                }
                Python::attach(|_| control.pulse());
            }
        };
        let thread = std::thread::Builder::new().name("indrik-pulse".to_owned()).spawn(run)?;
        Ok(Self { stop, thread, process: std::process::id() })
    }

    /// Ends it, and waits for that: it must not wait for the lock of an interpreter that is going
    /// away.
    pub(crate) fn stop(self, py: Python<'_>) {
        if self.process != std::process::id() {
            return;
        }
        *self.stop.is_set.lock() = true;
        self.stop.changed.notify_all();
        // What it panicked with, if it did, was written to the log.
        py.detach(|| drop(self.thread.join()));
    }
}
