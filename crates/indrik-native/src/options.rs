//! What the supervisor tells a worker about how to serve.

use pyo3::Borrowed;
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::correlation::Correlation;

/// The options of a worker; see `indrik.worker`.
pub(crate) struct Options {
    /// Whether other processes serve the same application.
    pub(crate) multiprocess: bool,
    /// Whether other threads of this process call the application.
    pub(crate) multithread: bool,
    /// `http`, or `https` when a proxy in front does TLS for all requests.
    pub(crate) url_scheme: String,
    /// Whether the front sends files of `wsgi.file_wrapper`.
    pub(crate) sendfile: bool,
    /// For `SERVER_SOFTWARE`.
    pub(crate) server_software: String,
    /// The prefix under which the application is mounted.
    pub(crate) script_name: String,
    /// What is called around requests; see `around`.
    pub(crate) hooks: Option<Py<PyAny>>,
    /// `(environ, fd)`: puts the socket of a request that asks for a WebSocket into its environ, and
    /// returns it.
    pub(crate) socket: Option<Py<PyAny>>,
    /// Whether somebody wants to know the route of each request, where a framework leaves it.
    pub(crate) routes: bool,
    /// What requests are called, where anybody wants to know.
    pub(crate) correlation: Option<Correlation>,
    /// Where the front listens, indexed by the number in a request's head.
    pub(crate) listeners: Vec<Listener>,
}

/// An address the front listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    /// An IP address, or `unix:` and a path.
    pub(crate) host: String,
    /// `None` for a Unix socket.
    pub(crate) port: Option<u16>,
}

impl<'py> FromPyObject<'_, 'py> for Listener {
    type Error = PyErr;

    /// From a pair, which is a list when it came through JSON.
    fn extract(pair: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self { host: pair.get_item(0)?.extract()?, port: pair.get_item(1)?.extract()? })
    }
}

impl Options {
    /// Reads the dict; keys that are missing have the defaults of a lone worker.
    ///
    /// # Errors
    /// `TypeError` naming the option that is of the wrong type.
    pub(crate) fn from_dict(options: &Bound<'_, PyDict>) -> PyResult<Self> {
        Ok(Self {
            multiprocess: get(options, "multiprocess")?.unwrap_or(false),
            multithread: get(options, "multithread")?.unwrap_or(false),
            url_scheme: get(options, "url_scheme")?.unwrap_or_else(|| "http".to_owned()),
            sendfile: get(options, "sendfile")?.unwrap_or(true),
            server_software: get(options, "server_software")?
                .unwrap_or_else(|| concat!("indrik/", env!("CARGO_PKG_VERSION")).to_owned()),
            script_name: get(options, "script_name")?.unwrap_or_default(),
            hooks: get::<Option<Py<PyAny>>>(options, "hooks")?.flatten(),
            socket: get::<Option<Py<PyAny>>>(options, "socket")?.flatten(),
            routes: get(options, "routes")?.unwrap_or(false),
            correlation: correlation(options)?,
            listeners: get::<Vec<Listener>>(options, "listeners")?
                .filter(|listeners| !listeners.is_empty())
                .ok_or_else(|| PyKeyError::new_err("the worker option \"listeners\" is missing"))?,
        })
    }
}

/// See [`Options::correlation`].
///
/// # Errors
/// `TypeError`.
pub(crate) fn correlation(options: &Bound<'_, PyDict>) -> PyResult<Option<Correlation>> {
    let option = options.get_item("correlation")?.filter(|option| !option.is_none());
    option.as_ref().map(Correlation::from_option).transpose()
}

fn get<'py, T>(options: &Bound<'py, PyDict>, name: &str) -> PyResult<Option<T>>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    let Some(value) = options.get_item(name)? else {
        return Ok(None);
    };
    value.extract::<T>().map(Some).map_err(|_| {
        PyTypeError::new_err(format!("the worker option {name:?} has the wrong type: {value}"))
    })
}
