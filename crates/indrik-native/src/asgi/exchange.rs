//! One request or WebSocket: what the application has of it, and what it has said.

use std::collections::VecDeque;
use std::time::Instant;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use indrik_ring::{
    CHUNK_MAX, Descriptor, Flags, Kind, RESPONSE_PIECE_MAX, RESPONSE_WINDOW, websocket_piece_cost,
};

use super::awaitable::{Awaitable, Job};
use super::cell::LoopCell;
use super::message::Message;
use super::response::Head;
use super::server::AsgiServer;
use super::websocket::Socket;
use crate::around::Watched;

/// A request or WebSocket; `receive` and `send` are its methods.
#[pyclass(frozen, module = "indrik._native")]
pub(super) struct Exchange {
    pub(super) server: Py<AsgiServer>,
    pub(super) slot: u16,
    pub(super) generation: u32,
    /// When the application got it.
    pub(super) began: Instant,
    pub(super) state: LoopCell<State>,
}

/// What is known of an exchange at the moment.
#[derive(Default)]
pub(super) struct State {
    /// For the log.
    pub(super) scope: Option<Py<PyDict>>,
    /// Keeps the task alive: the loop only refers to it weakly.
    pub(super) task: Option<Py<PyAny>>,
    /// The coroutine has returned: the slot is not ours any more.
    pub(super) finished: bool,
    /// The front said that the client is gone.
    pub(super) gone: bool,
    /// The front said that the request ran too long: nobody waits for its end but the log.
    pub(super) timed_out: bool,
    /// Futures of tasks that wait in `receive`.
    pub(super) receive_waiters: Vec<Py<PyAny>>,
    /// Futures of tasks that wait in `send`, for credit or for their turn.
    pub(super) send_waiters: Vec<Py<PyAny>>,
    /// Some task is in the middle of a body or message and waits for credit.
    pub(super) sending: bool,
    /// A task was cancelled in the middle of a body or message.
    pub(super) torn: bool,
    /// Body bytes sent, for the response window.
    pub(super) sent: u64,
    /// The request's body.
    pub(super) body: RequestBody,
    /// The response; for a WebSocket the one that denies it.
    pub(super) response: Response,
    /// A WebSocket's own state.
    pub(super) socket: Option<Box<Socket>>,
    /// The request as hooks see it, if there are any.
    pub(super) watched: Option<Box<Watched>>,
    /// What hooks are told of the response: status and header fields.
    pub(super) told: Option<(u16, Py<PyList>)>,
}

/// The request's body.
#[derive(Default)]
pub(super) struct RequestBody {
    /// Arrived and not yet given to the application.
    pub(super) pieces: VecDeque<Py<PyBytes>>,
    /// It came in pieces, so the front counts what is taken.
    pub(super) streams: bool,
    /// All of it has arrived.
    pub(super) complete: bool,
    /// The application has had the end of it.
    pub(super) given: bool,
    /// The front waits to be told that the body is wanted.
    pub(super) waits: bool,
}

/// How far the response is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Nothing said yet.
    #[default]
    Waiting,
    /// The start was given, and is held back until there is a body.
    Started,
    /// The head has been sent.
    Streaming,
    /// The body is complete; trailers follow.
    Trailers,
    /// Complete.
    Complete,
}

/// The response.
#[derive(Default)]
pub(super) struct Response {
    pub(super) phase: Phase,
    /// Held back until there is a body.
    pub(super) head: Option<Head>,
    /// The application announced trailers.
    pub(super) trailers: bool,
    /// They are sent: there is a body for them to follow, and a framing that has room for them.
    pub(super) trailers_go: bool,
    /// The request's version of HTTP, as the channel has it.
    pub(super) version: u8,
    /// The trailers so far.
    pub(super) trailer_fields: Option<Head>,
    /// Content-Length as declared, where the body must have it.
    pub(super) expected: Option<u64>,
    /// Body bytes that the application gave.
    pub(super) given: u64,
    /// The body ended short of its Content-Length.
    pub(super) is_short: bool,
    /// The request was a HEAD.
    pub(super) is_head: bool,
    /// There is no body, whatever the application gives as one.
    pub(super) is_bodiless: bool,
    /// The front has, or is about to get, all bytes of the answer. What the application still says
    /// is checked and dropped: a client that leaves now has missed nothing, so it is not told.
    pub(super) sealed: bool,
    /// The whole body, held until the coroutine's step is over, because DONE may then go
    /// with it.
    pub(super) last: Option<Py<PyBytes>>,
}

/// What a payload is sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// A piece of the body; `end`: the application said that it is the last; `seals`: no byte can
    /// follow.
    Body { end: bool, seals: bool },
    /// A whole WebSocket message.
    Message { text: bool },
    /// The reason of a WebSocket close with this code.
    Close { code: u16 },
}

#[pymethods]
impl Exchange {
    /// ASGI's `receive`.
    fn receive(slf: &Bound<'_, Self>) -> PyResult<Py<Awaitable>> {
        Py::new(slf.py(), Awaitable::new(slf.clone().unbind(), Job::Receive))
    }

    /// ASGI's `send`.
    fn send<'py>(
        slf: &Bound<'py, Self>,
        message: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let Ok(dict) = message.cast::<PyDict>() else {
            let found = message.get_type();
            return Err(PyTypeError::new_err(format!(
                "send() needs a dict as its message, not {found}"
            )));
        };
        let kind = match dict.get_item(intern!(py, "type"))? {
            Some(kind) => kind.cast_into::<PyString>().map_err(|_| no_type())?,
            None => return Err(no_type()),
        };
        let message = Message { dict, kind: kind.to_str()? };
        if slf.get().is_websocket()? {
            Self::send_socket(slf, &message)
        } else {
            Self::send_http(slf, &message)
        }
    }

    /// Cancels the coroutine of a client that has gone. One whose response is complete goes on:
    /// what it still does is not for the client.
    pub(super) fn give_up(&self, py: Python<'_>) -> PyResult<()> {
        let task = {
            let state = self.state.get()?;
            let complete = state.socket.is_none() && state.response.sealed;
            if state.finished || complete {
                return Ok(());
            }
            state.task.as_ref().map(|task| task.clone_ref(py))
        };
        match task {
            Some(task) => task.call_method0(py, intern!(py, "cancel")).map(drop),
            None => Ok(()),
        }
    }
}

#[cold]
fn no_type() -> PyErr {
    PyRuntimeError::new_err("send() needs a message with a \"type\" that is a str")
}

impl Exchange {
    /// A descriptor about this exchange.
    pub(super) fn descriptor(&self, kind: Kind, flags: Flags, aux: u64) -> Descriptor {
        let descriptor = Descriptor::new(kind, flags, self.slot, self.generation, aux);
        if descriptor.is_timed() { descriptor.took(self.began.elapsed()) } else { descriptor }
    }

    /// Calls the hook before the application.
    ///
    /// # Errors
    /// What it raises.
    pub(super) fn before(&self, py: Python<'_>) -> PyResult<()> {
        // Not held while the hook runs: it is the application's code.
        let watched = self.state.get()?.watched.take();
        let Some(watched) = watched else { return Ok(()) };
        let result = watched.before(py).map(drop);
        self.state.get()?.watched = Some(watched);
        result
    }

    fn is_websocket(&self) -> PyResult<bool> {
        Ok(self.state.get()?.socket.is_some())
    }

    /// Whether the client is gone, as far as this side can know at this moment.
    pub(super) fn is_gone(&self, state: &State) -> bool {
        state.gone || state.finished || self.server.get().channel().slots.is_gone(self.slot)
    }

    /// The error of a `send` to nobody.
    #[cold]
    pub(super) fn gone_error(&self, py: Python<'_>) -> PyErr {
        let error = self.server.get().client_gone.bind(py);
        match error.call1(("the client has disconnected",)) {
            Ok(error) => PyErr::from_value(error),
            Err(error) => error,
        }
    }

    /// Sends a payload: at once if the window allows, else as an awaitable.
    pub(super) fn transmit<'py>(
        slf: &Bound<'py, Self>,
        payload: Bound<'py, PyAny>,
        how: How,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let mut at = 0;
        let mut owner = false;
        {
            let mut state = this.state.get()?;
            if !state.sending {
                if this.push(py, &mut state, payload_bytes(&payload)?, &mut at, how)? {
                    let waiters = state.take_completed_waiters();
                    drop(state);
                    this.server.get().settle();
                    return wake(py, waiters).and_then(|()| this.server.get().ready(py));
                }
                state.sending = true;
                owner = true;
            }
        }
        this.server.get().settle();
        let job = Job::Send { payload: payload.unbind(), at, how, owner };
        Ok(Bound::new(py, Awaitable::new(slf.clone().unbind(), job))?.into_any())
    }

    /// Sends as much of a payload as the window allows, from `at` on. True: all of it.
    pub(super) fn push(
        &self,
        py: Python<'_>,
        state: &mut State,
        payload: &[u8],
        at: &mut usize,
        how: How,
    ) -> PyResult<bool> {
        loop {
            let left = payload.len() - *at;
            let room = self.room(state);
            match how {
                How::Close { code } => {
                    let close = self.descriptor(Kind::WebSocketClose, Flags::NONE, code.into());
                    self.send_raw(py, close, payload)?;
                    return Ok(true);
                }
                How::Message { text } => {
                    let len = left.min(room).min(CHUNK_MAX);
                    let end = len == left;
                    let cost = websocket_piece_cost(len, end);
                    if (len == 0 && !end) || cost > room as u64 {
                        return Ok(false);
                    }
                    let flags = if text { Flags::TEXT } else { Flags::NONE };
                    let flags = if end { flags.with(Flags::END) } else { flags };
                    let piece = self.descriptor(Kind::WebSocketSend, flags, 0);
                    self.send_raw(py, piece, &payload[*at..*at + len])?;
                    state.sent += cost;
                    *at += len;
                    if end {
                        return Ok(true);
                    }
                }
                How::Body { end, seals } => {
                    if state.response.sealed {
                        state.response.said(end);
                        return Ok(true);
                    }
                    let head = state.response.head.take();
                    if head.is_none() && left == 0 && !end {
                        return Ok(true);
                    }
                    let head_len = head.as_ref().map_or(0, Head::len);
                    let len = left.min(room).min(RESPONSE_PIECE_MAX.saturating_sub(head_len));
                    if head.is_none() && len == 0 && left != 0 {
                        return Ok(false);
                    }
                    let last = len == left;
                    self.send_body(py, state, head, &payload[*at..*at + len], last && seals)?;
                    *at += len;
                    if last {
                        state.response.said(end);
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// One piece of the body, with the head if it is still here; `seals`: the last one.
    fn send_body(
        &self,
        py: Python<'_>,
        state: &mut State,
        head: Option<Head>,
        piece: &[u8],
        seals: bool,
    ) -> PyResult<()> {
        let trailers = state.response.trailers_go;
        let mut flags = if seals { Flags::END } else { Flags::NONE };
        if let Some(head) = head {
            if trailers {
                flags = flags.with(Flags::TRAILERS);
            }
            self.send_head(py, Kind::Response, flags, &head, piece)?;
            // A response that is complete in one descriptor is not counted.
            if !flags.has(Flags::END) {
                state.sent += piece.len() as u64;
            }
        } else if !(piece.is_empty() && trailers) {
            let next = self.descriptor(Kind::ResponseBody, flags, 0);
            self.send_raw(py, next, piece)?;
            state.sent += piece.len() as u64;
        }
        state.response.sealed = seals;
        state.response.said(false);
        Ok(())
    }

    /// Sends a head, and with it the first piece of a body.
    pub(super) fn send_head(
        &self,
        py: Python<'_>,
        kind: Kind,
        flags: Flags,
        head: &Head,
        piece: &[u8],
    ) -> PyResult<()> {
        let len = head.len();
        let flags = if head.close { flags.with(Flags::CLOSE) } else { flags };
        let descriptor = self.descriptor(kind, flags, len as u64);
        self.server.get().channel().send(py, descriptor, len + piece.len(), |into| {
            let (start, rest) = into.split_at_mut(len);
            head.encode(start);
            rest.copy_from_slice(piece);
        })
    }

    /// Sends a descriptor with a payload.
    pub(super) fn send_raw(
        &self,
        py: Python<'_>,
        descriptor: Descriptor,
        payload: &[u8],
    ) -> PyResult<()> {
        let channel = self.server.get().channel();
        channel.send(py, descriptor, payload.len(), |into| into.copy_from_slice(payload))
    }

    /// Body bytes that may be sent now.
    fn room(&self, state: &State) -> usize {
        let taken = self.server.get().channel().slots.response_taken(self.slot);
        let under_way = state.sent.saturating_sub(taken);
        usize::try_from(RESPONSE_WINDOW.saturating_sub(under_way)).unwrap_or(usize::MAX)
    }
}

impl Response {
    /// The application gave a piece of the body; `end`: it said that it is the last.
    pub(super) fn said(&mut self, end: bool) {
        self.phase = match (end, self.trailers) {
            (false, _) => Phase::Streaming,
            (true, true) => Phase::Trailers,
            (true, false) => Phase::Complete,
        };
    }

    /// Whether no byte can follow a piece that was counted; `end`: the application said that it is
    /// the last. A body of the announced length is whole also before the application says so, and
    /// an answer without a body with its first piece.
    pub(super) fn is_whole(&self, end: bool) -> bool {
        let is_filled = self.expected == Some(self.given);
        self.sealed || self.is_bodiless || (!self.trailers_go && (end || is_filled))
    }

    /// The application has said everything.
    pub(super) fn complete(&mut self) {
        self.phase = Phase::Complete;
        self.sealed = true;
    }
}

impl State {
    /// Those who wait in `receive`, if the response is complete: they get `http.disconnect` then.
    pub(super) fn take_completed_waiters(&mut self) -> Vec<Py<PyAny>> {
        if self.response.phase == Phase::Complete {
            std::mem::take(&mut self.receive_waiters)
        } else {
            Vec::new()
        }
    }

    /// Everybody who waits.
    pub(super) fn take_waiters(&mut self) -> Vec<Py<PyAny>> {
        let mut waiters = std::mem::take(&mut self.receive_waiters);
        waiters.append(&mut self.send_waiters);
        waiters
    }
}

/// The bytes of a `bytes` or `str` object.
pub(super) fn payload_bytes<'a>(payload: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    if let Ok(bytes) = payload.cast::<PyBytes>() {
        return Ok(bytes.as_bytes());
    }
    Ok(payload.cast::<PyString>()?.to_str()?.as_bytes())
}

/// Lets tasks go on; their futures may have been cancelled meanwhile.
pub(super) fn wake(py: Python<'_>, waiters: Vec<Py<PyAny>>) -> PyResult<()> {
    for waiter in waiters {
        let waiter = waiter.bind(py);
        if !waiter.call_method0(intern!(py, "done"))?.is_truthy()? {
            waiter.call_method1(intern!(py, "set_result"), (py.None(),))?;
        }
    }
    Ok(())
}
