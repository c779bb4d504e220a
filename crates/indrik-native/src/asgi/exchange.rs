//! One request or WebSocket, and what is sent for it.

use std::sync::Arc;
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use indrik_core::lane::UNKNOWN;
use indrik_ring::{
    CHUNK_MAX, Descriptor, Flags, Kind, RESPONSE_PIECE_MAX, RESPONSE_WINDOW, websocket_piece_cost,
};

use super::cell::LoopCell;
use super::response::Head;
use super::service::Service;
use super::state::ExchangeState;
use crate::routes::{self, ChosenRoute};

/// A request or WebSocket; `receive` and `send` are its methods for Python.
#[pyclass(frozen, module = "indrik._native")]
pub(super) struct Exchange {
    pub(super) server: Arc<Service<Self>>,
    pub(super) slot: u16,
    pub(super) generation: u32,
    /// When the application got it.
    pub(super) began: Instant,
    /// The application's route for the request.
    pub(super) route: ChosenRoute,
    pub(super) state: LoopCell<ExchangeState>,
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

impl Exchange {
    /// A descriptor about this exchange.
    pub(super) fn descriptor(&self, kind: Kind, flags: Flags, aux: u64) -> Descriptor {
        let descriptor = Descriptor::new(kind, flags, self.slot, self.generation, aux)
            .on_route(self.route.number());
        if descriptor.is_timed() { descriptor.took(self.began.elapsed()) } else { descriptor }
    }

    /// What says that its coroutine takes a step; `this` is itself.
    pub(super) fn as_step(&self, this: &Bound<'_, Self>) -> (*const pyo3::ffi::PyObject, u16, u32) {
        (this.as_ptr(), self.slot, self.generation)
    }

    /// Notes which task runs it, for who looks into the worker.
    pub(super) fn note_task(&self, task: &Py<PyAny>) {
        let address = task.as_ptr() as usize;
        self.server.channel().owners.note(self.slot, self.generation, address);
    }

    /// Takes the route that a framework has left in the scope, unless the application has said one.
    ///
    /// # Errors
    /// When it is asked in another thread than the loop's.
    pub(super) fn find_route(&self, py: Python<'_>) -> PyResult<()> {
        let finds = self.server.finds_routes || routes::is_watched();
        if !finds || self.route.number() != UNKNOWN {
            return Ok(());
        }
        let scope = self.state.get()?.scope.as_ref().map(|scope| scope.clone_ref(py));
        let name = scope.and_then(|scope| routes::of_scope(scope.bind(py)));
        self.route.found(self.server.channel().framework_route(name));
        Ok(())
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

    pub(super) fn is_websocket(&self) -> PyResult<bool> {
        Ok(self.state.get()?.socket.is_some())
    }

    /// Whether the client is gone, as far as this side can know at this moment.
    pub(super) fn is_gone(&self, state: &ExchangeState) -> bool {
        state.gone || state.finished || self.server.channel().slots.is_gone(self.slot)
    }

    /// The error of a `send` to nobody.
    #[cold]
    pub(super) fn gone_error(&self, py: Python<'_>) -> PyErr {
        let error = self.server.client_gone.bind(py);
        match error.call1(("the client has disconnected",)) {
            Ok(error) => PyErr::from_value(error),
            Err(error) => error,
        }
    }

    /// Tells the front that bytes of the request were taken, if it wants to know.
    ///
    /// # Errors
    /// When the channel is broken.
    pub(super) fn took(&self, py: Python<'_>, bytes: u64) -> PyResult<()> {
        let server = &self.server;
        // Once it is over, the slot may be another request's.
        if bytes == 0 || self.state.get()?.finished {
            return Ok(());
        }
        if server.channel().slots.request_took(self.slot, bytes) {
            self.send_raw(py, self.descriptor(Kind::RequestCredit, Flags::NONE, 0), &[])?;
            server.flush_unless_batched();
        }
        Ok(())
    }

    /// Sends as much of a payload as the window allows, from `at` on. True: all of it.
    pub(super) fn push(
        &self,
        py: Python<'_>,
        state: &mut ExchangeState,
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
        state: &mut ExchangeState,
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
        self.server.channel().send(py, descriptor, len + piece.len(), |into| {
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
        let channel = self.server.channel();
        channel.send(py, descriptor, payload.len(), |into| into.copy_from_slice(payload))
    }

    /// Body bytes that may be sent now.
    fn room(&self, state: &ExchangeState) -> usize {
        let taken = self.server.channel().slots.response_taken(self.slot);
        let under_way = state.sent.saturating_sub(taken);
        usize::try_from(RESPONSE_WINDOW.saturating_sub(under_way)).unwrap_or(usize::MAX)
    }
}

/// The bytes of a `bytes` or `str` object.
pub(super) fn payload_bytes<'a>(payload: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    if let Ok(bytes) = payload.cast::<PyBytes>() {
        return Ok(bytes.as_bytes());
    }
    Ok(payload.cast::<PyString>()?.to_str()?.as_bytes())
}
