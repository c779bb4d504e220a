//! What an application may do with a WebSocket.

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use indrik_ring::{Flags, Kind};

use super::exchange::{Exchange, How};
use super::message::Message;
use super::response::Head;
use super::socket::{CODE_LOST, Incoming, Stage};
use super::state::{ResponsePhase, wake};

/// Bytes of a subprotocol's name; a client offers it in a field of its head.
const SUBPROTOCOL_BYTES_MAX: usize = 1024;
/// Bytes of a close frame's reason (RFC 6455, 5.5: 125 less the code).
const REASON_BYTES_MAX: usize = 123;

impl Exchange {
    /// The next message of a WebSocket, if there is one now.
    ///
    /// # Errors
    /// When another thread asks, or the channel is broken.
    pub(super) fn next_socket_message<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let mut state = self.state.get()?;
        let lost = state.gone || state.finished;
        let Some(socket) = state.socket.as_mut() else { return Ok(None) };
        if !socket.connect_given {
            socket.connect_given = true;
            drop(state);
            let message = PyDict::new(py);
            message.set_item(intern!(py, "type"), intern!(py, "websocket.connect"))?;
            return Ok(Some(message));
        }
        let next = if socket.stage == Stage::Open { socket.messages.pop_front() } else { None };
        if let Some(next) = next {
            drop(state);
            return self.received(py, next).map(Some);
        }
        let done = lost || matches!(socket.stage, Stage::Closed | Stage::Denying);
        let (code, reason) = match &socket.closed {
            Some((code, reason)) => (*code, reason.clone()),
            None if done => (CODE_LOST, String::new()),
            None => return Ok(None),
        };
        socket.disconnect_given = true;
        drop(state);
        let message = PyDict::new(py);
        message.set_item(intern!(py, "type"), intern!(py, "websocket.disconnect"))?;
        message.set_item(intern!(py, "code"), code)?;
        message.set_item(intern!(py, "reason"), reason)?;
        Ok(Some(message))
    }

    fn received<'py>(&self, py: Python<'py>, next: Incoming) -> PyResult<Bound<'py, PyDict>> {
        self.took(py, next.counted)?;
        let message = PyDict::new(py);
        message.set_item(intern!(py, "type"), intern!(py, "websocket.receive"))?;
        if next.text {
            // The front has checked that it is UTF-8.
            let text = String::from_utf8_lossy(&next.bytes);
            message.set_item(intern!(py, "text"), PyString::new(py, &text))?;
        } else {
            message.set_item(intern!(py, "bytes"), PyBytes::new(py, &next.bytes))?;
        }
        Ok(message)
    }

    /// A message about a WebSocket.
    ///
    /// # Errors
    /// What is wrong with the message, or that the client is gone.
    pub(super) fn send_socket<'py>(
        slf: &Bound<'py, Self>,
        message: &Message<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let this = slf.get();
        let stage = {
            let state = this.state.get()?;
            let socket = state.socket.as_ref();
            let stage = socket.map_or(Stage::Closed, |socket| socket.stage);
            let lost = socket.is_some_and(|socket| socket.is_lost());
            if stage != Stage::Closed && (lost || state.torn || this.is_gone(&state)) {
                drop(state);
                return Err(this.gone_error(slf.py()));
            }
            stage
        };
        match (stage, message.kind) {
            (Stage::Connecting, "websocket.accept") => this.accept(message)?,
            (Stage::Connecting, "websocket.close") => this.refuse(message)?,
            (Stage::Connecting, "websocket.http.response.start") => {
                this.start(message)?;
                this.set_stage(Stage::Denying)?;
            }
            (Stage::Denying, "websocket.http.response.body") => {
                if this.state.get()?.response.phase == ResponsePhase::Complete {
                    return Err(out_of_order(Stage::Closed, message.kind));
                }
                return Self::send_part(slf, message);
            }
            (Stage::Open, "websocket.send") => return Self::send_message(slf, message),
            (Stage::Open, "websocket.close") => return Self::close(slf, message),
            (stage, kind) => return Err(out_of_order(stage, kind)),
        }
        this.server.flush_unless_batched();
        this.server.ready(slf.py())
    }

    fn set_stage(&self, stage: Stage) -> PyResult<()> {
        if let Some(socket) = self.state.get()?.socket.as_mut() {
            socket.stage = stage;
        }
        Ok(())
    }

    fn accept(&self, message: &Message<'_, '_>) -> PyResult<()> {
        let py = message.dict.py();
        self.find_route(py)?;
        let subprotocol = message.text(intern!(py, "subprotocol"))?;
        let mut chosen = match &subprotocol {
            Some(text) => text.to_str()?.as_bytes().to_vec(),
            None => Vec::new(),
        };
        let mut head = Head::begin(101)?;
        message.headers(intern!(py, "headers"))?.each(|name, value| {
            // The same as the key, which is the proper place for it.
            if name.eq_ignore_ascii_case(b"sec-websocket-protocol") {
                if !chosen.is_empty() && chosen != value {
                    return Err(PyValueError::new_err(
                        "ASGI message 'websocket.accept': 'subprotocol' and the header \
                         Sec-WebSocket-Protocol differ; give one of them",
                    ));
                }
                chosen = value.to_vec();
                return Ok(());
            }
            Ok(head.field(name, value)?)
        })?;
        self.check_offered(&chosen)?;
        check_token(&chosen)?;
        head.reason = chosen;
        self.send_head(py, Kind::WebSocketAccept, Flags::NONE, &head, b"")?;
        self.set_stage(Stage::Open)
    }

    /// A client ends a WebSocket with a subprotocol that it did not offer (RFC 6455, 4.1).
    fn check_offered(&self, chosen: &[u8]) -> PyResult<()> {
        let state = self.state.get()?;
        let Some(socket) = state.socket.as_ref() else { return Ok(()) };
        if chosen.is_empty() || socket.offered.iter().any(|offered| **offered == *chosen) {
            return Ok(());
        }
        let shown = |bytes: &[u8]| format!("{:?}", String::from_utf8_lossy(bytes));
        let offered: Vec<String> = socket.offered.iter().map(|offered| shown(offered)).collect();
        let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
        Err(PyValueError::new_err(format!(
            "ASGI message 'websocket.accept': the client does not offer the subprotocol {}; it \
             offers {offered}: choose one of scope[\"subprotocols\"], or none",
            shown(chosen)
        )))
    }

    /// A close before the accept: the handshake is answered with 403.
    fn refuse(&self, message: &Message<'_, '_>) -> PyResult<()> {
        let py = message.dict.py();
        self.send_head(py, Kind::Response, Flags::END, &Head::begin(403)?, b"")?;
        let mut state = self.state.get()?;
        state.response.complete();
        state.close_socket(CODE_LOST, String::new());
        let waiters = state.take_waiters();
        drop(state);
        wake(py, waiters)
    }

    fn send_message<'py>(
        slf: &Bound<'py, Self>,
        message: &Message<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let text = message.text(intern!(py, "text"))?;
        let bytes = message.bytes(intern!(py, "bytes"))?;
        match (bytes, text) {
            // One of both should be None; Gunicorn takes the text.
            (_, Some(text)) => Self::transmit(slf, text.into_any(), How::Message { text: true }),
            (Some(bytes), None) => {
                Self::transmit(slf, bytes.into_any(), How::Message { text: false })
            }
            (None, None) => {
                Err(PyValueError::new_err("ASGI message 'websocket.send' needs 'bytes' or 'text'"))
            }
        }
    }

    fn close<'py>(
        slf: &Bound<'py, Self>,
        message: &Message<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let code = match message.dict.get_item(intern!(py, "code"))? {
            None => 1000,
            Some(value) if value.is_none() => 1000,
            Some(value) => {
                let code = value.extract::<u16>().ok().filter(|code| may_be_sent(*code));
                code.ok_or_else(|| {
                    let wanted = "a close code: 1000-1003, 1007-1014 or 3000-4999";
                    message.wrong_type(intern!(py, "code"), wanted, &value)
                })?
            }
        };
        let reason = message.text(intern!(py, "reason"))?;
        let reason = match reason {
            Some(reason) if reason.to_str()?.len() > REASON_BYTES_MAX => {
                PyString::new(py, cut(reason.to_str()?, REASON_BYTES_MAX))
            }
            Some(reason) => reason,
            None => PyString::new(py, ""),
        };
        let text = reason.to_str()?.to_owned();
        let sent = Self::transmit(slf, reason.into_any(), How::Close { code })?;
        let waiters = {
            let mut state = slf.get().state.get()?;
            state.close_socket(code, text);
            std::mem::take(&mut state.receive_waiters)
        };
        wake(py, waiters)?;
        Ok(sent)
    }
}

/// What a client may offer and a head cannot carry.
fn check_token(subprotocol: &[u8]) -> PyResult<()> {
    if subprotocol.len() > SUBPROTOCOL_BYTES_MAX {
        return Err(PyValueError::new_err(format!(
            "ASGI message 'websocket.accept': the subprotocol has more than \
             {SUBPROTOCOL_BYTES_MAX} bytes"
        )));
    }
    if subprotocol.iter().any(|byte| !byte.is_ascii_graphic()) {
        return Err(PyValueError::new_err(format!(
            "ASGI message 'websocket.accept': the subprotocol {:?} is not a token",
            String::from_utf8_lossy(subprotocol)
        )));
    }
    Ok(())
}

/// Whether an application may close with this code (RFC 6455, 7.4).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The longest prefix of a text of at most `max` bytes.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cold]
fn out_of_order(stage: Stage, kind: &str) -> PyErr {
    let text = match stage {
        Stage::Connecting => format!(
            "Expected ASGI message 'websocket.accept', 'websocket.close' or \
             'websocket.http.response.start', but got '{kind}'."
        ),
        Stage::Denying => {
            format!("Expected ASGI message 'websocket.http.response.body', but got '{kind}'.")
        }
        Stage::Open => format!(
            "Expected ASGI message 'websocket.send' or 'websocket.close', but got '{kind}'."
        ),
        Stage::Closed => format!(
            "Unexpected ASGI message '{kind}', after sending 'websocket.close' or response already completed."
        ),
    };
    PyRuntimeError::new_err(text)
}

#[cfg(test)]
mod tests {
    use super::{cut, may_be_sent};

    #[test]
    fn reserved_close_codes_may_not_be_sent() {
        assert!([1000, 1003, 1011, 3000, 4999].into_iter().all(may_be_sent));
        assert!(![999, 1004, 1005, 1006, 1015, 2999, 5000].into_iter().any(may_be_sent));
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(cut("aéb", 2), "a");
        assert_eq!(cut("aéb", 3), "aé");
        assert_eq!(cut("ab", 9), "ab");
    }
}
