//! Walking stacks: of threads, of what waits, with the interpreter's lock held throughout, so that nothing moves.

use std::ffi::c_int;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::owner::Use;
use crate::channel::Channel;

/// Frames of a stack that are looked at, from the innermost.
pub(super) const DEPTH_MAX: usize = 200;

/// No collection of garbage begins here while this lives: it would run code of the application in the middle of a walk.
struct NoCollection(c_int);

impl NoCollection {
    fn begin(_py: Python<'_>) -> Self {
        // SAFETY: the interpreter is attached.
        Self(unsafe { ffi::PyGC_Disable() })
    }
}

impl Drop for NoCollection {
    fn drop(&mut self) {
        if self.0 != 0 {
            // SAFETY: made with the interpreter attached, and dropped in the same function.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}

/// What every thread of Python's runs just now: its identity, and its frames from the innermost.
pub(super) fn each_thread(
    py: Python<'_>,
    mut seen: impl FnMut(usize, &[Bound<'_, PyAny>]),
) -> PyResult<()> {
    let _still = NoCollection::begin(py);
    // A function in C: nothing else runs until the frames have been walked.
    let frames = py.import(intern!(py, "sys"))?.call_method0(intern!(py, "_current_frames"))?;
    for (ident, frame) in frames.cast::<PyDict>()?.iter() {
        seen(ident.extract()?, &walked(frame));
    }
    Ok(())
}

/// A frame and those that called it.
fn walked(innermost: Bound<'_, PyAny>) -> Vec<Bound<'_, PyAny>> {
    let mut frames = vec![innermost];
    while frames.len() < DEPTH_MAX
        && let Some(back) = frames.last().and_then(back)
    {
        frames.push(back);
    }
    frames
}

fn back<'py>(frame: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    // SAFETY: the callers pass frames only; a new reference or null comes back.
    unsafe {
        let back = ffi::PyFrame_GetBack(frame.as_ptr().cast());
        Bound::from_owned_ptr_or_opt(frame.py(), back.cast())
    }
}

/// The code of a frame.
pub(super) fn code<'py>(frame: &Bound<'py, PyAny>) -> Bound<'py, PyAny> {
    // SAFETY: as above; a frame always has code.
    unsafe {
        let code = ffi::PyFrame_GetCode(frame.as_ptr().cast());
        Bound::from_owned_ptr(frame.py(), code.cast())
    }
}

/// Whether this is a frame, as all the above need.
fn is_frame(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a live object and the interpreter's own type.
    unsafe { ffi::Py_TYPE(object.as_ptr()) == &raw mut ffi::PyFrame_Type }
}

/// What a coroutine, a generator or an asynchronous generator waits for, from the outermost frame to the innermost.
pub(super) fn awaited<'py>(coroutine: &Bound<'py, PyAny>) -> Vec<Bound<'py, PyAny>> {
    let py = coroutine.py();
    let _still = NoCollection::begin(py);
    let mut frames = Vec::new();
    let mut next = Some(coroutine.clone());
    let get = |object: &Bound<'py, PyAny>, names: [&Bound<'py, pyo3::types::PyString>; 3]| {
        let found = names.into_iter().find_map(|name| object.getattr_opt(name).ok().flatten());
        found.filter(|found| !found.is_none())
    };
    // What stands in for the coroutine of a request's task has none of its own frames.
    let carried = intern!(py, "carried");
    for _ in 0..DEPTH_MAX {
        let Some(object) = next else { break };
        if let Some(inner) = object.getattr_opt(carried).ok().flatten() {
            next = Some(inner).filter(|inner| !inner.is_none());
            continue;
        }
        let names = [intern!(py, "cr_frame"), intern!(py, "gi_frame"), intern!(py, "ag_frame")];
        let Some(frame) = get(&object, names).filter(is_frame) else { break };
        frames.push(frame);
        let names = [intern!(py, "cr_await"), intern!(py, "gi_yieldfrom"), intern!(py, "ag_await")];
        next = get(&object, names);
    }
    frames
}

/// Where a frame is, for people: `file:line function`.
fn place(frame: &Bound<'_, PyAny>) -> PyResult<String> {
    let py = frame.py();
    // SAFETY: the callers pass frames only.
    let line = unsafe { ffi::PyFrame_GetLineNumber(frame.as_ptr().cast()) };
    let code = code(frame);
    let file: String = code.getattr(intern!(py, "co_filename"))?.extract()?;
    Ok(format!("{file}:{line} {}", name(&code)?))
}

/// The name of a function, with its class where this Python knows that.
pub(super) fn name(code: &Bound<'_, PyAny>) -> PyResult<String> {
    let py = code.py();
    match code.getattr_opt(intern!(py, "co_qualname"))? {
        Some(name) => name.extract(),
        None => code.getattr(intern!(py, "co_name"))?.extract(),
    }
}

/// A thread's identity, its frames from the innermost, and the request that it runs.
type ThreadStack = (usize, Vec<String>, Option<Use>);

/// What every thread runs, from the innermost frame: its identity, its frames, and the request that it runs.
#[pyfunction]
pub(crate) fn thread_stacks(
    py: Python<'_>,
    channel: &Bound<'_, Channel>,
) -> PyResult<Vec<ThreadStack>> {
    let channel = channel.get();
    let mut threads = Vec::new();
    let owners: Vec<(usize, Use)> = channel.owners.all(&channel.slots).collect();
    let own = crate::overtime::this_thread() as usize;
    each_thread(py, |ident, frames| {
        if ident == own {
            return;
        }
        let places = frames.iter().filter_map(|frame| place(frame).ok()).collect();
        let of = owners.iter().find(|(who, _)| *who == ident).map(|(_, of)| *of);
        threads.push((ident, places, of));
    })?;
    Ok(threads)
}

/// Who runs which request: threads by their identity, tasks by their address.
#[pyfunction]
pub(crate) fn owners(channel: &Bound<'_, Channel>) -> Vec<(usize, Use)> {
    let channel = channel.get();
    channel.owners.all(&channel.slots).collect()
}

/// Where a coroutine waits, from the innermost frame.
#[pyfunction]
pub(crate) fn await_stack(coroutine: &Bound<'_, PyAny>) -> Vec<String> {
    awaited(coroutine).iter().rev().filter_map(|frame| place(frame).ok()).collect()
}

/// A frame and those that called it, from the innermost.
///
/// # Errors
/// `TypeError` for what is no frame.
#[pyfunction]
pub(crate) fn frame_stack(frame: Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if !is_frame(&frame) {
        return Err(PyTypeError::new_err("frame_stack takes a frame"));
    }
    let _still = NoCollection::begin(frame.py());
    Ok(walked(frame).iter().filter_map(|frame| place(frame).ok()).collect())
}

/// The frames of a greenlet that does not run now, from the innermost.
pub(super) fn of_greenlet<'py>(greenlet: &Bound<'py, PyAny>) -> Option<Vec<Bound<'py, PyAny>>> {
    let frame = greenlet.getattr_opt(intern!(greenlet.py(), "gr_frame")).ok().flatten()?;
    is_frame(&frame).then(|| walked(frame))
}
