//! The environ of a request (PEP 3333), copied from a template.

use indrik_ring::RequestHead;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::options::{Listener, Options};
use crate::text::{check, interned, latin1_str};
use crate::wsgi::errors::ErrorStream;
use crate::wsgi::file::FileWrapper;
use crate::wsgi::head::format_decimal;
use crate::wsgi::input::Input;
use crate::wsgi::names::{Names, environ_key, joiner};
use crate::wsgi::path::split_target;

/// The interned keys that every request sets.
struct Keys {
    method: Py<PyAny>,
    path: Py<PyAny>,
    query: Py<PyAny>,
    raw_uri: Py<PyAny>,
    protocol: Py<PyAny>,
    remote_addr: Py<PyAny>,
    remote_port: Py<PyAny>,
    server_name: Py<PyAny>,
    server_port: Py<PyAny>,
    scheme: Py<PyAny>,
    input: Py<PyAny>,
    early_hints: Py<PyAny>,
    script_name: Py<PyAny>,
}

/// What all requests of one listener have in common.
struct Template {
    dict: Py<PyDict>,
    is_unix: bool,
}

/// Makes environs. Each thread has its own.
pub(crate) struct Environs {
    templates: Vec<Template>,
    names: Names,
    keys: Keys,
    script_name: Vec<u8>,
    /// The client address that the templates hold.
    remote_addr: Vec<u8>,
    /// Counts requests, from 1.
    number: u64,
}

/// A request whose path lies outside the application's prefix.
#[derive(Debug)]
pub(crate) struct OutsidePrefix;

impl Environs {
    /// Makes the templates.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn new(py: Python<'_>, options: &Options) -> PyResult<Self> {
        let key = |name: &str| interned(py, name).unbind();
        let templates = options
            .listeners
            .iter()
            .map(|listener| Template::new(py, options, listener))
            .collect::<PyResult<_>>()?;
        Ok(Self {
            templates,
            names: Names::new(py),
            keys: Keys {
                method: key("REQUEST_METHOD"),
                path: key("PATH_INFO"),
                query: key("QUERY_STRING"),
                raw_uri: key("RAW_URI"),
                protocol: key("SERVER_PROTOCOL"),
                remote_addr: key("REMOTE_ADDR"),
                remote_port: key("REMOTE_PORT"),
                server_name: key("SERVER_NAME"),
                server_port: key("SERVER_PORT"),
                scheme: key("wsgi.url_scheme"),
                input: key("wsgi.input"),
                early_hints: key("wsgi.early_hints"),
                script_name: key("SCRIPT_NAME"),
            },
            script_name: trim_slashes(options.script_name.as_bytes()).to_vec(),
            remote_addr: Vec::new(),
            number: 0,
        })
    }

    /// Makes the environ of a request. `input` is `None` for a request without a body.
    ///
    /// # Errors
    /// `MemoryError`; the inner error when the path lies outside `script_name`.
    pub(crate) fn build<'py>(
        &mut self,
        py: Python<'py>,
        head: &RequestHead<'_>,
        input: Option<Bound<'py, Input>>,
        early_hints: &Bound<'py, PyAny>,
    ) -> PyResult<Result<Bound<'py, PyDict>, OutsidePrefix>> {
        self.number += 1;
        let index = usize::from(head.listener).min(self.templates.len() - 1);
        if self.remote_addr != head.client {
            self.set_remote_addr(py, head.client)?;
        }
        let template = &self.templates[index];
        let is_unix = template.is_unix;
        // SAFETY: the template is a dict.
        let environ = unsafe {
            let copy = ffi::PyDict_Copy(template.dict.as_ptr());
            Bound::from_owned_ptr_or_err(py, copy)?.cast_into_unchecked::<PyDict>()
        };
        let prefix = trim_slashes(head.prefix);
        let prefix = if prefix.is_empty() { &self.script_name[..] } else { prefix };
        if !self.set_target(py, &environ, head.target, prefix)? {
            return Ok(Err(OutsidePrefix));
        }
        if !head.prefix.is_empty() {
            set(&environ, &self.keys.script_name, &latin1_str(py, prefix)?)?;
        }
        self.set_line(py, &environ, head)?;
        set(&environ, &self.keys.early_hints, early_hints)?;
        if let Some(input) = input {
            set(&environ, &self.keys.input, &input.into_any())?;
        }
        for (name, value) in head.headers {
            self.set_header(&environ, name, value)?;
        }
        if is_unix {
            self.set_server_from_host(py, &environ)?;
        }
        if !head.proxied.is_empty() {
            set_proxied(&environ, head.proxied)?;
        }
        Ok(Ok(environ))
    }

    /// The prefix under which the application is mounted for a request.
    pub(crate) fn script_name(&self, head: &RequestHead<'_>) -> String {
        let prefix = if head.prefix.is_empty() { &self.script_name } else { head.prefix };
        String::from_utf8_lossy(prefix).into_owned()
    }

    /// Puts the client's address into the templates: behind a proxy it is always the same.
    #[cold]
    fn set_remote_addr(&mut self, py: Python<'_>, client: &[u8]) -> PyResult<()> {
        let value = latin1_str(py, client)?;
        for template in &self.templates {
            set(template.dict.bind(py), &self.keys.remote_addr, &value)?;
        }
        self.remote_addr.clear();
        self.remote_addr.extend_from_slice(client);
        Ok(())
    }

    /// False when the path lies outside the prefix.
    fn set_target(
        &self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        raw: &[u8],
        prefix: &[u8],
    ) -> PyResult<bool> {
        let target = split_target(raw);
        let Some(path) = target.path.strip_prefix(prefix) else {
            return Ok(false);
        };
        if !prefix.is_empty() && !matches!(path.first(), None | Some(b'/')) {
            return Ok(false);
        }
        let raw_uri = latin1_str(py, raw)?;
        if path == raw {
            set(environ, &self.keys.path, &raw_uri)?;
        } else {
            set(environ, &self.keys.path, &latin1_str(py, path)?)?;
        }
        set(environ, &self.keys.raw_uri, &raw_uri)?;
        if !target.query.is_empty() {
            set(environ, &self.keys.query, &latin1_str(py, target.query)?)?;
        }
        Ok(true)
    }

    /// What is not as in the template: method, version, scheme, the client's port.
    #[inline]
    fn set_line(
        &self,
        py: Python<'_>,
        environ: &Bound<'_, PyDict>,
        head: &RequestHead<'_>,
    ) -> PyResult<()> {
        if head.method != b"GET" {
            set(environ, &self.keys.method, &latin1_str(py, head.method)?)?;
        }
        if head.version != 11 {
            let protocol = match head.version {
                10 => "HTTP/1.0",
                20 => "HTTP/2.0",
                _ => "HTTP/1.1",
            };
            set(environ, &self.keys.protocol, &interned(py, protocol))?;
        }
        if head.secure {
            set(environ, &self.keys.scheme, &interned(py, "https"))?;
        }
        if head.client_port != 0 {
            let mut digits = [0; 20];
            let port = format_decimal(u64::from(head.client_port), &mut digits);
            set(environ, &self.keys.remote_port, &latin1_str(py, port)?)?;
        }
        Ok(())
    }

    #[inline]
    fn set_header(
        &mut self,
        environ: &Bound<'_, PyDict>,
        name: &[u8],
        value: &[u8],
    ) -> PyResult<()> {
        if name.contains(&b'_') {
            return self.set_underscored(environ, name, value);
        }
        let py = environ.py();
        let number = self.number;
        if let Some(known) = self.names.get(py, name) {
            if known.seen != number {
                known.seen = number;
                let value = known.value(py, value)?;
                return set(environ, &known.key, &value);
            }
            let key = known.key.clone_ref(py);
            return append(environ, key.bind(py), name, value);
        }
        let key = interned_once(py, name)?;
        if environ.contains(&key)? {
            return append(environ, &key, name, value);
        }
        environ.set_item(key, latin1_str(py, value)?)
    }

    /// A name with underscores, which the settings let pass: it shares its key with the name that has
    /// hyphens, and is joined with that.
    #[cold]
    fn set_underscored(
        &mut self,
        environ: &Bound<'_, PyDict>,
        name: &[u8],
        value: &[u8],
    ) -> PyResult<()> {
        let py = environ.py();
        let hyphens: Vec<u8> =
            name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
        // The only names whose key has no HTTP_ in front, but not with underscores.
        if matches!(&hyphens[..], b"content-type" | b"content-length") {
            let key = format!("HTTP_{}", String::from_utf8_lossy(name).to_ascii_uppercase());
            let key = interned(py, &key);
            return match environ.contains(&key)? {
                true => append(environ, &key, name, value),
                false => environ.set_item(key, latin1_str(py, value)?),
            };
        }
        self.set_header(environ, &hyphens, value)
    }

    /// On a Unix socket only the client can say under which name it reached us.
    fn set_server_from_host(&self, py: Python<'_>, environ: &Bound<'_, PyDict>) -> PyResult<()> {
        let Some(host) = environ.get_item("HTTP_HOST")? else {
            return Ok(());
        };
        let host: String = host.extract()?;
        let (name, port) = split_host(&host);
        let default = match environ.get_item(&self.keys.scheme)? {
            Some(scheme) if scheme.eq("https")? => "443",
            _ => "80",
        };
        environ.set_item(&self.keys.server_name, name)?;
        environ.set_item(self.keys.server_port.bind(py), port.unwrap_or(default))
    }
}

impl Template {
    fn new(py: Python<'_>, options: &Options, listener: &Listener) -> PyResult<Self> {
        let dict = PyDict::new(py);
        let put = |key: &str, value: Bound<'_, PyAny>| dict.set_item(interned(py, key), value);
        let text = |text: &str| interned(py, text);
        put("wsgi.version", (1, 0).into_pyobject(py)?.into_any())?;
        put("wsgi.url_scheme", text(&options.url_scheme))?;
        put("wsgi.errors", Bound::new(py, ErrorStream)?.into_any())?;
        put("wsgi.input", Bound::new(py, Input::empty())?.into_any())?;
        put("wsgi.input_terminated", true.into_pyobject(py)?.to_owned().into_any())?;
        put("wsgi.multithread", options.multithread.into_pyobject(py)?.to_owned().into_any())?;
        put("wsgi.multiprocess", options.multiprocess.into_pyobject(py)?.to_owned().into_any())?;
        put("wsgi.run_once", false.into_pyobject(py)?.to_owned().into_any())?;
        put("wsgi.file_wrapper", py.get_type::<FileWrapper>().into_any())?;
        put("wsgi.early_hints", py.None().into_bound(py))?;
        put("SERVER_SOFTWARE", text(&options.server_software))?;
        put("SCRIPT_NAME", text(options.script_name.trim_end_matches('/')))?;
        let is_unix = listener.port.is_none();
        let name = listener.host.strip_prefix("unix:").unwrap_or(&listener.host);
        put("SERVER_NAME", text(name))?;
        put("SERVER_PORT", text(&listener.port.map_or_else(String::new, |p| p.to_string())))?;
        // What most requests have, and what every request replaces: replacing is cheaper than
        // adding, and a copy has room for what the template had room for.
        put("REQUEST_METHOD", text("GET"))?;
        put("SERVER_PROTOCOL", text("HTTP/1.1"))?;
        put("QUERY_STRING", text(""))?;
        put("PATH_INFO", text(""))?;
        put("RAW_URI", text(""))?;
        put("REMOTE_ADDR", text(""))?;
        // One key more than fits a dict of 32 places, taken out again: copies then have 64, enough
        // for the headers of nearly every request, and are not resized while they are filled.
        for spare in 0..SPARE_KEYS {
            dict.set_item(spare, 0)?;
        }
        for spare in 0..SPARE_KEYS {
            dict.del_item(spare)?;
        }
        Ok(Self { dict: dict.unbind(), is_unix })
    }
}

/// See [`Template::new`]. More would make the copy a slow one (a dict with many holes is rebuilt).
const SPARE_KEYS: usize = 3;

/// `dict[key] = value` for a key with a known hash.
#[inline]
fn set(dict: &Bound<'_, PyDict>, key: &Py<PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: all three are live objects; the dict is a dict.
    let status = unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) };
    check(dict.py(), status)
}

/// A key that is not kept.
fn interned_once<'py>(py: Python<'py>, name: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    latin1_str(py, environ_key(&String::from_utf8_lossy(name)).as_bytes())
}

/// Joins a repeated header with what is there.
#[cold]
fn append(
    environ: &Bound<'_, PyDict>,
    key: &Bound<'_, PyAny>,
    name: &[u8],
    value: &[u8],
) -> PyResult<()> {
    let py = environ.py();
    let old = environ.get_item(key)?.unwrap_or(latin1_str(py, b"")?);
    let added = [joiner(name), value].concat();
    environ.set_item(key, old.add(latin1_str(py, &added)?)?)
}

/// What a PROXY header said: `PROXY_PROTOCOL`, `PROXY_ADDR` and `PROXY_PORT`.
#[cold]
fn set_proxied(environ: &Bound<'_, PyDict>, proxied: &[u8]) -> PyResult<()> {
    let words = proxied.split(|byte| *byte == b' ');
    for (key, word) in ["PROXY_PROTOCOL", "PROXY_ADDR", "PROXY_PORT"].into_iter().zip(words) {
        environ.set_item(interned(environ.py(), key), latin1_str(environ.py(), word)?)?;
    }
    Ok(())
}

/// A prefix ends without a slash, as the path that follows begins with one.
fn trim_slashes(prefix: &[u8]) -> &[u8] {
    let slashes = prefix.iter().rev().take_while(|byte| **byte == b'/').count();
    &prefix[..prefix.len() - slashes]
}

/// Splits `host[:port]`; the brackets of an IPv6 address stay.
fn split_host(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty() => {
            (name, Some(port))
        }
        _ => (host.trim_end_matches(':'), None),
    }
}

#[cfg(test)]
mod tests {
    use super::split_host;

    #[test]
    fn a_host_is_split_into_name_and_port() {
        assert_eq!(split_host("example.org"), ("example.org", None));
        assert_eq!(split_host("example.org:8080"), ("example.org", Some("8080")));
        assert_eq!(split_host("example.org:"), ("example.org", None));
        assert_eq!(split_host("[::1]:80"), ("[::1]", Some("80")));
        assert_eq!(split_host("[::1]"), ("[::1]", None));
    }
}
