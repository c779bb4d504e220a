//! The coroutine of a request's task: it carries the application's coroutine, from wherever that
//! stands, to its end.

use parking_lot::Mutex;
use pyo3::exceptions::PyStopIteration;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::cell::LoopCell;
use super::exception::{is_cancelled, thrown};
use super::exchange::Exchange;

/// How a step of a coroutine ended.
pub(super) enum Step<'py> {
    /// It waits for this.
    Yielded(Bound<'py, PyAny>),
    /// It returned.
    Returned,
    /// It raised.
    Raised(PyErr),
}

/// What a carrier carries.
#[derive(Default)]
pub(super) struct Load {
    /// The application's coroutine.
    coroutine: Option<Py<PyAny>>,
    /// The request's context.
    context: Option<Py<PyAny>>,
    /// What the coroutine waits for already: its first step ran before the task's.
    yielded: Option<Py<PyAny>>,
    exchange: Option<Py<Exchange>>,
}

/// A coroutine for a task. An empty one returns at once.
#[pyclass(frozen, module = "indrik._native")]
pub(super) struct Carrier {
    load: LoopCell<Load>,
    /// The coroutine while there is one, for other threads that look into the worker.
    seen: Mutex<Option<Py<PyAny>>>,
}

#[pymethods]
impl Carrier {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Some(yielded) = self.load.get()?.yielded.take() {
            return Ok(Some(yielded.into_bound(py)));
        }
        let Some((coroutine, context)) = self.running(py)? else { return Ok(None) };
        self.note_step(py, true)?;
        let outcome = in_context(py, &context, || send_none(py, &coroutine));
        self.pass_on(py, outcome)
    }

    fn send<'py>(
        &self,
        py: Python<'py>,
        _value: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let next = self.__next__(py)?;
        next.ok_or_else(|| PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (exception, value=None, _traceback=None))]
    fn throw<'py>(
        &self,
        py: Python<'py>,
        exception: Bound<'py, PyAny>,
        value: Option<Bound<'py, PyAny>>,
        _traceback: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let error = thrown(exception, value);
        let yielded = self.load.get()?.yielded.take();
        if let Some(yielded) = yielded {
            let yielded = yielded.into_bound(py);
            // The task was cancelled before the coroutine first waited; a task then cancels what
            // is waited for.
            if yielded.hasattr(intern!(py, "cancel"))? {
                yielded.call_method0(intern!(py, "cancel"))?;
                return Ok(yielded);
            }
        }
        let Some((coroutine, context)) = self.running(py)? else { return Err(error) };
        self.note_step(py, true)?;
        let outcome = in_context(py, &context, || {
            match coroutine.call_method1(intern!(py, "throw"), (error.into_value(py),)) {
                Ok(value) => Step::Yielded(value),
                Err(error) => ended(py, error),
            }
        });
        let next = self.pass_on(py, outcome)?;
        next.ok_or_else(|| PyStopIteration::new_err(()))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let load = self.unload()?;
        match load.coroutine {
            Some(coroutine) => coroutine.bind(py).call_method0(intern!(py, "close")).map(|_| ()),
            None => Ok(()),
        }
    }

    /// The frame of the application's coroutine, for `Task.print_stack`.
    #[getter]
    fn cr_frame<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.running(py)? {
            Some((coroutine, _)) => coroutine.getattr_opt(intern!(py, "cr_frame")),
            None => frame_of_first_step(py),
        }
    }

    /// Its code, by which debuggers and monitors name a task.
    #[getter]
    fn cr_code<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.running(py)? {
            Some((coroutine, _)) => coroutine.getattr_opt(intern!(py, "cr_code")),
            None => code_of_first_step(py),
        }
    }

    /// What it waits for.
    #[getter]
    fn cr_await<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.running(py)? {
            Some((coroutine, _)) => coroutine.getattr_opt(intern!(py, "cr_await")),
            None => Ok(None),
        }
    }

    /// What it carries, for other threads than the loop's.
    #[getter]
    fn carried(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.seen.lock().as_ref().map(|coroutine| coroutine.clone_ref(py))
    }

    #[getter]
    fn cr_origin<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.running(py)? {
            Some((coroutine, _)) => coroutine.getattr_opt(intern!(py, "cr_origin")),
            None => Ok(None),
        }
    }

    #[getter]
    const fn cr_running(&self) -> bool {
        false
    }

    #[getter(__name__)]
    fn name<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.named(py, intern!(py, "__name__"), "co_name")
    }

    #[getter(__qualname__)]
    fn qualified_name<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.named(py, intern!(py, "__qualname__"), "co_qualname")
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(match self.running(py)? {
            Some((coroutine, _)) => format!("<request {}>", coroutine.repr()?),
            None => "<request>".to_owned(),
        })
    }
}

impl Carrier {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self { load: LoopCell::new(Load::default()), seen: Mutex::new(None) }
    }

    /// Takes a coroutine over; `yielded`: what it waits for already.
    pub(super) fn load(
        &self,
        coroutine: Bound<'_, PyAny>,
        context: Bound<'_, PyAny>,
        yielded: Option<Bound<'_, PyAny>>,
        exchange: Py<Exchange>,
    ) -> PyResult<()> {
        *self.seen.lock() = Some(coroutine.clone().unbind());
        *self.load.get()? = Load {
            coroutine: Some(coroutine.unbind()),
            context: Some(context.unbind()),
            yielded: yielded.map(Bound::unbind),
            exchange: Some(exchange),
        };
        Ok(())
    }

    /// Gives up what it carries.
    fn unload(&self) -> PyResult<Load> {
        let load = std::mem::take(&mut *self.load.get()?);
        // The load has another reference.
        drop(self.seen.lock().take());
        Ok(load)
    }

    fn running<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
        let load = self.load.get()?;
        let (Some(coroutine), Some(context)) = (&load.coroutine, &load.context) else {
            return Ok(None);
        };
        Ok(Some((coroutine.bind(py).clone(), context.bind(py).clone())))
    }

    /// A name of the application's coroutine; `of_code`: what it is called there.
    fn named<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
        of_code: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some((coroutine, _)) = self.running(py)? {
            return coroutine.getattr(name);
        }
        let Some(code) = code_of_first_step(py)? else {
            return Ok(PyString::new(py, "request").into_any());
        };
        // Python 3.10 has no qualified names there.
        match code.getattr_opt(of_code)? {
            Some(name) => Ok(name),
            None => code.getattr(intern!(py, "co_name")),
        }
    }

    fn exchange<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, Exchange>>> {
        Ok(self.load.get()?.exchange.as_ref().map(|exchange| exchange.bind(py).clone()))
    }

    /// Tells the server that a step begins or is over.
    fn note_step(&self, py: Python<'_>, begins: bool) -> PyResult<()> {
        if let Some(exchange) = self.exchange(py)? {
            let step = begins.then(|| exchange.get().as_step(&exchange));
            exchange.get().server.set_stepping(step);
        }
        Ok(())
    }

    /// Passes on what a step gave; at the coroutine's end the exchange is finished.
    fn pass_on<'py>(
        &self,
        py: Python<'py>,
        outcome: Step<'py>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.note_step(py, false)?;
        let error = match outcome {
            Step::Yielded(value) => {
                if let Some(exchange) = self.exchange(py)? {
                    exchange.get().release_last(py)?;
                }
                return Ok(Some(value));
            }
            Step::Returned => None,
            Step::Raised(error) => Some(error),
        };
        let load = self.unload()?;
        if let Some(exchange) = load.exchange {
            exchange.get().finish(py, error.as_ref())?;
        }
        match error {
            Some(error) if is_cancelled(py, &error) => Err(error),
            _ => Ok(None),
        }
    }
}

/// While a coroutine takes its first step it is not known here yet. It is the outermost one that runs then: it was
/// called by the server, which is no coroutine.
fn frame_of_first_step(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    // SAFETY: the interpreter is attached; a new reference would come from elsewhere, this one is borrowed.
    let innermost = unsafe { ffi::PyEval_GetFrame() };
    // SAFETY: null or a live frame.
    let innermost = unsafe { Bound::from_borrowed_ptr_or_opt(py, innermost.cast()) };
    let (mut frame, mut found) = (innermost, None);
    while let Some(one) = frame {
        let flags: u32 =
            one.getattr(intern!(py, "f_code"))?.getattr(intern!(py, "co_flags"))?.extract()?;
        let outer = one.getattr(intern!(py, "f_back"))?;
        if flags & CO_COROUTINE != 0 {
            found = Some(one);
        }
        frame = (!outer.is_none()).then_some(outer);
    }
    Ok(found)
}

fn code_of_first_step(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    frame_of_first_step(py)?.map(|frame| frame.getattr(intern!(py, "f_code"))).transpose()
}

/// The flag of code that makes a coroutine.
const CO_COROUTINE: u32 = 0x80;

/// Calls the application and runs its coroutine until it waits or ends. The coroutine comes back
/// with the step, if it is still wanted.
pub(super) fn first_step<'py>(
    py: Python<'py>,
    context: &Bound<'py, PyAny>,
    app: &Bound<'py, PyAny>,
    arguments: (Bound<'py, PyDict>, Bound<'py, PyAny>, Bound<'py, PyAny>),
    wrap: impl FnOnce(Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
) -> (Step<'py>, Option<Bound<'py, PyAny>>) {
    let mut coroutine = None;
    let outcome = in_context(py, context, || {
        let made = match app.call1(arguments) {
            Ok(made) => made,
            Err(error) => return Step::Raised(error),
        };
        // SAFETY: a live object.
        let made = if unsafe { ffi::PyCoro_CheckExact(made.as_ptr()) } == 0 {
            match wrap(made) {
                Ok(made) => made,
                Err(error) => return Step::Raised(error),
            }
        } else {
            made
        };
        let outcome = send_none(py, &made);
        if matches!(outcome, Step::Yielded(_)) {
            coroutine = Some(made);
        }
        outcome
    });
    (outcome, coroutine)
}

fn send_none<'py>(py: Python<'py>, coroutine: &Bound<'py, PyAny>) -> Step<'py> {
    let mut value = std::ptr::null_mut();
    // SAFETY: live objects and a place for the result, which is ours unless it is an error.
    unsafe {
        match ffi::PyIter_Send(coroutine.as_ptr(), ffi::Py_None(), &raw mut value) {
            ffi::PySendResult::PYGEN_NEXT => Step::Yielded(Bound::from_owned_ptr(py, value)),
            ffi::PySendResult::PYGEN_RETURN => {
                ffi::Py_XDECREF(value);
                Step::Returned
            }
            ffi::PySendResult::PYGEN_ERROR => Step::Raised(PyErr::fetch(py)),
        }
    }
}

/// A `StopIteration` out of `throw` is a return.
fn ended<'py>(py: Python<'py>, error: PyErr) -> Step<'py> {
    if error.is_instance_of::<PyStopIteration>(py) { Step::Returned } else { Step::Raised(error) }
}

/// Runs something inside a `contextvars.Context`.
fn in_context<'py>(
    py: Python<'py>,
    context: &Bound<'py, PyAny>,
    run: impl FnOnce() -> Step<'py>,
) -> Step<'py> {
    // SAFETY: a live context; it is left below, and no exception is pending at either call.
    unsafe {
        if ffi::PyContext_Enter(context.as_ptr()) != 0 {
            return Step::Raised(PyErr::fetch(py));
        }
        let outcome = run();
        if ffi::PyContext_Exit(context.as_ptr()) != 0 {
            return Step::Raised(PyErr::fetch(py));
        }
        outcome
    }
}

/// A copy of the current context.
///
/// # Errors
/// `MemoryError`.
pub(super) fn copy_context(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) }
}

/// Runs a callback of the loop inside its context.
///
/// # Errors
/// What the callback raises.
pub(super) fn run_callback(
    callback: &Bound<'_, PyAny>,
    context: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let py = callback.py();
    match context {
        Some(context) => context.call_method1(intern!(py, "run"), (callback,)),
        None => callback.call0(),
    }
    .map(|_| ())
}
