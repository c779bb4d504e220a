//! One request being answered: what `start_response`, `write` and `wsgi.early_hints` act on.

use std::time::Instant;

use indrik_core::lane::UNKNOWN;
use indrik_ring::{Descriptor, RequestHead};
use parking_lot::{Mutex, MutexGuard};
use pyo3::exceptions::{
    PyAssertionError, PyBrokenPipeError, PyRuntimeError, PyTypeError, PyValueError,
};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::channel::Channel;
use crate::routes::{self, ChosenRoute};
use crate::text::{bytes_of, latin1_bytes, latin1_str};
use crate::wsgi::head::Head;
use crate::wsgi::response::{Response, ResponsePhase, SendError, Then};

/// Stands for no slot: a pause that only its time ends.
const NO_SLOT: u16 = u16::MAX;

/// One request being answered. It is used again for the next request unless the application kept
/// one of its functions.
#[pyclass(frozen, module = "indrik._native")]
pub(crate) struct Exchange {
    channel: Py<Channel>,
    state: Mutex<CallState>,
}

/// What changes while a request is answered.
pub(crate) struct CallState {
    /// The response.
    pub(crate) response: Response,
    /// Why `start_response` refused what the application gave it last.
    pub(crate) refusal: Option<String>,
    /// The `write` function, while the request runs (it refers to the exchange, so keeping it
    /// longer would be a cycle).
    write: Option<Py<PyAny>>,
    /// The request's environ, until its answer begins, if its route is to be looked for there.
    environ: Option<Py<PyDict>>,
}

impl Exchange {
    /// Answers through a channel.
    pub(crate) fn new(channel: Py<Channel>) -> Self {
        let state =
            CallState { response: Response::new(), refusal: None, write: None, environ: None };
        Self { channel, state: Mutex::new(state) }
    }

    /// The state, for as short as possible.
    ///
    /// Never waits for it: it may be held while the GIL is released, so waiting with the GIL would
    /// be a deadlock; and two threads that answer one request at once are a mistake anyway.
    ///
    /// # Errors
    /// `RuntimeError` when another thread is at it.
    #[inline]
    pub(crate) fn state(&self) -> PyResult<MutexGuard<'_, CallState>> {
        self.state.try_lock().ok_or_else(|| {
            PyRuntimeError::new_err(
                "another thread is just sending a piece of this response: call write() and \
                 start_response() from one thread at a time",
            )
        })
    }

    /// The state, for the thread that serves the request: waits, with the GIL released, while
    /// another thread of the application is at it. Where requests are greenlets, it may be held by
    /// one that waits for its client: then all others run meanwhile.
    #[inline]
    pub(crate) fn wait_for_state(&self, py: Python<'_>) -> MutexGuard<'_, CallState> {
        loop {
            if let Some(state) = self.state.try_lock() {
                return state;
            }
            self.wait_for_others(py);
        }
    }

    #[cold]
    fn wait_for_others(&self, py: Python<'_>) {
        let channel = self.channel.get();
        if !channel.has_greenlets() {
            py.detach(|| drop(self.state.lock()));
        } else if let Err(error) = channel.pause(py, NO_SLOT) {
            // Killed while it waits for its own end: there is nothing left to stop.
            error.write_unraisable(py, None);
        }
    }

    /// Begins to answer a request that the worker has had since `began`; `write` is lent until [`Self::finish`].
    #[inline]
    pub(crate) fn begin(
        &self,
        request: &Descriptor,
        route: ChosenRoute,
        began: Instant,
        head: &RequestHead<'_>,
        write: &Bound<'_, PyAny>,
    ) {
        let mut state = self.wait_for_state(write.py());
        state.refusal = None;
        state.write = Some(write.clone().unbind());
        let (is_head, is_http_1_1) = (head.method == b"HEAD", head.version >= 11);
        state.response.begin(request, route, began, is_head, is_http_1_1);
    }

    /// Ends the answer to a request: tells the front, unless that was done, and takes the `write`
    /// function back.
    ///
    /// # Errors
    /// When the channel is broken.
    #[inline]
    pub(crate) fn finish(&self, py: Python<'_>) -> PyResult<()> {
        let mut state = self.wait_for_state(py);
        let (write, environ) = (state.write.take(), state.environ.take());
        let finished = state.response.finish(py, self.channel.get());
        drop(state);
        // Last, because an object that goes away may run code of the application.
        drop((write, environ));
        finished
    }

    /// What `start_response` does (PEP 3333); returns `write`.
    ///
    /// # Errors
    /// `ValueError` and `TypeError` naming what is wrong; `AssertionError` when the response was
    /// begun and no `exc_info` is given; the exception in `exc_info` when the head was sent.
    #[inline]
    pub(crate) fn start_response(
        &self,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let environ = self.state()?.environ.take();
        if let Some(environ) = environ {
            self.find_route(environ.bind(status.py()))?;
        }
        let mut head = std::mem::take(&mut self.may_begin(exc_info)?.response.head);
        // Not held meanwhile: the objects are the application's, and may call anything of this.
        let read = read_head(&mut head, status, headers);
        let mut state = self.may_begin(exc_info)?;
        state.response.head = head;
        match read {
            Ok(()) => {
                state.refusal = None;
                state.response.phase = ResponsePhase::Ready;
                let write = state.write.as_ref().map(|write| write.clone_ref(status.py()));
                write.ok_or_else(request_is_over)
            }
            Err(Refusal::Said(message)) => {
                state.refusal = Some(message.clone());
                Err(PyValueError::new_err(message))
            }
            Err(Refusal::Raised(error)) => Err(error),
        }
    }

    /// The state of a response that may get a head now.
    #[inline]
    fn may_begin(
        &self,
        exc_info: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<MutexGuard<'_, CallState>> {
        let mut state = self.state()?;
        match state.response.phase {
            ResponsePhase::Idle => Err(request_is_over()),
            ResponsePhase::Gone => Err(client_gone()),
            ResponsePhase::Waiting => Ok(state),
            ResponsePhase::Ready if exc_info.is_some() => {
                state.response.phase = ResponsePhase::Waiting;
                Ok(state)
            }
            ResponsePhase::Streaming | ResponsePhase::Complete if exc_info.is_some() => {
                drop(state);
                Err(reraised(exc_info))
            }
            ResponsePhase::Ready | ResponsePhase::Streaming | ResponsePhase::Complete => {
                Err(PyAssertionError::new_err(
                    "start_response() was called already; call it again only with exc_info",
                ))
            }
        }
    }

    /// The route is to be looked for in this environ.
    pub(crate) fn note_environ(&self, environ: &Bound<'_, PyDict>) {
        self.wait_for_state(environ.py()).environ = Some(environ.clone().unbind());
    }

    /// Takes the route that a framework has left in the environ, unless the application has said one. To be
    /// called while the framework begins its answer: afterwards Flask takes it out again.
    fn find_route(&self, environ: &Bound<'_, PyDict>) -> PyResult<()> {
        if self.state()?.response.route.number() != UNKNOWN {
            return Ok(());
        }
        let number = self.channel.get().framework_route(routes::of_environ(environ));
        self.state()?.response.route.found(number);
        Ok(())
    }

    /// What `write` does.
    ///
    /// # Errors
    /// `TypeError` for what is no bytes, `BrokenPipeError` when the client has gone.
    pub(crate) fn write(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let Some(bytes) = bytes_of(data) else {
            return Err(PyTypeError::new_err(format!(
                "write() takes bytes, not {}",
                data.get_type().name()?
            )));
        };
        let py = data.py();
        let channel = self.channel.get();
        let mut state = self.state()?;
        if bytes.is_empty() && state.response.phase != ResponsePhase::Idle {
            return Ok(());
        }
        let sent = state.response.send(py, channel, bytes, Then::More);
        channel.flush();
        sent.map_err(|error| match error {
            SendError::Gone => client_gone(),
            SendError::Python(error) => error,
            SendError::NotStarted | SendError::Short(_) => request_is_over(),
        })
    }

    /// What `wsgi.early_hints` does: sends a 103 response, if the client understands that and the
    /// response has not begun.
    ///
    /// # Errors
    /// `ValueError` and `TypeError` naming what is wrong.
    pub(crate) fn early_hints(&self, headers: &Bound<'_, PyAny>) -> PyResult<()> {
        if !self.state()?.response.takes_hints() {
            return Ok(());
        }
        // Read without the state: the objects are the application's, and may call anything of this.
        let mut head = Head::default();
        head.begin_interim(103);
        read_fields(&mut head, &as_text(headers)?).map_err(|refusal| match refusal {
            Refusal::Said(message) => PyValueError::new_err(message),
            Refusal::Raised(error) => error,
        })?;
        let channel = self.channel.get();
        let state = self.state()?;
        if state.response.takes_hints() {
            state.response.send_interim(headers.py(), channel, &head)?;
        }
        channel.flush();
        Ok(())
    }
}

/// Hints may be of bytes as well.
fn as_text<'py>(headers: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let text = |item: Bound<'py, PyAny>| match item.cast::<PyBytes>() {
        Ok(bytes) => latin1_str(item.py(), bytes.as_bytes()),
        Err(_) => Ok(item),
    };
    let list = PyList::empty(headers.py());
    for pair in headers.try_iter()? {
        let (name, value) = pair?.extract()?;
        list.append((text(name)?, text(value)?))?;
    }
    Ok(list.into_any())
}

/// Why a head was refused.
enum Refusal {
    /// With a message of ours.
    Said(String),
    /// With an exception of the application's own objects.
    Raised(PyErr),
}

impl From<PyErr> for Refusal {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

#[inline]
fn read_head(
    head: &mut Head,
    status: &Bound<'_, PyAny>,
    headers: &Bound<'_, PyAny>,
) -> Result<(), Refusal> {
    let Some(bytes) = latin1_bytes(status) else {
        return Err(Refusal::Said(format!(
            "invalid status {}: must be a str such as \"200 OK\"",
            shown(status)
        )));
    };
    head.begin(bytes).map_err(|error| Refusal::Said(error.to_string()))?;
    read_fields(head, headers)
}

#[inline]
fn read_fields(head: &mut Head, headers: &Bound<'_, PyAny>) -> Result<(), Refusal> {
    let py = headers.py();
    // SAFETY: the index is checked against the length each time round, because anything that runs
    // Python code could shorten the list; the item is held while it is read.
    unsafe {
        if ffi::PyList_CheckExact(headers.as_ptr()) != 0 {
            let mut index = 0;
            while index < ffi::PyList_GET_SIZE(headers.as_ptr()) {
                let item = ffi::compat::PyList_GetItemRef(headers.as_ptr(), index);
                read_field(head, &Bound::from_owned_ptr_or_err(py, item)?)?;
                index += 1;
            }
            return Ok(());
        }
    }
    for item in headers.try_iter()? {
        read_field(head, &item?)?;
    }
    Ok(())
}

#[inline]
fn read_field(head: &mut Head, item: &Bound<'_, PyAny>) -> Result<(), Refusal> {
    // SAFETY: the size of the exact tuple is checked before its items are read, and it holds them.
    let pair = unsafe {
        let raw = item.as_ptr();
        if ffi::PyTuple_CheckExact(raw) != 0 && ffi::PyTuple_GET_SIZE(raw) == 2 {
            let at = |i| Bound::from_borrowed_ptr(item.py(), ffi::PyTuple_GET_ITEM(raw, i));
            Some((at(0), at(1)))
        } else {
            None
        }
    };
    let (name, value) = match pair {
        Some(pair) => pair,
        None => item.extract().map_err(|_| {
            Refusal::Said(format!("invalid header {}: must be a (name, value) tuple", shown(item)))
        })?,
    };
    let Some(name) = latin1_bytes(&name) else {
        return Err(Refusal::Said(format!(
            "invalid header name {}: must be a str of ASCII characters",
            shown(&name)
        )));
    };
    let Some(value) = latin1_bytes(&value) else {
        return Err(Refusal::Said(format!(
            "invalid value {} of the header {:?}: must be a str of latin-1 characters",
            shown(&value),
            String::from_utf8_lossy(name),
        )));
    };
    head.add(name, value).map_err(|error| Refusal::Said(error.to_string()))
}

/// An object in an error message.
fn shown(object: &Bound<'_, PyAny>) -> String {
    const SHOWN_CHARACTERS_MAX: usize = 200;
    let text = object.repr().map_or_else(|_| "?".to_owned(), |repr| repr.to_string());
    text.chars().take(SHOWN_CHARACTERS_MAX).collect()
}

/// The exception in a `(type, value, traceback)` triple.
fn reraised(exc_info: Option<&Bound<'_, PyAny>>) -> PyErr {
    let value = exc_info.and_then(|info| info.get_item(1).ok());
    value.map_or_else(
        || PyTypeError::new_err("exc_info must be a tuple as sys.exc_info() gives it"),
        PyErr::from_value,
    )
}

fn request_is_over() -> PyErr {
    PyRuntimeError::new_err("the response is over: start_response() and write() came too late")
}

fn client_gone() -> PyErr {
    PyBrokenPipeError::new_err("the client has closed the connection")
}
