//! The thread that looks into a worker: a real one, whatever the application has patched, which takes no signals
//! and is there only while there is something to do.
//!
//! It is started by a signal's handler, in the main thread, because a process that has a second thread all the
//! time is no process that an application may fork without a warning.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use indrik_sys::origin::Origin;
use indrik_sys::signals::without_signals;
use parking_lot::{Condvar, Mutex};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// Its stack. What it runs of Python is short, but a finalizer of the application may run there.
const STACK_BYTES: usize = 1024 * 1024;

/// The thread, if there is one just now.
#[pyclass(frozen, module = "indrik._native")]
pub(crate) struct Helper {
    shared: Arc<Shared>,
    /// A child that the application forks has none.
    origin: Origin,
}

struct Shared {
    /// What the thread calls for as long as somebody has asked for it.
    serve: Py<PyAny>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Somebody asked since the thread last looked.
    is_wanted: bool,
    is_running: bool,
    stops: bool,
    thread: Option<JoinHandle<()>>,
}

#[pymethods]
impl Helper {
    /// `serve()` is called on the thread.
    #[new]
    fn new(serve: Py<PyAny>) -> PyResult<Self> {
        let state = Mutex::default();
        let shared = Shared { serve, state, changed: Condvar::new() };
        Ok(Self { shared: Arc::new(shared), origin: Origin::here()? })
    }

    /// Has `serve` called once more from now on.
    ///
    /// # Errors
    /// `OSError` when there is no room for a thread.
    fn start(&self) -> PyResult<()> {
        if !self.origin.is_here() {
            return Ok(());
        }
        let mut state = self.shared.state.lock();
        state.is_wanted = true;
        if state.is_running || state.stops {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let builder =
            std::thread::Builder::new().name("indrik-inside".to_owned()).stack_size(STACK_BYTES);
        let spawned = without_signals(|| builder.spawn(move || shared.run()));
        let thread = spawned.map_err(|error| PyOSError::new_err(error.to_string()))?;
        // The one before has ended, or is about to without looking at anything.
        state.thread = Some(thread);
        state.is_running = true;
        Ok(())
    }

    /// Waits so long, with the interpreter's lock released. False: the worker is about to end.
    fn pause(&self, py: Python<'_>, seconds: f64) -> bool {
        let limit = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        py.detach(|| self.wait(limit))
    }

    /// Ends it, and waits for that: it must not wait for the lock of an interpreter that is going away.
    fn stop(&self, py: Python<'_>) {
        if !self.origin.is_here() {
            return;
        }
        let thread = {
            let mut state = self.shared.state.lock();
            state.stops = true;
            state.thread.take()
        };
        self.shared.changed.notify_all();
        // What it panicked with, if it did, was written to the log.
        py.detach(|| drop(thread.map(JoinHandle::join)));
    }
}

impl Helper {
    /// Waits so long; the interpreter must be detached. False: the worker is about to end.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let mut state = self.shared.state.lock();
        if !state.stops && !limit.is_zero() {
            self.shared.changed.wait_for(&mut state, limit);
        }
        !state.stops
    }
}

impl Shared {
    fn run(&self) {
        while self.is_wanted() {
            Python::attach(|py| {
                if let Err(error) = self.serve.call0(py) {
                    error.write_unraisable(py, Some(self.serve.bind(py)));
                }
            });
        }
    }

    /// Whether there is more to do; if not, the next who asks starts another thread.
    fn is_wanted(&self) -> bool {
        let mut state = self.state.lock();
        let goes_on = std::mem::take(&mut state.is_wanted) && !state.stops;
        state.is_running = goes_on;
        goes_on
    }
}
