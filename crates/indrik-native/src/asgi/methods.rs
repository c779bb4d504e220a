//! What Python calls of a request: ASGI's `receive` and `send`, and the end of one whose client has gone.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::awaitable::{Awaitable, Job};
use super::exchange::Exchange;
use super::message::Message;

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
