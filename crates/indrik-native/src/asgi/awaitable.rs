//! What `receive`, and a `send` that has to wait, return.
//!
//! As [`Sent`](super::sent::Sent) they are iterators as coroutines are; they finish in the step that awaits them when
//! nothing has to be waited for, and give the loop a future otherwise.

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;

use indrik_ring::CreditWait;

use super::cell::LoopCell;
use super::exception::thrown;
use super::exchange::{Exchange, How, payload_bytes};
use super::state::{ResponsePhase, out_of_order, wake};

/// What an awaitable is for.
pub(super) enum Job {
    /// The next message.
    Receive,
    /// Sending the rest of a payload when there is credit for it.
    Send {
        /// `bytes` or `str`.
        payload: Py<PyAny>,
        /// Bytes of it that are sent.
        at: usize,
        /// How it is sent.
        how: How,
        /// It is this payload's turn: others wait until it is sent.
        owner: bool,
    },
    /// Over.
    Over,
}

/// The awaitable of a `receive`, or of a `send` that has to wait.
#[pyclass(frozen, module = "indrik._native")]
pub(super) struct Awaitable {
    exchange: Py<Exchange>,
    job: LoopCell<Job>,
}

enum Poll<'py> {
    Ready(Bound<'py, PyAny>),
    Wait(Bound<'py, PyAny>),
}

#[pymethods]
impl Awaitable {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        match slf.get().poll(slf.py())? {
            Poll::Wait(future) => Ok(future),
            Poll::Ready(value) => Err(PyStopIteration::new_err((value.unbind(),))),
        }
    }

    fn send<'py>(
        slf: &Bound<'py, Self>,
        _value: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::__next__(slf)
    }

    #[pyo3(signature = (exception, value=None, _traceback=None))]
    fn throw(
        &self,
        py: Python<'_>,
        exception: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        // A result, not a bare `PyErr`: that one would be returned as an object, which to the task
        // means that the coroutine waits for it.
        self.abandon(py)?;
        Err(thrown(exception, value))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.abandon(py)
    }
}

impl Exchange {
    /// Sends a payload: at once if the window allows, else as an awaitable.
    pub(super) fn transmit<'py>(
        slf: &Bound<'py, Self>,
        payload: Bound<'py, PyAny>,
        how: How,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let mut at = 0;
        let mut owner = false;
        {
            let mut state = this.state.get()?;
            if !state.sending {
                if this.push(py, &mut state, payload_bytes(&payload)?, &mut at, how)? {
                    let waiters = state.take_completed_waiters();
                    drop(state);
                    this.server.flush_unless_batched();
                    return wake(py, waiters).and_then(|()| this.server.ready(py));
                }
                state.sending = true;
                owner = true;
            }
        }
        this.server.flush_unless_batched();
        let job = Job::Send { payload: payload.unbind(), at, how, owner };
        Ok(Bound::new(py, Awaitable::new(slf.clone().unbind(), job))?.into_any())
    }
}

impl Drop for Awaitable {
    fn drop(&mut self) {
        // A task that vanishes in the middle of a body must not keep the others waiting. From
        // another thread there is nothing to be done, and nobody waits on a loop that is gone.
        let _ = Python::attach(|py| self.abandon(py));
    }
}

impl Awaitable {
    pub(super) fn new(exchange: Py<Exchange>, job: Job) -> Self {
        Self { exchange, job: LoopCell::new(job) }
    }

    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Poll<'py>> {
        let (sends, over) = {
            let job = self.job.get()?;
            (matches!(*job, Job::Send { .. }), matches!(*job, Job::Over))
        };
        if over {
            return Err(PyRuntimeError::new_err("send() was awaited already"));
        }
        if sends {
            return self.poll_send(py);
        }
        let exchange = self.exchange.get();
        if let Some(message) = exchange.next_message(py)? {
            return Ok(Poll::Ready(message.into_any()));
        }
        let future = exchange.server.future(py)?;
        let waiters = std::mem::take(&mut exchange.state.get()?.receive_waiters);
        exchange.state.get()?.receive_waiters = joined_by(waiters, &future)?;
        Ok(Poll::Wait(future))
    }

    fn poll_send<'py>(&self, py: Python<'py>) -> PyResult<Poll<'py>> {
        let done = match self.try_send(py) {
            Ok(done) => done,
            Err(error) => {
                self.abandon(py)?;
                return Err(error);
            }
        };
        let exchange = self.exchange.get();
        exchange.server.flush_unless_batched();
        if done {
            *self.job.get()? = Job::Over;
            let waiters = {
                let mut state = exchange.state.get()?;
                state.sending = false;
                let mut waiters = state.take_completed_waiters();
                waiters.append(&mut state.send_waiters);
                waiters
            };
            wake(py, waiters)?;
            return Ok(Poll::Ready(py.None().into_bound(py)));
        }
        let future = exchange.server.future(py)?;
        let waiters = std::mem::take(&mut exchange.state.get()?.send_waiters);
        exchange.state.get()?.send_waiters = joined_by(waiters, &future)?;
        Ok(Poll::Wait(future))
    }

    /// Sends what can be sent. False: there is something left, and the credit was asked for.
    fn try_send(&self, py: Python<'_>) -> PyResult<bool> {
        let mut job = self.job.get()?;
        let Job::Send { payload, at, how, owner } = &mut *job else { return Ok(true) };
        let exchange = self.exchange.get();
        let mut state = exchange.state.get()?;
        if !state.response.sealed && (state.torn || exchange.is_gone(&state)) {
            return Err(exchange.gone_error(py));
        }
        if !*owner {
            if state.sending {
                return Ok(false);
            }
            if matches!(how, How::Body { .. }) && state.response.phase == ResponsePhase::Complete {
                return Err(out_of_order(ResponsePhase::Complete, "http.response.body"));
            }
            (*owner, state.sending) = (true, true);
        }
        let payload = payload.bind(py).clone();
        let bytes = payload_bytes(&payload)?;
        if exchange.push(py, &mut state, bytes, at, *how)? {
            return Ok(true);
        }
        // Announce the wait, then look once more: the credit may have come in between.
        let slots = &exchange.server.channel().slots;
        slots.want_credit(exchange.slot, CreditWait::Descriptor);
        if exchange.is_gone(&state) {
            return Err(exchange.gone_error(py));
        }
        exchange.push(py, &mut state, bytes, at, *how)
    }

    /// Gives the turn back; a payload that is partly sent cannot be mended.
    fn abandon(&self, py: Python<'_>) -> PyResult<()> {
        let job = std::mem::replace(&mut *self.job.get()?, Job::Over);
        let Job::Send { at, owner: true, .. } = job else { return Ok(()) };
        let waiters = {
            let mut state = self.exchange.get().state.get()?;
            state.sending = false;
            state.torn |= at != 0;
            std::mem::take(&mut state.send_waiters)
        };
        wake(py, waiters)
    }
}

/// Gives the type CPython's own "send" slot, as [`Sent`](super::sent::Sent) has it.
pub(super) fn install_send_slot(py: Python<'_>) {
    let awaitable = py.get_type::<Awaitable>();
    // SAFETY: a heap type, whose `tp_as_async` points into itself, and the function takes instances
    // of it.
    unsafe {
        if let Some(methods) = (*awaitable.as_type_ptr()).tp_as_async.as_mut() {
            methods.am_send = Some(send_awaitable);
        }
    }
}

unsafe extern "C" fn send_awaitable(
    slf: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    Python::attach(|py| {
        // SAFETY: this slot is only in the type `Awaitable`; the caller holds a reference.
        let slf = unsafe { Bound::from_borrowed_ptr(py, slf).cast_into_unchecked::<Awaitable>() };
        let (value, outcome) = match slf.get().poll(py) {
            Ok(Poll::Ready(value)) => (value.into_ptr(), ffi::PySendResult::PYGEN_RETURN),
            Ok(Poll::Wait(future)) => (future.into_ptr(), ffi::PySendResult::PYGEN_NEXT),
            Err(error) => {
                error.restore(py);
                (std::ptr::null_mut(), ffi::PySendResult::PYGEN_ERROR)
            }
        };
        // SAFETY: the caller gives a place for the result.
        unsafe { *result = value };
        outcome
    })
}

/// Those who wait, with one more. Futures of waits that were cancelled go: an application that
/// gives up waiting again and again (`asyncio.wait_for`) must not make the list grow.
fn joined_by(waiters: Vec<Py<PyAny>>, future: &Bound<'_, PyAny>) -> PyResult<Vec<Py<PyAny>>> {
    let py = future.py();
    let mut waiting = Vec::with_capacity(waiters.len() + 1);
    for waiter in waiters {
        if !waiter.bind(py).call_method0(intern!(py, "done"))?.is_truthy()? {
            waiting.push(waiter);
        }
    }
    waiting.push(future.clone().unbind());
    Ok(waiting)
}
