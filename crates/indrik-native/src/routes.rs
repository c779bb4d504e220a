//! The routes of requests: which request is the current one, and what frameworks leave behind of a route where the
//! server sees it.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use indrik_core::lane::UNKNOWN;
use indrik_ring::{Descriptor, SlotState};
use parking_lot::Mutex;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

use crate::channel::Channel;

/// The context variable that has the current request, from the moment on when the application has shown that
/// it gives names to routes itself.
static CURRENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Somebody wants to know which route each request turns out to have.
static IS_WATCHED: AtomicBool = AtomicBool::new(false);
/// What has turned out since they last asked.
static FOUND: Mutex<Vec<(Use, u16)>> = Mutex::new(Vec::new());
/// How much is kept of that; a worker does not answer so many requests between two looks.
const FOUND_MAX: usize = 10_000;

/// Which use of a slot.
type Use = (u16, u32);

/// As long as it lives, routes are looked for and noted.
pub(crate) struct Watched(());

impl Watched {
    pub(crate) fn begin() -> Self {
        IS_WATCHED.store(true, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        IS_WATCHED.store(false, Ordering::Relaxed);
    }
}

/// Whether routes are to be looked for although no log has them.
#[inline]
pub(crate) fn is_watched() -> bool {
    IS_WATCHED.load(Ordering::Relaxed)
}

/// The routes that have become known since this was asked before.
pub(crate) fn take_found() -> Vec<(Use, u16)> {
    std::mem::take(&mut *FOUND.lock())
}

fn note_found(of: Use, number: u16) {
    if is_watched() {
        let mut found = FOUND.lock();
        if found.len() < FOUND_MAX {
            found.push((of, number));
        }
    }
}

/// From now on the context variable `current` has the [`Routed`] of each request.
#[pyfunction]
pub(crate) fn name_routes(py: Python<'_>, current: Py<PyAny>) {
    // Said twice, it is the same variable.
    let _ = CURRENT.set(py, current);
}

/// The current request, as `indrik.route` sees it.
#[pyclass(frozen, module = "indrik._native")]
pub(crate) struct Routed {
    channel: Py<Channel>,
    slot: u16,
    generation: u32,
    route: AtomicU16,
}

#[pymethods]
impl Routed {
    /// Says which route the application chose. Nothing happens when the request is over.
    fn choose(&self, name: &Bound<'_, PyString>) -> PyResult<()> {
        let channel = self.channel.get();
        if channel.is_forked()
            || channel.slots.state(self.slot, self.generation) != SlotState::Running
        {
            return Ok(());
        }
        // While the front is asked for the number, the request may end and another one get its slot.
        let number = channel.route_number(name)?;
        self.route.store(number, Ordering::Relaxed);
        note_found((self.slot, self.generation), number);
        channel.slots.set_route(self.slot, self.generation, number);
        Ok(())
    }
}

/// The route of one request.
#[derive(Default)]
pub(crate) struct ChosenRoute {
    /// What a framework has left.
    found: AtomicU16,
    /// Where the application says it, if it does.
    said: Option<Py<Routed>>,
    of: Use,
}

impl ChosenRoute {
    /// Makes a request the current one, if anybody wants to know which that is.
    ///
    /// # Errors
    /// `MemoryError`.
    #[inline]
    pub(crate) fn begin(
        py: Python<'_>,
        channel: &Py<Channel>,
        request: &Descriptor,
    ) -> PyResult<Self> {
        match CURRENT.get(py) {
            None => Ok(Self { of: (request.slot, request.generation), ..Self::default() }),
            Some(current) => Self::enter(py, channel, request, current),
        }
    }

    #[cold]
    fn enter(
        py: Python<'_>,
        channel: &Py<Channel>,
        request: &Descriptor,
        current: &Py<PyAny>,
    ) -> PyResult<Self> {
        let routed = Routed {
            channel: channel.clone_ref(py),
            slot: request.slot,
            generation: request.generation,
            route: AtomicU16::new(UNKNOWN),
        };
        let routed = Py::new(py, routed)?;
        // SAFETY: a context variable (or an error), and a live object; the token that comes back is dropped.
        unsafe {
            let token = ffi::PyContextVar_Set(current.as_ptr(), routed.as_ptr());
            drop(Bound::from_owned_ptr_or_err(py, token)?);
        }
        let of = (request.slot, request.generation);
        Ok(Self { found: AtomicU16::new(UNKNOWN), said: Some(routed), of })
    }

    /// The number of the route, as far as it is known.
    #[inline]
    pub(crate) fn number(&self) -> u16 {
        let said = self.said.as_ref().map(|routed| routed.get().route.load(Ordering::Relaxed));
        match said {
            None | Some(UNKNOWN) => self.found.load(Ordering::Relaxed),
            Some(said) => said,
        }
    }

    /// The framework has left this one.
    pub(crate) fn found(&self, number: u16) {
        self.found.store(number, Ordering::Relaxed);
        note_found(self.of, number);
    }
}

/// Werkzeug's request, which knows its rule, is in the environ until Flask has begun its answer.
pub(crate) fn of_environ<'py>(environ: &Bound<'py, PyDict>) -> Option<Bound<'py, PyString>> {
    let py = environ.py();
    let request = environ.get_item(intern!(py, "werkzeug.request")).ok()??;
    let rule = attribute(&request, intern!(py, "url_rule"))?;
    attribute(&rule, intern!(py, "rule"))?.cast_into().ok()
}

/// Starlette and FastAPI leave the route in the scope.
pub(crate) fn of_scope<'py>(scope: &Bound<'py, PyDict>) -> Option<Bound<'py, PyString>> {
    let py = scope.py();
    let route = scope.get_item(intern!(py, "route")).ok()??;
    attribute(&route, intern!(py, "path"))?.cast_into().ok()
}

/// What it raises is not for the request.
fn attribute<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> Option<Bound<'py, PyAny>> {
    object.getattr_opt(name).ok()?.filter(|found| !found.is_none())
}
