//! Which number stands for the name of a route: asked for once, on the lane.

use std::time::{Duration, Instant};

use indrik_core::lane::{OTHER, UNKNOWN};
use indrik_ring::{LaneAnswer, LaneAsk, is_route_name};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::lane::Lane;

/// How long a request waits for the number of a name that is new here.
const ANSWER_WAIT_MAX: Duration = Duration::from_millis(50);
/// After a wait in vain nobody waits again for so long.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Names that a worker keeps. An application with more of them gives names to requests, not to routes.
const NAMES_MAX: usize = 4096;

/// The numbers that a worker knows.
pub(crate) struct Names {
    known: Py<PyDict>,
    /// Until when nobody asks.
    quiet: Mutex<Option<Instant>>,
}

impl Names {
    pub(crate) fn new(py: Python<'_>) -> Self {
        Self { known: PyDict::new(py).unbind(), quiet: Mutex::new(None) }
    }

    /// The number that stands for a name. A new one is asked for on the lane.
    ///
    /// # Errors
    /// `MemoryError`, or what a `str` that cannot be hashed raises.
    pub(crate) fn number(&self, lane: &Lane, name: &Bound<'_, PyString>) -> PyResult<u16> {
        let known = self.known.bind(name.py());
        if let Some(number) = known.get_item(name)? {
            return number.extract();
        }
        let text = name.to_str().unwrap_or_default();
        if !is_route_name(text) || known.len() >= NAMES_MAX {
            return Ok(OTHER);
        }
        let Some(number) = self.ask(name.py(), lane, text) else { return Ok(UNKNOWN) };
        known.set_item(name, number)?;
        Ok(number)
    }

    fn ask(&self, py: Python<'_>, lane: &Lane, name: &str) -> Option<u16> {
        if self.quiet.lock().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        match lane.call(py, &LaneAsk::Route(name), ANSWER_WAIT_MAX) {
            Some(LaneAnswer::Route(number)) => Some(number),
            None => {
                *self.quiet.lock() = Some(Instant::now() + RETRY_PAUSE);
                None
            }
        }
    }
}
