//! What is known of a request or WebSocket at the moment.

use std::collections::VecDeque;

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::response::Head;
use super::socket::{Socket, Stage};
use crate::around::Watched;

/// What is known of an exchange at the moment.
#[derive(Default)]
pub(super) struct ExchangeState {
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
pub(super) enum ResponsePhase {
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
    pub(super) phase: ResponsePhase,
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

impl Response {
    /// The application gave a piece of the body; `end`: it said that it is the last.
    pub(super) fn said(&mut self, end: bool) {
        self.phase = match (end, self.trailers) {
            (false, _) => ResponsePhase::Streaming,
            (true, true) => ResponsePhase::Trailers,
            (true, false) => ResponsePhase::Complete,
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
        self.phase = ResponsePhase::Complete;
        self.sealed = true;
    }
}

impl ExchangeState {
    /// The application has closed its WebSocket, or answered without one.
    pub(super) fn close_socket(&mut self, code: u16, reason: String) {
        if let Some(socket) = self.socket.as_mut() {
            socket.stage = Stage::Closed;
            socket.closed(code, reason);
        }
    }

    /// Those who wait in `receive`, if the response is complete: they get `http.disconnect` then.
    pub(super) fn take_completed_waiters(&mut self) -> Vec<Py<PyAny>> {
        if self.response.phase == ResponsePhase::Complete {
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

/// The error for a message that does not fit the state of the response.
#[cold]
pub(super) fn out_of_order(phase: ResponsePhase, kind: &str) -> PyErr {
    let wanted = match phase {
        ResponsePhase::Complete => {
            return PyRuntimeError::new_err(format!(
                "Unexpected ASGI message '{kind}' sent, after response already completed."
            ));
        }
        ResponsePhase::Waiting => "http.response.start",
        ResponsePhase::Started | ResponsePhase::Streaming => "http.response.body",
        ResponsePhase::Trailers => "http.response.trailers",
    };
    PyRuntimeError::new_err(format!("Expected ASGI message '{wanted}', but got '{kind}'."))
}
