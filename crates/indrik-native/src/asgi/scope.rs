//! The scope of a request or WebSocket, made from a template.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use indrik_ring::{Headers, RequestHead};

use super::fields::Fields;
use super::target;

/// The version of the HTTP and WebSocket part of the ASGI specification that is served.
const SPEC_VERSION: &str = "2.5";
/// Templates kept: one per kind, HTTP version, scheme and listener in use.
const TEMPLATES_MAX: usize = 64;
/// Methods that get one string for all requests.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// The version of HTTP whose `:authority` becomes a `host` field, as the channel has it.
const HTTP_2: u8 = 20;

/// Extensions that the front serves for requests.
const HTTP_EXTENSIONS: [&str; 3] =
    ["http.response.pathsend", "http.response.early_hint", "http.response.trailers"];

/// Makes scopes.
pub(super) struct Scopes {
    templates: Vec<(u64, Py<PyDict>)>,
    fields: Fields,
    methods: [Py<PyString>; METHODS.len()],
    /// Client address of the last request: connections are reused.
    client: Option<(Box<[u8]>, Py<PyString>)>,
    servers: Vec<Py<PyAny>>,
    root_path: String,
    state: Option<Py<PyDict>>,
    empty: Py<PyBytes>,
    /// Of requests, of WebSockets.
    extensions: [Py<PyDict>; 2],
}

impl Scopes {
    /// Scopes for these listeners (ASGI's `server` pairs, in the order of the configuration).
    ///
    /// # Errors
    /// `MemoryError`.
    pub(super) fn new(
        py: Python<'_>,
        servers: Vec<Py<PyAny>>,
        root_path: &str,
        state: Option<Py<PyDict>>,
    ) -> PyResult<Self> {
        Ok(Self {
            templates: Vec::new(),
            fields: Fields::new(py),
            methods: METHODS.map(|method| PyString::intern(py, method).unbind()),
            client: None,
            servers,
            root_path: root_path.trim_end_matches('/').to_owned(),
            state,
            empty: PyBytes::new(py, b"").unbind(),
            extensions: [
                extensions(py, &HTTP_EXTENSIONS)?,
                extensions(py, &["websocket.http.response"])?,
            ],
        })
    }

    /// The scope of a request.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(super) fn make<'py>(
        &mut self,
        py: Python<'py>,
        head: &RequestHead<'_>,
        websocket: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let scope = self.template(py, head, websocket)?.copy()?;
        let (path, query) = target::split(head.target);
        // What was received, wherever the application is mounted: whoever routes below `root_path`
        // takes it off a path that begins with it, and a proxy may have done that before.
        scope.set_item(intern!(py, "path"), text(py, &target::percent_decode(path)))?;
        scope.set_item(intern!(py, "raw_path"), PyBytes::new(py, path))?;
        if !query.is_empty() {
            scope.set_item(intern!(py, "query_string"), PyBytes::new(py, query))?;
        }
        let fields = self.fields.list(py, head.headers)?;
        if head.version == HTTP_2 {
            put_host_first(&fields)?;
        }
        scope.set_item(intern!(py, "headers"), fields)?;
        if !head.client.is_empty() {
            scope.set_item(intern!(py, "client"), self.client(py, head)?)?;
        }
        if let Some(state) = &self.state {
            scope.set_item(intern!(py, "state"), state.bind(py).copy()?)?;
        }
        // A new dict for each request, as middleware adds to it.
        let extensions = self.extensions[usize::from(websocket)].bind(py).copy()?;
        scope.set_item(intern!(py, "extensions"), extensions)?;
        if websocket {
            let offered = PyList::empty(py);
            for subprotocol in subprotocols(head.headers) {
                offered.append(text(py, subprotocol))?;
            }
            scope.set_item(intern!(py, "subprotocols"), offered)?;
        } else {
            scope.set_item(intern!(py, "method"), self.method(py, head.method))?;
        }
        Ok(scope)
    }

    fn client<'py>(
        &mut self,
        py: Python<'py>,
        head: &RequestHead<'_>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let host = match &self.client {
            Some((bytes, host)) if **bytes == *head.client => host.bind(py).clone(),
            _ => {
                let host = text(py, head.client);
                self.client = Some((head.client.into(), host.clone().unbind()));
                host
            }
        };
        (host, head.client_port).into_pyobject(py)
    }

    fn method<'py>(&self, py: Python<'py>, method: &[u8]) -> Bound<'py, PyString> {
        match METHODS.iter().position(|known| known.as_bytes() == method) {
            Some(index) => self.methods[index].bind(py).clone(),
            None => text(py, &method.to_ascii_uppercase()),
        }
    }

    fn template<'a, 'py>(
        &'a mut self,
        py: Python<'py>,
        head: &RequestHead<'_>,
        websocket: bool,
    ) -> PyResult<&'a Bound<'py, PyDict>> {
        let key = u64::from(head.version)
            | u64::from(head.secure) << 8
            | u64::from(websocket) << 9
            | u64::from(head.listener) << 16;
        let index = match self.templates.iter().position(|(known, _)| *known == key) {
            Some(index) => index,
            None => {
                // A worker has a handful; the bound only guards against a front gone wrong.
                self.templates.truncate(TEMPLATES_MAX - 1);
                let made = self.make_template(py, head, websocket)?;
                self.templates.push((key, made.unbind()));
                self.templates.len() - 1
            }
        };
        Ok(self.templates[index].1.bind(py))
    }

    /// Every key that the scope is going to have, so that a copy never has to grow.
    fn make_template<'py>(
        &self,
        py: Python<'py>,
        head: &RequestHead<'_>,
        websocket: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let scope = PyDict::new(py);
        let asgi = PyDict::new(py);
        asgi.set_item(intern!(py, "version"), "3.0")?;
        asgi.set_item(intern!(py, "spec_version"), SPEC_VERSION)?;
        let version = match head.version {
            10 => "1.0",
            20 => "2",
            _ => "1.1",
        };
        let (kind, schemes) =
            if websocket { ("websocket", ["ws", "wss"]) } else { ("http", ["http", "https"]) };
        scope.set_item(intern!(py, "type"), kind)?;
        scope.set_item(intern!(py, "asgi"), asgi)?;
        scope.set_item(intern!(py, "http_version"), version)?;
        scope.set_item(intern!(py, "server"), self.servers.get(usize::from(head.listener)))?;
        scope.set_item(intern!(py, "client"), py.None())?;
        scope.set_item(intern!(py, "scheme"), schemes[usize::from(head.secure)])?;
        if !websocket {
            scope.set_item(intern!(py, "method"), py.None())?;
        }
        scope.set_item(intern!(py, "root_path"), &self.root_path)?;
        scope.set_item(intern!(py, "path"), py.None())?;
        scope.set_item(intern!(py, "raw_path"), py.None())?;
        scope.set_item(intern!(py, "query_string"), &self.empty)?;
        scope.set_item(intern!(py, "headers"), py.None())?;
        if self.state.is_some() {
            scope.set_item(intern!(py, "state"), py.None())?;
        }
        scope.set_item(intern!(py, "extensions"), py.None())?;
        if websocket {
            scope.set_item(intern!(py, "subprotocols"), py.None())?;
        }
        Ok(scope)
    }
}

/// What was the `:authority` stands at the start of the fields.
fn put_host_first(fields: &Bound<'_, PyList>) -> PyResult<()> {
    for (at, pair) in fields.iter().enumerate() {
        let is_host = pair.cast::<PyTuple>()?.get_item(0)?.cast::<PyBytes>()?.as_bytes() == b"host";
        if is_host {
            fields.del_item(at)?;
            return fields.insert(0, pair);
        }
    }
    Ok(())
}

/// Text of bytes that should be UTF-8; what is not is replaced.
fn text<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(bytes) {
        Ok(text) => PyString::new(py, text),
        Err(_) => PyString::new(py, &String::from_utf8_lossy(bytes)),
    }
}

/// What can be done beyond the specification.
fn extensions(py: Python<'_>, names: &[&str]) -> PyResult<Py<PyDict>> {
    let dict = PyDict::new(py);
    for name in names {
        dict.set_item(PyString::intern(py, name), PyDict::new(py))?;
    }
    Ok(dict.unbind())
}

/// The subprotocols that the client offers, in its order.
pub(super) fn subprotocols<'a>(headers: Headers<'a>) -> impl Iterator<Item = &'a [u8]> {
    headers
        .filter(|(name, _)| *name == b"sec-websocket-protocol")
        .flat_map(|(_, value)| value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii))
        .filter(|offered| !offered.is_empty())
}
