//! Handling one request: from the ring to the application, and from its result to the ring.

use std::os::fd::{IntoRawFd, OwnedFd};
use std::time::Instant;

use indrik_ring::{
    BodyIn, BodyPlace, CHUNK_MAX, Descriptor, Failure, FileLost, Flags, Kind, RequestHead,
};
use pyo3::exceptions::{
    PyBrokenPipeError, PyException, PyOSError, PyStopIteration, PyTypeError, PyValueError,
};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyTuple};

use crate::around::{Outcome, Watched, pairs};
use crate::channel::{Channel, broken, leave};
use crate::correlation::{Called, Correlation};
use crate::log;
use crate::options::Options;
use crate::overtime::this_thread;
use crate::routes::ChosenRoute;
use crate::text::{bytes_of, latin1_str};
use crate::wsgi::callables::Callables;
use crate::wsgi::environ::Environs;
use crate::wsgi::exchange::Exchange;
use crate::wsgi::file::FileWrapper;
use crate::wsgi::input::Input;
use crate::wsgi::response::{ResponsePhase, SendError, Then};

/// A request that was taken from the ring and started.
pub(crate) struct Taken {
    descriptor: Descriptor,
    body: Body,
}

enum Body {
    None,
    Memory(Vec<u8>),
    Placed(BodyPlace),
    File(Result<OwnedFd, FileLost>),
    /// None, but a socket to speak WebSocket on.
    Socket(Result<OwnedFd, FileLost>),
}

/// A request that was taken from the ring and not started: the front may still take it back.
pub(crate) struct Unstarted {
    pub(crate) descriptor: Descriptor,
    head: Vec<u8>,
    body: Body,
}

/// Takes the next request that the front did not take back; its head goes into `head`. The ring's
/// memory is free again when it returns.
///
/// # Errors
/// When the channel is broken.
#[inline]
pub(crate) fn take(
    py: Python<'_>,
    channel: &Channel,
    head: &mut Vec<u8>,
) -> PyResult<Option<Taken>> {
    channel.leave_if_forked(py);
    channel.check_descriptors()?;
    let mut requests = channel.requests.lock();
    loop {
        let Some(descriptor) = requests.receive().map_err(broken)? else {
            return Ok(None);
        };
        let taken = (descriptor.kind == Kind::Request).then(|| {
            // SAFETY: the worker trusts its front, and the payload is released below.
            let payload = unsafe { requests.payload(&descriptor) };
            read_request(channel, descriptor, payload, head)
        });
        if requests.release() {
            channel.ring_front();
        }
        if let Some(Some(taken)) = taken {
            return Ok(Some(taken));
        }
    }
}

/// `None` when the front took it back.
fn read_request(
    channel: &Channel,
    descriptor: Descriptor,
    payload: &[u8],
    head: &mut Vec<u8>,
) -> Option<Taken> {
    // The file comes even if the request was taken back.
    let file = take_file(channel, &descriptor);
    if !channel.slots.start(descriptor.slot, descriptor.generation) {
        return None;
    }
    let body = read_payload(&descriptor, payload, file, head);
    Some(Taken { descriptor, body })
}

/// The file that a request's body lies in, if it does.
fn take_file(channel: &Channel, descriptor: &Descriptor) -> Option<Result<OwnedFd, FileLost>> {
    let Descriptor { slot, generation, .. } = *descriptor;
    let is_file = descriptor.body_in() == BodyIn::File;
    is_file.then(|| channel.take_file(slot, generation))
}

/// Copies head and body out of the ring.
#[inline]
fn read_payload(
    descriptor: &Descriptor,
    payload: &[u8],
    file: Option<Result<OwnedFd, FileLost>>,
    head: &mut Vec<u8>,
) -> Body {
    let (head_part, body_part) = descriptor.split_head(payload).unwrap_or((payload, &[]));
    head.clear();
    head.extend_from_slice(head_part);
    match file {
        Some(file) if descriptor.flags.has(Flags::WEBSOCKET) => Body::Socket(file),
        Some(file) => Body::File(file),
        None if body_part.is_empty() => Body::None,
        None if descriptor.body_in() == BodyIn::Placed => {
            BodyPlace::decode(body_part).map_or(Body::None, Body::Placed)
        }
        None => Body::Memory(body_part.to_vec()),
    }
}

impl Taken {
    /// What the front said of it.
    pub(crate) const fn descriptor(&self) -> Descriptor {
        self.descriptor
    }
}

impl Unstarted {
    /// Copies a request out of the ring.
    pub(crate) fn copy(channel: &Channel, descriptor: Descriptor, payload: &[u8]) -> Self {
        let mut head = Vec::new();
        let file = take_file(channel, &descriptor);
        let body = read_payload(&descriptor, payload, file, &mut head);
        Self { descriptor, head, body }
    }

    /// Starts it; returns it with its head. `None` when the front took it back.
    pub(crate) fn start(self, channel: &Channel) -> Option<(Taken, Vec<u8>)> {
        let Self { descriptor, head, body } = self;
        let started = channel.slots.start(descriptor.slot, descriptor.generation);
        started.then_some((Taken { descriptor, body }, head))
    }
}

/// Handles requests, one at a time. Each thread has its own.
pub(crate) struct Handler {
    channel: Py<Channel>,
    app: Py<PyAny>,
    environs: Environs,
    exchange: Py<Exchange>,
    callables: Callables,
    /// Whether the front sends the files of `wsgi.file_wrapper`.
    sendfile: bool,
    /// Whether the route is looked for that a framework leaves.
    finds_routes: bool,
    /// What requests are called, where anybody wants to know.
    correlation: Option<Correlation>,
    /// The parts of a list, joined.
    joined: Vec<u8>,
    /// What is called around requests.
    hooks: Option<Py<PyAny>>,
    /// Requests may be told to stop.
    is_limited: bool,
    /// See [`Options::socket`].
    prepare_socket: Option<Py<PyAny>>,
    /// Of the request that runs, if it asks for a WebSocket.
    socket: Option<OwnSocket>,
}

/// A request with what its hooks are told afterwards.
struct Told {
    watched: Watched,
    environ: Option<Py<PyDict>>,
    /// The hook before the application has changed the request.
    changed: bool,
}

impl Handler {
    /// Prepares to call `app`.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn new(
        py: Python<'_>,
        channel: &Py<Channel>,
        app: &Py<PyAny>,
        options: &Options,
    ) -> PyResult<Self> {
        let exchange = Bound::new(py, Exchange::new(channel.clone_ref(py)))?;
        Ok(Self {
            channel: channel.clone_ref(py),
            app: app.clone_ref(py),
            environs: Environs::new(py, options)?,
            callables: Callables::new(&exchange)?,
            exchange: exchange.unbind(),
            sendfile: options.sendfile,
            finds_routes: options.routes,
            correlation: options.correlation.as_ref().map(|it| it.clone_ref(py)),
            joined: Vec::new(),
            is_limited: channel.get().running().is_some(),
            prepare_socket: options.socket.as_ref().map(|prepare| prepare.clone_ref(py)),
            socket: None,
            hooks: options.hooks.as_ref().map(|hooks| hooks.clone_ref(py)),
        })
    }

    /// Handles one request, which the worker has had since `began`; its response is sent, but the front is
    /// not woken for a short one.
    ///
    /// # Errors
    /// When the worker must end: the channel is broken, or the application raised `SystemExit` or
    /// the like (the request has been answered then).
    pub(crate) fn handle(
        &mut self,
        py: Python<'_>,
        taken: Taken,
        began: Instant,
        head: &[u8],
    ) -> PyResult<()> {
        if !self.is_limited {
            return self.run(py, taken, began, head);
        }
        let channel = self.channel.clone_ref(py);
        let Some(running) = channel.get().running() else {
            return self.run(py, taken, began, head);
        };
        running.begin(&taken.descriptor);
        let handled = self.run(py, taken, began, head);
        running.end(py);
        match handled {
            // The request has been answered, and the log has the traceback.
            Err(error) if running.is_timeout(py, &error) => Ok(()),
            handled => handled,
        }
    }

    fn run(&mut self, py: Python<'_>, taken: Taken, began: Instant, head: &[u8]) -> PyResult<()> {
        let head = RequestHead::decode(head)
            .map_err(|error| PyValueError::new_err(format!("a request from the front: {error}")))?;
        let route = ChosenRoute::begin(py, &self.channel, &taken.descriptor)?;
        let write = self.callables.write.bind(py);
        self.note_owner(&taken.descriptor);
        self.exchange.get().begin(&taken.descriptor, route, began, &head, write);
        self.channel.get().count_request();
        let mut told = None;
        let called = match &self.correlation {
            Some(correlation) => Some(correlation.begin(py, &head)?),
            None => None,
        };
        let result = self.call(py, &head, taken.body, called.as_ref(), &mut told);
        if self.channel.get().is_forked() {
            // What the application raised in it, if anything, is its own.
            let raised = match &result {
                Err(SendError::Python(raised)) => Some(raised),
                Ok(()) | Err(SendError::NotStarted | SendError::Gone | SendError::Short(_)) => None,
            };
            leave(py, raised);
        }
        let begun = told.is_some() && self.exchange.get().wait_for_state(py).response.has_begun();
        let failed = match result {
            Ok(()) => Ok(()),
            Err(error) => self.tell_failure(py, &head, error),
        };
        // Before the front hears of the end, so that it has all that was written.
        if let Some(socket) = self.socket.take() {
            socket.close(py);
        }
        let mut result = self.exchange.get().finish(py).and(failed);
        if let Some(told) = told {
            let after = self.tell_after(py, &told, begun);
            result = result.and(after);
        }
        if let Some(correlation) = &self.correlation {
            let ended = correlation.end(py);
            result = result.and(ended);
        }
        if !self.callables.are_ours_alone() {
            let exchange = Bound::new(py, Exchange::new(self.channel.clone_ref(py)))?;
            self.callables = Callables::new(&exchange)?;
            self.exchange = exchange.unbind();
        }
        result
    }

    /// Notes which thread runs a request, for who looks into the worker. Of greenlets the hub knows it.
    fn note_owner(&self, request: &Descriptor) {
        let channel = self.channel.get();
        if !channel.has_greenlets() {
            let thread = this_thread() as usize;
            channel.owners.note(request.slot, request.generation, thread);
        }
    }

    /// Calls the application and sends what it returns.
    fn call(
        &mut self,
        py: Python<'_>,
        head: &RequestHead<'_>,
        body: Body,
        called: Option<&Called<'_>>,
        told: &mut Option<Told>,
    ) -> Result<(), SendError> {
        let mut socket = None;
        let input = match body {
            Body::None => None,
            Body::Socket(fd) => {
                socket = Some(fd.map_err(|lost| PyOSError::new_err(lost.to_string()))?);
                None
            }
            Body::Memory(bytes) => Some(Bound::new(py, Input::memory(bytes))?),
            Body::Placed(place) => {
                let input = Bound::new(py, Input::placed(&self.channel.get().bodies, place)?)?;
                let borrowed = input.clone().unbind();
                self.exchange.get().wait_for_state(py).response.borrow_body(borrowed);
                Some(input)
            }
            Body::File(file) => {
                let file = file.map_err(|lost| PyOSError::new_err(lost.to_string()))?;
                let input = Input::file(file).map_err(PyErr::from)?;
                Some(Bound::new(py, input)?)
            }
        };
        if let Some(hooks) = &self.hooks {
            let body = input.as_ref().map(|input| input.as_any());
            let watched = Watched::new(py, hooks, head, body)?;
            let told = told.insert(Told { watched, environ: None, changed: false });
            told.changed = told.watched.before(py)?;
        }
        let hints = self.callables.early_hints.bind(py);
        let Ok(environ) = self.environs.build(py, head, input, hints)? else {
            return Err(outside_prefix(&self.environs, head));
        };
        if let (Some(correlation), Some(called)) = (&self.correlation, called) {
            correlation.tell(called, &environ)?;
        }
        if let Some(told) = told {
            if told.changed {
                told.watched.change(py, &environ)?;
            }
            told.environ = Some(environ.clone().unbind());
        }
        if let (Some(fd), Some(prepare)) = (socket, &self.prepare_socket) {
            self.socket = Some(OwnSocket::new(prepare.bind(py), &environ, fd)?);
        }
        if self.finds_routes || crate::routes::is_watched() {
            self.exchange.get().note_environ(&environ);
        }
        let result = {
            let arguments = [environ.as_ptr(), self.callables.start_response.as_ptr()];
            // SAFETY: two live arguments, and none by keyword.
            unsafe {
                let result = ffi::PyObject_Vectorcall(
                    self.app.as_ptr(),
                    arguments.as_ptr(),
                    arguments.len(),
                    std::ptr::null_mut(),
                );
                Bound::from_owned_ptr_or_err(py, result)?
            }
        };
        self.send_result(&result)
    }

    /// Tells the hooks how it went; the response does not wait for them.
    #[cold]
    fn tell_after(&self, py: Python<'_>, told: &Told, begun: bool) -> PyResult<()> {
        self.channel.get().flush();
        let state = self.exchange.get().wait_for_state(py);
        let response = &state.response;
        let head = &response.head;
        let outcome = Outcome {
            status: if begun { Some(latin1_str(py, &head.status_line())?) } else { None },
            headers: if begun { pairs(py, head.fields())? } else { PyList::empty(py) },
            length: head.content_length.filter(|_| begun),
            sent: response.body_sent(),
            headers_sent: response.was_sent(),
        };
        drop(state);
        let environ = told.environ.as_ref().map(|environ| environ.bind(py));
        told.watched.after(py, environ, outcome)
    }

    /// Sends what the application returned.
    #[inline]
    fn send_result(&mut self, result: &Bound<'_, PyAny>) -> Result<(), SendError> {
        let py = result.py();
        // SAFETY: a type check, then the length of what is exactly that type.
        let only = unsafe {
            let raw = result.as_ptr();
            if ffi::PyList_CheckExact(raw) != 0 && ffi::PyList_GET_SIZE(raw) == 1 {
                let item = ffi::compat::PyList_GetItemRef(raw, 0);
                Some(Bound::from_owned_ptr_or_err(py, item)?)
            } else if ffi::PyTuple_CheckExact(raw) != 0 && ffi::PyTuple_GET_SIZE(raw) == 1 {
                Some(Bound::from_borrowed_ptr(py, ffi::PyTuple_GET_ITEM(raw, 0)))
            } else {
                None
            }
        };
        if let Some(item) = only {
            let data = body_bytes(&item)?;
            let mut state = self.exchange.get().wait_for_state(py);
            // Neither type has a close(): the application is through.
            return state.response.send(py, self.channel.get(), data, Then::Done);
        }
        if self.join(result)? {
            let mut state = self.exchange.get().wait_for_state(py);
            return state.response.send(py, self.channel.get(), &self.joined, Then::Done);
        }
        let sent = self.send_closable(result);
        // Whatever happened, and even if the client has gone (PEP 3333).
        let closed = close(result);
        sent?;
        Ok(closed?)
    }

    /// Joins the items of a short list or tuple; false when it is no such thing.
    fn join(&mut self, result: &Bound<'_, PyAny>) -> Result<bool, SendError> {
        let items: Bound<'_, PyTuple> = if let Ok(list) = result.cast_exact::<PyList>() {
            list.to_tuple()
        } else if let Ok(tuple) = result.cast_exact::<PyTuple>() {
            tuple.clone()
        } else {
            return Ok(false);
        };
        self.joined.clear();
        for item in items.iter_borrowed() {
            let data = body_bytes(&item)?;
            if self.joined.len() + data.len() > CHUNK_MAX {
                return Ok(false);
            }
            self.joined.extend_from_slice(data);
        }
        Ok(true)
    }

    /// Sends a file, or what an iterable yields.
    fn send_closable(&self, result: &Bound<'_, PyAny>) -> Result<(), SendError> {
        let py = result.py();
        let channel = self.channel.get();
        if let Ok(wrapper) = result.cast_exact::<FileWrapper>() {
            let mut state = self.exchange.get().wait_for_state(py);
            let response = &mut state.response;
            let sendable =
                self.sendfile && response.phase == ResponsePhase::Ready && response.can_have_body();
            let file = if sendable { wrapper.get().range(py) } else { None };
            if let Some(file) = file {
                // Known before the head is sent, so the client can be told.
                response.check_length(&file)?;
                return response.send_file(py, channel, &file);
            }
        }
        let items: Bound<'_, PyIterator> = result.try_iter()?;
        for item in items {
            let item = item?;
            let data = body_bytes(&item)?;
            if data.is_empty() {
                continue;
            }
            let mut state = self.exchange.get().wait_for_state(py);
            let sent = state.response.send(py, channel, data, Then::More);
            // PEP 3333: a piece is on its way before the next one is asked for.
            channel.flush();
            sent?;
            if state.response.is_head && state.response.phase == ResponsePhase::Complete {
                // The rest would be thrown away.
                break;
            }
        }
        self.exchange.get().wait_for_state(py).response.end(py, channel)?;
        channel.flush();
        Ok(())
    }

    /// Tells the front how the request failed, and the log.
    #[cold]
    fn tell_failure(
        &self,
        py: Python<'_>,
        head: &RequestHead<'_>,
        error: SendError,
    ) -> PyResult<()> {
        let channel = self.channel.get();
        let shown = |bytes| String::from_utf8_lossy(bytes);
        let what = format!("Error handling request {} {}", shown(head.method), shown(head.target));
        let mut state = self.exchange.get().wait_for_state(py);
        let refusal = state.refusal.take();
        let response = &mut state.response;
        let raised = match error {
            SendError::Gone => return Ok(()),
            // It has answered on its socket; if not, the front finds nothing there and says so.
            error if self.socket.is_some() && is_handled(py, &error) => return Ok(()),
            SendError::NotStarted => {
                let why = refusal.unwrap_or_else(|| {
                    "the application returned without calling start_response()".to_owned()
                });
                return response.fail(py, channel, Failure::Invalid, &format!("{what}: {why}"));
            }
            SendError::Short(missing) => {
                let line = format!(
                    "{what}: the body ended {missing} bytes short of its Content-Length; the \
                     connection is closed so that the client notices"
                );
                return response.fail(py, channel, Failure::Short, &line);
            }
            SendError::Python(raised) => raised,
        };
        if response.phase == ResponsePhase::Gone && raised.is_instance_of::<PyBrokenPipeError>(py) {
            return Ok(());
        }
        if let Some(why) = refusal
            && response.phase == ResponsePhase::Waiting
            && raised.is_instance_of::<PyValueError>(py)
            && raised.value(py).to_string() == why
        {
            return response.fail(py, channel, Failure::Invalid, &format!("{what}: {why}"));
        }
        let phase = response.phase;
        drop(state);
        log::exception(py, &what, &raised);
        let response = &mut self.exchange.get().wait_for_state(py).response;
        match phase {
            ResponsePhase::Complete | ResponsePhase::Gone | ResponsePhase::Idle => {}
            ResponsePhase::Waiting | ResponsePhase::Ready => {
                response.fail(py, channel, Failure::Before, "")?
            }
            ResponsePhase::Streaming => response.fail(py, channel, Failure::After, "")?,
        }
        if raised.is_instance_of::<PyException>(py) { Ok(()) } else { Err(raised) }
    }
}

/// The socket of a request that asks for a WebSocket. The application has the only descriptor of it, so
/// that its client sees at once when it is closed.
struct OwnSocket(Py<PyAny>);

impl OwnSocket {
    fn new(prepare: &Bound<'_, PyAny>, environ: &Bound<'_, PyDict>, fd: OwnedFd) -> PyResult<Self> {
        Ok(Self(prepare.call1((environ, fd.into_raw_fd()))?.unbind()))
    }

    /// Closes it, if the application has not. For threads that still read, and for copies that were forked,
    /// the front ends it when it hears that the request is over.
    fn close(self, py: Python<'_>) {
        let _ = self.0.call_method0(py, pyo3::intern!(py, "close"));
    }
}

/// Whether an application that has a socket of its own says with this that it needs no answer: as
/// Gunicorn has it, by `StopIteration`, or by not calling `start_response`.
fn is_handled(py: Python<'_>, error: &SendError) -> bool {
    match error {
        SendError::NotStarted => true,
        SendError::Python(raised) => raised.is_instance_of::<PyStopIteration>(py),
        SendError::Gone | SendError::Short(_) => false,
    }
}

/// The bytes of one item of a response.
#[inline]
fn body_bytes<'a>(item: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    match bytes_of(item) {
        Some(bytes) => Ok(bytes),
        None => Err(PyTypeError::new_err(format!(
            "the application must give bytes as the body, not {}: encode it",
            item.get_type().name()?
        ))),
    }
}

/// Calls the `close` method that an iterable may have.
fn close(result: &Bound<'_, PyAny>) -> PyResult<()> {
    match result.getattr_opt(pyo3::intern!(result.py(), "close"))? {
        Some(close) => close.call0().map(drop),
        None => Ok(()),
    }
}

#[cold]
fn outside_prefix(environs: &Environs, head: &RequestHead<'_>) -> SendError {
    SendError::Python(PyValueError::new_err(format!(
        "the path of the request does not begin with SCRIPT_NAME {:?}",
        environs.script_name(head)
    )))
}
