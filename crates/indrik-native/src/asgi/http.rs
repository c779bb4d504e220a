//! What an application may send for a request, in which order.

use std::os::fd::AsFd;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use indrik_ring::{CHUNK_MAX, FilePart, Flags, Kind};

use super::exchange::{Exchange, How};
use super::message::Message;
use super::named_file::NamedFile;
use super::response::{Head, HeadFault};
use super::state::{ExchangeState, ResponsePhase, out_of_order, wake};
use crate::text::latin1_str;

/// Versions of HTTP, as the channel has them.
const HTTP_1_0: u8 = 10;
const HTTP_1_1: u8 = 11;

impl From<HeadFault> for PyErr {
    fn from(fault: HeadFault) -> Self {
        PyRuntimeError::new_err(fault.to_string())
    }
}

impl Exchange {
    /// A message about an HTTP response.
    ///
    /// # Errors
    /// What is wrong with the message, or that the client is gone.
    pub(super) fn send_http<'py>(
        slf: &Bound<'py, Self>,
        message: &Message<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let this = slf.get();
        let phase = {
            let state = this.state.get()?;
            let phase = state.response.phase;
            if !state.response.sealed && (state.torn || this.is_gone(&state)) {
                drop(state);
                return Err(this.gone_error(slf.py()));
            }
            phase
        };
        match (phase, message.kind) {
            (ResponsePhase::Waiting, "http.response.start") => this.start(message),
            (ResponsePhase::Started | ResponsePhase::Streaming, "http.response.body") => {
                return Self::send_part(slf, message);
            }
            (ResponsePhase::Started | ResponsePhase::Streaming, "http.response.pathsend") => {
                this.send_path(message)
            }
            (ResponsePhase::Waiting | ResponsePhase::Started, "http.response.early_hint") => {
                this.early_hint(message)
            }
            (ResponsePhase::Waiting | ResponsePhase::Started, "http.response.informational") => {
                this.informational(message)
            }
            (ResponsePhase::Trailers, "http.response.trailers") => this.trailers(message),
            (phase, kind) => Err(out_of_order(phase, kind)),
        }?;
        this.server.flush_unless_batched();
        this.server.ready(slf.py())
    }

    /// `http.response.start` (or its WebSocket namesake): held back until there is a body.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub(super) fn start(&self, message: &Message<'_, '_>) -> PyResult<()> {
        let py = message.dict.py();
        self.find_route(py)?;
        let status = message.required(intern!(py, "status"))?;
        let Ok(code) = status.extract::<i64>() else {
            return Err(message.wrong_type(intern!(py, "status"), "int", &status));
        };
        let mut head = Head::begin(code)?;
        let trailers = message.flag(intern!(py, "trailers"))?;
        let (is_head, version) = {
            let state = self.state.get()?;
            (state.response.is_head, state.response.version)
        };
        let is_bodiless = is_head || matches!(head.status, 204 | 205 | 304);
        let trailers_go = trailers && !is_bodiless && version != HTTP_1_0;
        // In HTTP/1.1 only a body in chunks has room for trailers.
        head.drops_length = trailers_go && version == HTTP_1_1;
        let fields = message.headers(intern!(py, "headers"))?;
        fields.each(|name, value| Ok(head.field(name, value)?))?;
        let told = if self.server.has_hooks() { Some(told(message, code)?) } else { None };
        let mut state = self.state.get()?;
        let response = &mut state.response;
        response.is_bodiless = is_bodiless;
        response.expected = if is_bodiless { None } else { head.length };
        response.trailers = trailers;
        response.trailers_go = trailers_go;
        response.head = Some(head);
        response.phase = ResponsePhase::Started;
        state.told = told;
        Ok(())
    }

    /// `http.response.body` (or its WebSocket namesake).
    ///
    /// # Errors
    /// What is wrong with the message, or that the client is gone.
    pub(super) fn send_part<'py>(
        slf: &Bound<'py, Self>,
        message: &Message<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let end = !message.flag(intern!(py, "more_body"))?;
        let server = &this.server;
        let body = match message.bytes(intern!(py, "body"))? {
            Some(body) => body,
            None => server.empty.bind(py).clone(),
        };
        let mut state = this.state.get()?;
        count_body(&mut state, body.as_bytes().len() as u64, end)?;
        let starts = state.response.phase == ResponsePhase::Started;
        if end && starts && !state.response.trailers {
            declare_length(&mut state, body.as_bytes().len())?;
        }
        let body = if state.response.is_bodiless { server.empty.bind(py).clone() } else { body };
        let seals = state.response.is_whole(end);
        let head = state.response.head.as_ref().map_or(0, Head::len);
        let fits = head + body.as_bytes().len() <= CHUNK_MAX;
        if starts && fits && (seals || end) && server.is_stepping(slf) {
            // The end of the step, or the trailers, may go with it.
            state.response.sealed = seals;
            state.response.said(end);
            state.response.last = Some(body.unbind());
            let waiters = state.take_completed_waiters();
            drop(state);
            wake(py, waiters)?;
            return server.ready(py);
        }
        drop(state);
        Self::transmit(slf, body.into_any(), How::Body { end, seals })
    }

    /// `http.response.pathsend`: the front sends the file. It is opened here, with the rights of the
    /// application that names it: the front may have others.
    fn send_path(&self, message: &Message<'_, '_>) -> PyResult<()> {
        let py = message.dict.py();
        let Some(path) = message.text(intern!(py, "path"))? else {
            message.required(intern!(py, "path"))?;
            return Err(PyTypeError::new_err(
                "ASGI message 'http.response.pathsend': path is None",
            ));
        };
        let state = self.state.get()?;
        let is_wanted = !state.response.sealed;
        if is_wanted && state.sending {
            return Err(PyRuntimeError::new_err(
                "http.response.pathsend was sent while another task still sends the body",
            ));
        }
        let has_body = is_wanted && (!state.response.is_bodiless || state.response.is_head);
        // Not held while the interpreter's lock is not.
        drop(state);
        let file = if has_body { Some(NamedFile::open(&path)?) } else { None };
        let mut state = self.state.get()?;
        if is_wanted {
            let flags = if file.is_none() { Flags::END } else { Flags::FILE };
            if let Some(head) = state.response.head.take() {
                self.send_head(py, Kind::Response, flags, &head, b"")?;
            }
        }
        if let Some(file) = &file {
            let descriptor = self.descriptor(Kind::File, Flags::END, 0);
            let part = FilePart { offset: 0, len: file.len };
            let fill = |into: &mut [u8]| part.encode(into);
            let channel = self.server.channel();
            channel.send_with_file(py, file.fd.as_fd(), descriptor, FilePart::LEN, fill)?;
        }
        state.response.complete();
        let waiters = state.take_completed_waiters();
        drop(state);
        wake(py, waiters)
    }

    fn early_hint(&self, message: &Message<'_, '_>) -> PyResult<()> {
        let py = message.dict.py();
        let mut head = Head::begin(103)?;
        for link in message.required(intern!(py, "links"))?.try_iter()? {
            let link = link?;
            let Ok(bytes) = link.cast::<PyBytes>() else {
                return Err(message.wrong_type(
                    intern!(py, "links"),
                    "an iterable of bytes",
                    &link,
                ));
            };
            head.field(b"link", bytes.as_bytes())?;
        }
        self.send_head(py, Kind::Informational, Flags::NONE, &head, b"")
    }

    /// Gunicorn's own message for any interim response.
    fn informational(&self, message: &Message<'_, '_>) -> PyResult<()> {
        let py = message.dict.py();
        let status = message.required(intern!(py, "status"))?;
        let code = status.extract::<i64>().ok().filter(|code| (102..200).contains(code));
        let Some(code) = code else {
            return Err(message.wrong_type(
                intern!(py, "status"),
                "an int from 102 to 199",
                &status,
            ));
        };
        let mut head = Head::begin(code)?;
        let fields = message.headers(intern!(py, "headers"))?;
        fields.each(|name, value| Ok(head.field(name, value)?))?;
        self.send_head(py, Kind::Informational, Flags::NONE, &head, b"")
    }

    fn trailers(&self, message: &Message<'_, '_>) -> PyResult<()> {
        let py = message.dict.py();
        let more = message.flag(intern!(py, "more_trailers"))?;
        let fields = message.headers(intern!(py, "headers"))?;
        let mut state = self.state.get()?;
        let mut all = match state.response.trailer_fields.take() {
            Some(head) => head,
            None => Head::begin(200)?,
        };
        fields.each(|name, value| Ok(all.field(name, value)?))?;
        if more {
            state.response.trailer_fields = Some(all);
            return Ok(());
        }
        if state.response.trailers_go {
            if let Some(head) = state.response.head.as_mut() {
                head.announce_trailers(&all)?;
            }
            self.send_last(py, &mut state, Flags::TRAILERS)?;
            let descriptor = self.descriptor(Kind::Trailers, Flags::END, 0);
            self.send_raw(py, descriptor, &all.encode_fields())?;
        }
        state.response.complete();
        let waiters = state.take_completed_waiters();
        drop(state);
        wake(py, waiters)
    }
}

/// What hooks are told of a response.
fn told(message: &Message<'_, '_>, code: i64) -> PyResult<(u16, Py<PyList>)> {
    let py = message.dict.py();
    let list = PyList::empty(py);
    message
        .headers(intern!(py, "headers"))?
        .each(|name, value| list.append((latin1_str(py, name)?, latin1_str(py, value)?)))?;
    Ok((u16::try_from(code).unwrap_or(0), list.unbind()))
}

/// Checks a piece of the body against the declared length.
fn count_body(state: &mut ExchangeState, len: u64, end: bool) -> PyResult<()> {
    let response = &mut state.response;
    let given = response.given + len;
    if let Some(expected) = response.expected {
        if given > expected {
            return Err(PyRuntimeError::new_err(format!(
                "Response content longer than Content-Length: {given} bytes instead of {expected}"
            )));
        }
        if end && given < expected {
            response.is_short = true;
            return Err(PyRuntimeError::new_err(format!(
                "Response content shorter than Content-Length: {given} bytes instead of {expected}"
            )));
        }
    }
    response.given = given;
    Ok(())
}

/// Says the length of a body that is known as a whole, where the front cannot know it: when it is
/// too large for one descriptor, and when it is not sent because the request is a HEAD.
fn declare_length(state: &mut ExchangeState, len: usize) -> PyResult<()> {
    let is_head = state.response.is_head;
    let Some(head) = state.response.head.as_mut() else { return Ok(()) };
    let has_none = matches!(head.status, 204 | 205 | 304) || (is_head && len == 0);
    let is_unknown = is_head || head.len() + len > CHUNK_MAX;
    if is_unknown && head.length.is_none() && !has_none {
        head.push(b"content-length", len.to_string().as_bytes())?;
        head.length = Some(len as u64);
    }
    Ok(())
}

/// A request's method, for the response's rules.
pub(super) fn is_head(method: &[u8]) -> bool {
    method == b"HEAD"
}
