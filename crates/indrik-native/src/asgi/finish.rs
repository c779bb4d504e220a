//! The end of an exchange: what is still owed to the front when the coroutine has returned.

use pyo3::prelude::*;
use pyo3::types::PyList;

use indrik_ring::{Failure, Flags, Kind};

use super::exchange::Exchange;
use super::socket::Stage;
use super::state::{ExchangeState, ResponsePhase, wake};
use crate::around::Outcome;
use crate::channel::leave;

/// The server met an unexpected condition (RFC 6455, 7.4.1).
const CODE_INTERNAL_ERROR: u64 = 1011;
/// A normal close.
const CODE_NORMAL: u64 = 1000;

impl Exchange {
    /// Tells the front how it ended, and gives the slot back. `error`: what the coroutine raised.
    ///
    /// # Errors
    /// When the channel is broken.
    pub(super) fn finish(&self, py: Python<'_>, error: Option<&PyErr>) -> PyResult<()> {
        let server = &self.server;
        if server.channel().is_forked() {
            leave(py, error);
        }
        let (waiters, scope, gone) = {
            let mut state = self.state.get()?;
            if state.finished {
                return Ok(());
            }
            let gone = self.is_gone(&state);
            self.say_goodbye(py, &mut state, gone, error.is_some())?;
            state.finished = true;
            server.channel().slots.finish(self.slot, self.generation);
            let is_gone = gone && !state.timed_out;
            (state.take_waiters(), (state.scope.take(), state.task.take()), is_gone)
        };
        server.forget(self.slot)?;
        wake(py, waiters)?;
        if let Some(error) = error {
            server.report(py, scope.0.as_ref(), error, gone)?;
        }
        drop(scope);
        server.flush_unless_batched();
        if server.has_hooks() {
            self.tell_after(py)?;
        }
        server.stop_if_idle(py)
    }

    /// Tells the hooks how it went.
    #[cold]
    fn tell_after(&self, py: Python<'_>) -> PyResult<()> {
        let (watched, outcome) = {
            let mut state = self.state.get()?;
            let (status, headers) = match state.told.take() {
                Some((status, headers)) => {
                    let status = status.into_pyobject(py)?.into_any();
                    (Some(status), headers.into_bound(py))
                }
                None => (None, PyList::empty(py)),
            };
            let response = &state.response;
            let headers_sent = response.phase > ResponsePhase::Started;
            let length = response.expected;
            let outcome = Outcome { status, headers, length, sent: response.given, headers_sent };
            (state.watched.take(), outcome)
        };
        match watched {
            Some(watched) => watched.after_asgi(py, outcome),
            None => Ok(()),
        }
    }

    /// The last descriptor, with DONE.
    fn say_goodbye(
        &self,
        py: Python<'_>,
        state: &mut ExchangeState,
        gone: bool,
        failed: bool,
    ) -> PyResult<()> {
        if state.response.last.is_some() {
            if state.response.sealed {
                return self.send_last(py, state, Flags::END.with(Flags::DONE));
            }
            // The trailers did not come.
            self.send_last(py, state, Flags::TRAILERS)?;
        }
        let complete = state.response.sealed && !state.sending && !state.torn;
        if gone || (complete && state.socket.is_none()) {
            return self.send_raw(py, self.descriptor(Kind::Done, Flags::DONE, 0), &[]);
        }
        let stage = state.socket.as_ref().map(|socket| socket.final_stage());
        let before =
            matches!(state.response.phase, ResponsePhase::Waiting | ResponsePhase::Started);
        let (kind, aux, text) = match (stage, failed) {
            (Some(Stage::Open), false) => (Kind::WebSocketClose, CODE_NORMAL, ""),
            (Some(Stage::Open), true) => (Kind::WebSocketClose, CODE_INTERNAL_ERROR, ""),
            (Some(Stage::Closed), _) => (Kind::Done, 0, ""),
            (Some(Stage::Denying), _) if complete => (Kind::Done, 0, ""),
            (_, true) if state.response.is_short => (Kind::Failed, Failure::Short as u64, ""),
            (_, true) if before => (Kind::Failed, Failure::Before as u64, ""),
            (_, true) => (Kind::Failed, Failure::After as u64, ""),
            (Some(Stage::Connecting), false) => (
                Kind::Failed,
                Failure::Invalid as u64,
                "ASGI callable returned without sending handshake.",
            ),
            (_, false) if state.response.phase == ResponsePhase::Waiting => (
                Kind::Failed,
                Failure::Invalid as u64,
                "ASGI callable returned without starting response.",
            ),
            (_, false) => {
                let aux = match (before, state.response.expected) {
                    (true, _) => Failure::Invalid as u64,
                    (false, Some(_)) => Failure::Short as u64,
                    (false, None) => Failure::After as u64,
                };
                (Kind::Failed, aux, "ASGI callable returned without completing response.")
            }
        };
        self.send_raw(py, self.descriptor(kind, Flags::DONE, aux), text.as_bytes())
    }

    /// Sends the response that was held back during a step.
    ///
    /// # Errors
    /// When the channel is broken.
    pub(super) fn send_last(
        &self,
        py: Python<'_>,
        state: &mut ExchangeState,
        flags: Flags,
    ) -> PyResult<()> {
        let Some(last) = state.response.last.take() else { return Ok(()) };
        let Some(head) = state.response.head.take() else { return Ok(()) };
        let bytes = last.as_bytes(py);
        // A response that is complete in one descriptor is not counted.
        if !flags.has(Flags::END) {
            state.sent += bytes.len() as u64;
        }
        self.send_head(py, Kind::Response, flags, &head, bytes)
    }

    /// Sends what was held back during a step, as the coroutine goes on.
    ///
    /// # Errors
    /// When the channel is broken.
    pub(super) fn release_last(&self, py: Python<'_>) -> PyResult<()> {
        let mut state = self.state.get()?;
        if state.response.last.is_some() {
            let flags = if state.response.sealed { Flags::END } else { Flags::TRAILERS };
            self.send_last(py, &mut state, flags)?;
            drop(state);
            self.server.flush_unless_batched();
        }
        Ok(())
    }
}
