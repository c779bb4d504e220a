//! A greenlet for each request: what `indrik.greenlets` drives from the hub of gevent or eventlet.
//!
//! The hub's greenlet takes requests from the ring and makes a [`Work`] of each; Python starts a
//! greenlet that calls it. Everything happens on the hub's thread. A greenlet may be switched out
//! wherever Python code runs below [`Work::__call__`], so nothing there may hold what another
//! greenlet of this thread could wait for; `docs/decisions/0008-greenlets.md` goes through it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use indrik_ring::{Descriptor, Failure, Flags, Kind, STOP_OVERTIME, SlotState};
use parking_lot::Mutex;
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::channel::{Channel, broken};
use crate::options::Options;
use crate::wsgi::handler::{Handler, Taken, Unstarted};

/// Handlers kept for later requests. Making one costs some microseconds; each holds an environ's
/// template.
const SPARE_HANDLERS_MAX: usize = 64;

/// The requests of a worker whose requests are greenlets.
#[pyclass(frozen, module = "indrik._native")]
pub(crate) struct GreenServer {
    channel: Py<Channel>,
    app: Py<PyAny>,
    options: Options,
    /// Greenlets at once; further requests stay where the front can take them back.
    capacity: usize,
    /// Never held while Python code runs.
    core: Mutex<Core>,
}

struct Core {
    /// Out of the ring, not started. The front has a slot for each, so there are at most as many.
    waiting: VecDeque<Unstarted>,
    #[expect(clippy::vec_box, reason = "a handler on a greenlet's stack is copied at each switch")]
    spare: Vec<Box<Handler>>,
    running: usize,
    /// Why the worker must end.
    failure: Option<PyErr>,
}

/// What [`GreenServer::next`] found.
#[derive(IntoPyObject)]
pub(crate) enum Next {
    /// A request that has started; to be called on a greenlet of its own.
    Work(Py<Work>),
    /// The slot of a response that may go on: its client took something, or has gone.
    Credit(u16),
    /// The slot of a request that ran too long and shall stop, and which use of the slot it is.
    Stop((u16, u32)),
}

#[pymethods]
impl GreenServer {
    /// `pause(slot)` lets other greenlets run until [`Self::next`] has returned that slot, or for a
    /// while.
    #[new]
    fn new(
        channel: Py<Channel>,
        app: Py<PyAny>,
        options: &Bound<'_, PyDict>,
        capacity: usize,
        pause: Py<PyAny>,
    ) -> PyResult<Self> {
        channel.get().set_pause(pause)?;
        Ok(Self {
            options: Options::from_dict(options)?,
            channel,
            app,
            capacity: capacity.max(1),
            core: Mutex::new(Core {
                waiting: VecDeque::new(),
                spare: Vec::new(),
                running: 0,
                failure: None,
            }),
        })
    }

    /// The descriptor that becomes readable when there is something to do.
    fn fileno(&self) -> RawFd {
        self.channel.get().wake.as_fd().as_raw_fd()
    }

    /// To be called first when the descriptor is readable.
    fn woken(&self) {
        let channel = self.channel.get();
        channel.clear_wake();
        channel.requests.lock().awake();
    }

    /// The next thing to do, if any.
    ///
    /// # Errors
    /// When the channel is broken, or a request failed in a way that ends the worker.
    fn next(slf: &Bound<'_, Self>) -> PyResult<Option<Next>> {
        let this = slf.get();
        this.channel.get().leave_if_forked(slf.py());
        this.channel.get().check_descriptors()?;
        let failure = this.core.lock().failure.take();
        if let Some(failure) = failure {
            return Err(failure);
        }
        if let Some(told) = this.empty_ring()? {
            return Ok(Some(told));
        }
        let Some(taken) = this.start_next() else { return Ok(None) };
        let Descriptor { slot, generation, .. } = taken.0.descriptor();
        let job = Mutex::new(Some(taken));
        let work = Work { server: slf.clone().unbind(), slot, generation, job };
        Ok(Some(Next::Work(Py::new(slf.py(), work)?)))
    }

    /// To be called when there is nothing more to do. True: the descriptor will tell when there
    /// is; false: something has come.
    ///
    /// # Errors
    /// When the channel is broken.
    fn rest(&self) -> PyResult<bool> {
        let channel = self.channel.get();
        channel.flush();
        channel.requests.lock().prepare_sleep().map_err(broken)
    }

    /// Whether the worker was asked to leave and every request has ended.
    fn is_over(&self) -> bool {
        let core = self.core.lock();
        core.running == 0 && core.waiting.is_empty() && self.channel.get().control.is_shut_down()
    }

    /// Greenlets whose request has not ended.
    #[getter]
    fn running(&self) -> usize {
        self.core.lock().running
    }
}

impl GreenServer {
    /// Takes everything out of the ring, up to what is about a request that runs.
    fn empty_ring(&self) -> PyResult<Option<Next>> {
        let channel = self.channel.get();
        let mut requests = channel.requests.lock();
        loop {
            let Some(descriptor) = requests.receive().map_err(broken)? else { return Ok(None) };
            let is_request = descriptor.kind == Kind::Request;
            if is_request {
                // SAFETY: the worker trusts its front, and the payload is released below.
                let payload = unsafe { requests.payload(&descriptor) };
                self.keep(Unstarted::copy(channel, descriptor, payload));
            }
            if requests.release() {
                channel.ring_front();
            }
            if !is_request {
                let Descriptor { kind, slot, generation, aux, .. } = descriptor;
                let stops = kind == Kind::Disconnect && aux == STOP_OVERTIME;
                let told = if stops { Next::Stop((slot, generation)) } else { Next::Credit(slot) };
                return Ok(Some(told));
            }
        }
    }

    /// Puts a request behind the others. One that the front took back leaves its place here when
    /// its turn comes, or when there are more than the front can have.
    fn keep(&self, request: Unstarted) {
        let slots = &self.channel.get().slots;
        let mut core = self.core.lock();
        if core.waiting.len() >= usize::from(slots.count()) {
            core.waiting.retain(|waiting| {
                let Descriptor { slot, generation, .. } = waiting.descriptor;
                slots.state(slot, generation) == SlotState::Queued
            });
        }
        core.waiting.push_back(request);
    }

    /// Starts the request that waits longest, if another one may run.
    fn start_next(&self) -> Option<(Taken, Vec<u8>)> {
        let mut core = self.core.lock();
        while core.running < self.capacity {
            if let Some(started) = core.waiting.pop_front()?.start(self.channel.get()) {
                core.running += 1;
                return Some(started);
            }
        }
        None
    }

    /// Runs a request, on its greenlet.
    fn run(&self, py: Python<'_>, taken: Taken, head: &[u8]) -> PyResult<()> {
        let spare = self.core.lock().spare.pop();
        let mut handler = match spare {
            Some(handler) => handler,
            None => {
                let made = Handler::new(py, &self.channel, &self.app, &self.options);
                Box::new(made.inspect_err(|_| self.give_up(py, taken.descriptor()))?)
            }
        };
        let handled = handler.handle(py, taken, Instant::now(), head);
        let unused = {
            let mut core = self.core.lock();
            if core.spare.len() < SPARE_HANDLERS_MAX {
                core.spare.push(handler);
                None
            } else {
                Some(handler)
            }
        };
        // Outside the lock: what it refers to may run Python code when it goes away.
        drop(unused);
        handled
    }

    /// Notes the end of a request.
    fn ended(&self, py: Python<'_>, outcome: PyResult<()>) {
        let channel = self.channel.get();
        channel.flush();
        // What is no `Exception` ends the greenlet and nothing else: sys.exit(), GreenletExit, a
        // Timeout of gevent's. The request has been answered and the log has the traceback.
        let fatal = outcome.err().filter(|error| error.is_instance_of::<PyException>(py));
        let (must_turn, replaced) = {
            let mut core = self.core.lock();
            core.running = core.running.saturating_sub(1);
            let replaced = fatal.and_then(|fatal| core.failure.replace(fatal));
            (core.failure.is_some() || !core.waiting.is_empty(), replaced)
        };
        // Outside the lock, as in `run`.
        drop(replaced);
        if must_turn || channel.control.is_shut_down() {
            channel.ring_own();
        }
    }

    /// Answers for a request that is not going to run.
    #[cold]
    fn give_up(&self, py: Python<'_>, descriptor: Descriptor) {
        let channel = self.channel.get();
        let Descriptor { slot, generation, .. } = descriptor;
        let how = Failure::Before as u64;
        let failed = Descriptor::new(Kind::Failed, Flags::DONE, slot, generation, how);
        // If the channel is broken the worker ends, and the front sees that.
        if channel.send(py, failed, 0, |_| {}).is_ok() {
            channel.slots.finish(slot, generation);
        }
    }
}

/// A request that has started; calling it runs the application.
#[pyclass(frozen, module = "indrik._native")]
pub(crate) struct Work {
    server: Py<GreenServer>,
    /// Where the front keeps it.
    #[pyo3(get)]
    slot: u16,
    /// Which use of the slot it is.
    #[pyo3(get)]
    generation: u32,
    job: Mutex<Option<(Taken, Vec<u8>)>>,
}

#[pymethods]
impl Work {
    /// Runs the request, once. Never raises: what the application raised has been dealt with.
    fn __call__(&self, py: Python<'_>) {
        let Some((taken, head)) = self.job.lock().take() else { return };
        let server = self.server.get();
        // A panic that went on would leave the request unanswered and the worker running.
        let outcome = catch_unwind(AssertUnwindSafe(|| server.run(py, taken, &head)));
        let outcome = outcome.unwrap_or_else(|_| {
            Err(PyRuntimeError::new_err("an internal error of the WSGI server; see the log"))
        });
        server.ended(py, outcome);
    }
}

impl Drop for Work {
    /// A greenlet that was killed before it began never called it.
    fn drop(&mut self) {
        if let Some((taken, _)) = self.job.get_mut().take() {
            Python::attach(|py| {
                let server = self.server.get();
                server.give_up(py, taken.descriptor());
                server.ended(py, Ok(()));
            });
        }
    }
}
