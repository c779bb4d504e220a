//! The WSGI side of a worker (PEP 3333): the loops that take requests from the ring.
//!
//! One thread, or several of them, own everything between the ring and the application: a request
//! is taken, handled and answered by the same thread, with no hand-over in between.

mod callables;
mod environ;
mod errors;
mod exchange;
mod file;
mod greenlets;
mod handler;
mod head;
mod idle;
mod input;
mod names;
mod pace;
mod path;
mod response;
mod threads;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::channel::Channel;
use crate::options::Options;
use crate::wsgi::handler::{Handler, take};
use crate::wsgi::idle::Idle;
use crate::wsgi::pace::Pace;

pub(crate) use greenlets::GreenServer;
pub(crate) use threads::run_wsgi_threads;

/// After a batch of more requests than this a worker does not look for the next one, but sleeps: the
/// wake-up is shared by as many again, and others may want the core.
const SPIN_BATCH_MAX: u64 = 2;

/// Serves requests one at a time on this thread, until the worker is asked to leave.
///
/// # Errors
/// When the channel is broken, or the application raised `SystemExit` or the like.
#[pyfunction]
pub(crate) fn run_wsgi_sync(
    py: Python<'_>,
    channel: Py<Channel>,
    app: Py<PyAny>,
    options: &Bound<'_, PyDict>,
) -> PyResult<()> {
    let options = Options::from_dict(options)?;
    let mut handler = Handler::new(py, &channel, &app, &options)?;
    let channel = channel.get();
    let idle = Idle::new(channel)?;
    let mut pace = Pace::new(indrik_sys::cpus::available() == 1);
    let mut head = Vec::new();
    let mut batch = 0;
    loop {
        channel.control.beat();
        // Asked before the ring is: what was sent before the flag was set is still served.
        let leaving = channel.control.is_shut_down();
        if let Some(taken) = take(py, channel, &mut head)? {
            let handled = handler.handle(py, taken, pace.last(), &head);
            if handled.is_err() || pace.must_flush() {
                channel.flush();
            }
            handled?;
            batch += 1;
            continue;
        }
        channel.flush();
        if leaving {
            return Ok(());
        }
        if batch > SPIN_BATCH_MAX || !idle.spin(channel)? {
            idle.sleep(py, channel)?;
            py.check_signals()?;
        }
        batch = 0;
        pace.woke();
    }
}
