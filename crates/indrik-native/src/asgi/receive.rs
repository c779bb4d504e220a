//! What an application gets from `receive`.

use std::collections::VecDeque;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use indrik_ring::{Flags, Kind};

use super::exchange::Exchange;
use super::state::ResponsePhase;

impl Exchange {
    /// The next message, if there is one now.
    ///
    /// # Errors
    /// When another thread asks, or the channel is broken.
    pub(super) fn next_message<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let mut state = self.state.get()?;
        if state.socket.is_some() {
            drop(state);
            return self.next_socket_message(py);
        }
        if state.finished || state.gone || state.response.phase == ResponsePhase::Complete {
            drop(state);
            let message = PyDict::new(py);
            message.set_item(intern!(py, "type"), intern!(py, "http.disconnect"))?;
            return Ok(Some(message));
        }
        let body = &mut state.body;
        if body.given || (body.pieces.is_empty() && !body.complete) {
            let wanted = std::mem::take(&mut body.waits);
            drop(state);
            if wanted {
                self.send_raw(py, self.descriptor(Kind::BodyWanted, Flags::NONE, 0), &[])?;
                self.server.flush_unless_batched();
            }
            return Ok(None);
        }
        let pieces = std::mem::take(&mut body.pieces);
        let (more, streams) = (!body.complete, body.streams);
        body.given = body.complete;
        drop(state);
        let bytes = match pieces.len() {
            0 => self.server.empty.bind(py).clone(),
            1 => pieces[0].bind(py).clone(),
            _ => joined(py, &pieces)?,
        };
        if streams {
            self.took(py, bytes.as_bytes().len() as u64)?;
        }
        let message = PyDict::new(py);
        message.set_item(intern!(py, "type"), intern!(py, "http.request"))?;
        message.set_item(intern!(py, "body"), bytes)?;
        message.set_item(intern!(py, "more_body"), more)?;
        Ok(Some(message))
    }
}

/// One object of several pieces, put together in place.
fn joined<'py>(py: Python<'py>, pieces: &VecDeque<Py<PyBytes>>) -> PyResult<Bound<'py, PyBytes>> {
    let len = pieces.iter().map(|piece| piece.as_bytes(py).len()).sum();
    PyBytes::new_with(py, len, |mut rest| {
        for piece in pieces {
            let bytes = piece.as_bytes(py);
            let (place, after) = rest.split_at_mut(bytes.len());
            place.copy_from_slice(bytes);
            rest = after;
        }
        Ok(())
    })
}
