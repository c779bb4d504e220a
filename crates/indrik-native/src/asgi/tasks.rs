//! Tasks for requests, without a turn of the loop and mostly without making one.
//!
//! A task is made ahead, the *spare*, and its first step, which it hands to `loop.call_soon`, is
//! kept here instead. The application's coroutine runs its first step as that task
//! (`asyncio.current_task()` is the spare), on the spot. If it ends there, the spare has not been
//! used up: when nobody kept a reference to it, called `cancel()`, set a name or a callback, it
//! cannot be told from a new task and serves the next request. If the coroutine waits, the
//! spare's own first step runs now and takes it over from there: it is an `asyncio.Task` like any
//! other from then on, and a new spare is made.
//!
//! Loops in debug mode or with a task factory get ordinary tasks.

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::carrier::{Carrier, run_callback};
use super::cell::LoopCell;

/// Stands in for `loop.call_soon` while a spare is made.
#[pyclass(frozen, module = "indrik._native")]
struct Capture(LoopCell<Option<Captured>>);

struct Captured {
    callback: Py<PyAny>,
    context: Option<Py<PyAny>>,
}

#[pymethods]
impl Capture {
    #[pyo3(signature = (callback, *_arguments, context=None))]
    fn __call__(
        &self,
        callback: Py<PyAny>,
        _arguments: &Bound<'_, PyTuple>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        *self.0.get()? = Some(Captured { callback, context });
        Ok(())
    }
}

/// A task that has not taken its first step.
pub(super) struct Spare {
    /// The task.
    pub(super) task: Py<PyAny>,
    /// Its coroutine, still empty.
    pub(super) carrier: Py<Carrier>,
    step: Captured,
    name: Py<PyString>,
    /// References to the task, to its name and weak ones, when nobody else has any.
    references: [isize; 3],
}

/// Makes and keeps spares.
pub(super) struct Tasks {
    event_loop: Py<PyAny>,
    task_type: Py<PyAny>,
    enter: Py<PyAny>,
    leave: Py<PyAny>,
    register: Py<PyAny>,
    unregister: Py<PyAny>,
    capture: Py<Capture>,
    spare: Option<Spare>,
    made: u64,
    /// References are counted exactly (not on builds without the GIL), and the loop's `call_soon`
    /// can be replaced for a moment.
    possible: bool,
}

impl Tasks {
    /// Tasks of this loop.
    ///
    /// # Errors
    /// When this Python's asyncio is not as expected.
    pub(super) fn new(py: Python<'_>, event_loop: Py<PyAny>) -> PyResult<Self> {
        let tasks = py.import("asyncio.tasks")?;
        let possible = !is_free_threaded(py)? && event_loop.bind(py).hasattr("__dict__")?;
        let get = |name: &str| tasks.getattr(name).map(Bound::unbind);
        Ok(Self {
            event_loop,
            task_type: get("Task")?,
            enter: get("_enter_task")?,
            leave: get("_leave_task")?,
            register: get("_register_task")?,
            unregister: get("_unregister_task")?,
            capture: Py::new(py, Capture(LoopCell::new(None)))?,
            spare: None,
            made: 0,
            possible,
        })
    }

    /// Whether requests may run as spares on this loop, as it is set up now.
    ///
    /// # Errors
    /// What the loop raises.
    pub(super) fn may_use_spares(&self, py: Python<'_>) -> PyResult<bool> {
        if !self.possible {
            return Ok(false);
        }
        let event_loop = self.event_loop.bind(py);
        Ok(!event_loop.call_method0(intern!(py, "get_debug"))?.is_truthy()?
            && event_loop.call_method0(intern!(py, "get_task_factory"))?.is_none())
    }

    /// The spare, a new one if need be.
    ///
    /// # Errors
    /// When no task can be made.
    pub(super) fn take(&mut self, py: Python<'_>) -> PyResult<Spare> {
        match self.spare.take() {
            Some(spare) => Ok(spare),
            None => self.make(py),
        }
    }

    fn make(&mut self, py: Python<'_>) -> PyResult<Spare> {
        self.made += 1;
        let name = PyString::new(py, &format!("request-{}", self.made));
        let carrier = Py::new(py, Carrier::new())?;
        let event_loop = self.event_loop.bind(py);
        let arguments = PyDict::new(py);
        arguments.set_item(intern!(py, "loop"), event_loop)?;
        arguments.set_item(intern!(py, "name"), &name)?;
        event_loop.setattr(intern!(py, "call_soon"), &self.capture)?;
        let task = self.task_type.bind(py).call((&carrier,), Some(&arguments));
        event_loop.delattr(intern!(py, "call_soon"))?;
        let task = task?;
        // Nobody who waits for all tasks may wait for one that never runs.
        self.unregister.bind(py).call1((&task,))?;
        drop(arguments);
        let step = self.capture.get().0.get()?.take();
        let Some(step) = step else {
            return Err(pyo3::exceptions::PyRuntimeError::new_err(
                "asyncio.Task did not hand its first step to loop.call_soon",
            ));
        };
        let mut spare =
            Spare { task: task.unbind(), carrier, step, name: name.unbind(), references: [0; 3] };
        spare.references = spare.count_references(py);
        Ok(spare)
    }

    /// Makes the spare the current task.
    ///
    /// # Errors
    /// When another task is the current one.
    pub(super) fn enter(&self, py: Python<'_>, spare: &Spare) -> PyResult<()> {
        self.enter.bind(py).call1((&self.event_loop, &spare.task)).map(|_| ())
    }

    /// Undoes [`Self::enter`].
    ///
    /// # Errors
    /// When the spare is not the current task.
    pub(super) fn leave(&self, py: Python<'_>, spare: &Spare) -> PyResult<()> {
        self.leave.bind(py).call1((&self.event_loop, &spare.task)).map(|_| ())
    }

    /// Makes a spare a task of its own.
    ///
    /// # Errors
    /// What asyncio raises.
    pub(super) fn register(&self, py: Python<'_>, spare: &Spare) -> PyResult<()> {
        self.register.bind(py).call1((&spare.task,)).map(|_| ())
    }

    /// Takes a spare back whose coroutine ended in its first step. Gives it back if it was touched
    /// and has to end as a task.
    ///
    /// # Errors
    /// What the task's attributes raise.
    pub(super) fn give_back(&mut self, py: Python<'_>, spare: Spare) -> PyResult<Option<Spare>> {
        if self.spare.is_none() && spare.is_untouched(py)? {
            self.spare = Some(spare);
            return Ok(None);
        }
        Ok(Some(spare))
    }

    /// The spare, if there is one: to be ended with the loop.
    pub(super) fn take_last(&mut self) -> Option<Spare> {
        self.spare.take()
    }
}

impl Spare {
    /// Runs the task's first step: it goes on with what its carrier carries, or ends.
    ///
    /// # Errors
    /// An exit of the application.
    pub(super) fn run(self, py: Python<'_>) -> PyResult<()> {
        let context = self.step.context.as_ref().map(|context| context.bind(py));
        run_callback(self.step.callback.bind(py), context)
    }

    fn is_untouched(&self, py: Python<'_>) -> PyResult<bool> {
        let task = self.task.bind(py);
        Ok(self.count_references(py) == self.references
            && !task.getattr(intern!(py, "_must_cancel"))?.is_truthy()?
            && task.getattr(intern!(py, "_callbacks"))?.is_none())
    }

    fn count_references(&self, py: Python<'_>) -> [isize; 3] {
        let (task, name) = (self.task.bind(py).as_ptr(), self.name.bind(py).as_ptr());
        // SAFETY: live objects, only read, under the GIL.
        unsafe { [ffi::Py_REFCNT(task), ffi::Py_REFCNT(name), weak_references(task)] }
    }
}

fn is_free_threaded(py: Python<'_>) -> PyResult<bool> {
    let variable = py.import("sysconfig")?.call_method1("get_config_var", ("Py_GIL_DISABLED",))?;
    variable.is_truthy()
}

/// Weak references to an object.
///
/// # Safety
/// The object lives.
unsafe fn weak_references(object: *mut ffi::PyObject) -> isize {
    // SAFETY: the type says where its instances keep the list.
    unsafe {
        let offset = (*ffi::Py_TYPE(object)).tp_weaklistoffset;
        if offset <= 0 {
            return 0;
        }
        let list = *object.byte_offset(offset).cast::<*mut ffi::PyObject>();
        // Only "none" and "some" are told apart: a spare has none.
        isize::from(!list.is_null())
    }
}
