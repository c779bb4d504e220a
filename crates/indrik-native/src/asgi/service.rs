//! What of the server its requests and WebSockets use.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::cell::LoopCell;
use super::exception::is_exit;
use super::sent::Sent;
use crate::channel::{Channel, broken};
use crate::correlation::Correlation;

/// Shared by the server and all that it serves; `E`: what that is.
pub(super) struct Service<E> {
    pub(super) channel: Py<Channel>,
    pub(super) event_loop: Py<PyAny>,
    /// The exception class of a `send` to a client that is gone.
    pub(super) client_gone: Py<PyAny>,
    /// `b""`.
    pub(super) empty: Py<PyBytes>,
    pub(super) sent: Py<Sent>,
    pub(super) live: LoopCell<Live<E>>,
    pub(super) in_batch: AtomicBool,
    /// Whether the route is looked for that a framework leaves.
    pub(super) finds_routes: bool,
    /// What requests are called, where anybody wants to know.
    pub(super) correlation: Option<Correlation>,
    /// What is called around requests; see `around`.
    pub(super) around: Option<Py<PyAny>>,
    /// Address of the exchange whose coroutine takes a step just now; 0: none.
    pub(super) stepping: AtomicUsize,
    /// `(scope, exception, gone)`: an application raised.
    pub(super) report: Py<PyAny>,
    /// `(error)`: nothing is left to do, or (with an error) nothing can be done any more.
    pub(super) stop: Py<PyAny>,
    /// `(exception)`: an application asked for the end of its process; the log has been told.
    pub(super) exit: Py<PyAny>,
}

/// What is being served.
pub(super) struct Live<E> {
    /// By slot.
    pub(super) exchanges: Vec<Option<Py<E>>>,
    pub(super) in_flight: usize,
    pub(super) stopped: bool,
}

impl<E> Service<E> {
    #[inline]
    pub(super) fn channel(&self) -> &Channel {
        self.channel.get()
    }

    /// The awaitable of a `send` that is over.
    pub(super) fn ready<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.sent.bind(py).as_any().clone())
    }

    /// A future of the loop, marked as awaited, for a task to wait for.
    pub(super) fn future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let future = self.event_loop.bind(py).call_method0(intern!(py, "create_future"))?;
        future.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
        Ok(future)
    }

    /// Wakes the front after something was sent; inside a batch that happens at its end.
    #[inline]
    pub(super) fn flush_unless_batched(&self) {
        if !self.in_batch.load(Ordering::Relaxed) {
            self.channel().flush();
        }
    }

    /// Notes whose coroutine takes a step now (none: the step is over).
    pub(super) fn set_stepping(&self, step: Option<(*const pyo3::ffi::PyObject, u16, u32)>) {
        self.stepping.store(step.map_or(0, |(exchange, ..)| exchange as usize), Ordering::Relaxed);
        self.channel().step(step.map(|(_, slot, generation)| (slot, generation)));
    }

    /// Whether this exchange's coroutine takes a step now: then the end of a response may wait for
    /// the end of the step.
    pub(super) fn is_stepping(&self, exchange: &Bound<'_, E>) -> bool {
        self.stepping.load(Ordering::Relaxed) == exchange.as_ptr() as usize
    }

    /// The slot is not used any more.
    pub(super) fn forget(&self, slot: u16) -> PyResult<()> {
        let gone = {
            let mut live = self.live.get()?;
            live.in_flight = live.in_flight.saturating_sub(1);
            live.exchanges.get_mut(usize::from(slot)).and_then(Option::take)
        };
        drop(gone);
        Ok(())
    }

    /// Whether anything is called around requests.
    pub(super) fn has_hooks(&self) -> bool {
        self.around.is_some()
    }

    /// Logs what an application raised.
    pub(super) fn report(
        &self,
        py: Python<'_>,
        scope: Option<&Py<PyDict>>,
        error: &PyErr,
        gone: bool,
    ) -> PyResult<()> {
        let exits = is_exit(py, error);
        // Only this form has the traceback on it.
        let error = error.clone_ref(py).into_value(py);
        self.report.call1(py, (scope, &error, gone))?;
        // Not raised through the loop, where it would end the other requests as well.
        if exits { self.exit.call1(py, (error,)).map(drop) } else { Ok(()) }
    }

    /// Stops the loop if the worker shall leave and nothing is left to do.
    pub(super) fn stop_if_idle(&self, py: Python<'_>) -> PyResult<()> {
        if self.in_batch.load(Ordering::Relaxed) || !self.channel().control.is_shut_down() {
            return Ok(());
        }
        let empty = !self.channel().requests.lock().look().map_err(broken)?;
        let idle = self.live.get()?.in_flight == 0;
        if empty && idle { self.stop(py, None) } else { Ok(()) }
    }

    pub(super) fn stop(&self, py: Python<'_>, error: Option<PyErr>) -> PyResult<()> {
        if std::mem::replace(&mut self.live.get()?.stopped, true) {
            return Ok(());
        }
        self.stop.call1(py, (error.map(|error| error.into_value(py)),)).map(|_| ())
    }
}
