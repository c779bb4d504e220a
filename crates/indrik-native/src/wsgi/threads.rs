//! Several threads that serve one channel.
//!
//! Any idle thread takes the next request by itself; nobody hands requests out. At most one thread
//! is woken for what lies in the ring, and it wakes the next one if there is more: so a request
//! never waits behind a busy thread while another is idle, and a burst does not wake all of them to
//! fight for the GIL.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indrik_ring::{Bell, Wake, wake_pair};
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};

use crate::channel::{Channel, broken};
use crate::options::Options;
use crate::wsgi::handler::{Handler, take};
use crate::wsgi::idle::Idle;

/// Threads of one worker; as many as anyone has ever found useful, and then some.
const THREADS_MAX: usize = 4096;
/// How often the main thread beats.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// What the threads share.
struct Pool {
    channel: Py<Channel>,
    app: Py<PyAny>,
    options: Options,
    idle: Idle,
    /// Threads that sleep or are about to.
    sleeping: AtomicUsize,
    /// Whether a thread was woken for what lies in the ring and has not looked yet.
    searching: AtomicBool,
    /// Whether the threads shall leave although the worker was not asked to.
    stop: AtomicBool,
    running: AtomicUsize,
    failure: Mutex<Option<PyErr>>,
    /// Rung when the last thread has left.
    over: (Bell, Wake),
}

/// Serves requests on `threads` threads, until the worker is asked to leave. This thread beats and
/// handles signals.
///
/// # Errors
/// When the channel is broken, or the application raised `SystemExit` or the like.
#[pyfunction]
pub(crate) fn run_wsgi_threads(
    py: Python<'_>,
    channel: Py<Channel>,
    app: Py<PyAny>,
    options: &Bound<'_, PyDict>,
    threads: usize,
) -> PyResult<()> {
    if threads == 0 || threads > THREADS_MAX {
        let text = format!("threads is {threads}: must be from 1 to {THREADS_MAX}");
        return Err(PyValueError::new_err(text));
    }
    let pool = Arc::new(Pool {
        options: Options::from_dict(options)?,
        idle: Idle::new(channel.get())?,
        channel,
        app,
        sleeping: AtomicUsize::new(0),
        searching: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        running: AtomicUsize::new(0),
        failure: Mutex::new(None),
        over: wake_pair()?,
    });
    let result = start(py, &pool, threads).and_then(|()| watch(py, &pool));
    if result.is_err() {
        pool.leave();
        py.detach(|| {
            while pool.running.load(Ordering::SeqCst) > 0 {
                // Without its descriptors it looks again and again, for as long as requests run.
                if pool.over.1.sleep(Some(BEAT_EVERY)).is_err() {
                    std::thread::yield_now();
                }
            }
        });
    }
    result?;
    let failure = pool.failure.lock().take();
    failure.map_or(Ok(()), Err)
}

/// Starts the threads as threads of Python, so that they have names there.
fn start(py: Python<'_>, pool: &Arc<Pool>, threads: usize) -> PyResult<()> {
    let class = py.import("threading")?.getattr("Thread")?;
    for index in 0..threads {
        let shared = Arc::clone(pool);
        let run = move |arguments: &Bound<'_, pyo3::types::PyTuple>,
                        _: Option<&Bound<'_, PyDict>>| {
            shared.run(arguments.py());
        };
        let keywords = PyDict::new(py);
        keywords.set_item("target", PyCFunction::new_closure(py, None, None, run)?)?;
        keywords.set_item("name", format!("indrik-thread-{index}"))?;
        // A request that never ends must not keep the worker from ending.
        keywords.set_item("daemon", true)?;
        let thread = class.call((), Some(&keywords))?;
        pool.running.fetch_add(1, Ordering::SeqCst);
        thread.call_method0("start").inspect_err(|_| {
            pool.running.fetch_sub(1, Ordering::SeqCst);
        })?;
    }
    Ok(())
}

/// Beats and handles signals until the last thread has left.
fn watch(py: Python<'_>, pool: &Pool) -> PyResult<()> {
    while pool.running.load(Ordering::SeqCst) > 0 {
        pool.channel.get().control.beat();
        // A signal ends the sleep early.
        let (slept, woken) = py.detach(|| (pool.over.1.sleep(Some(BEAT_EVERY)), Instant::now()));
        pool.channel.get().waited_for_gil(woken.elapsed());
        pool.channel.get().noticed(slept);
        pool.channel.get().check_descriptors()?;
        py.check_signals()?;
    }
    Ok(())
}

impl Pool {
    /// One thread.
    fn run(&self, py: Python<'_>) {
        if let Err(error) = self.serve(py) {
            let replaced = self.failure.lock().replace(error);
            drop(replaced);
            self.stop.store(true, Ordering::SeqCst);
        }
        self.channel.get().ring_own();
        if self.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            // One that is lost is noticed by the main thread's next sleep.
            let _ = self.over.0.ring();
        }
    }

    fn serve(&self, py: Python<'_>) -> PyResult<()> {
        let channel = self.channel.get();
        let mut handler = Handler::new(py, &self.channel, &self.app, &self.options)?;
        let mut head = Vec::new();
        loop {
            // Asked before the ring is: what was sent before the flag was set is still served.
            let leaving = channel.control.is_shut_down();
            if self.stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            if let Some(taken) = take(py, channel, &mut head)? {
                self.wake_another_if_there_is_more(channel)?;
                let handled = handler.handle(py, taken, Instant::now(), &head);
                channel.flush();
                handled?;
            } else if leaving {
                return Ok(());
            } else {
                self.sleeping.fetch_add(1, Ordering::SeqCst);
                let slept = self.idle.sleep(py, channel);
                self.sleeping.fetch_sub(1, Ordering::SeqCst);
                self.searching.store(false, Ordering::SeqCst);
                slept?;
            }
        }
    }

    /// A thread that goes off to handle a request leaves somebody behind who looks after the ring:
    /// the front, which will ring for the next request, or a thread that is woken for what is there.
    fn wake_another_if_there_is_more(&self, channel: &Channel) -> PyResult<()> {
        if self.sleeping.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        let is_empty = channel.requests.lock().prepare_sleep().map_err(broken)?;
        if !is_empty && !self.searching.swap(true, Ordering::SeqCst) {
            channel.ring_own();
        }
        Ok(())
    }

    /// Makes all threads leave.
    fn leave(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.channel.get().ring_own();
    }
}
