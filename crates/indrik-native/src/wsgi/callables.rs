//! `start_response`, `write` and `wsgi.early_hints`: C functions bound to an [`Exchange`].
//!
//! They are plain built-in functions because calling one costs a fraction of calling an object with
//! a `__call__` method: arguments come as an array, not as a tuple.

use std::ffi::CStr;
use std::ptr;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::wsgi::exchange::Exchange;

/// A method definition, which the interpreter only reads.
struct Definition(ffi::PyMethodDef);

// SAFETY: it is constant, and points to constants.
unsafe impl Sync for Definition {}

static START_RESPONSE: Definition = Definition(ffi::PyMethodDef {
    ml_name: c"start_response".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: start_response },
    ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
    ml_doc: doc(c"start_response(status, headers, exc_info=None, /)\n--\n\nPEP 3333."),
});

static WRITE: Definition = Definition(ffi::PyMethodDef {
    ml_name: c"write".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer { PyCFunction: write },
    ml_flags: ffi::METH_O,
    ml_doc: doc(c"write(data, /)\n--\n\nSends a piece of the body (PEP 3333)."),
});

static EARLY_HINTS: Definition = Definition(ffi::PyMethodDef {
    ml_name: c"early_hints".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer { PyCFunction: early_hints },
    ml_flags: ffi::METH_O,
    ml_doc: doc(c"early_hints(headers, /)\n--\n\nSends a 103 response with these headers."),
});

const fn doc(text: &'static CStr) -> *const std::ffi::c_char {
    text.as_ptr()
}

/// The functions of one exchange.
pub(crate) struct Callables {
    /// To be given to the application.
    pub(crate) start_response: Py<PyAny>,
    /// What `start_response` returns.
    pub(crate) write: Py<PyAny>,
    /// For the environ.
    pub(crate) early_hints: Py<PyAny>,
}

impl Callables {
    /// Binds the functions to an exchange.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn new(exchange: &Bound<'_, Exchange>) -> PyResult<Self> {
        Ok(Self {
            start_response: bind(exchange, &START_RESPONSE)?,
            write: bind(exchange, &WRITE)?,
            early_hints: bind(exchange, &EARLY_HINTS)?,
        })
    }

    /// Whether nobody but us holds any of the functions, so that they may serve another request.
    #[inline]
    pub(crate) fn are_ours_alone(&self) -> bool {
        [&self.start_response, &self.write, &self.early_hints].iter().all(|function| {
            // SAFETY: a live object. Ours being the only reference, nobody can be making another,
            // with or without the GIL.
            unsafe { ffi::Py_REFCNT(function.as_ptr()) == 1 }
        })
    }
}

fn bind(exchange: &Bound<'_, Exchange>, definition: &'static Definition) -> PyResult<Py<PyAny>> {
    // SAFETY: the definition lives for ever and is never written to; the exchange becomes the
    // function's `self`, which it holds a reference to.
    unsafe {
        let definition = ptr::from_ref(&definition.0).cast_mut();
        let function = ffi::PyCFunction_NewEx(definition, exchange.as_ptr(), ptr::null_mut());
        Bound::from_owned_ptr_or_err(exchange.py(), function).map(Bound::unbind)
    }
}

/// Runs the body of a C function: exceptions and panics become the interpreter's.
///
/// # Safety
/// The interpreter is attached to this thread, and `this` is the `self` of a function of [`bind`].
unsafe fn enter(
    this: *mut ffi::PyObject,
    body: impl FnOnce(&Bound<'_, Exchange>) -> PyResult<Py<PyAny>>,
) -> *mut ffi::PyObject {
    Python::attach(|py| {
        let run = || {
            // SAFETY: `bind` gave the function an exchange, which it keeps alive.
            let this =
                unsafe { Bound::from_borrowed_ptr(py, this).cast_into_unchecked::<Exchange>() };
            body(&this)
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let result = result.unwrap_or_else(|_| {
            Err(PyRuntimeError::new_err("an internal error of the WSGI server; see the log"))
        });
        match result {
            Ok(value) => value.into_ptr(),
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        }
    })
}

unsafe extern "C" fn start_response(
    this: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls it with what the calling convention promises: `count`
    // positional arguments, followed by one for each name in the tuple `keywords`.
    unsafe {
        enter(this, |exchange| {
            let py = exchange.py();
            let named = if keywords.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(keywords) };
            let mut given: [Option<Bound<'_, PyAny>>; 3] = [None, None, None];
            let all = usize::try_from(count + named).unwrap_or(0);
            for index in 0..all {
                let place = match index.checked_sub(count.cast_unsigned()) {
                    None => index,
                    Some(at) => {
                        let name = ffi::PyTuple_GET_ITEM(keywords, at.cast_signed());
                        place_of(&Bound::from_borrowed_ptr(py, name))?
                    }
                };
                let value = Bound::from_borrowed_ptr(py, *arguments.add(index));
                match given.get_mut(place) {
                    Some(free @ None) => *free = Some(value),
                    _ => return Err(wrong_arguments(all)),
                }
            }
            let [Some(status), Some(headers), exc_info] = given else {
                return Err(wrong_arguments(all));
            };
            let exc_info = exc_info.filter(|info| !info.is_none());
            exchange.get().start_response(&status, &headers, exc_info.as_ref())
        })
    }
}

/// Which argument a keyword stands for.
fn place_of(name: &Bound<'_, PyAny>) -> PyResult<usize> {
    match name.extract::<&str>()? {
        "status" => Ok(0),
        "headers" | "response_headers" => Ok(1),
        "exc_info" => Ok(2),
        other => Err(PyTypeError::new_err(format!(
            "start_response() got an unexpected keyword argument {other:?}"
        ))),
    }
}

fn wrong_arguments(count: usize) -> PyErr {
    PyTypeError::new_err(format!(
        "start_response() takes a status, a list of headers and perhaps exc_info ({count} \
         arguments given)"
    ))
}

unsafe extern "C" fn write(
    this: *mut ffi::PyObject,
    data: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls it with its self and one argument.
    unsafe {
        enter(this, |exchange| {
            let py = exchange.py();
            exchange.get().write(&Bound::from_borrowed_ptr(py, data))?;
            Ok(py.None())
        })
    }
}

unsafe extern "C" fn early_hints(
    this: *mut ffi::PyObject,
    headers: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as for `write`.
    unsafe {
        enter(this, |exchange| {
            let py = exchange.py();
            exchange.get().early_hints(&Bound::from_borrowed_ptr(py, headers))?;
            Ok(py.None())
        })
    }
}
